import random
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
import sessions
from small_log import Log, concat

from echo_dagster.extraction import shards
from echo_dagster.extraction.days import ConservationError, conservation, extract_days
from echo_dagster.extraction.policies import PRESETS, Policy
from echo_dagster.lake import Lake, TableMissing
from echo_dagster.streams import with_buckets

DAYS = [date(2026, 1, 5), date(2026, 1, 6), date(2026, 1, 7)]
LONG = Policy(
    "long", idle_s=3 * 3600, lifetime_s=12 * 3600, breaks_on_edit_elsewhere=False, max_final_units=80
)


def write(lake, log):
    log = with_buckets(log.drop("bucket", strict=False)).select(pl.col("ts").dt.date().alias("day"), pl.all())
    lake.replace("raw_events", log, log["day"].unique().to_list())


def run(lake, days, policy, tmp_path):
    return extract_days(lake, days, policy, spill=tmp_path / "spill")


def stored(lake, day):
    return lake.read("gap_sessions", [day]).collect().sort("opened_at", "gap_id")


@pytest.fixture
def busy(tmp_path):
    """Streams that run through three days and over two midnights."""
    lake = Lake(tmp_path / "lake")
    rng = random.Random(11)
    streams = []
    for number in range(12):
        start = datetime(2026, 1, 5, 23, 30, tzinfo=UTC) + timedelta(minutes=2 * number)
        streams += sessions.session(rng, f"{number:02d}a", 150, start)[0]
        streams += sessions.session(rng, f"{number:02d}b", 150, start + timedelta(hours=23, minutes=20))[0]
    log = sessions.frame([event for event in streams if event["ts"].date() <= DAYS[-1]])
    write(lake, log.sample(fraction=1, shuffle=True, seed=2))
    return lake


@pytest.mark.parametrize("policy", [PRESETS["echo"], LONG], ids=lambda policy: policy.name)
def test_three_days_at_once_are_three_single_days_and_the_same_again(busy, policy, tmp_path):
    at_once = run(busy, DAYS, policy, tmp_path)
    first = {day: stored(busy, day) for day in DAYS}
    run(busy, DAYS, policy, tmp_path)
    assert all(stored(busy, day).equals(first[day]) for day in DAYS)

    alone = Lake(tmp_path / "alone")
    write(alone, busy.read("raw_events").drop("day").collect())
    for day in reversed(DAYS):  # the order of the runs must not matter either
        run(alone, [day], policy, tmp_path)
    for day in DAYS:
        assert stored(alone, day).equals(first[day])
        gaps = first[day]
        assert (gaps["closed_at"].dt.date() == day).all()
        assert conservation(busy, day, policy)[0] > 0
        expected, found = conservation(busy, day, policy)
        assert expected == found
    assert any((first[day]["opened_at"].dt.date() < day).any() for day in DAYS), "no gap crossed a midnight"
    assert at_once.gaps == sum(gaps.height for gaps in first.values())


def test_every_proposal_closes_once(busy, tmp_path):
    done = run(busy, DAYS, LONG, tmp_path)
    gaps = pl.concat([stored(busy, day) for day in DAYS])
    assert gaps["gap_id"].n_unique() == gaps.height
    shown = busy.read("raw_events").filter(pl.col("kind") == "shown").select(pl.len()).collect().item()
    assert gaps.height + done.still_open == shown == sum(done.shown.values())
    assert sum(record["gaps"] for record in done.by_break_reason()) == done.gaps
    assert sum(record["gaps"] for record in done.by_outcome()) == done.gaps


