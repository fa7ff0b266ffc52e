"""A training that is killed with SIGKILL goes on to the very same result, and shows it once."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from echo_dagster.optimization import job
from echo_dagster.optimization.job import Job

KILLED = Path(__file__).with_name("killed.py")
ROOT = Path(__file__).resolve().parents[2]
KILLS = 5


@dataclass(frozen=True)
class Ran:
    job: Job
    told: list

    @property
    def weights(self) -> bytes:
        return (self.job.result / "model.safetensors").read_bytes()

    @property
    def history(self) -> list[dict]:
        return json.loads((self.job.result / "history.json").read_text())


def in_fp32(file: Path) -> Path:
    """The same job in plain fp32 arithmetic, which saves its work after every step."""
    told = json.loads(file.read_text())
    told["deepspeed"]["torch_autocast"] = {"enabled": False}
    told["training"]["checkpoint_minutes"] = 1e-6
    file.write_text(json.dumps(told))
    return file


@pytest.fixture(scope="module")
def runs(make_job, tmp_path_factory) -> dict[str, Ran]:
    home = tmp_path_factory.mktemp("killed")
    files = {name: in_fp32(make_job(home / name, epochs=5)) for name in ("whole", "killed")}
    variables = os.environ | {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(KILLED), *map(str, files.values()), str(KILLS)]
    ended = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    told = json.loads(ended.stdout.splitlines()[-1])
    return {name: Ran(Job.read(file), told if name == "killed" else []) for name, file in files.items()}


def test_five_kills_change_no_bit_of_the_result(runs):
    killed, whole = runs["killed"], runs["whole"]
    assert killed.weights == whole.weights
    assert killed.history == whole.history and len(whole.history) == 30
    print(killed.told)  # `pytest -s` shows when the kills hit


def test_a_kill_loses_nothing_that_was_marked(runs):
    kills = runs["killed"].told
    resumed = job.result(runs["killed"].job.out)["metrics"]["resumed_at_steps"]
    assert len(kills) == KILLS and all(kill["after"] >= kill["safe"] > 0 for kill in kills)
    assert [int(step) for step in resumed.split(", ")] == [kill["after"] for kill in kills]


@pytest.mark.parametrize("name", ["whole", "killed"])
def test_tensorboard_shows_each_step_once(runs, name):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    ran = runs[name]
    board = EventAccumulator(str(ran.job.out / "tensorboard"), size_guidance={"scalars": 0})
    board.Reload()
    losses = board.Scalars("train/loss_nats_per_token")
    assert [event.step for event in losses] == [row["step"] for row in ran.history]
    assert [event.value for event in losses] == pytest.approx(
        [row["loss_nats_per_token"] for row in ran.history]
    )
    rates = board.Scalars("train/learning_rate")
    assert [event.value for event in rates] == pytest.approx([row["learning_rate"] for row in ran.history])
    tags = {"train/gradient_norm", "speed/tokens_per_second", "memory/peak_memory_bytes"}
    assert tags <= set(board.Tags()["scalars"])
