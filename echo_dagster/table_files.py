"""The Parquet files of a table, written in the order in which rows come, for a commit that names them (`lake.py`).

Delta's own writer is handed batches and writes them in parallel, as they come; what is written here keeps its order, so
that a day can be read part by part. Statistics say where the parts are and hold no text.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
from deltalake.transaction import AddAction

#: Whoever reads a part of a table skips the row groups that hold none of it.
ROW_GROUP_ROWS = 16_384


def write(home: Path, rows: pl.DataFrame, number: int) -> list[AddAction]:
    """Write rows below a table's directory, a file for each `day`, and return what a commit must say.

    Until it is committed, nobody reads them. Files whose `number` is lower are those that are read first.
    """
    added: list[AddAction] = []
    by_day = rows.partition_by("day", as_dict=True, include_key=False, maintain_order=True)
    for (day,), mine in by_day.items():
        assert isinstance(day, date)
        name = f"day={day}/part-{number:05d}-{uuid.uuid4()}.parquet"
        file = home / name
        file.parent.mkdir(parents=True, exist_ok=True)
        _write(file, mine)
        added.append(_added(home, file, mine))
    return added


def rewrite(home: Path, files: Iterable[Path], is_kept: pl.Expr) -> list[AddAction]:
    """Write files of a table anew without some of their rows, a row group at a time, and return what a commit must say.

    What is left of a day stands in the order in which it stood.
    """
    added: list[AddAction] = []
    for old in sorted(files):
        new = old.with_name(f"part-{len(added):05d}-{uuid.uuid4()}.parquet")
        kept = pl.scan_parquet(old, hive_partitioning=False).filter(is_kept)
        kept.sink_parquet(new, compression="snappy", row_group_size=ROW_GROUP_ROWS, maintain_order=True)
        written = pl.scan_parquet(new, hive_partitioning=False)
        buckets = [name for name in written.collect_schema() if name == "bucket"]
        rows = written.select(*buckets, n=pl.lit(0)).collect()
        if rows.height:
            added.append(_added(home, new, rows))
        else:
            new.unlink()
    return added


def _write(file: Path, rows: pl.DataFrame) -> None:
    """Write a file: what repeats are texts, and what a reader looks for are numbers. Arrow's writer takes half the time
    that the one of Polars does.
    """
    texts = [name for name, kind in rows.schema.items() if kind == pl.String()]
    pq.write_table(
        rows.to_arrow(compat_level=pl.CompatLevel.newest()),  # as it is, without a copy
        file,
        row_group_size=ROW_GROUP_ROWS,
        use_dictionary=texts,
        write_statistics=[name for name in rows.columns if name not in texts],
        store_schema=False,
    )


def _added(home: Path, file: Path, rows: pl.DataFrame) -> AddAction:
    return AddAction(
        path=file.relative_to(home).as_posix(),
        size=file.stat().st_size,
        partition_values={"day": file.parent.name.removeprefix("day=")},
        modification_time=int(time.time() * 1000),
        data_change=True,
        stats=json.dumps(_statistics(rows)),
    )


def _statistics(rows: pl.DataFrame) -> dict[str, object]:
    """Return how many rows there are, and which buckets they stand in, if they have any."""
    told: dict[str, object] = {"numRecords": rows.height}
    if "bucket" in rows.columns:
        bucket = rows.get_column("bucket")
        told |= {"minValues": {"bucket": bucket.min()}, "maxValues": {"bucket": bucket.max()}}
    return told
