"""Views over many days of online metrics: what served when, trends as points, and cohorts beside each other.

What lives here: frames in, frames out, from `trends` and `online_users`, which are small; `gap_sessions` is not read
again. What does not: the days themselves (`online.py`) and how it looks (`plots_online.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from echo_dagster.evaluation import rates
from echo_dagster.evaluation.schema import PERSISTENCE_SECONDS, RATES
from echo_dagster.settings import Evaluation

UNKNOWN = "unknown"


def served(trends: pl.DataFrame) -> pl.DataFrame:
    """Return the days on which another model came to serve most proposals: `day` and `label`; the first day is one.

    Args:
        trends: rows of `trends`, of any days.
    """
    most = (
        trends.filter(pl.col("grain") == "model")
        .with_columns(label=pl.col("model").fill_null(UNKNOWN))
        .sort("day", "n_shown", "label", descending=[False, True, False])
        .unique("day", keep="first", maintain_order=True)
    )
    return most.filter(pl.col("label").ne_missing(pl.col("label").shift())).select("day", "label")


def told(trends: pl.DataFrame) -> pl.DataFrame:
    """Return trends of the days whose total is told."""
    days = trends.filter((pl.col("grain") == "all") & pl.col("acceptance_rate").is_not_null()).select("day")
    return trends.join(days, on="day", how="semi")


def points(trends: pl.DataFrame, grain: str = "all", metrics: Sequence[str] | None = None) -> pl.DataFrame:
    """Return trends as points: `day`, `series`, `metric`, `value`, `low`, `high`; what is null has no point.

    Args:
        trends: rows of `trends`, of any days.
        grain: whose: `all`, or `cohort`, `model` or `model_cohort` for a series of each.
        metrics: rates and latencies; by default all.
    """
    names = list(metrics) if metrics is not None else [*RATES, "latency_p50_ms", "latency_p95_ms"]
    by = [name for name in ("cohort", "model") if name in grain]
    series = (
        pl.concat_str([pl.col(name).fill_null(UNKNOWN) for name in by], separator=", ")
        if by
        else pl.lit("all")
    )
    rows = trends.filter(pl.col("grain") == grain).with_columns(series=series)
    return pl.concat(
        [
            rows.select(
                "day",
                "series",
                metric=pl.lit(name),
                value=name,
                low=f"{name}_low" if name in RATES else pl.lit(None, pl.Float64()),
                high=f"{name}_high" if name in RATES else pl.lit(None, pl.Float64()),
            )
            for name in names
        ]
    ).filter(pl.col("value").is_not_null())


def by_model(users: pl.DataFrame, rules: Evaluation) -> pl.DataFrame:
    """Return model after model, over all days given: as `by_cohort`, of all cohorts together."""
    return _over_days(users, ["model"], rules)


def persistence(rows: pl.DataFrame, series: str = "model") -> pl.DataFrame:
    """Return how much of what was accepted stands after how long: `series`, `seconds`, `value`, `low`, `high`.

    Args:
        rows: a row per series: of one day of `trends`, or of `by_model` over many.
        series: the column that names it.
    """
    return pl.concat(
        [
            rows.select(
                series=pl.col(series).fill_null(UNKNOWN),
                seconds=pl.lit(seconds),
                value=f"retained_{seconds}s_share",
                low=f"retained_{seconds}s_share_low",
                high=f"retained_{seconds}s_share_high",
            )
            for seconds in PERSISTENCE_SECONDS
        ]
    ).filter(pl.col("value").is_not_null())


def by_cohort(users: pl.DataFrame, rules: Evaluation) -> pl.DataFrame:
    """Return cohort beside cohort, and in each model after model, over all days given: rates with their intervals.

    Users are resampled with all of their days, as days of one user are alike. Models served one after another, in other
    weeks and perhaps to other people: the table says what was, not what the model did.

    Args:
        users: rows of `online_users`, of any days.
        rules: as in `rates.summarize`. Rows with fewer than `min_group_users` users have no rates.

    Returns:
        `cohort`, `model`, `first_day`, `last_day`, then as `rates.summarize`, and `is_suppressed`; in the order in
        which models came to serve.
    """
    return _over_days(users, ["cohort", "model"], rules)


def _over_days(users: pl.DataFrame, by: list[str], rules: Evaluation) -> pl.DataFrame:
    days = users.group_by(by).agg(first_day=pl.col("day").min(), last_day=pl.col("day").max())
    summary = rates.summarize(users, by, rules)
    is_suppressed = (pl.col("n_users") < rules.min_group_users) & (rules.min_group_users > 1)
    kept = (*by, "first_day", "last_day", "n_users", "n_shown")
    measured = [name for name in summary.columns if name not in kept]
    return (
        summary.join(days, on=by, nulls_equal=True)
        .with_columns(is_suppressed=is_suppressed)
        .with_columns(pl.when(~pl.col("is_suppressed")).then(name).alias(name) for name in measured)
        .select(*kept, *measured, "is_suppressed")
        .sort(*(["cohort"] if "cohort" in by else []), "first_day", "model", nulls_last=True)
    )
