"""The steps of a replayed `workspaceRecording@1.0`, and the text arithmetic that they share.

Texts and offsets are in UTF-16 units (`utf16.to_units`): one character is one unit, slices are exact. What
does not live here: where steps come from (`vscode_replay.py`) and what becomes of them
(`vscode_recording.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from echo_dagster import utf16
from echo_dagster.text import shared_head


@dataclass(frozen=True)
class Edit:
    """The units from `start` to before `end` give way to `text`."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Choice(Edit):
    """One result of a fetch, trimmed to what it changes."""

    source: str | None


@dataclass(frozen=True)
class Step:
    """Something that happened in a document. `entry` counts from 0 in the log; `time` is ms since 1970."""

    entry: int
    document: str
    time: int


@dataclass(frozen=True)
class Snapshot(Step):
    """The whole content became known."""

    text: str


@dataclass(frozen=True)
class Change(Step):
    """Edits that happened at once, last position first: in this order they turn `before` into `after`."""

    before: str
    after: str
    edits: tuple[Edit, ...]
    reason: str | None  # in VS Code's words


@dataclass(frozen=True)
class Cursor(Step):
    """The first selection: its active end and its length."""

    offset: int
    length: int


@dataclass(frozen=True)
class Proposal(Step):
    """A fetch ended with results while the document, `text`, still stood at the version asked about."""

    text: str
    choices: tuple[Choice, ...]
    fetch: int  # the entry that started it
    latency_ms: int | None  # how long it took


@dataclass(frozen=True)
class Closed(Step):
    """The document was closed."""


def trim(text: str, start: int, end: int, new: str) -> tuple[int, int, str]:
    """Leave out what a replacement of `text[start:end]` by `new` keeps: its head first, then its tail.

    Tools replace the whole line so far to insert at the cursor; what is left begins where the new code
    begins.
    """
    old = text[start:end]
    head = shared_head(old, new)
    if head and _is_high(old[head - 1]):
        head -= 1  # never part the halves of a surrogate pair
    old, new = old[head:], new[head:]
    tail = shared_head(old[::-1], new[::-1])
    if tail and _is_low(old[-tail]):
        tail -= 1
    return start + head, end - tail, new[: len(new) - tail]


def is_text(units: str) -> bool:
    """Say whether every half of a surrogate pair has its other half."""
    try:
        utf16.from_units(units)
    except ValueError:
        return False
    return True


def _is_high(unit: str) -> bool:
    return "\ud800" <= unit <= "\udbff"


def _is_low(unit: str) -> bool:
    return "\udc00" <= unit <= "\udfff"


def parts_pair(text: str, offset: int) -> bool:
    """Say whether an offset lies between the halves of a surrogate pair."""
    return 0 < offset < len(text) and _is_high(text[offset - 1]) and _is_low(text[offset])
