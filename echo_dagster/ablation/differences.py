"""How much a step changes each metric: the arms' answers to the same gaps, side by side.

What does not live here: asking models (`trials.py`), and the interval itself (`evaluation/`).
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from echo_dagster.evaluation import summary
from echo_dagster.settings import Evaluation

COMPARED_SCHEMA = pl.Schema(
    {
        "dropped": pl.String(),
        "metric": pl.String(),
        "slice": pl.String(),  # all, held_out_users, or language=<id>
        "base": pl.Float64(),  # of the base model
        "full": pl.Float64(),  # trained on what the whole refinery keeps
        "without": pl.Float64(),  # trained on what it keeps without the step
        "difference": pl.Float64(),  # full - without, gap by gap
        "low": pl.Float64(),  # its interval at evaluation.confidence; null with one unit
        "high": pl.Float64(),
        "n_samples": pl.Int64(),
        "by_seed": pl.List(pl.Float64()),  # the difference of each seed, over all gaps; null for other slices
    }
)


_IDENTITY = ("sample_id", "region_id", "user_id", "language", "is_held_out_user", "model_digest")
_METRICS = tuple(summary.METRICS.values())


def differences(
    dropped: str,
    base: pl.DataFrame,
    full: Sequence[pl.DataFrame],
    without: Sequence[pl.DataFrame],
    settings: Evaluation,
) -> pl.DataFrame:
    """Return COMPARED_SCHEMA of one step, a row per metric and slice.

    Args:
        dropped: the step.
        base: PREDICTION_SCHEMA + `region_id` of the base model, one row per gap.
        full: the same of the model trained on what the whole refinery keeps, for each seed.
        without: the same of the model trained without the step, for the same seeds.
        settings: the bootstrap's and the slices'.

    Raises:
        ValueError: they did not answer the same gaps.
    """
    # In the roles of a day's comparison: what is tried, what it is held against, and where both come from.
    roles = {"candidate": _mean(full), "champion": _mean(without), "base": base}
    judged = pl.concat(
        rows.select(*_IDENTITY, pl.col(*_METRICS).cast(pl.Float64), pl.lit(role).alias("role"))
        for role, rows in roles.items()
    )
    found = {
        (row["slice"], row["metric"], row["role"], row["versus"]): row
        for row in summary.summarise(judged, settings).iter_rows(named=True)
    }
    rows = []
    for (slice_, metric, role, versus), row in found.items():
        if (role, versus) != ("candidate", "champion"):
            continue
        of_all = pl.col(summary.METRICS[metric]).mean()
        pairs = zip(full, without, strict=True)
        by_seed = [one.select(of_all).item() - another.select(of_all).item() for one, another in pairs]
        rows.append(
            {
                "dropped": dropped,
                "metric": metric,
                "slice": slice_,
                "base": found[slice_, metric, "base", None]["value"],
                "full": found[slice_, metric, "candidate", None]["value"],
                "without": found[slice_, metric, "champion", None]["value"],
                "difference": row["value"],
                "low": row["low"],
                "high": row["high"],
                "n_samples": row["n_samples"],
                "by_seed": by_seed if slice_ == "all" else None,
            }
        )
    return pl.DataFrame(rows, schema=COMPARED_SCHEMA)


def _mean(answers: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return one row per gap, its metrics the means over the seeds."""
    every = pl.concat(answers).with_columns(pl.col(*_METRICS).cast(pl.Float64))
    first = answers[0].select(_IDENTITY)
    means = every.group_by("sample_id").agg(pl.col(*_METRICS).mean())
    return first.join(means, on="sample_id", maintain_order="left")
