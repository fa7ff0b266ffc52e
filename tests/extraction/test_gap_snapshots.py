import dataclasses
import random

import polars as pl
import pytest
import sessions
from small_log import Log, seconds

from echo_dagster.extraction.gaps import extract_frame
from echo_dagster.extraction.policies import PRESETS

HEAD = "import os\n\n\ndef alpha(first, second):\n    total = "
TAIL = "\n    return total\n\n\ndef beta():\n    return alpha(1, 2)\n"


def server_log(**fields):
    """A log of requests alone: edits happen but are not logged."""
    return Log(HEAD + TAIL, is_edited=False).shown(0, len(HEAD), "first + second", **fields)


def test_a_later_request_shows_what_became_of_the_gap():
    log = server_log().edited(5, len(HEAD), 0, "first * second").shown(10, len(HEAD) + 14, "", name="c2")
    gap = log.gap()
    assert (gap["tracking"], gap["final"], gap["n_edits"]) == ("snapshots", "first * second", 1)
    assert gap["typed_chars"] is None and gap["retained_0s"] is None
    assert gap["outcome"] == "superseded"


def test_a_change_elsewhere_ends_the_gap_with_the_text_then_found():
    log = (
        server_log().edited(5, len(HEAD), 0, "first").edited(6, 10, 0, "# note\n").shown(10, 3, "", name="c2")
    )
    gap = log.gap()
    assert (gap["break_reason"], gap["final"], seconds(gap)) == ("edited_elsewhere", "first", 10)
    after = server_log().edited(5, len(HEAD), 0, "first").edited(6, len(HEAD) + 45, 3, "")
    after.shown(10, 3, "", name="c2")
    assert (after.gap()["break_reason"], after.gap()["final"]) == ("edited_elsewhere", "first")


def test_a_view_that_is_cut_before_the_gap_says_nothing_about_it():
    log = server_log().edited(5, len(HEAD), 0, "first").shown(10, len(HEAD) + 5, "", name="c2")
    log.shown(20, 5, "", name="c3", suffix=None)
    assert (log.gap()["break_reason"], log.gap()["final"]) == ("stream_end", "first")


def test_an_edit_across_a_bound_ends_the_gap_with_the_last_text_found():
    log = server_log().edited(5, len(HEAD), 0, "first").shown(10, len(HEAD) + 5, "", name="c2")
    log.edited(11, len(HEAD) - 12, 17, "").shown(20, len(HEAD) - 12, "", name="c3")
    gap = log.gap()
    assert (gap["break_reason"], gap["final"], gap["censored"]) == ("anchor_edited", "first", False)
    unseen = server_log().edited(11, len(HEAD) - 12, 15, "?").shown(20, len(HEAD) - 12, "", name="c3").gap()
    assert (unseen["break_reason"], unseen["censored"], unseen["n_edits"]) == ("anchor_edited", True, None)


def test_anchors_that_are_gone_end_the_gap_with_the_last_text_found():
    log = server_log().edited(5, len(HEAD), 0, "first").shown(10, len(HEAD) + 5, "", name="c2")
    log.document = "print('a new file')\n" * 20
    gap = log.shown(20, 3, "", name="c3").gap()
    assert (gap["break_reason"], gap["final"], gap["censored"]) == ("anchor_lost", "first", True)


@pytest.mark.parametrize(
    ("deleted", "inserted", "final"),
    [(1, "", "first"), (6, "sum =", "first"), (3, "", "first"), (8, "amount = ", "first")],
)
def test_text_beside_the_gap_may_be_rewritten(deleted, inserted, final):
    """The user goes back into the anchor itself: the gap is what still stands beside it."""
    log = server_log().edited(5, len(HEAD), 0, "first").shown(10, len(HEAD) + 5, "", name="c2")
    at = len(HEAD) - deleted
    gap = log.edited(11, at, deleted, inserted).shown(20, at + len(inserted), "", name="c3").gap()
    assert (gap["break_reason"], gap["final"], gap["censored"]) == ("edited_elsewhere", final, False)
    after = server_log().edited(5, len(HEAD), 0, "first").shown(10, len(HEAD) + 5, "", name="c2")
    at = len(HEAD) + 5
    gap = after.edited(11, at, deleted, inserted).shown(20, 0, "", name="c3").gap()
    assert (gap["break_reason"], gap["final"]) == ("edited_elsewhere", final)


def test_the_windows_of_a_request_may_be_cut_at_both_ends():
    log = server_log(prefix=HEAD[-20:], suffix=TAIL[:40]).edited(5, len(HEAD), 0, "first")
    cursor = len(HEAD) + 5
    log.shown(10, cursor, "", name="c2", prefix=log.document[cursor - 30 : cursor], suffix=TAIL[:35])
    gap = log.gap()
    assert (gap["final"], gap["n_edits"], gap["break_reason"]) == ("first", 1, "stream_end")


