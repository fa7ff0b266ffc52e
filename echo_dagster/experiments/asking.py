"""Asking models the same held-out gaps, and holding their answers against each other.

What does not live here: training them (`training.py`), metrics, intervals and the calibrated user (`evaluation/`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import date
from typing import Any

import polars as pl

from echo_dagster.evaluation import compare, decisions, summary, user
from echo_dagster.evaluation.user import UserFit
from echo_dagster.lake import Lake
from echo_dagster.models import ResolvedModel
from echo_dagster.settings import Evaluation, Settings

Progress = Callable[[int, int], None]
#: Opens a bar of that name, and gives what moves it: `(done, total)`.
Bar = Callable[[str], AbstractContextManager[Progress]]

_IDENTITY = (
    *("sample_id", "region_id", "user_id", "repository", "language", "cohort", "outcome", "middle_chars"),
    *("is_held_out_user", "is_held_out_repository", "model_digest"),
)
_METRICS = tuple(summary.METRICS.values())


@contextmanager
def silent(_: str) -> Iterator[Progress]:
    """Show no progress."""
    yield lambda done, total: None


def fit_user(lake: Lake, first: date, last: date, settings: Settings) -> UserFit:
    """Fit the calibrated user on the decisions on gaps that closed from `first` to `last`."""
    evaluation = settings.evaluation
    logged = decisions.read(
        lake,
        first,
        last,
        max_decisions=evaluation.max_decisions,
        seed=evaluation.seed,
        memory_limit=settings.memory_limit,
    )
    return user.fit(logged.rows, min_decisions=evaluation.min_decisions, seed=evaluation.seed)


def check_held_out(n_gaps: int, n_seen: int, day: date, settings: Evaluation) -> None:
    """Refuse to compare on too few held-out gaps; `n_seen` more of the day are like samples trained on.

    Raises:
        ValueError: fewer than `evaluation.min_samples` would be compared on.
    """
    compared = min(n_gaps, settings.max_samples)
    if compared < settings.min_samples:
        raise ValueError(
            f"{compared} gaps of {day} to compare on ({n_seen} more are like samples trained on), fewer than "
            f"evaluation.min_samples ({settings.min_samples}): choose another day, or lower evaluation.min_samples"
        )


def answers(
    model: ResolvedModel, held_out: pl.DataFrame, settings: Settings, fitted: UserFit, bar: Bar, who: str
) -> pl.DataFrame:
    """Return what a model makes of the held-out gaps: PREDICTION_SCHEMA + `summary.facts`, one row per gap."""
    with bar(f"comparing: {who}") as progress:
        predictions, _ = compare.compare(
            held_out,
            {"candidate": model},
            settings.base_model.fim,
            settings.evaluation,
            user=fitted.user,
            progress=progress,
        )
    return predictions.join(summary.facts(held_out), on="sample_id")


def mean_over_seeds(answered: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return one row per gap, its metrics the means over the seeds."""
    every = pl.concat(answered).with_columns(pl.col(*_METRICS).cast(pl.Float64))
    first = answered[0].select(_IDENTITY)
    means = every.group_by("sample_id").agg(pl.col(*_METRICS).mean())
    return first.join(means, on="sample_id", maintain_order="left")


def judge(
    roles: Mapping[str, Sequence[pl.DataFrame]], settings: Evaluation
) -> dict[tuple[str, str, str, str | None], dict[str, Any]]:
    """Return the rows of EVALUATED_SCHEMA by (slice, metric, role, versus).

    Args:
        roles: for each role (`evaluation.schema.ROLES`) the answers of its model, once for each seed.
        settings: the bootstrap's and the slices'.

    Raises:
        ValueError: they did not answer the same gaps.
    """
    judged = pl.concat(
        mean_over_seeds(answered).with_columns(pl.lit(role).alias("role")) for role, answered in roles.items()
    )
    return {
        (row["slice"], row["metric"], row["role"], row["versus"]): row
        for row in summary.summarise(judged, settings).iter_rows(named=True)
    }
