"""Ranks and ZeRO stages say how memory is shared, not what is learnt: real DeepSpeed runs of the tiny model. And what
one rank finds, all heed.

In fp32, where nothing but the order of sums differs: in bf16 every arrangement rounds by itself (docs/training.md). One
process trains all jobs of one rank, two train all those of two ranks.
"""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from overfitting import EARLY, filed

from echo_dagster.optimization.job import Job, free_port, result
from echo_dagster.resources import resource

SCENARIO = Path(__file__).with_name("scenario.py")
ROOT = Path(__file__).resolve().parents[2]
FILES = ["zero0", "zero1", "zero2", "zero3", "zero2_offload", "zero3_offload"]
#: 25 samples in steps of 6: four whole steps and one of a single sample, where the second of two ranks has none.
N_SAMPLES, BATCH_SIZE, EPOCHS = 25, 6, 10


def start(files: list[Path], ranks: int) -> list[subprocess.Popen]:
    """Start the ranks of a training, as DeepSpeed's launcher would."""
    port = str(free_port())
    shared = {"WORLD_SIZE": str(ranks), "LOCAL_SIZE": str(ranks), "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    told = os.environ | shared | {"DS_ACCELERATOR": "cpu", "PYTHONPATH": str(ROOT)}
    return [
        subprocess.Popen(
            [sys.executable, str(SCENARIO), *map(str, files)],
            env=told | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]


@dataclass(frozen=True)
class Ran:
    """The jobs of one rank and of two, and what each of the two ranks said."""

    jobs: dict[tuple[int, str], Job]
    said: list[str]

    def losses(self, ranks: int, name: str) -> list[float]:
        """Return the loss curve of a job."""
        history = json.loads((self.jobs[ranks, name].result / "history.json").read_text())
        return [row["loss_nats_per_token"] for row in history]


@pytest.fixture(scope="module")
def runs(make_job, samples: pl.DataFrame, tmp_path_factory) -> Ran:
    """Every number of ranks and file, two ranks recomputing activations as well; and trainings that end before their
    last step.
    """
    home = tmp_path_factory.mktemp("ranks")
    folder = home / "configs" / "deepspeed"
    folder.mkdir(parents=True)
    for name in FILES:
        config = json.loads(resource("configs", "deepspeed", f"{name}.json").read_text())
        del config["torch_autocast"]
        (folder / f"{name}.json").write_text(json.dumps(config))
    asked = {
        "epochs": EPOCHS,
        "learning_rate": 1e-3,
        "batch_size": BATCH_SIZE,
        "micro_batch_tokens": 100,  # two samples a pass
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        files = {
            (ranks, name): make_job(
                home / str(ranks),
                rows=samples.head(N_SAMPLES),
                deepspeed=f"{name}.json",
                ranks=ranks,
                recompute_activations=ranks == 2,
                **asked,
            )
            for ranks in (1, 2)
            for name in FILES
            if ranks == 1 or "offload" not in name
        }
        for ranks in (1, 2):
            early = {**EARLY, "deepspeed": "zero2.json", "ranks": ranks}
            files[ranks, "early"] = make_job(home / str(ranks), rows=filed(samples), **early)
        diverging = {"learning_rate": 1e30, "deepspeed": "zero2.json", "ranks": 2}
        files[2, "diverged"] = make_job(home / "2", **diverging)
    started = [
        rank
        for ranks in (1, 2)
        for rank in start([file for (many, _), file in files.items() if many == ranks], ranks)
    ]
    said = [rank.communicate(timeout=300) for rank in started]
    assert [rank.returncode for rank in started] == [0, 0, 0], said
    jobs = {told: Job.read(file) for told, file in files.items()}
    return Ran(jobs, [out for out, _ in said[1:]])


def test_every_stage_and_number_of_ranks_follows_the_same_loss_curve(runs):
    reference = runs.losses(1, "zero0")
    assert len(reference) == 50 and reference[0] > reference[-1] + 2  # it learns
    differences = {
        (ranks, name): max(
            abs(one - other) for one, other in zip(runs.losses(ranks, name), reference, strict=True)
        )
        for ranks, name in runs.jobs
        if name in FILES
    }
    assert len(differences) == 10
    assert max(differences.values()) <= 1e-5, differences  # wanted: 1e-3; measured: 7e-7


def test_two_ranks_stop_early_where_one_does(runs):
    one, two = (result(runs.jobs[ranks, "early"].out)["metrics"] for ranks in (1, 2))
    assert two["best_step"] == one["best_step"] < one["steps"]
    assert two["steps"] == one["steps"] < 12 * 4


def test_a_training_that_diverges_ends_on_both_ranks_alike(runs):
    assert not runs.jobs[2, "diverged"].result.exists()
    for said in runs.said:
        assert re.search(r"FAILED the (loss|gradient) of step \d+ is .*: training diverged", said)
