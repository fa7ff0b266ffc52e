"""The files in which the samples of a training set were written, as far as the log shows them, with secrets masked.

A sample keeps the context that its own gap needs. A gap at another line of the file needs what stands around that line,
or it would be taught with half the context. What does not live here: which gaps are cut there (`static.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from echo_dagster.lake import Lake
from echo_dagster.refinery.samples import masked_sides

#: Samples in memory at a time, in each process; their files can have 200 KB each.
BATCH = 256
_OF_GAP = ("prefix", "suffix", "replaced", "final", "proposal")


def batches(lake: Lake, samples: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield the samples in batches, each with `gap_prefix`, `gap_suffix` and so on: its gap as `gap_sessions` has it.

    They are null where that day of gaps is gone. Batches come by day.
    """
    named = [pl.col(name).alias(f"gap_{name}") for name in _OF_GAP]
    for (day,), of_day in samples.group_by("sample_day", maintain_order=True):
        left = of_day
        if lake.exists("gap_sessions"):
            ids = of_day.lazy().select(gap_id="sample_id")
            gaps = (
                lake.read("gap_sessions", [day]).select("gap_id", *named).join(ids, on="gap_id", how="semi")
            )
            for some in gaps.collect_batches(chunk_size=BATCH, maintain_order=True):
                yield of_day.join(some.rename({"gap_id": "sample_id"}), on="sample_id", maintain_order="left")
                left = left.join(some, left_on="sample_id", right_on="gap_id", how="anti")
        gone = [pl.lit(None, pl.String).alias(f"gap_{name}") for name in _OF_GAP]
        yield from left.with_columns(gone).iter_slices(BATCH)


def widened(batch: pl.DataFrame, chars: int) -> pl.DataFrame:
    """Return samples whose prefix and suffix are the file around them, up to so many characters on either side.

    Where the gap is gone, they keep their own.
    """
    sides = [_sides(row, chars) for row in batch.iter_rows(named=True)]
    return batch.with_columns(
        pl.Series("prefix", [prefix for prefix, _ in sides], pl.String),
        pl.Series("suffix", [suffix for _, suffix in sides], pl.String),
    )


def _sides(row: dict[str, Any], chars: int) -> tuple[str, str | None]:
    if row["gap_prefix"] is None:
        return row["prefix"], row["suffix"]
    gap = {name: row[f"gap_{name}"] for name in _OF_GAP}
    kept = {"prefix_context": gap["prefix"][-chars:], "suffix_context": (gap["suffix"] or "")[:chars]}
    prefix, suffix = masked_sides({**gap, **kept})
    return prefix, None if row["suffix"] is None else suffix
