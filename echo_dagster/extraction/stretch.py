"""Stretches of edits in which nothing happens but that gaps grow, shrink and move: most of what anybody types.

Such edits are applied to all gaps at once, with plain arithmetic on offsets; the text inside a gap is put together when
somebody asks for it (`Gap.text`). Whatever could end a gap, cut accepted text or be an acceptance ends the stretch, and
goes the long way (`stream.py`), of which this is a short cut: the outcome is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import accumulate, pairwise
from operator import add, sub
from typing import Any, NamedTuple

from echo_dagster import utf16
from echo_dagster.extraction.gap import EDITS, NEVER, Gap, Splice
from echo_dagster.extraction.policies import Policy

_TYPED = frozenset((None, "typing"))

#: A run that does more than a stretch can is cut up; so much of it is looked at again where its parts do too.
_SHORT_RUN = 32


class Singles(NamedTuple):
    """The columns of single events, of which runs are put together."""

    ts: Sequence[int]
    offset: Sequence[Any]
    length: Sequence[Any]
    units: Sequence[Any]
    reason: Sequence[str | None]
    text: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Edits:
    """Runs of edits as columns: what is written and deleted at one place, one key after the other, is a run.

    Each edit of a run begins or ends where the one before it ended, and removes nothing that stands after the first.
    So a run replaces `[low, offset + length)` by text of its own. Rows that are no edits are runs too, which nobody
    looks at. Times are microseconds since 1970, offsets UTF-16 units.

    Attributes:
        first: the event with which a run begins; the next one begins where it ends, and the last entry is the end.
        begun, ts: the times of a run's first and last edit; within it no gap waits for an edit in vain.
        offset, length: what the run's first edit replaces.
        low: the least offset that the run changes; null where it is no edit.
        end: where the run's last edit ends.
        grown, peak: by how much the document is longer after the run, and at most within it.
        typed, pasted, by_agent: units that were inserted so.
        is_only_typed: nothing else was done.
        reason: of the run's last edit.
        singles: the columns of each event, not of each run.
    """

    first: Sequence[int]
    begun: Sequence[int]
    ts: Sequence[int]
    offset: Sequence[Any]
    length: Sequence[Any]
    low: Sequence[Any]
    end: Sequence[Any]
    grown: Sequence[Any]
    peak: Sequence[Any]
    typed: Sequence[int]
    pasted: Sequence[int]
    by_agent: Sequence[int]
    is_only_typed: Sequence[bool]
    reason: Sequence[str | None]
    singles: Singles

    def cut(self, run: int, at: int) -> Edits:
        """Return a run as several: its first `at` edits, the one after them alone, and the rest in short runs."""
        first, stop = self.first[run], self.first[run + 1]
        cuts = range(first + at + 1, stop, _SHORT_RUN)
        return _of_events(self, [*([first] if at else []), first + at, *cuts, stop])


_SUMMED = tuple(column.name for column in fields(Edits))[1:-1]  # what a run comes to


def _of_events(edits: Edits, bounds: Sequence[int]) -> Edits:
    """Return runs of the same events that begin at each of `bounds` but the last, where the last one ends."""
    *columns, _ = edits.singles
    runs: list[tuple[Any, ...]] = []
    for first, stop in pairwise(bounds):
        ts, offset, length, units, reasons = (column[first:stop] for column in columns)
        upto = [*accumulate(map(sub, units, length))]
        is_only_typed = _TYPED.issuperset(reasons)
        if is_only_typed:  # most runs
            typed, pasted, by_agent = sum(units), 0, 0
        else:
            typed, pasted, by_agent = (
                sum(count for count, reason in zip(units, reasons, strict=True) if reason in wanted)
                for wanted in (_TYPED, {"paste"}, {"agent"})
            )
        place = offset[0], length[0], min(offset), offset[-1] + units[-1], upto[-1], max(upto)
        runs.append((ts[0], ts[-1], *place, typed, pasted, by_agent, is_only_typed, reasons[-1]))
    named = dict(zip(_SUMMED, zip(*runs, strict=True), strict=True))
    return Edits(bounds, **named, singles=edits.singles)


class Written:
    """What some runs wrote, put together when somebody asks for it first."""

    __slots__ = ("_edits", "_runs", "_splices")

    def __init__(self, edits: Edits, runs: range) -> None:
        self._edits, self._runs = edits, runs
        self._splices: list[Splice] | None = None

    def splices(self) -> list[Splice]:
        """Return where each run begins, how many units it removes there, and what it inserts."""
        if self._splices is None:
            edits = self._edits
            self._splices = [
                (
                    edits.low[run],
                    edits.offset[run] + edits.length[run] - edits.low[run],
                    _own_text(edits, run),
                )
                for run in self._runs
            ]
        return self._splices


def _own_text(edits: Edits, run: int) -> str:
    """Return what a run's edits leave of the text that they insert, a character per UTF-16 unit."""
    first, stop = edits.first[run], edits.first[run + 1]
    texts, lengths = edits.singles.text, edits.singles.length[first + 1 : stop]
    own, done = "", first
    if any(lengths):
        for at, removed in enumerate(lengths, first + 1):
            if removed:
                own = (own + utf16.to_units("".join(texts[done:at])))[:-removed]
                done = at
    return own + utf16.to_units("".join(texts[done:stop]))


