"""The experience log itself, as NDJSON (also compressed) or Parquet.

Reads line by line or batch by batch, in bounded memory. One bad line never loses the rest of the file; what
was wrong with it is a reason code. What a field may hold is checked elsewhere (`events.to_row`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from echo_dagster.acquisition.lines import objects, suffix_of
from echo_dagster.acquisition.records import Bad, Record
from echo_dagster.events import SCHEMA
from echo_dagster.settings import Source

NDJSON_SUFFIXES = (".ndjson", ".jsonl", ".json")
_PARQUET_BATCH_ROWS = 2_000

#: Columns without which no row of a Parquet file can be an event.
_NEEDED = ("event_id", "ts", "session_id", "document", "kind")


def read(path: Path, source: Source) -> Iterator[Record | Bad]:
    """Yield the records of a file; `-` is NDJSON on standard input. Lines and rows are counted from 1.

    Reasons of `Bad`: `malformed_json`, `bad_encoding`, `line_too_long`, `truncated_file`, `unreadable_file`,
    `missing_column`, `unknown_file_type`.
    """
    suffix = suffix_of(path)
    if str(path) == "-" or suffix in NDJSON_SUFFIXES:
        yield from objects(path)
    elif path.suffix.lower() == ".parquet":
        yield from _parquet(path, source)
    else:
        known = ", ".join((*NDJSON_SUFFIXES, ".parquet"))
        yield Bad(
            0,
            "unknown_file_type",
            f"expected a file name that ends in {known}, the first three also with .gz or .zst",
        )


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
