"""The simulation as a whole: what its log says is true of the code, valid, and the same every time."""

import json
from collections import Counter, defaultdict
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from knowing import DAYS, GAPS, START, USERS, KnowingAgent

from echo_dagster import events, utf16
from echo_dagster.simulation import developer, workday
from echo_dagster.simulation.code import SimulationError
from echo_dagster.simulation.session import Session
from echo_dagster.simulation.workday import Simulated


def lines(landed: tuple[Path, Simulated]) -> list[str]:
    return [line for file in landed[1].files for line in file.read_text(encoding="utf-8").splitlines()]


def records(landed: tuple[Path, Simulated]) -> list[dict]:
    """The events in the landing files as an importer finds them: each once, no malformed lines."""
    found = {}
    for line in lines(landed):
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        found[record["event_id"]] = record
    return sorted(found.values(), key=lambda record: (record["ts"], record["seq"], record["event_id"]))


def replay(log: list[dict]) -> dict[tuple[str, str], str]:
    texts: dict[tuple[str, str], str] = {}
    for event in log:
        stream = (event["session_id"], event["document"])
        if event["kind"] == "snapshot":
            texts[stream] = event["prefix"] + event["suffix"]
        elif event["kind"] == "edited":
            texts[stream] = utf16.splice(texts[stream], event["offset"], event["length"], event["text"])
    return texts


def test_the_log_replays_to_the_real_code(landed, source):
    texts = replay(records(landed))
    assert len(texts) == landed[1].n_documents >= 20
    for (_, document), text in texts.items():
        assert text == (source.parent / document).read_text(encoding="utf-8"), document


def test_files_open_with_their_regions_missing(landed, source):
    opened = [event for event in records(landed) if event["kind"] == "snapshot"]
    for event in opened:
        true = (source.parent / event["document"]).read_text(encoding="utf-8")
        assert 20 < len(true) - len(event["suffix"]) < len(true) / 2


def test_no_file_is_written_twice(sessions):
    written = Counter(file.path for session in sessions for file in session.files)
    assert set(written.values()) == {1}


def test_every_line_is_an_event_but_for_the_planted_one(landed):
    good, bad = 0, 0
    for line in lines(landed):
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            bad += 1
            continue
        events.to_row(record)
        good += 1
    assert bad == landed[1].n_malformed == 1
    assert good == landed[1].n_events + landed[1].n_duplicates
    assert good + bad == landed[1].n_lines


def test_shown_contexts_are_the_document_around_the_cursor(landed):
    texts: dict[tuple[str, str], str] = {}
    n_shown = 0
    for event in records(landed):
        stream = (event["session_id"], event["document"])
        if event["kind"] == "shown":
            before, after = utf16.cut(texts[stream], event["offset"])
            assert before.endswith(event["prefix"]) and after.startswith(event["suffix"])
            n_shown += 1
        elif event["kind"] in ("snapshot", "edited"):
            texts.update(
                replay([{**event, "kind": "snapshot", "prefix": "", "suffix": texts[stream]}, event])
                if stream in texts
                else replay([event])
            )
    assert n_shown == landed[1].n_shown
    assert abs(n_shown - DAYS * USERS * GAPS) < 0.3 * DAYS * USERS * GAPS


def test_the_same_seed_gives_the_same_bytes(landed, source, tmp_path):
    again = workday.simulate(
        source, DAYS, START, tmp_path, users=USERS, gaps_per_user_day=GAPS, seed=3, agent=KnowingAgent(source)
    )
    assert [file.name for file in again.files] == [file.name for file in landed[1].files]
    assert [file.read_bytes() for file in again.files] == [file.read_bytes() for file in landed[1].files]
    assert again.counts() == landed[1].counts()


def test_another_seed_gives_another_log(landed, source, tmp_path):
    other = workday.simulate(
        source, DAYS, START, tmp_path, users=USERS, gaps_per_user_day=GAPS, seed=4, agent=KnowingAgent(source)
    )
    assert other.files[0].read_bytes() != landed[1].files[0].read_bytes()


def test_every_behaviour_occurs(sessions, source, agent):
    done = Counter(decision.behaviour for session in sessions for decision in session.decisions)
    for seed in (11, 12, 13):
        more = workday.plan(
            source, DAYS, START, users=USERS, gaps_per_user_day=GAPS, seed=seed, model="knowing"
        )
        workday.run(more, agent)
        done.update(decision.behaviour for session in more for decision in session.decisions)
    assert set(done) == set(developer.BEHAVIOURS)


