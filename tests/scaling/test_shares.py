"""Shares of a training set: how many samples, which, and each within the next."""

from datetime import date
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from echo_dagster.evaluation import compare
from echo_dagster.scaling.shares import Size, asked, sizes
from echo_dagster.settings import Scaling, Settings

SHARES = (0.0625, 0.125, 0.25, 0.5, 1.0)


def test_shares_are_whole_samples_and_small_ones_are_left_out():
    taken, left_out = sizes(1000, SHARES, 100)
    assert taken == [Size(0.125, 125), Size(0.25, 250), Size(0.5, 500), Size(1.0, 1000)]
    assert left_out == [Size(0.0625, 63)]  # 62.5


def test_the_same_samples_are_no_second_point():
    taken, left_out = sizes(10, (0.5, 0.52, 1.0), 1)
    assert [size.n_samples for size in taken] == [5, 10] and left_out == [Size(0.52, 5)]


def test_nothing_is_trained_on_an_empty_set():
    assert sizes(0, SHARES, 1)[0] == []


@given(st.integers(0, 10_000), st.sets(st.floats(0.001, 1), min_size=2), st.integers(1, 100))
def test_every_share_is_taken_or_left_out_and_sizes_rise(n, shares, least):
    taken, left_out = sizes(n, sorted(shares), least)
    assert sorted(size.share for size in taken + left_out) == sorted(shares)
    counts = [size.n_samples for size in taken]
    assert all(a < b for a, b in pairwise(counts))
    assert all(least <= count <= n for count in counts)
    if 1.0 in shares and n >= least and taken:
        assert counts[-1] == n


@given(st.sets(st.text(min_size=1, max_size=8), min_size=2, max_size=60), st.integers(0, 3), st.randoms())
def test_a_smaller_share_is_part_of_every_larger_one_in_whatever_order_the_rows_come(ids, seed, random):
    names = sorted(ids)
    random.shuffle(names)
    rows = pl.DataFrame({"sample_id": names})
    taken, _ = sizes(len(names), SHARES, 1)
    drawn = [set(compare.sample(rows, size.n_samples, seed)["sample_id"]) for size in taken]
    assert [len(one) for one in drawn] == [size.n_samples for size in taken]
    assert all(small < large for small, large in pairwise(drawn))
    assert drawn[-1] == ids
    again = compare.sample(rows.sort("sample_id"), taken[0].n_samples, seed)
    assert set(again["sample_id"]) == drawn[0]


def test_a_run_may_ask_for_other_shares_or_seeds_and_what_it_does_not_ask_for_stays(tiny_settings):
    scaling = Scaling(shares=(0.1, 0.2), seeds=3)
    settings = Settings(start_day=date(2026, 1, 1), base_model=tiny_settings, scaling=scaling)
    assert asked(settings, None, None) == settings
    assert asked(settings, [0.25, 1], None).scaling == Scaling(shares=(0.25, 1.0), seeds=3)
    assert asked(settings, None, 2).scaling == Scaling(shares=(0.1, 0.2), seeds=2)
    with pytest.raises(ValueError, match=r"^scaling.shares: .*the smallest first"):
        asked(settings, [1.0, 0.5], None)
    with pytest.raises(ValueError, match=r"^scaling.seeds: "):
        asked(settings, None, 0)


@pytest.mark.parametrize("shares", [(), (1.0,), (0.0, 1.0), (0.5, 0.25), (0.5, 0.5), (0.5, 1.5)])
def test_shares_that_do_not_grow_are_refused(shares):
    with pytest.raises(ValidationError):
        Scaling(shares=shares)
