"""Days larger than memory: parts of a day kept in Parquet, and a query's rows written to the lake.

What does not live here: what the rows mean (`samples.py`, `balance.py`), and the tables themselves
(`lake.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from echo_dagster.lake import Lake, connect
from echo_dagster.scratch import scratch

#: Rows held at a time, by each thread, when a query is written to the lake. Each can bring kilobytes of code.
_ROWS = 2048


class LostRows(RuntimeError):
    """Rows kept and rows rejected are not the rows that went in: a defect, whatever the data."""


@dataclass
class Stage:
    """A folder of Parquet parts and a DuckDB connection that reads them."""

    folder: Path
    connection: duckdb.DuckDBPyConnection
    _parts: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, frame: pl.DataFrame) -> None:
        """Append a part to the view `name`. The first part, which may be empty, gives the columns."""
        number = self._parts.get(name, 0)
        if number and frame.is_empty():
            return
        frame.write_parquet(self.folder / f"{name}-{number:06d}.parquet", compression="lz4")
        self._parts[name] = number + 1

    def open(self, name: str) -> None:
        """Make the parts of `name` one view of that name."""
        pattern = str(self.folder / f"{name}-*.parquet").replace("'", "''")
        self.connection.execute(f"create or replace view {name} as select * from read_parquet('{pattern}')")

    def write(
        self, query: str, lake: Lake, table: str, day: date, where: Mapping[str, str] | None = None
    ) -> None:
        """Replace a day of `table` by the rows of `query`, streamed; `day` is added in front.

        The query must not sort rows as wide as samples: where they do not fit in memory, DuckDB gives up.
        """
        file = self.folder / f"{table}.parquet"
        target = str(file).replace("'", "''")
        self.connection.execute(
            f"copy (select ?::date as day, rows.* from ({query}) as rows) to '{target}' (row_group_size {_ROWS})",
            [day],
        )
        with pq.ParquetFile(file) as parquet:
            batches = parquet.iter_batches(batch_size=_ROWS)
            lake.replace(
                table, pa.RecordBatchReader.from_batches(parquet.schema_arrow, batches), [day], where
            )
        file.unlink()


@contextmanager
def stage(root: Path, memory_limit: str) -> Iterator[Stage]:
    """Open a stage below `root`, a folder with room for a day, and remove it with everything in it."""
    with scratch(root, ".staging-") as folder:
        connection = connect(memory_limit, spill=folder / "spill")
        try:
            yield Stage(folder, connection)
        finally:
            connection.close()
