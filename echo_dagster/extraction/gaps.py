"""From experience-log frames to gap sessions: `extract` for a sorted flow of them, `extract_frame` for one.

What does not live here: the tables of the lake (`days.py`) and the loop over one stream (`stream.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from echo_dagster.events import SCHEMA, STREAM, STREAM_ORDER
from echo_dagster.extraction.gap import DAY, SECOND
from echo_dagster.extraction.policies import Policy
from echo_dagster.extraction.schema import GAP_SCHEMA
from echo_dagster.extraction.stream import Events, Stream, Tally
from echo_dagster.extraction.stretch import Edits, Singles

_OTHERS = ("completion_id", "offset", "length", "text", "prefix", "suffix", "reason")
_LABELS = ("event_id", "repository", "language", "model", "source", "cohort", "consent", "latency_ms")
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

    Memory holds one frame of events, a few times over, and one batch of rows. Cost is linear in the events, times the
    gaps that are open beside each other.

    Args:
        events: frames of `events.SCHEMA`, each of whole streams, one after the other; the rows of a stream in
            `events.STREAM_ORDER`. Further columns are ignored.
        policy: when gaps end.
        until: the first moment of which the log tells nothing, for instance the midnight after its last day.
            Null: of each stream the time of its last event.
        close_open: end the gaps that are open at `until` as `stream_end`. Without it they are not returned:
            they end tomorrow.
        tally: counts, added to.

    Raises:
        ValueError: the rows of a frame are not in this order.
    """
    tally = Tally() if tally is None else tally
    end = None if until is None else _micros(until)
    rows: list[tuple[Any, ...]] = []
    withheld = _withheld(SCHEMA.to_frame())
    for frame in events:
        tally.events += frame.height
        withheld = pl.concat([withheld, _withheld(frame)])
        for key, days, last_ts in _streams(frame, policy):
            stream = Stream(key, policy, tally)
            for midnight, day in days:
                rows += stream.settle(midnight)
                stream.feed(day)
            rows += stream.settle(last_ts if end is None else end, close_open=close_open)
            tally.still_open += stream.still_open
            if len(rows) >= _ROWS_PER_BATCH:
                yield _consented(_frame(rows), withheld)
                rows = []
    if rows:
        yield _consented(_frame(rows), withheld)


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


_Days = list[tuple[int, Events]]


