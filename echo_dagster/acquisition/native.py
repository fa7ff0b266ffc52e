"""The experience log itself, as NDJSON (also compressed) or Parquet, record by record.

Reads line by line or batch by batch, in bounded memory. One bad line never loses the rest of the file; what
was wrong with it is a reason code. What a field may hold is checked elsewhere (`events.to_row`). Files of NDJSON
are read in columns where they can be (`ndjson.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import polars.selectors as cs
import pyarrow as pa
import pyarrow.parquet as pq

from echo_dagster.acquisition.lines import objects, suffix_of
from echo_dagster.acquisition.records import Bad, Record
from echo_dagster.events import SCHEMA
from echo_dagster.settings import Source

NDJSON_SUFFIXES = (".ndjson", ".jsonl", ".json")
#: The kind of a line that stands for something the collector refused. It is no kind of event.
REFUSED = "refused"

_CODE = re.compile(r"[a-z_]{1,40}")
_PARQUET_BATCH_ROWS = 2_000

_TEXTS = {name for name, kind in SCHEMA.items() if kind == pl.String()}
_WHOLE_NUMBERS = ("seq", "offset", "length", "latency_ms")
_DIGITS = re.compile(r"-?(0|[1-9]\d{0,18})")

#: The calendar of Python's times, less a day for any time zone, in seconds since 1970; and a second in each unit.
_FIRST_S, _LAST_S = -62_135_510_400, 253_402_214_400
_UNITS = {"ms": 10**3, "us": 10**6, "ns": 10**9}
_OUTSIDE = "_is_outside"

#: Columns without which no row of a Parquet file can be an event.
_NEEDED = ("event_id", "ts", "session_id", "document", "kind")


def read(path: Path, source: Source) -> Iterator[Record | Bad]:
    """Yield the records of a file; `-` is NDJSON on standard input. Lines and rows are counted from 1.

    Reasons of `Bad`: `malformed_json`, `bad_encoding`, `line_too_long`, `truncated_file`, `unreadable_file`,
    `missing_column`, `bad_timestamp` (Parquet), `unknown_file_type`, and what a line of the kind `refused` gives as its
    reason.
    """
    suffix = suffix_of(path)
    if str(path) == "-" or suffix in NDJSON_SUFFIXES:
        yield from map(resolved, objects(path))
    elif path.suffix.lower() == ".parquet":
        yield from _parquet(path, source)
    else:
        known = ", ".join((*NDJSON_SUFFIXES, ".parquet"))
        yield Bad(
            0,
            "unknown_file_type",
            f"expected a file name that ends in {known}, the first three also with .gz or .zst",
        )


def resolved(item: Record | Bad) -> Record | Bad:
    """Return what a line stands for: itself, or what the collector refused and wrote it instead of.

    Numbers, true and false that stand for text, and whole numbers and consent that stand in quotes, become what is
    meant, as a reader in columns takes them.
    """
    if isinstance(item, Bad):
        return item
    if item.fields.get("kind") != REFUSED:
        return Record(item.line, {name: _meant(name, value) for name, value in item.fields.items()})
    reason, detail = item.fields.get("reason"), item.fields.get("detail")
    if (
        isinstance(reason, str)
        and _CODE.fullmatch(reason)
        and isinstance(detail, str)
        and detail.isprintable()
    ):
        return Bad(item.line, reason, detail[:200])
    return item  # it only looks like one, and is no event either


def _meant(name: str, value: object) -> object:
    if isinstance(value, str):
        if name in _WHOLE_NUMBERS and _DIGITS.fullmatch(value):
            return int(value)
        return value == "true" if name == "consent" and value in ("true", "false") else value
    is_text = (name in _TEXTS and isinstance(value, int | float)) or (name == "text" and value in ({}, []))
    return json.dumps(value) if is_text else value


def _parquet(path: Path, source: Source) -> Iterator[Record | Bad]:
    number = 0
    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            columns = set(file.schema_arrow.names)
            needed = _NEEDED if source.user is not None else (*_NEEDED, "user_id")
            if missing := [name for name in needed if name not in columns]:
                yield Bad(0, "missing_column", ", ".join(missing))
                return
            for batch in file.iter_batches(
                _PARQUET_BATCH_ROWS, columns=[name for name in SCHEMA if name in columns]
            ):
                for fields in _frame(batch).iter_rows(named=True):
                    number += 1
                    is_outside = fields.pop(_OUTSIDE)
                    yield (
                        Bad(number, "bad_timestamp", "ts is outside the calendar")
                        if is_outside
                        else Record(number, fields)
                    )
    except (FileNotFoundError, PermissionError):
        raise  # nothing is wrong with the file's content
    except (pa.ArrowException, OSError, UnicodeDecodeError, pl.exceptions.PolarsError):
        yield Bad(number + 1, "unreadable_file", "not Parquet, or damaged from here on")


def _frame(batch: pa.RecordBatch) -> pl.DataFrame:
    """Return the rows of a batch as Python can hold them, and `_OUTSIDE`: whether the time is one that it cannot.

    Other columns of times become numbers with a fraction, which no column of an event may be.
    """
    batch.validate(full=True)  # a damaged file can hold texts that are none, and Polars trusts them
    frame = pl.from_arrow(batch)
    assert isinstance(frame, pl.DataFrame)
    is_outside = pl.lit(value=False)
    if isinstance(kind := frame.schema["ts"], pl.Datetime):
        seconds = pl.col("ts").cast(pl.Int64) // _UNITS[kind.time_unit]
        is_outside = ~seconds.is_between(_FIRST_S, _LAST_S)
    others = cs.temporal() - (cs.datetime() & cs.by_name("ts"))
    return frame.with_columns(
        others.cast(pl.Int64).cast(pl.Float64), is_outside.alias(_OUTSIDE)
    ).with_columns(pl.when(pl.col(_OUTSIDE)).then(None).otherwise(pl.col("ts")).alias("ts"))
