"""Where an edit falls beside a gap, and what it leaves of accepted text. Pure functions over UTF-16 offsets.

Texts hold one character per unit (`utf16.to_units`), so that one with astral characters is cut where the editor cut
it. A range is `[start, end)`.

What does not live here: time, reasons and policies (`stream.py`).
"""

from __future__ import annotations

from echo_dagster import utf16
from echo_dagster.text import shared_head

#: Pieces of accepted text that stand in the document: (offset, text), in order and apart.
Pieces = list[tuple[int, str]]


def tail(text: str, units: int) -> str:
    """Return the last `units` UTF-16 units of `text`, or all of it where it is shorter."""
    return utf16.to_units(text[-units:])[-units:] if units > 0 else ""


def head(text: str, units: int) -> str:
    """Return the first `units` UTF-16 units of `text`, or all of it where it is shorter."""
    return utf16.to_units(text[:units])[:units]


def trim(
    gap: tuple[int, int], edit: tuple[int, int], inserted: str, left: str, right: str
) -> tuple[int, int, str]:
    """Take from an edit what merely rewrites the text beside a gap, and return its range and text.

    Editors replace whole lines to insert a word. Where the inserted text begins with all that the edit
    removes before the gap, or ends with all that it removes after it, that part changes nothing.

    Args:
        gap: the gap's range.
        edit: the edit's range; it must touch or cross the gap's.
        inserted: the edit's text.
        left: what stands before the gap as far as it is known, ending at the gap.
        right: what stands after the gap as far as it is known, beginning at the gap.
    """
    start, end = edit
    if (before := gap[0] - start) > 0 and before <= len(left) and inserted.startswith(left[-before:]):
        start, inserted = gap[0], inserted[before:]
    if (after := end - gap[1]) > 0 and after <= len(right) and inserted.endswith(right[:after]):
        end, inserted = gap[1], inserted[:-after]
    return start, end, inserted


def shared_ends(removed: str, inserted: str) -> tuple[int, int]:
    """Return how many units two texts share at their heads and, in what is left, at their tails."""
    front = shared_head(removed, inserted)
    return front, shared_head(removed[front:][::-1], inserted[front:][::-1])


def survivors(pieces: Pieces, start: int, end: int, inserted_units: int) -> Pieces:
    """Return what is left of `pieces`, and where, once `[start, end)` is replaced by `inserted_units`."""
    shift = inserted_units - (end - start)
    kept: Pieces = []
    for offset, text in pieces:
        stop = offset + len(text)
        if end <= offset:
            kept.append((offset + shift, text))
        elif start >= stop:
            kept.append((offset, text))
        else:
            if start > offset:
                kept.append((offset, text[: start - offset]))
            if end < stop:
                kept.append((end + shift, text[end - offset :]))
    return kept
