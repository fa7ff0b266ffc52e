"""The line through quality over log2(samples): against figures by hand and by numpy, and what it says in words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_dagster.evaluation.bootstrap import Interval
from echo_dagster.scaling.fit import Line, fit, in_words

OPTIONS = {"confidence": 0.95, "resamples": 500, "seed": 17}


def test_a_metric_that_rises_by_a_tenth_per_doubling():
    of_one = np.array([0.3, 0.4, 0.5, 0.6])
    values = np.array([of_one, of_one + 0.2, of_one - 0.1])
    line = fit([100, 200, 400, 800], values, **OPTIONS)
    assert line.per_doubling.value == pytest.approx(0.1)
    assert (line.per_doubling.low, line.per_doubling.high) == (pytest.approx(0.1), pytest.approx(0.1))
    assert line.last_doubling.value == pytest.approx(0.1)
    mean_at_100 = (0.3 + 0.5 + 0.2) / 3
    assert line.at_one + line.per_doubling.value * np.log2(100) == pytest.approx(mean_at_100)


def test_the_last_step_is_told_per_doubling_though_it_is_two():
    line = fit([10, 20, 80], np.array([[0.0, 0.1, 0.5], [0.2, 0.3, 0.7]]), **OPTIONS)
    assert line.last_doubling.value == pytest.approx(0.2)


def test_the_interval_knows_how_gaps_differ_and_resamples_units_whole():
    rng = np.random.default_rng(3)
    values = np.array([0.2, 0.25, 0.3]) + rng.normal(0, 0.1, (40, 3))
    alone = fit([1, 2, 4], values, **OPTIONS).per_doubling
    assert alone.low < alone.value < alone.high and alone.n_units == 40
    twice = np.repeat(values, 2, axis=0)
    units = [str(index // 2) for index in range(80)]
    kept = fit([1, 2, 4], twice, units, **OPTIONS).per_doubling
    assert kept.n_units == 40 and kept.value == pytest.approx(alone.value)
    naive = fit([1, 2, 4], twice, **OPTIONS).per_doubling
    assert naive.high - naive.low < kept.high - kept.low


def test_gaps_where_nothing_changed_do_not_make_an_interval_exclude_zero():
    values = np.full((72, 4), 0.1)
    values[0, 3] = 1.0
    slope = fit([18, 36, 71, 142], values, **OPTIONS).per_doubling
    assert slope.low == 0 < slope.value


def test_one_unit_has_no_interval():
    line = fit([1, 2], np.array([[0.1, 0.2]]), **OPTIONS)
    assert line.per_doubling.low is None
    assert in_words("edit_similarity", line, 2) == "one independent unit gives no interval"


@given(
    st.lists(st.integers(1, 10**6), min_size=2, max_size=6, unique=True).map(sorted),
    st.integers(1, 12),
    st.integers(0, 10**6),
)
def test_the_mean_of_the_gaps_slopes_is_the_slope_of_the_means(n_samples, n_gaps, seed):
    values = np.random.default_rng(seed).uniform(0, 1, (n_gaps, len(n_samples)))
    line = fit(n_samples, values, confidence=0.95, resamples=2, seed=0)
    slope, at_one = np.polyfit(np.log2(n_samples), values.mean(axis=0), 1)
    spread = np.log2(n_samples[-1]) - np.log2(n_samples[0])
    assert line.per_doubling.value * spread == pytest.approx(slope * spread, abs=1e-6)
    middle = np.log2(n_samples).mean()
    assert line.at_one + line.per_doubling.value * middle == pytest.approx(at_one + slope * middle, abs=1e-6)


@pytest.mark.parametrize(
    ("n_samples", "columns"), [([8], 1), ([8, 8], 2), ([8, 4], 2), ([8, 16], 3), ([0, 8], 2)]
)
def test_what_has_no_line_is_refused(n_samples, columns):
    with pytest.raises(ValueError, match=r"rising numbers|values of shape"):
        fit(n_samples, np.zeros((4, columns)), **OPTIONS)


UP, DOWN, UNCLEAR = (Interval(value, value - 0.05, value + 0.05, 9, 9) for value in (0.1, -0.1, 0.01))


@pytest.mark.parametrize(
    ("metric", "trend", "last", "n_shares", "told"),
    [
        ("edit_similarity", UP, UP, 3, "doubling the samples helped, and the last doubling still did"),
        (
            "middle_nats_per_token",
            DOWN,
            DOWN,
            3,
            "doubling the samples helped, and the last doubling still did",
        ),
        ("middle_nats_per_token", UP, UP, 3, "doubling the samples hurt, and the last doubling still did"),
        ("edit_similarity", UP, DOWN, 3, "doubling the samples helped, but the last one hurt"),
        ("edit_similarity", UP, UP, 2, "doubling the samples helped"),
        (
            *("edit_similarity", UP, UNCLEAR, 3),
            "doubling the samples helped over all shares; whether the last doubling still did, these gaps cannot tell",
        ),
        ("edit_similarity", UNCLEAR, UNCLEAR, 3, "these gaps cannot tell whether doubling the samples helps"),
        (
            *("edit_similarity", UNCLEAR, UP, 3),
            "these gaps cannot tell whether doubling the samples helps over all shares, but the last doubling helped",
        ),
    ],
)
def test_words_follow_the_intervals(metric, trend, last, n_shares, told):
    assert in_words(metric, Line(trend, 0.0, last), n_shares) == told
