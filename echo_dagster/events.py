"""The experience log: the one schema every importer ends in and every later stage begins with.

What lives here: the columns, the kinds and reasons, and the check that one record is a well-formed event.
What does not: reading a tool's files (`acquisition/`), pseudonyms (`acquisition/privacy.py`), storage (`lake.py`).

One row is one event. Offsets and lengths are UTF-16 code units. A *stream* is (user, session, document); inside
it events are ordered by (`ts`, `seq`, `event_id`).

Two readings that the column names alone leave open:

* `shown`: the cursor stands at `offset`; `prefix` ends there and `suffix` begins there. The proposal `text` replaces
  the first `length` units of `suffix`. The prefix may be cut at its head and the suffix at its tail, so that
  `offset >= length(prefix)`. An unknown offset is null: how much of the document precedes the prefix is not known.
  An unknown suffix is null; `""` says that the cursor is at the end of the document.
* `snapshot`: `prefix + suffix` is the whole document. Where the cursor is unknown, `suffix` is `""`. With the reason
  `request` it is what a request for a completion sent, whose answer was perhaps never shown: `offset`, `prefix` and
  `suffix` then read as in `shown`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import polars as pl

from echo_dagster import utf16

KINDS = ("shown", "accepted", "rejected", "edited", "cursor", "snapshot", "closed")

#: Why an edit happened, where the tool says.
EDIT_REASONS = (
    "typing",
    "accept",
    "paste",
    "undo",
    "redo",
    "format",
    "auto_import",
    "snippet",
    "agent",
    "other",
)
#: Why a proposal went away.
REJECTION_REASONS = ("dismissed", "timeout", "superseded")
#: Why a snapshot need not be the whole document.
SNAPSHOT_REASONS = ("request",)

_REASONS = {"edited": EDIT_REASONS, "rejected": REJECTION_REASONS, "snapshot": SNAPSHOT_REASONS}

TIMESTAMP = pl.Datetime("us", "UTC")

SCHEMA = pl.Schema(
    {
        "event_id": pl.String(),
        "ts": TIMESTAMP,
        "seq": pl.Int64(),
        "user_id": pl.String(),
        "session_id": pl.String(),
        "document": pl.String(),
        "repository": pl.String(),
        "language": pl.String(),
        "kind": pl.String(),  # one of KINDS: Delta Lake has no enumerations, so the check below is the enumeration
        "completion_id": pl.String(),
        "model": pl.String(),
        "offset": pl.Int64(),
        "length": pl.Int64(),
        "text": pl.String(),
        "prefix": pl.String(),
        "suffix": pl.String(),
        "reason": pl.String(),
        "latency_ms": pl.Int64(),  # of a `shown`: from the request to the proposal
        "source": pl.String(),
        "cohort": pl.String(),
        "consent": pl.Boolean(),
    }
)

#: What names a stream.
STREAM = ("user_id", "session_id", "document")

#: Events of one stream, in the order in which they happened.
STREAM_ORDER = (*STREAM, "ts", "seq", "event_id")

#: A stream's bucket is a hash of its name. A day stands on disk bucket by bucket, each in the order of its streams.
BUCKETS = 256
STORED_SCHEMA = pl.Schema({**SCHEMA, "bucket": pl.Int32()})

#: What could not be read: which line of which file, and why. Never the text itself, which is somebody's code.
QUARANTINE_SCHEMA = pl.Schema(
    {
        "source": pl.String(),
        "file": pl.String(),
        "line": pl.Int64(),
        "reason": pl.String(),
        "detail": pl.String(),
    }
)

_REQUIRED = ("event_id", "ts", "user_id", "session_id", "document", "kind")
_REQUIRED_BY_KIND: Mapping[str, tuple[str, ...]] = {
    "shown": ("completion_id", "text", "prefix"),
    "accepted": ("completion_id",),
    "rejected": ("completion_id",),
    "edited": ("offset", "length", "text"),
    "cursor": ("offset",),
    "snapshot": ("prefix",),
    "closed": (),
}
_STRINGS = tuple(name for name, kind in SCHEMA.items() if kind == pl.String())


class BadEvent(ValueError):
    """A record that is no event. `reason` is a code, `detail` names the field and never holds its text."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def to_row(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """Check one record and return it as a row in the order of `SCHEMA`. Unknown fields are ignored.

    Raises:
        BadEvent: with one of the reasons `missing_field`, `wrong_type`, `bad_timestamp`, `unknown_kind`,
            `unknown_reason`, `impossible_offset`, `impossible_latency`.
    """
    missing = [name for name in _REQUIRED if record.get(name) is None]
    if missing:
        raise BadEvent("missing_field", ", ".join(missing))
    kind = record["kind"]
    if kind not in KINDS:
        raise BadEvent("unknown_kind", f"kind is none of {', '.join(KINDS)}")
    missing = [name for name in _REQUIRED_BY_KIND[kind] if record.get(name) is None]
    if missing:
        raise BadEvent("missing_field", f"{', '.join(missing)} (required where kind is {kind})")
    values: dict[str, Any] = {name: record.get(name) for name in SCHEMA}
    for name in _STRINGS:
        value = values[name]
        if value is not None and not isinstance(value, str):
            raise BadEvent("wrong_type", f"{name} is {type(value).__name__}, expected a string")
        if value is not None and not value.isascii():
            try:
                value.encode("utf-8")
            except UnicodeEncodeError as error:
                raise BadEvent(
                    "wrong_type", f"{name} holds half of a surrogate pair, which is no text"
                ) from error
    values["ts"] = _timestamp(values["ts"])
    values["seq"] = 0 if values["seq"] is None else values["seq"]
    for name in ("seq", "offset", "length", "latency_ms"):
        value = values[name]
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise BadEvent("wrong_type", f"{name} is {type(value).__name__}, expected a whole number")
        if value is not None and not -(2**63) <= value < 2**63:
            raise BadEvent("wrong_type", f"{name} does not fit in 64 bits")
    if values["consent"] is not None and not isinstance(values["consent"], bool):
        raise BadEvent("wrong_type", f"consent is {type(values['consent']).__name__}, expected true or false")
    _check_numbers(kind, values)
    if (known := _REASONS.get(kind)) and values["reason"] not in (None, *known):
        raise BadEvent("unknown_reason", f"a reason of {kind} is none of {', '.join(known)}")
    return tuple(values.values())


def frame(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    """Return rows made by `to_row` as a frame of `SCHEMA`."""
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _timestamp(value: Any) -> datetime:
    """Return a UTC time from a datetime or an ISO 8601 string that names its offset."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise BadEvent("bad_timestamp", "ts is not an ISO 8601 time") from error
    if not isinstance(value, datetime):
        raise BadEvent("wrong_type", f"ts is {type(value).__name__}, expected an ISO 8601 time")
    if value.tzinfo is None:
        raise BadEvent("bad_timestamp", "ts names no time zone; write 2026-01-31T08:00:00Z")
    try:
        return value.astimezone(UTC)
    except (OverflowError, ValueError) as error:
        raise BadEvent("bad_timestamp", "ts is outside the calendar") from error


def _check_numbers(kind: str, values: Mapping[str, Any]) -> None:
    if values["latency_ms"] is not None and values["latency_ms"] < 0:
        raise BadEvent("impossible_latency", "latency_ms is negative")
    for name in ("offset", "length"):
        if values[name] is not None and values[name] < 0:
            raise BadEvent("impossible_offset", f"{name} is negative")
    if kind != "shown" and not (kind == "snapshot" and values["reason"] == "request"):
        return
    prefix_units = utf16.length(values["prefix"])
    if values["offset"] is not None and values["offset"] < prefix_units:
        raise BadEvent(
            "impossible_offset",
            f"offset {values['offset']} lies before the end of a prefix of {prefix_units}",
        )
    replaced = values["length"] or 0 if kind == "shown" else 0
    known = 0 if values["suffix"] is None else utf16.length(values["suffix"])
    if replaced > known:
        raise BadEvent("impossible_offset", f"length {replaced} reaches past a suffix of {known}")
