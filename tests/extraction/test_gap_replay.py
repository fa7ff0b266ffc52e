import os
import random
from datetime import timedelta

import gap_oracle
import polars as pl
import pytest
import sessions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from echo_dagster.extraction.gaps import extract, extract_frame
from echo_dagster.extraction.policies import PRESETS, Policy

#: Edits per policy in the seeded test; a larger number is for a run by hand.
N_EVENTS = int(os.environ.get("ECHO_REPLAY_EVENTS", "54000"))
PER_STREAM = 1_500

POLICIES = [
    *PRESETS.values(),
    Policy("narrow", idle_s=40, lifetime_s=60, far_units=6, max_final_units=25),
    Policy("jumpy", idle_s=100, lifetime_s=150, cursor_jump=True, breaks_on_edit_elsewhere=False),
    Policy("patient", idle_s=3000, lifetime_s=12 * 3600, breaks_on_edit_elsewhere=False, max_final_units=60),
]


def as_found(gaps):
    by_gap = dict(gaps.select("gap_id", "completion_id").iter_rows())
    rows = {}
    for row in gaps.iter_rows(named=True):
        assert row["completion_id"] not in rows
        rows[row["completion_id"]] = {
            "completion_id": row["completion_id"],
            "region": by_gap.get(row["region_id"]),
            "closed_at": gap_oracle.since_1970(row["closed_at"]),
            "break_reason": row["break_reason"],
            "final": row["final"],
            "n_edits": row["n_edits"],
            **{name: row[name] for name in ("typed_chars", "pasted_chars", "agent_chars", "accepted_chars")},
            "retained": [row[f"retained_{second}s"] for second in gap_oracle.HORIZONS],
        }
    return rows


def compare(streams, policy):
    """Extract a shuffled log of several streams and compare every gap with the replay of its stream."""
    log = sessions.frame([event for events, _ in streams for event in events])
    until = log["ts"].max()
    found = as_found(extract_frame(log.sample(fraction=1, shuffle=True, seed=3), policy))
    expected = {
        gap["completion_id"]: gap
        for events, document in streams
        if any(event["kind"] == "edited" for event in events)
        for gap in gap_oracle.replay_all(
            events, document, policy, gap_oracle.since_1970(until), close_open=True
        )
    }
    shown = log.filter(pl.col("kind") == "shown").height
    assert len(found) == shown
    for name, gap in expected.items():
        assert found[name] == gap
    return found


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_extraction_equals_a_replay_of_the_whole_document(policy):
    rng = random.Random(20260105)
    streams = [
        sessions.session(rng, f"{number:03d}", PER_STREAM, sessions.START + timedelta(minutes=13 * number))
        for number in range(max(1, N_EVENTS // PER_STREAM))
    ]
    found = compare(streams, policy)
    assert len(found) > N_EVENTS // 20
    edits = sum(event["kind"] == "edited" for events, _ in streams for event in events)
    assert edits * len(POLICIES) > 3.5 * N_EVENTS


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(rng=st.randoms(use_true_random=False), policy=st.sampled_from(POLICIES), n_events=st.integers(1, 60))
def test_any_short_session_equals_its_replay(rng, policy, n_events):
    compare([sessions.session(rng, "one", n_events)], policy)


def test_the_bounds_of_the_frames_do_not_matter():
    rng = random.Random(5)
    streams = [sessions.session(rng, f"{number}", 300) for number in range(4)]
    log = sessions.frame([event for events, _ in streams for event in events])
    log = log.sort("user_id", "session_id", "document", "ts", "seq", "event_id")
    until = log["ts"].max()
    policy = PRESETS["zed"]
    one_by_one = log.partition_by("user_id", "session_id", "document", maintain_order=True)
    whole = pl.concat(extract([log], policy, until=until, close_open=True))
    pieces = pl.concat(extract(one_by_one, policy, until=until, close_open=True))
    assert len(one_by_one) == 4 and whole.equals(pieces)
    for wrong in (log.reverse(), pl.concat([*one_by_one, one_by_one[0]])):
        with pytest.raises(ValueError, match="STREAM_ORDER"):
            list(extract([wrong], policy, until=until, close_open=True))
