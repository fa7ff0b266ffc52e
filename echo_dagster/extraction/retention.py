"""What is left of accepted text once its gap has ended: the counts that are still to come, gap by gap.

Nothing else depends on a gap that has ended, so the edits that follow are gone through for it alone, and most of them
as whole runs: they fall beside it. What does not live here: counts while a gap is open (`stretch.py`, `stream.py`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from echo_dagster import utf16
from echo_dagster.extraction.anchors import View
from echo_dagster.extraction.gap import SECOND, Gap
from echo_dagster.extraction.schema import RETENTION_SECONDS
from echo_dagster.extraction.stretch import Edits, Written


class Sight(NamedTuple):
    """A view of the whole document: at which event of the day's columns, when, and what it shows."""

    at: int
    ts: int
    view: View


def follow(gap: Gap, edits: Edits, at: int, stop: int, sights: Sequence[Sight]) -> None:
    """Let the events `[at, stop)` change what stands of a gap's accepted text, and count it where its times come.

    Where a view of the whole document shows something else, the log misses edits, and counting ends.

    Args:
        gap: one that has ended.
        edits: the columns of its day.
        at: the event that ended it, or the first after its end.
        stop: the event before which to end; a run begins there.
        sights: the views of the day, in order.
    """
    for sight in sights:
        if sight.at >= at and gap.is_measured:
            _follow(gap, edits, at, sight.at)
            at = sight.at
            gap.measure(sight.ts)
            if not gap.stands_in(sight.view):
                gap.stop_measuring()
    _follow(gap, edits, at, stop)


def _follow(gap: Gap, edits: Edits, at: int, stop: int) -> None:
    run = bisect_right(edits.first, at) - 1
    if edits.first[run] < at:  # it ended within a run
        run += 1
        _follow_events(gap, edits, at, min(edits.first[run], stop))
    end = bisect_left(edits.first, stop)
    while gap.is_measured and run < end:
        run = _pass_by(gap, edits, run, end)
        if run < end:
            _follow_near(gap, edits, run)
            run += 1


def _pass_by(gap: Gap, edits: Edits, run: int, stop: int) -> int:
    """Apply the runs `[run, stop)` up to one that touches the gap, and return it; `stop` once the last count is due."""
    last = gap.accepted_at + RETENTION_SECONDS[-1] * SECOND
    first, end = gap.start, gap.end
    if gap.is_lost:  # of which only pieces are known
        first, end = gap.pieces[0][0], gap.pieces[-1][0] + len(gap.pieces[-1][1])
    left, right, moved = gap.left_known, gap.right_known, 0
    begun, low, offset, length, grown = edits.begun, edits.low, edits.offset, edits.length, edits.grown
    for at in range(run, stop):
        if begun[at] > last:
            return stop  # nothing of the gap is asked for any more
        lowest = low[at]
        if lowest is None:  # no edit
            continue
        if lowest > end:
            right = min(right, lowest - end)
        elif (upto := offset[at] + length[at]) < first:
            left = min(left, first - upto)
            first += grown[at]
            end += grown[at]
            moved += grown[at]
        else:
            stop = at
            break
    gap.start += moved
    gap.end += moved
    gap.shift_pieces(0, moved)
    gap.left_known, gap.right_known = left, right
    return stop


def _follow_near(gap: Gap, edits: Edits, run: int) -> None:
    """Apply a run of edits that touches the gap: as a whole where it leaves the accepted text alone."""
    low, end = edits.low[run], edits.offset[run] + edits.length[run]
    is_inside = gap.is_lost or (gap.start <= low and end <= gap.end)
    if is_inside and all(at + len(text) <= low or at >= end for at, text in gap.pieces):
        gap.pending.append((gap.start, Written(edits, range(run, run + 1))))
        gap.end += edits.grown[run]
        gap.shift_pieces(edits.offset[run], edits.grown[run])
    else:
        _follow_events(gap, edits, edits.first[run], edits.first[run + 1])


def _follow_events(gap: Gap, edits: Edits, at: int, stop: int) -> None:
    """Apply edits one by one."""
    singles = edits.singles
    for ts, offset, length, text in zip(
        *(column[at:stop] for column in (singles.ts, singles.offset, singles.length, singles.text)),
        strict=True,
    ):
        gap.measure(ts)
        if not gap.is_measured:
            return
        end, inserted = offset + length, utf16.to_units(text)
        if gap.is_lost:
            gap.apply("across", offset, end, inserted)
        else:
            gap.apply(*gap.place(offset, end, inserted))
