"""What only the whole day tells: reversals, and users who are no people."""

from datetime import timedelta

import pytest
from quality_cases import BACK, DEFAULT, FOUND, UNTOUCHED, day_of, fate, refined, uneven
from refinery_rows import MORNING, PREFIX, SUFFIX

NO_REVERSAL = {
    "of another document": [FOUND, {**BACK, "document": "other.py"}],
    "of another session": [FOUND, {**BACK, "session_id": "other"}],
    "of another user": [FOUND, {**BACK, "user_id": "bob"}],
    "of a later proposal": [BACK, FOUND],
    "of a proposal at the same moment": [FOUND, {**BACK, "opened_at": MORNING}],
    "at a place that is not known": [{**FOUND, "offset": None}, {**BACK, "offset": None}],
    "in another part of the file": [FOUND, {**BACK, "offset": len(PREFIX) + 1}],
    "before an end that is not known": [{**FOUND, "suffix": None}, {**BACK, "suffix": None}],
    "with another end": [FOUND, {**BACK, "suffix": SUFFIX + "\n"}],
}


@pytest.mark.parametrize("rows", NO_REVERSAL.values(), ids=NO_REVERSAL)
def test_no_reversal(rows):
    assert fate(rows)[0] is None


def test_a_reversal_may_replace_code_and_the_document_may_begin_and_hold_any_sign():
    head = "s = '🙂'\n"
    found = {"prefix": head + PREFIX, "offset": 100, "replaced": "return 0", "final": "return 1"}
    back = {"prefix": head + PREFIX + "return ", "offset": 107, "replaced": "1", "final": "0"}
    assert fate([found, back]) == ("reversal", 60.0)


def test_an_unchanged_gap_is_no_reversal_whatever_the_order_of_the_filters():
    names = list(DEFAULT)
    names.remove("unchanged")
    seen = {"prefix": PREFIX + "return ", "replaced": "0", "final": "0", "offset": len(PREFIX) + 7}
    assert fate([FOUND, seen], filters=names, min_middle_chars=1)[0] is None


def test_a_bot_is_judged_by_its_day_and_alone():
    bot = [{**row, "user_id": "bot"} for row in UNTOUCHED]
    yesterday = [{**row, "closed_at": row["closed_at"] - timedelta(days=1)} for row in bot[:25]]
    _, rejected = refined([*bot, {"final": "return math.e"}])
    assert rejected["reason"].unique().to_list() == ["bot_acceptance"]
    assert len(rejected) == 50 and "g50" not in rejected["sample_id"]
    _, rejected = refined([*yesterday, *bot[25:]])
    assert "bot_acceptance" not in rejected["reason"]


def test_proposals_shown_again_and_tools_that_tell_no_edits_make_no_bot():
    assert fate([{**row, "reshown_of": "g0"} for row in UNTOUCHED])[0] is None
    assert fate([{**row, "typed_chars": None} for row in UNTOUCHED])[0] is None


def test_a_user_who_never_accepts_is_no_bot():
    assert fate(day_of(60, uneven(60), outcome="rejected_then_written"))[0] is None


def test_a_log_of_whole_seconds_shows_no_clockwork_where_it_cannot_tell_pauses_apart():
    assert fate(day_of(51, 2.0))[0] is None
    assert fate(day_of(51, 2.5)) == ("bot_rhythm", pytest.approx(0, abs=1e-6))
    assert fate(day_of(51, 30.0)) == ("bot_rhythm", pytest.approx(1 / 61))
