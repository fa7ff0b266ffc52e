"""How much a step changes each metric: the arms' answers to the same gaps, side by side.

What does not live here: asking models (`experiments/`), and the interval itself (`evaluation/`).
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from echo_dagster.evaluation import summary
from echo_dagster.experiments.asking import judge
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
    found = judge({"candidate": full, "champion": without, "base": [base]}, settings)
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
