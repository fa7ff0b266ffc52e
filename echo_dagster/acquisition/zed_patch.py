"""Unified diffs as Zed's edit prediction tools write them, applied to the excerpt that they were made from.

They differ from git's: line numbers count from the excerpt, or are missing (`@@ ... @@`); counts can be wrong in
examples written by hand; a line that begins with `#` marks the cursor; blank context lines can be without their
space. So a hunk is found by its text, and its line number only chooses between several places.

What does not live here: what a patch means (`zed.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

#: Where the model, or the person who wrote the example, puts the cursor. It is no text of the document.
INLINE_CURSOR = "<|user_cursor|>"

_HUNK = re.compile(r"@@(?: -(\d{1,9})(?:,\d+)? \+\d+(?:,\d+)?)? ?.*@@")


class PatchError(ValueError):
    """A patch that does not fit its excerpt. The message never holds text of the document."""


@dataclass(frozen=True)
class _Hunk:
    row: int | None  # of its first line in the excerpt, from 0, as the header says
    old: str  # lines, each with its line break
    new: str


def apply(patch: str, text: str, path: str, first_row: int = 0) -> str:
    """Return `text` with a patch applied. A patch without hunks changes nothing.

    Args:
        patch: the diff.
        text: the excerpt; line breaks are `\\n`, as in all of Zed's texts.
        path: the document's name. A diff of another file is an error.
        first_row: the row of the excerpt in its document, from 0: some tools number hunks by the document.

    Raises:
        PatchError: a hunk that is not in the text, or that could stand in several places.
    """
    whole = text if text.endswith("\n") else text + "\n"
    done, parts = 0, []
    for hunk in _hunks(patch, path):
        start = _place(hunk, whole, done, first_row)
        parts += [whole[done:start], hunk.new]
        done = start + len(hunk.old)
    patched = "".join([*parts, whole[done:]])
    return patched if text.endswith("\n") or not patched.endswith("\n") else patched[:-1]


def _place(hunk: _Hunk, whole: str, since: int, first_row: int) -> int:
    """Return the character of `whole`, from `since` on, at which a hunk stands."""
    rows = [] if hunk.row is None else [hunk.row, hunk.row - first_row]
    for row in rows:
        start = _row_start(whole, row)
        if start is not None and start >= since and whole.startswith(hunk.old, start):
            return start
    if not hunk.old:
        raise PatchError("a hunk without context whose line number is outside the excerpt")
    places = _line_starts(whole, hunk.old, since)
    first = next(places, None)
    if first is None:
        raise PatchError("a hunk whose lines are not in the excerpt")
    if next(places, None) is not None:
        raise PatchError("a hunk whose lines stand in the excerpt more than once")
    return first


def _row_start(whole: str, row: int) -> int | None:
    """Return the character at which a row begins, or null where there are not so many."""
    at = 0
    for _ in range(row):
        at = whole.find("\n", at) + 1
        if at == 0:
            return None
    return at if row >= 0 else None


def _line_starts(whole: str, lines: str, since: int) -> Iterator[int]:
    """Yield where whole lines stand, from the character `since` on, which begins a line."""
    at = whole.find(lines, since)
    while at >= 0:
        if at == 0 or whole[at - 1] == "\n":
            yield at
        at = whole.find(lines, at + 1)


def _hunks(patch: str, path: str) -> Iterator[_Hunk]:
    """Yield the hunks of a patch in their order."""
    row: int | None = None
    body: list[str] | None = None
    lines = patch.rstrip("\n").split("\n")
    for number, line in enumerate(lines):
        is_header = (
            line.startswith("--- ") and number + 1 < len(lines) and lines[number + 1].startswith("+++ ")
        )
        match = _HUNK.match(line)
        if body is not None and (is_header or match):
            yield _hunk(row, body)
            body = None
        if match:
            row = None if match[1] is None else max(0, int(match[1]) - 1)
            body = []
        elif is_header and not _is_of(lines[number + 1][4:], path):
            raise PatchError("a patch of another file")
        elif body is not None:
            body.append(line)
    if body is not None:
        yield _hunk(row, body)


def _hunk(row: int | None, body: list[str]) -> _Hunk:
    old, new = [], []
    for line in body:
        sign, text = line[:1], line[1:].replace(INLINE_CURSOR, "") + "\n"
        if sign in ("", " ", "-"):
            old.append(text)
        if sign in ("", " ", "+"):
            new.append(text)
        if sign not in ("", " ", "-", "+", "#", "\\"):
            raise PatchError("a line that belongs to no diff")
    return _Hunk(row, "".join(old), "".join(new))


def _is_of(header: str, path: str) -> bool:
    """Say whether the name after `+++` is this file's; Zed writes `b/` before it, git and people may not."""
    name = header.strip()
    return path.strip("/") in (name.strip("/"), name.removeprefix("b/").strip("/"))
