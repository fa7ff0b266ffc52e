"""`to_row` accepts what the schema says and names the reason for everything else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_dagster import events

GOOD: dict[str, dict[str, Any]] = {
    "shown": {"completion_id": "c", "offset": 2, "length": 1, "text": "new", "prefix": "ab", "suffix": "c"},
    "accepted": {"completion_id": "c"},
    "rejected": {"completion_id": "c", "reason": "dismissed"},
    "edited": {"offset": 0, "length": 0, "text": "", "reason": "typing"},
    "cursor": {"offset": 0},
    "snapshot": {"prefix": ""},
    "closed": {},
}


def record(kind: str = "closed", **fields: Any) -> dict[str, Any]:
    named = {
        "event_id": "1",
        "ts": "2026-01-05T08:00:00Z",
        "user_id": "u",
        "session_id": "s",
        "document": "d",
    }
    return {**named, "kind": kind, **(GOOD.get(kind, {}) if isinstance(kind, str) else {}), **fields}


def told(**fields: Any) -> str:
    with pytest.raises(events.BadEvent) as error:
        events.to_row(record(**fields))
    return error.value.reason


@pytest.mark.parametrize("kind", events.KINDS)
def test_every_kind_has_a_good_event(kind):
    row = dict(zip(events.SCHEMA, events.to_row(record(kind, unheard_of=1)), strict=True))
    assert row["kind"] == kind
    assert row["ts"] == datetime(2026, 1, 5, 8, tzinfo=UTC)
    assert row["seq"] == 0
    assert events.frame([tuple(row.values())]).schema == events.SCHEMA


@pytest.mark.parametrize("name", ["event_id", "ts", "user_id", "session_id", "document", "kind"])
def test_what_every_event_needs(name):
    assert told(**{name: None}) == "missing_field"


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind, fields in GOOD.items() for name in fields if name not in ("reason", "suffix")],
)
def test_what_a_kind_needs(kind, name):
    if kind == "shown" and name in ("offset", "length"):  # not known; nothing is replaced
        assert events.to_row(record("shown", **{name: None}))
        return
    assert told(kind=kind, **{name: None}) == "missing_field"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"kind": "hover"}, "unknown_kind"),
        ({"kind": ["shown"]}, "unknown_kind"),
        ({"user_id": 7}, "wrong_type"),
        ({"language": ["python"]}, "wrong_type"),
        ({"text": "\ud83d"}, "wrong_type"),
        ({"seq": "1"}, "wrong_type"),
        ({"seq": True}, "wrong_type"),
        ({"seq": 2**63}, "wrong_type"),
        ({"offset": 1.0}, "wrong_type"),
        ({"consent": "yes"}, "wrong_type"),
        ({"ts": 1736064000}, "wrong_type"),
        ({"ts": "yesterday"}, "bad_timestamp"),
        ({"ts": "2026-01-05T08:00:00"}, "bad_timestamp"),
        ({"ts": "2026-01-05"}, "bad_timestamp"),
        ({"ts": "2026-02-30T08:00:00Z"}, "bad_timestamp"),
        ({"ts": "0001-01-01T00:00:00+01:00"}, "bad_timestamp"),
        ({"kind": "edited", "reason": "magic"}, "unknown_reason"),
        ({"kind": "edited", "reason": "dismissed"}, "unknown_reason"),
        ({"kind": "rejected", "reason": "typing"}, "unknown_reason"),
        ({"kind": "edited", "offset": -1}, "impossible_offset"),
        ({"kind": "edited", "length": -1}, "impossible_offset"),
        ({"latency_ms": -1}, "impossible_latency"),
        ({"latency_ms": 0.5}, "wrong_type"),
        ({"kind": "shown", "offset": 1}, "impossible_offset"),
        ({"kind": "shown", "length": 2}, "impossible_offset"),
        ({"kind": "shown", "suffix": None}, "impossible_offset"),
        ({"kind": "shown", "prefix": "😀", "offset": 1}, "impossible_offset"),
        ({"kind": "snapshot", "reason": "typing"}, "unknown_reason"),
        ({"kind": "snapshot", "reason": "request", "prefix": "ab", "offset": 1}, "impossible_offset"),
    ],
)
def test_what_is_wrong_has_a_reason(fields, reason):
    assert told(**fields) == reason


def test_a_shown_may_hold_only_the_text_around_the_cursor_and_count_astral_characters_twice():
    events.to_row(record("shown", offset=1000))
    events.to_row(record("shown", prefix="😀", offset=2, suffix="😀", length=2))
    events.to_row(record("shown", suffix=None, length=0))


def test_a_request_that_was_not_shown_is_a_snapshot_that_may_be_cut():
    events.to_row(record("snapshot", reason="request", prefix="ab", offset=1000, suffix=None))
    events.to_row(record("snapshot", reason="request", prefix="ab"))
    events.to_row(record("snapshot", prefix="ab", offset=0))  # of the whole document; where the cursor is


@given(st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(9000, 1, 1)), st.integers(-23, 23))
def test_any_time_with_a_zone_becomes_utc(ts, hours):
    local = ts.replace(tzinfo=timezone(timedelta(hours=hours)))
    row = dict(zip(events.SCHEMA, events.to_row(record(ts=local.isoformat())), strict=True))
    assert row["ts"] == local and row["ts"].tzinfo == UTC
    assert events.frame([tuple(row.values())])["ts"][0] == local


@given(
    st.dictionaries(
        st.sampled_from(list(events.SCHEMA)),
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.floats(),
            st.text(max_size=3),
            st.lists(st.none(), max_size=1),
        ),
    )
)
def test_any_record_becomes_a_row_that_fits_the_schema_or_has_a_reason(fields):
    for kind in events.KINDS:
        try:
            row = events.to_row(record(kind) | fields)
        except events.BadEvent as error:
            assert error.reason in {
                "missing_field",
                "wrong_type",
                "bad_timestamp",
                "unknown_kind",
                "unknown_reason",
                "impossible_latency",
                "impossible_offset",
            }
        else:
            assert events.frame([row]).row(0) == row


def test_the_schema_is_the_documented_one():
    assert list(events.SCHEMA)[:6] == ["event_id", "ts", "seq", "user_id", "session_id", "document"]
    assert events.SCHEMA["ts"] == pl.Datetime("us", "UTC")
    assert set(events.STREAM_ORDER) <= set(events.SCHEMA)
