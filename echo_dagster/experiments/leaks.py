"""Which gaps a model has seen: those that it, or a model that it began with, learnt from, as provenance records tell.

What does not live here: the gaps of a day that its own training set holds (`evaluation/day.py`), and the check of a
record against today's lineage (`evaluation/candidate.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from echo_dagster.evaluation import provenance
from echo_dagster.lake import Lake, TableMissing, VersionGone
from echo_dagster.models import ResolvedModel
from echo_dagster.near_duplicates import COMPARED, near_duplicates_of
from echo_dagster.optimization.schema import read_from, samples_digest

_ASKED = ("sample_id", "content_hash", "prefix", "middle", "suffix")
#: Whoever and whatever is held out is in no training set, on whatever day.
_IS_HELD_OUT = pl.any_horizontal(pl.col("^is_held_out_.*$"))


@dataclass(frozen=True)
class Seen:
    """What a model has seen of some gaps: their ids, and in words how far that could be checked."""

    sample_ids: frozenset[str]
    checked: str


def seen(
    model: ResolvedModel, gaps: pl.DataFrame, lake: Lake, base: ResolvedModel, similarity: float | None
) -> Seen:
    """Return which of some gaps a model has seen.

    Seen are gaps of a day that it learnt from, but for those of people and repositories held out; and exact and near
    duplicates of its samples.

    Args:
        model: its directory may hold a provenance record.
        gaps: SCORED_SCHEMA, `day` and what is held out (`is_held_out_user`, ...).
        lake: where its samples stand.
        base: the base model, which learnt from none of them.
        similarity: of near duplicates; null: only exact duplicates are looked for.
    """
    ids: set[str] = set()
    told = []
    for record in _records(model, lake, base):
        if isinstance(record, str):
            told.append(record)
            continue
        samples, how = _samples(record, lake)
        told.append(how)
        days = [date.fromisoformat(day) for day in record["lineage"].get("sample_days", ())]
        of_day = gaps.filter(pl.col("day").is_in(days), ~_IS_HELD_OUT)
        same = gaps.join(samples, on="content_hash", how="semi")
        ids |= {*of_day["sample_id"], *same["sample_id"]}
        if similarity is not None and not samples.is_empty():
            texts = (frame.select("sample_id", *COMPARED) for frame in (samples, gaps))
            alike = near_duplicates_of([next(texts)], [next(texts)], similarity, lake.root)
            ids |= set(alike["sample_id"])
    return Seen(frozenset(ids), "; ".join(told))


def _records(model: ResolvedModel, lake: Lake, base: ResolvedModel) -> Iterator[Mapping[str, Any] | str]:
    """Yield the record of a model, and of each that another one began with; a word where none can be had."""
    path: Path | None = model.path
    if model.digest == base.digest:
        yield "the base model"
        return
    known: set[str] = set()
    while path is not None:
        file = path / provenance.FILE
        if not file.is_file():
            yield "not checked: no provenance record"
            return
        record = json.loads(file.read_text(encoding="utf-8"))
        yield record
        start = record["started_from"]["digest"]
        if start == base.digest or start in known:
            return
        known.add(start)
        path = _path_of(lake, start)
        if path is None:
            yield f"not checked further: it began with {start}, which is not on record"


def _path_of(lake: Lake, digest: str) -> Path | None:
    if not lake.exists("checkpoint"):
        return None
    rows = lake.read("checkpoint").filter(pl.col("model_digest") == digest).select("path").collect()
    return None if rows.is_empty() else Path(rows.item(0, 0))


def _samples(record: Mapping[str, Any], lake: Lake) -> tuple[pl.DataFrame, str]:
    """Return the samples that a model was trained on, as far as they are there, and how that is known."""
    lineage = record["lineage"]
    nothing = pl.DataFrame(schema=dict.fromkeys(_ASKED, pl.String))
    if "tables" not in lineage:
        return nothing, "not checked: it was not trained on a table of the lake"
    table, version = read_from(lineage)
    day = date.fromisoformat(lineage["day"])
    try:
        rows = lake.read_version(table, version, day).collect()
    except VersionGone:
        rows = None
    try:
        rows = lake.read(table, [day]).collect() if rows is None else rows
    except TableMissing:
        return nothing, f"not checked: {table} is not in this lake"
    if samples_digest(rows) == record["samples"]["digest"]:
        return rows.select(_ASKED), f"checked against {table} of {day}"
    return rows.select(_ASKED), f"checked against what {table} of {day} is now, not what it was trained on"
