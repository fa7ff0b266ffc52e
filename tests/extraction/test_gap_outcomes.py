import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_log import Log

from echo_dagster.extraction.outcomes import kept_rate


def accepted(proposal="value = 1", reason="accept"):
    return Log("x\n").shown(0, 1, proposal).edited(1, 1, 0, proposal, reason).accepted(1)


def test_accepted_as_it_is_and_with_more_written_after_it():
    gap = accepted().edited(2, 10, 0, " + 2").gap()
    assert (gap["outcome"], gap["final"], gap["accepted_chars"], gap["typed_chars"]) == (
        "accepted",
        "value = 1 + 2",
        9,
        4,
    )
    assert gap["kept_rate"] == 1.0


def test_accepted_then_edited():
    gap = accepted().edited(2, 9, 1, "22").gap()
    assert (gap["outcome"], gap["final"]) == ("accepted_then_edited", "value = 22")
    assert gap["kept_rate"] == pytest.approx(8 / 9)


def test_accepted_then_removed_by_undo_or_nearly_whole():
    assert accepted().edited(2, 1, 9, "", "undo").gap()["outcome"] == "accepted_then_removed"
    gap = accepted("value = 12345678901234567890").edited(2, 1, 28, "other = 3").gap()
    assert gap["outcome"] == "accepted_then_edited"  # the signs and blanks between are kept
    gap = accepted("abcdefghijklmnopqrstuvwxyz(").edited(2, 1, 27, "fed(").gap()
    assert (gap["outcome"], gap["kept_rate"]) == ("accepted_then_removed", pytest.approx(1 / 27))


def test_partially_accepted_counts_what_was_taken_once():
    log = Log("x\n").shown(0, 1, "one two three").edited(1, 1, 0, "one ", "accept").accepted(1, text="one ")
    log.edited(2, 5, 0, "two ", "accept").accepted(2, text="two ")
    gap = log.gap()
    assert (gap["outcome"], gap["accepted_chars"], gap["final"]) == ("partially_accepted", 8, "one two ")
    assert gap["retained_0s"] == 4  # of the first part, before the second was taken
    log.edited(3, 9, 0, "three", "accept").accepted(3, text="three")
    assert (log.gap()["outcome"], log.gap()["accepted_chars"]) == ("accepted", 13)


def test_typed_through_without_a_key_press():
    log = Log("x\n").shown(0, 1, "abc\n")
    for at, letter in enumerate("abc;"):
        log.edited(at + 1, 1 + at, 0, letter)
    gap = log.gap()
    assert (gap["outcome"], gap["accepted_chars"], gap["typed_chars"], gap["retained_0s"]) == (
        "typed_through",
        0,
        4,
        None,
    )


def test_rejected_needs_an_act_and_a_timeout_is_none():
    log = Log("x\n").shown(0, 1, "abc")
    assert log.rejected(1, reason="timeout").gap()["outcome"] == "ignored"
    assert log.rejected(2).gap()["outcome"] == "rejected"
    assert Log("x\n").shown(0, 1, "abc").rejected(2, reason="dismissed").gap()["outcome"] == "rejected"
    assert Log("x\n").shown(0, 1, "abc").rejected(2, reason="superseded").gap()["outcome"] == "superseded"


def test_rejected_then_written():
    gap = Log("x\n").shown(0, 1, "abc").rejected(1).edited(2, 1, 0, "other").gap()
    assert gap["outcome"] == "rejected_then_written"
    assert Log("x\n").shown(0, 1, "abc").edited(2, 1, 0, "other").gap()["outcome"] == "rejected_then_written"


def test_superseded_before_any_decision_and_not_after_one():
    log = (
        Log("x\n")
        .shown(0, 1, "abc")
        .edited(1, 1, 0, "o")
        .shown(2, 2, "ther", name="c2")
        .edited(3, 2, 0, "dd")
    )
    assert log.gap()["outcome"] == "superseded"
    late = Log("x\n").shown(0, 1, "abc").rejected(1).edited(1, 1, 0, "o").shown(2, 2, "ther", name="c2")
    assert late.gap()["outcome"] == "rejected_then_written"
    pasted = Log("x\n").shown(0, 1, "abc").edited(1, 1, 0, "o", "paste").shown(2, 2, "ther", name="c2")
    assert pasted.gap()["outcome"] == "rejected_then_written"


def test_text_taken_from_a_newer_proposal_is_not_typed_through():
    log = Log("x\n").shown(0, 1, "abc").edited(1, 1, 0, "a").shown(2, 2, "bc", name="c2")
    log.edited(3, 2, 0, "bc", "accept").accepted(3, name="c2")
    gaps = log.gaps()
    assert (gaps["c1"]["outcome"], gaps["c1"]["accepted_chars"], gaps["c1"]["final"]) == (
        "superseded",
        0,
        "abc",
    )
    assert (gaps["c2"]["outcome"], gaps["c2"]["accepted_chars"]) == ("accepted", 2)


