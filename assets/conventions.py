"""What all assets share: partitions, owners, retries, column schemas, row counts, checks and progress.

No asset is defined here, and nothing here knows a stage.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import date, timedelta
from typing import Any

import dagster as dg
import polars as pl

from echo_dagster import configuration
from echo_dagster.evaluation import plots

_CONFIGURED = configuration.load()

#: UTC days from the configured first one to yesterday, or to the configured last one. No `end_offset`: a nightly run
#: must not take the unfinished day.
DAYS = dg.DailyPartitionsDefinition(
    start_date=_CONFIGURED.start_day.isoformat(),
    end_date=(_CONFIGURED.end_day + timedelta(days=1)).isoformat() if _CONFIGURED.end_day else None,
)

#: A backfill hands each run up to a month of days, which every data asset turns into one pass over its input.
RANGE = dg.BackfillPolicy.multi_run(max_partitions_per_run=31)

OWNERS = ["team:ml-platform"]

#: Transient trouble (a busy disk, a lost commit race) passes; a bug fails three times and is seen.
RETRY = dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL)

ACCELERATOR_POOL = "accelerator"
TRAINING_POOL = "training"

_DAGSTER_TYPES = {
    pl.String(): "string",
    pl.Int64(): "int",
    pl.Float64(): "float",
    pl.Boolean(): "bool",
    pl.Date(): "date",
}


def data_asset(
    group: str, schema: pl.Schema, *, kinds: set[str], **options: Any
) -> Callable[[Callable], dg.AssetsDefinition]:
    """Return the decorator of an asset that is one Delta table, partitioned by day and written a range at a time."""
    return dg.asset(
        group_name=group,
        partitions_def=DAYS,
        backfill_policy=RANGE,
        retry_policy=RETRY,
        owners=OWNERS,
        kinds=kinds | {"deltalake"},
        metadata={"dagster/column_schema": column_schema(schema)},
        **options,
    )


def column_schema(schema: pl.Schema) -> dg.TableSchema:
    """Return the columns of a table, with the `day` it is partitioned by, as Dagster shows them."""
    columns = {"day": pl.Date(), **schema}
    return dg.TableSchema(
        columns=[dg.TableColumn(name, _DAGSTER_TYPES.get(kind, str(kind))) for name, kind in columns.items()]
    )


def window(start_offset: int, end_offset: int = 0) -> dg.TimeWindowPartitionMapping:
    """Return the mapping of a day to the days around it; days before the first are simply not there."""
    return dg.TimeWindowPartitionMapping(
        start_offset=start_offset, end_offset=end_offset, allow_nonexistent_upstream_partitions=True
    )


def days(context: dg.AssetExecutionContext) -> list[date]:
    """Return the days of this run, in order: one, or a whole range of a backfill."""
    return sorted(date.fromisoformat(key) for key in context.partition_keys)


def days_before(day: date, count: int) -> list[date]:
    """Return the `count` days up to the one before `day`, in order."""
    return [day - timedelta(days=back) for back in range(count, 0, -1)]


def progress(
    context: dg.AssetExecutionContext, what: str, every_s: float = 2.0
) -> Callable[[int, int], None]:
    """Return a callback that writes `what: done of total` to the run's log, at most every `every_s` seconds."""
    last = 0.0

    def tell(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= every_s or done >= total:
            last = now
            context.log.info(f"{what}: {done} of {total}")

    return tell


def bar(
    context: dg.AssetExecutionContext,
) -> Callable[[str], AbstractContextManager[Callable[[int, int], None]]]:
    """Return what opens `progress` of a name, for work that is done in several parts."""
    return lambda what: nullcontext(progress(context, what))


def rows(count: int, context: dg.AssetExecutionContext) -> dict[str, Any]:
    """Return the row count in the place where Dagster plots it: per partition for one day, in all for a range."""
    key = "dagster/partition_row_count" if len(context.partition_keys) == 1 else "dagster/row_count"
    return {key: count}


def table(records: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue | str:
    """Return records as a small table in asset metadata; an empty one says so in words."""
    if not records:
        return "none"
    plain = [{name: _plain(value) for name, value in record.items()} for record in records]
    return dg.MetadataValue.table([dg.TableRecord(record) for record in plain])


def frame_table(frame: pl.DataFrame, limit: int = 50) -> dg.TableMetadataValue | str:
    """Return the head of a frame as a table in asset metadata."""
    return table(frame.head(limit).to_dicts())


def plot(name: str, draw: Callable[[Any], Any], data: Any) -> dict[str, dg.MarkdownMetadataValue]:
    """Return a plot of `data` as asset metadata under `name`; of nothing, no plot.

    One that cannot be drawn says why in its place: hours of work are not thrown away for want of a picture.
    """
    if not len(data):
        return {}
    try:
        return {name: dg.MetadataValue.md(plots.png_markdown(draw(data)))}
    except plots.PlotError as error:
        return {name: dg.MetadataValue.md(f"Not drawn: {error}.")}


def conservation_spec(asset: str, sentence: str) -> dg.AssetCheckSpec:
    """Return the blocking check that nothing was lost in `asset`; `sentence` is the balance that must hold."""
    return dg.AssetCheckSpec("conservation", asset=asset, blocking=True, description=sentence)


def conservation(balances: Iterable[tuple[date, int, int]]) -> dg.AssetCheckResult:
    """Return the result of a conservation check from (day, rows in, rows accounted for)."""
    balances = list(balances)
    wrong = [(day, come, found) for day, come, found in balances if come != found]
    return dg.AssetCheckResult(
        check_name="conservation",
        passed=not wrong,
        metadata={
            "days": len(balances),
            "rows_in": sum(come for _, come, _ in balances),
            "rows_accounted_for": sum(found for _, _, found in balances),
            "days_out_of_balance": table(
                [{"day": day, "rows_in": come, "rows_accounted_for": found} for day, come, found in wrong]
            ),
        },
    )


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    return value if value is None or isinstance(value, str | int | bool) else str(value)
