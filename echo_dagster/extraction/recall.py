"""Finding a gap again where the tool keeps only what precedes the cursor: what is recalled stands in for the rest.

What does not live here: gaps of which both sides were kept (`anchors.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from echo_dagster.extraction.anchors import (
    ANCHOR_CHARS,
    Around,
    Found,
    Missing,
    View,
    before_gap,
    is_telling,
    left_pin,
    only_place,
    out_of_sight,
)
from echo_dagster.text import shared_head

#: How many lines after the cursor are tried.
_RECALLED_LINES = 20


@dataclass(frozen=True)
class Known:
    """The document as one day's views showed it, and what may be expected after the last view's cursor."""

    document: str
    expected: str


def remember(known: Known | None, view: View) -> Known | None:
    """Put a view together with what was known; null where the view is cut."""
    if view.start != 0:
        return None
    if view.after is not None or known is None:
        return Known(view.text, view.after or "")
    rest, expected = recall(known.document, view.before)
    return Known(view.before + rest, expected)


def recall(known: str, before: str) -> tuple[str, str]:
    """Guess what follows the cursor where a tool keeps only what precedes it, from what was known until then.

    Args:
        known: the document as earlier views showed it.
        before: its text up to the cursor now.

    Returns:
        What stood after this place, and the part of it that can be expected to stand there still. The rest
        of the cursor's own line is not: tools propose where it is empty, so that it was more likely deleted
        than passed.
    """
    shared = shared_head(known, before)
    rest = known[shared:]
    line_start = before.rfind("\n") + 1
    written = before[shared:line_start]  # whole lines that were not known here
    if is_telling(written):
        passed = only_place(rest, written, from_head=False)
        if passed is not None:  # the cursor moved down past known lines
            return recall(rest[passed:], before[line_start:])
    is_new_line = shared < len(before) and (shared == 0 or known[shared - 1] == "\n")
    return rest, rest if is_new_line else _next_lines(rest)


def find(view: View, around: Around, last: str) -> Found | Missing:
    """Find a gap whose suffix was not kept. It ends at the view's cursor, or before what is recalled.

    Args:
        view: what is visible now; only what precedes the cursor is read.
        around: what stood around the gap.
        last: the gap's text when it was last seen.
    """
    seen = View(view.start, view.before, None, reaches_end=view.reaches_end and not view.after)
    left = left_pin(seen, around)
    if left is None:
        return out_of_sight(seen, around)
    before = before_gap(seen, around, left)
    if left.old < len(around.prefix):
        if left.new == len(seen.before) and not seen.reaches_end:
            return "changed" if before == "other" else "unseen"
        return "changed" if left.old < len(around.prefix) - ANCHOR_CHARS else "gone"
    inside = seen.before[left.new :]
    if last.startswith(inside) and inside != last:  # the cursor went back: what stands after it was not kept
        return "changed" if before == "other" else "unseen"
    length, is_same_after = _recalled_end(inside, around.recalled or "", last)
    return Found(left.new, left.new + length, before, is_same_after)


def _recalled_end(inside: str, recalled: str, last: str) -> tuple[int, bool]:
    """Return the gap's length, and whether what follows is as it is recalled.

    `inside` runs from the gap's start to the cursor.
    """
    held = shared_head(inside, last)  # what the gap already held cannot be what follows it
    for _ in range(_RECALLED_LINES):  # the first lines may have been deleted since they were seen
        if is_telling(recalled[:ANCHOR_CHARS]):
            at = only_place(inside[held:], recalled, from_head=True)
            if at is not None:
                return held + at, recalled.startswith(inside[held + at :])
        recalled = _next_lines(recalled[1:])
    return len(inside), True


def _next_lines(text: str) -> str:
    line_end = text.find("\n")
    return "" if line_end < 0 else text[line_end:]
