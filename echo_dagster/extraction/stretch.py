"""Stretches of edits in which nothing happens but that gaps grow, shrink and move: most of what anybody types.

Such edits are applied to all gaps at once, with plain arithmetic on offsets; the text inside a gap is put together when
somebody asks for it (`Gap.text`). Whatever could end a gap, cut accepted text or be an acceptance ends the stretch, and
goes the long way (`stream.py`), of which this is a short cut: the outcome is the same.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from itertools import accumulate
from operator import add, sub
from typing import Any

import polars as pl

from echo_dagster.extraction.gap import EDITS, NEVER, Gap, Splice
from echo_dagster.extraction.policies import Policy

_TYPED = {None, "typing"}


@dataclass(frozen=True, slots=True)
class Edits:
    """Runs of edits as columns: what one key after the other typed is a run, anything else a run of one.

    Rows that are no edits are runs too, which nobody looks at. Times are microseconds since 1970, offsets UTF-16 units.

    Attributes:
        first: the event with which a run begins; the next one begins where it ends, and the last entry is the end.
        begun, ts: the times of a run's first and last edit; within it no gap waits for an edit in vain.
        offset, length: what the run's first edit replaces. The others replace nothing.
        units: how much the run inserts.
        reason: of every edit in the run.
        text: of each event, not of each run.
        event_ts, event_units: of each event.
    """

    first: Sequence[int]
    begun: Sequence[int]
    ts: Sequence[int]
    offset: Sequence[Any]
    length: Sequence[Any]
    units: Sequence[Any]
    reason: Sequence[str | None]
    text: Sequence[Any]
    event_ts: pl.Series
    event_units: pl.Series

    def one_by_one(self, run: int) -> Edits:
        """Return the edits of a run, each a run of its own."""
        first, stop = self.first[run], self.first[run + 1]
        ts = self.event_ts[first:stop].to_list()
        units = self.event_units[first:stop].to_list()
        offsets = list(accumulate(units[:-1], initial=self.offset[run]))
        lengths = [self.length[run], *[0] * (stop - first - 1)]
        reasons = [self.reason[run]] * (stop - first)
        bounds = range(stop - first + 1)
        text = self.text[first:stop]
        return Edits(bounds, ts, ts, offsets, lengths, units, reasons, text, self.event_ts, self.event_units)


@dataclass(slots=True)
class Region:
    """A part of the document `[low, high]` in which edits do nothing to gaps but what they do to all of it.

    Attributes:
        inside: gaps that the edits fall inside, open or measured.
        behind: gaps that end before the region: they know where they are untouched.
        ahead: gaps that begin after the region: they move along.
        lost: measured gaps of which only pieces are known.
        until: the first moment at which the time of an open gap runs out that these edits do not extend.
        born: when the oldest open gap inside opened.
        longest: units of the longest open gap inside.
    """

    low: int = 0
    high: int = NEVER
    inside: list[Gap] = field(default_factory=list)
    behind: list[Gap] = field(default_factory=list)
    ahead: list[Gap] = field(default_factory=list)
    lost: list[Gap] = field(default_factory=list)
    until: int = NEVER
    born: int = NEVER
    longest: int = 0

    def take_in(self, gap: Gap, start: int, end: int) -> bool:
        """Narrow the region around `[start, end)` to one side of a gap's bounds; say whether that can be done."""
        if gap.start <= start and end <= gap.end:
            self.inside.append(gap)
            self.low, self.high = max(self.low, gap.start), min(self.high, gap.end)
        elif start > gap.end:
            self.behind.append(gap)
            self.low = max(self.low, gap.end + 1)
        elif end < gap.start:
            self.ahead.append(gap)
            self.high = min(self.high, gap.start - 1)
        else:
            return False
        return True

    def avoid_pieces(self, start: int, end: int) -> bool:
        """Narrow the region around `[start, end)` to where no accepted text stands; say whether that can be done."""
        for gap in (*self.inside, *self.lost):
            for offset, text in gap.pieces:
                if offset >= end:
                    self.high = min(self.high, offset)
                elif offset + len(text) // 2 <= start:
                    self.low = max(self.low, offset + len(text) // 2)
                else:
                    return False
        return True


def region(
    opened: Sequence[Gap], measured: Sequence[Gap], policy: Policy, start: int, end: int
) -> Region | None:
    """Return the region around an edit of `[start, end)`, null where the edit does more than a stretch can."""
    here = Region()
    for gap in opened:
        if gap.tracking != EDITS:
            continue
        is_inside = gap.start <= start and end <= gap.end
        if (
            gap.awaited
            or (policy.breaks_on_edit_elsewhere and not is_inside)
            or not here.take_in(gap, start, end)
        ):
            return None
        if is_inside:
            here.born, here.longest = min(here.born, gap.opened_at), max(here.longest, gap.end - gap.start)
        else:
            here.until = min(here.until, gap.deadline)
    for gap in measured:
        if gap.is_lost:
            here.lost.append(gap)
        elif not here.take_in(gap, start, end):
            return None
    return here if here.avoid_pieces(start, end) else None


def follow(edits: Edits, first: int, stop: int, here: Region, *, idle: int, lifetime: int, most: int) -> int:
    """Apply the runs `[first, stop)` as far as they stay in the region; return the run after the last one applied.

    Counts and texts of the gaps are brought up to date, their deadlines are not.

    Args:
        edits: the columns.
        first: a run whose first edit comes before the time of any open gap runs out.
        stop: the run before which to end.
        here: the region around the first edit.
        idle: microseconds after an edit within which no gap that it fell inside ends,
        lifetime: nor so long after it opened.
        most: the longest text of a gap, in units.
    """
    low, high, longest = here.low, here.high, here.longest
    old = min(here.born + lifetime, here.until)
    soon = NEVER
    splices: list[Splice] = []
    begun, removed, at = -1, 0, -1
    written: list[str] = []
    events, begins, times, offsets = edits.first, edits.begun, edits.ts, edits.offset
    run = first
    while run < stop:
        start, length, units, ts = offsets[run], edits.length[run], edits.units[run], times[run]
        if ts >= old or begins[run] >= soon or start < low or start + length > high:
            break
        if edits.reason[run] == "accept" or longest + units - length > most or not (length or units):
            break
        longest += units - length
        high += units - length
        text = edits.text[events[run] : events[run + 1]]
        if start == at and not length:
            written.extend(text)
        else:
            if begun >= 0:
                splices.append((begun, removed, "".join(written)))
            begun, removed, written = start, length, list(text)
        at = start + units
        soon = ts + idle
        run += 1
    if run == first:
        return first
    splices.append((begun, removed, "".join(written)))
    _move(edits, first, run, here, high - here.high)
    _count(edits, first, run, here.inside, splices)
    return run


def _move(edits: Edits, first: int, stop: int, here: Region, grown: int) -> None:
    """Put every gap and every piece where the edits left it."""
    offsets = edits.offset[first:stop]
    for gap in here.inside:
        gap.end += grown
        gap.shift_pieces(offsets[0], grown)
    for gap in here.lost:
        gap.shift_pieces(offsets[0], grown)
    if here.behind:
        least = min(offsets)
        for gap in here.behind:
            gap.right_known = min(gap.right_known, least - gap.end)
    if here.ahead:
        lengths = edits.length[first:stop]
        ends = accumulate(map(sub, edits.units[first:stop], lengths), initial=here.high)
        nearest = min(map(sub, ends, map(add, offsets, lengths)))
        for gap in here.ahead:
            gap.left_known = min(gap.left_known, gap.start - here.high + nearest)
            gap.start += grown
            gap.end += grown
            gap.shift_pieces(0, grown)


def _count(edits: Edits, first: int, stop: int, inside: Sequence[Gap], splices: list[Splice]) -> None:
    """Add the edits to what is known of the gaps they fell inside, and measure accepted text."""
    ts = edits.ts[stop - 1]
    count = edits.first[stop] - edits.first[first]
    reasons = edits.reason[first:stop]
    units = edits.units[first:stop]
    is_only_typed = set(reasons) <= _TYPED
    typed = sum(units) if is_only_typed else _sum(units, reasons, _TYPED)
    pasted = 0 if is_only_typed else _sum(units, reasons, {"paste"})
    by_agent = 0 if is_only_typed else _sum(units, reasons, {"agent"})
    for gap in inside:
        gap.pending.append((gap.start, splices))
        gap.measure(ts)
        if gap.break_reason is None:
            gap.n_edits += count
            gap.typed += typed
            gap.pasted += pasted
            gap.by_agent += by_agent
            gap.is_only_typed &= is_only_typed


def _sum(units: Sequence[int], reasons: Sequence[str | None], wanted: Set[str | None]) -> int:
    return sum(count for count, reason in zip(units, reasons, strict=True) if reason in wanted)
