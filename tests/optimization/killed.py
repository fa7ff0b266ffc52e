"""A training that is killed at random moments and begun again, for the tests: `python killed.py JOB.json KILLS SEED`.

Each life of the training is a fork of this process, which has only imported what it needs. A whole training goes
before, by whose time the moments are drawn. Prints as JSON how each life ended: the signal that ended it, and the last
step that was told of.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import deepspeed  # noqa: TID253 - a program of its own
import peft  # noqa: F401 - imported once, not by every life
import transformers  # noqa: F401, TID253 - likewise

from echo_dagster.optimization import train, train_checkpoint, train_model  # noqa: F401 - likewise
from echo_dagster.optimization.job import Job
from echo_dagster.optimization.train_report import Reporter
from echo_dagster.optimization.train_watch import Stop


class Telling(Reporter):
    """A reporter that writes the number of every step into a pipe: 0 as training begins."""

    def __init__(self, pipe: int) -> None:
        super().__init__(is_silent=True)
        self.pipe = pipe

    def begin(self, step, tokens):
        os.write(self.pipe, b"0 ")

    def progress(self, step, total, **figures):
        os.write(self.pipe, f"{step} ".encode())


def live(job: Job, seconds: float | None) -> dict:
    """Train until the end, or be killed so long after training began."""
    told, telling = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            train.run(job, Telling(telling), Stop())
            status = 0
        finally:
            os._exit(status)
    os.close(telling)
    said = os.read(told, 2)
    began = time.monotonic()
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    while some := os.read(told, 65536):
        said += some
    os.close(told)
    status = os.waitpid(child, 0)[1]
    return {"status": status, "step": int(said.split()[-1]), "seconds": time.monotonic() - began}


def main() -> None:
    """Kill a job so many times, and let it end."""
    os.environ.update(
        RANK="0", WORLD_SIZE="1", LOCAL_RANK="0", LOCAL_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="0"
    )
    deepspeed.utils.logger.setLevel("WARNING")
    whole, broken, kills, seed = sys.argv[1:]
    seconds = live(Job.read(Path(whole)), None)["seconds"]
    draw = random.Random(int(seed))
    job = Job.read(Path(broken))
    lives = [live(job, draw.uniform(0, seconds / int(kills))) for _ in range(int(kills))]
    print(json.dumps([*lives, live(job, None)]))


if __name__ == "__main__":
    main()
