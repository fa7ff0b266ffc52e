"""Forgetting a person: out of every table and off the disk, for good, with a list of the models that learnt from them.

What does not live here: which rows are about a person (`people.py`), which models learnt (`learnt.py`), the list that
keeps the person out (`forgotten.py`), and their landing files, which belong to the tools that write them.

The order is what makes it safe to be killed at any moment and done again: first the list, so that no day that is made
meanwhile brings the person back; then the models, which nobody could tell afterwards; then the rows; then the files.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from echo_dagster import forgotten
from echo_dagster.governance import learnt, leftovers, people
from echo_dagster.governance.learnt import Learnt
from echo_dagster.lake import Lake


@dataclass(frozen=True)
class Forgotten:
    """What was removed: rows by table, report pages, the work of trainings. `models` are those that learnt."""

    pseudonym: str
    rows: dict[str, int]
    pages: tuple[Path, ...]
    trainings: tuple[Path, ...]
    bytes_freed: int
    models: pl.DataFrame


def forget(lake: Lake, data_dir: Path, pseudonym: str, now: datetime) -> Forgotten:
    """Remove a person from every table, every page and every unfinished training, and list the models that learnt.

    What the tables' earlier versions hold is removed from the disk at once: whoever reads one of them meanwhile fails.
    """
    _note(lake, pseudonym, now, {None: 0})
    samples = people.samples(lake, {pseudonym})
    models = learnt.trainings(lake, data_dir)
    _note_models(lake, pseudonym, now, learnt.learnt(lake, models, pseudonym, samples))
    unfinished = {file.parent.parent for file in data_dir.glob("checkpoints/*/*/work/*.parquet")}
    trainings = tuple(
        training
        for training in sorted(unfinished)
        if (held := learnt.frozen_samples(training)) is None or held & samples
    )
    rows, freed = remove_rows(lake, {pseudonym}, now)
    for training in trainings:
        shutil.rmtree(training / "work", ignore_errors=True)
    leftovers.remove(data_dir, now)
    pages = tuple(
        page
        for page in sorted((data_dir / "reports").glob("*.html"))
        if pseudonym.encode() in page.read_bytes()
    )
    for page in pages:
        page.unlink()
    return Forgotten(pseudonym, rows, pages, trainings, freed, models_of(lake, pseudonym))


def remove_rows(lake: Lake, pseudonyms: set[str], now: datetime) -> tuple[dict[str, int], int]:
    """Remove all rows about some people, note how many, and return them by table, and the bytes freed.

    The files go with them. A run that began before a person was on the list may have written rows since: then this has
    something to do again.
    """
    removed: dict[str, int] = {}
    for pseudonym in sorted(pseudonyms):
        rows = people.remove(lake, {pseudonym})
        if any(rows.values()):
            _note(lake, pseudonym, now, {table: n for table, n in rows.items() if n})
        removed = {table: removed.get(table, 0) + n for table, n in rows.items()}
    return removed, sum(lake.vacuum(table, timedelta(0)) for table in removed)


def models_of(lake: Lake, pseudonym: str) -> pl.DataFrame:
    """Return the models on the list of those that learnt from a person: `day` and `CHECKPOINTS_SCHEMA`."""
    if not lake.exists(forgotten.CHECKPOINTS):
        return pl.DataFrame(schema={"day": pl.Date(), **forgotten.CHECKPOINTS_SCHEMA})
    rows = lake.read(forgotten.CHECKPOINTS).filter(pl.col("pseudonym") == pseudonym)
    return rows.sort("day", "path").collect()


def _note(lake: Lake, pseudonym: str, now: datetime, rows: dict[str | None, int]) -> None:
    noted = [
        {"day": now.date(), "pseudonym": pseudonym, "forgotten_at": now, "table": table, "rows": n}
        for table, n in rows.items()
    ]
    lake.append(forgotten.TABLE, pl.DataFrame(noted, schema={"day": pl.Date(), **forgotten.SCHEMA}))


def _note_models(lake: Lake, pseudonym: str, now: datetime, found: list[Learnt]) -> None:
    """Add models to the list, those that are not on it."""
    listed = set(models_of(lake, pseudonym).get_column("path"))
    serving = _serving(lake)
    noted = [
        {
            "day": one.model.day,
            "pseudonym": pseudonym,
            "forgotten_at": now,
            "path": str(one.model.path),
            "model_digest": one.model.digest,
            "n_samples": one.n_samples,
            "evidence": one.evidence,
            "is_serving": one.model.digest is not None and one.model.digest == serving,
        }
        for one in found
        if str(one.model.path) not in listed
    ]
    schema = {"day": pl.Date(), **forgotten.CHECKPOINTS_SCHEMA}
    lake.append(forgotten.CHECKPOINTS, pl.DataFrame(noted, schema=schema))


def _serving(lake: Lake) -> str | None:
    """Return the digest of the model that serves; null before any day was decided."""
    if not lake.exists("champion"):
        return None
    rows = lake.read("champion").sort("day").collect()
    return None if rows.is_empty() else rows.item(-1, "model_digest")
