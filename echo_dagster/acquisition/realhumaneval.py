"""The CSV files of the RealHumanEval study, made into the experience log: suggestions, or the saved states of code.

Which of the two a file is, its header says. `docs/importing/realhumaneval.md` has the rules in full.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from echo_dagster import utf16
from echo_dagster.acquisition import times
from echo_dagster.acquisition.lines import MAX_LINE_BYTES, opened, unreadable
from echo_dagster.acquisition.records import Bad, Record, stable_id
from echo_dagster.settings import Source

_SUGGESTIONS = (
    "programmer_id",
    "task_name",
    "timestamp",
    "model",
    "prefix_code",
    "suffix_code",
    "suggestion",
    "accepted",
)
_SAVES = ("programmer_id", "code_history")

#: The study's editor sent so many characters around the cursor. Where there are fewer, nothing was cut.
_CONTEXT_UNITS = 6_000

#: A smaller time is in seconds since the programmer's first suggestion, as some releases have it; else it is in
#: milliseconds since 1970.
_FIRST_MS = 10**11

#: The study's own preparation repeats the last state so long after the first.
_REPEATED_AFTER = timedelta(minutes=35)

_DECISIONS = {
    "1": "accepted",
    "1.0": "accepted",
    "true": "accepted",
    "0": "rejected",
    "0.0": "rejected",
    "false": "rejected",
}


def read(path: Path, source: Source) -> Iterator[Record | Bad]:
    """Yield the events of a file; a record's line is the one that it begins in, counted from 1.

    Reasons of `Bad`: `missing_column`, `wrong_columns`, `malformed_csv`, `malformed_json`, `bad_encoding`,
    `bad_timestamp`, `wrong_type`, `missing_field`, `truncated_file`, `unreadable_file`.
    """
    rows = _rows(path)
    header = next(rows, None)
    if header is None:
        return
    if isinstance(header, Bad):
        yield header
        return
    names = [name.removeprefix("\ufeff").strip() for name in header[1]]
    wanted = _SAVES if "code_history" in names else _SUGGESTIONS
    if missing := [name for name in wanted if name not in names]:
        yield Bad(header[0], "missing_column", ", ".join(missing))
        return
    for row in rows:
        if isinstance(row, Bad):
            yield row
        elif len(row[1]) != len(names):
            yield Bad(row[0], "wrong_columns", f"{len(row[1])} columns, expected {len(names)}")
        else:
            fields = dict(zip(names, row[1], strict=True))
            yield from _saves(row[0], fields, path) if wanted is _SAVES else _suggestion(row[0], fields, path)


def _rows(path: Path) -> Iterator[tuple[int, list[str]] | Bad]:
    """Yield the records of a CSV file with the line that each begins in. Blank lines are passed over."""
    csv.field_size_limit(MAX_LINE_BYTES)  # the module knows no limit of a single reader
    with opened(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
        reader = csv.reader(text, strict=True)
        try:
            while True:
                line = reader.line_num + 1
                try:
                    row = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield _broken(line, error)
                except OSError as error:
                    yield unreadable(error, line)
                    return
                else:
                    if not _is_text(row):
                        yield Bad(line, "bad_encoding", "not UTF-8")
                    elif row:
                        yield line, row
        finally:
            text.detach()  # who opened the file closes it


def _broken(line: int, error: csv.Error) -> Bad:
    if "end of data" in str(error):
        return Bad(line, "truncated_file", "the file ends inside quotes")
    return Bad(line, "malformed_csv", "bad quoting, or a field too long")


def _is_text(row: list[str]) -> bool:
    try:
        "".join(row).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _suggestion(line: int, fields: Mapping[str, str], path: Path) -> Iterator[Record | Bad]:
    """Yield `shown` and what the programmer decided."""
    decision = _DECISIONS.get(fields["accepted"].strip().lower())
    if decision is None:
        yield Bad(line, "wrong_type", "accepted: expected 0 or 1")
        return
    time = _time(_number(fields["timestamp"]), path)
    if time is None:
        yield Bad(
            line,
            "bad_timestamp",
            "timestamp: expected milliseconds since 1970, or seconds and a day in the file's name",
        )
        return
    prefix, suffix = fields["prefix_code"], fields["suffix_code"]
    units = utf16.length(prefix)
    is_whole = units + utf16.length(suffix) < _CONTEXT_UNITS
    names = (fields["programmer_id"], fields["task_name"], fields["timestamp"], prefix, fields["suggestion"])
    completion_id = stable_id("realhumaneval", *names)
    where = _where(fields["programmer_id"], fields["task_name"], time) | {"completion_id": completion_id}
    yield Record(
        line,
        {
            **where,
            "event_id": stable_id(completion_id, "shown"),
            "kind": "shown",
            "model": fields["model"] or None,
            "offset": units if is_whole else None,
            "length": 0,
            "text": fields["suggestion"],
            "prefix": prefix,
            "suffix": suffix,
        },
    )
    # When the programmer decided is not in the file: it counts as the same moment.
    yield Record(line, {**where, "event_id": stable_id(completion_id, decision), "kind": decision, "seq": 1})


def _saves(line: int, fields: Mapping[str, str], path: Path) -> Iterator[Record | Bad]:
    """Yield a `snapshot` for each saved state of a programmer's code."""
    try:
        history = json.loads(fields["code_history"])
    except (ValueError, RecursionError):
        yield Bad(line, "malformed_json", "code_history")
        return
    columns = history if isinstance(history, dict) else {}
    codes, stamps, tasks = columns.get("code"), columns.get("times"), columns.get("task_name")
    if not (isinstance(codes, dict) and isinstance(stamps, dict) and isinstance(tasks, dict)):
        yield Bad(line, "missing_field", "code_history: code, times, task_name")
        return
    previous: tuple[Any, Any] | None = None
    first = next(iter(stamps.values()), None)
    for number, key in enumerate(codes):
        code, stamp, task = codes[key], stamps.get(key), tasks.get(key)
        is_repeated = _is_repeated(code, stamp, previous, first) and number == len(codes) - 1
        previous = code, stamp
        if is_repeated:
            continue
        if not isinstance(code, str) or not isinstance(task, str):
            yield Bad(line, "wrong_type", f"code_history: state {number} is no text, or names no task")
        elif (time := _time(stamp, path)) is None:
            yield Bad(line, "bad_timestamp", f"code_history: time {number}")
        else:
            programmer = fields["programmer_id"]
            yield Record(
                line,
                {
                    **_where(programmer, task, time),
                    "event_id": stable_id("realhumaneval", programmer, task, stamp, "save"),
                    "kind": "snapshot",
                    "prefix": code,
                    "suffix": "",
                },
            )


def _is_repeated(code: object, stamp: object, previous: tuple[Any, Any] | None, first: object) -> bool:
    """Say whether a state was not saved, but added by the study."""
    start, end = times.from_ms(first), times.from_ms(stamp)
    is_last = start is not None and end is not None and end - start == _REPEATED_AFTER
    return is_last and previous is not None and previous[0] == code


def _where(programmer: str, task: str, time: datetime) -> dict[str, Any]:
    return {
        "user_id": programmer or None,
        "session_id": "realhumaneval",
        "document": f"{task}.py",
        "language": "python",
        "ts": time,
    }


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _time(value: object, path: Path) -> datetime | None:
    """Return a time of the study, or null. Seconds count from the beginning of the day in the file's name."""
    time = times.from_ms(value)
    if time is None or not isinstance(value, int | float) or value >= _FIRST_MS:
        return time
    day = times.midnight_in(path)
    return (
        None if day is None or value > timedelta(days=1).total_seconds() else day + timedelta(seconds=value)
    )
