"""Nothing of a training may outlive those who wait for it."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from echo_dagster.optimization import job
from echo_dagster.optimization.job import Job
from echo_dagster.optimization.train_watch import STOPPED

RANK = """
import sys, time
from echo_dagster.optimization.train_watch import Stop, watch
stop = Stop()
watch(sys.argv[1] or None)
print("on", flush=True)
time.sleep(60)
"""
OWNER = "import time; print('on', flush=True); time.sleep(60)"
ROOT = Path(__file__).resolve().parents[2]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


def start(code: str, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())


def ended(process: psutil.Process, within: float = 15) -> bool:
    try:
        process.wait(within)
    except psutil.TimeoutExpired:
        return False
    return True


def test_a_rank_stops_when_the_one_who_asked_for_it_is_gone():
    owner = start(OWNER)
    owner.stdout.readline()
    rank = start(RANK, f"{socket.gethostname()}:{owner.pid}:{psutil.Process(owner.pid).create_time()}")
    assert rank.stdout.readline() == "on\n"
    time.sleep(1.2)
    assert rank.poll() is None  # as long as the owner is there, it goes on
    owner.kill()
    owner.wait()
    assert rank.wait(15) == STOPPED


def test_a_rank_whose_owner_is_gone_already_does_not_begin():
    gone = start("pass")
    gone.wait()
    started = psutil.Process().create_time()
    assert start(RANK, f"{socket.gethostname()}:{gone.pid}:{started}").wait(15) == STOPPED
    # another process that got the owner's number is not the owner
    assert start(RANK, f"{socket.gethostname()}:{os.getpid()}:{started - 100}").wait(15) == STOPPED


def test_a_rank_leaves_an_owner_on_another_host_to_the_ranks_there():
    owner = start(OWNER)
    owner.stdout.readline()
    here = f"{socket.gethostname()}:{owner.pid}:{psutil.Process(owner.pid).create_time()}"
    rank = start(RANK, f"another-host:{os.getpid()}:1.0,{here}")  # no process here has begun in 1970
    assert rank.stdout.readline() == "on\n"
    time.sleep(1.2)
    assert rank.poll() is None
    owner.kill()  # of several the one that is here counts
    owner.wait()
    assert rank.wait(15) == STOPPED


def test_a_rank_without_an_owner_waits_for_nobody():
    rank = start(RANK, "")
    assert rank.stdout.readline() == "on\n"
    time.sleep(1.2)
    assert rank.poll() is None
    rank.send_signal(signal.SIGTERM)
    assert rank.wait(15) == STOPPED


@pytest.mark.parametrize(("how", "ranks"), [(signal.SIGKILL, 1), (signal.SIGKILL, 2), (signal.SIGINT, 2)])
def test_a_launcher_that_is_ended_leaves_no_rank_alive_and_no_work_lost(make_job, tmp_path, how, ranks):
    if ranks == 2 and os.environ.get("ECHO_SLOW_TESTS") != "1":
        pytest.skip("another start of DeepSpeed; set ECHO_SLOW_TESTS=1")
    file = make_job(tmp_path, epochs=5000, ranks=ranks)
    training = Job.read(file).training
    variables = environment() | job.environment(training) | {"OMP_NUM_THREADS": "1"}
    launcher = subprocess.Popen(job.command(file, training), env=variables, stderr=subprocess.PIPE, text=True)
    try:
        for line in launcher.stderr:
            if "optimizer steps" in line:
                break
        below = psutil.Process(launcher.pid).children(recursive=True)
        assert len(below) == 1 + ranks  # with the lower launcher
        launcher.send_signal(how)
        assert all(ended(process, within=45) for process in below)
        said = launcher.stderr.read()
    finally:
        for process in (
            psutil.Process(launcher.pid).children(recursive=True) if launcher.poll() is None else []
        ):
            process.kill()
        launcher.kill()
        launcher.wait()
    assert "training stopped: told to stop after step" in said
    (mark,) = (Job.read(file).work / "checkpoints").glob("step-*/complete.json")
    assert f"after step {mark.parent.name.removeprefix('step-')} of" in said
