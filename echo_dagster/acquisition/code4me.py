"""The tables of a Code4Me v2 server, dumped by `pg_dump`, made into the experience log.

The dump is read once into Parquet files beside each other, joined by DuckDB in bounded memory, and gone through in
the order of its lines. `docs/importing/code4me.md` has the rules in full.

What does not live here: the dump's format (`code4me_dump.py`) and the join (`sql/code4me.sql`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from echo_dagster import utf16
from echo_dagster.acquisition import times
from echo_dagster.acquisition.code4me_dump import TABLES, Row, rows, times_in
from echo_dagster.acquisition.fields import milliseconds
from echo_dagster.acquisition.languages import language_of
from echo_dagster.acquisition.places import document as document_name
from echo_dagster.acquisition.records import Bad, Record, stable_id
from echo_dagster.lake import connect
from echo_dagster.resources import sql
from echo_dagster.settings import Source

_MEMORY_LIMIT = "512MB"
_BATCH_ROWS = 1_000
_BATCH_CHARS = 8_000_000

#: The cursor's place is kept as a 32-bit share of the document's length; in a longer document it names no one place.
_EXACT_UNITS = 2**22


def read(path: Path, source: Source) -> Iterator[Record | Bad]:
    """Yield the events of a dump; lines are its lines, counted from 1.

    Reasons of `Bad`: those of `code4me_dump.rows`, and `query_unknown`, `context_unknown`, `bad_timestamp`,
    `wrong_type`, `missing_field`.
    """
    with tempfile.TemporaryDirectory(prefix="code4me-") as name:
        folder = Path(name)
        yield from _staged(path, folder)
        files = {table: str(folder / f"{table}.parquet") for table in TABLES}
        with connect(_MEMORY_LIMIT, folder / "spill") as connection:
            result = connection.sql(sql("code4me"), params=files).to_arrow_reader(_BATCH_ROWS)
            for batch in result:
                for row in batch.to_pylist():
                    yield from _events(row)


def _staged(path: Path, folder: Path) -> Iterator[Bad]:
    """Write each table of the dump as a Parquet file, and yield what is wrong with it."""
    schemas = {
        table: pa.schema([("line", pa.int64()), *((name, pa.large_string()) for name in columns)])
        for table, columns in TABLES.items()
    }
    writers = {table: pq.ParquetWriter(folder / f"{table}.parquet", schemas[table]) for table in TABLES}
    held: dict[str, list[Row]] = {table: [] for table in TABLES}
    chars = dict.fromkeys(TABLES, 0)

    def flush(table: str) -> None:
        names = schemas[table].names
        found = [dict(zip(names, (row.line, *row.values), strict=True)) for row in held[table]]
        writers[table].write_table(pa.Table.from_pylist(found, schema=schemas[table]))
        held[table], chars[table] = [], 0

    try:
        for row in rows(path):
            if isinstance(row, Bad):
                yield row
                continue
            held[row.table].append(row)
            chars[row.table] += sum(len(value) for value in row.values if value is not None)
            if len(held[row.table]) >= _BATCH_ROWS or chars[row.table] >= _BATCH_CHARS:
                flush(row.table)
        for table in TABLES:
            flush(table)
    finally:
        for writer in writers.values():
            writer.close()


def _events(row: Mapping[str, Any]) -> Iterator[Record | Bad]:
    """Yield the events of one joined row."""
    line = row["line"]
    if not row["has_query"]:
        yield Bad(line, "query_unknown", "its query is not in the dump")
    elif not row["has_context"]:
        yield Bad(line, "context_unknown", "the context of its query is not in the dump, or was not stored")
    elif row["fact"] == "proposal":
        yield from _proposal(row)
    elif row["fact"] == "truth":
        yield _truth(row)
    else:
        yield _request(row)


def _proposal(row: Mapping[str, Any]) -> Iterator[Record | Bad]:
    """Yield one `shown` for each time that a proposal was shown, and `accepted` after the last."""
    line = row["line"]
    shown_at = times_in(row["at"] or "")
    if shown_at is None:
        yield Bad(line, "bad_timestamp", "shown_at: expected an array of times")
        return
    if row["was_accepted"] not in ("t", "f"):
        yield Bad(line, "wrong_type", "was_accepted: expected t or f")
        return
    if not shown_at:
        yield _request(row)
        return
    completion_id = f"{row['query_id']}/{row['model_id']}"
    where = _where(row)
    shown = {
        "kind": "shown",
        "completion_id": completion_id,
        "model": row["model_name"],
        "offset": _offset(row),
        "length": 0,
        "text": row["text"],
        "prefix": row["prefix"],
        "suffix": row["suffix"],
    }
    for number, time in enumerate(sorted(shown_at)):
        event_id = stable_id("code4me", completion_id, "shown", number)
        # only the first showing is one that the user waited for
        latency = _serving_ms(row) if number == 0 else None
        yield Record(line, {**where, **shown, "event_id": event_id, "ts": time, "latency_ms": latency})
    if row["was_accepted"] == "t":
        yield Record(
            line,
            {
                **where,
                "kind": "accepted",
                "completion_id": completion_id,
                "event_id": stable_id("code4me", completion_id, "accepted"),
                "ts": max(shown_at),
                "seq": 1,
            },
        )


def _serving_ms(row: Mapping[str, Any]) -> int | None:
    """Return how long the server took for all of an answer. It writes 0 where the answer was never finished."""
    told = row["serving_ms"]
    return milliseconds(int(told)) or None if told and told.isdecimal() and len(told) < 10 else None


def _truth(row: Mapping[str, Any]) -> Record | Bad:
    """Return what the plugin saw at the place of an accepted proposal: it and 32 characters on both sides."""
    time = times.parsed(row["at"])
    if time is None:
        return Bad(row["line"], "bad_timestamp", "truth_timestamp is not a time")
    text, accepted = row["text"], row["accepted_completion"]
    # The window goes on after the proposal unless the document ends there.
    ends = text is not None and bool(accepted) and row["suffix"] == "" and text.endswith(accepted)
    return Record(
        row["line"],
        {
            **_where(row),
            "kind": "snapshot",
            "reason": "request",
            "event_id": stable_id("code4me", row["query_id"], "truth", row["at"]),
            "ts": time,
            "prefix": text,
            "suffix": "" if ends else None,
        },
    )


def _request(row: Mapping[str, Any]) -> Record | Bad:
    """Return what a request shows of the document, where no proposal was shown."""
    time = times.parsed(row["asked_at"])
    if time is None:
        return Bad(row["line"], "bad_timestamp", "timestamp is not a time")
    return Record(
        row["line"],
        {
            **_where(row),
            "kind": "snapshot",
            "reason": "request",
            "event_id": stable_id("code4me", row["query_id"], "request"),
            "ts": time,
            "offset": _offset(row),
            "prefix": row["prefix"],
            "suffix": row["suffix"],
        },
    )


def _where(row: Mapping[str, Any]) -> dict[str, Any]:
    # Requests that name no file may be of any: each is a document of its own.
    document = document_name(row["file_path"] or row["file_name"] or f"unnamed/{row['context_id']}")
    language = row["language_name"]
    return {
        "user_id": row["user_id"],
        "session_id": row["session_id"] or "code4me",
        "document": document,
        "language": language_of(document) or (language.lower() if language else None),
    }


def _offset(row: Mapping[str, Any]) -> int | None:
    """Return where the cursor stood, which the server keeps as a share of the document; null where it does not fit."""
    prefix, suffix = row["prefix"], row["suffix"]
    try:
        length, share = int(row["document_char_length"]), float(row["relative_document_position"])
    except (TypeError, ValueError):
        return None
    if prefix is None or not (0 <= share <= 1 and 0 <= length <= _EXACT_UNITS):
        return None
    offset = round(share * length)
    fits = utf16.length(prefix) <= offset and offset + utf16.length(suffix or "") <= length
    return offset if fits else None
