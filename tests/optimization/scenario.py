"""Training runs of the tiny model in one process, for the tests: starting DeepSpeed once instead of a dozen times.

Run as `python scenario.py JOB.json[=STEP[:WHAT]]...`: each job is trained in turn in the very code that the launcher
runs, as a single rank or, where the environment says so, as one of several. With `=STEP` the process gets a real
SIGTERM after that step, with `:disk` no file may grow any more from there on, with `:memory` no memory is to be had,
and with `:crash` the program ends there without a word to itself, so that what is on disk is what SIGKILL would leave.
The job goes on in the next turn.
"""

import os
import resource
import signal
import sys
from pathlib import Path

import psutil

from echo_dagster.optimization import train
from echo_dagster.optimization.job import Job
from echo_dagster.optimization.train_report import Reporter
from echo_dagster.optimization.train_watch import Stop


class Crash(Exception):
    """Nobody in the program expects it."""


def stop() -> None:
    """Send this process SIGTERM."""
    os.kill(os.getpid(), signal.SIGTERM)


def crash() -> None:
    """End without a word."""
    raise Crash


def limit(what: int, most: int) -> None:
    """Let this process have at most so many bytes."""
    resource.setrlimit(what, (most, resource.getrlimit(what)[1]))


TROUBLES = {
    "": stop,
    "crash": crash,
    "disk": lambda: limit(resource.RLIMIT_FSIZE, 1000),
    "memory": lambda: limit(resource.RLIMIT_AS, psutil.Process().memory_info().vms),
}


class Interrupting(Reporter):
    """A reporter that makes trouble after a step."""

    def __init__(self, after: int | None, trouble: str) -> None:
        super().__init__(is_silent=False)
        self.after, self.trouble = after, trouble

    def progress(self, step, total, **figures):
        super().progress(step, total, **figures)
        if step == self.after:
            TROUBLES[self.trouble]()


def main() -> None:
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_SIZE": "1", "MASTER_PORT": "0"}
    os.environ.update({"MASTER_ADDR": "127.0.0.1", **alone, **os.environ})
    for argument in sys.argv[1:]:
        file, _, then = argument.partition("=")
        after, _, trouble = then.partition(":")
        job = Job.read(Path(file))
        try:
            train.run(job, Interrupting(int(after) if after else None, trouble), Stop())
        except train.Stopped as stopped:
            print(f"STOPPED {stopped}")
        except Crash:
            print(f"CRASHED after step {after}")
        except Exception as error:
            print(f"FAILED {train.explain(error)}")
        limit(resource.RLIMIT_FSIZE, resource.RLIM_INFINITY)
        limit(resource.RLIMIT_AS, resource.RLIM_INFINITY)


if __name__ == "__main__":
    main()
