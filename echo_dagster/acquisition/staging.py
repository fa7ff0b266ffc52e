"""One pass over landing files: each event and each bad line put on its day, and staged as Parquet for DuckDB.

Memory is bounded by one batch, whatever the files hold. What does not live here: which files (`landing.py`),
and what is kept of the staged rows (`sql/raw_events.sql`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from echo_dagster import events
from echo_dagster.acquisition import importers
from echo_dagster.acquisition.importers import Event
from echo_dagster.acquisition.records import Bad
from echo_dagster.settings import Source

#: How far the events of a file may lie from the day in its name: logs are flushed late, and clocks differ.
SLACK = timedelta(days=1)

EVENTS_SCHEMA = pl.Schema({"day": pl.Date(), **events.SCHEMA})
QUARANTINE_SCHEMA = pl.Schema({"day": pl.Date(), **events.QUARANTINE_SCHEMA})

_FILES_SCHEMA = pl.Schema({"source": pl.String(), "file": pl.String(), "first_day": pl.Date()})
_BATCH_ROWS = 50_000
#: A batch ends at so many characters too, as a row can hold a whole document.
_BATCH_CHARS = 64_000_000


@dataclass(frozen=True)
class LandingFile:
    """One file of a source, and its day where the pattern says it."""

    source: Source
    path: Path
    day: date | None


@dataclass(frozen=True)
class Staged:
    """Where the rows are (globs of Parquet files), and how many lines belong to each day, these or others."""

    events: str
    quarantined: str
    files: pl.DataFrame
    lines: Mapping[date, int]


def dated(file: LandingFile, pseudonym: Callable[[str], str]) -> Iterator[tuple[date | None, Event | Bad]]:
    """Yield what a file holds with the day it belongs to.

    An event belongs to its UTC day; where the file's name says another one by more than `SLACK`, it is bad.
    What is bad belongs to the file's day, else to the day of the last event before it; None where there is
    none.
    """
    latest = file.day
    for item in importers.checked(file.path, file.source, pseudonym):
        if isinstance(item, Bad):
            yield latest, item
        elif file.day is None:
            latest = item.day
            yield latest, item
        elif abs(item.day - file.day) <= SLACK:
            yield item.day, item
        else:
            yield file.day, Bad(item.line, "wrong_day", f"an event of {item.day} in a file of {file.day}")


def stage(
    files: Sequence[LandingFile],
    days: Sequence[date],
    folder: Path,
    *,
    pseudonym: Callable[[str], str],
    start_day: date,
    progress: Callable[[int, int], None] | None = None,
) -> Staged:
    """Write what the files hold of `days` below `folder`, and count the lines of every day."""
    wanted = frozenset(days)
    good = _Writer(folder / "events", EVENTS_SCHEMA)
    bad = _Writer(folder / "quarantined", QUARANTINE_SCHEMA)
    lines: Counter[date] = Counter()
    first_days = []
    for number, file in enumerate(files):
        found: Counter[date | None] = Counter()
        for day, item in dated(file, pseudonym):
            found[day] += 1
            if isinstance(item, Bad):
                if day is None or day in wanted:
                    bad.add((day, *importers.quarantined(file.source, file.path, item)))
            elif day in wanted:
                good.add((day, *item.row))
        undated = found.pop(None, 0)
        first_day = next(
            (day for day in found if day is not None), start_day
        )  # counters keep the order of arrival
        lines.update({day: count for day, count in found.items() if day is not None})
        lines[first_day] += undated
        first_days.append((file.source.name, file.path.as_posix(), first_day))
        if progress is not None:
            progress(number + 1, len(files))
    return Staged(
        good.close(), bad.close(), pl.DataFrame(first_days, schema=_FILES_SCHEMA, orient="row"), +lines
    )


class _Writer:
    """Rows into Parquet files of a folder, a batch at a time."""

    def __init__(self, folder: Path, schema: pl.Schema) -> None:
        self._folder, self._schema = folder, schema
        self._rows: list[tuple[Any, ...]] = []
        self._chars = self._files = 0
        folder.mkdir(parents=True)

    def add(self, row: tuple[Any, ...]) -> None:
        self._rows.append(row)
        self._chars += importers.size(row)
        if len(self._rows) >= _BATCH_ROWS or self._chars >= _BATCH_CHARS:
            self._flush()

    def close(self) -> str:
        """Write the rest and return the glob of the files; there is always one, if only for its columns."""
        if self._rows or not self._files:
            self._flush()
        return (self._folder / "*.parquet").as_posix()

    def _flush(self) -> None:
        frame = pl.DataFrame(self._rows, schema=self._schema, orient="row")
        frame.write_parquet(self._folder / f"{self._files:06d}.parquet", compression="lz4")
        self._rows, self._chars, self._files = [], 0, self._files + 1
