"""The native log as NDJSON, read in columns: DuckDB parses and checks a whole batch of lines at a time.

A line that is an event for sure is taken as it is. The few others are read again, for the rules that every importer's
records go through (`importers.py`), which give the reason. What does not live here: those rules, and the log as Parquet
(`native.py`).
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import polars as pl

from echo_dagster.acquisition import native
from echo_dagster.acquisition.lines import CODECS, lines, parsed, suffix_of, unpack, unreadable
from echo_dagster.acquisition.records import Bad, Record
from echo_dagster.events import SCHEMA
from echo_dagster.lake import connect
from echo_dagster.resources import sql
from echo_dagster.settings import Source

#: Longer lines are read one by one; DuckDB holds buffers of twice this size.
_LONGEST_LINE = 16 * 1024 * 1024
_MEMORY_LIMIT = "512MB"
#: With the one megabyte of its own choice DuckDB's threads wait for whoever takes the rows.
_READ_AHEAD = "96MB"

_SAMPLE_BYTES = 1_000_000
_TAIL_BYTES = 64 * 1024
_BATCH_BYTES = 120_000_000
_BATCH_ROWS = 250_000
#: A file that turns out to hold larger lines than its head promised must not fill the memory either.
_LEAST_ROWS = 256

#: Lines that are not sure to be events: what they hold, and their places among the file's lines that are not blank.
Doubtful = list[tuple[int, Record | Bad]]


def is_readable(path: Path) -> bool:
    """Say whether a file can be read in columns: NDJSON by its name, which is UTF-8, and not standard input."""
    is_name_text = not any("\ud800" <= sign <= "\udfff" for sign in str(path))
    return str(path) != "-" and is_name_text and suffix_of(path) in native.NDJSON_SUFFIXES


def batches(
    path: Path,
    source: Source,
    first: datetime,
    last: datetime,
    *,
    is_ordered: bool,
    scratch: Path | None = None,
) -> Iterator[tuple[pl.DataFrame, Doubtful]]:
    """Yield the events of a file, and the lines that are not sure to be one.

    The frames have the columns of `events.SCHEMA`, the source's defaults filled in and the users as they are written,
    and `place`, the event's among the file's lines. A line whose event lies outside `[first, last)` is not sure.

    Args:
        path: the file. A compressed one is unpacked first: DuckDB does not notice where one is damaged. So is one that
            begins with a byte order mark, which it takes for a part of the first line.
        source: whose log it is.
        first: the first moment that an event may have,
        last: and the first that it may not.
        is_ordered: yield what the file holds in its order. Otherwise several threads read it; the places are null.
        scratch: where to unpack, by default where temporary files go.
    """
    if not _is_packed(path):
        yield from _plain(path, source, (first, last), is_ordered=is_ordered)
        return
    with TemporaryDirectory(prefix="unpacked-", dir=scratch) as folder:
        plain = Path(folder, "lines.ndjson")
        n_lines, damage = unpack(path, plain)
        items = 0
        for events, doubtful in _plain(plain, source, (first, last), is_ordered=is_ordered):
            yield events, doubtful
            items += events.height + len(doubtful)
        if damage is not None:
            yield _nothing(), [(items, unreadable(damage, n_lines + 1))]


def _plain(
    path: Path, source: Source, bounds: tuple[datetime, datetime], *, is_ordered: bool
) -> Iterator[tuple[pl.DataFrame, Doubtful]]:
    if _has_long_line(path):
        items = ((place, _read(item)) for place, item in enumerate(lines(path)))
        while some := list(islice(items, _LEAST_ROWS)):
            yield _nothing(), some
        return
    with connect(_MEMORY_LIMIT) as connection:
        connection.execute(sql("native_macros"))
        connection.execute(f"set streaming_buffer_size = '{_READ_AHEAD}'")
        read = _in_order if is_ordered else _at_once
        yield from read(connection, path, _told(path, source, bounds))


def _in_order(
    connection: duckdb.DuckDBPyConnection, path: Path, told: Mapping[str, Any]
) -> Iterator[tuple[pl.DataFrame, Doubtful]]:
    """Yield what a file holds in its order, with one thread: of several, DuckDB returns rows as they come."""
    connection.execute("set threads = 1")
    items = enumerate(lines(path))
    done = 0
    for frame in _frames(connection, path, told, "*"):
        is_sure = frame.get_column("is_sure")
        places = _places(done, frame.height)
        done += frame.height
        yield _sure(frame, places), _at(path, items, places.filter(~is_sure).to_list())


def _at_once(
    connection: duckdb.DuckDBPyConnection, path: Path, told: Mapping[str, Any]
) -> Iterator[tuple[pl.DataFrame, Doubtful]]:
    """Yield the events of a file with all threads; then read it again in order for the lines that are not sure."""
    n_lines = n_doubtful = 0
    size = path.stat().st_size
    for frame in _frames(connection, path, told, "*"):
        n_lines += frame.height
        n_doubtful += frame.height - int(frame.get_column("is_sure").sum())
        yield _sure(frame, None), []
    if not n_doubtful:
        return
    connection.execute("set threads = 1")
    items = enumerate(lines(path))
    done = 0
    for frame in _frames(connection, path, told, "is_sure"):
        mine = frame.head(n_lines - done)  # the file may have grown since
        wanted = _places(done, mine.height).filter(~mine.get_column("is_sure")).to_list()
        done += mine.height
        n_doubtful -= len(wanted)
        if done == n_lines and n_doubtful == 1 and path.stat().st_size > size:
            # the last line was cut short then, and is whole now
            wanted, n_doubtful = [*wanted, done - 1], 0
        yield _nothing(), _at(path, items, wanted)
        if done == n_lines:
            break
    if n_doubtful or done < n_lines:
        raise _changed(path)


def _frames(
    connection: duckdb.DuckDBPyConnection, path: Path, told: Mapping[str, Any], columns: str
) -> Iterator[pl.DataFrame]:
    """Yield the rows of `native_events`: all columns, or `is_sure` alone."""
    query = f"select {columns} from ({sql('native_events')})"
    for batch in connection.sql(query, params=dict(told)).to_arrow_reader(_rows_per_batch(path)):
        frame = pl.from_arrow(batch)
        assert isinstance(frame, pl.DataFrame)
        yield frame.with_columns(pl.col(pl.Datetime).cast(SCHEMA["ts"]))


def _told(path: Path, source: Source, bounds: tuple[datetime, datetime]) -> dict[str, Any]:
    return {
        "file": "".join(f"[{sign}]" if sign in "*?[" else sign for sign in str(path)),  # no pattern
        "longest_line": _LONGEST_LINE,
        "user": source.user,
        "repository": source.repository,
        "model": source.model,
        "source": source.name,
        "cohort": source.cohort,
        "consent": source.consent,
        "first": bounds[0],
        "last": bounds[1],
    }


def _sure(frame: pl.DataFrame, places: pl.Series | None) -> pl.DataFrame:
    placed = frame.with_columns(place=pl.lit(None, pl.Int64()) if places is None else places)
    is_sure = frame.get_column("is_sure")
    return (placed if is_sure.all() else placed.filter(is_sure)).drop("is_sure")


def _places(first: int, count: int) -> pl.Series:
    return pl.int_range(first, first + count, dtype=pl.Int64, eager=True)


def _nothing() -> pl.DataFrame:
    return pl.DataFrame(schema={**SCHEMA, "place": pl.Int64()})


def _at(path: Path, items: Iterator[tuple[int, tuple[int, bytes] | Bad]], places: Sequence[int]) -> Doubtful:
    """Return what stands at `places`, which ascend and lie ahead of what was taken from `items` before."""
    found: Doubtful = []
    wanted = set(places)
    for place, item in items if wanted else ():
        if place in wanted:
            found.append((place, _read(item)))
            if len(found) == len(places):
                return found
    if wanted:
        raise _changed(path)
    return found


def _changed(path: Path) -> RuntimeError:
    return RuntimeError(f"{path} was rewritten while it was read; try again once it only grows")


def _read(item: tuple[int, bytes] | Bad) -> Record | Bad:
    return item if isinstance(item, Bad) else native.resolved(parsed(*item))


def _rows_per_batch(path: Path) -> int:
    """Return how many rows to hold at a time, by the length of the file's first lines."""
    with path.open("rb") as file:
        head = file.read(_SAMPLE_BYTES)
    row_bytes = len(head) / max(1, head.count(b"\n"))
    return max(_LEAST_ROWS, min(_BATCH_ROWS, int(_BATCH_BYTES / max(row_bytes, 1))))


def _is_packed(path: Path) -> bool:
    with path.open("rb") as file:
        return path.suffix.lower() in CODECS or file.read(len(BOM_UTF8)) == BOM_UTF8


def _has_long_line(path: Path) -> bool:
    """Say whether a line may be too long for DuckDB: whether some window of half that length holds no line's end."""
    window = _LONGEST_LINE // 2
    with path.open("rb") as file:
        for start in range(0, path.stat().st_size - window + 1, window):
            file.seek(max(start, start + window - _TAIL_BYTES))
            if b"\n" in file.read(_TAIL_BYTES):
                continue
            file.seek(start)
            if b"\n" not in file.read(window):
                return True
    return False