def test_a_gap_at_the_end_of_the_document_reaches_to_its_end():
    log = Log("a = 1\n", is_edited=False).shown(0, 6, "b = 2").edited(1, 6, 0, "b = 3\nc = 4\n")
    log.shown(2, 18, "", name="c2")
    assert (log.gap()["final"], log.gap()["outcome"]) == ("b = 3\nc = 4\n", "superseded")
    not_at_end = Log("a = 1\n", is_edited=False).shown(0, 6, "b = 2").edited(1, 6, 0, "b = (3)\n")
    not_at_end.shown(2, 11, "", name="c2", suffix=None)
    assert not_at_end.gap()["final"] == ""  # how the document ends is not known


def test_without_a_suffix_the_gap_ends_at_the_cursor_or_before_what_is_remembered():
    log = Log(HEAD + TAIL, is_edited=False)
    log.shown(0, len(HEAD + TAIL), "", name="before", suffix=None)
    log.shown(5, len(HEAD), "first + second", suffix=None).edited(6, len(HEAD), 0, "first")
    log.shown(10, len(HEAD) + 5, "", name="c2", suffix=None)
    assert log.gap()["final"] == "first"
    log.shown(20, len(log.document) - 4, "", name="c3", suffix=None)  # the cursor is far below
    assert (log.gap()["final"], log.gap()["break_reason"]) == ("first", "stream_end")


def test_a_cursor_that_goes_back_without_a_suffix_tells_nothing():
    log = (
        Log(HEAD, is_edited=False).shown(0, len(HEAD), "first", suffix=None).edited(1, len(HEAD), 0, "first")
    )
    log.shown(2, len(HEAD) + 5, "", name="c2", suffix=None).shown(
        3, len(HEAD) + 2, "", name="c3", suffix=None
    )
    assert log.gap()["final"] == "first"


def test_an_acceptance_that_no_view_confirms_is_believed_and_censored():
    gap = server_log().accepted(2).gap()
    assert (gap["outcome"], gap["final"], gap["censored"], gap["accepted_chars"]) == (
        "accepted",
        "first + second",
        True,
        14,
    )
    seen = server_log().accepted(2).edited(3, len(HEAD), 0, "first + second").shown(4, 0, "", name="c2")
    seen.add(1000, "closed")
    assert (seen.gap()["censored"], seen.gap()["break_reason"]) == (False, "idle")


def test_idle_is_no_change_seen_for_as_long_as_the_policy_waits():
    log = server_log().shown(200, 3, "", name="c2").shown(250, 3, "", name="c3").add(2000, "closed")
    assert (log.gap()["break_reason"], seconds(log.gap())) == ("idle", 300)
    log = server_log().edited(1, len(HEAD), 0, "f").shown(200, 3, "", name="c2").shown(450, 3, "", name="c3")
    assert (log.add(2000, "closed").gap()["break_reason"], seconds(log.gap())) == ("idle", 500)


def test_where_the_user_stopped_is_not_known_of_who_was_last_seen_writing_in_the_gap():
    writing = server_log().edited(5, len(HEAD), 0, "first").shown(10, len(HEAD) + 5, "", name="c2")
    assert (writing.add(2000, "closed").gap()["final"], writing.gap()["censored"]) == ("first", True)
    left = server_log().edited(5, len(HEAD), 0, "first").shown(10, 3, "", name="c2").add(2000, "closed")
    assert (left.gap()["break_reason"], left.gap()["final"], left.gap()["censored"]) == (
        "idle",
        "first",
        False,
    )


def test_who_comes_back_after_an_edit_elsewhere_writes_new_text():
    """Whether the text in the gap or the text elsewhere came first is told by where the cursor is last."""
    log = server_log().edited(5, len(HEAD), 0, "first").shown(10, len(HEAD) + 5, "", name="c2")
    log.edited(11, 0, 0, "x = 1\n").edited(12, len(HEAD) + 11, 0, " + 1")
    back = log.shown(20, len(HEAD) + 15, "", name="c3").gap()
    assert (back["break_reason"], back["final"]) == ("edited_elsewhere", "first")
    log = server_log().edited(5, len(HEAD), 0, "first").shown(10, len(HEAD) + 5, "", name="c2")
    log.edited(11, len(HEAD) + 5, 0, " + 1").edited(12, 0, 0, "x = 1\n")
    assert log.shown(20, 6, "", name="c3").gap()["final"] == "first + 1"