def test_an_edit_that_says_accept_is_enough_and_goes_to_the_newest_proposal_it_fits():
    log = (
        Log("x\n")
        .shown(0, 1, "abc")
        .edited(1, 1, 0, "a")
        .shown(2, 2, "bc", name="c2")
        .edited(3, 2, 0, "bc", "accept")
    )
    gaps = log.gaps()
    assert [gaps[name]["accepted_chars"] for name in ("c1", "c2")] == [0, 2]
    log.accepted(3, name="c1")  # the tool knows better
    gaps = log.gaps()
    assert [gaps[name]["outcome"] for name in ("c1", "c2")] == ["accepted", "superseded"]
    assert [gaps[name]["accepted_chars"] for name in ("c1", "c2")] == [3, 0]


@pytest.mark.parametrize("reason", ["accept", None])
@pytest.mark.parametrize("is_event_first", [True, False])
def test_an_acceptance_may_be_logged_before_or_after_its_edit(reason, is_event_first):
    log = Log("x\n").shown(0, 1, "abc")
    if is_event_first:
        log.accepted(1).edited(1, 1, 0, "abc", reason)
    else:
        log.edited(1, 1, 0, "abc", reason).accepted(1)
    gap = log.edited(2, 4, 0, "!").gap()
    assert (gap["outcome"], gap["accepted_chars"], gap["typed_chars"], gap["retained_0s"]) == (
        "accepted",
        3,
        1,
        3,
    )


def test_an_editor_may_adapt_what_it_inserts():
    gap = Log("x\n").shown(0, 1, "a\nb").edited(1, 1, 0, "a\n    b", "accept").accepted(1).gap()
    assert (gap["outcome"], gap["accepted_chars"], gap["retained_0s"]) == ("accepted_then_edited", 3, 7)


def test_characters_are_counted_by_the_reason_of_their_edit():
    log = Log("x\n").shown(0, 1, "abc")
    for at, reason in enumerate(("typing", None, "paste", "agent", "undo", "format", "snippet", "other")):
        log.edited(at + 1, 1, 0, "😀", reason)
    gap = log.gap()
    assert (gap["typed_chars"], gap["pasted_chars"], gap["agent_chars"], gap["n_edits"]) == (4, 2, 2, 8)


def test_retained_text_is_followed_after_the_gap_has_ended():
    log = (
        accepted("abcdef")
        .edited(40, 0, 0, "#")
        .edited(70, 3, 2, "")
        .edited(400, 5, 1, "")
        .edited(2000, 0, 0, "z")
    )
    gap = log.gap()
    assert gap["break_reason"] == "edited_elsewhere"
    assert [gap[f"retained_{s}s"] for s in (0, 30, 120, 300, 600, 900)] == [6, 6, 4, 4, 3, 3]


def test_rewriting_accepted_text_with_itself_removes_nothing():
    log = accepted("abcdef").edited(10, 0, 7, "xabcdefgh").edited(2000, 0, 0, "z")
    gap = log.gap()
    assert (gap["final"], gap["retained_30s"], gap["retained_900s"]) == ("abcdefgh", 6, 6)


def test_retention_is_null_where_nothing_was_accepted_or_the_log_ends_first():
    gap = accepted("abcdef").edited(100, 1, 1, "").gap()
    assert [gap[f"retained_{s}s"] for s in (0, 30, 120, 300)] == [6, 6, None, None]
    assert Log("x").shown(0, 1, "a").edited(1, 1, 0, "b").gap()["retained_0s"] is None


@pytest.mark.parametrize(
    ("replaced", "proposal", "final", "rate"),
    [
        ("", "print(x)", "print(x)", 1.0),
        ("", "print(x)", "print(y)", 7 / 8),
        ("", "print(x)", "", 0.0),
        ("", "alpha beta", "beta alpha", 0.5),
        (")", "x)", ")", 0.0),  # the bracket was there before
        (")", "x)", "x)", 1.0),
        ("same", "same", "other", None),
        ("", "", "typed", None),
        ("", "😀 a", "😀", 0.5),  # units, not characters
    ],
)
def test_kept_rate(replaced, proposal, final, rate):
    assert kept_rate(replaced, proposal, final) == (rate if rate is None else pytest.approx(rate))


TEXT = st.text("ab (\n😀", max_size=12)


@given(TEXT, TEXT, TEXT)
def test_kept_rate_is_a_share(replaced, proposal, final):
    rate = kept_rate(replaced, proposal, final)
    assert rate is None or 0 <= rate <= 1
    assert kept_rate(replaced, proposal, proposal) in (None, 1.0)
