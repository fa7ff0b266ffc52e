"""The tables of a Code4Me server, from the text that `pg_dump --data-only` writes: `COPY` blocks, tab separated.

What does not live here: joining the tables and what becomes an event (`code4me.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from echo_dagster.acquisition import times
from echo_dagster.acquisition.lines import lines
from echo_dagster.acquisition.records import Bad


@dataclass(frozen=True)
class Row:
    """A row of a table in `TABLES`; its values are texts or null, in the order of the table's columns there."""

    line: int
    table: str
    values: tuple[str | None, ...]


#: What is read: our name of the table, and of each column the names that versions of the server give it. The first
#: column is the one that other tables refer to, or that refers to theirs; it and those in `_NEEDED` must be there.
TABLES: Mapping[str, Mapping[str, Sequence[str]]] = {
    "context": {
        "context_id": ("context_id",),
        "prefix": ("prefix",),
        "suffix": ("suffix",),
        "file_name": ("file_name",),
        "language_id": ("language_id",),
    },
    "query": {
        "query_id": ("meta_query_id", "query_id"),
        "context_id": ("context_id",),
        "user_id": ("user_id",),
        "session_id": ("session_id",),
        "telemetry_id": ("contextual_telemetry_id",),
        "asked_at": ("timestamp",),
        "query_type": ("query_type",),
        "serving_ms": ("total_serving_time",),
    },
    "generation": {
        "query_id": ("meta_query_id", "query_id"),
        "model_id": ("model_id",),
        "completion": ("completion",),
        "shown_at": ("shown_at",),
        "was_accepted": ("was_accepted",),
    },
    "truth": {
        "query_id": ("completion_query_id", "query_id"),
        "truth_timestamp": ("truth_timestamp",),
        "ground_truth": ("ground_truth",),
    },
    "telemetry": {
        "telemetry_id": ("contextual_telemetry_id",),
        "language_id": ("language_id",),
        "file_path": ("file_path",),
        "document_char_length": ("document_char_length",),
        "relative_document_position": ("relative_document_position",),
    },
    "model": {"model_id": ("model_id",), "model_name": ("model_name",)},
    "language": {"language_id": ("language_id",), "language_name": ("language_name",)},
}

_NAMES = {
    "context": "context",
    "meta_query": "query",
    "query": "query",
    "had_generation": "generation",
    "ground_truth": "truth",
    "contextual_telemetry": "telemetry",
    "model_name": "model",
    "programming_language": "language",
}
_NEEDED = {
    "context": ("prefix",),
    "query": ("context_id", "asked_at"),
    "generation": ("model_id", "completion", "shown_at", "was_accepted"),
    "truth": ("truth_timestamp", "ground_truth"),
}

_COPY = re.compile(rb'COPY (?:"?\w+"?\.)?"?(\w+)"? \(([\w", ]*)\) FROM stdin;')
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ELEMENT = re.compile(r'"((?:[^"\\]|\\.)*)"|([^",{}]+)')


@dataclass(frozen=True)
class _Block:
    table: str | None  # null: one that is not read
    width: int = 0
    places: tuple[int | None, ...] = ()  # where each of our columns stands
    missing: str = ""


def rows(path: Path) -> Iterator[Row | Bad]:
    """Yield the rows of the tables that are read. Rows of other tables, comments and settings are passed over.

    Reasons of `Bad`: those of `lines.lines`, and `bad_encoding`, `missing_column`, `missing_field`,
    `wrong_columns`, `outside_copy`, `not_copy`, `unknown_file_type`.
    """
    block: _Block | None = None
    number = 0
    for item in lines(path):
        if isinstance(item, Bad):
            yield item
            continue
        number, line = item
        if number == 1 and line.startswith(b"PGDMP"):
            yield Bad(1, "unknown_file_type", "an archive of pg_dump; expected its plain format")
            return
        if line.startswith(b"COPY ") and (match := _COPY.fullmatch(line.rstrip(b"\r\n"))):
            block = _block(match[1].decode(), match[2].decode())
        elif block is None:
            if line.startswith(b"INSERT INTO "):
                yield Bad(number, "not_copy", "an INSERT; run pg_dump without --inserts")
            elif b"\t" in line:
                yield Bad(number, "outside_copy", "a row that belongs to no table")
        elif line.rstrip(b"\r\n") == b"\\.":
            block = None
        elif block.table is not None:
            yield _row(number, line, block)
    if block is not None:
        yield Bad(number + 1, "truncated_file", "the dump ends inside a table")


def times_in(array: str) -> list[datetime] | None:
    """Return the times of an array as PostgreSQL writes it, or null where it is none."""
    if not (array.startswith("{") and array.endswith("}")):
        return None
    elements = [quoted or plain for quoted, plain in _ELEMENT.findall(array[1:-1])]
    found = [times.parsed(element) for element in elements]
    return [time for time in found if time is not None] if all(found) else None


def _block(table: str, columns: str) -> _Block:
    ours = _NAMES.get(table)
    if ours is None:
        return _Block(None)
    names = [name.strip().strip('"') for name in columns.split(",")]
    places = tuple(
        next((names.index(name) for name in known if name in names), None) for known in TABLES[ours].values()
    )
    needed = {next(iter(TABLES[ours])), *_NEEDED.get(ours, ())}
    missing = [
        name for name, place in zip(TABLES[ours], places, strict=True) if place is None and name in needed
    ]
    return _Block(ours, len(names), places, ", ".join(missing))


def _row(number: int, line: bytes, block: _Block) -> Row | Bad:
    if block.missing:
        return Bad(number, "missing_column", block.missing)
    try:
        fields = line.rstrip(b"\r\n").decode("utf-8").split("\t")
    except UnicodeDecodeError as error:
        return Bad(number, "bad_encoding", f"byte {error.start} is not UTF-8")
    if len(fields) != block.width:
        return Bad(number, "wrong_columns", f"{len(fields)} columns, expected {block.width}")
    assert block.table is not None
    values = tuple(None if place is None else _value(fields[place]) for place in block.places)
    if values[0] is None:
        return Bad(number, "missing_field", next(iter(TABLES[block.table])))
    return Row(number, block.table, values)


def _value(field: str) -> str | None:
    if field == r"\N":
        return None
    return _ESCAPE.sub(lambda match: _ESCAPES.get(match[1], match[1]), field) if "\\" in field else field