def test_a_policy_that_shifts_gaps_goes_on_after_an_edit_elsewhere():
    log = server_log().edited(1, len(HEAD), 0, "first").edited(2, 0, 0, "x = 1\n").shown(3, 0, "", name="c2")
    log.edited(4, len(HEAD) + 11, 0, " + 1").edited(5, len(HEAD) - 20, 3, "abc").shown(6, 0, "", name="c3")
    gap = log.add(1000, "closed").gap(PRESETS["zed"])
    assert (gap["break_reason"], gap["final"], gap["n_edits"], seconds(gap)) == ("idle", "first + 1", 2, 16)


def test_a_gap_that_outgrows_its_policy_ends_with_the_text_before():
    narrow = dataclasses.replace(PRESETS["echo"], name="narrow", max_final_units=6)
    log = server_log().edited(1, len(HEAD), 0, "first").shown(2, 0, "", name="c2")
    gap = log.edited(3, len(HEAD), 0, "1 + ").shown(4, 0, "", name="c3").gap(narrow)
    assert (gap["break_reason"], gap["final"], seconds(gap)) == ("outgrown", "first", 4)


@pytest.mark.parametrize(
    ("change", "ends"),
    [
        ("import re\n", False),
        ("from a import (\n    b,\n)\n", False),
        ("import re\nx = 1\n", True),
        ("# note\n", True),
    ],
)
def test_other_imports_above_the_gap_do_not_end_it(change, ends):
    log = server_log().edited(5, len(HEAD), 0, "first").edited(6, 0, 0, change)
    log.shown(10, 0, "", name="c2").edited(11, len(HEAD) + len(change) + 5, 0, "!").shown(
        20, 0, "", name="c3"
    )
    gap = log.gap()
    expected = ("edited_elsewhere", "first") if ends else ("stream_end", "first!")
    assert (gap["break_reason"], gap["final"]) == expected


def test_an_accepted_proposal_stands_in_the_gaps_around_it():
    log = (
        server_log()
        .edited(1, len(HEAD), 0, "fi")
        .shown(2, len(HEAD) + 2, "rst", name="c2")
        .accepted(3, name="c2")
    )
    assert (log.gap()["final"], log.gap()["outcome"]) == ("first", "superseded")
    assert log.gap(name="c2")["final"] == "rst"


def test_an_acceptance_is_a_change_that_starts_the_idle_time_again():
    log = server_log().accepted(200).edited(201, len(HEAD), 0, "first + second!").shown(450, 0, "", name="c2")
    gap = log.add(2000, "closed").gap()
    assert (gap["final"], gap["break_reason"], seconds(gap)) == ("first + second!", "idle", 750)


FILE = "".join(f"def function_{number}(value):\n    return value + {number}\n\n\n" for number in range(40))
AT = FILE.index("value + 20")


def cut(log, at, cursor, width=300, **fields):
    """A request that sends `width` characters on either side of the cursor, and not where they stand."""
    fields = {"text": "", "name": f"view {len(log.rows)}", **fields}
    text = log.document
    around = {"prefix": text[max(0, cursor - width) : cursor], "suffix": text[cursor : cursor + width]}
    return log.shown(at, None, **fields, **around)


def test_windows_that_slide_over_a_document_show_a_gap_wherever_they_reach_it():
    log = cut(Log(FILE, is_edited=False), 0, AT, text="1 + ", name="c1").edited(1, AT, 0, "2 * ")
    cut(log, 2, AT + 40)
    cut(log, 3, AT - 200)
    cut(log, 4, 100)  # out of sight
    cut(log, 5, AT + 4)
    log.edited(6, AT + 4, 0, "3 * ")
    gap = cut(log, 7, AT + 250).add(1000, "closed").gap()
    assert (gap["offset"], gap["tracking"], gap["final"], gap["n_edits"]) == (
        None,
        "snapshots",
        "2 * 3 * ",
        2,
    )
    assert (gap["break_reason"], gap["censored"], seconds(gap)) == ("idle", False, 307)


def test_a_window_that_is_elsewhere_says_nothing_of_a_gap():
    log = cut(Log(FILE, is_edited=False), 0, AT, text="1 + ", name="c1").edited(1, AT, 0, "2 * ")
    cut(log, 2, AT + 4)
    gap = cut(log, 3, 100).add(1000, "closed").gap()
    assert (gap["final"], gap["n_edits"], gap["break_reason"]) == ("2 * ", 1, "idle")


def test_an_edit_elsewhere_is_seen_as_far_as_a_window_reaches():
    def log(place):
        made = cut(Log(FILE, is_edited=False), 0, AT, text="1 + ", name="c1").edited(1, AT, 0, "2 * ")
        return cut(made.edited(2, place, 3, "new"), 3, AT + 4).gap()["break_reason"]

    assert (log(AT - 100), log(AT + 100)) == ("edited_elsewhere", "edited_elsewhere")
    assert (log(100), log(AT + 1000)) == ("stream_end", "stream_end")


