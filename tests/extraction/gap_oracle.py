"""An independent account of what gap extraction must say: a replay of the whole document, one gap at a time.

The document is a list of cells, each with an identity and one UTF-16 unit; every gap replays its own copy.
Nothing is shared with the library, and nothing is fast. `sessions.py` makes the events.
"""

import struct
from dataclasses import dataclass, field
from datetime import timedelta

HORIZONS = (0, 30, 120, 300, 600, 900)
DAY = 86_400


def units(text):
    raw = text.encode("utf-16-le")
    return list(struct.unpack(f"<{len(raw) // 2}H", raw))


def string(codes):
    return struct.pack(f"<{len(codes)}H", *codes).decode("utf-16-le", "replace")


@dataclass
class Replay:
    """One gap, from the event that opened it to its end and the last count of accepted text."""

    policy: object
    cells: list
    unit_of: dict
    shown: dict
    opened: float
    start: int
    stop: int
    n_edits: int = 0
    counts: dict = field(default_factory=lambda: {"typed": 0, "pasted": 0, "agent": 0})
    accepted_chars: int = 0
    ended: float | None = None
    reason: str | None = None
    final: str | None = None
    is_lost: bool = False
    accepted_at: float | None = None
    is_awaiting: tuple | None = None
    accepted: set = field(default_factory=set)
    retained: list = field(default_factory=list)
    region: str | None = None

    def __post_init__(self):
        self.left = (
            self.cells[: self.start][-len(units(self.shown["prefix"])) :] if self.shown["prefix"] else []
        )
        known = (
            0 if self.shown["suffix"] is None else len(units(self.shown["suffix"])) - (self.stop - self.start)
        )
        self.right = self.cells[self.stop : self.stop + known]
        self.last_inside = self.opened
        self.accept_seen_at = None

    @property
    def text(self):
        return string([self.unit_of[cell] for cell in self.cells[self.start : self.stop]])

    def deadline(self):
        policy = self.policy
        idle = max(self.last_inside + micros(policy.idle_s), self.opened + micros(policy.settle_s))
        lifetime = self.opened + micros(policy.lifetime_s)
        return (lifetime, "lifetime") if lifetime <= idle else (idle, "idle")

    def end(self, now, reason):
        if self.ended is None:
            self.ended, self.reason, self.final = now, reason, self.text

    def day_end(self):
        return (self.ended // micros(DAY) + 1) * micros(DAY)

    def is_done(self, now):
        """Whether nothing can change any more."""
        if self.ended is None:
            return False
        return self.accepted_at is None or len(self.retained) == len(HORIZONS) or now > self.day_end()

    def pass_time(self, now):
        if self.ended is None:
            deadline, reason = self.deadline()
            if deadline <= now:
                self.end(deadline, reason)
        self.count(now if self.ended is None else min(now, self.day_end()))

    def count(self, now):
        if self.accepted_at is None:
            return
        while (
            len(self.retained) < len(HORIZONS)
            and self.accepted_at + micros(HORIZONS[len(self.retained)]) <= now
        ):
            self.retained.append(len(self.accepted & set(self.cells)))

    def follow(self, event, now, last_edit):
        kind, was_open = event["kind"], self.ended is None
        if kind == "edited":
            self.edit(event, now)
            if event["is_acceptance"] and self.is_awaiting and was_open and self.ended is None:
                self.keep(self.is_awaiting, now)
        elif kind == "cursor":
            self.move_cursor(event["offset"], now, last_edit)
        elif kind == "accepted" and event["completion_id"] == self.shown["completion_id"]:
            self.accept(event, now)
        elif kind == "closed":
            self.end(now, "document_closed")

    def edit(self, event, now):
        start, stop, text = event["offset"], event["offset"] + event["length"], units(event["text"])
        if self.is_lost:
            self.splice(start, stop, text)
            return
        where = self.place(start, stop, text)
        if where == "across":
            self.end(now, "anchor_edited")
            self.is_lost = True
            self.splice(start, stop, text)
        elif where in ("before", "after"):
            distance = self.start - stop if where == "before" else start - self.stop
            if self.is_by_hand(event, now, distance):
                self.end(now, "edited_elsewhere")
            if where == "before":  # what an edit has touched is not C_0 any more, not even if it is undone
                self.left = self.cells[max(stop, self.start - len(self.left)) : self.start]
            else:
                self.right = self.cells[self.stop : min(start, self.stop + len(self.right))]
            self.splice(start, stop, text)
            if where == "before":
                shift = len(text) - (stop - start)
                self.start, self.stop = self.start + shift, self.stop + shift
        else:
            self.edit_inside(event, now, *where)

    def edit_inside(self, event, now, start, stop, text):
        grown = self.stop - self.start + len(text) - (stop - start)
        if grown > self.policy.max_final_units:
            self.end(now, "outgrown")
        removed = [self.unit_of[cell] for cell in self.cells[start:stop]]
        head = 0
        while head < min(len(removed), len(text)) and removed[head] == text[head]:
            head += 1
        tail = 0
        while tail < min(len(removed), len(text)) - head and removed[-tail - 1] == text[-tail - 1]:
            tail += 1
        self.splice(start + head, stop - tail, text[head : len(text) - tail])
        self.stop = self.start + grown
        if self.ended is None and (text or stop > start):
            self.n_edits += 1
            self.last_inside = now
            kind = {None: "typed", "typing": "typed", "paste": "pasted", "agent": "agent"}.get(
                event["reason"]
            )
            if kind and not event["is_acceptance"]:
                self.counts[kind] += len(text)
            if event["reason"] == "accept":
                self.accept_seen_at = now

    def is_by_hand(self, event, now, distance):
        if not self.policy.breaks_on_edit_elsewhere:
            return False
        if event["reason"] in ("format", "auto_import"):
            return False
        if event["reason"] == "snippet":
            return distance < self.policy.far_units
        return not (event["reason"] == "accept" and self.accept_seen_at == now)

    def place(self, start, stop, text):
        def is_inside():
            return self.start <= start and stop <= self.stop

        first = (start, stop)
        if is_inside():
            return start, stop, text
        if stop >= self.start and start <= self.stop:
            before = self.cells[start : self.start]
            if before and before == self.left[len(self.left) - len(before) :]:
                same = [self.unit_of[cell] for cell in before]
                if text[: len(same)] == same:
                    start, text = self.start, text[len(same) :]
            after = self.cells[self.stop : stop]
            if after and after == self.right[: len(after)]:
                same = [self.unit_of[cell] for cell in after]
                if len(same) <= len(text) and text[len(text) - len(same) :] == same:
                    stop, text = self.stop, text[: len(text) - len(same)]
            if is_inside():
                return start, stop, text
        if first[1] <= self.start:
            return "before"
        return "after" if first[0] >= self.stop else "across"

    def splice(self, start, stop, text):
        fresh = [object() for _ in text]
        self.unit_of.update(zip(fresh, text, strict=True))
        self.cells[start:stop] = fresh

    def move_cursor(self, offset, now, last_edit):
        policy = self.policy
        if self.ended is not None or not policy.cursor_jump or now < self.opened + micros(policy.settle_s):
            return
        if last_edit is not None and now - last_edit <= micros(policy.cursor_grace_s):
            return
        if self.start <= offset <= self.stop:
            return
        if offset < self.start:
            between, known = self.cells[offset : self.start], self.left
            is_known = between == known[len(known) - len(between) :] and len(between) <= len(known)
        else:
            between, known = self.cells[self.stop : offset], self.right
            is_known = between == known[: len(between)]
        if not is_known or 10 in [self.unit_of[cell] for cell in between]:
            self.end(now, "cursor_left")

    def accept(self, event, now):
        if self.ended is not None:
            return
        part = event["text"]
        proposed = len(units(self.shown["text"]))
        self.accepted_chars = (
            proposed if part is None else min(proposed, self.accepted_chars + len(units(part)))
        )
        where = event["stands_at"]
        if event["is_before_edit"]:
            self.is_awaiting = where
        else:
            self.keep(where, now)

    def keep(self, where, now):
        self.accepted |= set(self.cells[where[0] : where[1]])
        self.accepted_at = now if self.accepted_at is None else self.accepted_at
        self.is_awaiting = None


def micros(seconds):
    return round(seconds * 1_000_000)


def since_1970(moment):
    """Return whole microseconds: sums and differences of seconds would not tie where times do."""
    return (moment - moment.__class__(1970, 1, 1, tzinfo=moment.tzinfo)) // timedelta(microseconds=1)


def replay_all(events, document, policy, until, close_open):
    """Yield what `gap_sessions` must hold for one stream, as dicts. `events` are in order."""
    replays = []
    text = units(document)
    last_edit = None
    for event in events:
        now = since_1970(event["ts"])
        for replay in replays:
            replay.pass_time(now)
            replay.follow(event, now, last_edit)
        if event["kind"] == "edited":
            text[event["offset"] : event["offset"] + event["length"]] = units(event["text"])
            last_edit = now
        elif event["kind"] == "shown":
            replays.append(opened(event, now, text, replays, policy))
        yield from (result(replay, until) for replay in replays if replay.is_done(now))
        replays = [replay for replay in replays if not replay.is_done(now)]
    for replay in replays:
        deadline, reason = replay.deadline()
        if deadline < until:
            replay.end(deadline, reason)
        elif close_open:
            replay.end(until, "stream_end")
        if replay.ended is not None:
            yield result(replay, until)


def opened(event, now, text, replays, policy):
    cells = [object() for _ in text]
    start, stop = event["offset"], event["offset"] + (event["length"] or 0)
    fresh = Replay(policy, cells, dict(zip(cells, text, strict=True)), event, now, start, stop)
    around = [old for old in replays if old.ended is None and old.start <= start <= old.stop]
    fresh.region = (around[0] if around else fresh).shown["completion_id"]
    return fresh


def result(replay, until):
    replay.count(min(until, replay.day_end()))
    return {
        "completion_id": replay.shown["completion_id"],
        "region": replay.region,
        "closed_at": replay.ended,
        "break_reason": replay.reason,
        "final": replay.final,
        "n_edits": replay.n_edits,
        "typed_chars": replay.counts["typed"],
        "pasted_chars": replay.counts["pasted"],
        "agent_chars": replay.counts["agent"],
        "accepted_chars": replay.accepted_chars,
        "retained": [*replay.retained, *[None] * (len(HORIZONS) - len(replay.retained))],
    }
