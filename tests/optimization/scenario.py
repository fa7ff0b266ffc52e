"""Training runs of the tiny model in one process, for the tests: starting DeepSpeed once instead of a dozen times.

Run as `python scenario.py JOB.json[=STEP]...`: each job is trained in turn as a single rank, in the very code that the
launcher runs. With `=STEP` the process gets a real SIGTERM after that step, and the job goes on in the next turn.
"""

import os
import signal
import sys
from pathlib import Path

from echo_dagster.optimization import train
from echo_dagster.optimization.job import Job
from echo_dagster.optimization.train_report import Reporter
from echo_dagster.optimization.train_watch import Stop


class Interrupting(Reporter):
    """A reporter that sends its own process SIGTERM after a step."""

    def __init__(self, after: int | None) -> None:
        super().__init__(is_silent=False)
        self.after = after

    def progress(self, step, total, **figures):
        super().progress(step, total, **figures)
        if step == self.after:
            os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    os.environ.update(
        RANK="0", WORLD_SIZE="1", LOCAL_RANK="0", LOCAL_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="0"
    )
    for argument in sys.argv[1:]:
        file, _, after = argument.partition("=")
        job = Job.read(Path(file))
        try:
            train.run(job, Interrupting(int(after) if after else None), Stop())
        except train.Stopped as stopped:
            print(f"STOPPED {stopped}")
        except Exception as error:
            print(f"FAILED {train.explain(error)}")


if __name__ == "__main__":
    main()
