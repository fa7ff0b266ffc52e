"""The experience log itself, as NDJSON (also gzipped) or Parquet.

Reads line by line or batch by batch, in bounded memory. One bad line never loses the rest of the file; what
was wrong with it is a reason code. What a field may hold is checked elsewhere (`events.to_row`).
"""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from echo_dagster.acquisition.records import Bad, Record
from echo_dagster.events import SCHEMA
from echo_dagster.settings import Source

#: The longest line that is read. A `shown` holds a whole document; nobody completes code in one of 64 MiB.
MAX_LINE_BYTES = 64 * 1024 * 1024

_NDJSON_SUFFIXES = (".ndjson", ".jsonl", ".json")
_PARQUET_BATCH_ROWS = 2_000

#: Columns without which no row of a Parquet file can be an event.
_NEEDED = ("event_id", "ts", "session_id", "document", "kind")


def read(path: Path, source: Source) -> Iterator[Record | Bad]:
    """Yield the records of a file; `-` is NDJSON on standard input. Lines and rows are counted from 1.

    Reasons of `Bad`: `malformed_json`, `bad_encoding`, `line_too_long`, `truncated_file`, `unreadable_file`,
    `missing_column`, `unknown_file_type`.
    """
    if str(path) == "-":
        yield from _lines(sys.stdin.buffer)
        return
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".parquet":
        yield from _parquet(path, source)
    elif suffixes and suffixes[-1] in _NDJSON_SUFFIXES:
        with path.open("rb") as file:
            yield from _lines(file)
    elif len(suffixes) > 1 and suffixes[-1] == ".gz" and suffixes[-2] in _NDJSON_SUFFIXES:
        with gzip.open(path, "rb") as file:
            yield from _lines(file)
    else:
        known = ", ".join((*_NDJSON_SUFFIXES, ".parquet"))
        yield Bad(
            0,
            "unknown_file_type",
            f"expected a file name that ends in {known}, the first three also with .gz",
        )


def _lines(file: BinaryIO | gzip.GzipFile) -> Iterator[Record | Bad]:
    number = 0
    while True:
        try:
            line = file.readline(MAX_LINE_BYTES + 1)
            too_long = len(line) > MAX_LINE_BYTES
            rest = line
            while too_long and rest and not rest.endswith(b"\n"):
                rest = file.readline(MAX_LINE_BYTES)
        except EOFError:
            yield Bad(number + 1, "truncated_file", "the compressed data end early")
            return
        except (zlib.error, gzip.BadGzipFile):
            yield Bad(number + 1, "unreadable_file", "the compressed data are damaged from here on")
            return
        if not line:
            return
        number += 1
        if too_long:
            yield Bad(number, "line_too_long", f"longer than {MAX_LINE_BYTES} bytes")
        elif line.strip():
            yield _record(number, line)


def _record(number: int, line: bytes) -> Record | Bad:
    try:
        value = _DECODER.decode(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        if isinstance(value, dict):
            return Record(number, value)
        reason, detail = "malformed_json", "not a JSON object"
    except UnicodeDecodeError as error:
        reason, detail = "bad_encoding", f"byte {error.start} is not UTF-8"
    except json.JSONDecodeError as error:
        if line.endswith(b"\n"):
            reason, detail = "malformed_json", f"not JSON from character {error.pos}"
        else:
            reason, detail = "truncated_file", "the last line ends early"
    except _Constant:
        reason, detail = "malformed_json", "NaN and Infinity are not JSON"
    except (ValueError, RecursionError):  # a number of thousands of digits, thousands of nested lists
        reason, detail = "malformed_json", "a number too long or a nesting too deep to be an event"
    return Bad(number, reason, detail)


class _Constant(Exception):
    """The line says NaN or Infinity."""


def _no_constant(_: str) -> Any:
    raise _Constant


_DECODER = json.JSONDecoder(parse_constant=_no_constant)  # `json.loads` would make one for every line


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
                    yield Record(number, fields)
    except (FileNotFoundError, PermissionError):
        raise  # nothing is wrong with the file's content
    except (pa.ArrowException, OSError, pl.exceptions.PolarsError):
        yield Bad(number + 1, "unreadable_file", "not Parquet, or damaged from here on")


def _frame(batch: pa.RecordBatch) -> pl.DataFrame:
    frame = pl.from_arrow(batch)
    assert isinstance(frame, pl.DataFrame)
    return frame
