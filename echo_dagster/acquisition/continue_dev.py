"""Continue's development data: `dev_data/<schema>/<event>.jsonl`, and the same objects where Continue posts them.

A line is written when a proposal's fate is known, but bears the time at which the proposal was made, right before
it was displayed. `docs/importing/continue.md` has the rules in full.

What does not live here: taking the document out of a prompt (`continue_prompts.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from echo_dagster import utf16
from echo_dagster.acquisition import continue_prompts, places
from echo_dagster.acquisition.fields import Unusable, milliseconds, moment, optional, required
from echo_dagster.acquisition.languages import language_of
from echo_dagster.acquisition.lines import objects
from echo_dagster.acquisition.records import Bad, Record, stable_id
from echo_dagster.acquisition.vscode_steps import is_text, trim
from echo_dagster.settings import Source

#: Events about chat, agents and cost: no completions.
_OTHER_FEATURES = frozenset(
    (
        "chatFeedback",
        "chatInteraction",
        "editInteraction",
        "editOutcome",
        "quickEdit",
        "tokensGenerated",
        "toolUsage",
    )
)

#: After so long, Continue takes a proposal for not accepted (`COUNT_COMPLETION_REJECTED_AFTER`).
_REJECTED_AFTER = timedelta(seconds=10)

_LINE_FEED = re.compile(r"\r?\n")


def read(path: Path, source: Source) -> Iterator[Record | Bad]:
    """Yield the events of a file, in its order.

    Reasons of `Bad`: those of `lines.objects`, and `missing_field`, `wrong_type`, `bad_timestamp`,
    `unknown_event`, `prompt_not_parted`, `place_unknown`.
    """
    event = path.name.partition(".")[0]
    for item in objects(path):
        if isinstance(item, Bad):
            yield item
        else:
            yield from expand(item, user=source.user, event=event if event in EVENTS else None)


def expand(item: Record, *, user: str | None = None, event: str | None = None) -> list[Record | Bad]:
    """Return the events that one object stands for; none where it is about something else.

    Args:
        item: the object, as a line of a file or the body of a post, and its line.
        user: whose log it is, where the object has no user id. Without, the machine stands for its user.
        event: what the object is about, where it does not say.
    """
    values = item.fields
    try:
        if isinstance(values.get("data"), dict) and isinstance(values.get("name"), str):  # a post
            values, event = values["data"], values["name"]
        name = optional(values, "eventName", str) or event or _guessed(values)
        if name in _OTHER_FEATURES:
            return []
        if name not in _READERS:
            raise Unusable("unknown_event", "eventName is none that is known")
        found = _READERS[name](values)
        who = optional(values, "userId", str) or user or optional(values, "uniqueId", str) or None
    except Unusable as bad:
        return [Bad(item.line, bad.reason, bad.detail)]
    return [
        Record(item.line, {**fields, "user_id": who, "session_id": "continue", "seq": seq})
        for seq, fields in enumerate(found)
    ]


def _guessed(values: dict[str, Any]) -> str | None:
    """Return what an object is about that does not say so, as schema 0.1.0 and file destinations leave it out."""
    for name, fields in (
        ("autocomplete", ("completionId", "prefix", "completion")),
        ("nextEditOutcome", ("completionId", "originalEditableRange", "completion")),
        ("nextEditWithHistory", ("fileURI", "beforeContent", "afterContent")),
    ):
        if all(field in values for field in fields):
            return name
    return None


def _autocomplete(values: dict[str, Any]) -> list[dict[str, Any]]:
    path = required(values, "filepath", str)
    prefix, suffix = continue_prompts.document_alone(
        required(values, "prefix", str), required(values, "suffix", str), path
    )
    # Continue cuts both to a number of tokens, and does not say how much it left out.
    shown = {
        "prefix": prefix,
        "suffix": suffix,
        "offset": None,
        "length": 0,
        "text": _with_line_ends(required(values, "completion", str), prefix + suffix),
    }
    repository = places.repository(values.get("gitRepo"))
    return _shown_and_decided(values, places.document(path), repository, shown)


def _next_edit(values: dict[str, Any]) -> list[dict[str, Any]]:
    path = required(values, "fileUri", str)
    where = continue_prompts.excerpt(required(values, "userExcerpts", str))
    old = required(values, "originalEditableRange", str)
    at = continue_prompts.find_lines(where, old)
    document = "\n".join(where.lines)
    new = _with_line_ends(required(values, "completion", str), document)
    if old.endswith("\r") and not new.endswith("\r"):
        new += "\r"  # half of the line end that stands after the replaced lines, and stays
    units, new_units = utf16.to_units(document), utf16.to_units(new)
    if not (is_text(units) and is_text(new_units)):
        raise Unusable("wrong_type", "userExcerpts or completion holds half of a surrogate pair")
    start = utf16.length("".join(f"{line}\n" for line in where.lines[:at]))
    start, end, inserted = trim(units, start, start + utf16.length(old), new_units)
    is_end_unknown = end == len(units) and not where.reaches_end
    if is_end_unknown and end > start:
        raise Unusable("place_unknown", "what follows the replaced lines is not known")
    cursor = optional(values, "cursorPosition", dict) or {}
    is_head_whole = where.cursor is not None and cursor.get("line") == where.cursor
    shown = {
        "prefix": utf16.from_units(units[:start]),
        "suffix": None if is_end_unknown else utf16.from_units(units[start:]),
        "offset": start if is_head_whole else None,
        "length": end - start,
        "text": utf16.from_units(inserted),
    }
    repository = places.repository(values.get("gitRepo")) or places.repository(values.get("workspaceDirUri"))
    return _shown_and_decided(values, places.document(path), repository, shown)


def _history(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the document as it was after a group of the user's edits."""
    ts = moment(values, "timestamp" if values.get("timestamp") is not None else "createdAt")
    path = required(values, "fileURI", str)
    after = required(values, "afterContent", str)
    # It has no id, and a post bears another time than the line of the file. What the model was told of other
    # files is of random length, and the same in both.
    told = [optional(values, name, str) for name in ("context", "beforeContent")]
    document = places.document(path)
    return [
        {
            "kind": "snapshot",
            "event_id": stable_id("continue", "history", path, after, *told),
            "ts": ts,
            "document": document,
            "repository": places.repository(values.get("workspaceDirURI")),
            "language": language_of(document),
            "prefix": after,
            "suffix": "",
        }
    ]


