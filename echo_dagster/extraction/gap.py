"""One gap while it is open: where it is, what it holds, what the user did in it; and the row it ends as.

What does not live here: when a gap ends and whose acceptance an edit is (`stream.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal, Protocol

from echo_dagster import utf16
from echo_dagster.extraction import geometry, outcomes
from echo_dagster.extraction.anchors import ANCHOR_CHARS, Around, View
from echo_dagster.extraction.schema import RETENTION_SECONDS

SECOND = 1_000_000  # times are microseconds since 1970, UTC
DAY = 86_400 * SECOND
NEVER = 2**62

EDITS, SNAPSHOTS = "edits", "snapshots"

#: Ends that no view of the document shows.
_UNSEEN_ENDS = ("idle", "lifetime", "document_closed")


#: Where an edit falls.
Where = Literal["inside", "before", "after", "across"]


@dataclass(frozen=True, slots=True)
class Taken:
    """What the user accepted of the proposal: how many units, and whether that is all of it."""

    units: int = 0
    is_any: bool = False
    is_whole: bool = False


#: Where in the document, how many units were removed there, and what was inserted, a character per unit.
Splice = tuple[int, int, str]


class Pending(Protocol):
    """Splices that are put together when somebody asks for them."""

    def splices(self) -> Sequence[Splice]:
        """Return them, in the order in which they were made."""
        ...


@dataclass(slots=True)
class Gap:
    """A gap and its history. Offsets are UTF-16 units in the document as it stands now.

    Where a view did not say where it begins, `start` and `end` are counted from its cursor, and `NEVER` where it did
    not show the gap.
    """

    gap_id: str
    completion_id: str
    region_id: str
    stream: tuple[str, str, str]
    labels: tuple[Any, ...]  # repository, language, model, source, cohort, consent, latency_ms
    tracking: str
    opened_at: int
    offset: int | None  # null where nobody says how much of the document precedes the prefix
    prefix: str
    suffix: str | None
    replaced: str
    proposal: str

    start: int
    end: int
    around: Around  # what stood around it when it was last seen
    held: str  # what the gap held before the splices that are pending, a character per UTF-16 unit
    #: Splices of its text that nobody has asked for yet, and where the gap began when they were made.
    pending: list[tuple[int, Pending]] = field(default_factory=list)
    reshown_of: str | None = None
    #: How much of C_0's prefix and suffix still stands untouched beside the gap.
    left_known: int = NEVER
    right_known: int = NEVER
    is_lost: bool = False  # an edit crossed the gap and ended it: its text is not known any more

    deadline: int = 0
    n_edits: int = 0
    typed: int = 0
    pasted: int = 0
    by_agent: int = 0
    taken_inside: int = 0  # units of any proposal accepted inside
    is_only_typed: bool = True
    accepting_at: int = -1  # when an edit of an acceptance last fell inside
    is_rejected: bool = False
    is_superseded: bool = False
    is_seen: bool = False  # by a view, after it opened
    is_written_in: bool = True  # the cursor stood in it when it was last seen

    taken: Taken = Taken()
    #: The accepted text that still stands, since when, and accepted text that no edit has inserted yet.
    pieces: geometry.Pieces = field(default_factory=list)
    accepted_at: int = NEVER
    awaited: str = ""
    #: Units that stood at each of RETENTION_SECONDS that has passed, and when the next one does.
    retained: list[int] = field(default_factory=list)
    next_count_at: int = NEVER

    closed_at: int = NEVER
    break_reason: str | None = None
    final: str = ""

    @property
    def text(self) -> str:
        """What the gap holds now, a character per UTF-16 unit."""
        if self.pending:
            held = self.held
            for first, pending in self.pending:
                for start, removed, inserted in pending.splices():
                    at = start - first
                    held = held[:at] + inserted + held[at + removed :]
            self.pending.clear()
            self.held = held
        return self.held

    @text.setter
    def text(self, text: str) -> None:
        self.pending.clear()
        self.held = text

    @property
    def is_undecided(self) -> bool:
        """Whether the user has neither accepted nor dismissed the proposal."""
        return not (self.taken.is_any or self.is_rejected)

    @property
    def is_measured(self) -> bool:
        """Whether edits can still change a count of retained text."""
        return self.next_count_at < NEVER and bool(self.pieces)

    def decision(self) -> tuple[Any, ...]:
        """Return what is known of an acceptance, for `restore_decision`."""
        return self.taken, self.pieces, self.accepted_at, self.next_count_at, self.awaited

    def restore_decision(self, before: tuple[Any, ...]) -> None:
        """Return to what `decision` gave, as long as no edit came between."""
        self.taken, self.pieces, self.accepted_at, self.next_count_at, self.awaited = before

    def left(self, units: int) -> str:
        """Return at most `units` units of untouched prefix beside the gap."""
        return geometry.tail(self.prefix, min(units, self.left_known))

    def right(self, units: int) -> str:
        """Return at most `units` units of untouched suffix beside the gap."""
        return geometry.head(self.suffix or "", min(units, self.right_known))

    def place(self, start: int, end: int, inserted: str) -> tuple[Where, int, int, str]:
        """Say where an edit falls, with its range and text; inside, without what only rewrites an anchor."""
        if self.start <= start and end <= self.end:
            return "inside", start, end, inserted
        if end >= self.start and start <= self.end:
            left, right = self.left(self.start - start), self.right(end - self.end)
            trimmed = geometry.trim((self.start, self.end), (start, end), inserted, left, right)
            if self.start <= trimmed[0] and trimmed[1] <= self.end:
                return "inside", *trimmed
        if end <= self.start:
            return "before", start, end, inserted
        return ("after" if start >= self.end else "across"), start, end, inserted

    def apply(self, where: Where, start: int, end: int, inserted: str) -> None:
        """Move, change or lose the gap as an edit demands, in the form that `place` returned."""
        units = len(inserted)
        delta = units - (end - start)
        if where == "inside":
            first, last = start - self.start, end - self.start
            if self.pieces:
                front, back = geometry.shared_ends(self.text[first:last], inserted)
                self.pieces = geometry.survivors(self.pieces, start + front, end - back, units - front - back)
            self.text = self.text[:first] + inserted + self.text[last:]
            self.end += delta
            return
        if where == "before":
            self.left_known = min(self.left_known, self.start - end)
            self.start += delta
            self.end += delta
        elif where == "after":
            self.right_known = min(self.right_known, start - self.end)
        else:
            self.is_lost = True
        if self.pieces:
            self.pieces = geometry.survivors(self.pieces, start, end, units)

    def count_edit(self, ts: int, units: int, reason: str | None) -> None:
        """Count an edit inside the gap that inserted `units`. One that gives no reason counts as typing."""
        self.n_edits += 1
        if reason is None or reason == "typing":
            self.typed += units
            return
        self.is_only_typed = False
        if reason == "accept":
            self.taken_inside += units
            self.accepting_at = ts
        elif reason == "paste":
            self.pasted += units
        elif reason == "agent":
            self.by_agent += units

    def keep(self, ts: int, at: int, text: str) -> None:
        """Begin, or go on, to count accepted text: `text`, which stands at unit `at` of the gap."""
        first = self.start + at
        units = len(text)
        others = geometry.survivors(self.pieces, first, first + units, units)
        self.pieces = sorted([*others, (first, text)])
        self.awaited = ""
        if self.accepted_at == NEVER:
            self.accepted_at = self.next_count_at = ts

    def shift_pieces(self, since: int, units: int) -> None:
        """Move the pieces that begin at unit `since` of the document or after it."""
        if self.pieces and units:
            self.pieces = [(at + units if at >= since else at, text) for at, text in self.pieces]

    def measure(self, now: int) -> None:
        """Count the accepted text that stands, for each of `RETENTION_SECONDS` that `now` has reached."""
        while self.next_count_at <= now:
            self.retained.append(sum(len(text) for _, text in self.pieces))
            n = len(self.retained)
            is_last = n == len(RETENTION_SECONDS)
            self.next_count_at = NEVER if is_last else self.accepted_at + RETENTION_SECONDS[n] * SECOND

    def stop_measuring(self) -> None:
        """Give up on counts that are still to come: the log misses edits."""
        self.pieces, self.next_count_at = [], NEVER

    def is_on_other_line(self, offset: int) -> bool:
        """Say whether the cursor stands on a line that the gap has no part in, or that is not known."""
        if self.start <= offset <= self.end:
            return False
        is_before = offset < self.start
        units = self.start - offset if is_before else offset - self.end
        between = self.left(units) if is_before else self.right(units)
        return len(between) < units or "\n" in between

    def agrees_with(self, view: View) -> bool:
        """Say whether a view, as far as it reaches, shows the gap's text in its place between its anchors.

        It must be known where the view begins.
        """
        assert view.start is not None
        left = self.left(ANCHOR_CHARS)
        expected = left + self.text + self.right(ANCHOR_CHARS)
        first = self.start - len(left)
        last = first + len(expected)
        before, after = utf16.to_units(view.before), utf16.to_units(view.after or "")
        cursor = view.start + len(before)
        if view.reaches_end and last > cursor + len(after):
            return False
        for shown, start in ((before, view.start), (after, cursor)):
            begin, end = max(first, start), min(last, start + len(shown))
            if begin < end and not shown.startswith(expected[begin - first : end - first], begin - start):
                return False
        return True

    def stands_in(self, view: View) -> bool:
        """Say whether a view of the whole document shows the accepted text where it is believed to stand."""
        return all(_units(view.text, at, at + len(text)) == text for at, text in self.pieces)

    def row(self) -> tuple[Any, ...]:
        """Return the closed gap as a row of `schema.GAP_SCHEMA`."""
        is_exact = self.tracking == EDITS
        kept = outcomes.kept_rate(self.replaced, self.proposal, self.final)
        facts = outcomes.Facts(
            self.replaced,
            self.proposal,
            self.final,
            is_taken_whole=self.taken.is_whole,
            is_taken_in_part=self.taken.is_any,
            is_rejected=self.is_rejected,
            is_superseded=self.is_superseded,
            is_other_taken=self.taken_inside > 0,
        )
        # Without edits, nothing tells where the user stopped who was last seen writing here.
        is_end_seen = is_exact or (
            self.is_seen and not (self.is_written_in and self.break_reason in _UNSEEN_ENDS)
        )
        is_censored = self.break_reason in ("stream_end", "anchor_lost") or not is_end_seen
        repository, language, model, source, cohort, consent, latency_ms = self.labels
        return (
            self.gap_id,
            self.completion_id,
            self.region_id,
            self.reshown_of,
            *self.stream,
            repository,
            language,
            model,
            source,
            cohort,
            consent,
            latency_ms,
            self.opened_at,
            self.closed_at,
            self.break_reason,
            self.offset,
            self.prefix,
            self.suffix,
            self.replaced,
            self.proposal,
            self.final,
            outcomes.outcome(facts, kept),
            self.taken.units,
            self.typed if is_exact else None,
            self.pasted if is_exact else None,
            self.by_agent if is_exact else None,
            kept,
            *self.retained,
            *[None] * (len(RETENTION_SECONDS) - len(self.retained)),
            self.n_edits if is_exact or self.is_seen else None,
            self.tracking,
            is_censored,
        )


def open_gap(
    stream: tuple[str, str, str], ts: int, tracking: str, shown: tuple[Any, ...], labels: tuple[Any, ...]
) -> Gap:
    """Return the gap that a `shown` event opens, as its own region.

    Args:
        stream: user, session and document.
        ts: when.
        tracking: `EDITS` or `SNAPSHOTS`.
        shown: completion_id, offset, length, text, prefix, suffix, and what is recalled in place of a suffix.
        labels: event_id, repository, language, model, source, cohort, consent, latency_ms.
    """
    completion_id, offset, length, proposal, prefix, suffix, recalled = shown
    gap_id = blake2b("\x1f".join((*stream, completion_id, labels[0])).encode(), digest_size=12).hexdigest()
    replaced = geometry.head(suffix or "", length) if length else ""
    if suffix and length:
        suffix = utf16.readable(utf16.to_units(suffix)[length:])
    return Gap(
        gap_id=gap_id,
        completion_id=completion_id,
        region_id=gap_id,
        stream=stream,
        labels=labels[1:],
        tracking=tracking,
        opened_at=ts,
        offset=offset,
        prefix=prefix,
        suffix=suffix,
        replaced=utf16.readable(replaced),
        proposal=proposal,
        around=Around(offset, prefix, suffix, recalled),
        start=offset or 0,
        end=(offset or 0) + len(replaced),
        held=replaced,
    )


def _units(text: str, start: int, end: int) -> str:
    """Return units `[start, end)` of `text`, as far as it has them."""
    return utf16.to_units(text)[max(start, 0) : max(end, 0)]
