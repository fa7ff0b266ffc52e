"""Scoring days of the lake: balanced_samples become scored_samples.

What does not live here: how a likelihood is computed (`perplexity.py`), and what is dropped for it (`denoise.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from echo_dagster.lake import Lake
from echo_dagster.models import ResolvedModel
from echo_dagster.refinery import perplexity
from echo_dagster.refinery.schema import BALANCED_SCHEMA
from echo_dagster.refinery.tally import TALLY_SCHEMA, Tally, tally
from echo_dagster.settings import Settings

#: What a plot of likelihoods needs; the texts stay in the table.
_FIGURES = (
    "stratum",
    "language",
    "middle_tokens",
    "middle_nats_per_token",
    "proposal_nats_per_token",
    "ifd",
)


@dataclass(frozen=True)
class Scored(Tally):
    """The tally, and `figures`: one row per sample with its stratum and likelihoods, without any text."""

    figures: pl.DataFrame

    @property
    def summary(self) -> pl.DataFrame:
        """Return the mean likelihoods of each stratum, largest first."""
        means = (pl.col(name).mean() for name in ("middle_nats_per_token", "proposal_nats_per_token", "ifd"))
        return (
            self.figures.group_by("stratum")
            .agg(pl.len().alias("n_samples"), *means)
            .sort("n_samples", "stratum", descending=[True, False])
        )


def score_days(
    lake: Lake,
    days: Sequence[date],
    model: ResolvedModel,
    settings: Settings,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Scored:
    """Score `days` of balanced_samples under `model` into scored_samples, one day after another.

    A day is held in memory whole: the balance has bounded it (`balance.max_samples`).

    Raises:
        TableMissing: nothing was ever balanced. A day without samples is written empty.
        ValueError: a likelihood is not a number.
    """
    counts, figures, came_in = [], [], {}
    for day in sorted(set(days)):
        samples = (
            lake.read("balanced_samples", [day]).select(BALANCED_SCHEMA.names()).collect().sort("sample_id")
        )
        scored = perplexity.score(
            samples,
            model.path,
            settings.base_model.fim,
            settings.perplexity,
            scorer=model.digest,
            progress=progress,
        )
        lake.replace("scored_samples", scored.select(pl.lit(day).alias("day"), pl.all()), [day])
        came_in[day] = samples.height
        told = {"day": [day], "reason": [None], "n": [scored.height]}
        counts.append(pl.DataFrame(told, schema=TALLY_SCHEMA))
        figures.append(scored.select(_FIGURES))
    counted = tally(counts, came_in)
    return Scored(counted.counts, counted.came_in, pl.concat(figures))
