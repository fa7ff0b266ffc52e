"""The lake: where tables live and how a day of one is replaced. Nothing else in the project opens a table.

Tables are Delta Lake, one directory each, partitioned by `day`. Replacing is one Delta commit: a reader sees the
old days or the new ones, never a mix, and running a day twice leaves the same rows. What a commit replaced stays on
disk, readable by its version, until `vacuum`.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import count
from pathlib import Path
from typing import TypeVar

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction
from filelock import FileLock

from echo_dagster import table_files

Result = TypeVar("Result")

#: Two writers of different days can collide on the log of one table; the loser tries again.
_COMMIT_ATTEMPTS = 8

#: More would hold more in memory, whatever the machine.
_PARTS_AT_ONCE = 2

_WRITER = WriterProperties(max_row_group_size=table_files.ROW_GROUP_ROWS)

#: A file that no commit names, and that is older than this, belongs to no writer that still lives.
_LONGEST_WRITE = timedelta(days=1)


class TableMissing(LookupError):
    """A table was read that nothing has written yet."""


class TableOutdated(ValueError):
    """A table was written by a version of this project that gave it other columns."""


class VersionGone(LookupError):
    """A version of a table was read whose files have been removed."""


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

    def tables(self) -> list[str]:
        """Return the names of all tables that were ever written."""
        return sorted(log.parent.name for log in self.root.glob("*/_delta_log"))

    def columns(self, table: str) -> list[str]:
        """Return the names of the columns of `table`."""
        return self.read(table).collect_schema().names()

    def days(self, table: str) -> list[date]:
        """Return the days of which `table` holds rows, in order."""
        return self.read(table).select(pl.col("day").unique().sort()).collect().to_series().to_list()

    def extent(self, table: str) -> tuple[int, int]:
        """Return how many rows `table` holds, and of how many days, from its log alone."""
        files = self._open(table).get_add_actions(flatten=True)
        told = pl.DataFrame(pa.table(files)).select(
            pl.col("num_records").sum(), pl.col("partition.day").n_unique()
        )
        rows, days = told.row(0)
        return int(rows), int(days)

    def read(
        self, table: str, days: Sequence[date] | None = None, version: int | None = None
    ) -> pl.LazyFrame:
        """Return `table`, or only some `days` of it, as it is now or as a version had it. Rows come in no order.

        Raises:
            TableMissing: nothing has written the table yet. A day without rows is no error.
        """
        frame = pl.scan_delta(self._open(table, version))
        return frame if days is None else frame.filter(pl.col("day").is_in(list(days)))

    def read_version(self, table: str, version: int, day: date) -> pl.LazyFrame:
        """Return a day of `table` as a version of it had it.

        Raises:
            VersionGone: the version, or one of its files, is not there any more.
        """
        try:
            then = DeltaTable(str(self.path(table)), version=version)
            files = then.file_uris(file_pruning_predicate=f"day = '{day.isoformat()}'")
        except DeltaError as error:
            raise VersionGone(f"version {version} of {table} is gone") from error
        if not all(Path(file).is_file() for file in files):
            raise VersionGone(f"the files of {day} in version {version} of {table} are gone")
        return pl.scan_delta(then).filter(pl.col("day") == day)

    def bytes_per_row(self, table: str, days: Sequence[date]) -> float:
        """Return how large a row of these days is on average, uncompressed; 0 where there is none."""
        rows = size = 0
        for file in self._open(table).file_uris(file_pruning_predicate=_of_days(days)):
            metadata = pq.read_metadata(file)
            rows += metadata.num_rows
            size += sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
        return size / rows if rows else 0.0

    def register(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: str,
        name: str | None = None,
        version: int | None = None,
        days: Sequence[date] | None = None,
    ) -> None:
        """Make `table`, or only some `days` of it, readable in DuckDB under `name` (its own by default), without an
        extension, streaming. Files of other days are not opened.
        """
        only = None if days is None else _of_days(days)
        dataset = self._open(table, version).to_pyarrow_dataset(file_pruning_predicate=only)
        connection.register(name or table, dataset)

    def replace(
        self,
        table: str,
        data: pl.DataFrame | pa.Table | pa.RecordBatchReader | Callable[[], pa.RecordBatchReader],
        days: Sequence[date],
        where: Mapping[str, str] | None = None,
        *,
        adds_columns: bool = False,
    ) -> int:
        """Replace `days` of `table` by `data`, in one commit, and return its number.

        `data` must have a `day` column whose values are all in `days`; Delta refuses the commit otherwise. `where`
        narrows what is replaced to rows whose columns equal the given values, for tables that several assets share.
        A reader is consumed once and never held in memory whole; a function that makes one lets a collision with
        another writer be tried again. `adds_columns` lets `data` have columns that the table lacks; other days then
        hold nulls in them.
        """
        if not days:
            raise ValueError("replace needs at least one day")
        predicate = _of_days(days)
        for column, value in (where or {}).items():
            predicate += f" AND {column} = '{value}'"
        if isinstance(data, pl.DataFrame):
            # Plain strings: DuckDB cannot filter the string views that polars would write.
            data = data.to_arrow(compat_level=pl.CompatLevel.oldest())

        def commit() -> None:
            rows = data() if callable(data) else data
            write_deltalake(
                str(self.path(table)),
                rows,
                partition_by=["day"],
                mode="overwrite",
                predicate=predicate,
                schema_mode="merge" if adds_columns else None,
                configuration=_without_texts(rows.schema),
                writer_properties=_WRITER,
            )

        _until_committed(commit, 1 if isinstance(data, pa.RecordBatchReader) else _COMMIT_ATTEMPTS)
        return self.version(table)

    def replace_in_order(
        self,
        table: str,
        parts: Iterable[Callable[[], pl.DataFrame]],
        schema: Mapping[str, pl.DataType],
        days: Sequence[date],
    ) -> int:
        """Replace `days` of `table` by parts of `schema`, in one commit, and return its number.

        The rows of a day stand on disk in the order of the parts. Two parts at a time are made, in threads, written,
        and forgotten. They must hold nothing of other days.
        """
        home = self.path(table)

        def store(number: int, part: Callable[[], pl.DataFrame]) -> list[AddAction]:
            return table_files.write(home, part(), number)

        with ThreadPoolExecutor(_PARTS_AT_ONCE) as threads:
            added = [action for actions in threads.map(store, count(), parts) for action in actions]
        return self.replace_by_files(table, home, added, schema, days)

    def replace_by_files(
        self,
        table: str,
        folder: Path,
        added: Collection[AddAction],
        schema: Mapping[str, pl.DataType],
        days: Sequence[date],
    ) -> int:
        """Replace `days` of `table` by files of `schema` that `table_files.write` made below `folder`, in one commit.

        The files are moved into the table. Returns the number of the commit.
        """
        home = self.path(table)
        wanted = {day.isoformat() for day in days}
        if strange := {str(action.partition_values["day"]) for action in added} - wanted:
            raise ValueError(f"{table}: rows of {', '.join(sorted(strange))}, which are not to be replaced")
        # Plain strings: DuckDB cannot filter string views, as Polars would have them.
        arrow = pl.DataFrame(schema=schema).to_arrow(compat_level=pl.CompatLevel.oldest()).schema
        if not self.exists(table):
            properties = _without_texts(arrow)
            DeltaTable.create(str(home), arrow, partition_by=["day"], configuration=properties, mode="ignore")
        for action in added if folder != home else ():
            target = home / action.path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(folder / action.path, target)

        def commit() -> None:
            before = self._open(table)
            if (held := pa.schema(before.schema()).names) != arrow.names:
                raise TableOutdated(
                    f"{table} has the columns {', '.join(held)}, and this version writes {', '.join(arrow.names)}; "
                    f"remove {home} and materialize it again"
                )
            before.create_write_transaction(
                list(added),
                mode="overwrite",
                schema=before.schema(),
                partition_by=["day"],
                partition_filters=[("day", "in", sorted(wanted))],
            )

        # Of two who write a day for the first time neither replaces what the other wrote, and Delta sees no conflict.
        with FileLock(self.root / f".{table}.lock"):
            _until_committed(commit)
        return self.version(table)

    def append(self, table: str, data: pl.DataFrame) -> None:
        """Add rows, which have a `day`, to `table` in one commit."""
        rows = data.to_arrow(compat_level=pl.CompatLevel.oldest())
        properties = _without_texts(rows.schema)
        path = str(self.path(table))
        write_deltalake(path, rows, partition_by=["day"], mode="append", configuration=properties)

    def remove(self, table: str, column: str, values: Collection[str]) -> int:
        """Remove the rows whose `column` is one of `values`, in one commit, and return how many there were.

        The other rows of the same days are written anew, in their order.
        """
        is_meant = pl.col(column).is_in(list(values)).fill_null(value=False)

        def commit() -> int:
            before = self._open(table)
            counts = pl.scan_delta(before).filter(is_meant).group_by("day").len().collect()
            if counts.is_empty():
                return 0
            days = counts.get_column("day").to_list()
            files = [Path(file) for file in before.file_uris(file_pruning_predicate=_of_days(days))]
            before.create_write_transaction(  # fails where another commit has replaced one of the files since
                list(table_files.rewrite(self.path(table), files, ~is_meant)),
                mode="overwrite",
                schema=before.schema(),
                partition_by=["day"],
                partition_filters=[("day", "in", [day.isoformat() for day in days])],
            )
            return int(counts.get_column("len").sum())

        return _until_committed(commit)

    def drop_days(self, table: str, before: date, but: Collection[date] = ()) -> int:
        """Remove the days of `table` before a day, but for some, in one commit; return how many rows they held."""
        doomed = [day for day in self.days(table) if day < before and day not in but]
        if not doomed:
            return 0
        return _until_committed(lambda: self._open(table).delete(_of_days(doomed))["num_deleted_rows"])

    def vacuum(self, table: str, keep: timedelta) -> int:
        """Remove the files that no version of the last `keep` needs, and return how many bytes they had.

        What a killed writer left goes as well, a day after it was written: until then it may be the work of one that
        still lives. Whoever reads a version older than `keep` meanwhile fails, for want of the file.
        """
        hours = int(keep.total_seconds() // 3600)
        before = self._open(table)
        replaced = before.vacuum(hours, dry_run=True, enforce_retention_duration=False)
        freed = sum(_size(self.path(table) / file) for file in replaced)
        if replaced:
            before.vacuum(hours, dry_run=False, enforce_retention_duration=False)
        for file in self._left_by_killed_writers(table):
            freed += _size(file)
            file.unlink(missing_ok=True)
        for folder in self.path(table).glob("day=*"):
            if _is_old(folder):
                with suppress(OSError):  # it is not empty
                    folder.rmdir()
        return freed

    def _left_by_killed_writers(self, table: str) -> list[Path]:
        """Return the files below a table that no commit names and that are too old to be still written."""
        home = self.path(table)
        found = [file for file in (*home.glob("day=*/*"), *home.glob("_delta_log/*.tmp")) if _is_old(file)]
        now = self._open(table)  # only now: a file that is committed meanwhile is named
        replaced = now.vacuum(0, dry_run=True, enforce_retention_duration=False)
        named = {*now.file_uris(), *(str(home / file) for file in replaced)}
        return [file for file in found if str(file) not in named]

    def _open(self, table: str, version: int | None = None) -> DeltaTable:
        try:
            return DeltaTable(str(self.path(table)), version=version)
        except TableNotFoundError as error:
            raise TableMissing(
                f"the table {table!r} has never been written below {self.root}; "
                "materialize the asset that writes it first"
            ) from error


def _of_days(days: Iterable[date]) -> str:
    return "day IN (" + ", ".join(f"'{day.isoformat()}'" for day in sorted(set(days))) + ")"


def _without_texts(schema: pa.Schema) -> dict[str, str | None]:
    """Return the table property that keeps texts out of the log, in which Delta writes the least and the greatest value
    of each column: nobody's code stands there, and what is removed from the table does not stay in its log.
    """
    numbers = [field.name for field in schema if pa.types.is_primitive(field.type) and field.name != "day"]
    if not numbers:
        return {"delta.dataSkippingNumIndexedCols": "0"}
    return {"delta.dataSkippingStatsColumns": ",".join(numbers)}


def _until_committed(commit: Callable[[], Result], attempts: int = _COMMIT_ATTEMPTS) -> Result:
    for attempt in range(1, attempts):
        try:
            return commit()
        except CommitFailedError:
            time.sleep(random.uniform(0.05, 0.2) * attempt)
    return commit()


def _size(file: Path) -> int:
    with suppress(FileNotFoundError):
        return file.stat().st_size
    return 0


def _is_old(path: Path) -> bool:
    """Say whether no writer that still lives can be at work on a file or folder."""
    with suppress(FileNotFoundError):
        return path.stat().st_mtime < time.time() - _LONGEST_WRITE.total_seconds()
    return False


def connect(memory_limit: str = "2GB", spill: Path | None = None) -> duckdb.DuckDBPyConnection:
    """Return a DuckDB connection that keeps to `memory_limit`, spills to `spill`, and speaks UTC."""
    config: dict[str, str | bool | int | float | list[str]] = {"memory_limit": memory_limit}
    if spill is not None:
        spill.mkdir(parents=True, exist_ok=True)
        config["temp_directory"] = str(spill)
    connection = duckdb.connect(config=config)
    connection.execute("SET TimeZone = 'UTC'")
    return connection
