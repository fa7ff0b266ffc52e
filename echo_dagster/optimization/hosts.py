"""The hosts of a training: DeepSpeed's hostfile, one `host slots=n` a line. Imports nothing heavy.

What does not live here: the command that starts the ranks there (`job.py`, `launch.py`).
"""

from __future__ import annotations

import re
from pathlib import Path

from echo_dagster.settings import Training

_LINE = re.compile(r"(?P<host>[^\s#]\S*)\s+slots=(?P<slots>\d+)\s*(#.*)?")


def slots(hostfile: Path) -> dict[str, int]:
    """Return how many ranks each host runs, in the order of the file: the first host runs rank 0.

    Raises:
        ValueError: with every mistake of the file.
    """
    if not hostfile.is_file():
        raise ValueError(f"training.hostfile: {hostfile} is no file")
    found: dict[str, int] = {}
    mistakes = []
    for number, line in enumerate(hostfile.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.strip().startswith("#"):
            continue
        entry = _LINE.fullmatch(line.strip())
        if entry is None or int(entry["slots"]) < 1:
            mistakes.append(f"line {number}: expected `host slots=n`, with n of 1 or more")
        elif entry["host"] in found:
            mistakes.append(f"line {number}: the host {entry['host']} stands there twice; add up its slots")
        else:
            found[entry["host"]] = int(entry["slots"])
    if not found and not mistakes:
        mistakes.append("it names no host")
    if mistakes:
        raise ValueError(f"training.hostfile: {hostfile}: " + "; ".join(mistakes))
    return found


def with_ranks(training: Training) -> Training:
    """Return settings whose `ranks` is that of the hostfile, where there is one.

    Raises:
        ValueError: the hostfile has a mistake, or `ranks` is stated and says another number; settings that only a
            hostfile gives a meaning are stated without one.
    """
    if training.hostfile is None:
        idle = [name for name in ("master_addr", "ssh_port") if getattr(training, name) is not None]
        if idle:
            raise ValueError(
                "; ".join(f"training.{name}: remove it, or set training.hostfile" for name in idle)
            )
        return training
    hostfile = training.hostfile.absolute()
    ranks = sum(slots(hostfile).values())
    if "ranks" in training.model_fields_set and training.ranks != ranks:
        raise ValueError(
            f"training.ranks: {hostfile} has {ranks} slots (got {training.ranks}); leave training.ranks out"
        )
    return training.model_copy(update={"ranks": ranks, "hostfile": hostfile})
