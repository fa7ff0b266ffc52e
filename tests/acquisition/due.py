"""Which lines of a log must end as an event or in quarantine, told from the bytes alone, without the importers' code.

Left out are lines that a page of docs/importing/ says give nothing: other features, the same proposal drawn again.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

CONTINUE_OTHERS = {
    "chatFeedback",
    "chatInteraction",
    "editInteraction",
    "editOutcome",
    "quickEdit",
    "tokensGenerated",
    "toolUsage",
}
SUGGESTED = {
    "programmer_id",
    "task_name",
    "timestamp",
    "model",
    "prefix_code",
    "suffix_code",
    "suggestion",
    "accepted",
}
#: Entries of a recording that always give something; a change may change nothing, a cursor be nowhere.
RECORDED = ("setContent", "restoreContent", "closed")


def due(importer: str, name: str, content: bytes) -> set[int]:
    """Return the numbers of the lines that must not be lost; for a file that is no text, none."""
    if not content.strip(b" \t\r\n\x0b\x0c\xef\xbb\xbf"):
        return set()
    suffix = name.rpartition(".")[2]
    if importer == "zed" and suffix in ("json", "md"):
        return {1}
    if importer == "vscode_recording":
        return _of_recording(content)
    if suffix in ("pkl", "parquet"):
        return set()
    if suffix in ("sql", "csv"):
        return _of_dump(content) if suffix == "sql" else _of_csv(content)
    is_silent = _SILENT.get(importer, lambda fields, name: False)
    return {number for number, line in _lines(content) if not is_silent(_fields(line), name)}


def _lines(content: bytes) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if line.strip():
            yield number, line


def _fields(line: bytes) -> dict[str, Any]:
    """Return the object of a line, of a name that stands there twice the first; empty where there is none."""
    try:
        value = json.loads(line.decode("utf-8"), object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _is_silent_for_tabby(fields: dict[str, Any], name: str) -> bool:
    event = fields.get("event")
    if not isinstance(event, dict) or len(event) != 1:
        return False
    ((kind, told),) = event.items()
    is_line = kind == "select" and isinstance(told, dict) and told.get("kind") == "line"
    return kind in ("chat_completion", "view") or is_line


def _is_silent_for_continue(fields: dict[str, Any], name: str) -> bool:
    names = (fields.get("eventName"), fields.get("name"), name.partition(".")[0])
    data = fields.get("data")
    inner = data.get("eventName") if isinstance(data, dict) else None
    return any(isinstance(one, str) and one in CONTINUE_OTHERS for one in (*names, inner))


_SILENT: dict[str, Callable[[dict[str, Any], str], bool]] = {
    "tabby": _is_silent_for_tabby,
    "continue": _is_silent_for_continue,
}


def _of_recording(content: bytes) -> set[int]:
    try:
        text = content.decode("utf-8-sig").strip()
        recording = json.loads(text or '{"log": []}')
    except (ValueError, RecursionError):
        return {0}
    log = recording.get("log") if isinstance(recording, dict) else None
    if not isinstance(log, list):
        return {0}
    kinds = [entry.get("kind") if isinstance(entry, dict) else None for entry in log]
    return {
        number for number, kind in enumerate(kinds, start=1) if not isinstance(kind, str) or kind in RECORDED
    }


def _of_dump(content: bytes) -> set[int]:
    """Return the rows of generations and of ground truth, in blocks whose heads are whole."""
    if b"chat" in content:
        return set()
    found, is_inside = set(), False
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        head = re.fullmatch(rb'COPY \w+\."?(\w+)"? \([\w", ]*\) FROM stdin;\r?', line)
        if head:
            is_inside = head[1] in (b"had_generation", b"ground_truth")
        elif line.rstrip(b"\r") == b"\\.":
            is_inside = False
        elif is_inside and line.strip():
            found.add(number)
    return found


def _of_csv(content: bytes) -> set[int]:
    """Return where records begin, of suggestions alone: a programmer may have no saved states."""
    rows = list(_rows(content))
    columns = {name.removeprefix("\ufeff").strip() for name in rows[0][1]} if rows else set()
    if "code_history" in columns:
        return set()
    is_whole = columns >= SUGGESTED and not any("\udc80" <= sign <= "\udcff" for sign in "".join(columns))
    return {begins for begins, _ in (rows[1:] if is_whole else rows[:1])}


def _rows(content: bytes) -> Iterator[tuple[int, list[str]]]:
    """Yield where each record begins, and its fields; none of one that is no CSV. Blank lines are passed over."""
    reader = csv.reader(io.StringIO(content.decode("utf-8", "surrogateescape"), newline=""), strict=True)
    while True:
        begins = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield begins, []
        else:
            if row:
                yield begins, row
