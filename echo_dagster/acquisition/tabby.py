"""Tabby's event files, `events/YYYY-MM-DD.json`: what the server was asked, and what became of its answers.

A `completion` holds the request's context; `view`, `select` and `dismiss` name it by its id, mostly within seconds.
They are joined to the newest completions of the file, as many as fit in `MEMORY_CHARS`.
`docs/importing/tabby.md` has the rules in full.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from echo_dagster.acquisition import places
from echo_dagster.acquisition.fields import Unusable, moment, optional, required
from echo_dagster.acquisition.languages import language_of
from echo_dagster.acquisition.lines import objects
from echo_dagster.acquisition.records import Bad, Record, stable_id
from echo_dagster.settings import Source

#: Characters of context that are kept for views and decisions to come: some 40,000 usual requests.
MEMORY_CHARS = 128 * 1024 * 1024
#: What a request takes beside its texts.
_OVERHEAD_CHARS = 1_000

_ABOUT_A_CHOICE = ("view", "select", "dismiss")
_OTHER_FEATURES = ("chat_completion",)

#: What the editor's "accept next line" inserts.
_LINE = re.compile(r"[^\n]*\n|[^\n]+")

#: Tabby's `elapsed` is an unsigned 32-bit number of milliseconds.
_MAX_ELAPSED_MS = 2**32 - 1


@dataclass
class Request:
    """A completion that the server was asked for. `shared` is what all its events have in common."""

    completion_id: str
    shared: dict[str, Any]
    prefix: str
    suffix: str | None
    choices: dict[int, str]
    shown: set[int] = field(default_factory=set)
    lines_taken: dict[int, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Its share of `MEMORY_CHARS`."""
        texts = (self.prefix, self.suffix or "", *self.choices.values())
        return sum(map(len, texts)) + _OVERHEAD_CHARS


class Requests:
    """The newest requests by their ids."""

    def __init__(self) -> None:
        self._by_id: OrderedDict[str, Request] = OrderedDict()
        self._chars = 0

    def add(self, request: Request) -> None:
        """Remember a request, and forget the oldest ones where that is too much."""
        if known := self._by_id.pop(request.completion_id, None):  # the same line once more
            self._chars -= known.size
            request.shown, request.lines_taken = known.shown, known.lines_taken
        self._by_id[request.completion_id] = request
        self._chars += request.size
        while self._chars > MEMORY_CHARS:
            _, oldest = self._by_id.popitem(last=False)
            self._chars -= oldest.size

    def find(self, completion_id: str) -> Request:
        """Return a request.

        Raises:
            Unusable: `completion_unknown`.
        """
        if completion_id not in self._by_id:
            raise Unusable("completion_unknown", "no usable completion with this id stands shortly before it")
        return self._by_id[completion_id]


def read(path: Path, source: Source) -> Iterator[Record | Bad]:
    """Yield the events of a file, in its order.

    Reasons of `Bad`: those of `lines.objects`, and `missing_field`, `wrong_type`, `bad_timestamp`,
    `unknown_event`, `no_segments`, `completion_unknown`, `choice_unknown`.
    """
    requests = Requests()
    for item in objects(path):
        if isinstance(item, Bad):
            yield item
        else:
            yield from expand(item, requests)


def expand(item: Record, requests: Requests) -> list[Record | Bad]:
    """Return the events that one entry of the log stands for; none where it says nothing new.

    Args:
        item: the JSON object, and its line.
        requests: the completions before it; a completion is added to them.
    """
    try:
        return [Record(item.line, {**fields, "seq": item.line}) for fields in _entry(item.fields, requests)]
    except Unusable as bad:
        return [Bad(item.line, bad.reason, bad.detail)]


