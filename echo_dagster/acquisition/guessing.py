"""Which tool wrote a file, by its head: for each importer one small function that says what it sees, or nothing.

Only the head is read, of a compressed file as of any other. What does not live here: reading the file to its end
(`inspection.py`), and the formats themselves (the importers).
"""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from echo_dagster.acquisition import continue_dev
from echo_dagster.acquisition.lines import CODECS, opened, parsed
from echo_dagster.acquisition.native import REFUSED
from echo_dagster.acquisition.records import Record

HEAD_BYTES = 256 * 1024

_PIECE_BYTES = 64 * 1024
_OBJECTS = 50

_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],]', re.DOTALL)
_CLOSERS = {"{": "}", "[": "]"}

_TABBY_KINDS = ("completion", "view", "select", "dismiss", "chat_completion")
#: Where an object of Continue's does not name its event, these fields do.
_CONTINUE_FIELDS = (
    {"completionId", "prefix", "completion"},
    {"completionId", "originalEditableRange", "completion"},
    {"fileURI", "beforeContent", "afterContent"},
)
_ZED_FIELDS = (
    {"cursor_path", "cursor_position"},
    {"cursor_path", "prompt_inputs"},
    {"cursor_path", "captured_prompt_input"},
    {"input", "settled_editable_region"},
    {"input", "requested_output"},
    {"input", "output"},
    {"repository_url", "revision"},  # the head ends in a long diff
)
_CODE4ME_TABLES = ("context", "meta_query", "had_generation", "ground_truth", "contextual_telemetry")
_COPY = re.compile(rb'^COPY (?:"?\w+"?\.)?"?(\w+)"? \(', re.MULTILINE)
_REALHUMANEVAL_COLUMNS = ({"programmer_id", "code_history"}, {"programmer_id", "prefix_code", "suggestion"})
_ZED_HEADING = re.compile(r"^## cursor position\s*$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Guess:
    """Which importer reads a file, and what tells it. `importer` is null where none does; `why` then says so."""

    importer: str | None
    why: str


@dataclass(frozen=True)
class Head:
    """The beginning of a file, uncompressed, and its name. `is_whole`: nothing comes after it."""

    path: Path
    content: bytes
    is_whole: bool

    @cached_property
    def text(self) -> str:
        """The content as text; what is not UTF-8 is replaced."""
        return self.content.removeprefix(BOM_UTF8).decode("utf-8", "replace")

    @cached_property
    def objects(self) -> Sequence[Mapping[str, Any]]:
        """The JSON objects that lines hold; and the first of the file, also where it takes many lines or is cut."""
        first = _begun(self.text)
        lines = self.content.removeprefix(BOM_UTF8).split(b"\n", _OBJECTS)[:_OBJECTS]
        read = [parsed(number, line) for number, line in enumerate(lines) if line.strip()]
        found = [item.fields for item in read if isinstance(item, Record)]
        return found if isinstance(read[0] if read else None, Record) or not first else [first, *found]


def guess(path: Path) -> Guess:
    """Return which importer reads a file: the one that most of its head looks like.

    Raises:
        OSError: the file cannot be opened.
    """
    if path.suffix.lower() == ".parquet":
        return _of_parquet(path)
    head, is_damaged = _head(path)
    if not head.content:
        return Guess(None, "the compressed data are damaged from the beginning" if is_damaged else "empty")
    seen = {importer: Counter(looks(head)) for importer, looks in _LOOKS.items()}
    importer = max(seen, key=lambda name: seen[name].total())  # of several alike the first
    if not seen[importer]:
        return Guess(None, _unknown(head))
    return Guess(importer, seen[importer].most_common(1)[0][0])


def _head(path: Path) -> tuple[Head, bool]:
    """Return the head of a file, and whether compressed data are damaged in it."""
    content, is_whole, is_damaged = b"", False, False
    with opened(path) as file:
        while len(content) < HEAD_BYTES and not is_whole:
            try:
                piece = file.read(_PIECE_BYTES)
            except OSError:
                piece, is_damaged = b"", True
            content += piece
            is_whole = not piece
    return Head(path, content, is_whole), is_damaged


def _unknown(head: Head) -> str:
    """Say what a file is that nothing reads, without a word of what stands in it."""
    if head.content.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
        return f"compressed, and its name does not end in {' or '.join(CODECS)}"
    if head.content.startswith(b"PGDMP"):
        return "an archive of pg_dump; expected its plain format"
    if b"\0" in head.content or "\ufffd" in head.text[:-1]:
        return "no text in UTF-8"
    return "JSON objects that no known tool writes" if head.objects else "text that no known tool writes"


def _of_parquet(path: Path) -> Guess:
    try:
        columns = set(pq.read_schema(path).names)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        return Guess(None, "not Parquet, or damaged")
    if {"event_id", "ts", "kind"} <= columns:
        return Guess("native", "a Parquet file with the columns event_id, ts and kind")
    return Guess(None, "a Parquet file without the columns event_id, ts and kind")


def _native(head: Head) -> Iterator[str]:
    for fields in head.objects:
        if {"event_id", "ts"} <= fields.keys():
            yield "objects with event_id and ts"
        elif fields.get("kind") == REFUSED and {"reason", "detail"} <= fields.keys():
            yield "objects of the kind refused, as the collector writes them"


def _vscode_recording(head: Head) -> Iterator[str]:
    for fields in head.objects:
        log = fields.get("log")
        if isinstance(log, list) and any(isinstance(entry, dict) and "kind" in entry for entry in log):
            yield "an object with log, a list of entries with a kind"


def _tabby(head: Head) -> Iterator[str]:
    for fields in head.objects:
        event = fields.get("event")
        if "ts" in fields and isinstance(event, dict) and any(kind in event for kind in _TABBY_KINDS):
            yield f"objects with ts and event, which is one of {', '.join(_TABBY_KINDS)}"


def _continue(head: Head) -> Iterator[str]:
    for fields in head.objects:
        if fields.get("eventName") in continue_dev.EVENTS:
            yield "objects with eventName, one of Continue's"
        elif fields.get("name") in continue_dev.EVENTS and isinstance(fields.get("data"), dict):
            yield "objects with name, one of Continue's events, and data"
        elif match := _first_within(_CONTINUE_FIELDS, fields):
            yield f"objects with {_listed(match)}"
    if head.objects and head.path.name.partition(".")[0] in continue_dev.EVENTS:
        yield "a name that is one of Continue's events"


def _zed(head: Head) -> Iterator[str]:
    for fields in head.objects:
        if match := _first_within(_ZED_FIELDS, fields):
            yield f"objects with {_listed(match)}"
    if _ZED_HEADING.search(head.text) and "\n```" in head.text:
        yield "Markdown with a fenced block under the heading Cursor Position"


def _code4me(head: Head) -> Iterator[str]:
    for table in _COPY.findall(head.content):
        if table.decode() in _CODE4ME_TABLES:
            yield f"a dump by pg_dump with the table {table.decode()}"


def _realhumaneval(head: Head) -> Iterator[str]:
    names = {name.strip(' "\r') for name in head.text.partition("\n")[0].split(",")}
    if match := _first_within(_REALHUMANEVAL_COLUMNS, names):
        yield f"a CSV file with the columns {_listed(match)}"


def _cups(head: Head) -> Iterator[str]:
    if head.content.startswith(b"\x80") and b"pandas" in head.content:
        yield "a pickle of pandas data frames"


_LOOKS: Mapping[str, Callable[[Head], Iterator[str]]] = {
    "native": _native,
    "vscode_recording": _vscode_recording,
    "tabby": _tabby,
    "continue": _continue,
    "zed": _zed,
    "code4me": _code4me,
    "realhumaneval": _realhumaneval,
    "cups": _cups,
}


def _first_within(choices: Sequence[set[str]], names: Mapping[str, Any] | set[str]) -> set[str] | None:
    return next((choice for choice in choices if choice <= set(names)), None)


def _listed(names: set[str]) -> str:
    *most, last = sorted(names)
    return f"{', '.join(most)} and {last}"


def _begun(text: str) -> dict[str, Any]:
    """Return the object that a text begins with; of one that is cut short or damaged, what stands before that."""
    text = text.lstrip()
    try:
        value, _ = json.JSONDecoder().raw_decode(text)
    except json.JSONDecodeError as error:
        value = _closed(text[: error.pos])
    except (ValueError, RecursionError):  # a number of thousands of digits, thousands of nested lists
        return {}
    return value if isinstance(value, dict) else {}


def _closed(text: str) -> Any:
    """Return the beginning of a JSON value as a value: all up to the last comma, and the brackets closed."""
    open_brackets: list[str] = []
    end, closers = 0, ""
    for token in _JSON_TOKEN.finditer(text):
        sign = token[0]
        if sign in _CLOSERS:
            open_brackets.append(_CLOSERS[sign])
        elif sign in ("}", "]") and open_brackets:
            open_brackets.pop()
        elif sign == ",":
            end, closers = token.start(), "".join(reversed(open_brackets))
    try:
        return json.loads(text[:end] + closers)
    except (ValueError, RecursionError):
        return None
