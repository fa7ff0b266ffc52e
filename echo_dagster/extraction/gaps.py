"""From experience-log frames to gap sessions: `extract` for a sorted flow of them, `extract_frame` for one.

What does not live here: the tables of the lake (`days.py`) and the loop over one stream (`stream.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import polars as pl

from echo_dagster.events import SCHEMA, STREAM_ORDER
from echo_dagster.extraction.gap import DAY
from echo_dagster.extraction.policies import Policy
from echo_dagster.extraction.schema import GAP_SCHEMA
from echo_dagster.extraction.stream import Events, Stream, Tally

_PLAIN = ("completion_id", "offset", "length", "text", "prefix", "suffix", "reason")
_LABELS = ("event_id", "repository", "language", "model", "source", "cohort", "consent")
_KEY = ("user_id", "session_id", "document")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: Rows hold whole contexts, so a batch of them is kept small.
_ROWS_PER_BATCH = 2_000


def extract(
    events: Iterable[pl.DataFrame],
    policy: Policy,
    *,
    until: datetime | None,
    close_open: bool,
    tally: Tally | None = None,
) -> Iterator[pl.DataFrame]:
    """Yield the gaps that end before `until`, as batches of `GAP_SCHEMA`: stream by stream, oldest first.

    Memory holds one batch of events, the events of one stream on one UTC day, and one batch of rows. Cost is
    linear in the events, times the gaps that are open beside each other.

    Args:
        events: frames of `events.SCHEMA`, their rows in `events.STREAM_ORDER`. Further columns are ignored.
        policy: when gaps end.
        until: the first moment of which the log tells nothing, for instance the midnight after its last day.
            Null: of each stream the time of its last event.
        close_open: end the gaps that are open at `until` as `stream_end`. Without it they are not returned:
            they end tomorrow.
        tally: counts, added to.

    Raises:
        ValueError: the rows are not in order.
    """
    tally = Tally() if tally is None else tally
    end = None if until is None else (until - _EPOCH) // timedelta(microseconds=1)
    stream: Stream | None = None
    key: tuple[str, str, str] | None = None
    last_ts = 0
    rows: list[tuple[Any, ...]] = []

    for new_key, chunk in _stream_days(events):
        if new_key != key:
            if stream is not None:
                rows += _finish(stream, last_ts if end is None else end, close_open, tally)
            if key is not None and new_key < key:
                raise ValueError("the events are not in the order of events.STREAM_ORDER")
            stream, key = Stream(new_key, policy, tally), new_key
        assert stream is not None
        rows += stream.settle(chunk.ts[0] // DAY * DAY)
        stream.feed(chunk)
        last_ts = chunk.ts[-1]
        if len(rows) >= _ROWS_PER_BATCH:
            yield _frame(rows)
            rows = []
    if stream is not None:
        rows += _finish(stream, last_ts if end is None else end, close_open, tally)
    if rows:
        yield _frame(rows)


def extract_frame(events: pl.DataFrame | pl.LazyFrame, policy: Policy) -> pl.DataFrame:
    """Return the gaps of a whole log, in the order of `opened_at` and `gap_id`. Rows may come in any order.

    The log ends at its last event, whoever's it is; gaps still open there end as `stream_end`.
    """
    log = events.lazy().select(SCHEMA.names()).sort(STREAM_ORDER).collect()
    last = log["ts"].max()
    if not isinstance(last, datetime):
        return GAP_SCHEMA.to_frame()
    gaps = pl.concat([GAP_SCHEMA.to_frame(), *extract([log], policy, until=last, close_open=True)])
    return gaps.sort("opened_at", "gap_id")


def _finish(stream: Stream, until: int, close_open: bool, tally: Tally) -> list[tuple[Any, ...]]:
    rows = stream.settle(until, close_open=close_open)
    tally.still_open += stream.still_open
    return rows


def _stream_days(events: Iterable[pl.DataFrame]) -> Iterator[tuple[tuple[str, str, str], Events]]:
    """Yield each stream's UTC days as plain columns, whatever the bounds of the frames they come in."""
    held: list[pl.DataFrame] = []  # of one stream and day, which the next frame may continue
    held_name: tuple[Any, ...] | None = None
    name_columns = (*_KEY, pl.col("ts").dt.date().alias("_day"))
    for batch in events:
        if batch.is_empty():
            continue
        names = batch.select(name_columns)
        is_first = names.select(pl.struct(pl.all()).rle_id().diff().fill_null(1) != 0).to_series()
        bounds = [*is_first.arg_true().to_list(), batch.height]
        for start, stop in pairwise(bounds):
            name = names.row(start)
            if held and name != held_name:
                yield _plain(held)
                held = []
            held.append(batch[start:stop])
            held_name = name
    if held:
        yield _plain(held)


def _plain(parts: list[pl.DataFrame]) -> tuple[tuple[str, str, str], Events]:
    frame = parts[0] if len(parts) == 1 else pl.concat(parts)
    user, session, document = frame.select(_KEY).row(0)
    events = Events(
        ts=frame["ts"].to_physical().to_list(),
        kind=frame["kind"].to_list(),
        labels=frame.filter(pl.col("kind") == "shown").select(_LABELS).rows(),
        **{name: frame[name].to_list() for name in _PLAIN},
    )
    return (user, session, document), events


def _frame(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=GAP_SCHEMA, orient="row")
