"""Staged events on disk, by day and range of buckets: a part of a day fits in memory, whatever the day holds.

What all events of a stream repeat (who, where, which document) is most of an event's width; it is written once for
each stream and run of the writer. What does not live here: where events come from (`staging.py`), and which of several
copies is kept (`copies.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Literal

import polars as pl

from echo_dagster import streams
from echo_dagster.acquisition.copies import each_once
from echo_dagster.events import BUCKETS, STORED_SCHEMA, STREAM

#: So much is gathered before it is written: small pieces cost more to read again.
_HELD_BYTES = 60_000_000

#: Columns that few events fill. The others are staged without them, and as they are: nothing is gained by packing them.
_SELDOM = ("completion_id", "prefix", "suffix")

_LENGTH_BYTES = 8

_REPEATED = (*STREAM, "repository", "language", "model", "source", "cohort", "consent")


class Writer:
    """The parts of a run. Add events, then flush.

    Args:
        folder: where the files go.
        parts: into how many ranges of buckets to cut a day.
    """

    def __init__(self, folder: Path, parts: int) -> None:
        self._folder, self._parts = folder, parts
        self._held: list[pl.DataFrame] = []
        self._bytes = 0

    def add(self, events: pl.DataFrame) -> None:
        """Add events of `events.SCHEMA` with their `day`."""
        if events.height:
            self._held.append(events)
            self._bytes += int(events.estimated_size())
        if self._bytes >= _HELD_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is held: for every day and part the events, and what they repeat."""
        if not self._held:
            return
        # a gather from many chunks costs many times one from a single one
        events = pl.concat(self._held, rechunk=True)
        self._held, self._bytes = [], 0
        # What repeats is looked at where it changes: most logs come stream by stream.
        run = events.select(pl.struct(_REPEATED).rle_id().alias("run")).to_series()
        heads = events.select(_REPEATED)[run.arg_unique()]
        mark = heads.select(pl.struct(_REPEATED).hash().alias("mark")).to_series()
        named = streams.with_buckets(heads.with_columns(mark)[mark.arg_unique()])
        part = (pl.col("bucket") * self._parts // BUCKETS).alias("part")
        named = named.sort("bucket", "mark").with_columns(part).with_row_index("name")
        name = mark.replace_strict(named.get_column("mark"), named.get_column("name")).gather(run)
        placed = events.drop(_REPEATED).with_columns(
            name.alias("name"), part=named.get_column("part").gather(name)
        )
        names = named.partition_by("part", as_dict=True)
        is_bare = pl.all_horizontal(pl.col(_SELDOM).is_null())
        pieces: list[tuple[dict[tuple[Any, ...], pl.DataFrame], Literal["uncompressed", "lz4"]]] = [
            (_by_part(placed.filter(is_bare).drop(_SELDOM)), "uncompressed"),
            (_by_part(placed.filter(~is_bare)), "lz4"),
        ]
        for key in dict.fromkeys(key for frames, _ in pieces for key in frames):
            day, number = key
            mine = names[number,]
            with file(self._folder, day, number).open("ab") as out:
                for frames, compression in pieces:
                    if key in frames:
                        _append(
                            out, frames[key].with_columns(pl.col("name") - mine.item(0, "name")), compression
                        )
                _append(out, mine.select(*_REPEATED, "bucket"), "lz4")


def read(path: Path) -> tuple[pl.DataFrame, int]:
    """Return a part's events, each once, in the order in which they are stored, and how many copies were left out."""
    events, names = _tables(path)
    if events.get_column("event_id").n_unique() < events.height:
        whole = _whole(events, names)
        kept = each_once(whole)
        return streams.in_order(kept), whole.height - kept.height
    ranks = streams.ranks(names).gather(events.get_column("name"))
    return _whole(events[streams.order(ranks, events)], names), 0


def file(folder: Path, day: date, part: int) -> Path:
    """Return the file of a part, whether or not it exists."""
    return folder / f"{day}-{part:03d}.arrows"


def _whole(events: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    return events.hstack(names[events.get_column("name")]).select(STORED_SCHEMA.names())


def _tables(path: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the events of a file and the names they point at, of all runs of the writer."""
    events, names, before = [pl.DataFrame(schema=dict.fromkeys(_SELDOM, pl.String()))], [], 0
    for table in _frames(path):
        if "name" in table.columns:
            events.append(table.with_columns(pl.col("name") + before))
        else:  # these names end a run of the writer
            names.append(table)
            before += table.height
    return pl.concat(events, how="diagonal", rechunk=True), pl.concat(names, rechunk=True)


def _by_part(events: pl.DataFrame) -> dict[tuple[Any, ...], pl.DataFrame]:
    return events.partition_by(["day", "part"], as_dict=True, include_key=False)


def _append(out: BinaryIO, frame: pl.DataFrame, compression: Literal["uncompressed", "lz4"]) -> None:
    """Add a frame to a file, with its length before it."""
    stream = BytesIO()
    frame.write_ipc_stream(stream, compression=compression)
    out.write(stream.tell().to_bytes(_LENGTH_BYTES))
    out.write(stream.getbuffer())


def _frames(path: Path) -> Iterator[pl.DataFrame]:
    with path.open("rb") as file:
        while length := file.read(_LENGTH_BYTES):
            yield pl.read_ipc_stream(file.read(int.from_bytes(length)))
