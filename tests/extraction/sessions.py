"""Random editing sessions for the tests: events of one stream, with what the log does not say beside them.

Beside the columns of the experience log an event says `is_acceptance` (an edit that inserts a proposal),
`stands_at` (where an accepted text stands once it is inserted) and `is_before_edit` (an acceptance logged
before its edit). The alphabet is small, so that edits repeat what stands around them, and holds astral
characters, CRLF and combining marks.
"""

from datetime import UTC, datetime, timedelta

import polars as pl

from echo_dagster import events as log

ALPHABET = ("a", "b", " ", "\n", "\r\n", "😀", "é", ")", "\U0001d4b3", "e\u0301")
REASONS = (
    None,
    None,
    None,
    "typing",
    "typing",
    "paste",
    "undo",
    "format",
    "snippet",
    "auto_import",
    "agent",
    "other",
)
START = datetime(2026, 1, 5, 23, 40, tzinfo=UTC)  # most streams run over a midnight


def width(text):
    return len(text.encode("utf-16-le")) // 2


class Session:
    """Writes one stream. `rng` is a random.Random, so that hypothesis can shrink what it makes."""

    def __init__(self, rng, name, start=START):
        self.rng = rng
        self.name = name
        self.now = start
        self.seq = 0
        self.chars = [rng.choice(ALPHABET) for _ in range(rng.randint(0, 120))]
        self.chars = [char for text in self.chars for char in text]  # single code points
        self.document = "".join(self.chars)
        self.cursor = rng.randint(0, len(self.chars))
        self.events = []
        self.undo = None
        self.n_shown = 0

    def offset(self, position):
        return width("".join(self.chars[:position]))

    def write(self, kind, **fields):
        hidden = {"is_acceptance": False, "stands_at": None, "is_before_edit": False}
        empty = dict.fromkeys(log.SCHEMA.names())
        self.events.append(
            {
                **empty,
                **hidden,
                "event_id": f"{self.name}-{self.seq:07d}",
                "ts": self.now,
                "seq": self.seq,
                "user_id": f"user-{self.name}",
                "session_id": "s",
                "document": "src/a.ts",
                "source": "test",
                "consent": True,
                "kind": kind,
                **fields,
            }
        )
        self.seq += 1

    def wait(self):
        roll = self.rng.random()
        if roll < 0.3:
            return  # a tie
        longest = 3 if roll < 0.95 else 20 if roll < 0.985 else 400 if roll < 0.999 else 30_000
        self.now += timedelta(milliseconds=self.rng.randint(1, longest * 1000))

    def change(self, start, stop, text, reason, **fields):
        removed = "".join(self.chars[start:stop])
        self.write(
            "edited", offset=self.offset(start), length=width(removed), text=text, reason=reason, **fields
        )
        self.chars[start:stop] = list(text)
        self.undo = (start, start + len(text), removed)
        self.cursor = start + len(text)

    def words(self, most):
        return "".join(self.rng.choice(ALPHABET) for _ in range(self.rng.randint(0, most)))

    def step(self):
        self.wait()
        roll = self.rng.random()
        if roll < 0.78:
            self.edit()
        elif roll < 0.86:
            self.show()
        elif roll < 0.97:
            place = self.cursor + self.rng.choice((-9, -2, -1, 0, 1, 2, 9))
            self.write("cursor", offset=self.offset(min(max(place, 0), len(self.chars))), length=0)
        elif roll < 0.98:
            self.reject()
        elif roll < 0.999:
            position = self.rng.randint(0, len(self.chars))
            self.write(
                "snapshot", prefix="".join(self.chars[:position]), suffix="".join(self.chars[position:])
            )
        else:
            self.write("closed")

    def edit(self):
        rng, size = self.rng, len(self.chars)
        roll = rng.random()
        reason = rng.choice(REASONS) if rng.random() < 0.4 else None
        cursor = min(self.cursor, size)
        if roll < 0.75:  # type at the cursor
            self.change(cursor, cursor, rng.choice(ALPHABET), reason)
        elif roll < 0.85:  # backspace
            self.change(max(0, cursor - rng.randint(1, 3)), cursor, "", reason)
        elif roll < 0.90:  # rewrite what stands around the cursor, with a change inside
            start, stop = max(0, cursor - rng.randint(0, 8)), min(size, cursor + rng.randint(0, 8))
            middle = rng.randint(start, stop)
            text = "".join(self.chars[start:middle]) + self.words(2) + "".join(self.chars[middle:stop])
            self.change(start, stop, text, reason)
        elif roll < 0.94 and self.undo:
            start, stop, text = self.undo
            if stop <= size:
                self.change(start, stop, text, "undo")
        elif roll < 0.97:  # one change with several edits, last position first
            places = sorted({rng.randint(0, size) for _ in range(3)}, reverse=True)
            for place in places:
                self.change(place, min(place + rng.randint(0, 2), len(self.chars)), self.words(2), reason)
        else:  # anywhere; and keep the document small
            start = rng.randint(0, size)
            stop = min(size, start + rng.randint(0, 80 if size > 200 else 6))
            self.change(start, stop, self.words(4), reason)

    def show(self):
        rng = self.rng
        cursor = min(self.cursor, len(self.chars)) if rng.random() < 0.8 else rng.randint(0, len(self.chars))
        stop = min(len(self.chars), cursor + rng.choice((0, 0, 0, 1, 3)))
        proposal = self.words(6)
        prefix, suffix = self.chars[:cursor], self.chars[cursor:]
        if rng.random() < 0.2:
            prefix = prefix[max(0, len(prefix) - rng.randint(0, 30)) :]
        if rng.random() < 0.2:
            suffix = suffix[: max(stop - cursor, rng.randint(0, 30))] or suffix
        is_known = stop > cursor or rng.random() < 0.85
        completion = f"{self.name}-c{self.n_shown}"
        self.n_shown += 1
        self.write(
            "shown",
            completion_id=completion,
            offset=self.offset(cursor),
            length=width("".join(self.chars[cursor:stop])),
            text=proposal,
            prefix="".join(prefix),
            suffix="".join(suffix) if is_known else None,
        )
        self.cursor = cursor
        if proposal and rng.random() < 0.4:
            self.accept(completion, cursor, stop, proposal)

    def accept(self, completion, start, stop, proposal):
        rng = self.rng
        self.now += timedelta(milliseconds=rng.choice((0, 5, 900)))
        part = proposal[: rng.randint(1, len(proposal))] if rng.random() < 0.3 else proposal
        is_whole = part == proposal
        reason = rng.choice(("accept", None))
        is_first = rng.random() < 0.3
        at = self.offset(start)
        event = {
            "completion_id": completion,
            "text": None if is_whole else part,
            "stands_at": (at, at + width(part)),
            "is_before_edit": is_first,
        }
        if is_first:
            self.write("accepted", **event)
        end = stop if is_whole else start
        line = start
        if reason == "accept" and rng.random() < 0.5:  # many editors write the line anew
            line = max(0, start - rng.randint(0, 5))
        known = len(self.events[-2 if is_first else -1]["prefix"])
        line = max(line, start - known)
        self.change(line, end, "".join(self.chars[line:start]) + part, reason, is_acceptance=True)
        if not is_first:
            self.write("accepted", **event)

    def reject(self):
        if self.n_shown:
            reason = self.rng.choice((None, "dismissed", "timeout", "superseded"))
            self.write("rejected", completion_id=f"{self.name}-c{self.n_shown - 1}", reason=reason)


def session(rng, name, n_edits, start=START):
    """Return the events of a stream with about `n_edits` edits, and the document it began with."""
    made = Session(rng, name, start)
    while sum(event["kind"] == "edited" for event in made.events[-1:]) + made.seq < n_edits:
        made.step()
    return made.events, made.document


def frame(events):
    """Return events as a frame of the experience log."""
    return pl.DataFrame(events, schema=log.SCHEMA, infer_schema_length=None)
