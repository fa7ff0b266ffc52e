"""A training of the tiny model that is killed with SIGKILL at random moments, for the tests.

Run as `python killed.py WHOLE.json KILLED.json KILLS`: the first job is left in peace, and says how long the other will
take. Torch and DeepSpeed are imported once, and each process of a training is a fork. It is killed a random time after
it saved a checkpoint of its own; the one after the last kill may end. Prints as JSON, for each kill, the steps that
were safe before and after, and whether it left a torn checkpoint.
"""

import importlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from echo_dagster.optimization import train
from echo_dagster.optimization import train_checkpoint as checkpoint
from echo_dagster.optimization.job import Job, result
from echo_dagster.optimization.train_report import Reporter
from echo_dagster.optimization.train_watch import Stop


def fork(job: Job) -> int:
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        train.run(job, Reporter(is_silent=False), Stop())
        status = 0
    except Exception as error:
        print(f"FAILED {train.explain(error)}", flush=True)
    finally:
        os._exit(status)


def is_torn(job: Job) -> bool:
    return any(not (folder / "complete.json").exists() for folder in job.work.glob("checkpoints/step-*"))


def kill(job: Job, child: int, seconds: float) -> dict:
    before = checkpoint.latest(job)
    while marked(job) <= before:
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "it ended before it was killed"
        time.sleep(0.002)
    time.sleep(seconds)
    safe = marked(job)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return {"safe": safe, "after": checkpoint.latest(job), "is_torn": is_torn(job)}


def marked(job: Job) -> int:
    try:
        return checkpoint.latest(job)
    except FileNotFoundError:  # an older mark went between listing and reading
        return 0


def main() -> None:
    os.environ.update(
        RANK="0", WORLD_SIZE="1", LOCAL_RANK="0", LOCAL_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="0"
    )
    importlib.import_module("deepspeed")  # once, before the forks
    whole, killed = (Job.read(Path(file)) for file in sys.argv[1:3])
    kills = int(sys.argv[3])
    end(whole)
    seconds = result(whole.out)["metrics"]["seconds"] / (
        2 * kills
    )  # of steps alone, so that none ends before its kill
    moment = random.Random(17)
    told = [kill(killed, fork(killed), moment.uniform(0, seconds)) for _ in range(kills)]
    end(killed)
    print(json.dumps(told))


def end(job: Job) -> None:
    _, status = os.waitpid(fork(job), 0)
    assert status == 0


if __name__ == "__main__":
    main()
