"""Scratch folders: room for work in progress, which goes when the work is done or its process is gone.

A folder holds a lock that its process keeps; the system gives it back whatever ends the process, SIGKILL included.
Whoever opens a folder removes those beside it whose lock is free. What does not live here: files that take their place
when they are whole (`files.py`).
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LOCK = ".in-use"
_MAKING = ".making-"
#: Where there is no lock yet, or the file system knows none, only age tells.
_ABANDONED_AFTER_S = 86_400


@contextmanager
def scratch(parent: Path, prefix: str) -> Iterator[Path]:
    """Yield a new folder below `parent`; remove it afterwards, and first what killed processes left there."""
    parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(parent, prefix)
    made = Path(tempfile.mkdtemp(prefix=_MAKING + prefix, dir=parent))
    folder = parent / made.name.removeprefix(_MAKING)
    with (made / _LOCK).open("wb") as lock:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        made.rename(folder)  # so that a folder of this name has its lock from the first moment to the last
        try:
            yield folder
        finally:
            _remove(folder)


def remove_abandoned(parent: Path, prefix: str) -> list[Path]:
    """Remove the scratch folders below `parent` that no living process uses, and return them."""
    abandoned = [folder for folder in sorted(parent.glob(f"{prefix}*")) if _is_abandoned(folder)]
    # One that is being made has no lock yet, or a moment ago.
    abandoned += [folder for folder in sorted(parent.glob(f"{_MAKING}{prefix}*")) if _is_old(folder)]
    for folder in abandoned:
        _remove(folder)
    return abandoned


def _is_abandoned(folder: Path) -> bool:
    try:
        with (folder / _LOCK).open("rb+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    except OSError:  # there is no lock, or there are no locks
        with suppress(OSError):
            return not any(folder.iterdir()) or _is_old(folder)
        return False


def _is_old(folder: Path) -> bool:
    try:
        return folder.stat().st_mtime < time.time() - _ABANDONED_AFTER_S
    except OSError:  # its process has just given it its name, or removed it
        return False


def _remove(folder: Path) -> None:
    """Remove a folder, its lock last: whoever is killed meanwhile leaves what the next one knows for abandoned."""
    with suppress(OSError):
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != _LOCK:
                path.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
