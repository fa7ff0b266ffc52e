"""What the report says of the calibrated user: how well it foretells decisions, and whether it is trusted.

What lives here: reading `user_fit` into a plain mapping. What does not: the fit (`user.py`) and how it looks.
"""

from __future__ import annotations

import json
from datetime import date

import polars as pl

from echo_dagster.evaluation.report_facts import Facts, read
from echo_dagster.lake import Lake

_CURVE = pl.Schema(
    {
        "predicted": pl.Float64(),
        "observed": pl.Float64(),
        "low": pl.Float64(),
        "high": pl.Float64(),
        "n": pl.Int64(),
    }
)


def user(lake: Lake, day: date) -> Facts:
    """Return the day's row of `user_fit`, its curve as a frame; a curve that cannot be read is none."""
    rows = read(lake, "user_fit", [day])
    if rows is None:
        return {"missing": f"No calibrated user is recorded for {day}."}
    row = rows.row(0, named=True)
    try:
        bins = json.loads(row["curve"] or "[]")
        curve = pl.DataFrame([{name: one.get(name) for name in _CURVE} for one in bins], schema=_CURVE)
    except (ValueError, TypeError, AttributeError, pl.exceptions.PolarsError):
        return {**row, "curve": pl.DataFrame(schema=_CURVE), "curve_missing": "Its curve cannot be read."}
    return {**row, "curve": curve}
