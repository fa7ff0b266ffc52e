"""Rates of users with their intervals, from sums by user: of one group or many, of one day or months.

What lives here: adding up, dividing, and resampling users. What does not: where the sums come from (`online.py`), and
which groups are told (`suppression.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from echo_dagster.evaluation import bootstrap
from echo_dagster.evaluation.schema import RATES, SUMS
from echo_dagster.settings import Evaluation


def summarize(users: pl.DataFrame, by: Sequence[str], rules: Evaluation) -> pl.DataFrame:
    """Return a row per group of `by`, sorted: users, sums, and every rate of `schema.RATES` with `_low` and `_high`.

    A rate is a ratio of sums over the group's users, and null where there is nothing to divide by. Its interval says
    how it would differ with other users like these, at `rules.confidence`; with fewer than two users it is null. Users
    who are shadowed are counted, in `n_shadowed_users` and `n_shadowed_shown`, and in nothing else.

    Args:
        users: `day`s of `online_users`, any number of rows per user.
        by: columns; none is one group of all.
        rules: confidence, resamples and seed.
    """
    counted = users.with_columns(
        pl.when("is_shadowed").then(pl.lit(0)).otherwise(name).cast(kind).alias(name)
        for name, kind in SUMS.items()
    ).with_columns(n_shadowed_shown=pl.when("is_shadowed").then(users["n_shown"]).otherwise(0))
    sums = (*SUMS, "n_shadowed_shown")
    by_user = counted.group_by(*by, "user_id").agg(pl.col(sums).sum()).sort(*by, "user_id")
    groups = by_user.group_by(by or [pl.lit(0).alias("_")], maintain_order=True).agg(
        pl.len().alias("_rows"),
        (pl.col("n_shown") > 0).sum().cast(pl.Int64()).alias("n_users"),
        pl.col(sums).sum(),
        (pl.col("n_shadowed_shown") > 0).sum().cast(pl.Int64()).alias("n_shadowed_users"),
    )
    above, below = (
        by_user.select(
            pl.sum_horizontal(columns).cast(pl.Float64()).alias(rate) for rate, columns in parts.items()
        ).to_numpy()
        for parts in (
            {rate: [counts] for rate, (counts, _) in RATES.items()},
            {rate: list(of) for rate, (_, of) in RATES.items()},
        )
    )
    told, first = [], 0
    for n_rows in groups["_rows"]:
        mine = slice(first, first + n_rows)
        first += n_rows
        told.append(_with_interval(above[mine], below[mine], rules))
    rates = pl.DataFrame(
        np.reshape(told, (groups.height, 3 * len(RATES))),
        schema={f"{rate}{end}": pl.Float64() for rate in RATES for end in ("", "_low", "_high")},
    ).fill_nan(None)
    measured = groups.hstack(rates)
    return measured.select(*by, "n_users", *SUMS, *rates.columns, "n_shadowed_users", "n_shadowed_shown")


def _with_interval(above: np.ndarray, below: np.ndarray, rules: Evaluation) -> np.ndarray:
    """Return each rate with its ends, (rates, 3); NaN is null."""
    total = below.sum(axis=0)
    values = np.divide(above.sum(axis=0), total, out=np.full(len(total), np.nan), where=total > 0)
    ends = np.full((len(total), 2), np.nan)
    has_value = total > 0
    found = bootstrap.ratios(
        above[:, has_value],
        below[:, has_value],
        confidence=rules.confidence,
        resamples=rules.bootstrap_samples,
        seed=rules.seed,
    )
    ends[has_value] = np.array([(rate.low, rate.high) for rate in found], dtype=np.float64).reshape(-1, 2)
    return np.column_stack([values, ends])
