"""A window of days cut into shards of whole streams, which are followed one by one or beside each other.

A shard is a range of buckets (`events.BUCKETS`). It is read, put in order and followed in memory, so that memory is
bounded by a shard and not by a day; several processes follow several shards, as the loop over events is Python's. The
rows do not depend on how a window is cut.

What does not live here: which days, and what is checked and written in the end (`days.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

import polars as pl
from deltalake.transaction import AddAction

from echo_dagster import streams, table_files
from echo_dagster.events import SCHEMA
from echo_dagster.extraction.gaps import extract
from echo_dagster.extraction.policies import Policy
from echo_dagster.extraction.schema import GAP_SCHEMA
from echo_dagster.extraction.stream import Tally
from echo_dagster.lake import Lake
from echo_dagster.workers import spread

EVENTS = "raw_events"

#: A shard is held in memory a few times over, as columns and as Python objects.
_SHARD_EVENTS = 200_000
_SHARD_BYTES = 64_000_000
#: A process takes about a second to begin.
_EVENTS_WORTH_A_PROCESS = 150_000


@dataclass(frozen=True)
class Job:
    """One shard: buckets `[first, last]` of `window`, and the folder below which its gaps of `days` are put.

    All shards read the same `version` of the events, whoever replaces them meanwhile.
    """

    lake: Lake
    version: int
    window: Sequence[date]
    days: Sequence[date]
    number: int
    first: int
    last: int
    until: datetime
    policy: Policy
    folder: Path


@dataclass
class Followed:
    """What became of a shard: its tally, the gaps that ended by day, break reason and outcome, and their files."""

    tally: Tally = field(default_factory=Tally)
    closed: Counter[tuple[date, str, str]] = field(default_factory=Counter)
    files: list[AddAction] = field(default_factory=list)


def cut(events_by_bucket: Sequence[tuple[int, int]], bytes_per_event: float) -> list[tuple[int, int]]:
    """Return ranges of buckets, first and last, that together hold every event and each no more than memory takes.

    Args:
        events_by_bucket: buckets in order, and how many events each holds.
        bytes_per_event: on average.
    """
    most = min(_SHARD_EVENTS, int(_SHARD_BYTES / max(bytes_per_event, 1.0)))
    shards: list[tuple[int, int]] = []
    held = 0
    for bucket, events in events_by_bucket:
        if shards and held + events <= most:
            shards[-1] = (shards[-1][0], bucket)
        else:
            shards.append((bucket, bucket))
            held = 0
        held += events
    return shards


def follow_all(jobs: Sequence[Job], n_events: int) -> Iterator[Followed]:
    """Follow shards and yield what became of them, in their order; beside each other where that is worth it."""
    yield from spread(_follower, jobs, most=min(len(jobs), n_events // _EVENTS_WORTH_A_PROCESS))


def _follower() -> Callable[[Job], Followed]:
    return follow


def follow(job: Job) -> Followed:
    """Extract the gaps of a shard and write those of the job's days, in the order of streams and of their opening."""
    done = Followed()
    events = (
        job.lake.read(EVENTS, job.window, job.version)
        .filter(pl.col("bucket").is_between(job.first, job.last))
        .select(*SCHEMA, "bucket")
        .collect()
    )
    gaps = [GAP_SCHEMA.to_frame()]
    by_stream = events if streams.is_in_order(events) else streams.in_order(events)
    gaps += extract([by_stream], job.policy, until=job.until, close_open=False, tally=done.tally)
    found = pl.concat(gaps).with_columns(day=pl.col("closed_at").dt.date())
    done.closed.update(found.select("day", "break_reason", "outcome").iter_rows())
    wanted = found.filter(pl.col("day").is_in(job.days)).select("day", *GAP_SCHEMA)
    done.files += table_files.write(job.folder, wanted, job.number)
    return done
