"""A study of growing shares: models trained on more and more of a day's training set, on the same held-out gaps.

What does not live here: which samples a share holds (`shares.py`), the line (`fit.py`), showing (`tables.py`,
`plot.py`), training and asking (`experiments/`).

Every model makes the same number of passes over its share, so steps grow with the samples: what a team wants to know is
what more of its data would bring, under the training that it runs. With as many steps for each, a sixteenth would be
passed over sixteen times, and the answer would be about repetition.

Trainings stand where those of the day stand, so that what is killed can be gone on with, what is done is not done
again, the whole set is not trained again if it is the day's candidate, and retention and forgetting know of them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import polars as pl

from echo_dagster.evaluation import compare, summary
from echo_dagster.evaluation import day as evaluation
from echo_dagster.evaluation.user import UserFit
from echo_dagster.experiments.asking import (
    Bar,
    answers,
    check_held_out,
    fit_user,
    judge,
    mean_over_seeds,
    silent,
)
from echo_dagster.experiments.training import Ran, remove_models, train_and_ask
from echo_dagster.lake import Lake
from echo_dagster.models import ResolvedModel
from echo_dagster.optimization import job
from echo_dagster.optimization.schema import TRAINED_COLUMNS, from_base
from echo_dagster.scaling.fit import fit, in_words
from echo_dagster.scaling.schema import FIT_SCHEMA, SCALING_SCHEMA
from echo_dagster.scaling.shares import Size, sizes
from echo_dagster.settings import Evaluation, Settings


@dataclass(frozen=True)
class Arm:
    """A share, and for each seed what came of its training."""

    size: Size
    runs: tuple[Ran, ...]


@dataclass(frozen=True)
class Study:
    """What came of it. `scaling` is SCALING_SCHEMA, `fits` FIT_SCHEMA.

    `n_samples` is the size of the training set, `left_out` the shares of it that were too small or repeat another.
    `n_held_out` gaps were compared on; `n_seen` more are duplicates or near duplicates of training samples.
    `versions` are those of the tables that were read.
    """

    day: date
    base: ResolvedModel
    settings: Settings
    n_samples: int
    arms: tuple[Arm, ...]
    left_out: tuple[Size, ...]
    seeds: tuple[int, ...]
    n_held_out: int
    n_seen: int
    user: UserFit
    versions: dict[str, int]
    scaling: pl.DataFrame
    fits: pl.DataFrame


def last_day(lake: Lake) -> date:
    """Return the last day that has a training set with samples.

    Raises:
        TableMissing: no training set was ever made.
        ValueError: none holds a sample.
    """
    days = lake.days("training_set")
    if not days:
        raise ValueError("training_set holds no day: materialize it first")
    return days[-1]


def study_day(lake: Lake, day: date, base: ResolvedModel, settings: Settings, *, bar: Bar = silent) -> Study:
    """Train on growing shares of the training set of `day`, compare on its held-out gaps, and replace the day's rows.

    Models start from the base model, whatever `training.start_from` says: a champion may have learnt from the very
    samples that a small share leaves out. They are removed at the end, but for one that `checkpoint` or
    `champion` names.

    Args:
        lake: `training_set`, `scored_samples` and `gap_sessions` are read; `scaling` and `scaling_fit` are written.
        day: whose training set is shared out and whose gaps are held out.
        base: the model to start from, and to compare with.
        settings: `scaling` says which shares and how many trainings of each; `training` and `evaluation` say how.
        bar: shows progress.

    Raises:
        TableMissing: an earlier stage was never materialized.
        ValueError: too few samples or held-out gaps; a training that failed. The message says what to do.
    """
    versions = {table: lake.version(table) for table in ("training_set", "scored_samples")}
    training_set = lake.read("training_set", [day], versions["training_set"])
    rows = training_set.select(*TRAINED_COLUMNS, "sample_day", "cohort").collect()
    taken, left_out = _sizes(rows.height, day, settings)
    held_out, n_seen = evaluation.held_out_gaps(lake, day, settings)
    check_held_out(held_out.height, n_seen, day, settings.evaluation)
    window = settings.window.days
    fitted = fit_user(lake, day - timedelta(days=window), day - timedelta(days=1), settings)

    def ask(model: ResolvedModel, who: str) -> pl.DataFrame:
        return answers(model, held_out, settings, fitted, bar, who)

    training = from_base(settings)
    seeds = tuple(settings.training.seed + nth for nth in range(settings.scaling.seeds))
    out = job.home_of_day(settings, day)
    of_base = ask(base, "base")
    done: dict[str, Ran] = {}
    arms = []
    for size in taken:
        drawn = compare.sample(rows, size.n_samples, settings.window.seed)
        name = f"{size.n_samples:,} samples"
        lineage = job.lineage_of_day(day, drawn, versions["training_set"], training.training)
        runs = train_and_ask(name, drawn, seeds, base, training, out, lineage, done, ask, bar)
        arms.append(Arm(size, tuple(runs)))
    scaling = pl.concat(_rows(arm, of_base, settings.evaluation) for arm in arms)
    fits = _fits(arms, settings.evaluation)
    for table, found in (("scaling", scaling), ("scaling_fit", fits)):
        lake.replace(table, found.select(pl.lit(day).alias("day"), pl.all()), [day])
    remove_models(lake, done.values())
    return Study(
        *(day, base, settings, rows.height, tuple(arms), tuple(left_out), seeds),
        *(of_base.height, n_seen, fitted, versions, scaling, fits),
    )


def _sizes(n_samples: int, day: date, settings: Settings) -> tuple[list[Size], list[Size]]:
    least = settings.training.min_samples
    taken, left_out = sizes(n_samples, settings.scaling.shares, least)
    if len(taken) < 2:
        told = ", ".join(f"{size.share:g} is {size.n_samples}" for size in (*left_out, *taken))
        raise ValueError(
            f"the training set of {day} has {n_samples} samples, too few for two shares of at least "
            f"training.min_samples ({least}): {told}. Take a longer window, larger scaling.shares or another day"
        )
    return taken, left_out


def _rows(arm: Arm, of_base: pl.DataFrame, settings: Evaluation) -> pl.DataFrame:
    """Return SCALING_SCHEMA of one share, a row per metric and slice."""
    answered = [run.answers for run in arm.runs]
    found = judge({"candidate": answered, "base": [of_base]}, settings)
    common = {
        "share": arm.size.share,
        "n_samples": arm.size.n_samples,
        **{name: _mean(arm, name) for name in ("tokens", "steps")},
        "jobs": [run.record["job_digest"] for run in arm.runs],
    }
    rows: list[dict[str, Any]] = []
    for (slice_, metric, role, versus), own in found.items():
        if (role, versus) != ("candidate", None):
            continue
        against = found[slice_, metric, "candidate", "base"]
        values = [one[summary.METRICS[metric]].cast(pl.Float64).mean() for one in answered]
        rows.append(
            {
                **common,
                "metric": metric,
                "slice": slice_,
                "base": found[slice_, metric, "base", None]["value"],
                **{name: own[name] for name in ("value", "low", "high")},
                "difference": against["value"],
                "difference_low": against["low"],
                "difference_high": against["high"],
                "n_held_out": own["n_samples"],
                "by_seed": values if slice_ == "all" else None,
            }
        )
    return pl.DataFrame(rows, schema=SCALING_SCHEMA)


def _mean(arm: Arm, figure: str) -> int:
    """Return a figure of the trainings, such as `tokens`; those of one share differ by seed in the last batch alone."""
    return round(sum(run.record["metrics"][figure] for run in arm.runs) / len(arm.runs))


def _fits(arms: Sequence[Arm], settings: Evaluation) -> pl.DataFrame:
    """Return FIT_SCHEMA. A metric is taken over the gaps where every share has a value; without one (predicted
    acceptance without a user) it gets no row.
    """
    of_arms = [mean_over_seeds([run.answers for run in arm.runs]).sort("sample_id") for arm in arms]
    rows = []
    for metric, column in summary.METRICS.items():
        values = pl.DataFrame({str(nth): of_arm[column] for nth, of_arm in enumerate(of_arms)})
        has_all = values.select(pl.all_horizontal(pl.all().is_not_null())).to_series()
        if not has_all.any():
            continue
        line = fit(
            [arm.size.n_samples for arm in arms],
            values.filter(has_all).to_numpy(),
            summary.units(of_arms[0].filter(has_all)),
            confidence=settings.confidence,
            resamples=settings.bootstrap_samples,
            seed=settings.seed,
        )
        slope, last = line.per_doubling, line.last_doubling
        rows.append(
            {
                "metric": metric,
                "per_doubling": slope.value,
                "low": slope.low,
                "high": slope.high,
                "at_one": line.at_one,
                "last_doubling": last.value,
                "last_low": last.low,
                "last_high": last.high,
                "n_shares": len(arms),
                "n_held_out": slope.n_values,
                "in_words": in_words(metric, line, len(arms)),
            }
        )
    return pl.DataFrame(rows, schema=FIT_SCHEMA)
