"""Fields of a tool's JSON objects, checked where they are read, so that no importer trips over a wrong type.

What does not live here: which fields a tool writes (the importers) and what an event must be (`events.to_row`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

from echo_dagster.acquisition import times

T = TypeVar("T")

#: A longer wait is a clock that was set, not a latency.
_LONGEST_MS = 24 * 3600 * 1000


class Unusable(Exception):
    """An object that is no event. `reason` is a code; `detail` names the field and never holds its text."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def required(values: Mapping[str, Any], name: str, kind: type[T]) -> T:
    """Return a field.

    Raises:
        Unusable: `missing_field` (absent or null), `wrong_type`.
    """
    value = optional(values, name, kind)
    if value is None:
        raise Unusable("missing_field", name)
    return value


def optional(values: Mapping[str, Any], name: str, kind: type[T]) -> T | None:
    """Return a field, or None where it is absent or null.

    Raises:
        Unusable: `wrong_type`.
    """
    value = values.get(name)
    is_wrong_number = isinstance(value, bool) and kind is not bool  # to Python, true is a whole number
    if value is not None and (is_wrong_number or not isinstance(value, kind)):
        raise Unusable("wrong_type", f"{name} is {type(value).__name__}, expected {kind.__name__}")
    return value


def moment(values: Mapping[str, Any], name: str) -> datetime:
    """Return a time that knows its zone: milliseconds since 1970, or ISO 8601.

    It lies in a year for which an importer may add or take off some days.

    Raises:
        Unusable: `missing_field`, `wrong_type`, `bad_timestamp`.
    """
    value = values.get(name)
    found = times.parsed(value) if isinstance(value, str) else times.from_ms(required(values, name, int))
    if found is None or not 1970 <= found.year < 9999:
        raise Unusable("bad_timestamp", f"{name} is no time, or outside the calendar")
    return found


def milliseconds(value: object) -> int | None:
    """Return a duration of at most a day in whole milliseconds, or None where it is none.

    For what an event can do without: nothing is lost by a tool that writes it wrong.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return round(value) if 0 <= value <= _LONGEST_MS else None