class Region(NamedTuple):
    """A part of the document `[low, high]` in which edits do nothing to gaps but what they do to all of it.

    Attributes:
        inside: gaps that the edits fall inside.
        behind: gaps that end before the region: they know where they are untouched.
        ahead: gaps that begin after the region: they move along.
        until: the first moment at which the time of a gap runs out that these edits do not extend.
        born: when the oldest gap inside opened.
        longest: units of the longest gap inside.
    """

    low: int
    high: int
    inside: list[Gap]
    behind: list[Gap]
    ahead: list[Gap]
    until: int
    born: int
    longest: int


def region(gaps: Sequence[Gap], policy: Policy, start: int, end: int) -> Region | None:
    """Return the region of open gaps around an edit of `[start, end)`, null where it does more than a stretch can."""
    low, high, born, longest = 0, NEVER, NEVER, 0
    inside: list[Gap] = []
    behind: list[Gap] = []
    ahead: list[Gap] = []
    breaks_elsewhere = policy.breaks_on_edit_elsewhere
    for gap in gaps:  # on either side of a bound of any of them an edit does something else
        if gap.tracking != EDITS:
            continue
        if gap.awaited:
            return None
        first, last = gap.start, gap.end
        if first <= start and end <= last:
            inside.append(gap)
            low, high = max(low, first), min(high, last)
            born, longest = min(born, gap.opened_at), max(longest, last - first)
            for at, text in gap.pieces:
                if at >= end:
                    high = min(high, at)
                elif at + len(text) <= start:
                    low = max(low, at + len(text))
                else:
                    return None
        elif breaks_elsewhere or (end >= first and start <= last):
            return None
        elif start > last:
            behind.append(gap)
            low = max(low, last + 1)
        else:
            ahead.append(gap)
            high = min(high, first - 1)
    until = min((gap.deadline for gap in (*behind, *ahead)), default=NEVER)
    return Region(low, high, inside, behind, ahead, until, born, longest)


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
    run = first
    while run < stop:
        ts, length, peak = edits.ts[run], edits.length[run], edits.peak[run]
        if ts >= old or edits.begun[run] >= soon or edits.low[run] < low or edits.offset[run] + length > high:
            break
        is_nothing = not (length or peak)
        if is_nothing or longest + peak > most or edits.reason[run] == "accept":
            break
        longest += edits.grown[run]
        high += edits.grown[run]
        soon = ts + idle
        run += 1
    if run > first:
        _move(edits, first, run, here, high - here.high)
        _count(edits, first, run, here.inside)
    return run


def first_outside(edits: Edits, run: int, here: Region | None) -> int:
    """Return how many edits of a run come before the first that falls below the region, which is null or too small."""
    if here is None or edits.low[run] >= here.low:
        return 0
    offsets = edits.singles.offset[edits.first[run] : edits.first[run + 1]]
    return next(at for at, offset in enumerate(offsets) if offset < here.low)


def _move(edits: Edits, first: int, stop: int, here: Region, grown: int) -> None:
    """Put every gap and every piece where the edits left it."""
    start = edits.offset[first]
    for gap in here.inside:
        gap.end += grown
        if gap.pieces:
            gap.shift_pieces(start, grown)
    if here.behind:
        least = min(edits.low[first:stop])
        for gap in here.behind:
            gap.right_known = min(gap.right_known, least - gap.end)
    if here.ahead:
        bounds = accumulate(edits.grown[first:stop], initial=here.high)
        ends = map(add, edits.offset[first:stop], edits.length[first:stop])
        nearest = min(map(sub, bounds, ends))
        for gap in here.ahead:
            gap.left_known = min(gap.left_known, gap.start - here.high + nearest)
            gap.start += grown
            gap.end += grown
            gap.shift_pieces(0, grown)


def _count(edits: Edits, first: int, stop: int, inside: Sequence[Gap]) -> None:
    """Add the edits to what is known of the gaps they fell inside, and measure accepted text."""
    ts = edits.ts[stop - 1]
    written = Written(edits, range(first, stop))
    count = edits.first[stop] - edits.first[first]
    typed = sum(edits.typed[first:stop])
    is_only_typed = all(edits.is_only_typed[first:stop])
    pasted = 0 if is_only_typed else sum(edits.pasted[first:stop])
    by_agent = 0 if is_only_typed else sum(edits.by_agent[first:stop])
    for gap in inside:
        gap.pending.append((gap.start, written))
        if gap.next_count_at <= ts:
            gap.measure(ts)
        gap.n_edits += count
        gap.typed += typed
        if not is_only_typed:
            gap.pasted += pasted
            gap.by_agent += by_agent
            gap.is_only_typed = False
