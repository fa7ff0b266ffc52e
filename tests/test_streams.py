"""Buckets and the order of events."""

import random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_dagster import events, streams

ORDER = ("bucket", *events.STREAM_ORDER)


def some(rows):
    named = {
        "event_id": [f"e{number}" for number, *_ in rows],
        "ts": [ts for _, _, ts, _ in rows],
        "seq": [seq for _, _, _, seq in rows],
        "user_id": [f"u{stream % 3}" for _, stream, _, _ in rows],
        "session_id": [f"s{stream % 2}" for _, stream, _, _ in rows],
        "document": [f"d{stream}" for _, stream, _, _ in rows],
    }
    schema = {
        "event_id": pl.String,
        "ts": pl.Int64,
        "seq": pl.Int64,
        **dict.fromkeys(events.STREAM, pl.String),
    }
    return streams.with_buckets(
        pl.DataFrame(named, schema=schema).with_columns(pl.col("ts").cast(events.TIMESTAMP))
    )


ROWS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 5), st.integers(0, 3), st.integers(0, 2)),
    max_size=40,
    unique=True,
)


@given(ROWS)
def test_the_order_is_that_of_a_sort_by_every_key(rows):
    log = some(rows)
    expected = log.sort(ORDER)
    assert streams.in_order(log).equals(expected)
    # of rows that tie in every key, an event delivered twice, there is no order to speak of
    is_strict = expected.select(ORDER).is_unique().all()
    assert streams.is_in_order(expected) == is_strict
    if not log.equals(expected):
        assert not streams.is_in_order(log)


def test_a_stream_has_one_bucket_on_every_day_and_in_every_version():
    assert [streams.bucket("u", "s", f"{number}") for number in range(4)] == [53, 129, 135, 168]
    log = some([(number, number % 6, 0, 0) for number in range(50)])
    assert log.group_by(events.STREAM).agg(pl.col("bucket").n_unique())["bucket"].unique().to_list() == [1]


def test_streams_spread_over_all_buckets():
    dice = random.Random(1)
    found = [streams.bucket(f"{dice.random()}", "s", "d") for _ in range(20_000)]
    counts = [found.count(bucket) for bucket in range(events.BUCKETS)]
    assert min(counts) > 30 and max(counts) < 140


@pytest.mark.parametrize("empty", [some([])])
def test_no_events_are_in_order(empty):
    assert streams.is_in_order(empty)
    assert streams.in_order(empty).height == 0


def test_times_of_thousands_of_years_are_in_order():
    log = some([(number, 0, (0, 63_000_000_000_000_000, 5)[number % 3], number % 4) for number in range(60)])
    keys = log.select("ts", "seq", "event_id", rank=pl.int_range(pl.len()) % 2 + 1_000)
    rows = streams.order(keys["rank"], log)
    assert keys[rows].equals(keys.sort("rank", "ts", "seq", "event_id"))
