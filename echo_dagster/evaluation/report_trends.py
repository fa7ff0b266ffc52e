"""The longitudinal view: rates by day and cohort with their intervals, and what stays of what was accepted.

What lives here: reading `trends` into frames for plots. What does not: how trends are measured (`online.py`).
"""

from __future__ import annotations

from datetime import date

import polars as pl

from echo_dagster.evaluation.report_facts import Facts
from echo_dagster.lake import Lake, TableMissing

RATES = {
    "acceptance_rate": "Acceptance rate",
    "weighted_acceptance_rate": "Weighted acceptance rate (characters)",
    "generation_rate": "Generation rate",
    "kept_rate": "Kept rate",
}
SECONDS = (0, 30, 120, 300, 600, 900)


def trends(lake: Lake, day: date) -> Facts:
    """Return `points` (day x cohort x metric) up to `day`, and the day's `persistence` (seconds x cohort).

    Cohorts stand beside each other; where none has a name, all users are one series. Suppressed groups have no rates
    and are counted in `n_suppressed`.
    """
    try:
        rows = lake.read("trends").filter(pl.col("day") <= day).collect()
    except TableMissing:
        return {"missing": "There are no trends with intervals: the table trends was never written."}
    by_cohort = rows.filter((pl.col("grain") == "cohort") & pl.col("cohort").is_not_null())
    rows = by_cohort if len(by_cohort) else rows.filter(pl.col("grain") == "all")
    rows = rows.with_columns(series=pl.col("cohort").fill_null("all users")).sort("series", "day")
    points = [_with_interval(rows, rate, metric=pl.lit(title)) for rate, title in RATES.items()]
    of_day = rows.filter(pl.col("day") == day)
    left = [
        _with_interval(of_day, f"retained_{after}s_share", seconds=pl.lit(after, pl.Int64))
        for after in SECONDS
    ]
    if not len(rows):
        return {"missing": f"The table trends has no row up to {day}."}
    return {
        "points": pl.concat(points),
        "persistence": pl.concat(left).drop("day").sort("series", "seconds"),
        "n_days": rows["day"].n_unique(),
        "n_suppressed": rows["is_suppressed"].sum() if "is_suppressed" in rows.columns else 0,
    }


def _with_interval(rows: pl.DataFrame, rate: str, **named: pl.Expr) -> pl.DataFrame:
    values = rows.select("day", "series", value=rate, low=f"{rate}_low", high=f"{rate}_high", **named)
    return values.filter(pl.col("value").is_finite())