def test_a_gap_open_at_midnight_closes_tomorrow(tmp_path):
    lake = Lake(tmp_path / "lake")
    write(lake, Log("a").shown(43_190, 1, "b").edited(43_199, 1, 0, "b").edited(43_210, 2, 0, "c").frame())
    monday, tuesday = DAYS[0], DAYS[1]
    assert run(lake, [monday], PRESETS["echo"], tmp_path).still_open == 1
    assert stored(lake, monday).height == 0
    done = run(lake, [tuesday], PRESETS["echo"], tmp_path)
    (gap,) = stored(lake, tuesday).iter_rows(named=True)
    assert (gap["final"], gap["break_reason"], gap["closed_at"]) == (
        "bc",
        "idle",
        datetime(2026, 1, 6, 0, 5, 10, tzinfo=UTC),
    )
    assert (done.gaps, done.still_open, done.earlier) == (1, 0, 0)
    assert run(lake, [DAYS[2]], PRESETS["echo"], tmp_path).gaps == 0


@pytest.mark.parametrize("is_edited_tomorrow", [True, False])
def test_retention_stops_at_the_end_of_the_day_on_which_the_gap_closed(is_edited_tomorrow, tmp_path):
    lake = Lake(tmp_path / "lake")
    log = Log("a\nb").shown(42_900, 1, "xyz").edited(42_900, 1, 0, "xyz", "accept").accepted(42_900)
    log.edited(42_910, 6, 0, "!")
    if is_edited_tomorrow:
        log.edited(43_230, 1, 3, "")
    write(lake, log.frame())
    run(lake, DAYS, PRESETS["echo"], tmp_path)
    (gap,) = stored(lake, DAYS[0]).iter_rows(named=True)
    assert [gap[f"retained_{s}s"] for s in (0, 30, 120, 300, 600, 900)] == [3, 3, 3, 3, None, None]


def test_days_that_are_no_neighbours_are_read_in_one_pass(busy, tmp_path):
    run(busy, DAYS, LONG, tmp_path)
    expected = {day: stored(busy, day) for day in DAYS}
    run(busy, [DAYS[0], DAYS[2]], LONG, tmp_path)
    assert all(stored(busy, day).equals(expected[day]) for day in DAYS)


def test_days_without_events_and_a_missing_table(tmp_path):
    lake = Lake(tmp_path / "lake")
    with pytest.raises(TableMissing):
        run(lake, DAYS, PRESETS["echo"], tmp_path)
    write(lake, Log("a").shown(0, 1, "b").frame())
    told = []
    done = extract_days(
        lake,
        [date(2026, 2, 1)],
        PRESETS["echo"],
        spill=tmp_path / "spill",
        progress=lambda *counts: told.append(counts),
    )
    assert (done.gaps, done.events, told) == (0, 0, [])
    assert stored(lake, date(2026, 2, 1)).height == 0
    assert conservation(lake, date(2026, 2, 1)) == (0, 0)
    assert not list((tmp_path / "spill").iterdir())


def test_lost_and_doubled_gaps_are_noticed(tmp_path, monkeypatch):
    lake = Lake(tmp_path / "lake")
    write(lake, concat(Log("a", user="ada").shown(0, 1, "b"), Log("a", user="bob").shown(9, 1, "b")))
    run(lake, DAYS[:1], PRESETS["echo"], tmp_path)
    echo = PRESETS["echo"]
    assert conservation(lake, DAYS[0], echo) == (2, 2)
    gaps = stored(lake, DAYS[0])
    lake.replace("gap_sessions", gaps.head(1), DAYS[:1])
    assert conservation(lake, DAYS[0], echo) == (2, 1)
    assert conservation(lake, DAYS[0]) == (1, 1)  # with twelve hours to live it might still be open
    lake.replace("gap_sessions", pl.concat([gaps, gaps.head(1)]), DAYS[:1])
    assert conservation(lake, DAYS[0], echo) == (2, 1)
    assert conservation(lake, DAYS[0]) == (3, 1)
    real = shards.extract
    monkeypatch.setattr(shards, "extract", lambda *args, **kwargs: (g.head(1) for g in real(*args, **kwargs)))
    with pytest.raises(ConservationError, match="2 proposals shown"):
        run(lake, DAYS[:1], PRESETS["echo"], tmp_path)
