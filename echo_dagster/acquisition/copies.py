"""Events that were delivered more than once: each is kept once.

An event is named by its id within its stream and UTC day. What does not live here: which events are compared
(`landing.py`: those of one day and bucket, which hold all of a stream).
"""

from __future__ import annotations

import polars as pl

from echo_dagster.events import SCHEMA, STREAM

_IDENTITY = (*STREAM, "event_id")

#: Of copies that differ, one that withholds consent is kept before one that gives it; then the first by every column,
#: so that the outcome does not depend on the order in which files are read.
_PREFERENCE = (
    "consent",
    "ts",
    "seq",
    *(name for name in SCHEMA if name not in ("consent", "ts", "seq", "event_id")),
)


def each_once(events: pl.DataFrame) -> pl.DataFrame:
    """Return the events of one day without copies, in any order."""
    if events.get_column("event_id").n_unique() == events.height:
        return events
    is_copied = events.select(pl.struct(_IDENTITY).is_duplicated()).to_series()
    one_each = (
        events.filter(is_copied)
        .sort(_PREFERENCE, nulls_last=True)
        .unique(_IDENTITY, keep="first", maintain_order=True)
    )
    return pl.concat([events.filter(~is_copied), one_each])
