"""Retention: days that are older than a table keeps go, with their models and pages, and then the files behind them.

It also removes what people who were forgotten have left since, and what killed processes left. What does not live
here: how many days each table keeps (`settings.py`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

from echo_dagster.evaluation.schema import RECORDS
from echo_dagster.forgotten import forgotten
from echo_dagster.governance import leftovers
from echo_dagster.governance.forget import remove_rows
from echo_dagster.lake import Lake
from echo_dagster.settings import Settings

#: What is on record of models whose directories stay as long as one of them serves.
_OF_MODELS = ("checkpoint", "static_baseline")


class InputGone(LookupError):
    """Days whose input is past its retention: to make them again would leave them empty."""


@dataclass(frozen=True)
class Kept:
    """What became of a table. `first_day` is the first day that it keeps; null keeps all."""

    table: str
    first_day: date | None
    rows_removed: int
    bytes_freed: int


@dataclass(frozen=True)
class Retained:
    """What `retain` removed: by table; rows of people forgotten earlier; and directories, pages and other leftovers."""

    tables: tuple[Kept, ...]
    rows_of_forgotten: int
    paths: tuple[Path, ...]


def retain(lake: Lake, settings: Settings, now: datetime) -> Retained:
    """Remove what is older than the settings keep. A table keeps today and the given number of days before it."""
    people = forgotten(lake)
    rows_of_forgotten = sum(remove_rows(lake, set(people), now)[0].values()) if people else 0
    removed = leftovers.remove(settings.data_dir, now)
    stopped = now - timedelta(days=settings.retention.stopped_trainings)
    removed += leftovers.remove_stopped_trainings(settings.data_dir, stopped)
    today = now.astimezone(UTC).date()
    first_days = {table: today - timedelta(days=days) for table, days in settings.retention.tables().items()}
    served = _days_of_champions(lake, settings)
    dropped = {}
    for table, first in first_days.items():
        if lake.exists(table):
            dropped[table] = lake.drop_days(table, first, served if table in _OF_MODELS else ())
    if "checkpoint" in first_days:
        removed += _remove_models(settings.data_dir, first_days["checkpoint"], served)
    if settings.retention.reports is not None:
        removed += _remove_pages(settings.data_dir, _first_day(now, settings.retention.reports))
    versions = timedelta(days=settings.retention.versions)
    tables = [
        Kept(table, first_days.get(table), dropped.get(table, 0), lake.vacuum(table, versions))
        for table in lake.tables()
        if table not in RECORDS
    ]
    return Retained(tuple(tables), rows_of_forgotten, tuple(removed))


def check_inputs(
    lake: Lake,
    settings: Settings,
    made: str,
    source: str,
    days: Iterable[date],
    now: datetime,
    *,
    days_before: int = 0,
) -> None:
    """Refuse to make days of the table `made` again whose input in the table `source` retention has removed.

    A day is made of the same day of `source` and of `days_before` more.

    Raises:
        InputGone: rows of `made` would be lost.
    """
    kept = settings.retention.tables().get(source)
    if kept is None or not lake.exists(made):
        return
    first = _first_day(now, kept)
    needed = {day: [day - timedelta(days=back) for back in range(days_before + 1)] for day in days}
    if not any(min(sources) < first for sources in needed.values()):
        return
    there, made_days = set(lake.days(source)), set(lake.days(made))
    gone = sorted(
        day
        for day, sources in needed.items()
        if day in made_days and any(one < first and one not in there for one in sources)
    )
    if gone:
        raise InputGone(
            f"{source} keeps {kept} days, and rows of {made} of {', '.join(map(str, gone))} were made of older ones: "
            f"they would be lost. Materialize {source} of these days first, if its own input is still there"
        )


def _first_day(now: datetime, days: int) -> date:
    return now.astimezone(UTC).date() - timedelta(days=days)


def _days_of_champions(lake: Lake, settings: Settings) -> list[date]:
    """Return the days for which the model that serves, and those that served last before it, were trained."""
    if not lake.exists("champion"):
        return []
    tables = [table for table in ("champion", "champion_changes") if lake.exists(table)]
    rows = pl.concat([lake.read(table).select("day", "path") for table in tables])
    served = rows.group_by("path").agg(pl.col("day").max()).sort("day", "path", descending=True).collect()
    serving = Path(lake.read("champion").sort("day").last().select("path").collect().item()).resolve()
    home = (settings.data_dir / "checkpoints").resolve()
    trained = [one for path in served["path"] if (one := Path(path).resolve()).is_relative_to(home)]
    former = [path for path in trained if path != serving][: settings.retention.champions]
    kept = [*former, *(path for path in trained if path == serving)]  # the base model is none of them
    return [_day(Path(path.relative_to(home).parts[0])) for path in kept]


def _remove_models(data_dir: Path, first: date, served: list[date]) -> list[Path]:
    old = [
        path
        for path in sorted(data_dir.glob("checkpoints/*"))
        if (day := _day(path)) < first and day not in served
    ]
    for path in old:
        shutil.rmtree(path, ignore_errors=True)
    return old


def _remove_pages(data_dir: Path, first: date) -> list[Path]:
    old = [path for path in sorted((data_dir / "reports").glob("*.html")) if _day(path) < first]
    for path in old:
        path.unlink(missing_ok=True)
    return old


def _day(path: Path) -> date:
    """Return the day that a file or folder is named after; of any other name, one that is never old."""
    try:
        return date.fromisoformat(path.stem)
    except ValueError:
        return date.max
