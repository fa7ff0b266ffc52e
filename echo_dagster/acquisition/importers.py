"""The registry of importers, and what they have in common: defaults, pseudonyms, checking, quarantine.

A new importer is one module with a `read` (see `records.Reader`) and one line in `_MODULES`. The modules are
imported when they read, so that naming them costs nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from echo_dagster import events
from echo_dagster.acquisition.records import Bad, Reader, Record
from echo_dagster.settings import Source

_MODULES = {
    "continue": "echo_dagster.acquisition.continue_dev",
    "native": "echo_dagster.acquisition.native",
    "tabby": "echo_dagster.acquisition.tabby",
    "vscode_recording": "echo_dagster.acquisition.vscode_recording",
    "zed": "echo_dagster.acquisition.zed",
    "code4me": "echo_dagster.acquisition.code4me",
    "realhumaneval": "echo_dagster.acquisition.realhumaneval",
    "cups": "echo_dagster.acquisition.cups",
}

NAMES: tuple[str, ...] = tuple(_MODULES)

#: How far the events of a file may lie from the day in its name: logs are flushed late, and clocks differ.
SLACK = timedelta(days=1)

#: A batch ends at so many characters of text even where it has few rows: a `shown` can hold a whole document.
_BATCH_CHARS = 24_000_000
_BATCH_ROWS = 50_000

_ALWAYS = (datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC))

_TS = list(events.SCHEMA).index("ts")


@dataclass(frozen=True)
class Event:
    """A checked event as a row of `events.SCHEMA`, and where it stood."""

    line: int
    row: tuple[Any, ...]

    @property
    def ts(self) -> datetime:
        """When it happened."""
        return self.row[_TS]


class Part(NamedTuple):
    """Some of a file: its events, what is bad, and the places of the events in the file; bad things have theirs."""

    good: pl.DataFrame
    bad: list[tuple[int, Bad]]
    places: pl.Series


class Batch(NamedTuple):
    """A part of a file, in its order: events (`events.SCHEMA`) and what could not be read
    (`events.QUARANTINE_SCHEMA`, and `after`: the time of the last event before it in the file, null if none).
    """

    events: pl.DataFrame
    quarantined: pl.DataFrame


def read(importer: str, path: Path, source: Source) -> Iterator[Record | Bad]:
    """Yield what the file holds in the tool's own words, as fields of the experience log.

    Raises:
        ValueError: there is no such importer.
    """
    if importer not in _MODULES:
        raise ValueError(f"unknown importer {importer!r}; expected one of {', '.join(NAMES)}")
    reader: Reader = importlib.import_module(_MODULES[importer]).read
    yield from reader(path, source)


def checked(
    path: Path, source: Source, pseudonym: Callable[[str], str], day: date | None = None
) -> Iterator[Event | Bad]:
    """Yield each record of a file, in order, as a checked event with the source's defaults, or as `Bad`.

    Where the file belongs to a `day`, an event further than `SLACK` from it is bad (`wrong_day`).
    """
    for item in read(source.importer, path, source):
        yield _judged(item, source, pseudonym, day)


def batches(
    path: Path,
    source: Source,
    pseudonym: Callable[[str], str],
    day: date | None = None,
    *,
    rows: int = _BATCH_ROWS,
    limit: int | None = None,
    scratch: Path | None = None,
) -> Iterator[Batch]:
    """Yield what a file holds in parts of bounded size, or its first `limit` events and bad lines. An empty file yields
    nothing. `day` as in `checked`.

    The order is that of the file, except where the file has a `day`: then `after` means nothing.
    A compressed file may be unpacked below `scratch`, by default where temporary files go.
    """
    from echo_dagster.acquisition import ndjson

    parts = (
        _columns(path, source, pseudonym, day, scratch)
        if source.importer == "native" and ndjson.is_readable(path) and limit is None
        else _rows(islice(checked(path, source, pseudonym, day), limit), rows)
    )
    latest: datetime | None = None
    for good, bad, places in parts:
        lost = pl.DataFrame(
            [quarantined(source, path, item) for _, item in bad],
            schema=events.QUARANTINE_SCHEMA,
            orient="row",
        )
        at = pl.Series("place", [place for place, _ in bad], dtype=pl.Int64())
        known = pl.lit(latest, events.TIMESTAMP)
        after = known if day else _times_before(at, good, places).fill_null(known)
        yield Batch(good, lost.with_columns(after=after))
        latest = good.item(-1, "ts") if day is None and good.height else latest


def _times_before(at: pl.Series, good: pl.DataFrame, places: pl.Series) -> pl.Series:
    """Return the time of the last event before each of the places `at`, as `after`."""
    known = pl.DataFrame([places.alias("place"), good.get_column("ts").alias("after")])
    return at.to_frame().join_asof(known, on="place").get_column("after")


def _rows(items: Iterator[Event | Bad], rows: int) -> Iterator[Part]:
    """Yield checked records as parts."""
    good: list[tuple[Any, ...]] = []
    places: list[int] = []
    bad: list[tuple[int, Bad]] = []
    chars = 0
    for place, item in enumerate(items):
        if isinstance(item, Bad):
            bad.append((place, item))
        else:
            good.append(item.row)
            places.append(place)
            chars += size(item.row)
        if len(good) + len(bad) >= rows or chars >= _BATCH_CHARS:
            yield Part(events.frame(good), bad, pl.Series(places, dtype=pl.Int64()))
            good, places, bad, chars = [], [], [], 0
    if good or bad:
        yield Part(events.frame(good), bad, pl.Series(places, dtype=pl.Int64()))


def _columns(
    path: Path, source: Source, pseudonym: Callable[[str], str], day: date | None, scratch: Path | None
) -> Iterator[Part]:
    """Yield parts of a file that is read in columns."""
    from echo_dagster.acquisition import ndjson

    for sure, doubtful in ndjson.batches(path, source, *bounds(day), is_ordered=day is None, scratch=scratch):
        users = sure.get_column("user_id").unique()
        names = pl.Series([pseudonym(user) for user in users], dtype=pl.String())
        good = sure.with_columns(pl.col("user_id").replace_strict(users, names))
        judged = [(place, _judged(item, source, pseudonym, day)) for place, item in doubtful]
        found = [(*item.row, place) for place, item in judged if isinstance(item, Event)]
        if found:
            good = pl.concat([good, pl.DataFrame(found, schema=good.schema, orient="row")]).sort("place")
        bad = [(place, item) for place, item in judged if isinstance(item, Bad)]
        yield Part(good.drop("place"), bad, good.get_column("place"))


def _judged(
    item: Record | Bad, source: Source, pseudonym: Callable[[str], str], day: date | None
) -> Event | Bad:
    """Return a record as an event, or what is wrong with it."""
    if isinstance(item, Bad):
        return item
    fields = _with_defaults(item.fields, source)
    if isinstance(fields.get("user_id"), str):
        fields["user_id"] = pseudonym(fields["user_id"])
    try:
        event = Event(item.line, events.to_row(fields))
    except events.BadEvent as bad:
        return Bad(item.line, bad.reason, bad.detail)
    first, last = bounds(day)
    if not first <= event.ts < last:
        return Bad(item.line, "wrong_day", f"an event of {event.ts.date()} in a file of {day}")
    return event


def bounds(day: date | None) -> tuple[datetime, datetime]:
    """Return the first moment that an event in a file of `day` can have, and the first that it cannot."""
    if day is None:
        return _ALWAYS
    midnight = datetime.combine(day, time(), UTC)
    return midnight - SLACK, midnight + SLACK + timedelta(days=1)


def quarantined(source: Source, path: Path, bad: Bad) -> tuple[str, str, int, str, str]:
    """Return a row of `events.QUARANTINE_SCHEMA`."""
    return source.name, file_name(path), bad.line, bad.reason, bad.detail


def file_name(path: Path) -> str:
    """Return a file's name as tables hold it: what of it is not UTF-8 is replaced."""
    return path.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def size(row: tuple[Any, ...]) -> int:
    """Return the characters of text in a row, which is nearly all of the memory that it takes."""
    return sum(len(value) for value in row if isinstance(value, str))


def _with_defaults(fields: dict[str, Any], source: Source) -> dict[str, Any]:
    """Fill what the record does not say itself from the source."""
    for name, default in (
        ("user_id", source.user),
        ("repository", source.repository),
        ("model", source.model if fields.get("kind") == "shown" else None),
        ("cohort", source.cohort),
        ("consent", source.consent),
        ("source", source.name),
    ):
        if fields.get(name) is None:
            fields[name] = default
    return fields
