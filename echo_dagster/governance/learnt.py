"""Which models learnt from a person: trainings on record and on disk, against the training sets they were made of.

What does not live here: writing the list down (`forget.py`), and what a training is (`optimization/`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from echo_dagster.forgotten import EVIDENCE
from echo_dagster.lake import Lake, VersionGone
from echo_dagster.optimization.schema import read_from, samples_digest

_COUNTED, _SET_OF_DAY, _WINDOW, _ANCESTOR = EVIDENCE


@dataclass(frozen=True)
class Model:
    """A training of the pipeline, finished or not: what its record says of its origin. `digest` is null until it is."""

    day: date
    path: Path
    digest: str | None
    started_from: str
    samples_digest: str
    table: str  # that its samples were read from
    version: int  # of that table
    sample_days: tuple[date, ...]


@dataclass(frozen=True)
class Learnt:
    """A model that learnt from a person, how that is known, and from how many of their samples (null: not known)."""

    model: Model
    evidence: str
    n_samples: int | None


def trainings(lake: Lake, data_dir: Path) -> list[Model]:
    """Return every training of the pipeline: those on record in a table, and those that have a directory."""
    found: dict[Path, Model] = {}
    for table in filter(lake.exists, ("checkpoint", "static_baseline")):
        rows = lake.read(table).filter(pl.col("status") == "trained")
        for path, provenance in rows.select("path", "provenance").collect().iter_rows():
            found |= _model(Path(path), json.loads(provenance))
    for file in sorted(data_dir.glob("checkpoints/*/*/job.json")):
        record = file.parent / "model" / "provenance.json"
        told = json.loads((record if record.is_file() else file).read_text(encoding="utf-8"))
        found |= _model(file.parent / "model", told)
    return sorted(found.values(), key=lambda model: (model.day, model.path))


def learnt(lake: Lake, models: list[Model], person: str, samples: set[str]) -> list[Learnt]:
    """Return which of `models` learnt from a person, whose sample ids are `samples`. Ask before rows are removed."""
    found = {}
    for model in models:
        evidence, n = _of_one(lake, model, person, samples)
        if n != 0:
            found[model.path] = Learnt(model, evidence, n)
    while True:  # a model can begin with the weights of one that began with the weights of another
        digests = {one.model.digest for one in found.values()} - {None}
        heirs = [model for model in models if model.path not in found and model.started_from in digests]
        if not heirs:
            return sorted(found.values(), key=lambda one: (one.model.day, one.model.path))
        found |= {model.path: Learnt(model, _ANCESTOR, None) for model in heirs}


def frozen_samples(training: Path) -> set[str] | None:
    """Return the ids of the samples that the directory of an unfinished training holds, to train on or to measure on;
    null where there are none.
    """
    files = sorted((training / "work").glob("*.parquet"))
    try:
        return (
            set().union(*(pl.read_parquet(file, columns=["sample_id"])["sample_id"] for file in files))
            or None
        )
    except pl.exceptions.PolarsError:  # its writer was killed
        return None


def _of_one(lake: Lake, model: Model, person: str, samples: set[str]) -> tuple[str, int | None]:
    """Return how it is known what a model learnt from a person, and how many samples; 0 is none."""
    theirs = pl.col("user_id") == person
    frozen = frozen_samples(model.path.parent)
    if frozen is not None:  # it is not finished
        return _COUNTED, len(frozen & samples)
    try:
        return _COUNTED, _count(lake.read_version(model.table, model.version, model.day).filter(theirs))
    except VersionGone:
        now = lake.read(model.table, [model.day])
    if n := _count(now.filter(theirs)):
        return _SET_OF_DAY, n
    in_window = _count(lake.read("scored_samples", model.sample_days).filter(theirs))
    is_unsure = in_window and samples_digest(now.collect()) != model.samples_digest
    return _WINDOW, None if is_unsure else 0


def _count(rows: pl.LazyFrame) -> int:
    return rows.select(pl.len()).collect().item()


def _model(path: Path, told: Mapping[str, Any]) -> dict[Path, Model]:
    """Return what a job file or a provenance record says; nothing of a training that was not of the pipeline."""
    lineage = told["lineage"]
    if "tables" not in lineage:
        return {}
    table, version = read_from(lineage)
    return {
        path: Model(
            day=date.fromisoformat(lineage["day"]),
            path=path,
            digest=told.get("model_digest"),
            started_from=(told.get("started_from") or told["model"])["digest"],
            samples_digest=told["samples"]["digest"] if "started_from" in told else told["samples_digest"],
            table=table,
            version=version,
            sample_days=tuple(date.fromisoformat(day) for day in lineage["sample_days"]),
        )
    }
