"""What a later view of the document says of a gap: a check where edits are logged, all there is where not.

What does not live here: finding the gap in the view (`anchors.py`) and its end (`stream.py`).
"""

from __future__ import annotations

from echo_dagster import utf16
from echo_dagster.extraction import anchors, recall
from echo_dagster.extraction.anchors import Around, Found, Missing, View
from echo_dagster.extraction.gap import NEVER, Gap
from echo_dagster.extraction.policies import Policy


def see(gap: Gap, view: View, policy: Policy) -> str | None:
    """Find a gap that has no edits to follow, and return why the view ends it, or null."""
    found = _find(gap, view, slack=len(gap.proposal))
    if not isinstance(found, Found):
        if view.start is None:
            gap.start = gap.end = NEVER  # where it is, seen from this view's cursor, is not known
        breaks = "edited_elsewhere" if policy.breaks_on_edit_elsewhere else None
        return {"unseen": None, "changed": breaks, "edited": "anchor_edited", "gone": "anchor_lost"}[found]
    gap.is_seen = True
    gap.is_written_in = found.start <= len(view.before) <= found.end
    is_tolerated = found.before == "same" or (
        found.before == "imports" and "auto_import" in policy.automatic_reasons
    )
    is_left = policy.breaks_on_edit_elsewhere and not (is_tolerated and found.is_same_after)
    if is_left and gap.is_written_in:
        return "edited_elsewhere"  # the user came back: what is new here was written after the edit elsewhere
    text = view.text[found.start : found.end]
    if utf16.length(text) > policy.max_final_units:
        return "outgrown"
    gap.n_edits += utf16.to_units(text) != gap.text
    _move(gap, view, found)
    return "edited_elsewhere" if is_left else None


def check(gap: Gap, view: View, *, is_whole: bool) -> str | None:
    """Compare a gap that has edits to follow with a view, and return why the view ends it, or null.

    A snapshot (`is_whole`) can show edits that the log misses: the gap is put where the snapshot shows it. A view of
    which nobody says where it begins is no check.
    """
    if view.start is None or gap.agrees_with(view):
        return None
    found = _find(gap, view, slack=NEVER) if is_whole else "gone"
    if not isinstance(found, Found):
        return "anchor_lost"
    around = gap.around
    _move(gap, view, found)
    if gap.around is not around:
        gap.left_known = gap.right_known = 0
    gap.stop_measuring()
    return None


def _find(gap: Gap, view: View, slack: int) -> Found | Missing:
    last = utf16.readable(gap.text)
    if gap.around.suffix is None:
        return recall.find(view, gap.around, last)
    return anchors.find(view, gap.around, last, slack)


def _move(gap: Gap, view: View, found: Found) -> None:
    """Put a gap where a view shows it. Where the view does not say where it begins, offsets count from its cursor."""
    text = view.text
    first = -utf16.length(view.before) if view.start is None else view.start
    gap.text = utf16.to_units(text[found.start : found.end])
    gap.start = first + utf16.length(text[: found.start])
    gap.end = gap.start + len(gap.text)
    if found.before != "same" or not found.is_same_after:
        offset = None if view.start is None else gap.start
        suffix = None if gap.around.suffix is None else text[found.end :]
        gap.around = Around(offset, text[: found.start], suffix, gap.around.recalled)
