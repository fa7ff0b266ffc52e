"""What the report says of the decision: the gate's or a person's, what people overrode, and whether the server knows.

What lives here: reading `champion`, `champion_overrides`, `champion_changes` and `champion_deliveries` into a plain
mapping. What does not: deciding (`gate.py`, `champion.py`) and how it looks.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl

from echo_dagster.evaluation.report_facts import Facts, read
from echo_dagster.forgotten import people_behind
from echo_dagster.lake import Lake, TableMissing


def decision(lake: Lake, day: date) -> Facts:
    """Return the day's row of `champion`, its overrides, and how many people behind the model were forgotten since."""
    rows = read(lake, "champion", [day])
    if rows is None:
        return {"missing": f"No promotion was decided on {day}."}
    row = rows.row(0, named=True)
    overrides = read(lake, "champion_overrides", [day])
    return {
        "decided_by": None,
        "previous_digest": None,
        **row,
        "n_forgotten": people_behind(lake, row["path"]),
        "overrides": [] if overrides is None else overrides.sort("decided_at").to_dicts(),
        "deliveries": _deliveries(lake, day),
    }


def _deliveries(lake: Lake, day: date) -> list[dict[str, Any]]:
    """Return each change of the serving model on `day`, with the last attempt to tell the server, if there was one."""
    changes = read(lake, "champion_changes", [day], "change_id", "model_digest", "changed_at")
    if changes is None:
        return []
    try:
        attempts = lake.read("champion_deliveries").select(
            "change_id", "attempted_at", "is_delivered", "outcome"
        )
        last = (
            attempts.filter(pl.col("change_id").is_in(changes["change_id"].to_list()))
            .collect()
            .sort("attempted_at")
            .unique("change_id", keep="last", maintain_order=True)
        )
    except TableMissing:
        return [
            {**row, "attempted_at": None, "is_delivered": None, "outcome": None} for row in changes.to_dicts()
        ]
    return changes.join(last, on="change_id", how="left").sort("changed_at").to_dicts()