def _entry(entry: dict[str, Any], requests: Requests) -> list[dict[str, Any]]:
    ts = moment(entry, "ts")
    event = required(entry, "event", dict)
    if len(event) != 1:
        raise Unusable("wrong_type", "event: expected one kind and its fields")
    name = next(iter(event))
    if name in _OTHER_FEATURES:
        return []
    if name == "completion":
        request = _request(entry, required(event, name, dict))
        requests.add(request)
        asked = {"event_id": stable_id("tabby", request.completion_id), "ts": ts}
        return [{**_context(request), **asked, "kind": "snapshot", "reason": "request"}]
    if name in _ABOUT_A_CHOICE:
        return _about_a_choice(name, ts, required(event, name, dict), requests)
    raise Unusable("unknown_event", f"none of completion, {', '.join(_ABOUT_A_CHOICE + _OTHER_FEATURES)}")


def _request(entry: dict[str, Any], event: dict[str, Any]) -> Request:
    completion_id = required(event, "completion_id", str)
    segments = optional(event, "segments", dict)
    if segments is None:
        raise Unusable("no_segments", "only the prompt was logged; what of it is the document is not known")
    choices = {}
    for choice in required(event, "choices", list):
        if not isinstance(choice, dict):
            raise Unusable("wrong_type", "choices: a choice is no object")
        choices[required(choice, "index", int)] = required(choice, "text", str)
    path = optional(segments, "filepath", str)
    language = optional(event, "language", str)
    # A document that has no name is one that no other request sees.
    document = places.document(path) if path else completion_id
    repository = places.repository(segments.get("git_url"))
    shared = {
        "user_id": optional(entry, "user", str) or optional(event, "user", str) or None,
        # Paths are relative to the repository: it tells apart those that are the same.
        "session_id": repository or "tabby",
        "document": document,
        "repository": repository,
        "language": language_of(document) if language in (None, "unknown") else language,
    }
    prefix, suffix = required(segments, "prefix", str), optional(segments, "suffix", str)
    return Request(completion_id, shared, prefix, suffix, choices)


def _context(request: Request) -> dict[str, Any]:
    # The editor sends some lines around the cursor, and does not say how many stand before them.
    return {**request.shared, "prefix": request.prefix, "suffix": request.suffix, "offset": None}


def _about_a_choice(
    name: str, ts: datetime, event: dict[str, Any], requests: Requests
) -> list[dict[str, Any]]:
    """Return a proposal's showing, where nothing before has told of it, and the user's decision."""
    request = requests.find(required(event, "completion_id", str))
    index = required(event, "choice_index", int)
    if index not in request.choices:
        raise Unusable("choice_unknown", "the completion has no choice of this index")
    shown_at = ts - _elapsed(event)
    decision = _decision(name, event, request, index)
    # Every answer so far has one choice. Of several, each is a proposal of its own.
    completion_id = request.completion_id if index == 0 else f"{request.completion_id}#{index}"
    found = []
    if index not in request.shown:
        request.shown.add(index)
        shown = {"kind": "shown", "completion_id": completion_id, "text": request.choices[index], "length": 0}
        at = {"event_id": stable_id("tabby", completion_id, "shown"), "ts": shown_at}
        found.append({**_context(request), **shown, **at})
    if decision is not None:
        unique = stable_id("tabby", completion_id, name, ts.isoformat())
        found.append(
            {
                **request.shared,
                **decision,
                "completion_id": completion_id,
                "event_id": unique,
                "ts": ts,
            }
        )
    return found


def _decision(name: str, event: dict[str, Any], request: Request, index: int) -> dict[str, Any] | None:
    """Return what is particular to an acceptance or rejection; none for a view, or where nothing is left to take."""
    if name == "view":
        return None
    if name == "dismiss":
        return {"kind": "rejected"}
    kind = optional(event, "kind", str)
    if kind is None:
        return {"kind": "accepted"}
    if kind != "line":
        raise Unusable("unknown_event", "select: kind is neither absent nor line")
    lines = _LINE.findall(request.choices[index])
    number = request.lines_taken.get(index, 0)
    if number >= len(lines):
        return None
    request.lines_taken[index] = number + 1
    return {"kind": "accepted", "text": lines[number]}


def _elapsed(event: dict[str, Any]) -> timedelta:
    """Return how long before this entry the proposal appeared."""
    elapsed = optional(event, "elapsed", int)
    return timedelta(milliseconds=elapsed if elapsed is not None and 0 <= elapsed <= _MAX_ELAPSED_MS else 0)
