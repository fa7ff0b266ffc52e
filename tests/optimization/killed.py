"""A training of the tiny model that is killed with SIGKILL at random moments, for the tests.

Run as `python killed.py KILLS=JOB.json...`: torch and DeepSpeed are imported once, and each process of a training is a
fork. It is killed a random time after it saved a checkpoint of its own; the one after the last kill may end. Prints a
line of JSON for each job: for each kill the steps that were safe before and after, and whether it left a torn one.
With `full=JOB.json` no file of the job's first process may grow once it has saved its work.
"""

import importlib
import json
import os
import random
import resource
import signal
import sys
import time
from pathlib import Path

from echo_dagster.optimization import train
from echo_dagster.optimization import train_checkpoint as checkpoint
from echo_dagster.optimization.job import Job
from echo_dagster.optimization.train_report import Reporter
from echo_dagster.optimization.train_watch import Stop


def fork(job: Job, report: Reporter) -> int:
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        train.run(job, report, Stop())
        status = 0
    except Exception as error:
        print(f"FAILED {train.explain(error)}", flush=True)
    finally:
        os._exit(status)


def is_torn(job: Job) -> bool:
    return any(not (folder / "complete.json").exists() for folder in job.work.glob("checkpoints/step-*"))


def kill(job: Job, child: int, moment: random.Random) -> dict:
    before = checkpoint.latest(job)
    while marked(job) <= before:
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "it ended before it was killed"
        time.sleep(0.002)
    time.sleep(moment.uniform(0.0, 0.15))
    safe = marked(job)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return {"safe": safe, "after": checkpoint.latest(job), "is_torn": is_torn(job)}


def marked(job: Job) -> int:
    try:
        return checkpoint.latest(job)
    except FileNotFoundError:  # an older mark went between listing and reading
        return 0


class Filling(Reporter):
    """A reporter that lets no file grow once the training has saved its work twice."""

    def __init__(self, job: Job) -> None:
        super().__init__(is_silent=True)
        self.job = job

    def progress(self, step, total, **figures):
        if checkpoint.latest(self.job) >= 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))


def main() -> None:
    os.environ.update(
        RANK="0", WORLD_SIZE="1", LOCAL_RANK="0", LOCAL_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="0"
    )
    importlib.import_module("deepspeed")  # once, before the forks
    for argument in sys.argv[1:]:
        how, _, file = argument.partition("=")
        print(json.dumps(train_anyhow(Job.read(Path(file)), how)), flush=True)


def train_anyhow(job: Job, how: str) -> list[dict]:
    moment = random.Random(17)
    told = []
    if how == "full":
        os.waitpid(fork(job, Filling(job)), 0)
        told.append({"after": checkpoint.latest(job), "is_torn": is_torn(job)})
    else:
        told += [kill(job, fork(job, Reporter(is_silent=False)), moment) for _ in range(int(how))]
    _, status = os.waitpid(fork(job, Reporter(is_silent=False)), 0)
    assert status == 0
    return told


if __name__ == "__main__":
    main()