def test_a_gap_whose_place_nobody_tells_is_followed_by_views_though_edits_are_logged():
    log = Log(FILE)
    cut(log, 0, AT, text="1 + ", name="c1").edited(1, AT, 0, "2 * ")
    gap = cut(log, 3, AT + 4).gap()
    assert (gap["tracking"], gap["final"], gap["typed_chars"]) == ("snapshots", "2 * ", None)


def test_an_acceptance_in_a_gap_out_of_sight_changes_no_other_gap():
    log = cut(Log(FILE, is_edited=False), 0, 100, text="other", name="c0").edited(1, 100, 0, "[]")
    cut(log, 2, 150)
    cut(log, 3, AT + 2, text="1 + ", name="c1")
    cut(log, 4, len(FILE) // 4 * 3)  # neither is in sight
    gaps = log.accepted(5).gaps()
    assert (gaps["c0"]["final"], gaps["c1"]["final"]) == ("[]", "1 + ")
    assert gaps["c0"]["outcome"] == "rejected_then_written"


def test_nested_gaps_share_their_region_where_no_offset_is_known():
    log = cut(Log(FILE, is_edited=False), 0, AT, text="1 + ", name="c1").edited(1, AT, 0, "2")
    cut(log, 2, AT + 1, text=" * ", name="c2")
    cut(log, 3, AT + 100, text="!", name="c3")
    gaps = log.gaps()
    assert gaps["c2"]["region_id"] == gaps["c1"]["gap_id"]
    assert gaps["c3"]["region_id"] == gaps["c3"]["gap_id"]


def test_a_request_whose_proposal_was_not_shown_is_a_view():
    log = server_log().edited(5, len(HEAD), 0, "first")
    at = len(HEAD) + 2
    log.add(10, "snapshot", reason="request", prefix=log.document[5:at], suffix=log.document[at : at + 40])
    assert (log.gap()["final"], log.gap()["n_edits"]) == ("first", 1)
    log.edited(11, 0, 0, "x = 1\n")
    log.add(12, "snapshot", reason="request", prefix=HEAD[:9], offset=15, suffix=HEAD[9:20])
    assert log.gap()["break_reason"] == "stream_end"  # cut before the gap, it says nothing
    at = len(HEAD) + 11
    fields = {"offset": at, "prefix": log.document[:at], "suffix": log.document[at:]}
    log.add(13, "snapshot", reason="request", **fields)
    assert (log.gap()["break_reason"], log.gap()["final"]) == ("edited_elsewhere", "first")


def test_a_snapshot_of_the_whole_document_is_a_view_too():
    log = server_log().edited(1, len(HEAD), 0, "first")
    log.add(5, "snapshot", prefix=log.document, suffix="")
    assert log.gap()["final"] == "first"


def test_tracking_is_decided_by_the_edits_of_the_day_on_which_the_gap_opened():
    night = 11.9 * 3600
    log = Log("abc", is_edited=False).shown(night, 3, "d").shown(night + 1200, 3, "d", name="c2")
    log.is_edited = True
    log.edited(night + 1210, 3, 0, "d")
    gaps = log.gaps()
    assert [gaps[name]["tracking"] for name in ("c1", "c2")] == ["snapshots", "edits"]


@pytest.mark.parametrize("policy", PRESETS.values(), ids=lambda policy: policy.name)
def test_random_server_logs_have_a_row_for_every_proposal_whatever_is_cut(policy):
    rng = random.Random(7)
    streams = [sessions.session(rng, f"{number}", 200)[0] for number in range(12)]
    log = sessions.frame([event for events in streams for event in events])
    log = log.filter(pl.col("kind").is_in(["shown", "accepted", "rejected", "snapshot"]))
    is_cut = (
        pl.col("event_id").hash(3) % 2 == 0
    )  # and some snapshots are requests whose proposal was not shown
    log = log.with_columns(
        offset=pl.when(~is_cut).then("offset"),
        prefix=pl.when(is_cut).then(pl.col("prefix").str.tail(25)).otherwise("prefix"),
        reason=pl.when(is_cut & (pl.col("kind") == "snapshot")).then(pl.lit("request")).otherwise("reason"),
    )
    gaps = extract_frame(log, policy)
    assert gaps.height == log.filter(pl.col("kind") == "shown").height > 100
    assert (gaps["tracking"] == "snapshots").all()
    assert gaps.filter(pl.col("offset").is_null()).height > 50
    known = gaps.select("gap_id", first="opened_at")
    again = gaps.join(known, left_on="reshown_of", right_on="gap_id")
    assert (again["first"] <= again["opened_at"]).all()
    assert again.height == gaps["reshown_of"].is_not_null().sum()
    assert extract_frame(log.sample(fraction=1, shuffle=True, seed=1), policy).equals(gaps)
