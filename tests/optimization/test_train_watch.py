"""Nothing of a training may outlive those who wait for it."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from echo_dagster.optimization import job
from echo_dagster.optimization.job import Job
from echo_dagster.optimization.train_watch import STOPPED

RANK = "from echo_dagster.optimization.train_watch import Stop, watch; stop = Stop(); watch({owner!r}); print('on', flush=True); import time; time.sleep(60)"
OWNER = "import subprocess, sys, time; child = subprocess.Popen([sys.executable, '-c', sys.argv[1]]); print(child.pid, flush=True); time.sleep(60)"


def environment():
    return os.environ | {"PYTHONPATH": os.getcwd()}


def start(code: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, env=environment())


def ended(process: psutil.Process, within: float = 15) -> bool:
    try:
        process.wait(within)
    except psutil.TimeoutExpired:
        return False
    return True


def test_a_rank_stops_when_the_one_who_asked_for_it_is_gone():
    owner = start("import time; print('on', flush=True); time.sleep(60)")
    owner.stdout.readline()
    rank = start(RANK.format(owner=f"{owner.pid}:{psutil.Process(owner.pid).create_time()}"))
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
    assert start(RANK.format(owner=f"{gone.pid}:{started}")).wait(15) == STOPPED
    # another process that got the owner's number is not the owner
    assert start(RANK.format(owner=f"{os.getpid()}:{started - 100}")).wait(15) == STOPPED


def test_a_rank_without_an_owner_waits_for_nobody():
    rank = start(RANK.format(owner=None))
    assert rank.stdout.readline() == "on\n"
    time.sleep(1.2)
    assert rank.poll() is None
    rank.send_signal(signal.SIGTERM)
    assert rank.wait(15) == STOPPED


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_launcher_that_is_ended_leaves_no_rank_alive_and_no_work_lost(make_job, tmp_path, how):
    if how == signal.SIGINT and os.environ.get("ECHO_SLOW_TESTS") != "1":
        pytest.skip("another start of DeepSpeed; set ECHO_SLOW_TESTS=1")
    file = make_job(tmp_path, epochs=5000, ranks=2)
    training = Job.read(file).training
    variables = environment() | job.environment(training) | {"OMP_NUM_THREADS": "1"}
    launcher = subprocess.Popen(job.command(file, training), env=variables, stderr=subprocess.PIPE, text=True)
    try:
        for line in launcher.stderr:
            if "optimizer steps" in line:
                break
        below = psutil.Process(launcher.pid).children(recursive=True)
        assert len(below) == 3  # the lower launcher and two ranks
        launcher.send_signal(how)
        assert all(ended(process, within=45) for process in below)
        said = launcher.stderr.read()
    finally:
        for process in psutil.Process(launcher.pid).children(recursive=True) if launcher.poll() is None else []:
            process.kill()
        launcher.kill()
        launcher.wait()
    assert "training stopped: told to stop after step" in said
    (mark,) = (Job.read(file).work / "checkpoints").glob("step-*/complete.json")
    assert f"after step {mark.parent.name.removeprefix('step-')} of" in said
