"""From landing files to `raw_events` and `quarantined_events`: which files, which day, each event once.

A day's table depends on the day and the files alone, never on the range it is made in:

* A pattern with `{day}` names the UTC day of its files. Logs are flushed late, so a file may hold events of
  the day before and the day after its own; others are quarantined as `wrong_day`. Its bad lines belong to its
  own day.
* A file without `{day}` is read for every day. Its bad lines belong to the day of the last event before them,
  else of the first event after them, else to the first day of all.
* An event is named by its id within its stream and day; of several copies one is kept (`copies.py` says which).

What does not live here: formats (`importers.py`), the pass over the files (`staging.py`), the order of events
(`streams.py` above this package), and how a day of a table is replaced (`lake.py`).
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from fnmatch import fnmatch
from functools import partial
from glob import glob
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from echo_dagster import events, files
from echo_dagster.acquisition import importers, parts
from echo_dagster.acquisition.importers import SLACK
from echo_dagster.acquisition.privacy import pseudonymiser
from echo_dagster.acquisition.staging import LandingFile, Staged, dated, stage
from echo_dagster.forgotten import forgotten
from echo_dagster.lake import Lake, connect
from echo_dagster.resources import sql
from echo_dagster.scratch import scratch
from echo_dagster.settings import Settings, Source

RAW = "raw_events"
QUARANTINED = "quarantined_events"

_READER_ROWS = 5_000
_ANY_DAY = re.compile(r"(?=(\d{4}-\d{2}-\d{2}))")
_DAY_GLOB = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"


@dataclass(frozen=True)
class DayCounts:
    """What became of the lines that belong to a day. Lines are counted as read, the rest as written."""

    day: date
    lines: int
    events: int
    duplicates: int
    quarantined: Mapping[str, int]

    @property
    def accounted_for(self) -> int:
        """Events, duplicates and quarantined lines: equal to `lines` when nothing was lost."""
        return self.events + self.duplicates + sum(self.quarantined.values())

    def counts(self) -> dict[str, Any]:
        """Return the counts as one record."""
        return {
            "day": self.day,
            "lines": self.lines,
            "events": self.events,
            "duplicates": self.duplicates,
            "quarantined": sum(self.quarantined.values()),
        }


@dataclass(frozen=True)
class Ingested:
    """What `ingest` read and wrote. `outside` counts lines of the same files that belong to other days."""

    files: int
    days: tuple[DayCounts, ...]
    outside: Mapping[date, int]

    def quarantined_reasons(self) -> list[dict[str, Any]]:
        """Return one record per day and reason."""
        return [
            {"day": day.day, "reason": reason, "lines": lines}
            for day in self.days
            for reason, lines in sorted(day.quarantined.items())
        ]


def landing_files(settings: Settings, days: Iterable[date]) -> list[LandingFile]:
    """Return the files of all sources for `days`, in a stable order; without `{day}` a file is for all."""
    found = []
    for source in settings.sources:
        if "{day}" not in source.path:
            found += [LandingFile(source, path, None) for path in _glob(source.path)]
            continue
        for day in sorted(set(days)):
            paths = _glob(source.path.replace("{day}", day.isoformat()))
            found += [LandingFile(source, path, day) for path in paths if _day_of(path, source) == day]
    return found


def ingest(
    settings: Settings, lake: Lake, days: Sequence[date], progress: Callable[[int, int], None] | None = None
) -> Ingested:
    """Replace `days` of `raw_events` and `quarantined_events` by what the landing files hold of them.

    Every file is read once for the whole range. `progress` is told (KiB read, KiB).
    """
    wanted = sorted(set(days))
    near = {day + step for day in wanted for step in (-SLACK, timedelta(0), SLACK)}
    found = landing_files(settings, near)
    pseudonym = pseudonymiser(settings.data_dir)
    with scratch(settings.data_dir, "landing-") as folder:
        staged = stage(
            found,
            wanted,
            folder,
            pseudonym=pseudonym,
            start_day=settings.start_day,
            forgotten=forgotten(lake),
            progress=progress,
        )
        with connect(settings.memory_limit, spill=folder / "spill") as connection:
            duplicates = _write(lake, connection, staged, wanted)
    counts = _counts(lake, wanted, staged.lines, duplicates)
    outside = {day: lines for day, lines in sorted(staged.lines.items()) if day not in set(wanted)}
    return Ingested(len(found), counts, outside)


def fingerprint(settings: Settings) -> dict[str, str]:
    """Return `size:mtime_ns` of every landing file of every day, by path."""
    marks = {}
    for source in settings.sources:
        for path in _glob(source.path.replace("{day}", _DAY_GLOB)):
            with suppress(FileNotFoundError):  # removed since it was listed
                status = path.stat()
                marks[path.as_posix()] = f"{status.st_size}:{status.st_mtime_ns}"
    return marks


def days_of(path: str | Path, settings: Settings) -> list[date]:
    """Return the days whose tables a landing file can change, from the first day on.

    A day in its name answers without reading it; any other file is read.
    """
    file = Path(path)
    days: set[date] = set()
    for source in settings.sources:
        if "{day}" in source.path:
            if (day := _day_of(file, source)) is not None:
                days |= {day - SLACK, day, day + SLACK}
        elif fnmatch(file.as_posix(), Path(source.path).as_posix()):
            batches = dated(LandingFile(source, file, None), lambda user: user)
            inside = {day for batch in batches for frame in batch for day in frame.get_column("day").unique()}
            days |= inside - {None} or {settings.start_day}
    return sorted(day for day in days if day >= settings.start_day)


def import_files(
    importer: str,
    paths: Sequence[Path],
    out: str | Path,
    *,
    consent: bool,
    cohort: str | None = None,
    user: str | None = None,
    data_dir: Path | None = None,
) -> dict[str, int]:
    """Read log files of one tool into one experience-log file, NDJSON or Parquet by suffix, in their order.

    What could not be read goes to `<out>.quarantined.ndjson`, if there is any. Nothing is compared across
    files: an event that stands in two of them is written twice. Returns counts by kind and by reason.
    """
    source = Source(name=importer, importer=importer, path="", consent=consent, cohort=cohort, user=user)
    pseudonym = pseudonymiser(data_dir)
    counts: Counter[str] = Counter()
    rejects = Path(f"{out}.quarantined.ndjson")

    def read(quarantine: Callable[[pl.DataFrame], None]) -> Iterator[pl.DataFrame]:
        for path in paths:
            for good, bad in importers.batches(path, source, pseudonym):
                counts.update(good["kind"])
                counts.update(f"quarantined: {reason}" for reason in bad["reason"])
                quarantine(bad.drop("after"))
                yield good

    with tempfile.TemporaryFile() as file:
        written = files.write(read(lambda bad: bad.write_ndjson(file)), out, events.SCHEMA)
        if str(out) != "-":
            rejects.unlink(missing_ok=True)
            if file.tell():
                file.seek(0)
                with rejects.open("wb") as target:
                    shutil.copyfileobj(file, target)
    return {"files": len(paths), "events": written, **dict(sorted(counts.items()))}


def _write(
    lake: Lake, connection: duckdb.DuckDBPyConnection, staged: Staged, days: list[date]
) -> dict[date, int]:
    """Write both tables and return the number of duplicates by day."""
    copies: list[tuple[date, int]] = []  # a list, as several threads add to it

    def read(day: date, file: Path) -> pl.DataFrame:
        part, left_out = parts.read(file)
        copies.append((day, left_out))
        return part.select(pl.lit(day).alias("day"), pl.all())

    staged_parts = [partial(read, day, file) for day in days for file in staged.of_day(day)]
    lake.replace_in_order(RAW, staged_parts, {"day": pl.Date(), **events.STORED_SCHEMA}, days)
    connection.register("files", staged.files)
    bad = {"staged": staged.quarantined, "days": days}
    lake.replace(
        QUARANTINED,
        lambda: connection.sql(sql("quarantined_events"), params=bad).to_arrow_reader(_READER_ROWS),
        days,
    )
    duplicates: Counter[date] = Counter()
    for day, left_out in copies:
        duplicates[day] += left_out
    return duplicates


def _counts(
    lake: Lake, days: Sequence[date], lines: Mapping[date, int], duplicates: Mapping[date, int]
) -> tuple[DayCounts, ...]:
    """Return the counts of each day, from the tables as they now stand."""
    written = dict(lake.read(RAW, days).group_by("day").len().collect().iter_rows())
    reasons: dict[date, dict[str, int]] = {}
    for day, reason, count in (
        lake.read(QUARANTINED, days).group_by("day", "reason").len().collect().sort(pl.all()).rows()
    ):
        reasons.setdefault(day, {})[reason] = count
    return tuple(
        DayCounts(day, lines.get(day, 0), written.get(day, 0), duplicates.get(day, 0), reasons.get(day, {}))
        for day in days
    )


def _glob(pattern: str) -> list[Path]:
    # `Path.glob` takes no absolute pattern, hence the module
    paths = map(Path, glob(pattern, recursive=True))  # noqa: PTH207
    return sorted(path for path in paths if path.is_file())


def _day_of(path: Path, source: Source) -> date | None:
    """Return the day in the place of `{day}`: the first in the path with which the pattern matches."""
    name = path.as_posix()
    pattern = Path(source.path).as_posix()
    for text in _ANY_DAY.findall(name):
        with suppress(ValueError):
            day = date.fromisoformat(text)
            if fnmatch(name, pattern.replace("{day}", text)):
                return day
    return None
