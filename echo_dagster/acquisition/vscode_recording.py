"""`workspaceRecording@1.0`, the log of VS Code's and Copilot's workspace recorder, made into the experience
log.

One file is one JSON document, and one session. Each step of its replay (`vscode_replay.py`) becomes one event
or several: a change with several edits is several `edited` events, last position first. The order of the log
is the order of the events; times are lowered or raised where the recorder wrote them late. What the recorder
does not say, such as a rejection, is not made up. `docs/importing/vscode_recording.md` has the rules in full.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any

from echo_dagster import utf16
from echo_dagster.acquisition import vscode_accepts
from echo_dagster.acquisition.languages import language_of
from echo_dagster.acquisition.lines import CODECS, whole
from echo_dagster.acquisition.places import document as document_name
from echo_dagster.acquisition.places import repository as repository_name
from echo_dagster.acquisition.records import Bad, Record, stable_id
from echo_dagster.acquisition.vscode_accepts import Accept
from echo_dagster.acquisition.vscode_replay import LAST_TIME_MS, replay
from echo_dagster.acquisition.vscode_steps import Change, Closed, Cursor, Proposal, Snapshot, Step
from echo_dagster.settings import Source

#: A recording is read whole; a larger one is refused.
MAX_FILE_BYTES = 1024**3

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: VS Code's words for why a change happened, in ours; any other is `other`, none at all stays null.
_REASONS = {
    **dict.fromkeys(vscode_accepts.ACCEPTS, "accept"),
    "snippet": "snippet",
    "formatEditsCommand": "format",
    "undo": "undo",
    "redo": "redo",
    "type": "typing",
    "paste": "paste",
    "Chat.applyEdits": "agent",
    "inlineChat.applyEdit": "agent",
}


@dataclass(frozen=True)
class _Session:
    id: str
    user: str
    repository: str | None


def read(path: Path, source: Source) -> Iterator[Record | Bad]:
    """Yield the events of a recording; lines are entries of its log, counted from 1.

    Reasons of `Bad`: `file_too_large`, `unreadable_file`, `bad_encoding`, `malformed_json`, `truncated_file`,
    `missing_field`, `wrong_type`, `bad_timestamp`, `impossible_offset`, `document_unknown`, `stale_proposal`,
    `fetch_without_start`, `reason_without_change`, `unmatched_accept`.
    """
    log = _load(path)
    if isinstance(log, Bad):
        yield log
        return
    session = _session(log, path)
    accepts = vscode_accepts.find(replay(log))
    times = _times(replay(log))
    taken = {accept.fetch: accept.choice for accept in accepts.values() if accept is not None}
    seq = 0
    for step in replay(log):
        if isinstance(step, Bad):
            yield step
            continue
        if isinstance(step, Change) and accepts.get(step.entry, ...) is None:
            yield Bad(
                step.entry + 1, "unmatched_accept", "no proposal shown before explains the accepted text"
            )
        document = document_name(step.document)
        for number, fields in enumerate(_fields(step, session, accepts.get(step.entry), taken, source)):
            fields |= {
                "event_id": stable_id(session.id, step.entry, number),
                "ts": _EPOCH + timedelta(milliseconds=times[step.entry]),
                "seq": seq,
                "user_id": source.user or session.user,
                "session_id": session.id,
                "document": document,
                "repository": source.repository or session.repository,
                "language": language_of(document),
            }
            seq += 1
            yield Record(step.entry + 1, fields)


def _fields(
    step: Step,
    session: _Session,
    accept: Accept | None,
    taken: Mapping[int, int],
    source: Source,
) -> Iterator[dict[str, Any]]:
    """Yield what is particular to each event of a step."""
    match step:
        case Snapshot():
            yield {"kind": "snapshot", "prefix": utf16.from_units(step.text), "suffix": ""}
        case Cursor():
            yield {"kind": "cursor", "offset": step.offset, "length": step.length}
        case Closed():
            yield {"kind": "closed"}
        case Proposal():
            # The editor shows the first, unless an accept tells of another.
            choice = step.choices[taken.get(step.fetch, 0)]
            yield {
                "kind": "shown",
                "completion_id": stable_id(session.id, step.fetch, "proposal"),
                "model": source.model or choice.source,
                "offset": choice.start,
                "length": choice.end - choice.start,
                "text": utf16.from_units(choice.text),
                "prefix": utf16.from_units(step.text[: choice.start]),
                "suffix": utf16.from_units(step.text[choice.start :]),
                "latency_ms": step.latency_ms,
            }
        case Change():
            edits = accept.edits if accept is not None else step.edits
            reason = None if step.reason is None else _REASONS.get(step.reason, "other")
            for edit in edits:
                yield {
                    "kind": "edited",
                    "offset": edit.start,
                    "length": edit.end - edit.start,
                    "text": utf16.from_units(edit.text),
                    "reason": reason,
                }
            if accept is not None:
                yield {
                    "kind": "accepted",
                    "completion_id": stable_id(session.id, accept.fetch, "proposal"),
                    "text": utf16.from_units("".join(edit.text for edit in reversed(edits)))
                    if accept.is_partial
                    else None,
                }


def _load(path: Path) -> list[Any] | Bad:
    """Return the entries of a recording, or what is wrong with the file. An empty file has no entries."""
    data = whole(path, MAX_FILE_BYTES, "a recording")
    if isinstance(data, Bad):
        return data
    content = ""
    try:
        content = data.decode("utf-8-sig").strip()
        del data
        recording = json.loads(content) if content else {"log": []}
        if isinstance(recording, dict) and isinstance(recording.get("log"), list):
            return recording["log"]
        reason, detail = "missing_field", "log: expected an object with a list of entries"
    except UnicodeDecodeError as error:
        reason, detail = "bad_encoding", f"byte {error.start} is not UTF-8"
    except json.JSONDecodeError as error:
        ends_early = error.pos >= len(content) or error.msg.startswith("Unterminated")
        reason = "truncated_file" if ends_early else "malformed_json"
        detail = f"not JSON from character {error.pos}"
    except (ValueError, RecursionError):
        reason, detail = "malformed_json", "a number too long or a nesting too deep to be a recording"
    return Bad(0, reason, detail)


def _session(log: Sequence[Any], path: Path) -> _Session:
    """Return who and where: from the header, or an older recording's `meta`, else the file's name."""
    for entry in log:
        if not isinstance(entry, dict):
            continue
        if entry.get("kind") == "header" and isinstance(entry.get("uuid"), str):
            return _Session(entry["uuid"], entry["uuid"], repository_name(entry.get("repoRootUri")))
        data = entry.get("data")
        if entry.get("kind") == "meta" and isinstance(data, dict) and isinstance(data.get("uuid"), str):
            # Several recordings can be cut from one log: `opStart` tells them apart.
            identity = f"{data['uuid']}-{data['opStart']}" if "opStart" in data else data["uuid"]
            return _Session(identity, data["uuid"], repository_name(data.get("repoRootUri")))
    name = path.stem if path.suffix.lower() in CODECS else path.name  # compressed or not, it is the same log
    identity = "file-" + blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    return _Session(identity, identity, None)


def _times(steps: Iterator[Step | Bad]) -> dict[int, int]:
    """Return the time of each entry, such that in every document no step is earlier than the one before it.

    The order of the log is the truth. The recorder stamps a content when it comes to write it, so that edits
    can bear an earlier time: the content's time is lowered to the next step's. Any other late stamp is
    raised.
    """
    by_document: dict[str, list[tuple[int, int, bool]]] = {}
    for step in steps:
        if not isinstance(step, Bad):
            stamp = step.entry, step.time, isinstance(step, Snapshot)
            by_document.setdefault(step.document, []).append(stamp)
    times = {}
    for stamps in by_document.values():
        lowered, following = [], LAST_TIME_MS
        for entry, time, is_snapshot in reversed(stamps):
            following = min(following, time) if is_snapshot else time
            lowered.append((entry, following))
        latest = 0
        for entry, time in reversed(lowered):
            latest = max(latest, time)
            times[entry] = latest
    return times
