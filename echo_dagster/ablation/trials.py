"""An ablation: every arm trained by the training program on as many samples, and compared on the same held-out gaps.

What does not live here: the arms' samples (`arms.py`), metrics and intervals (`evaluation/`), showing (`tables.py`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from echo_dagster import models
from echo_dagster.ablation import arms as refinery
from echo_dagster.ablation import steps
from echo_dagster.ablation.arms import Arm, Ground, Refined
from echo_dagster.ablation.differences import differences
from echo_dagster.evaluation import compare
from echo_dagster.evaluation.user import UserFit
from echo_dagster.experiments.asking import Bar, answers, check_held_out, fit_user, silent
from echo_dagster.experiments.training import Ran, train_and_ask
from echo_dagster.lake import Lake
from echo_dagster.models import ResolvedModel
from echo_dagster.scratch import scratch
from echo_dagster.settings import Settings

#: Where an ablation works, below the data directory; `governance/leftovers.py` knows it too.
_ROOM = ("spill", "ablation-")


@dataclass(frozen=True)
class Trained:
    """An arm, with the provenance record of its training and the answers of its model for each seed."""

    refined: Refined
    records: tuple[dict[str, Any], ...]
    answers: tuple[pl.DataFrame, ...]


@dataclass(frozen=True)
class Ablation:
    """What came of it. `compared` is COMPARED_SCHEMA, `n_samples` the budget: what every arm was trained on."""

    ground: Ground
    base: ResolvedModel
    settings: Settings
    arms: tuple[Trained, ...]
    n_samples: int
    seeds: tuple[int, ...]
    user: UserFit
    compared: pl.DataFrame

    @property
    def n_held_out(self) -> int:
        """Return how many gaps the arms were compared on."""
        return len(self.arms[0].answers[0])


def ablate(
    lake: Lake,
    drops: Sequence[str],
    settings: Settings,
    *,
    day: date | None = None,
    n_days: int | None = None,
    n_samples: int | None = None,
    n_seeds: int = 1,
    bar: Bar = silent,
) -> Ablation:
    """Train with the whole refinery and without each of some steps, and compare on the gaps of a day.

    Args:
        lake: `gap_sessions` is read, and `scored_samples` for likelihoods that are known. Nothing is written to it.
        drops: names of `steps.py`; each makes an arm beside the whole refinery.
        settings: of the whole refinery, of training and of evaluation.
        day: whose gaps are held out; by default the last day that holds gaps.
        n_days: the days before it to learn from; by default `window.days`.
        n_samples: the budget; by default the size of the smallest arm's training set.
        n_seeds: trainings of each arm, each in another order of samples; a gap's metrics are their means.
        bar: shows progress.

    Raises:
        TableMissing: no gaps were ever extracted.
        ValueError: a step that does not exist or must stay; too few days, samples or held-out gaps; a training that
            failed. The message says what to do.
    """
    made = [Arm(None, settings), *(Arm(name, steps.without(settings, name)) for name in dict.fromkeys(drops))]
    days = refinery.days_of(lake, day, n_days or settings.window.days, settings.start_day)
    with scratch(settings.data_dir / _ROOM[0], _ROOM[1]) as room:
        base = models.resolve(settings.base_model, settings.data_dir)
        refined, ground = refinery.refine(lake, room, made, days, base, bar)
        budget = _budget(refined, n_samples, settings)
        check_held_out(ground.held_out.height, ground.n_seen, ground.days.held_out, settings.evaluation)
        fitted = fit_user(ground.lake, days.window[0], days.window[-1], settings)

        def ask(model: ResolvedModel, who: str) -> pl.DataFrame:
            return answers(model, ground.held_out, settings, fitted, bar, who)

        seeds = tuple(settings.training.seed + nth for nth in range(n_seeds))
        of_base = ask(base, "base")
        trained = _train_all(refined, budget, seeds, base, room / "checkpoints", ask, bar)
    full, *others = trained
    compared = pl.concat(
        differences(
            other.refined.arm.dropped or "", of_base, full.answers, other.answers, settings.evaluation
        )
        for other in others
    )
    return Ablation(ground, base, settings, tuple(trained), budget, seeds, fitted, compared)


def _budget(refined: Sequence[Refined], asked: int | None, settings: Settings) -> int:
    smallest = min(refined, key=lambda one: one.n_samples)
    n_samples, least = smallest.n_samples if asked is None else asked, settings.training.min_samples
    if n_samples > smallest.n_samples:
        raise ValueError(
            f"the arm {smallest.arm.name!r} has {smallest.n_samples} samples, not {n_samples}: lower --samples, "
            "or take more --days"
        )
    if n_samples < least:
        raise ValueError(
            f"{n_samples} samples to train on (the arm {smallest.arm.name!r} has {smallest.n_samples}), fewer than "
            f"training.min_samples ({least}): take more --days, or lower training.min_samples"
        )
    return n_samples


def _train_all(
    refined: Sequence[Refined],
    n_samples: int,
    seeds: Sequence[int],
    base: ResolvedModel,
    out: Path,
    ask: Callable[[ResolvedModel, str], pl.DataFrame],
    bar: Bar,
) -> list[Trained]:
    """Train every arm with every seed, and ask each model; equal jobs are run once. Models are removed again."""
    done: dict[str, Ran] = {}
    trained = []
    for one in refined:
        name, settings = one.arm.name, one.arm.settings
        # The samples with the lowest lots, as a window that is too large is cut: arms share as many as they can.
        rows = compare.sample(pl.read_parquet(one.file), n_samples, settings.window.seed)
        runs = []
        for ran in train_and_ask(name, rows, seeds, base, settings, out, {"ablation": name}, done, ask, bar):
            shutil.rmtree(ran.out)
            runs.append(ran)
        trained.append(Trained(one, tuple(ran.record for ran in runs), tuple(ran.answers for ran in runs)))
    return trained
