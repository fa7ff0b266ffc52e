"""Times as tools write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_dagster.acquisition import times


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-01-05T08:00:00Z", datetime(2026, 1, 5, 8, tzinfo=UTC)),
        ("2026-01-05 08:00:00.5", datetime(2026, 1, 5, 8, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-01-05 10:00:00.5 +0200", datetime(2026, 1, 5, 8, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-01-05 08:00:00+00", datetime(2026, 1, 5, 8, tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", None),
        ("infinity", None),
        ("", None),
        (None, None),
        (5, None),
    ],
)
def test_iso_times(text, time):
    found = times.parsed(text)
    assert found == time and (found is None or found.utcoffset() == timedelta(0))


@pytest.mark.parametrize(
    "value", [True, "5", None, -1, float("nan"), float("inf"), 10**400, 253_402_300_800_000]
)
def test_numbers_that_are_no_times(value):
    assert times.from_ms(value) is None


@given(st.integers() | st.floats() | st.floats(253_402_300_799_000, 253_402_300_801_000))
def test_any_number(value: Any):
    found = times.from_ms(value)
    assert (
        found is None
        or abs((found - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1) - value) < 1
    )


@given(st.text() | st.datetimes().map(str))
def test_any_text(text: str):
    found = times.parsed(text)
    assert found is None or found.tzinfo is UTC


def test_the_day_in_a_path():
    assert times.midnight_in(Path("2026-01-04/a-2026-01-05.md")) == datetime(2026, 1, 5, tzinfo=UTC)
    assert times.midnight_in(Path("2026-01-04/a-2026-13-05.md")) == datetime(2026, 1, 4, tzinfo=UTC)
    assert times.midnight_in(Path("a-12026-01-05.md")) is None
