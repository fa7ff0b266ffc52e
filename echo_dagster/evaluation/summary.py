"""From one row per gap and model to what can be said of a model: means and paired differences, by slice.

What lives here: which slices, which pairs, which unit is resampled. What does not: the bootstrap
(`bootstrap.py`) and the verdict (`gate.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from echo_dagster.evaluation import bootstrap
from echo_dagster.evaluation.schema import EVALUATED_SCHEMA, ROLES
from echo_dagster.settings import Evaluation

#: Each metric is the mean of a column of `PREDICTION_SCHEMA`.
METRICS = {
    "exact_match": "is_exact_match",
    "edit_similarity": "edit_similarity",
    "middle_nats_per_token": "middle_nats_per_token",
    "predicted_acceptance_rate": "predicted_acceptance",
}

#: Metrics of which less is better.
LOWER_IS_BETTER = ("middle_nats_per_token",)

#: Users differ more than their gaps do, so they are resampled whole. Of eight and more the interval covers the truth as
#: often as it says, of five no more (benchmarks/coverage.py).
MIN_USERS = 8

#: Every role against the base model, and the candidate against whom it has to beat.
_PAIRS: tuple[tuple[str, str | None], ...] = (
    ("static", "base"),
    ("champion", "base"),
    ("candidate", "base"),
    ("candidate", "champion"),
    ("candidate", "static"),
)


def summarise(predictions: pl.DataFrame, settings: Evaluation) -> pl.DataFrame:
    """Return `EVALUATED_SCHEMA` for predictions (`PREDICTION_SCHEMA` + `region_id`).

    What is resampled: users, where a slice has at least `MIN_USERS`; else regions, because nested gaps share their
    C_N. A metric that is null for every gap (predicted acceptance without a fitted user) gets no rows.

    Raises:
        ValueError: the roles did not answer the same gaps.
    """
    by_role = {
        role: predictions.filter(pl.col("role") == role).sort("sample_id")
        for role in ROLES
        if role in predictions["role"]
    }
    gaps = {role: rows["sample_id"].to_list() for role, rows in by_role.items()}
    if any(answered != next(iter(gaps.values())) for answered in gaps.values()):
        raise ValueError("the models did not answer the same gaps, so they cannot be compared")
    rows = [
        row
        for name, within in _slices(next(iter(by_role.values())), settings)
        for row in _slice_rows(
            name, {role: table.filter(within) for role, table in by_role.items()}, settings
        )
    ]
    return pl.DataFrame(rows, schema=EVALUATED_SCHEMA, orient="row")


def units(rows: pl.DataFrame) -> list[str]:
    """Return, per row, the name of what is resampled with it."""
    if rows["user_id"].n_unique() >= MIN_USERS:
        return rows["user_id"].to_list()
    return rows.select(pl.coalesce("region_id", "sample_id")).to_series().to_list()


def _slices(rows: pl.DataFrame, settings: Evaluation) -> Iterator[tuple[str, pl.Series]]:
    """Yield the name of each slice and which rows are in it."""
    yield "all", pl.repeat(True, rows.height, eager=True)
    if rows["is_held_out_user"].any():
        yield "held_out_users", rows["is_held_out_user"]
    sizes = rows.drop_nulls("language").group_by("language").len().sort("language")
    for language, size in sizes.iter_rows():
        if size >= settings.min_slice_samples:
            yield f"language={language}", (rows["language"] == language).fill_null(False)


def _slice_rows(
    name: str, by_role: dict[str, pl.DataFrame], settings: Evaluation
) -> Iterator[tuple[object, ...]]:
    options: dict[str, Any] = {
        "units": units(next(iter(by_role.values()))),
        "confidence": settings.confidence,
        "resamples": settings.bootstrap_samples,
        "seed": settings.seed,
    }
    digests = {role: rows["model_digest"][0] for role, rows in by_role.items()}
    own: list[tuple[str, str | None]] = [(role, None) for role in by_role]
    pairs = [(role, versus) for role, versus in _PAIRS if role in by_role and versus in by_role]
    for metric, column in METRICS.items():
        if any(rows[column].null_count() == rows.height for rows in by_role.values()):
            continue
        values = {role: rows[column].cast(pl.Float64).to_numpy() for role, rows in by_role.items()}
        for role, versus in own + pairs:
            found = (
                bootstrap.mean(values[role], **options)
                if versus is None
                else bootstrap.paired_difference(values[role], values[versus], **options)
            )
            yield (
                *(role, versus, metric, name),
                *(found.value, found.low, found.high, found.n_values),
                digests[role],
            )
