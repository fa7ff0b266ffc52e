"""Running the training program on a job, as the command line and Dagster do, with a bar in place of its lines.

What does not live here: the program (`optimization/`), what is trained on (`ablation/`, `scaling/`), and what models
are asked (`asking.py`).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import psutil

from echo_dagster import models
from echo_dagster.experiments.asking import Bar
from echo_dagster.lake import Lake
from echo_dagster.models import ResolvedModel
from echo_dagster.optimization import job
from echo_dagster.optimization.job import Job, TrainingMissing
from echo_dagster.settings import Settings

#: What the training program says of its progress.
_STEPS = re.compile(r"optimizer steps: (\d+) of (\d+)")
#: Of a training that failed so many lines are told.
_LAST_LINES = 20
#: A rank that hangs ends itself after a minute.
_SECONDS_TO_END = 75


@dataclass(frozen=True)
class Ran:
    """A training that is done: its provenance record, what its model answered, and its directory."""

    record: dict[str, Any]
    answers: pl.DataFrame
    out: Path


def train_and_ask(
    name: str,
    rows: pl.DataFrame,
    seeds: Sequence[int],
    base: ResolvedModel,
    settings: Settings,
    out: Path,
    lineage: Mapping[str, Any],
    done: dict[str, Ran],
    ask: Callable[[ResolvedModel, str], pl.DataFrame],
    bar: Bar,
) -> Iterator[Ran]:
    """Train the base model on `rows` with each seed, and ask each model; yield one after another.

    Args:
        name: how progress and errors call it.
        rows: one per sample, as `job.prepare` takes them.
        seeds: of the order of samples.
        base: the model to start from.
        settings: `training` is used, with each of the seeds.
        out: the directory of the jobs. Each has its own in it, which stays.
        lineage: as `job.prepare` takes it.
        done: jobs that were run already, by digest; they are not run again, and those that are run are added.
        ask: returns what a model answers; its second argument is how progress calls the model.
        bar: shows progress.

    Raises:
        ValueError: a training failed, or its model is not what its record says.
    """
    for seed in seeds:
        training = settings.training.model_copy(update={"seed": seed})
        seeded = settings.model_copy(update={"training": training})
        prepared = Job.read(job.prepare(rows, base, settings.base_model.fim, seeded, out, lineage))
        if prepared.digest not in done:
            who = name if len(seeds) == 1 else f"{name}, seed {seed}"
            with bar(f"training: {who}") as progress:
                record = train(prepared, who, progress)
            if models.digest(prepared.result) != record["model_digest"]:
                raise ValueError(
                    f"{prepared.result} is not what its provenance.json says; remove it and try again"
                )
            model = ResolvedModel(base.name, prepared.result, record["model_digest"])
            done[prepared.digest] = Ran(record, ask(model, who), prepared.out)
        yield done[prepared.digest]


def remove_models(lake: Lake, runs: Iterable[Ran]) -> None:
    """Remove what was trained, but for models that a table names for any day: they may serve, or be compared.

    They are told by digest, for a path can be written in several ways.
    """
    kept: set[str] = set()
    for table in filter(lake.exists, ("checkpoint", "static_baseline", "champion", "champion_changes")):
        kept |= set(lake.read(table).select("model_digest").collect().to_series())
    for run in runs:
        if run.record["model_digest"] not in kept:
            shutil.rmtree(run.out)


def train(
    prepared: Job, who: str, progress: Callable[[int, int], None], module: str = "train"
) -> dict[str, Any]:
    """Run a training program, the fine-tune or `train_preference`; return its provenance record.

    Raises:
        ValueError: it failed. The message ends with what it said.
    """
    import torch

    if torch.accelerator.is_available():
        torch.accelerator.empty_cache()  # models were asked in this process; their memory is for the training now
    command = job.command(prepared.out / "job.json", prepared.training, module)
    said: deque[str] = deque(maxlen=_LAST_LINES)
    with subprocess.Popen(
        command,
        env={**os.environ, **job.environment(prepared.training)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as running:
        assert running.stdout is not None
        try:
            for line in running.stdout:
                said.append(line)
                if counted := _STEPS.search(line):
                    progress(int(counted[1]), int(counted[2]))
        except BaseException:  # a run that was cancelled
            _stop(running)
            raise
    try:
        return job.result(prepared.out)
    except TrainingMissing as error:
        raise ValueError(
            f"the training of {who!r} failed: {job.why_failed(prepared, running.returncode)}. The last it said:\n"
            + "".join(said)
        ) from error


def _stop(running: subprocess.Popen[str]) -> None:
    """Stop a training, and wait until its launcher has ended and its ranks have saved their work and ended.

    `Popen` itself does not wait for the launcher on KeyboardInterrupt.
    """
    launcher = psutil.Process(running.pid)
    every = [launcher, *launcher.children(recursive=True)]
    running.terminate()
    _, hanging = psutil.wait_procs(every, timeout=_SECONDS_TO_END)
    for process in hanging:
        process.kill()