def _streams(frame: pl.DataFrame, policy: Policy) -> Iterator[tuple[tuple[str, str, str], _Days, int]]:
    """Yield each stream of a frame: its key, its UTC days (midnight and events), and the time of its last event."""
    if frame.is_empty():
        return
    is_first = pl.any_horizontal(pl.col(STREAM) != pl.col(STREAM).shift()).fill_null(value=True)
    ts = pl.col("ts").to_physical()
    marked = frame.with_columns(stream=is_first.cum_sum(), ts=ts, day=ts // DAY)
    is_late = marked.select(((pl.col("stream").diff() == 0) & (pl.col("ts").diff() < 0)).any()).item()
    heads = frame.select(*STREAM, row=pl.int_range(pl.len())).filter(is_first)
    if is_late or heads.select(STREAM).is_duplicated().any():
        raise ValueError("the events are not stream by stream, each in the order of events.STREAM_ORDER")
    ends = heads.get_column("row").shift(-1, fill_value=frame.height) - 1
    last = marked.get_column("ts").gather(ends).to_list()
    if not policy.cursor_jump and "cursor" in marked.get_column("kind"):  # nothing else looks at the cursor
        marked = marked.filter(pl.col("kind") != "cursor")

    runs, edits = _runs(marked, round(policy.idle_s * SECOND))
    is_edit, is_shown = pl.col("kind") == "edited", pl.col("kind") == "shown"
    days = runs.select(
        *STREAM,
        "stream",
        "day",
        is_new=((pl.col("stream").diff() != 0) | (pl.col("day").diff() != 0)).fill_null(value=True),
        first=pl.int_range(pl.len()),
        others=(~is_edit).cum_sum() - (~is_edit),
        shown=is_shown.cum_sum() - is_shown,
    ).filter("is_new")
    others = runs.select(pl.int_range(pl.len()).alias("run"), "ts", "kind", *_OTHERS).filter(~is_edit).rows()
    labels = runs.filter(is_shown).select(_LABELS).rows()
    bounds = [*days.select("first", "others", "shown").rows(), (runs.height, len(others), len(labels))]
    held: _Days = []
    for number, (user, session, document, stream, day, *_) in enumerate(days.iter_rows()):
        (first, other, label), (stop, last_other, last_label) = bounds[number], bounds[number + 1]
        events = Events(edits, first, stop, others[other:last_other], labels[label:last_label])
        held.append((day * DAY, events))
        if number + 1 == days.height or days.item(number + 1, "stream") != stream:
            yield (user, session, document), held, last[stream - 1]
            held = []


def _runs(events: pl.DataFrame, idle: int) -> tuple[pl.DataFrame, Edits]:
    """Return the first event of each run, and the runs as columns.

    An edit that begins elsewhere than the one before it ended is a run of its own, as it is the one that something can
    happen at.
    """
    text, ts, offset, length, units, reason = (
        pl.col(name) for name in ("text", "ts", "offset", "length", "units", "reason")
    )
    counted = events.with_columns(text.str.len_chars().cast(pl.Int64()).alias("units"))
    if events.select((text.str.len_bytes() != text.str.len_chars()).any()).item():
        astral = text.str.count_matches("[\U00010000-\U0010ffff]")
        counted = counted.with_columns(units + astral)
    is_edit = pl.col("kind") == "edited"
    is_change = is_edit & ((length > 0) | (units > 0)) & reason.ne_missing("accept")
    ended = pl.when(is_edit).then(offset + units).forward_fill().shift()
    is_there = (offset + length == ended).fill_null(value=False)
    is_next = (pl.col("stream").diff() == 0) & (pl.col("day").diff() == 0) & (ts.diff() < idle)
    is_joined = is_next & is_change & is_change.shift() & is_there & is_there.shift()
    grown = pl.when(is_edit).then(units - length).fill_null(0)
    marked = counted.with_columns(is_joined=is_joined.fill_null(value=False), grown=grown)
    is_typed = is_edit & (reason.is_null() | (reason == "typing"))
    by_run = marked.select(
        *("ts", "offset", "length", "units", "reason", "grown"),
        upto=pl.col("grown").cum_sum(),
        row=pl.int_range(pl.len()),
        run=(~pl.col("is_joined")).cum_sum().set_sorted(),
        low=pl.when(is_edit).then(offset),
        end=offset + units,
        typed=units * is_typed,
        pasted=units * (reason == "paste"),
        by_agent=units * (reason == "agent"),
        is_only_typed=is_typed,
    )
    runs = by_run.group_by("run", maintain_order=True).agg(
        pl.col("row").first().alias("first"),
        ts.first().alias("begun"),
        pl.col("offset", "length").first(),
        pl.col("low").min(),
        pl.col("ts", "end", "reason").last(),
        pl.col("grown", "typed", "pasted", "by_agent").sum(),
        pl.col("is_only_typed").all(),
        peak=pl.col("upto").max() - (pl.col("upto") - pl.col("grown")).first(),
    )
    columns = {name: runs.get_column(name).to_list() for name in runs.columns[1:]}
    columns["first"].append(events.height)
    singles = Singles(*(marked.get_column(name).to_list() for name in Singles._fields))
    edits = Edits(**columns, singles=singles)
    return marked.filter(~pl.col("is_joined")), edits


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _withheld(events: pl.DataFrame) -> pl.DataFrame:
    """Return the streams and UTC days on which an event withholds consent."""
    return events.filter(~pl.col("consent")).select(*STREAM, day=pl.col("ts").dt.date()).unique()


def _consented(gaps: pl.DataFrame, withheld: pl.DataFrame) -> pl.DataFrame:
    """Return gaps without consent where any event of their stream and days withholds it: C_N may be that event's."""
    told = withheld.with_columns(is_withheld=pl.lit(True))
    for moment in ("opened_at", "closed_at") if withheld.height else ():
        marked = gaps.with_columns(day=pl.col(moment).dt.date()).join(
            told, on=[*STREAM, "day"], how="left", maintain_order="left"
        )
        gaps = marked.select(GAP_SCHEMA.names()).with_columns(
            pl.col("consent") & marked.get_column("is_withheld").is_null()
        )
    return gaps


def _frame(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    columns = zip(*rows, strict=True)  # a frame is made of columns in half the time that it takes from rows
    return pl.DataFrame(dict(zip(GAP_SCHEMA, columns, strict=True)), schema=GAP_SCHEMA)
