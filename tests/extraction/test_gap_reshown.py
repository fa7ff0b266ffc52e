"""Proposals shown again, told apart from new ones."""

from datetime import UTC, date, datetime

import polars as pl
import pytest
from small_log import Log

from echo_dagster.extraction.days import conservation, extract_days
from echo_dagster.extraction.gaps import extract_frame
from echo_dagster.extraction.policies import PRESETS
from echo_dagster.lake import Lake
from echo_dagster.streams import with_buckets

ECHO = PRESETS["echo"]
MONDAY, TUESDAY = date(2026, 1, 5), date(2026, 1, 6)


def first_showings(log):
    """The completion that each completion repeats."""
    gaps = extract_frame(log.frame(), ECHO)
    names = dict(gaps.select("gap_id", "completion_id").iter_rows())
    return {name: names.get(first) for name, first in gaps.select("completion_id", "reshown_of").iter_rows()}


def typed(log, text, at=1):
    """Type `text` behind the `x` and show what is left of `value = 1` after each key."""
    for number, letter in enumerate(text):
        log.edited(at + number, 1 + number, 0, letter)
        log.shown(at + number, 2 + number, "value = 1"[number + 1 :], name=f"c{number + 2}")
    return log


@pytest.mark.parametrize("is_edited", [True, False])
def test_what_is_left_of_a_proposal_after_each_key_is_the_same_proposal(is_edited):
    log = typed(Log("x\n", is_edited=is_edited).shown(0, 1, "value = 1"), "val")
    assert first_showings(log) == {"c1": None, "c2": "c1", "c3": "c1", "c4": "c1"}


def test_a_proposal_shown_again_where_nothing_was_typed_is_the_same_and_another_text_is_new():
    log = Log("x\n").shown(0, 1, "value = 1").shown(1, 1, "value = 1", name="again")
    log.shown(2, 1, "value = 2", name="other").shown(3, 1, "value = 2", name="other again")
    log.shown(4, 1, "  value = 1\n", name="indented")  # white space around it is not compared
    assert first_showings(log) == {
        "c1": None,
        "again": "c1",
        "other": None,
        "other again": "other",
        "indented": "c1",
    }


@pytest.mark.parametrize("is_edited", [True, False])
def test_each_showing_keeps_how_long_its_user_waited_for_it(is_edited):
    log = Log("x\n", is_edited=is_edited).shown(0, 1, "value = 1", latency_ms=310).edited(1, 1, 0, "v")
    log.shown(1, 2, "alue = 1", name="c2", latency_ms=0).accepted(2, name="c2")
    log.shown(3, 2, "other", name="c3")
    gaps = extract_frame(log.frame(), ECHO)
    told = dict(gaps.select("completion_id", "latency_ms").iter_rows())
    assert told == {"c1": 310, "c2": 0, "c3": None}
    assert {*gaps["tracking"]} == {"edits" if is_edited else "snapshots"}


def test_other_text_typed_or_another_place_makes_a_proposal_new():
    log = Log("x\n\n").shown(0, 1, "value = 1").edited(1, 1, 0, "w").shown(1, 2, "alue = 1", name="c2")
    assert first_showings(log)["c2"] is None
    elsewhere = Log("x\n\n").shown(0, 1, "value = 1").shown(1, 2, "value = 1", name="c2")
    assert first_showings(elsewhere)["c2"] is None
    taken_back = typed(Log("x\n").shown(0, 1, "value = 1"), "va").edited(5, 2, 1, "")
    assert first_showings(taken_back.shown(6, 2, "alue = 1", name="back"))["back"] == "c1"


def test_an_empty_proposal_repeats_nothing():
    log = Log("x\n").shown(0, 1, "v").edited(1, 1, 0, "v").shown(1, 2, "", name="c2")
    assert first_showings(log)["c2"] is None


def test_the_rest_of_a_proposal_taken_in_part_is_the_same_proposal():
    log = Log("x\n").shown(0, 1, "one two").edited(1, 1, 0, "one ", "accept").accepted(1, text="one ")
    log.shown(2, 5, "two", name="c2").edited(3, 5, 0, "two", "accept").accepted(3, name="c2")
    assert first_showings(log) == {"c1": None, "c2": "c1"}
    assert [gap["accepted_chars"] for gap in log.gaps().values()] == [4, 3]
    log.edited(40, 1, 2, "").edited(60, 7, 0, "!")  # of the first part two characters go, of the second none
    retained = [[gap["retained_0s"], gap["retained_30s"]] for gap in log.gaps().values()]
    assert retained == [[4, 4], [3, 3]]
    assert [gap["retained_120s"] for gap in log.edited(200, 0, 0, "#").gaps().values()] == [2, 3]


def test_the_same_completion_is_the_same_proposal_wherever_it_is_shown_and_after_its_gap_has_ended():
    log = Log("a\nb\n").shown(0, 1, "X").edited(1, 4, 0, "more").shown(2, 3, "Y")
    gaps = extract_frame(log.frame(), ECHO)
    assert gaps["break_reason"].to_list() == ["edited_elsewhere", "stream_end"]
    assert gaps["reshown_of"].to_list() == [None, gaps["gap_id"][0]]
    assert gaps["gap_id"].n_unique() == 2


def test_an_acceptance_goes_to_the_newest_showing_and_every_showing_is_conserved(tmp_path):
    """The same completion three times, twice at the same moment."""
    log = (
        Log("x\n")
        .shown(0, 1, "value")
        .shown(1, 1, "value")
        .shown(1, 1, "value")
        .edited(2, 1, 0, "value")
        .accepted(2)
    )
    lake = Lake(tmp_path / "lake")
    lake.replace("raw_events", with_buckets(log.frame()).with_columns(day=pl.col("ts").dt.date()), [MONDAY])
    extract_days(lake, [MONDAY], ECHO, spill=tmp_path / "spill")
    gaps = lake.read("gap_sessions", [MONDAY]).collect()
    assert gaps["accepted_chars"].sort().to_list() == [0, 0, 5]
    assert gaps["reshown_of"].is_null().sum() == 1
    assert conservation(lake, MONDAY, ECHO) == (3, 3)
    for wrong in (gaps.head(2), pl.concat([gaps, gaps.tail(1)])):
        lake.replace("gap_sessions", wrong, [MONDAY])
        expected, found = conservation(lake, MONDAY, ECHO)
        assert expected != found


def test_a_proposal_shown_again_after_midnight_is_the_same_whichever_days_are_extracted(tmp_path):
    night = datetime(2026, 1, 5, 23, 59, 50, tzinfo=UTC)
    log = (
        Log("x\n", start=night)
        .shown(0, 1, "value = 1")
        .edited(11, 1, 0, "v")
        .shown(12, 2, "alue = 1", name="c2")
    )
    log.shown(13, 2, "alue = 1")  # the first completion itself, again
    events = with_buckets(log.frame()).with_columns(day=pl.col("ts").dt.date())
    found = []
    for name, days in (("one", [TUESDAY]), ("both", [MONDAY, TUESDAY])):
        lake = Lake(tmp_path / name)
        lake.replace("raw_events", events, [MONDAY, TUESDAY])
        extract_days(lake, days, ECHO, spill=tmp_path / "spill")
        found.append(lake.read("gap_sessions", [TUESDAY]).collect())
    assert found[0].equals(found[1])
    first = found[0]["gap_id"][0]
    assert found[0]["reshown_of"].to_list() == [None, first, first]
