"""SIGKILL at any moment costs no more than the interval between checkpoints, and changes no bit of the result."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from echo_dagster.optimization import job
from echo_dagster.optimization.job import Job

KILLED = Path(__file__).with_name("killed.py")
ROOT = Path(__file__).resolve().parents[2]
#: How many times a training is killed.
KILLS = 50 if os.environ.get("ECHO_SLOW_TESTS") == "1" else 5


def test_killed_and_begun_again_it_ends_in_the_very_same_weights(make_job, tmp_path):
    every_step = {"checkpoint_minutes": 1e-6, "epochs": 4}
    whole, broken = (make_job(tmp_path / name, **every_step) for name in ("whole", "broken"))
    ended = subprocess.run(
        [sys.executable, str(KILLED), str(whole), str(broken), str(KILLS), "17"],
        env=os.environ | {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    *lives, last = json.loads(ended.stdout.splitlines()[-1])
    assert [life["status"] for life in lives] == [signal.SIGKILL] * KILLS
    assert (last["status"], last["step"]) == (0, 24)
    outs = [Job.read(file).out for file in (whole, broken)]
    records = [job.result(out) for out in outs]
    resumed = [int(step) for step in records[1]["metrics"]["resumed_at_steps"].split(", ")]
    assert resumed == sorted(resumed) and resumed[-1] >= max(life["step"] for life in lives) - 1
    assert records[0]["metrics"]["resumed_at_steps"] is None
    assert records[0]["model_digest"] == records[1]["model_digest"]
    histories = [json.loads((out / "model" / "history.json").read_text()) for out in outs]
    assert histories[0] == histories[1]
    assert not list((outs[1]).glob("work"))
