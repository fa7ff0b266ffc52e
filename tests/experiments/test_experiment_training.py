"""Running the training program for an experiment, and cancelling it."""

from datetime import date
from pathlib import Path

import polars as pl
import psutil
import pytest

from echo_dagster import models
from echo_dagster.experiments import training
from echo_dagster.optimization import job
from echo_dagster.optimization.job import Job
from echo_dagster.settings import Settings, Training


def alive(prepared: Job) -> list[psutil.Process]:
    """The launcher and the ranks of a job."""
    named = str(prepared.out / "job.json")
    return [one for one in psutil.process_iter(["cmdline"]) if named in (one.info["cmdline"] or [])]


def test_a_cancelled_training_saves_its_work_and_leaves_no_process(tmp_path, tiny_settings):
    rows = pl.DataFrame(
        {"sample_id": [f"s{index}" for index in range(16)], "language": "python"}
        | dict.fromkeys(("prefix", "suffix", "middle"), "total = 1\n")
    )
    settings = Settings(
        start_day=date(2026, 1, 1), base_model=tiny_settings, training=Training(batch_size=2, epochs=100)
    )
    path = Path(tiny_settings.source.path or "")
    base = models.ResolvedModel("tiny", path, models.digest(path))
    prepared = Job.read(job.prepare(rows, base, tiny_settings.fim, settings, tmp_path, {}))
    seen = []

    def cancel(done: int, total: int) -> None:
        seen.append((done, total, len(alive(prepared))))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.train(prepared, "all", cancel)
    ((done, total, n_processes),) = seen
    assert 0 < done < total == 800 and n_processes >= 2
    assert alive(prepared) == []
    assert not prepared.result.exists() and list((prepared.work / "checkpoints").iterdir())
