"""Replays a `workspaceRecording@1.0` log: from its entries to steps that hold the document before and after.

Damage is found here: an entry without its fields, an offset outside its document. A document that can no
longer be known stays unknown until the log gives its whole content again. What does not live here: which
proposal an accept took (`vscode_accepts.py`), and how steps become events (`vscode_recording.py`).

Texts and offsets are in UTF-16 units (`utf16.to_units`): one character is one unit, slices are exact.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from echo_dagster import utf16
from echo_dagster.acquisition.fields import milliseconds
from echo_dagster.acquisition.records import Bad
from echo_dagster.acquisition.vscode_steps import (
    Change,
    Choice,
    Closed,
    Cursor,
    Edit,
    Proposal,
    Snapshot,
    Step,
    is_text,
    parts_pair,
    trim,
)

FETCH = "InlineCompletions.fetch"
CHANGE_REASON = "TextModel.setChangeReason"

#: Milliseconds since 1970 that a calendar can hold (the year 9999).
LAST_TIME_MS = 253_402_300_799_999
_LINE_END = re.compile("\r\n|\n|\r")
_RANGE = re.compile(r"\[(\d{1,9}),(\d{1,9}) -> (\d{1,9}),(\d{1,9})\]")


@dataclass
class _Document:
    path: str
    text: str | None = None  # None: unknown
    version: int = 0
    selection: tuple[int, int] = (0, 0)


@dataclass
class _State:
    reasons: Mapping[int, str | None]
    documents: dict[int, _Document] = field(default_factory=dict)
    contents: dict[str, str] = field(default_factory=dict)
    fetches: dict[int, tuple[int, int, int]] = field(
        default_factory=dict
    )  # request -> entry, document, version


class _Unusable(Exception):
    """An entry that cannot be used; its arguments are a reason and a detail."""


def replay(log: Sequence[Any]) -> Iterator[Step | Bad]:
    """Yield the steps of a log, and what in it could not be used; lines are entries counted from 1.

    Entries of unknown kinds are ignored, as the format adds kinds.
    """
    state = _State(change_reasons(log))
    for index, entry in enumerate(log):
        try:
            if not isinstance(entry, dict) or not isinstance(entry.get("kind"), str):
                raise _Unusable("missing_field", "kind")
            read = _KINDS.get(entry["kind"])
            step = None if read is None else read(state, index, entry)
        except _Unusable as bad:
            reason, detail = bad.args
            yield Bad(index + 1, reason, detail)
            continue
        if step is not None:
            yield step


def change_reasons(log: Sequence[Any]) -> dict[int, str | None]:
    """Return why changes happened: the source of a reason by the entry of its change, and None by its own
    entry.

    VS Code writes the reason after the change, and after the cursor's move; a reason before its change is
    found too.
    """
    reasons: dict[int, str | None] = {}
    last: dict[Any, tuple[int, Any]] = {}
    waiting: dict[Any, tuple[int, str]] = {}
    for index, entry in enumerate(log):
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), int):
            continue
        document, data = entry["id"], entry.get("data")
        if entry.get("kind") == "changed" and isinstance(entry.get("v"), int):
            last[document] = index, entry["v"]
            if (document, entry["v"]) in waiting:
                reason_entry, source = waiting.pop((document, entry["v"]))
                reasons |= {reason_entry: None, index: source}
        elif (
            isinstance(data, dict)
            and data.get("sourceId") == CHANGE_REASON
            and isinstance(data.get("v"), int)
        ):
            source = str(data.get("source"))
            if document in last and last[document][1] == data["v"]:
                reasons |= {index: None, last[document][0]: source}
            else:
                waiting[document, data["v"]] = index, source
    return reasons


def _encountered(state: _State, index: int, entry: dict[str, Any]) -> None:
    path = _get(entry, "relativePath", str)
    if "\0" in path or not is_text(path):
        raise _Unusable("wrong_type", "documentEncountered: relativePath is no path")
    known = state.documents.setdefault(_get(entry, "id", int), _Document(path))
    known.path = path


def _content(state: _State, index: int, entry: dict[str, Any]) -> Snapshot:
    if entry["kind"] == "setContent":
        text = utf16.to_units(_get(entry, "content", str))
        if not is_text(text):
            raise _Unusable("wrong_type", "setContent: content holds half of a surrogate pair")
    else:
        stored = state.contents.get(_get(entry, "contentId", str))
        if stored is None:
            raise _Unusable("document_unknown", "restoreContent: nothing was stored under this contentId")
        text = stored
    document = _document(state, entry)
    time = _time(entry)
    document.text, document.version, document.selection = text, _version(entry, 0), (0, 0)
    return Snapshot(index, document.path, time, text)


def _store(state: _State, index: int, entry: dict[str, Any]) -> None:
    document = _document(state, entry)
    state.contents[_get(entry, "contentId", str)] = _known(document, entry)


def _changed(state: _State, index: int, entry: dict[str, Any]) -> Change:
    document = _document(state, entry)
    before = _known(document, entry)
    document.text = None  # until the change is known to be whole
    edits = _edits(entry, before)
    time = _time(entry)
    after = before
    for edit in edits:
        after = after[: edit.start] + edit.text + after[edit.end :]
    document.text, document.version = after, _version(entry, document.version + 1)
    return Change(index, document.path, time, before, after, edits, state.reasons.get(index))


def _edits(entry: dict[str, Any], before: str) -> tuple[Edit, ...]:
    """Return the edits of an entry, trimmed, last position first. All offsets are against the text before."""
    found = []
    for item in _get(entry, "edit", list):
        if not (isinstance(item, list) and len(item) == 3 and isinstance(item[2], str)):
            raise _Unusable("wrong_type", "changed: an edit is [start, end, text]")
        start, end = item[0], item[1]
        if not (_is_whole(start) and _is_whole(end)):
            raise _Unusable("wrong_type", "changed: an edit's offsets are whole numbers")
        new = utf16.to_units(item[2])
        if not is_text(new):
            raise _Unusable("wrong_type", "changed: the text holds half of a surrogate pair")
        if not 0 <= start <= end <= len(before) or parts_pair(before, start) or parts_pair(before, end):
            raise _Unusable(
                "impossible_offset", f"changed: [{start}, {end}) in a document of {len(before)} units"
            )
        found.append(Edit(start, end, new))
    found.sort(key=lambda edit: (edit.start, edit.end))  # stable: insertions at one offset keep their order
    for one, other in itertools.pairwise(found):
        if other.start < one.end:
            raise _Unusable("impossible_offset", "changed: edits overlap")
    return tuple(Edit(*trim(before, edit.start, edit.end, edit.text)) for edit in reversed(found))


def _selected(state: _State, index: int, entry: dict[str, Any]) -> Cursor | None:
    document = _document(state, entry)
    text = _known(document, entry)
    selection = _get(entry, "selection", list)
    if not selection:
        return None  # no editor shows the document: the cursor is nowhere
    first = selection[0]
    if not (isinstance(first, list) and len(first) == 2 and _is_whole(first[0]) and _is_whole(first[1])):
        raise _Unusable("wrong_type", "selectionChanged: a selection is [start, end]")
    start, end = min(first), max(first)
    if not 0 <= start <= end <= len(text):
        raise _Unusable(
            "impossible_offset", f"selectionChanged: [{start}, {end}) in a document of {len(text)} units"
        )
    # The format does not say which end is active: the one that moved is.
    active = start if end in document.selection and start != end else end
    document.selection = start, end
    return Cursor(index, document.path, _time(entry), active, end - start)


def _closed(state: _State, index: int, entry: dict[str, Any]) -> Closed:
    return Closed(index, _document(state, entry).path, _time(entry))


def _document_event(state: _State, index: int, entry: dict[str, Any]) -> None:
    data = _get(entry, "data", dict)
    if data.get("sourceId") == FETCH and data.get("kind") == "start":
        document = _get(entry, "id", int)
        known = state.documents.get(document)
        asked = _version(data, known.version if known is not None else 0)
        state.fetches[_get(data, "requestId", int)] = index, document, asked
    elif data.get("sourceId") == CHANGE_REASON and index not in state.reasons:
        raise _Unusable("reason_without_change", "setChangeReason: no change to this version")


def _event(state: _State, index: int, entry: dict[str, Any]) -> Proposal | None:
    data = _get(entry, "data", dict)
    if data.get("sourceId") != FETCH or data.get("kind") != "end":
        return None
    started = state.fetches.pop(_get(data, "requestId", int), None)
    results = data.get("result")
    if not results:
        return None
    if started is None:
        raise _Unusable("fetch_without_start", "the log does not say which document was asked about")
    fetch, number, asked = started
    document = state.documents.get(number)
    if document is None or document.text is None:
        raise _Unusable("document_unknown", "a proposal for a document whose content is not known")
    if document.version != asked:
        raise _Unusable(
            "stale_proposal", f"version {asked} was asked about, the document stands at {document.version}"
        )
    if not isinstance(results, list):
        raise _Unusable("wrong_type", "result is no list")
    choices = tuple(_choice(result, document.text) for result in results)
    latency = milliseconds(data.get("durationMs"))
    return Proposal(index, document.path, _time(entry), document.text, choices, fetch, latency)


def _choice(result: Any, text: str) -> Choice:
    if not isinstance(result, dict):
        raise _Unusable("wrong_type", "a result is no object")
    numbers = _RANGE.fullmatch(_get(result, "range", str))
    if numbers is None:
        raise _Unusable("wrong_type", "a result's range is [line,column -> line,column]")
    new = utf16.to_units(_get(result, "text", str))
    if not is_text(new):
        raise _Unusable("wrong_type", "a result's text holds half of a surrogate pair")
    if (line_end := _LINE_END.search(text)) is not None:
        new = _LINE_END.sub(line_end[0], new)  # as the editor does when it inserts
    lines = [0, *(match.end() for match in _LINE_END.finditer(text))]
    line, column, last_line, last_column = map(int, numbers.groups())
    start, end = _offset(text, lines, line, column), _offset(text, lines, last_line, last_column)
    if start > end or parts_pair(text, start) or parts_pair(text, end):
        raise _Unusable("impossible_offset", "a result's range is no range of the document")
    source = result.get("source")
    return Choice(*trim(text, start, end, new), source if isinstance(source, str) else None)


def _offset(text: str, lines: Sequence[int], line: int, column: int) -> int:
    """Return the offset of a line and column, both counted from 1."""
    if not 1 <= line <= len(lines):
        raise _Unusable("impossible_offset", f"line {line} in a document of {len(lines)} lines")
    start = lines[line - 1]
    stop = len(text[start : lines[line]].rstrip("\r\n")) + start if line < len(lines) else len(text)
    if not 1 <= column <= stop - start + 1:
        raise _Unusable("impossible_offset", f"column {column} in a line of {stop - start} units")
    return start + column - 1


def _document(state: _State, entry: dict[str, Any]) -> _Document:
    document = state.documents.get(_get(entry, "id", int))
    if document is None:
        raise _Unusable("document_unknown", f"{entry['kind']}: no documentEncountered names this id")
    return document


def _known(document: _Document, entry: dict[str, Any]) -> str:
    if document.text is None:
        raise _Unusable("document_unknown", f"{entry['kind']}: the document's content is not known here")
    return document.text


def _get(entry: dict[str, Any], name: str, kind: type) -> Any:
    value = entry.get(name)
    if value is None:
        raise _Unusable("missing_field", name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _Unusable("wrong_type", f"{name} is {type(value).__name__}, expected {kind.__name__}")
    return value


def _version(entry: dict[str, Any], default: int) -> int:
    return default if entry.get("v") is None else int(_get(entry, "v", int))


def _time(entry: dict[str, Any]) -> int:
    value = _get(entry, "time", int)
    if not 0 <= value <= LAST_TIME_MS:
        raise _Unusable("bad_timestamp", "time is outside the calendar")
    return int(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_KINDS = {
    "documentEncountered": _encountered,
    "setContent": _content,
    "restoreContent": _content,
    "storeContent": _store,
    "changed": _changed,
    "selectionChanged": _selected,
    "closed": _closed,
    "documentEvent": _document_event,
    "event": _event,
}
