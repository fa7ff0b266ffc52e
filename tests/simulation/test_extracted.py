"""What extraction finds in a simulated log is what the developers had in mind and did."""

from collections import Counter

import pytest

from echo_dagster import events
from echo_dagster.extraction import gaps, policies
from echo_dagster.simulation.session import Session
from echo_dagster.simulation.writing import Decision


@pytest.fixture(scope="module")
def found(sessions: list[Session]) -> list[tuple[dict, Decision]]:
    log = events.frame([events.to_row(event) for session in sessions for event in session.editor.events])
    decisions = {decision.completion_id: decision for session in sessions for decision in session.decisions}
    extracted = gaps.extract_frame(log.sample(fraction=1, shuffle=True, seed=1), policies.PRESETS["echo"])
    assert sorted(extracted["completion_id"]) == sorted(decisions)
    assert extracted["tracking"].unique().to_list() == ["edits"]
    return [(gap, decisions[gap["completion_id"]]) for gap in extracted.iter_rows(named=True)]


def test_the_final_text_is_the_real_code(found):
    true = Counter(
        gap["final"] == decision.rest or (gap["final"] != "" and decision.rest.startswith(gap["final"]))
        for gap, decision in found
        if gap["outcome"] not in ("rejected", "ignored")
    )
    assert true[True] >= 0.95 * true.total()


def test_outcomes_are_what_developers_did(found):
    outcomes: dict[str, Counter] = {}
    for gap, decision in found:
        outcomes.setdefault(decision.behaviour, Counter())[gap["outcome"]] += 1
    assert set(outcomes["accept"]) <= {"accepted", "accepted_then_edited"}
    assert set(outcomes["accept_then_edit"]) == {"accepted_then_edited"}
    assert set(outcomes["accept_words"]) <= {"partially_accepted", "accepted"}
    assert "superseded" in outcomes["supersede"]
    for refused in ("dismiss", "dismiss_and_leave", "time_out", "idle", "ignore"):
        assert not {"accepted", "accepted_then_edited", "partially_accepted"} & set(outcomes[refused])


def test_no_gap_is_taken_for_another_kind_of_decision(found):
    for gap, decision in found:
        assert gap["proposal"] == decision.proposal
        assert (gap["accepted_chars"] > 0) == decision.behaviour.startswith("accept")
