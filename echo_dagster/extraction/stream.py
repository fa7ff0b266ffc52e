"""The loop over one stream's events: gaps open, follow the edits, and end by the policy.

A stream is the events of one (user, session, document) in their order. Everything here is plain Python over
plain columns, one event at a time, because each event needs the state that the one before it left. Every edit
visits every open gap; policies bound how many there are.

What does not live here: reading and sorting events (`gaps.py`), one gap (`gap.py`), whose acceptance an edit
is (`decisions.py`), and what a view of the document says (`views.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from echo_dagster import utf16
from echo_dagster.extraction import decisions, views
from echo_dagster.extraction.anchors import View
from echo_dagster.extraction.decisions import Decisions
from echo_dagster.extraction.gap import DAY, EDITS, NEVER, SECOND, SNAPSHOTS, Gap, Where, open_gap
from echo_dagster.extraction.policies import Policy


class Events(NamedTuple):
    """One UTC day of a stream as plain columns, in order. `ts` is microseconds since 1970.

    `labels` has one entry for each `shown`: (event_id, repository, language, model, source, cohort, consent).
    """

    ts: Sequence[int]
    kind: Sequence[str]
    completion_id: Sequence[Any]  # this and what follows is null where the kind does not need it
    offset: Sequence[Any]
    length: Sequence[Any]
    text: Sequence[Any]
    prefix: Sequence[Any]
    suffix: Sequence[Any]
    reason: Sequence[str | None]
    labels: Sequence[tuple[Any, ...]]


class _Edit(NamedTuple):
    """`[start, end)` of the document becomes `inserted`."""

    ts: int
    start: int
    end: int
    inserted: bytes
    reason: str | None


@dataclass
class Tally:
    """What one pass met. `shown` must equal the gaps it returned plus `still_open`.

    `unmatched_decisions` counts acceptances and rejections of proposals with no open gap: shown before the
    log begins, or decided after the gap had ended.
    """

    events: int = 0
    shown: int = 0
    still_open: int = 0
    unmatched_decisions: int = 0


class Stream:
    """The gaps of one stream. Feed it one day after another; settle it before each, and at the end.

    Args:
        key: user, session and document.
        policy: when gaps end.
        tally: counts, added to.
    """

    def __init__(self, key: tuple[str, str, str], policy: Policy, tally: Tally) -> None:
        self._key = key
        self._policy = policy
        self._tally = tally
        self._idle, self._settle, self._lifetime, self._grace = (
            round(seconds * SECOND)
            for seconds in (policy.idle_s, policy.settle_s, policy.lifetime_s, policy.cursor_grace_s)
        )
        self._open: list[Gap] = []  # in the order in which they opened
        self._measured: list[Gap] = []  # ended, but edits can still remove accepted text
        self._ended: list[Gap] = []
        self._now = -NEVER
        self._next_deadline = NEVER  # no open gap has an earlier one
        self._last_edit_at = -NEVER
        self._decisions = Decisions()
        self._known: views.Known | None = None

    @property
    def still_open(self) -> int:
        """How many gaps are open."""
        return len(self._open)

    def feed(self, events: Events) -> None:
        """Go through one UTC day of events.

        Raises:
            ValueError: the events are not in order.
        """
        tracking = EDITS if "edited" in events.kind else SNAPSHOTS
        labels = iter(events.labels)
        self._known = None  # what other days showed is forgotten, so that days stay independent
        self._tally.events += len(events.ts)
        columns = zip(*events[:-1], strict=True)
        for ts, kind, completion_id, offset, length, text, prefix, suffix, reason in columns:
            if ts < self._now:
                raise ValueError("the events of a stream are not in the order of events.STREAM_ORDER")
            self._now = ts
            if ts >= self._next_deadline:
                self._expire(ts)
            if kind == "edited":
                self._edit(ts, offset, length, text, reason)
            elif kind == "cursor":
                self._move_cursor(ts, offset)
            elif kind == "shown":
                view = View(offset - utf16.length(prefix), prefix, suffix, reaches_end=suffix == "")
                self._look(ts, view, is_whole=False)
                if tracking == SNAPSHOTS:
                    self._known = views.remember(self._known, view)
                recalled = self._known.expected if self._known and suffix is None else None
                shown = (completion_id, offset, length or 0, text, prefix, suffix, recalled)
                self._show(ts, open_gap(self._key, ts, tracking, shown, next(labels)))
            elif kind == "accepted":
                self._decisions.accept(self._newest(completion_id), ts, text, self._open)
            elif kind == "rejected":
                if (gap := self._newest(completion_id)) is not None:
                    decisions.reject(gap, reason)
            elif kind == "snapshot":
                self._look(ts, View(0, prefix, suffix or "", reaches_end=True), is_whole=True)
            elif kind == "closed":
                self._end_all(ts, "document_closed")

    def settle(self, until: int, *, close_open: bool = False) -> list[tuple[Any, ...]]:
        """Return, as rows of `schema.GAP_SCHEMA`, the gaps that ended before `until`, the oldest first.

        Gaps whose time runs out before `until` end there. The others stay open, or with `close_open` end at
        `until` as `stream_end`, because the log does. Counts of retained text stop at `until`, and at the end
        of the UTC day on which a gap ended, so that a day's rows depend on nothing after it.
        """
        self._expire(until - 1)
        if close_open:
            self._end_all(until, "stream_end")
        ended = sorted(self._ended + self._measured, key=lambda gap: (gap.opened_at, gap.gap_id))
        self._ended, self._measured = [], []
        for gap in ended:
            gap.measure(min(until, (gap.closed_at // DAY + 1) * DAY))
        return [gap.row() for gap in ended]

    def _show(self, ts: int, gap: Gap) -> None:
        """Open a gap, in the region of the oldest one that the cursor stands in."""
        self._tally.shown += 1
        around = [other for other in self._open if other.start <= gap.offset <= other.end]
        if around:
            gap.region_id = around[0].gap_id
        for other in around:
            other.is_superseded |= other.is_undecided and other.is_only_typed
        self._open.append(gap)
        self._extend(gap, ts)
        self._next_deadline = min(self._next_deadline, gap.deadline)

    def _newest(self, completion_id: str) -> Gap | None:
        for gap in reversed(self._open):
            if gap.completion_id == completion_id:
                return gap
        self._tally.unmatched_decisions += 1
        return None

    # Time

    def _extend(self, gap: Gap, ts: int) -> None:
        """Start the gap's idle time again."""
        idle_end = max(ts + self._idle, gap.opened_at + self._settle)
        gap.deadline = min(gap.opened_at + self._lifetime, idle_end)

    def _expire(self, now: int) -> None:
        """End the gaps whose time has run out: at that moment, not when the next event happened to come."""
        for gap in self._open:
            if gap.deadline <= now:
                is_old = gap.deadline == gap.opened_at + self._lifetime
                self._end(gap, gap.deadline, "lifetime" if is_old else "idle")
        self._drop_ended()
        self._next_deadline = min((gap.deadline for gap in self._open), default=NEVER)

    def _end(self, gap: Gap, ts: int, reason: str) -> None:
        """End a gap; who calls it calls `_drop_ended` when the event is done with."""
        gap.measure(ts)
        gap.closed_at, gap.break_reason, gap.final = ts, reason, utf16.decode(gap.text)
        (self._measured if gap.is_measured else self._ended).append(gap)

    def _drop_ended(self) -> None:
        self._open = [gap for gap in self._open if gap.break_reason is None]

    def _end_all(self, ts: int, reason: str) -> None:
        for gap in self._open:
            self._end(gap, ts, reason)
        self._open = []

    # What the user writes

    def _edit(self, ts: int, start: int, length: int, text: str, reason: str | None) -> None:
        self._last_edit_at = ts
        self._decisions.begin_edit(reason)
        if not (self._open or self._measured):
            return
        edit = _Edit(ts, start, start + length, utf16.encode(text), reason)
        measured = self._measured  # without those that this edit ends: they have gone through it
        self._measured = []
        for gap in self._open:
            if gap.tracking == EDITS:
                self._edit_open(gap, edit)
        self._drop_ended()
        for gap in measured:
            gap.measure(ts)
            if gap.is_lost:
                gap.apply(Where.ACROSS, edit.start, edit.end, edit.inserted)
            else:
                gap.apply(*gap.place(edit.start, edit.end, edit.inserted))
            (self._measured if gap.is_measured else self._ended).append(gap)
        self._decisions.finish_edit(ts)

    def _edit_open(self, gap: Gap, edit: _Edit) -> None:
        """Let an edit change a gap, move it, or end it. On an end the final text is that before the edit."""
        where, start, end, inserted = gap.place(edit.start, edit.end, edit.inserted)
        units = len(inserted) // 2
        if where is Where.ACROSS:
            self._end(gap, edit.ts, "anchor_edited")
        elif where is not Where.INSIDE:
            distance = gap.start - end if where is Where.BEFORE else start - gap.end
            if self._is_by_hand(gap, edit, distance):
                self._end(gap, edit.ts, "edited_elsewhere")
        elif gap.end - gap.start + units - (end - start) > self._policy.max_final_units:
            self._end(gap, edit.ts, "outgrown")
        gap.measure(edit.ts)
        gap.apply(where, start, end, inserted)
        is_nothing = start == end and not inserted  # it only rewrote an anchor
        if where is Where.INSIDE and gap.break_reason is None and not is_nothing:
            gap.count_edit(edit.ts, units, edit.reason)
            self._extend(gap, edit.ts)
            self._decisions.touch(gap, start - gap.start + units, inserted)

    def _is_by_hand(self, gap: Gap, edit: _Edit, distance: int) -> bool:
        """Say whether an edit outside the gap ends it."""
        if not self._policy.breaks_on_edit_elsewhere:
            return False
        if edit.reason in self._policy.automatic_reasons:
            return edit.reason == "snippet" and distance < self._policy.far_units
        is_of_acceptance = edit.reason == "accept" and gap.accepting_at == edit.ts
        return not is_of_acceptance  # an acceptance can bring its import along

    def _move_cursor(self, ts: int, offset: int) -> None:
        if not (self._policy.cursor_jump and self._open) or ts - self._last_edit_at <= self._grace:
            return
        for gap in self._open:
            is_settled = gap.tracking == EDITS and ts >= gap.opened_at + self._settle
            if is_settled and gap.is_on_other_line(offset):
                self._end(gap, ts, "cursor_left")
        self._drop_ended()

    # What later views of the document show

    def _look(self, ts: int, view: View, *, is_whole: bool) -> None:
        """Compare the open gaps with a view of the document. `is_whole`: it shows all of it."""
        for gap in self._open:
            if gap.tracking == SNAPSHOTS:
                reason = views.see(gap, view)
                self._extend(gap, ts)
            else:
                reason = views.check(gap, view, is_whole=is_whole)
            if reason is not None:
                self._end(gap, ts, reason)
        self._drop_ended()
        for gap in self._measured if is_whole else ():
            gap.measure(ts)
            if not gap.stands_in(view):
                gap.stop_measuring()
