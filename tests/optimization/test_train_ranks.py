"""Ranks and ZeRO stages say how memory is shared, not what is learnt: real DeepSpeed runs of the tiny model.

In fp32, where nothing but the order of sums differs: in bf16 every arrangement rounds by itself (docs/training.md). One
process trains all jobs of one rank, two train all those of two ranks.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from echo_dagster.optimization.job import Job, free_port
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
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]


@pytest.fixture(scope="module")
def losses(make_job, samples: pl.DataFrame, tmp_path_factory) -> dict[tuple[int, str], list[float]]:
    """The loss curve of each number of ranks and file; two ranks recompute activations as well."""
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
    started = [
        rank
        for ranks in (1, 2)
        for rank in start([file for (many, _), file in files.items() if many == ranks], ranks)
    ]
    said = [rank.communicate(timeout=300)[1] for rank in started]
    assert [rank.returncode for rank in started] == [0, 0, 0], said
    histories = {told: Job.read(file).result / "history.json" for told, file in files.items()}
    return {
        told: [row["loss_nats_per_token"] for row in json.loads(file.read_text())]
        for told, file in histories.items()
    }


def test_every_stage_and_number_of_ranks_follows_the_same_loss_curve(losses):
    reference = losses[1, "zero0"]
    assert len(reference) == 50 and reference[0] > reference[-1] + 2  # it learns
    differences = {
        told: max(abs(one - other) for one, other in zip(curve, reference, strict=True))
        for told, curve in losses.items()
    }
    assert len(differences) == 10
    assert max(differences.values()) <= 1e-5, differences  # wanted: 1e-3; measured: 7e-7
