"""What a later view of the document says of a gap: a check where edits are logged, all there is where not.

What does not live here: finding the gap in the view (`anchors.py`) and its end (`stream.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from echo_dagster import utf16
from echo_dagster.extraction import anchors
from echo_dagster.extraction.anchors import View
from echo_dagster.extraction.gap import NEVER, Gap


@dataclass(frozen=True)
class Known:
    """The document as one day's views showed it, and what may be expected after the last view's cursor."""

    document: str
    expected: str


def remember(known: Known | None, view: View) -> Known | None:
    """Put a view together with what was known, for tools that keep no suffix; null where the view is cut."""
    if view.start:
        return None
    if view.after is not None or known is None:
        return Known(view.text, view.after or "")
    rest, expected = anchors.recall(known.document, view.before)
    return Known(view.before + rest, expected)


def see(gap: Gap, view: View) -> str | None:
    """Find a gap that has no edits to follow, and return why the view ends it, or null."""
    last = utf16.decode(gap.text)
    found = anchors.find(view, gap.around, last, len(gap.proposal))
    if isinstance(found, anchors.Found):
        gap.is_seen = True
        gap.n_edits += found.text != last
        _move(gap, found)
        return None if found.is_same_around else "edited_elsewhere"
    return {"unseen": None, "changed": "edited_elsewhere", "gone": "anchor_lost"}[found]


def check(gap: Gap, view: View, *, is_whole: bool) -> str | None:
    """Compare a gap that has edits to follow with a view, and return why the view ends it, or null.

    A snapshot (`is_whole`) can show edits that the log misses: the gap is put where the snapshot shows it.
    """
    if gap.agrees_with(view):
        return None
    found = anchors.find(view, gap.around, utf16.decode(gap.text), NEVER) if is_whole else "gone"
    if not isinstance(found, anchors.Found):
        return "anchor_lost"
    _move(gap, found)
    if not found.is_same_around:
        gap.left_known = gap.right_known = 0
    gap.stop_measuring()
    return None


def _move(gap: Gap, found: anchors.Found) -> None:
    gap.text = utf16.encode(found.text)
    gap.start, gap.end = found.offset, found.offset + len(gap.text) // 2
