"""A command in a process of its own: how long it took, and what it and its children held.

What does not live here: which commands, and what their figures mean (`events.py`, `refinery.py`).
"""

from __future__ import annotations

import resource
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Watched:
    """What a command wrote, the seconds it took, those of a core, and the most memory that it and its children held."""

    output: str
    seconds: float
    core_seconds: float
    peak_bytes: int


def watch(command: Sequence[str], env: Mapping[str, str] | None = None, *, is_quiet: bool = False) -> Watched:
    """Run a command to its end. If it `is_quiet`, its error output is taken with its output, and not shown.

    Raises:
        RuntimeError: it ended with another status than 0; the end of what it wrote is told.
    """
    began, used = time.perf_counter(), _core_seconds()
    peak = 0
    with (
        tempfile.TemporaryFile("w+") as out,  # a pipe that nobody reads would fill up
        subprocess.Popen(command, stdout=out, stderr=out if is_quiet else None, env=env) as child,
    ):
        while child.poll() is None:
            peak = max(peak, _held(child.pid))
            time.sleep(0.1)
        seconds = time.perf_counter() - began
        out.seek(0)
        output = out.read()
    if child.returncode:
        raise RuntimeError(f"{command[0]} ended with exit status {child.returncode}: {output[-2000:]}")
    return Watched(output, seconds, _core_seconds() - used, peak)


def _core_seconds() -> float:
    """Return the seconds of a core that all children that have ended used, with those they waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _held(pid: int) -> int:
    """Return the bytes that a process and its children hold; what they share counts for each of them."""
    try:
        process = psutil.Process(pid)
        return sum(some.memory_info().rss for some in (process, *process.children(recursive=True)))
    except psutil.Error:  # one of them has just ended
        return 0
