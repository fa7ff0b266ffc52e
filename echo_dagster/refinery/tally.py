"""What became of the rows of some days: how many stayed, how many were dropped, and for which reason."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import polars as pl

#: One row per day and fate; a null reason means kept.
TALLY_SCHEMA = pl.Schema({"day": pl.Date(), "reason": pl.String(), "n": pl.Int64()})


@dataclass(frozen=True)
class Tally:
    """Counts by day and reason (`TALLY_SCHEMA`), beside the rows that came in, counted apart."""

    counts: pl.DataFrame
    came_in: dict[date, int]

    @property
    def kept(self) -> int:
        """Return how many rows stayed."""
        return int(self.counts.filter(pl.col("reason").is_null())["n"].sum())

    @property
    def dropped(self) -> int:
        """Return how many rows were dropped."""
        return int(self.counts.filter(pl.col("reason").is_not_null())["n"].sum())

    def by_reason(self) -> list[dict[str, str | int]]:
        """Return `{"reason", "n"}` for every reason, the most frequent first."""
        dropped = self.counts.filter(pl.col("reason").is_not_null())
        summed = dropped.group_by("reason").agg(pl.col("n").sum())
        return summed.sort("n", "reason", descending=[True, False]).to_dicts()

    def balances(self) -> list[tuple[date, int, int]]:
        """Return (day, rows in, rows accounted for), in order of days; the last two must be equal."""
        found = dict(self.counts.group_by("day").agg(pl.col("n").sum()).iter_rows())
        return [(day, count, found.get(day, 0)) for day, count in sorted(self.came_in.items())]


def tally(counts: list[pl.DataFrame], came_in: dict[date, int]) -> Tally:
    """Return the tally of several days from the counts of each."""
    return Tally(pl.concat([TALLY_SCHEMA.to_frame(), *counts]).sort("day", maintain_order=True), came_in)
