"""Frames in files: NDJSON or Parquet by suffix, `-` for NDJSON on standard input or output. CSV is written, for
spreadsheets, and not read.

What the command line reads and writes. Times are ISO 8601 in UTC with `Z`. A file is written whole or not at
all. What does not live here: the lake (`lake.py`) and the logs of other tools (`acquisition/`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import polars as pl
import pyarrow.parquet as pq

from echo_dagster import events
from echo_dagster.settings import Source

_NDJSON = (".ndjson", ".jsonl", ".json")
_ISO = "%Y-%m-%dT%H:%M:%S%.6fZ"


class FileMistake(ValueError):
    """A file that does not hold what was asked for. The message names every column at fault, no content."""


@dataclass(frozen=True)
class Events:
    """An experience log: events (`events.SCHEMA`) and what could not be read (`events.QUARANTINE_SCHEMA`)."""

    events: pl.DataFrame
    quarantined: pl.DataFrame


def read_events(path: str | Path) -> Events:
    """Read an experience log, every line checked. Users keep the names they have in the file.

    An event that does not say so has no consent.
    """
    from echo_dagster.acquisition import importers

    source = Source(name=str(path), importer="native", path=str(path), consent=False)
    good, bad = [events.frame([])], [pl.DataFrame(schema=events.QUARANTINE_SCHEMA)]
    for some, wrong in importers.batches(Path(path), source, lambda user: user):
        good.append(some)
        bad.append(wrong.drop("after"))
    return Events(pl.concat(good), pl.concat(bad))


def read(path: str | Path, schema: pl.Schema) -> pl.DataFrame:
    """Read the columns of `schema`; others are left out.

    Raises:
        FileMistake: columns are missing or of another type, or the file is no NDJSON or Parquet.
    """
    frame = _raw(str(path), schema)
    mistakes = [f"{name}: missing" for name in schema if name not in frame.columns]
    columns = []
    for name, wanted in schema.items():
        if name in frame.columns:
            column = _as(frame[name], wanted)
            mistakes += [] if column is not None else [f"{name}: {frame[name].dtype}, expected {wanted}"]
            columns.append(column)
    if mistakes:
        raise FileMistake(f"{path} does not fit:\n" + "\n".join(f"  - {mistake}" for mistake in mistakes))
    return pl.DataFrame([column for column in columns if column is not None])


def write(
    data: pl.DataFrame | Iterable[pl.DataFrame], path: str | Path, schema: pl.Schema | None = None
) -> int:
    """Write a frame, or frames one after the other, and return the number of rows.

    `schema` is needed for an iterable that may yield nothing.
    """
    frames = iter([data]) if isinstance(data, pl.DataFrame) else iter(data)
    if schema is None:
        first = next(frames)
        schema, frames = first.schema, _before(first, frames)
    kind = "csv" if Path(path).suffix.lower() == ".csv" else _kind(str(path))
    rows = 0
    with _target(str(path)) as file:
        if kind == "parquet":
            arrow = pl.DataFrame(schema=schema).to_arrow(compat_level=pl.CompatLevel.oldest()).schema
            with pq.ParquetWriter(file, arrow, compression="zstd") as writer:
                for frame in frames:
                    writer.write_table(frame.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(arrow))
                    rows += frame.height
        else:
            for frame in frames:
                told = frame.with_columns(pl.col(pl.Datetime).dt.strftime(_ISO))
                told.write_csv(file, include_header=not rows) if kind == "csv" else told.write_ndjson(file)
                rows += frame.height
    return rows


def _raw(path: str, schema: pl.Schema) -> pl.DataFrame:
    kind = _kind(path)
    source = sys.stdin.buffer.read() if path == "-" else Path(path)
    size = len(source.strip()) if isinstance(source, bytes) else source.stat().st_size
    if size == 0 and kind == "ndjson":
        return pl.DataFrame(schema=schema)
    try:
        return (
            pl.read_parquet(source) if kind == "parquet" else pl.read_ndjson(source, infer_schema_length=None)
        )
    except pl.exceptions.PolarsError:
        raise FileMistake(
            f"{path} is not {kind}, or it is damaged"
        ) from None  # the error can quote the content


def _as(column: pl.Series, wanted: pl.DataType) -> pl.Series | None:
    """Return the column as the wanted type where nothing is lost by it, else None."""
    have = column.dtype
    try:
        if have == pl.String() and isinstance(wanted, pl.Datetime):
            return column.str.to_datetime(time_unit="us", time_zone="UTC").cast(wanted)
        if have == pl.String() and wanted == pl.Date():
            return column.str.to_date()
        fits = (
            have in (wanted, pl.Null())
            or (have.is_integer() and wanted.is_numeric())
            or (have.is_float() and wanted.is_float())
            or (
                isinstance(have, pl.Datetime)
                and isinstance(wanted, pl.Datetime)
                and have.time_zone is not None
            )
            or (isinstance(have, pl.Categorical | pl.Enum) and wanted == pl.String())
        )
        return column.cast(wanted) if fits else None
    except pl.exceptions.PolarsError:
        return None


def _kind(path: str) -> str:
    suffix = Path(path).suffix.lower()
    if path == "-" or suffix in _NDJSON:
        return "ndjson"
    if suffix == ".parquet":
        return "parquet"
    raise FileMistake(f"{path}: expected a file name that ends in {', '.join((*_NDJSON, '.parquet'))}, or -")


@contextmanager
def _target(path: str) -> Iterator[BinaryIO]:
    """Open a file that takes its place only when it is whole. A stream or a device is written as it comes."""
    target = Path(path)
    if path == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if target.exists() and not target.is_file():
        with target.open("wb") as file:
            yield file
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    making = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with making.open("wb") as file:
            yield file
        making.replace(target)
    finally:
        making.unlink(missing_ok=True)


def _before(first: pl.DataFrame, rest: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    yield first
    yield from rest