def test_every_reason_of_the_log_occurs(landed):
    reasons = Counter((event["kind"], event["reason"]) for event in records(landed) if "reason" in event)
    for reason in ("typing", "accept", "paste", "undo", "format", "auto_import"):
        assert reasons["edited", reason], reason
    for reason in ("dismissed", "timeout", "superseded"):
        assert reasons["rejected", reason], reason


def test_acceptance_follows_what_a_proposal_is_worth(sessions):
    worth_taken: dict[bool, list[float]] = defaultdict(list)
    for session in sessions:
        for decision in session.decisions:
            is_taken = decision.behaviour in ("accept", "accept_then_edit", "accept_then_remove")
            worth_taken[is_taken].append(developer.worth(decision.proposal, decision.intended))
    mean = {taken: sum(values) / len(values) for taken, values in worth_taken.items()}
    assert mean[True] > 0.8
    assert mean[False] < 0.6


def test_an_accepted_proposal_stands_in_the_log_as_one_edit(landed, sessions):
    decisions = {decision.completion_id: decision for session in sessions for decision in session.decisions}
    log = records(landed)
    for event, following in pairwise(log):
        if event["kind"] == "accepted":
            assert following["kind"] == "edited" and following["reason"] == "accept"
            assert following["offset"] == event["offset"] and following["ts"] == event["ts"]
            assert following["text"] == event.get("text", decisions[event["completion_id"]].proposal)


def test_astral_files_are_dealt_first_and_measured_in_utf16(landed):
    log = [event for event in records(landed) if event["document"].endswith("faces.py")]
    shown = [event for event in log if event["kind"] == "shown"]
    assert shown
    assert all(event["offset"] == utf16.length(event["prefix"]) > len(event["prefix"]) for event in shown)


def test_one_session_goes_over_midnight(landed):
    times: dict[str, list[str]] = defaultdict(list)
    for event in records(landed):
        times[event["session_id"]].append(event["ts"])
    over = {name: (min(ts)[:10], max(ts)[:10]) for name, ts in times.items() if min(ts)[:10] != max(ts)[:10]}
    assert list(over.values()) == [(str(START), str(START + timedelta(days=1)))]


def test_only_simulated_days_land(landed):
    assert [file.name for file in landed[1].files] == [
        f"{START + timedelta(days=day)}.ndjson" for day in range(DAYS)
    ]


def test_a_late_line_waits_in_the_next_days_file(landed):
    late = [
        (file.stem, record["ts"][:10], record["kind"])
        for file in landed[1].files
        for line in file.read_text(encoding="utf-8").splitlines()
        if line.endswith("}") and (record := json.loads(line))["ts"][:10] != file.stem
    ]
    assert late == [("2026-01-06", "2026-01-05", "cursor")]
    assert landed[1].n_late == 1


def test_one_developer_has_not_consented_and_everything_says_simulated(landed):
    log = records(landed)
    consent = defaultdict(set)
    for event in log:
        consent[event["user_id"]].add(event["consent"])
    assert sorted(map(sorted, consent.values())) == [[False], [True], [True], [True]]
    assert {(event["source"], event["cohort"]) for event in log} == {("simulated", "simulated")}
    assert {event["model"] for event in log if event["kind"] == "shown"} == {"knowing"}


def test_the_clock_never_goes_back(sessions: list[Session]):
    for session in sessions:
        times = [datetime.fromisoformat(event["ts"]) for event in session.editor.events]
        assert times == sorted(times)


def test_requests_are_answered_in_batches(source):
    agent = KnowingAgent(source)
    planned = workday.plan(source, 1, START, users=3, gaps_per_user_day=10, seed=3, model="knowing")
    seen = []
    workday.run(planned, agent, lambda done, total: seen.append((done, total)))
    assert max(agent.batches) == 3
    assert seen[-1] == (30, 30) and seen == sorted(seen)


def test_a_code_base_that_is_too_small_says_what_to_do(source, tmp_path):
    with pytest.raises(SimulationError, match="holds too little code for 50 developers x 9 days x 20 gaps"):
        workday.plan(source, 9, START, users=50, gaps_per_user_day=20, seed=3, model="knowing")
    with pytest.raises(SimulationError, match="holds no Python file"):
        workday.plan(tmp_path, 1, date(2026, 1, 5), users=1, gaps_per_user_day=1, seed=3, model="knowing")
