"""Online metrics: how the served model does in its users' hands, per day x model x language x cohort.

What lives here: running `sql/online_metrics.sql`, which holds the formulae. What does not: anything about a
model that was not served (`compare.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl

from echo_dagster.evaluation.schema import ONLINE_SCHEMA
from echo_dagster.extraction.schema import ACCEPTED_OUTCOMES
from echo_dagster.lake import Lake, connect
from echo_dagster.resources import sql


def measure_days(lake: Lake, days: Sequence[date], *, memory_limit: str = "2GB") -> pl.DataFrame:
    """Replace `days` of `online_metrics` by what `gap_sessions` says, and return `day` + `ONLINE_SCHEMA`.

    A day on which no gap closed gets no row: nothing was measured, which is not a rate of zero.

    Raises:
        TableMissing: `gap_sessions` was never written.
    """
    with connect(memory_limit, lake.root / ".spill") as connection:
        lake.register(connection, "gap_sessions")
        measured = connection.sql(
            sql("online_metrics"), params={"days": list(days), "accepted_outcomes": list(ACCEPTED_OUTCOMES)}
        ).pl()
    schema = {"day": pl.Date(), **ONLINE_SCHEMA}
    metrics = measured.select(pl.col(name).cast(kind) for name, kind in schema.items())
    lake.replace("online_metrics", metrics, days)
    return metrics
