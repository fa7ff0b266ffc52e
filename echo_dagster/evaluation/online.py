"""Online metrics: how the served model does in its users' hands, a day at a time.

What lives here: from the gaps of a day to sums by user (`sql/online_*.sql`, which hold what is counted), who is left
out, and the three tables. What does not: rates and intervals (`rates.py`), small groups (`suppression.py`), views over
many days (`longitudinal.py`), and anything about a model that was not served (`compare.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import duckdb
import polars as pl

from echo_dagster.evaluation import rates, suppression
from echo_dagster.evaluation.schema import GRAINS, ONLINE_SCHEMA, ONLINE_USER_SCHEMA, SUMS, TREND_SCHEMA
from echo_dagster.extraction.schema import ACCEPTED_OUTCOMES
from echo_dagster.lake import Lake, connect
from echo_dagster.resources import sql
from echo_dagster.settings import Evaluation

_DAY = {"day": pl.Date()}
#: Grains by the number that `sql/online_latency.sql` gives them: a bit for each column left out.
_LATENCY_GRAINS = {0: None, 2: "model_cohort", 3: "model", 6: "cohort", 7: "all"}


def measure_days(
    lake: Lake, days: Sequence[date], rules: Evaluation, *, memory_limit: str = "2GB"
) -> pl.DataFrame:
    """Replace `days` of `online_metrics`, `trends` and `online_users` by what `gap_sessions` says.

    A day on which no gap closed gets no row: nothing was measured, which is not a rate of zero. Days are read one
    by one, so that memory is bounded by a day; nothing of other days is read.

    Returns:
        `day` + `ONLINE_SCHEMA`.

    Raises:
        TableMissing: `gap_sessions` was never written.
    """
    users, metrics, trends = [], [], []
    with connect(memory_limit, lake.root / ".spill") as connection:
        connection.execute(sql("native_macros"))
        lake.register(connection, "gap_sessions", days=days)
        for day in sorted(set(days)):
            by_user, measured = measure_day(connection, day, rules)
            if by_user.is_empty():
                continue
            users.append(by_user)
            metrics.append(measured.filter(pl.col("grain").is_null()))
            trends.append(measured.filter(pl.col("grain").is_not_null()))
    for table, frames, schema in (
        ("online_users", users, ONLINE_USER_SCHEMA),
        ("trends", trends, TREND_SCHEMA),
        ("online_metrics", metrics, ONLINE_SCHEMA),
    ):
        lake.replace(table, _table(frames, schema), days)
    return _table(metrics, ONLINE_SCHEMA)


def measure_day(
    connection: duckdb.DuckDBPyConnection, day: date, rules: Evaluation
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return a day of `online_users`, and the rows of `online_metrics` (their `grain` is null) and `trends` together.

    Both are empty where no gap closed on the day.

    Args:
        connection: has `gap_sessions` and the macros of `sql/native_macros.sql`.
        day: the day.
        rules: who is left out and what is not told.
    """
    sums, latency = _counted(connection, day)
    if sums.is_empty():
        return sums, sums
    users = sums.with_columns(
        shadowed(sums, rules.shadowed_shown).alias("is_shadowed"), pl.lit(day).alias("day")
    )
    return users, _measured(users, latency, rules).with_columns(day=pl.lit(day))


def shadowed(users: pl.DataFrame, least: int) -> pl.Series:
    """Say of each row of one day whether its user does not see what is shown: another extension hides it.

    Such a user was shown at least `least` proposals on the day that nothing superseded, and neither accepted nor
    dismissed any, of any model; while most users of the same model accepted some. Where they did not, it is the model
    that nobody accepts, and that is what a rate is there to say.
    """
    of_user = users.select(
        is_idle=(
            (pl.col("n_shown").sum() - pl.col("n_superseded").sum() >= least)
            & (pl.col("n_accepted").sum() == 0)
            & (pl.col("n_dismissed").sum() == 0)
        ).over("user_id")
    ).to_series()
    by_model = (
        users.group_by("model", "user_id")
        .agg(accepts=pl.col("n_accepted").sum() > 0)
        .group_by("model")
        .agg(is_accepted=pl.col("accepts").mean() > 0.5)
    )
    joined = users.join(by_model, on="model", how="left", nulls_equal=True, maintain_order="left")
    return of_user & joined.get_column("is_accepted")


def _counted(connection: duckdb.DuckDBPyConnection, day: date) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the sums of each user and cell, and the latencies of each group, on a day."""
    told = {"day": day, "accepted_outcomes": list(ACCEPTED_OUTCOMES)}
    connection.execute(f"create or replace temp table completions as {sql('online_completions')}", told)
    sums = connection.sql(sql("online_users"), params={"day": day}).pl()
    names = [name for name in ONLINE_USER_SCHEMA if name not in SUMS and name != "is_shadowed"]
    sums = sums.select(*names, *(pl.col(name).cast(kind) for name, kind in SUMS.items()))
    latency = connection.sql(sql("online_latency")).pl()
    grain = pl.col("grain").replace_strict(_LATENCY_GRAINS, return_dtype=pl.String())
    return sums.sort(names, nulls_last=True), latency.with_columns(grain)


def _measured(users: pl.DataFrame, latency: pl.DataFrame, rules: Evaluation) -> pl.DataFrame:
    """Return the rows of a day: those of each grain, and those by language, whose grain is null."""
    grains: list[tuple[str | None, Sequence[str]]] = [(None, suppression.CELL), *GRAINS.items()]
    rows = pl.concat(
        [
            rates.summarize(users, by, rules).with_columns(
                grain=pl.lit(grain, pl.String()), by=pl.lit(list(by), pl.List(pl.String()))
            )
            for grain, by in grains
        ],
        how="diagonal",
    ).join(latency, on=["grain", *suppression.CELL], how="left", nulls_equal=True, maintain_order="left")
    is_suppressed = pl.Series(
        "is_suppressed",
        suppression.suppressed(rows, users.filter(pl.col("n_shown") > 0), rules.min_group_users),
    )
    kept = ("grain", "by", *suppression.CELL, "n_users", "n_shown")
    return rows.with_columns(
        pl.when(~is_suppressed).then(name).alias(name) for name in rows.columns if name not in kept
    ).with_columns(is_suppressed)


def _table(frames: Sequence[pl.DataFrame], schema: pl.Schema) -> pl.DataFrame:
    if not frames:
        return pl.DataFrame(schema={**_DAY, **schema})
    return pl.concat(frames).select(pl.col(name).cast(kind) for name, kind in {**_DAY, **schema}.items())
