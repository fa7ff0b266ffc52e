"""Reading a lake from a script or a notebook: every table as a Polars LazyFrame, or in SQL.

What lives here: what `echo_dagster.open_lake` returns. What does not: writing, which the assets do through `lake.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from echo_dagster.lake import Lake, TableMissing, connect
from echo_dagster.tables import TABLES


class OpenLake:
    """The tables of a lake, for reading: `lake.gap_sessions`, `lake["gap_sessions"]`, `lake.sql("from gap_sessions")`.

    A table is read as it is at that moment; nothing is held in memory and nothing can be written.
    """

    def __init__(self, path: Path | str) -> None:
        """Open the lake in `path`: the configured `data_dir`, or the folder of the tables itself.

        Raises:
            FileNotFoundError: there are no tables in either place.
        """
        given = Path(path)
        for root in (given / "lake", given):
            if Lake(root).tables():
                self._lake = Lake(root)
                return
        raise FileNotFoundError(
            f"{given} holds no tables, and neither does {given / 'lake'}; give the data_dir of the configuration, "
            "after a day was materialized"
        )

    @property
    def tables(self) -> list[str]:
        """The names of the tables that were ever written."""
        return self._lake.tables()

    def read(
        self, table: str, days: Sequence[date] | None = None, *, version: int | None = None
    ) -> pl.LazyFrame:
        """Return a table, or only some days of it, as it is now or as a version had it. Rows come in no order.

        Raises:
            TableMissing: nothing has written the table; the message says what would.
        """
        self._must_exist(table)
        return self._lake.read(table, days, version)

    def __getitem__(self, table: str) -> pl.LazyFrame:
        """Return a table."""
        return self.read(table)

    def __getattr__(self, name: str) -> pl.LazyFrame:
        """Return the table of this name."""
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self.read(name)
        except TableMissing as error:
            raise AttributeError(str(error)) from error

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the tables."""
        return iter(self.tables)

    def __contains__(self, table: object) -> bool:
        """Say whether a table was ever written."""
        return table in self.tables

    def __dir__(self) -> list[str]:
        """Name the tables as well, so that they can be completed."""
        return [*super().__dir__(), *self.tables]

    def schema(self, table: str) -> pl.Schema:
        """Return the columns of a table with their types."""
        return self.read(table).collect_schema()

    def meaning(self, table: str) -> str:
        """Return what a table holds, in one line; of a table that this version does not know, nothing."""
        self._must_exist(table)
        return TABLES[table].meaning if table in TABLES else ""

    def duckdb(self) -> duckdb.DuckDBPyConnection:
        """Return a new DuckDB connection, in memory, that reads every table under its name. Close it after use."""
        connection = connect()
        for table in self.tables:
            self._lake.register(connection, table)
        return connection

    def sql(self, query: str, parameters: Mapping[str, Any] | Sequence[Any] | None = None) -> pl.DataFrame:
        """Return the answer to a query in DuckDB's SQL; `parameters` fill its `$name` or `?`."""
        with self.duckdb() as connection:
            return connection.sql(query, params=parameters).pl()

    def __repr__(self) -> str:
        """Tell the tables, their rows and days, and what they hold."""
        rows = [(table, *self._lake.extent(table), self.meaning(table)) for table in self.tables]
        wide = max(len(table) for table, *_ in rows)
        lines = [
            f"  {table:{wide}}  {n:>11,} rows  {days:>4} days  {meaning}" for table, n, days, meaning in rows
        ]
        return "\n".join([f"OpenLake({str(self._lake.root)!r})", *lines])

    def _must_exist(self, table: str) -> None:
        if self._lake.exists(table):
            return
        if table in TABLES:
            raise TableMissing(f"nothing has written {table!r} yet; {TABLES[table].written_by} does")
        near = get_close_matches(table, {*self.tables, *TABLES}, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(self.tables)}"
        raise TableMissing(f"there is no table {table!r}; {hint}")
