"""Lines appended to files by UTC day so that what was acknowledged survives: a kill, a power cut, a full disk.

Each process writes files of its own, `<day>.<16 random hexadecimal digits>.ndjson`. A process that was killed
leaves at most one torn line, at the end of a file that nobody appends to again; two processes never share one.

What does not live here: what a line holds (`collector_intake.py`) and who may send it (`collector.py`).
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from pathlib import Path

#: Owner and group read them: they hold people's code.
_MODE = 0o640


class Folder:
    """Where the files of the days are. One thread at a time may append."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._files: dict[date, Path] = {}
        self.probe()

    def append(self, lines: Mapping[date, bytes]) -> None:
        """Append whole lines. When this returns they are on the disk.

        Raises:
            OSError: some are not. What was written of the day that failed is cut off again as far as the disk
                lets us; the next lines of the day go to a new file, because after a failed fsync nobody knows
                what the old one holds.
        """
        for day, data in sorted(lines.items()):
            file = self._files.setdefault(
                day, self._path / f"{day.isoformat()}.{secrets.token_hex(8)}.ndjson"
            )
            try:
                _append(file, data)
            except OSError:
                del self._files[day]
                raise

    def probe(self) -> None:
        """Write and remove a small file.

        Raises:
            OSError: nothing can be written now.
        """
        file = self._path / f".probe-{secrets.token_hex(8)}"
        try:
            _append(file, b"\n")
        finally:
            file.unlink(missing_ok=True)


def _append(file: Path, data: bytes) -> None:
    # opened anew each time, so that a file which was moved away begins again
    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
    try:
        before = os.fstat(handle).st_size
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(handle, rest) :]
            os.fsync(handle)
            if not before:
                _sync_name(file.parent)
        except OSError:
            with suppress(OSError):
                os.ftruncate(handle, before)
                if not before:
                    file.unlink()
            raise
    finally:
        os.close(handle)


def _sync_name(folder: Path) -> None:
    """Make the name of a new file as durable as its content."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class GroupCommit:
    """Requests that come while the disk is busy wait together for one fsync."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._waiting: list[tuple[Mapping[date, bytes], asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self._is_closing = False
        self.is_failing = False

    async def commit(self, lines: Mapping[date, bytes]) -> None:
        """Return when the lines are on the disk.

        Raises:
            OSError: they are not, or it is not known.
        """
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((lines, done))
        self._wake.set()
        await done

    async def is_well(self) -> bool:
        """Say whether lines can be stored: as the last time, or, where that failed, as a new attempt finds."""
        if self.is_failing:
            with suppress(OSError):
                await asyncio.to_thread(self._folder.probe)
                self.is_failing = False
        return not self.is_failing

    async def run(self) -> None:
        """Write what waits, again and again, until `close` was called and nothing waits."""
        while self._waiting or not self._is_closing:
            await self._wake.wait()
            self._wake.clear()
            group, self._waiting = self._waiting, []
            if not group:
                continue
            try:
                await asyncio.to_thread(self._folder.append, _joined([lines for lines, _ in group]))
                self.is_failing = False
            except Exception as error:  # whatever it is, nobody may wait for ever
                self.is_failing = True
                failed = OSError(f"not stored: {type(error).__name__}")
                failed.__cause__ = error
                for _, done in group:
                    if not done.done():
                        done.set_exception(failed)
                continue
            for _, done in group:
                if not done.done():
                    done.set_result(None)

    def close(self) -> None:
        """Let `run` end when all that waits is written."""
        self._is_closing = True
        self._wake.set()


def _joined(group: list[Mapping[date, bytes]]) -> dict[date, bytes]:
    by_day: defaultdict[date, list[bytes]] = defaultdict(list)
    for lines in group:
        for day, data in lines.items():
            by_day[day].append(data)
    return {day: b"".join(some) for day, some in by_day.items()}
