"""Times as tools write them, and the day that a file is named after.

What does not live here: whether an event's time is one (`events.to_row`).
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_END_MS = (datetime.max.replace(tzinfo=UTC) - _EPOCH) / timedelta(milliseconds=1)
_DAY = re.compile(r"(?<!\d)\d{4}-\d{2}-\d{2}(?!\d)")


def from_ms(value: object) -> datetime | None:
    """Return the time that is so many milliseconds after 1970, or null where the value is no such time."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    is_time = math.isfinite(value) if isinstance(value, float) else True
    return _EPOCH + timedelta(milliseconds=value) if is_time and 0 <= value < _END_MS else None


def parsed(text: object) -> datetime | None:
    """Return an ISO 8601 time in UTC, which it is also where it names no zone; null where it is none.

    A space may stand before the offset, as data warehouses print it.
    """
    if not isinstance(text, str):
        return None
    with suppress(ValueError, OverflowError):
        time = datetime.fromisoformat(re.sub(r"\s+(?=[Z+-][\d:]*$)", "", text.strip()))
        return time.astimezone(UTC) if time.tzinfo is not None else time.replace(tzinfo=UTC)
    return None


def midnight_in(path: Path) -> datetime | None:
    """Return the beginning, in UTC, of the last day written as YYYY-MM-DD in a path; null where there is none."""
    for text in reversed(_DAY.findall(path.as_posix())):
        with suppress(ValueError):
            day = date.fromisoformat(text)
            return datetime(day.year, day.month, day.day, tzinfo=UTC)
    return None
