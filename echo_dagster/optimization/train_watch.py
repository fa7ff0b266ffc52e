"""How a rank is stopped: by a signal, or because nobody waits for it any more.

DeepSpeed's launcher is two processes above the ranks. The upper one, which a shell or Dagster started, passes
no signal on: when it is ended, the lower one and the ranks would live on and hold the machine. So every rank
watches the processes above it, and those that asked for the training, and stops when one of them is gone. On a host
that was reached by ssh, the connection is one of those above; what runs on another host cannot be seen.

Imports nothing heavy: watching begins before anything else.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from types import FrameType

import psutil

#: Exit status of a training that was told to stop: 128 + SIGTERM, as shells count.
STOPPED = 143
#: Seconds that a rank has to save its work after those above it are gone; the launcher itself gives 30.
GRACE_SECONDS = 60.0
_LOOK_SECONDS = 0.5
_CLOCK_SECONDS = 2.0


class Stop:
    """A request to stop. Before training begins a signal ends the process; then it only sets `requested`."""

    def __init__(self) -> None:
        self.requested = False
        self.is_training = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if not self.is_training:
            raise SystemExit(STOPPED)


def watch(owners: str | None, *, is_through_ssh: bool = False) -> None:
    """Send this process SIGTERM when a process above it is gone, and end it `GRACE_SECONDS` later.

    Args:
        owners: more processes to watch, `host:pid:start time` with commas between (`job.OWNER_VARIABLE`). Those of
            other hosts are left to the ranks there.
        is_through_ssh: watch the ssh session above as well.

    Raises:
        SystemExit: one of them is gone already.
    """
    watched = _above()
    if watched is None:
        raise SystemExit(STOPPED)
    if is_through_ssh:
        sessions = [process for process in psutil.Process().parents() if process.name().startswith("sshd")]
        watched += sessions[:1]
    for owner in owners.split(",") if owners else ():
        host, pid, started = owner.rsplit(":", 2)
        if host != socket.gethostname():
            continue
        process = _find(int(pid), float(started))
        if process is None:
            raise SystemExit(STOPPED)
        watched.append(process)
    threading.Thread(target=_look, args=(watched,), name="launcher-watch", daemon=True).start()


def _above() -> list[psutil.Process] | None:
    """Return the launcher's processes above this one; None where the upper one is gone already."""
    parents = psutil.Process().parents()
    launcher = [process for process in parents[:2] if "deepspeed" in " ".join(_command(process))]
    # Adopted by init, the lower process has lost the upper one. In a container the upper one can be init.
    if len(launcher) == 1 and len(parents) > 1 and parents[1].pid == 1:
        return None
    return launcher


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _find(pid: int, started: float) -> psutil.Process | None:
    """Return a process unless it is gone; a later one with the same pid was started at another time."""
    try:
        process = psutil.Process(pid)
        # the clock that tells starting times is set now and then, by less than it takes an id to come back
        return process if abs(process.create_time() - started) < _CLOCK_SECONDS else None
    except psutil.NoSuchProcess:
        return None


def _look(watched: list[psutil.Process]) -> None:
    nothing = threading.Event()
    while all(_is_alive(process) for process in watched):
        nothing.wait(_LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    nothing.wait(GRACE_SECONDS)
    os._exit(STOPPED)  # the main thread hangs, such as in a collective whose other ranks are gone


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
