"""Running the training program on a job, as the command line and Dagster do, with a bar in place of its lines.

What does not live here: the program (`optimization/`), and what is trained on (`trials.py`).
"""

from __future__ import annotations

import os
import re
import subprocess
from collections import deque
from collections.abc import Callable
from typing import Any

from echo_dagster.optimization import job
from echo_dagster.optimization.job import Job, TrainingMissing

#: What the training program says of its progress.
_STEPS = re.compile(r"optimizer steps: (\d+) of (\d+)")
#: Of a training that failed so many lines are told.
_LAST_LINES = 20


def train(prepared: Job, who: str, progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Run the training program; return its provenance record.

    Raises:
        ValueError: it failed. The message ends with what it said.
    """
    command = job.command(prepared.out / "job.json", prepared.training)
    said: deque[str] = deque(maxlen=_LAST_LINES)
    with subprocess.Popen(
        command,
        env={**os.environ, **job.environment(prepared.training)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            said.append(line)
            if counted := _STEPS.search(line):
                progress(int(counted[1]), int(counted[2]))
    try:
        return job.result(prepared.out)
    except TrainingMissing as error:
        raise ValueError(
            f"the training of {who!r} ended with exit status {running.returncode}. The last it said:\n{''.join(said)}"
        ) from error
