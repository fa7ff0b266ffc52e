"""Any set of models on the same held-out gaps: each with its figures, and every pair with its paired difference.

What does not live here: metrics and intervals (`evaluation/`), where models come from (`named.py`), what they have seen
(`leaks.py`), and showing (`telling.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import combinations

import polars as pl

from echo_dagster.evaluation import day as evaluation
from echo_dagster.evaluation.schema import EVALUATED_SCHEMA
from echo_dagster.evaluation.user import UserFit
from echo_dagster.experiments import leaks
from echo_dagster.experiments.asking import Bar, answers, judge, silent
from echo_dagster.experiments.named import fim_of, has_tokenizer_of
from echo_dagster.lake import Lake
from echo_dagster.models import ResolvedModel
from echo_dagster.settings import Evaluation, Settings

#: EVALUATED_SCHEMA with the models' own names in place of roles.
COMPARED_SCHEMA = pl.Schema(
    {"model" if name == "role" else name: kind for name, kind in EVALUATED_SCHEMA.items()}
)
#: Per token: models that count tokens otherwise cannot be compared by these.
_PER_TOKEN = ("middle_nats_per_token", "tokens_per_completion")


@dataclass(frozen=True)
class HeldOut:
    """Gaps that none of some models has seen.

    `left_out` counts the others by what has seen them, `checked` says of each model how that is known.
    """

    gaps: pl.DataFrame
    left_out: dict[str, int]
    checked: dict[str, str]


@dataclass(frozen=True)
class Compared:
    """What came of it: `rows` is COMPARED_SCHEMA, `predictions` PREDICTION_SCHEMA with `model` in place of `role`."""

    rows: pl.DataFrame
    predictions: pl.DataFrame

    @property
    def n_gaps(self) -> int:
        """Return how many gaps every model was asked."""
        return self.predictions["sample_id"].n_unique()


def held_out_of(
    lake: Lake,
    first: date,
    last: date,
    models: Mapping[str, ResolvedModel],
    base: ResolvedModel,
    settings: Settings,
) -> HeldOut:
    """Return the held-out gaps of days `first` to `last` that none of the models has seen.

    Of each day those are taken that its own evaluation takes; of these, what a model has learnt from goes for all.

    Raises:
        TableMissing: no samples were ever scored.
    """
    days = [first + timedelta(days=ahead) for ahead in range((last - first).days + 1)]
    found, left_out = [], {"training set of its day": 0}
    for day in days:
        gaps, n_seen = evaluation.held_out_gaps(lake, day, settings)
        found.append(gaps.with_columns(pl.lit(day).alias("day")))
        left_out["training set of its day"] += n_seen
    gaps = pl.concat(found)
    told = {
        name: leaks.seen(model, gaps, lake, base, settings.window.near_duplicate_similarity)
        for name, model in models.items()
    }
    left_out |= {name: len(one.sample_ids) for name, one in told.items() if one.sample_ids}
    ids = frozenset().union(*(one.sample_ids for one in told.values()))
    left = gaps.filter(~pl.col("sample_id").is_in(list(ids)))
    return HeldOut(left.drop("day"), left_out, {name: one.checked for name, one in told.items()})


def compare(
    models: Mapping[str, ResolvedModel],
    held_out: pl.DataFrame,
    base: ResolvedModel,
    fitted: UserFit,
    settings: Settings,
    *,
    bar: Bar = silent,
) -> Compared:
    """Ask models the same gaps; judge each, and each against every one before it.

    Args:
        models: by name, those to hold others against first.
        held_out: SCORED_SCHEMA and what is held out; at most `evaluation.max_samples` of it are asked.
        base: the base model, whose tokenizer and format are the configured ones.
        fitted: the calibrated user.
        settings: `evaluation` is used.
        bar: shows progress.
    """
    asked: dict[str, pl.DataFrame] = {}
    for name, model in models.items():
        if model.digest not in asked:
            of_model = settings.base_model.model_copy(update={"fim": fim_of(model, base, settings)})
            told = settings.model_copy(update={"base_model": of_model})
            asked[model.digest] = answers(model, held_out, told, fitted, bar, name)
    by_name = {name: [asked[model.digest]] for name, model in models.items()}
    rows = judged(by_name, settings.evaluation)
    others = [
        {name, before}
        for before, name in combinations(models, 2)
        if not has_tokenizer_of(models[name], models[before])
    ]
    is_other = pl.any_horizontal(
        pl.lit(False), *((pl.col("model").is_in(pair) & pl.col("versus").is_in(pair)) for pair in others)
    )
    predictions = pl.concat(
        one.drop("region_id").with_columns(role=pl.lit(name)).rename({"role": "model"})
        for name, (one,) in by_name.items()
    )
    return Compared(
        rows.filter(~(is_other.fill_null(False) & pl.col("metric").is_in(_PER_TOKEN))), predictions
    )


def judged(answered: Mapping[str, Sequence[pl.DataFrame]], settings: Evaluation) -> pl.DataFrame:
    """Return COMPARED_SCHEMA of what models answered, once for each seed: their own figures, and every pair's."""
    rows = []
    for name, own in answered.items():
        rows += [{**row, "model": name} for row in judge({"base": own}, settings).values()]
    for before, name in combinations(answered, 2):
        found = judge({"candidate": answered[name], "base": answered[before]}, settings)
        rows += [
            {**row, "model": name, "versus": before}
            for row in found.values()
            if (row["role"], row["versus"]) == ("candidate", "base")
        ]
    return pl.DataFrame(rows, schema=COMPARED_SCHEMA)
