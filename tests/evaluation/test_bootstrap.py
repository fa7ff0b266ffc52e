import numpy as np
import pytest

from echo_dagster.evaluation import bootstrap


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(5)
    covered = 0
    for seed in range(300):
        interval = bootstrap.mean(rng.exponential(size=30), resamples=600, seed=seed)
        covered += interval.low <= 1 <= interval.high
    assert 0.90 <= covered / 300 <= 0.98  # the plain percentile interval of skewed data gets about 0.91


def test_units_that_agree_within_themselves_widen_the_interval():
    rng = np.random.default_rng(5)
    users = np.repeat([f"user {n}" for n in range(12)], 40)
    values = np.repeat(rng.normal(size=12), 40) + rng.normal(scale=0.1, size=480)
    alone, by_user = bootstrap.mean(values), bootstrap.mean(values, users.tolist())
    assert by_user.value == alone.value
    assert (by_user.n_values, by_user.n_units, alone.n_units) == (480, 12, 480)
    assert by_user.high - by_user.low > 4 * (alone.high - alone.low)


def test_the_mean_over_units_of_unequal_size_stays_the_mean_over_values():
    interval = bootstrap.mean([1, 1, 1, 0], ["a", "a", "a", "b"])
    assert interval.value == 0.75
    assert (interval.low, interval.high) == (0, 1)


def test_a_paired_interval_is_narrower_than_that_of_either_column():
    rng = np.random.default_rng(5)
    difficulty = rng.normal(size=200)
    better, worse = difficulty + 0.1 + rng.normal(scale=0.1, size=200), difficulty
    gain = bootstrap.paired_difference(better, worse)
    shuffled = bootstrap.paired_difference(rng.permutation(better), worse)
    assert gain.low > 0
    assert shuffled.low < 0 < shuffled.high
    assert gain.value == pytest.approx(shuffled.value)
    assert gain.high - gain.low < (shuffled.high - shuffled.low) / 5


def test_equal_columns_differ_by_exactly_nothing():
    values = np.random.default_rng(5).normal(size=50)
    gain = bootstrap.paired_difference(values, values)
    assert (gain.value, gain.low, gain.high) == (0, 0, 0)


def test_the_same_seed_gives_the_same_interval_and_units_may_come_in_any_order():
    values = np.random.default_rng(5).normal(size=30)
    units = [f"u{n % 11}" for n in range(30)]
    told = bootstrap.mean(values, units, seed=3)
    assert told == bootstrap.mean(values, units, seed=3)
    assert told != bootstrap.mean(values, units, seed=4)
    turned = bootstrap.mean(values[::-1], units[::-1], seed=3)
    assert (turned.low, turned.high) == pytest.approx((told.low, told.high))


def test_drawing_in_chunks_changes_nothing(monkeypatch):
    values = np.random.default_rng(5).normal(size=64)
    whole = bootstrap.mean(values)
    monkeypatch.setattr(bootstrap, "_CHUNK_DRAWS", 64 * 8)
    assert bootstrap.mean(values) == whole


def test_one_unit_has_a_mean_and_no_interval():
    interval = bootstrap.mean([1.0, 3.0], ["only", "only"])
    assert (interval.value, interval.low, interval.high, interval.n_units) == (2.0, None, None, 1)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")]])
def test_no_mean_is_made_up(values):
    with pytest.raises(ValueError, match=r"no values|not finite"):
        bootstrap.mean(values)


def test_a_ratio_of_sums_has_the_interval_of_the_mean_that_it_is():
    rng = np.random.default_rng(3)
    counts = rng.integers(1, 40, 60)
    values = [rng.normal(unit % 5, 1, count) for unit, count in enumerate(counts)]
    units = np.repeat([f"u{unit}" for unit in range(60)], counts)
    as_mean = bootstrap.mean(np.concatenate(values), units.tolist(), resamples=20_000)
    sums = np.array([[found.sum()] for found in values])
    (ratio,) = bootstrap.ratios(sums, counts[:, None].astype(float), resamples=20_000)
    width = as_mean.high - as_mean.low
    assert abs(ratio.low - as_mean.low) < 0.03 * width and abs(ratio.high - as_mean.high) < 0.03 * width


def test_ratios_need_two_units_with_something_to_divide_by():
    numerators = np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 0.0]])
    denominators = np.array([[2.0, 5.0], [4.0, 0.0], [0.0, 0.0]])
    both, alone = bootstrap.ratios(numerators, denominators, resamples=500)
    assert (both.low, both.high, both.n_units) == (0.5, 0.5, 2)  # both that have one agree
    assert (alone.value, alone.low, alone.high, alone.n_units) == (0.2, None, None, 1)
    with pytest.raises(ValueError, match="no values"):
        bootstrap.ratios(np.ones((3, 1)), np.zeros((3, 1)))


def test_many_units_in_parts_are_resampled_as_few_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    above, below = rng.random((300, 2)), np.ones((300, 2))
    once = bootstrap.ratios(above, below, resamples=2_000)
    monkeypatch.setattr(bootstrap, "_KEPT_DRAWS", 0)
    monkeypatch.setattr(bootstrap, "_CHUNK_DRAWS", 300 * 7)
    for part, whole in zip(bootstrap.ratios(above, below, resamples=2_000), once, strict=True):
        assert (part.low, part.high) == pytest.approx((whole.low, whole.high), rel=1e-12)
