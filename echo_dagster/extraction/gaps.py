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
from echo_dagster.extraction.stretch import Edits

_OTHERS = ("completion_id", "offset", "length", "text", "prefix", "suffix", "reason")
_LABELS = ("event_id", "repository", "language", "model", "source", "cohort", "consent")
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
    if is_late or marked.item(-1, "stream") != frame.select(pl.struct(STREAM).n_unique()).item():
        raise ValueError("the events are not stream by stream, each in the order of events.STREAM_ORDER")
    last = marked.group_by("stream", maintain_order=True).agg(pl.col("ts").last()).get_column("ts").to_list()
    if not policy.cursor_jump:  # nothing else looks at the cursor
        marked = marked.filter(pl.col("kind") != "cursor")

    runs, units = _runs(marked, round(policy.idle_s * SECOND))
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
    edits = _edits(marked, runs, units)
    others = runs.with_row_index("run").filter(~is_edit).select("run", "ts", "kind", *_OTHERS).rows()
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


def _runs(events: pl.DataFrame, idle: int) -> tuple[pl.DataFrame, pl.Series]:
    """Return the first event of each run (`stretch.Edits`), with its `row`, and the UTF-16 units of every text.

    The first edit at a place is a run of its own, as it is the one that something can happen at.
    """
    text = pl.col("text")
    units = events.select(text.str.len_chars().alias("units")).to_series()
    if events.select((text.str.len_bytes() != text.str.len_chars()).any()).item():
        units += events.select(text.str.count_matches("[\U00010000-\U0010ffff]")).to_series()
    is_next = (
        (pl.col("kind") == "edited")
        & (pl.col("kind").shift() == "edited")
        & (pl.col("stream").diff() == 0)
        & (pl.col("day").diff() == 0)
        & (pl.col("ts").diff() < idle)
        & (pl.col("offset") == (pl.col("offset") + pl.col("units")).shift())
        & (pl.col("length") == 0)
        & (pl.col("units") > 0)
        & (pl.col("reason").is_null() | (pl.col("reason") == "typing"))
        & pl.col("reason").eq_missing(pl.col("reason").shift())
    ).fill_null(value=False)
    is_joined = (is_next & is_next.shift(fill_value=False)).alias("is_joined")
    marked = events.with_columns(units).with_row_index("row").with_columns(is_joined)
    return marked.filter(~pl.col("is_joined")), units


def _edits(events: pl.DataFrame, runs: pl.DataFrame, units: pl.Series) -> Edits:
    first = [*runs.get_column("row").to_list(), events.height]
    last = runs.select((pl.col("row").shift(-1, fill_value=events.height) - 1).alias("row")).to_series()
    upto = units.fill_null(0).cum_sum()
    inserted = runs.select(
        upto.gather(last).alias("upto")
        - upto.gather(runs.get_column("row"))
        + units.gather(runs.get_column("row"))
    )
    return Edits(
        first=first,
        begun=runs.get_column("ts").to_list(),
        ts=events.get_column("ts").gather(last).to_list(),
        offset=runs.get_column("offset").to_list(),
        length=runs.get_column("length").to_list(),
        units=inserted.to_series().to_list(),
        reason=runs.get_column("reason").to_list(),
        text=events.get_column("text").to_list(),
        event_ts=events.get_column("ts"),
        event_units=units,
    )


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
