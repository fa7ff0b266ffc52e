"""Whose acceptance an edit is, and where accepted text stands.

Some tools say `accepted` after the edit that inserts the text, some before it, some only mark the edit with
the reason `accept`; the edit itself may give no reason at all. Here these are made one.

What does not live here: following text once it stands (`gap.py`) and what the decision means (`outcomes.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from echo_dagster import utf16
from echo_dagster.extraction.gap import NEVER, SNAPSHOTS, Gap, Taken


class _Touched(NamedTuple):
    gap: Gap
    end: int  # where the inserted text ends in the gap
    inserted: str


class Decisions:
    """The user's decisions in one stream. It remembers the last edit, until an acceptance has claimed it."""

    def __init__(self) -> None:
        self._reason: str | None = None
        self._touched: list[_Touched] = []  # the gaps that the last edit fell inside, oldest first
        #: Whose acceptance the last edit seems to be, and what was known of that proposal before.
        self._inferred: tuple[Gap, tuple[Any, ...]] | None = None

    def begin_edit(self, reason: str | None) -> None:
        """Forget the edit before this one."""
        self._reason, self._touched, self._inferred = reason, [], None

    def touch(self, gap: Gap, end: int, inserted: str) -> None:
        """Note that the edit fell inside `gap`, up to its unit `end`, and inserted this text there."""
        self._touched.append(_Touched(gap, end, inserted))

    def finish_edit(self, ts: int) -> None:
        """Claim the edit for the proposal that was accepted just before it, or that it seems to accept."""
        if self._touched and not self._claim_awaited(ts) and self._reason == "accept":
            self._infer(ts)

    def accept(self, gap: Gap | None, ts: int, part: str | None, beside: Sequence[Gap]) -> list[Gap]:
        """Note that the user accepted `part` of a proposal, or all of it (null).

        Returns the gaps without edits to follow that the acceptance fell inside.

        Args:
            gap: the proposal's gap; null where it is not open.
            ts: when.
            part: the accepted text, where it is not the whole proposal.
            beside: the open gaps.
        """
        if self._inferred is not None:  # the event says for certain what the edit only suggested
            suggested, before = self._inferred
            suggested.restore_decision(before)
            self._inferred = None
        unseen: list[Gap] = []
        if gap is not None and gap.tracking == SNAPSHOTS:
            _take(gap, part)
            unseen = _take_unseen(gap, beside)
        elif gap is not None:
            self._take_and_find(gap, ts, part)
        self._touched = []  # no other acceptance is the last edit
        return unseen

    def _take_and_find(self, gap: Gap, ts: int, part: str | None) -> None:
        wanted = _take(gap, part)
        touched = next((touched for touched in self._touched if touched.gap is gap), None)
        if touched and gap.text[: touched.end].endswith(wanted):
            self._keep(touched, ts, wanted)
        elif gap.n_edits and (at := gap.text.find(wanted)) >= 0:
            gap.keep(ts, at, wanted)
        elif touched and self._reason == "accept":
            self._keep(touched, ts, touched.inserted)  # the editor adapted it, as when it re-indents
        else:
            gap.awaited = wanted  # some tools say it before the edit that does it

    def _claim_awaited(self, ts: int) -> bool:
        """Find text that was accepted before the last edit in a gap it touched; say whether there was one."""
        for touched in self._touched:
            gap = touched.gap
            if gap.awaited and gap.text[: touched.end].endswith(gap.awaited):
                self._keep(touched, ts, gap.awaited)
            elif gap.awaited and self._reason == "accept":
                self._keep(touched, ts, touched.inserted)
            else:
                continue
            self._touched = []
            return True
        return False

    def _infer(self, ts: int) -> None:
        """Give an edit that was an acceptance to the newest proposal it fits. An event can correct it."""
        for touched in reversed(self._touched):
            gap, end, inserted = touched
            if gap.taken.is_whole:
                continue
            part: str | None = utf16.readable(inserted)
            if utf16.readable(gap.text).strip() == gap.proposal.strip() or part == gap.proposal:
                part = None
            elif not (inserted and gap.proposal.startswith(utf16.readable(gap.text[:end]))):
                continue
            self._inferred = (gap, gap.decision())
            self._take_and_find(gap, ts, part)
            return

    def _keep(self, touched: _Touched, ts: int, wanted: str) -> None:
        """Count `wanted`, which ends where the last edit did, as accepted; and that edit as no typing."""
        touched.gap.keep(ts, touched.end - len(wanted), wanted)
        if self._reason is None and wanted.endswith(touched.inserted):
            for gap, _, inserted in self._touched:
                gap.typed -= len(inserted)
                gap.taken_inside += len(inserted)


def reject(gap: Gap, reason: str | None) -> None:
    """Note that a proposal went away: by the user's own act, or for a newer one. A timeout says nothing."""
    if not gap.is_undecided:
        return
    if reason in (None, "dismissed"):
        gap.is_rejected = True
    elif reason == "superseded":
        gap.is_superseded = True


def _take(gap: Gap, part: str | None) -> str:
    """Count an accepted part, or the whole (null), and return its text."""
    proposed = utf16.length(gap.proposal)
    units = min(proposed, gap.taken.units + utf16.length(part)) if part else proposed
    gap.taken = Taken(units, is_any=True, is_whole=gap.taken.is_whole or units == proposed)
    return utf16.to_units(part or gap.proposal)


def _take_unseen(taken: Gap, beside: Sequence[Gap]) -> list[Gap]:
    """Where there are no edits, the acceptance itself is the only sign of what the document now holds.

    Returns the gaps whose text it belongs to.
    """
    held, first = taken.text, taken.start
    now = utf16.to_units(taken.proposal) if taken.taken.is_whole else held
    is_placed = first < NEVER
    inside = [gap for gap in beside if gap is taken or (is_placed and gap.start <= first <= gap.end)]
    inside = [gap for gap in inside if gap.tracking == SNAPSHOTS]
    for gap in inside:
        at = first - gap.start
        gap.text = gap.text[:at] + now + gap.text[at + len(held) :]
        gap.end = gap.start + len(gap.text)
        if gap is not taken:
            gap.taken_inside += taken.taken.units
    return inside
