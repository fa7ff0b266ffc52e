"""Does learning from experience beat learning from plain code? Both trained on the very same number of samples.

The base model is trained on a day's training set and on its static set, once for each seed, and all are asked the day's
held-out gaps. The asset `static_baseline` does it for the candidate as it is, on some days; here both start from the
base model and have as many samples as the smaller set. What does not live here: the static set (`refinery/static.py`),
running a training (`training.py`), pairs and intervals (`side_by_side.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import polars as pl

from echo_dagster import models
from echo_dagster.evaluation import compare
from echo_dagster.evaluation import day as evaluation
from echo_dagster.evaluation.user import UserFit
from echo_dagster.experiments.asking import Bar, answers, check_held_out, fit_user, silent
from echo_dagster.experiments.side_by_side import judged
from echo_dagster.experiments.training import Ran, remove_models, train_and_ask
from echo_dagster.lake import Lake
from echo_dagster.models import ResolvedModel
from echo_dagster.optimization import job
from echo_dagster.optimization.schema import from_base
from echo_dagster.refinery import static
from echo_dagster.refinery.static import StaticSet
from echo_dagster.settings import Settings

_TABLES = {"static": "static_set", "candidate": "training_set"}


@dataclass(frozen=True)
class Against:
    """What came of it. `rows` is COMPARED_SCHEMA of base, static and candidate, each trained one on `n_samples`.

    `records` are those of the trainings, by model and in the order of `seeds`. `n_held_out` gaps were compared on;
    `n_seen` more are like a sample of either set.
    """

    day: date
    n_samples: int
    cut: StaticSet
    seeds: tuple[int, ...]
    records: dict[str, tuple[dict[str, Any], ...]]
    n_held_out: int
    n_seen: int
    user: UserFit
    rows: pl.DataFrame


def against_static(
    lake: Lake, day: date, base: ResolvedModel, settings: Settings, *, n_seeds: int = 1, bar: Bar = silent
) -> Against:
    """Train on the training set of `day` and on as many plain-code gaps, and compare both with the base model.

    Models are removed at the end, but for those that a table names.

    Args:
        lake: `training_set`, `scored_samples` and `gap_sessions` are read; `static_set` of the day is written.
        day: whose training set it is, and whose gaps are held out.
        base: the model to start from.
        settings: `training` and `evaluation` say how; `training.start_from` is not used.
        n_seeds: trainings on either set, each in another order of samples; a gap's metrics are their means.
        bar: shows progress.

    Raises:
        TableMissing: an earlier stage was never materialized.
        ValueError: too few samples or held-out gaps; a training that failed. The message says what to do.
    """
    asked = from_base(settings)
    with bar("cutting plain code") as progress:
        tokenizer = models.load_tokenizer(base.path)
        cut = static.write_static_set(lake, day, tokenizer, settings, progress)
    # Where training holds samples out to say when to stop, either takes them from all of its own.
    sets = {name: lake.read(table, [day]).drop("day", "origin").collect() for name, table in _TABLES.items()}
    n_samples = min(one.height for one in sets.values())
    if n_samples < settings.training.min_samples:
        raise ValueError(
            f"{n_samples} samples to train either on, fewer than training.min_samples "
            f"({settings.training.min_samples}): {cut.shortfall or 'choose another day, or a longer window'}"
        )
    held_out, n_seen = evaluation.held_out_gaps(lake, day, settings)
    check_held_out(held_out.height, n_seen, day, settings.evaluation)
    window = settings.window.days
    fitted = fit_user(lake, day - timedelta(days=window), day - timedelta(days=1), settings)

    def ask(model: ResolvedModel, who: str) -> pl.DataFrame:
        return answers(model, held_out, settings, fitted, bar, who)

    seeds = tuple(settings.training.seed + nth for nth in range(n_seeds))
    answered = {"base": [ask(base, "base")]}
    records, done = {}, dict[str, Ran]()
    for name, table in _TABLES.items():
        rows = compare.sample(sets[name], n_samples, settings.window.seed)
        lineage = job.lineage_of_day(day, rows, lake.version(table), asked.training, table)
        out = job.home_of_day(settings, day)
        runs = list(train_and_ask(name, rows, seeds, base, asked, out, lineage, done, ask, bar))
        answered[name] = [run.answers for run in runs]
        records[name] = tuple(run.record for run in runs)
    compared = judged(answered, settings.evaluation)
    remove_models(lake, done.values())
    n_held_out = answered["base"][0].height
    return Against(day, n_samples, cut, seeds, records, n_held_out, n_seen, fitted, compared)
