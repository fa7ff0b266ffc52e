"""The pickle of the CUPS study of Copilot users, made into the experience log: a list of data frames, one a session.

`docs/importing/cups.md` has the rules in full. What does not live here: reading the pickle (`cups_pickle.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from echo_dagster import utf16
from echo_dagster.acquisition import times
from echo_dagster.acquisition.cups_pickle import Forbidden, NoFrames, frames
from echo_dagster.acquisition.languages import language_of
from echo_dagster.acquisition.lines import whole
from echo_dagster.acquisition.places import document as document_name
from echo_dagster.acquisition.records import Bad, Record, stable_id
from echo_dagster.settings import Source

#: A pickle is read whole; a larger one is refused.
MAX_FILE_BYTES = 64 * 1024 * 1024

_NEEDED = ("UserId", "TimeGenerated", "StateName", "CurrentSuggestion", "CurrentPrompt")

#: A proposal drawn again as the user types, and a look at its alternatives: no new proposals.
_IGNORED = ("Replay", "Browsing")
_DECISIONS = {"Accepted": "accepted", "Rejected": "rejected"}

#: Copilot put the file's name before the text in front of the cursor.
_PATH = re.compile(r"(?:#|//) Path: ([^\n]+)\n")

#: Copilot cut longer prompts at their head.
_WHOLE_UNITS = 4_000


def read(path: Path, source: Source) -> Iterator[Record | Bad]:
    """Yield the events of all sessions; lines are rows of the frames one after the other, counted from 1.

    Reasons of `Bad`: `file_too_large`, `forbidden_pickle`, `malformed_pickle`, `truncated_file`,
    `unreadable_file`, `missing_column`, `missing_field`, `wrong_type`, `bad_timestamp`, `unknown_state`,
    `context_unknown`, `completion_unknown`.
    """
    content = whole(path, MAX_FILE_BYTES, "a pickle")
    if isinstance(content, Bad):
        yield content
        return
    if not content:
        return  # an empty file holds no sessions
    try:
        sessions = frames(content)
    except Forbidden as error:
        yield Bad(0, "forbidden_pickle", str(error))
        return
    except NoFrames as error:
        yield Bad(0, "malformed_pickle", str(error))
        return
    line = 0
    for number, rows in enumerate(sessions):
        session = _Session(number)
        for row_number, row in enumerate(rows):
            line += 1
            if row.get("StateName") in _IGNORED:
                continue
            reason, detail = _problem(row)
            yield Bad(line, reason, detail) if reason else session.event(line, row_number, row)


def _problem(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return why a row is no event, as a reason and a detail; both are empty where it is one."""
    problem = "", ""
    if missing := [name for name in _NEEDED if name not in row]:
        problem = "missing_column", ", ".join(missing)
    elif row["StateName"] not in ("Shown", *_DECISIONS):  # a tuple: the value can be anything
        problem = "unknown_state", "StateName is none of the study's"
    elif not isinstance(row["UserId"], str):
        problem = "wrong_type", "UserId: expected a text"
    elif times.parsed(row["TimeGenerated"]) is None:
        problem = "bad_timestamp", "TimeGenerated is not an ISO 8601 time"
    elif _text(row["CurrentPrompt"]) is None or _text(row["CurrentSuggestion"]) is None:
        problem = "wrong_type", "CurrentPrompt, CurrentSuggestion: expected texts"
    return problem


class _Session:
    """One session, row by row: what is being edited, and the proposal that a decision is about."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._document = f"session-{number:02}.py"  # until a prompt names the file
        self._shown: str | None = None

    def event(self, line: int, number: int, row: Mapping[str, Any]) -> Record | Bad:
        """Return the event of a row in which `_problem` finds nothing wrong; `number` is its place in the session."""
        state, user, task = row["StateName"], row["UserId"], row.get("Task")
        fields: dict[str, Any] = {
            "event_id": stable_id("cups", user, self._number, number, state),
            "ts": times.parsed(row["TimeGenerated"]),
            "seq": number,
            "user_id": user,
            "session_id": f"cups-{self._number:02}",
            "repository": task if isinstance(task, str) else None,
            "kind": _DECISIONS.get(state, "shown"),
        }
        if state == "Shown":
            prompt = _text(row["CurrentPrompt"]) or ""
            if match := _PATH.match(prompt):
                self._document = document_name(match[1].strip())
            prefix = prompt[match.end() :] if match else prompt
            # What is decided about a proposal without its context is not about the one before.
            self._shown = stable_id("cups", user, self._number, number) if prefix else None
            if not prefix:
                return Bad(line, "context_unknown", "the study kept no prompt")
            fields |= _shown(prefix, row)
        if self._shown is None:
            return Bad(line, "completion_unknown", "no proposal that it could be about")
        document = {"document": self._document, "language": language_of(self._document)}
        return Record(line, {**fields, **document, "completion_id": self._shown})


def _shown(prefix: str, row: Mapping[str, Any]) -> dict[str, Any]:
    units = utf16.length(prefix)
    return {
        "offset": units if units < _WHOLE_UNITS else None,
        "length": 0,
        "text": _text(row["CurrentSuggestion"]),
        "prefix": prefix,
        "suffix": "" if _ends_document(row.get("Measurements")) else None,
    }


def _text(value: object) -> str | None:
    """Return a text that the study keeps as a JSON text, or plainly; null where it is none."""
    if not isinstance(value, str):
        return None
    if not value.startswith('"'):
        return value
    try:
        text = json.loads(value)
    except ValueError:
        return value
    return text if isinstance(text, str) else None


def _ends_document(measurements: object) -> bool:
    """Say whether the cursor stood at the end of the document, which is all that is known of what followed it."""
    known = measurements if isinstance(measurements, dict) else {}
    end, length = known.get("promptEndPos"), known.get("documentLength")
    return isinstance(end, int | float) and isinstance(length, int | float) and end == length
