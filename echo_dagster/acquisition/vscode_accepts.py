"""Which proposal an accept took. The log says that a change was an accept, never of what.

The criterion is the document itself: after the accept it must equal a document in which the proposal stood,
with the proposal applied. A user can type into a proposal before taking it, and edit elsewhere meanwhile, so
every document between showing and accepting is tried, with the proposal moved by the edits that stand clear
of it. The newest proposal comes first, as it is the one on the screen.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from echo_dagster.acquisition.records import Bad
from echo_dagster.acquisition.vscode_steps import Change, Choice, Closed, Edit, Proposal, Snapshot, Step

#: VS Code's words for a change that took a proposal, whole or in part.
ACCEPTS = ("inlineSuggestion.accept", "inlineCompletionAccept", "inlineCompletionPartialAccept")

#: How far back an accept is looked for, in changes and proposals of its document.
_REACH = 128
#: A partial accept is looked for inside a replaced text of at most so many units.
_MAX_REPLACED = 500


@dataclass(frozen=True)
class Accept:
    """What an accept took: the fetch that brought the proposal, and which of its choices."""

    fetch: int
    choice: int
    edits: tuple[Edit, ...]  # the change, written as the proposal has it where the two are the same
    is_partial: bool


def find(steps: Iterable[Step | Bad]) -> dict[int, Accept | None]:
    """Return what every accept took, by the entry of its change; None where no proposal explains it."""
    found: dict[int, Accept | None] = {}
    recent: defaultdict[str, deque[Proposal | Change]] = defaultdict(lambda: deque(maxlen=_REACH))
    for step in steps:
        if isinstance(step, Snapshot | Closed):
            recent.pop(step.document, None)
        elif isinstance(step, Proposal):
            recent[step.document].append(step)
        elif isinstance(step, Change):
            if step.reason in ACCEPTS:
                found[step.entry] = _taken(step, recent[step.document])
            recent[step.document].append(step)
    return found


def _taken(change: Change, recent: Sequence[Proposal | Change]) -> Accept | None:
    since: deque[Change] = deque()
    for step in reversed(recent):
        if isinstance(step, Change):
            since.appendleft(step)
            continue
        for number, choice in enumerate(step.choices):
            places = list(_places(choice, change, since))
            for start, end, text in reversed(places):
                if _is_whole(choice, start, end, text, change):
                    just_so = text is change.before and len(change.edits) == 1
                    edits = (Edit(start, end, choice.text),) if just_so else change.edits
                    return Accept(step.fetch, number, edits, is_partial=False)
            if any(_is_part(choice, start, end, text, change) for start, end, text in reversed(places)):
                return Accept(step.fetch, number, change.edits, is_partial=True)
    return None


def _places(choice: Choice, change: Change, since: Iterable[Change]) -> Iterator[tuple[int, int, str]]:
    """Yield where the choice stood, and in which document, from its showing until an edit touches it."""
    start, end = choice.start, choice.end
    for later in (*since, change):
        yield start, end, later.before
        for edit in later.edits:
            if start <= edit.end and edit.start <= end:
                return
            if edit.end < start:
                moved = len(edit.text) - (edit.end - edit.start)
                start, end = start + moved, end + moved


def _is_whole(choice: Choice, start: int, end: int, text: str, change: Change) -> bool:
    if len(text) - (end - start) + len(choice.text) != len(change.after):
        return False
    return text[:start] + choice.text + text[end:] == change.after


def _is_part(choice: Choice, start: int, end: int, text: str, change: Change) -> bool:
    """Say whether a beginning of the choice, and an end of what it replaces, stand in its place."""
    replaced, tail = text[start:end], text[end:]
    after = change.after
    if len(replaced) > _MAX_REPLACED or len(after) < start + len(tail):
        return False
    if after[:start] != text[:start] or not after.endswith(tail):
        return False
    middle = after[start : len(after) - len(tail)]
    for gone in range(len(replaced) + 1):
        rest = replaced[gone:]
        begun = middle[: len(middle) - len(rest)]
        if middle.endswith(rest) and begun and choice.text.startswith(begun):
            return True
    return False
