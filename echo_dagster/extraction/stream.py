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
from operator import attrgetter
from typing import Any, NamedTuple

from echo_dagster import utf16
from echo_dagster.extraction import decisions, recall, retention, stretch, views
from echo_dagster.extraction.anchors import View
from echo_dagster.extraction.decisions import Decisions
from echo_dagster.extraction.gap import DAY, EDITS, NEVER, SECOND, SNAPSHOTS, Gap, open_gap
from echo_dagster.extraction.policies import Policy
from echo_dagster.extraction.retention import Sight
from echo_dagster.extraction.stretch import Edits


class Events(NamedTuple):
    """One UTC day of a stream, in order.

    Attributes:
        edits: columns in which the day's runs are `[first, stop)`.
        others: the runs that are no edits: run, ts, kind, completion_id, offset, length, text, prefix, suffix, reason.
            Times are microseconds since 1970; what a kind does not need is null.
        labels: of each `shown`: event_id, repository, language, model, source, cohort, consent, latency_ms.
    """

    edits: Edits
    first: int
    stop: int
    others: Sequence[tuple[Any, ...]]
    labels: Sequence[tuple[Any, ...]]


class _Edit(NamedTuple):
    """`[start, end)` of the document becomes `inserted`."""

    ts: int
    start: int
    end: int
    inserted: str
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

    def add(self, other: Tally) -> None:
        """Add what another pass met."""
        self.events += other.events
        self.shown += other.shown
        self.still_open += other.still_open
        self.unmatched_decisions += other.unmatched_decisions


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
        #: Ended at or before an event, but edits can still remove accepted text.
        self._measured: list[tuple[Gap, int]] = []
        self._ended: list[Gap] = []
        self._next_deadline = NEVER  # no open gap has an earlier one
        self._last_edit_at = -NEVER
        self._edits: Edits | None = None  # today's
        self._at = 0  # which of today's events comes next
        self._sights: list[Sight] = []  # views of the whole document, today
        self._decisions = Decisions()
        self._tracking = EDITS  # of gaps that open today
        self._known: recall.Known | None = None
        self._first_shown: dict[str, str] = {}  # by completion, the gap in which its text was shown first

    @property
    def still_open(self) -> int:
        """How many gaps are open."""
        return len(self._open)

    def feed(self, events: Events) -> None:
        """Go through one UTC day of events."""
        self._tracking = EDITS if len(events.others) < events.stop - events.first else SNAPSHOTS
        self._edits, self._sights = events.edits, []
        labels = iter(events.labels)
        self._known = None  # what other days showed is forgotten, so that days stay independent
        self._first_shown = {gap.completion_id: gap.reshown_of or gap.gap_id for gap in self._open}
        done = events.first
        for run, ts, kind, completion_id, offset, length, text, prefix, suffix, reason in events.others:
            if run > done:
                self._follow(events.edits, done, run, is_accepted=kind == "accepted")
            done = run + 1
            self._at = events.edits.first[run]
            if ts >= self._next_deadline:
                self._expire(ts)
            if kind == "cursor":
                self._move_cursor(ts, offset)
            elif kind == "shown":
                self._look_at_request(ts, offset, prefix, suffix)
                recalled = self._known.expected if self._known and suffix is None else None
                shown = (completion_id, offset, length or 0, text, prefix, suffix, recalled)
                tracking = SNAPSHOTS if offset is None else self._tracking  # no edit can be placed beside it
                self._show(ts, open_gap(self._key, ts, tracking, shown, next(labels)))
            elif kind in ("accepted", "rejected"):
                self._decide(ts, kind, completion_id, text, reason)
            elif kind == "snapshot" and reason == "request":
                self._look_at_request(ts, offset, prefix, suffix)
            elif kind == "snapshot":
                self._look(ts, View(0, prefix, suffix or "", reaches_end=True), is_whole=True)
            elif kind == "closed":
                self._end_all(ts, "document_closed")
        self._follow(events.edits, done, events.stop, is_accepted=False)
        self._at = events.edits.first[events.stop]

    def settle(self, until: int, *, close_open: bool = False) -> list[tuple[Any, ...]]:
        """Return, as rows of `schema.GAP_SCHEMA`, the gaps that ended before `until`, the oldest first.

        Gaps whose time runs out before `until` end there. The others stay open, or with `close_open` end at
        `until` as `stream_end`, because the log does. Counts of retained text stop at `until`, and at the end
        of the UTC day on which a gap ended, so that a day's rows depend on nothing after it.
        """
        self._expire(until - 1)
        if close_open:
            self._end_all(until, "stream_end")
        for gap, at in self._measured:
            assert self._edits is not None
            retention.follow(gap, self._edits, at, self._at, self._sights)
            self._ended.append(gap)
        ended = sorted(self._ended, key=attrgetter("opened_at", "gap_id"))
        self._ended, self._measured = [], []
        for gap in ended:
            gap.measure(min(until, (gap.closed_at // DAY + 1) * DAY))
        return [gap.row() for gap in ended]

    def _show(self, ts: int, gap: Gap) -> None:
        """Open a gap, in the region of the oldest one that the cursor stands in."""
        self._tally.shown += 1
        around = [other for other in self._open if other.start <= gap.start <= other.end]
        if around:
            gap.region_id = around[0].gap_id
        gap.reshown_of = self._first_shown.get(gap.completion_id) or _first_showing(gap, around)
        self._first_shown.setdefault(gap.completion_id, gap.reshown_of or gap.gap_id)
        for other in around:
            other.is_superseded |= other.is_undecided and other.is_only_typed
        self._open.append(gap)
        self._extend(gap, ts)
        self._next_deadline = min(self._next_deadline, gap.deadline)

    def _decide(self, ts: int, kind: str, completion_id: str, part: str | None, reason: str | None) -> None:
        """Note what the user decided about the newest showing of a proposal."""
        gap = self._newest(completion_id)
        if kind == "accepted":
            for changed in self._decisions.accept(gap, ts, part, self._open):
                self._extend(changed, ts)
        elif gap is not None:
            decisions.reject(gap, reason)

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
        gap.closed_at, gap.break_reason, gap.final = ts, reason, utf16.readable(gap.text)
        if gap.is_measured:
            self._measured.append((gap, self._at))
        else:
            self._ended.append(gap)

    def _drop_ended(self) -> None:
        self._open = [gap for gap in self._open if gap.break_reason is None]

    def _end_all(self, ts: int, reason: str) -> None:
        for gap in self._open:
            self._end(gap, ts, reason)
        self._open = []

    # What the user writes

    def _follow(self, edits: Edits, run: int, stop: int, *, is_accepted: bool) -> None:
        """Go through the runs `[run, stop)` of edits; `is_accepted`: an acceptance comes next."""
        while run < stop:
            if not self._open:
                self._last_edit_at = edits.ts[stop - 1]
                self._decisions.begin_edit(edits.reason[stop - 1])
                return
            self._at = edits.first[run]
            ts, start, length = edits.begun[run], edits.offset[run], edits.length[run]
            if ts >= self._next_deadline:
                self._expire(ts)
            here = stretch.region(self._open, self._policy, start, start + length)
            after = run if here is None else self._stretch(edits, run, stop, here, is_accepted=is_accepted)
            if after > run:
                run = after
                continue
            if edits.first[run + 1] - edits.first[run] > 1:
                parts = edits.cut(run, stretch.first_outside(edits, run, here))
                self._follow(parts, 0, len(parts.first) - 1, is_accepted=is_accepted and run + 1 == stop)
            else:
                self._edit(ts, start, length, edits.singles.text[edits.first[run]], edits.reason[run])
            run += 1

    def _stretch(
        self, edits: Edits, first: int, stop: int, here: stretch.Region, *, is_accepted: bool
    ) -> int:
        """Apply runs of edits in which nothing happens, and return the run after the last of them."""
        after = stretch.follow(
            edits,
            first,
            stop,
            here,
            idle=self._idle,
            lifetime=self._lifetime,
            most=self._policy.max_final_units,
        )
        if after == first:
            return first
        last = after - 1
        ts = self._last_edit_at = edits.ts[last]
        self._decisions.begin_edit(edits.reason[last])
        for gap in here.inside:
            self._extend(gap, ts)
        if is_accepted and after == stop:  # of this edit, perhaps
            inserted = utf16.to_units(edits.singles.text[edits.first[after] - 1])
            for gap in here.inside:
                self._decisions.touch(gap, edits.end[last] - gap.start, inserted)
        return after

    def _edit(self, ts: int, start: int, length: int, text: str, reason: str | None) -> None:
        self._last_edit_at = ts
        self._decisions.begin_edit(reason)
        edit = _Edit(ts, start, start + length, utf16.to_units(text), reason)
        for gap in self._open:
            if gap.tracking == EDITS:
                self._edit_open(gap, edit)
        self._drop_ended()
        self._decisions.finish_edit(ts)

    def _edit_open(self, gap: Gap, edit: _Edit) -> None:
        """Let an edit change a gap, move it, or end it. On an end the final text is that before the edit."""
        where, start, end, inserted = gap.place(edit.start, edit.end, edit.inserted)
        units = len(inserted)
        if where == "across":
            self._end(gap, edit.ts, "anchor_edited")
        elif where != "inside":
            distance = gap.start - end if where == "before" else start - gap.end
            if self._is_by_hand(gap, edit, distance):
                self._end(gap, edit.ts, "edited_elsewhere")
        elif gap.end - gap.start + units - (end - start) > self._policy.max_final_units:
            self._end(gap, edit.ts, "outgrown")
        if gap.break_reason is not None:
            return
        gap.measure(edit.ts)
        gap.apply(where, start, end, inserted)
        is_nothing = start == end and not inserted  # it only rewrote an anchor
        if where == "inside" and not is_nothing:
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

    def _look_at_request(self, ts: int, offset: int | None, prefix: str, suffix: str | None) -> None:
        """Compare the open gaps with what a request shows, and remember it."""
        if not self._open and self._tracking == EDITS:
            return
        start = None if offset is None else offset - utf16.length(prefix)
        view = View(start, prefix, suffix, reaches_end=suffix == "")
        self._look(ts, view, is_whole=False)
        if self._tracking == SNAPSHOTS:
            self._known = recall.remember(self._known, view)

    def _look(self, ts: int, view: View, *, is_whole: bool) -> None:
        """Compare the open gaps with a view of the document. `is_whole`: it shows all of it."""
        for gap in self._open:
            if gap.tracking == SNAPSHOTS:
                n_edits = gap.n_edits
                reason = views.see(gap, view, self._policy)
                if gap.n_edits > n_edits:
                    self._extend(gap, ts)
            else:
                reason = views.check(gap, view, is_whole=is_whole)
            if reason is not None:
                self._end(gap, ts, reason)
        self._drop_ended()
        if is_whole:
            self._sights.append(Sight(self._at, ts, view))


def _first_showing(gap: Gap, around: Sequence[Gap]) -> str | None:
    """Return the gap in which a proposal was first shown, of which this is what the user has not typed yet."""
    wanted = gap.proposal.strip()
    for other in around if wanted else ():
        if not other.proposal.rstrip().endswith(wanted):
            continue
        typed = utf16.readable(other.text[: gap.start - other.start])
        if (typed + gap.proposal).strip() == other.proposal.strip():
            return other.reshown_of or other.gap_id
    return None
