"""Where an edit falls beside a gap, and what it leaves of accepted text. Pure functions over UTF-16 offsets.

Texts are UTF-16-LE bytes (`utf16.encode`): unit `i` stands at byte `2 * i`, so that a text holding astral
characters is cut where the editor cut it. A range is `[start, end)`.

What does not live here: time, reasons and policies (`stream.py`).
"""

from __future__ import annotations

from echo_dagster import utf16

#: Pieces of accepted text that stand in the document: (offset, text), in order and apart.
Pieces = list[tuple[int, bytes]]


def tail(text: str, units: int) -> bytes:
    """Return the last `units` UTF-16 units of `text`, or all of it where it is shorter."""
    if units <= 0:
        return b""
    return utf16.encode(text[-units:])[-2 * units :]


def head(text: str, units: int) -> bytes:
    """Return the first `units` UTF-16 units of `text`, or all of it where it is shorter."""
    return utf16.encode(text[:units])[: 2 * units]


def trim(
    gap: tuple[int, int], edit: tuple[int, int], inserted: bytes, left: bytes, right: bytes
) -> tuple[int, int, bytes]:
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
    if (before := 2 * (gap[0] - start)) > 0 and before <= len(left) and inserted.startswith(left[-before:]):
        start, inserted = gap[0], inserted[before:]
    if (after := 2 * (end - gap[1])) > 0 and after <= len(right) and inserted.endswith(right[:after]):
        end, inserted = gap[1], inserted[:-after]
    return start, end, inserted


def shared_ends(removed: bytes, inserted: bytes) -> tuple[int, int]:
    """Return how many units two texts share at their heads and, in what is left, at their tails."""
    front = _shared_head(removed, inserted)
    back = _shared_head(removed[front:][::-1], inserted[front:][::-1])  # units reversed alike stay alike
    return front // 2, back // 2


def _shared_head(one: bytes, other: bytes) -> int:
    """Return how many bytes of whole units two texts share at their heads, by bisection."""
    low, high = 0, min(len(one), len(other)) // 2
    while low < high:
        middle = (low + high + 1) // 2
        if one[2 * low : 2 * middle] == other[2 * low : 2 * middle]:
            low = middle
        else:
            high = middle - 1
    return 2 * low


def survivors(pieces: Pieces, start: int, end: int, inserted_units: int) -> Pieces:
    """Return what is left of `pieces`, and where, once `[start, end)` is replaced by `inserted_units`."""
    shift = inserted_units - (end - start)
    kept: Pieces = []
    for offset, text in pieces:
        stop = offset + len(text) // 2
        if end <= offset:
            kept.append((offset + shift, text))
        elif start >= stop:
            kept.append((offset, text))
        else:
            if start > offset:
                kept.append((offset, text[: 2 * (start - offset)]))
            if end < stop:
                kept.append((end + shift, text[2 * (end - offset) :]))
    return kept


def find_units(text: bytes, wanted: bytes, since: int = 0) -> int:
    """Return the unit at which `wanted` first stands in `text` from unit `since` on, or -1."""
    at = text.find(wanted, 2 * since)
    while at > 0 and at % 2:
        at = text.find(wanted, at + 1)
    return at // 2
