"""An ablation: every arm trained by the training program on as many samples, and compared on the same held-out gaps.

What does not live here: the arms' samples (`arms.py`), metrics and intervals (`evaluation/`), showing (`tables.py`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from echo_dagster import models
from echo_dagster.ablation import arms as refinery
from echo_dagster.ablation import steps
from echo_dagster.ablation.arms import Arm, Bar, Ground, Refined
from echo_dagster.ablation.differences import differences
from echo_dagster.ablation.training import train
from echo_dagster.evaluation import compare, decisions, user
from echo_dagster.evaluation.user import UserFit
from echo_dagster.lake import Lake
from echo_dagster.models import ResolvedModel
from echo_dagster.optimization import job
from echo_dagster.optimization.job import Job
from echo_dagster.scratch import scratch
from echo_dagster.settings import Settings

Progress = Callable[[int, int], None]

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


@contextmanager
def _silent(_: str) -> Iterator[Progress]:
    yield lambda done, total: None


def ablate(
    lake: Lake,
    drops: Sequence[str],
    settings: Settings,
    *,
    day: date | None = None,
    n_days: int | None = None,
    n_samples: int | None = None,
    n_seeds: int = 1,
    bar: Bar = _silent,
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
        _check_held_out(ground, settings)
        fitted = _user(ground, settings)

        def ask(model: ResolvedModel, who: str) -> pl.DataFrame:
            return _answers(model, ground, settings, fitted, bar, who)

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


def _check_held_out(ground: Ground, settings: Settings) -> None:
    n_gaps = min(ground.held_out.height, settings.evaluation.max_samples)
    if n_gaps < settings.evaluation.min_samples:
        raise ValueError(
            f"{n_gaps} gaps of {ground.days.held_out} to compare on ({ground.n_seen} more are like samples trained "
            f"on), fewer than evaluation.min_samples ({settings.evaluation.min_samples}): choose another --day, or "
            "lower evaluation.min_samples"
        )


def _user(ground: Ground, settings: Settings) -> UserFit:
    """Fit the calibrated user on the decisions of the window."""
    evaluation, days = settings.evaluation, ground.days.window
    logged = decisions.read(
        ground.lake,
        *(days[0], days[-1]),
        max_decisions=evaluation.max_decisions,
        seed=evaluation.seed,
        memory_limit=settings.memory_limit,
    )
    return user.fit(logged.rows, min_decisions=evaluation.min_decisions, seed=evaluation.seed)


def _answers(
    model: ResolvedModel, ground: Ground, settings: Settings, fitted: UserFit, bar: Bar, who: str
) -> pl.DataFrame:
    """Return what a model makes of the held-out gaps: PREDICTION_SCHEMA + `region_id`, one row per gap."""
    with bar(f"comparing: {who}") as progress:
        predictions, _ = compare.compare(
            ground.held_out,
            {"candidate": model},
            settings.base_model.fim,
            settings.evaluation,
            user=fitted.user,
            progress=progress,
        )
    return predictions.join(ground.held_out.select("sample_id", "region_id"), on="sample_id")


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
    done: dict[str, tuple[dict[str, Any], pl.DataFrame]] = {}
    trained = []
    for one in refined:
        settings = one.arm.settings
        # The samples with the lowest lots, as a window that is too large is cut: arms share as many as they can.
        rows = compare.sample(pl.read_parquet(one.file), n_samples, settings.window.seed)
        runs = []
        for seed in seeds:
            training = settings.training.model_copy(update={"seed": seed})
            seeded = settings.model_copy(update={"training": training})
            lineage = {"ablation": one.arm.name}
            prepared = Job.read(job.prepare(rows, base, settings.base_model.fim, seeded, out, lineage))
            if prepared.digest not in done:
                who = one.arm.name if len(seeds) == 1 else f"{one.arm.name}, seed {seed}"
                with bar(f"training: {who}") as progress:
                    record = train(prepared, who, progress)
                model = ResolvedModel(base.name, prepared.result, record["model_digest"])
                done[prepared.digest] = (record, ask(model, who))
            shutil.rmtree(prepared.out)
            runs.append(done[prepared.digest])
        trained.append(Trained(one, tuple(record for record, _ in runs), tuple(found for _, found in runs)))
    return trained
