"""The registry of importers, and what they have in common: defaults, pseudonyms, checking, quarantine.

A new importer is one module with a `read` (see `records.Reader`) and one line in `_MODULES`. The modules are
imported when they read, so that naming them costs nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from echo_dagster import events
from echo_dagster.acquisition.records import Bad, Reader, Record
from echo_dagster.settings import Source

_MODULES = {
    "native": "echo_dagster.acquisition.native",
    "vscode_recording": "echo_dagster.acquisition.vscode_recording",
}

NAMES: tuple[str, ...] = tuple(_MODULES)

#: A batch ends at so many characters of text even where it has few rows: a `shown` can hold a whole document.
_BATCH_CHARS = 64_000_000


@dataclass(frozen=True)
class Event:
    """A checked event as a row of `events.SCHEMA`, and where it stood."""

    line: int
    row: tuple[Any, ...]

    @property
    def day(self) -> date:
        """The UTC day on which it happened."""
        return self.row[_TS].date()


_TS = list(events.SCHEMA).index("ts")


def read(importer: str, path: Path, source: Source) -> Iterator[Record | Bad]:
    """Yield what the file holds in the tool's own words, as fields of the experience log.

    Raises:
        ValueError: there is no such importer.
    """
    if importer not in _MODULES:
        raise ValueError(f"unknown importer {importer!r}; expected one of {', '.join(NAMES)}")
    reader: Reader = importlib.import_module(_MODULES[importer]).read
    yield from reader(path, source)


def checked(path: Path, source: Source, pseudonym: Callable[[str], str]) -> Iterator[Event | Bad]:
    """Yield each record of a file, in order, as a checked event with the source's defaults, or as `Bad`."""
    for item in read(source.importer, path, source):
        if isinstance(item, Bad):
            yield item
            continue
        fields = _with_defaults(item.fields, source)
        if isinstance(fields.get("user_id"), str):
            fields["user_id"] = pseudonym(fields["user_id"])
        try:
            yield Event(item.line, events.to_row(fields))
        except events.BadEvent as bad:
            yield Bad(item.line, bad.reason, bad.detail)


def batches(
    path: Path, source: Source, pseudonym: Callable[[str], str], rows: int = 50_000
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Yield (events, quarantined) frames of `events.SCHEMA` and `events.QUARANTINE_SCHEMA`, of bounded size.

    An empty file yields nothing.
    """
    good: list[tuple[Any, ...]] = []
    bad: list[tuple[Any, ...]] = []
    chars = 0
    for item in checked(path, source, pseudonym):
        if isinstance(item, Bad):
            bad.append(quarantined(source, path, item))
        else:
            good.append(item.row)
            chars += size(item.row)
        if len(good) + len(bad) >= rows or chars >= _BATCH_CHARS:
            yield events.frame(good), pl.DataFrame(bad, schema=events.QUARANTINE_SCHEMA, orient="row")
            good, bad, chars = [], [], 0
    if good or bad:
        yield events.frame(good), pl.DataFrame(bad, schema=events.QUARANTINE_SCHEMA, orient="row")


def quarantined(source: Source, path: Path, bad: Bad) -> tuple[str, str, int, str, str]:
    """Return a row of `events.QUARANTINE_SCHEMA`."""
    return source.name, path.as_posix(), bad.line, bad.reason, bad.detail


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
