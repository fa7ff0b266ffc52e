"""The lake: where tables live and how a day of one is replaced. Nothing else in the project opens a table.

Tables are Delta Lake, one directory each, partitioned by `day`. Replacing is one Delta commit: a reader sees the
old days or the new ones, never a mix, and running a day twice leaves the same rows.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, TableNotFoundError

#: Two writers of different days can collide on the log of one table; the loser tries again.
_COMMIT_ATTEMPTS = 8


class TableMissing(LookupError):
    """A table was read that nothing has written yet."""


@dataclass(frozen=True)
class Lake:
    """The tables below `root`."""

    root: Path

    def path(self, table: str) -> Path:
        """Return the directory of `table`, whether or not it exists."""
        return self.root / table

    def exists(self, table: str) -> bool:
        """Say whether `table` was ever written."""
        return DeltaTable.is_deltatable(str(self.path(table)))

    def version(self, table: str) -> int:
        """Return the number of the last commit to `table`."""
        return self._open(table).version()

    def days(self, table: str) -> list[date]:
        """Return the days of which `table` holds rows, in order."""
        return self.read(table).select(pl.col("day").unique().sort()).collect().to_series().to_list()

    def read(self, table: str, days: Sequence[date] | None = None) -> pl.LazyFrame:
        """Return `table`, or only some `days` of it. Rows come in no order.

        Raises:
            TableMissing: nothing has written the table yet. A day without rows is no error.
        """
        frame = pl.scan_delta(self._open(table))
        return frame if days is None else frame.filter(pl.col("day").is_in(list(days)))

    def register(self, connection: duckdb.DuckDBPyConnection, table: str, name: str | None = None) -> None:
        """Make `table` readable in DuckDB under `name` (its own by default), without an extension, streaming."""
        connection.register(name or table, self._open(table).to_pyarrow_dataset())

    def replace(
        self,
        table: str,
        data: pl.DataFrame | pa.Table | pa.RecordBatchReader | Callable[[], pa.RecordBatchReader],
        days: Sequence[date],
        where: Mapping[str, str] | None = None,
    ) -> int:
        """Replace `days` of `table` by `data`, in one commit, and return its number.

        `data` must have a `day` column whose values are all in `days`; Delta refuses the commit otherwise. `where`
        narrows what is replaced to rows whose columns equal the given values, for tables that several assets share.
        A reader is consumed once and never held in memory whole; a function that makes one lets a collision with
        another writer be tried again.
        """
        if not days:
            raise ValueError("replace needs at least one day")
        predicate = "day IN (" + ", ".join(f"'{day.isoformat()}'" for day in sorted(set(days))) + ")"
        for column, value in (where or {}).items():
            predicate += f" AND {column} = '{value}'"
        if isinstance(data, pl.DataFrame):
            # Plain strings: DuckDB cannot filter the string views that polars would write.
            data = data.to_arrow(compat_level=pl.CompatLevel.oldest())
        attempts = 1 if isinstance(data, pa.RecordBatchReader) else _COMMIT_ATTEMPTS
        for attempt in range(1, attempts + 1):
            try:
                rows = data() if callable(data) else data
                write_deltalake(
                    str(self.path(table)), rows, partition_by=["day"], mode="overwrite", predicate=predicate
                )
                break
            except CommitFailedError:
                if attempt == attempts:
                    raise
                time.sleep(random.uniform(0.05, 0.2) * attempt)
        return self.version(table)

    def _open(self, table: str) -> DeltaTable:
        try:
            return DeltaTable(str(self.path(table)))
        except TableNotFoundError as error:
            raise TableMissing(
                f"the table {table!r} has never been written below {self.root}; "
                "materialize the asset that writes it first"
            ) from error


def connect(memory_limit: str = "2GB", spill: Path | None = None) -> duckdb.DuckDBPyConnection:
    """Return a DuckDB connection that keeps to `memory_limit`, spills to `spill`, and speaks UTC."""
    config: dict[str, str | bool | int | float | list[str]] = {"memory_limit": memory_limit}
    if spill is not None:
        spill.mkdir(parents=True, exist_ok=True)
        config["temp_directory"] = str(spill)
    connection = duckdb.connect(config=config)
    connection.execute("SET TimeZone = 'UTC'")
    return connection
