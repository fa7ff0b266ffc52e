"""Days of `raw_events` made into the same days of `gap_sessions`, in bounded memory.

A gap belongs to the day on which it closed, and opened on that day or the one before. So day D is extracted
from D-1 and D, a range from one pass over it and the day before, and a day's rows are the same either way.

What does not live here: the extraction itself (`gaps.py`), and how a window is cut and followed (`shards.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from deltalake.transaction import AddAction

from echo_dagster.extraction.policies import MAX_LIFETIME_S, Policy
from echo_dagster.extraction.schema import GAP_SCHEMA
from echo_dagster.extraction.shards import EVENTS, Job, cut, follow_all
from echo_dagster.extraction.stream import Tally
from echo_dagster.lake import Lake, connect
from echo_dagster.resources import sql
from echo_dagster.scratch import scratch

GAPS = "gap_sessions"

_DAY = timedelta(days=1)


class ConservationError(RuntimeError):
    """Proposals were lost or invented between the events and the gaps. Nothing was written."""


@dataclass(frozen=True)
class Extracted:
    """What `extract_days` read and wrote.

    Attributes:
        events: events read.
        shown: proposals shown, by day; the day before the first is among them.
        gaps: rows written.
        break_reasons, outcomes: rows written, by day and value.
        earlier: gaps that closed before the first day; they are yesterday's.
        still_open: gaps open at the end of the last day; they are tomorrow's.
        unmatched_decisions: acceptances and rejections that found no open gap.
    """

    events: int
    shown: Mapping[date, int]
    gaps: int
    break_reasons: Mapping[tuple[date, str], int]
    outcomes: Mapping[tuple[date, str], int]
    earlier: int
    still_open: int
    unmatched_decisions: int

    def by_break_reason(self) -> list[dict[str, Any]]:
        """Return one record per day and reason."""
        return [{"day": d, "break_reason": v, "gaps": n} for (d, v), n in sorted(self.break_reasons.items())]

    def by_outcome(self) -> list[dict[str, Any]]:
        """Return one record per day and outcome."""
        return [{"day": d, "outcome": v, "gaps": n} for (d, v), n in sorted(self.outcomes.items())]


def extract_days(
    lake: Lake,
    days: Sequence[date],
    policy: Policy,
    *,
    spill: Path,
    progress: Callable[[int, int], None] | None = None,
) -> Extracted:
    """Replace `days` of `gap_sessions` by the gaps that closed on them, stream by stream.

    Args:
        lake: where `raw_events` is read and `gap_sessions` written.
        days: which days. They need not be neighbours.
        policy: when gaps end.
        spill: a directory for the gaps until all of them are known; best beside the lake, as they are moved there.
        progress: told (events read, events).

    Raises:
        TableMissing: `raw_events` was never written.
        ConservationError: proposals shown are not gaps closed plus gaps still open.
    """
    wanted = sorted(set(days))
    window = sorted({day - _DAY for day in wanted} | set(wanted))
    until = datetime.combine(window[-1] + _DAY, time(), UTC)
    tally = Tally()
    closed: Counter[tuple[date, str, str]] = Counter()
    with scratch(spill, "gaps-") as folder:
        version = lake.version(EVENTS)
        shown, by_bucket = _counts(lake.read(EVENTS, window, version))
        total = sum(by_bucket.values())
        ranges = cut(sorted(by_bucket.items()), lake.bytes_per_row(EVENTS, window))
        jobs = [
            Job(lake, version, window, wanted, number, first, last, until, policy, folder)
            for number, (first, last) in enumerate(ranges)
        ]
        files: list[AddAction] = []
        for done in follow_all(jobs, total):
            tally.add(done.tally)
            closed.update(done.closed)
            files += done.files
            if progress is not None:
                progress(tally.events, total)
        if sum(shown.values()) != closed.total() + tally.still_open or total != tally.events:
            raise ConservationError(
                f"{sum(shown.values())} proposals shown in {total} events, but {closed.total()} gaps closed "
                f"and {tally.still_open} still open in {tally.events} events; nothing was written"
            )
        schema = {"day": pl.Date(), **GAP_SCHEMA}
        lake.replace_by_files(GAPS, folder, files, schema, wanted)
    reasons: Counter[tuple[date, str]] = Counter()
    outcomes: Counter[tuple[date, str]] = Counter()
    for (day, reason, outcome), n in closed.items():
        if day in wanted:
            reasons[day, reason] += n
            outcomes[day, outcome] += n
    return Extracted(
        events=total,
        shown=shown,
        gaps=reasons.total(),
        break_reasons=reasons,
        outcomes=outcomes,
        earlier=closed.total() - reasons.total(),
        still_open=tally.still_open,
        unmatched_decisions=tally.unmatched_decisions,
    )


def conservation(lake: Lake, day: date, policy: Policy | None = None) -> tuple[int, int]:
    """Return how many gaps `day` of `gap_sessions` must hold and how many of them it holds, each once.

    A gap that cannot outlive the day must have closed on it: one that opened earlier than the policy's
    lifetime before midnight, or (no policy given) than the longest lifetime there is. Every other gap of the
    day must come from one proposal of the day or the day before. The numbers differ where gaps are missing,
    doubled or made up. Other days of `gap_sessions` are not looked at, so that days stay parallel.
    """
    lifetime = timedelta(seconds=policy.lifetime_s if policy else MAX_LIFETIME_S)
    midnight = datetime.combine(day + _DAY, time(), UTC)
    told = {"day": day, "day_before": day - _DAY, "last_start": midnight - lifetime}
    with connect() as connection:
        lake.register(connection, EVENTS)
        lake.register(connection, GAPS)
        expected, found = connection.execute(sql("gap_conservation"), told).fetchall()[0]
    return expected, found


def _counts(log: pl.LazyFrame) -> tuple[Counter[date], Counter[int]]:
    """Return the proposals shown by day, and the events by bucket."""
    shown: Counter[date] = Counter()
    events: Counter[int] = Counter()
    counts = log.group_by("day", "bucket").agg(pl.len(), shown=(pl.col("kind") == "shown").sum())
    for day, bucket, count, proposals in counts.collect(engine="streaming").iter_rows():
        shown[day] += proposals
        events[bucket] += count
    return shown, events
