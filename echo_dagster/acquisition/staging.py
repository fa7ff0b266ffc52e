"""One pass over landing files: each event and each bad line put on its day, and staged on disk in parts.

Memory is bounded by one batch, whatever the files hold. What does not live here: which files (`landing.py`), and what
is kept of the staged rows (`copies.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import accumulate
from pathlib import Path

import polars as pl

from echo_dagster import events
from echo_dagster.acquisition import importers, parts
from echo_dagster.acquisition.importers import Batch
from echo_dagster.ahead import ahead
from echo_dagster.settings import Source

_QUARANTINE_SCHEMA = pl.Schema({"day": pl.Date(), **events.QUARANTINE_SCHEMA})
_FILES_SCHEMA = pl.Schema({"source": pl.String(), "file": pl.String(), "first_day": pl.Date()})

#: A part of a day is held in memory at once, a few times over.
_PART_BYTES = 96_000_000
#: What a compressed log grows to.
_COMPRESSION = 8


@dataclass(frozen=True)
class LandingFile:
    """One file of a source, and its day where the pattern says it."""

    source: Source
    path: Path
    day: date | None


@dataclass(frozen=True)
class Staged:
    """Where the events are, what is bad (a glob of Parquet files), the files, and how many lines belong to each day,
    these or others.
    """

    folder: Path
    parts: int
    quarantined: str
    files: pl.DataFrame
    lines: Mapping[date, int]

    def of_day(self, day: date) -> list[Path]:
        """Return the parts of a day, in order; `parts.read` reads one."""
        named = (parts.file(self.folder, day, number) for number in range(self.parts))
        return [file for file in named if file.exists()]


def dated(file: LandingFile, pseudonym: Callable[[str], str], scratch: Path | None = None) -> Iterator[Batch]:
    """Yield what a file holds, all of it with the `day` it belongs to.

    An event belongs to its UTC day. What is bad belongs to the file's day, else to the day of the last event before
    it; null where there is none.
    """
    for good, bad in importers.batches(file.path, file.source, pseudonym, file.day, scratch=scratch):
        day = pl.col("after").dt.date() if file.day is None else pl.lit(file.day)
        yield Batch(
            good.with_columns(day=pl.col("ts").dt.date()),
            bad.select(day.alias("day"), *events.QUARANTINE_SCHEMA),
        )


def stage(
    files: Sequence[LandingFile],
    days: Sequence[date],
    folder: Path,
    *,
    pseudonym: Callable[[str], str],
    start_day: date,
    forgotten: frozenset[str] = frozenset(),
    progress: Callable[[int, int], None] | None = None,
) -> Staged:
    """Write what the files hold of `days` below `folder`, and count the lines of every day.

    Events of users who were `forgotten` are refused. `progress` is told (KiB read, KiB).
    """
    n_parts = _count_parts(files)
    staged = parts.Writer(folder, n_parts)
    wanted = sorted(set(days))
    bad = folder / "quarantined"
    bad.mkdir(parents=True)
    _write_bad(bad, pl.DataFrame(schema=_QUARANTINE_SCHEMA))  # there is always one, if only for its columns
    found: list[Counter[date | None]] = [Counter() for _ in files]
    sizes = [file.path.stat().st_size for file in files]
    before = list(accumulate(sizes, initial=0))
    held = [0] * len(files)  # in memory, which is near enough to what was read
    for number, good, lost in ahead(_batches(files, pseudonym, folder)):
        for frame in (good, lost):
            found[number].update(_by_day(frame))
        kept, bad_ones = _without(forgotten, files[number], good, lost) if forgotten else (good, lost)
        is_wanted = found[number].keys() <= set(wanted)
        staged.add(kept if is_wanted else kept.filter(pl.col("day").is_in(wanted)))
        if bad_ones.height:
            _write_bad(bad, bad_ones.filter(pl.col("day").is_in(wanted) | pl.col("day").is_null()))
        held[number] += int(good.estimated_size())
        if progress is not None:
            progress(_kib(before[number] + min(held[number], sizes[number])), _kib(before[-1]))
    if progress is not None:
        progress(_kib(before[-1]), _kib(before[-1]))
    lines: Counter[date] = Counter()
    first_days = []
    for file, counts in zip(files, found, strict=True):
        undated = counts.pop(None, 0)
        first_day = next(
            (day for day in counts if day is not None), start_day
        )  # they keep the order of arrival
        lines.update({day: count for day, count in counts.items() if day is not None})
        lines[first_day] += undated
        first_days.append((file.source.name, importers.file_name(file.path), first_day))
    staged.flush()
    known = pl.DataFrame(first_days, schema=_FILES_SCHEMA, orient="row")
    return Staged(folder, n_parts, (bad / "*.parquet").as_posix(), known, +lines)


def _batches(
    files: Sequence[LandingFile], pseudonym: Callable[[str], str], scratch: Path
) -> Iterator[tuple[int, pl.DataFrame, pl.DataFrame]]:
    """Yield what all files hold, one after the other, with the number of the file."""
    for number, file in enumerate(files):
        for good, lost in dated(file, pseudonym, scratch):
            yield number, good, lost


def _without(
    forgotten: frozenset[str], file: LandingFile, good: pl.DataFrame, lost: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the events of others, and what is bad: with a row for each refused event, which tells nothing of it."""
    is_refused = good.get_column("user_id").is_in(forgotten)
    refused = good.filter(is_refused).select(
        "day",
        source=pl.lit(file.source.name),
        file=pl.lit(importers.file_name(file.path)),
        line=pl.lit(None, pl.Int64()),
        reason=pl.lit("forgotten"),
        detail=pl.lit("an event of somebody who was forgotten"),
    )
    return good.filter(~is_refused), pl.concat([lost, refused])


def _kib(size: int) -> int:
    return -(-size // 1024)


def _by_day(rows: pl.DataFrame) -> dict[date | None, int]:
    """Return how many rows there are of each day, in the order in which the days come."""
    day = rows.get_column("day")
    if rows.height and not day.null_count() and day.min() == day.max():  # as in most files
        return {day[0]: rows.height}
    return dict(rows.group_by("day", maintain_order=True).len().iter_rows())


def _count_parts(files: Sequence[LandingFile]) -> int:
    """Return into how many parts to cut a day, so that each fits in memory: by the size of the largest day's files."""
    sizes: Counter[date | None] = Counter()
    for file in files:
        is_packed = file.path.suffix.lower() in (".gz", ".zst", ".parquet")
        sizes[file.day] += file.path.stat().st_size * (_COMPRESSION if is_packed else 1)
    largest = max(sizes.values(), default=0)
    return min(events.BUCKETS, 1 + largest // _PART_BYTES)


def _write_bad(folder: Path, rows: pl.DataFrame) -> None:
    number = sum(1 for _ in folder.iterdir())
    rows.write_parquet(folder / f"{number:06d}.parquet", compression="lz4")
