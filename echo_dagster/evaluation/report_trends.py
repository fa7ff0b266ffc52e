"""The longitudinal part of the report: the tables of online metrics over all days up to the report's, for plots.

What lives here: reading `trends` and `online_users`, and choosing whose rates are drawn. What does not: how they are
measured (`online.py`), made into points (`longitudinal.py`) and drawn (`plots_online.py`).
"""

from __future__ import annotations

from datetime import date

import polars as pl

from echo_dagster.evaluation import longitudinal
from echo_dagster.evaluation.report_facts import Facts
from echo_dagster.lake import Lake, TableMissing
from echo_dagster.settings import Evaluation


def trends(lake: Lake, day: date, rules: Evaluation) -> Facts:
    """Return `trends` up to `day` with what can be drawn of it.

    Cohorts stand beside each other; where none with a name is told, all users are one series (`grain`). `total` is the
    day's row of all users, or None where the day has none. Rows of too few users have no rates, so no points.
    """
    try:
        rows = lake.read("trends").filter(pl.col("day") <= day).collect().sort("day")
        users = lake.read("online_users").filter(pl.col("day") <= day).collect()
    except TableMissing:
        return {"missing": "There is no trend: no online metrics were ever measured.", "total": None}
    if rows.is_empty():
        return {"missing": f"There is no trend: no online metrics were measured up to {day}.", "total": None}
    has_cohorts = (
        rows.filter((pl.col("grain") == "cohort") & pl.col("cohort").is_not_null())["acceptance_rate"]
        .is_not_null()
        .any()
    )
    grain = "cohort" if has_cohorts else "all"
    of_day = rows.filter((pl.col("day") == day) & (pl.col("grain") == grain))
    if grain == "all":
        of_day = of_day.with_columns(cohort=pl.lit("all users"))
    total = rows.filter((pl.col("day") == day) & (pl.col("grain") == "all"))
    points = longitudinal.points(rows, grain)
    facts = {
        "rows": rows,
        "grain": grain,
        "points": points,
        "persistence": longitudinal.persistence(of_day, "cohort").sort("series", "seconds"),
        "cohorts": longitudinal.by_cohort(users, rules).filter(pl.col("acceptance_rate").is_not_null()),
        "total": total.row(0, named=True) if len(total) else None,
        "n_days": rows["day"].n_unique(),
    }
    if points.is_empty():
        facts["missing"] = (
            f"There is no trend: no rate may be told of any day up to {day}, "
            f"as each group has fewer than {rules.min_group_users} users or nothing was shown."
        )
    return facts
