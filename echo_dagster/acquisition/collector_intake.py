"""What one request of the collector holds, made into lines of the experience log.

Every object is checked as `raw_events` will check it, so that what is acknowledged is an event later. A line
holds the columns of the log and nothing else, and the user under a pseudonym. What is no event becomes a line
too, of the kind `refused`, that says why and holds no text: the native importer quarantines it.

What does not live here: HTTP (`collector.py`), the files (`collector_files.py`), and a tool's own format (the
importers).
"""

from __future__ import annotations

import io
import json
from codecs import BOM_UTF8
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from echo_dagster import events
from echo_dagster.acquisition.lines import MAX_LINE_BYTES, decoded, parsed
from echo_dagster.acquisition.native import REFUSED, resolved
from echo_dagster.acquisition.records import Bad, Record

#: The most objects in one request: each can cost a line of the answer.
MAX_OBJECTS = 10_000

#: From an object of a tool, and whose token brought it, to records of the experience log; none where it is about
#: something else.
Expand = Callable[[Record, str | None], Iterable[Record | Bad]]

_TS = list(events.SCHEMA).index("ts")


class BadBody(ValueError):
    """A request of which nothing can be taken. `reason` is a code."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Days:
    """The UTC days whose events are taken, both included, and the day on which it is said."""

    first: date
    last: date
    today: date


@dataclass(frozen=True)
class Taken:
    """What to append to the files of which day, and what became of the objects of a request."""

    lines: Mapping[date, bytes]
    events: int
    ignored: int
    refused: tuple[Bad, ...]


def take(
    body: bytes,
    *,
    is_json: bool,
    expand: Expand,
    user: str | None,
    pseudonym: Callable[[str], str],
    days: Days,
) -> Taken:
    """Read the objects of a body: one a line, or one JSON value (an object, or an array of objects) if `is_json`.

    `user` is whose event it is where an event does not say. Objects are counted from 1, as lines are.

    Raises:
        BadBody: `malformed_json` (one JSON value that is none), `too_many_events`.
    """
    lines: defaultdict[date, list[bytes]] = defaultdict(list)
    refused: list[Bad] = []
    taken = ignored = 0
    for item in _objects(body, is_json=is_json):
        told = [item] if isinstance(item, Bad) else list(expand(item, user))
        ignored += not told
        for record in told:
            event = record if isinstance(record, Bad) else _event(record, user, pseudonym, days)
            if isinstance(event, Bad):
                refused.append(event)
                lines[days.today].append(_refusal(event))
            else:
                day, line = event
                lines[day].append(line)
                taken += 1
    return Taken({day: b"".join(some) for day, some in lines.items()}, taken, ignored, tuple(refused))


def native(item: Record, _: str | None) -> Iterable[Record | Bad]:
    """Return an event of the experience log, as its importer reads it."""
    return (resolved(item),)


def continue_dev(item: Record, user: str | None) -> Iterable[Record | Bad]:
    """Return what a post of Continue stands for; what it holds besides ends here."""
    from echo_dagster.acquisition.continue_dev import expand

    for record in expand(item, user=user):
        yield (
            record
            if isinstance(record, Bad)
            else Record(record.line, {**record.fields, "source": "continue"})
        )


def _objects(body: bytes, *, is_json: bool) -> Iterator[Record | Bad]:
    body = body.removeprefix(BOM_UTF8)
    if not (is_json or body.lstrip().startswith(b"[")):
        if body.count(b"\n") > MAX_OBJECTS:
            raise BadBody("too_many_events", f"more than {MAX_OBJECTS} lines")
        for number, line in enumerate(io.BytesIO(body), 1):
            if line.strip():  # a body has a length, so its last line is whole without a line end
                yield parsed(number, line if line.endswith(b"\n") else line + b"\n")
        return
    value = decoded(1, body + b"\n")
    if isinstance(value, Bad):
        raise BadBody(value.reason, value.detail)
    items = value if isinstance(value, list) else [value]
    if len(items) > MAX_OBJECTS:
        raise BadBody("too_many_events", f"more than {MAX_OBJECTS} objects")
    for number, item in enumerate(items, 1):
        yield (
            Record(number, item)
            if isinstance(item, dict)
            else Bad(number, "malformed_json", "not a JSON object")
        )


def _event(
    record: Record, user: str | None, pseudonym: Callable[[str], str], days: Days
) -> tuple[date, bytes] | Bad:
    """Return an event's own UTC day and its line, or why it is none."""
    fields: dict[str, Any] = {name: record.fields.get(name) for name in events.SCHEMA}
    if fields["user_id"] in (None, ""):
        fields["user_id"] = user
    if isinstance(fields["user_id"], str):
        fields["user_id"] = pseudonym(fields["user_id"])
    try:
        row = events.to_row(fields)
    except events.BadEvent as bad:
        return Bad(record.line, bad.reason, bad.detail)
    day = row[_TS].date()
    if not days.first <= day <= days.last:
        return Bad(record.line, "wrong_day", f"an event of {day}; taken are {days.first} to {days.last}")
    told = {name: value for name, value in zip(events.SCHEMA, row, strict=True) if value is not None}
    line = _line({**told, "ts": row[_TS].isoformat()})
    if len(line) > MAX_LINE_BYTES:
        return Bad(record.line, "line_too_long", f"longer than {MAX_LINE_BYTES} bytes")
    return day, line


def _refusal(bad: Bad) -> bytes:
    return _line({"kind": REFUSED, "reason": bad.reason, "detail": bad.detail})


def _line(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
