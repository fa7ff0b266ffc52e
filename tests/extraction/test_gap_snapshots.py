import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_log import Log, seconds

from echo_dagster.extraction.anchors import ANCHOR_CHARS, Around, Found, View, find, recall

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


def test_anchors_that_are_gone_end_the_gap_with_the_last_text_found():
    log = server_log().edited(5, len(HEAD), 0, "first").shown(10, len(HEAD) + 5, "", name="c2")
    log.edited(11, len(HEAD) - 12, 17, "").shown(20, len(HEAD) - 12, "", name="c3")
    gap = log.gap()
    assert (gap["break_reason"], gap["final"], gap["censored"]) == ("anchor_lost", "first", True)


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


def test_idle_is_no_view_of_the_document_for_as_long_as_the_policy_waits():
    log = server_log().shown(200, 3, "", name="c2").shown(450, 3, "", name="c3").add(2000, "closed")
    assert (log.gap()["break_reason"], seconds(log.gap())) == ("idle", 750)


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


WORDS = st.text("ab \n", min_size=0, max_size=80)


@given(
    prefix=WORDS, old=WORDS, new=WORDS, suffix=WORDS, shown=st.tuples(st.integers(0, 60), st.integers(0, 60))
)
def test_what_is_found_between_untouched_anchors_is_what_stands_there(prefix, old, new, suffix, shown):
    """In a whole view always; in a window wherever it holds both anchors and each of them once."""
    around = Around(len(prefix), prefix, suffix)
    whole = find(View(0, prefix + new, suffix, reaches_end=True), around, old, slack=0)
    assert whole == Found(len(prefix), new, True)
    start, visible = min(shown[0], len(prefix)), suffix[: shown[1]]
    window = prefix[start:] + new + visible
    anchors = prefix[-ANCHOR_CHARS:], suffix[:ANCHOR_CHARS]
    are_visible = len(prefix) - start >= ANCHOR_CHARS and len(visible) >= ANCHOR_CHARS
    if are_visible and all(len(window.split(anchor)) == 2 for anchor in anchors):
        found = find(View(start, prefix[start:] + new, visible, reaches_end=False), around, old, slack=0)
        assert found == Found(len(prefix), new, True)


@pytest.mark.parametrize(
    ("known", "before", "rest", "expected"),
    [
        (
            "one\ntwo\nsix\n",
            "one\nt",
            "wo\nsix\n",
            "\nsix\n",
        ),  # moved up, or deleted: the line is not expected
        ("one\ntwo\nsix\n", "one\nnew", "two\nsix\n", "two\nsix\n"),  # a new line
        ("one\ntwo\nsix\n", "one\ntwelve", "o\nsix\n", "\nsix\n"),  # the line is being written over
        # moved down past a known line
        (f"a\n{'=' * 40}\nsix\nend", f"a\nnew\n{'=' * 40}\nsi", "x\nend", "\nend"),
    ],
)
def test_what_follows_the_cursor_is_recalled_from_earlier_views(known, before, rest, expected):
    assert recall(known, before) == (rest, expected)