def _shown_and_decided(
    values: dict[str, Any], document: str, repository: str | None, shown: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return a proposal's showing and what became of it."""
    ts = moment(values, "timestamp")
    completion_id = required(values, "completionId", str)
    is_accepted = optional(values, "accepted", bool)
    is_aborted = optional(values, "aborted", bool)
    model = optional(values, "modelName", str)
    shared = {
        "completion_id": completion_id,
        "document": document,
        "repository": repository,
        "language": language_of(document),
    }
    latency = milliseconds(values.get("time", values.get("elapsed")))
    found = [{**shared, **shown, "kind": "shown", "ts": ts, "model": model or None, "latency_ms": latency}]
    if is_accepted:
        found.append({**shared, "kind": "accepted", "ts": _logged(values, ts) or ts})
    elif is_aborted:
        found.append({**shared, "kind": "rejected", "reason": "superseded", "ts": _logged(values, ts) or ts})
    elif is_accepted is not None:
        rejected_at = _logged(values, ts) or ts + _REJECTED_AFTER
        found.append({**shared, "kind": "rejected", "reason": "timeout", "ts": rejected_at})
    return [{**fields, "event_id": stable_id("continue", completion_id, fields["kind"])} for fields in found]


def _logged(values: dict[str, Any], shown_at: datetime) -> datetime | None:
    """Return when a line was written, which some versions tell apart from when its proposal was made."""
    if values.get("createdAt") is None:
        return None
    logged = moment(values, "createdAt")
    return logged if logged >= shown_at else None


def _with_line_ends(text: str, document: str) -> str:
    """Return a proposal with the line ends of its document, as the editor inserts it."""
    return _LINE_FEED.sub("\r\n", text) if "\r\n" in document else text


_READERS = {
    "autocomplete": _autocomplete,
    "nextEditOutcome": _next_edit,
    "nextEditWithHistory": _history,
    "nextEdit": _history,  # its first name
}
#: Every event that Continue is known to log.
EVENTS = _OTHER_FEATURES | _READERS.keys()
