"""A log written by hand: a document, and what happens to it, second by second."""

from datetime import UTC, datetime, timedelta

import polars as pl

from echo_dagster import events
from echo_dagster.extraction.gaps import extract_frame
from echo_dagster.extraction.policies import PRESETS

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def units(text):
    return len(text.encode("utf-16-le")) // 2


class Log:
    """One stream. `at` is seconds since noon; events keep the order in which they are written."""

    def __init__(self, document="", start=NOON, user="ada", is_edited=True):
        self.document = document
        self.start = start
        self.user = user
        self.is_edited = is_edited
        self.rows = []

    def add(self, at, kind, **fields):
        number = len(self.rows)
        row = {
            "event_id": f"{self.user}-{number:04d}",
            "ts": self.start + timedelta(seconds=at),
            "seq": number,
            "user_id": self.user,
            "session_id": "morning",
            "document": "a.py",
            "language": "python",
            "model": "m1",
            "source": "test",
            "cohort": "internal",
            "consent": True,
            "kind": kind,
            **fields,
        }
        self.rows.append(events.to_row(row))
        return self

    def shown(self, at, offset, text, length=0, name="c1", **fields):
        told = {"prefix": self.document[:offset], "suffix": self.document[offset:], **fields}
        return self.add(at, "shown", completion_id=name, offset=offset, length=length, text=text, **told)

    def edited(self, at, offset, length, text, reason=None):
        """Edit the document (whose characters must be single units up to there) and log it, if edits are."""
        self.document = self.document[:offset] + text + self.document[offset + length :]
        if not self.is_edited:
            return self
        return self.add(at, "edited", offset=offset, length=length, text=text, reason=reason)

    def accepted(self, at, name="c1", text=None):
        return self.add(at, "accepted", completion_id=name, text=text)

    def rejected(self, at, name="c1", reason=None):
        return self.add(at, "rejected", completion_id=name, reason=reason)

    def frame(self):
        return events.frame(self.rows)

    def gaps(self, policy=PRESETS["echo"]):
        return {
            gap["completion_id"]: gap for gap in extract_frame(self.frame(), policy).iter_rows(named=True)
        }

    def gap(self, policy=PRESETS["echo"], name="c1"):
        return self.gaps(policy)[name]


def seconds(gap):
    """How long a gap was open."""
    return (gap["closed_at"] - gap["opened_at"]).total_seconds()


def concat(*logs):
    return pl.concat([log.frame() for log in logs])
