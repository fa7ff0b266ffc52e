"""Rows of `gap_sessions` for the tests of this folder: a plain accepted gap, and what differs from it."""

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import polars as pl

from echo_dagster.extraction.schema import GAP_SCHEMA
from echo_dagster.lake import Lake

DAY = date(2026, 1, 5)


def gap(name: str, *, day: date = DAY, at_s: int = 0, **differs) -> dict:
    """One row; `name` is its gap, completion and region, unless told otherwise."""
    opened = datetime.combine(day, time(9), UTC) + timedelta(seconds=at_s)
    row = {
        "day": day,
        "gap_id": name,
        "completion_id": name,
        "region_id": name,
        "user_id": "ann",
        "session_id": "s",
        "document": "d",
        "repository": "r",
        "language": "python",
        "model": "m1",
        "source": "test",
        "cohort": "internal",
        "consent": True,
        "opened_at": opened,
        "closed_at": opened + timedelta(seconds=60),
        "break_reason": "idle",
        "offset": 0,
        "prefix": "x = ",
        "suffix": "",
        "replaced": "",
        "proposal": "one + two!",
        "final": "one + two!",
        "outcome": "accepted",
        "accepted_chars": 10,
        "typed_chars": 0,
        "pasted_chars": 0,
        "agent_chars": 0,
        "kept_rate": 1.0,
        "retained_0s": 10,
        "retained_30s": 10,
        "n_edits": 1,
        "tracking": "edits",
        "censored": False,
    }
    unknown = set(differs) - set(GAP_SCHEMA)
    assert not unknown, unknown
    return row | differs


def not_accepted(name: str, **differs) -> dict:
    """A gap whose proposal the user did not take."""
    return gap(
        name,
        **{"outcome": "rejected", "accepted_chars": 0, "kept_rate": None, "retained_0s": None} | differs,
        retained_30s=None,
    )


def lake_of(path: Path, rows: list[dict], days: list[date] | None = None) -> Lake:
    lake = Lake(path)
    schema = {"day": pl.Date(), **GAP_SCHEMA}
    full = [{name: row.get(name) for name in schema} for row in rows]
    frame = pl.DataFrame(full, schema=schema, orient="row")
    lake.replace("gap_sessions", frame, days or sorted({row["day"] for row in rows}))
    return lake
