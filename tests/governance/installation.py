"""A small installation: tables with a few people in them, and trainings on disk and on record."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from echo_dagster.evaluation.schema import CHAMPION_SCHEMA
from echo_dagster.lake import Lake
from echo_dagster.optimization.schema import CHECKPOINT_SCHEMA, samples_digest
from echo_dagster.settings import FimTokens, ModelSettings, ModelSource, Settings

NOW = datetime(2026, 2, 1, 3, tzinfo=UTC)
TODAY = NOW.date()
ANN, BEN = "u_00000000000000aa", "u_00000000000000bb"


def ago(days: int) -> date:
    return TODAY - timedelta(days=days)


def settings(data_dir: Path, **retention: int) -> Settings:
    fim = FimTokens(layout="spm", prefix="<p>", suffix="<s>", middle="<m>", end="<e>")
    model = ModelSettings(name="none", source=ModelSource(path="none"), fim=fim)
    return Settings.model_validate(
        {"data_dir": data_dir, "start_day": ago(60), "base_model": model, "retention": retention}
    )


def rows(day: date, people: dict[str, int], **columns: Any) -> pl.DataFrame:
    """Return rows of people, with sample ids of their own."""
    found = [
        {
            "day": day,
            "sample_id": f"{person[-2:]}-{day}-{number}",
            "user_id": person,
            "text": f"code of {person}",
            **columns,
        }
        for person, n in people.items()
        for number in range(n)
    ]
    schema = {"day": pl.Date, "sample_id": pl.String, "user_id": pl.String, "text": pl.String}
    return pl.DataFrame(found, schema={**schema, **dict.fromkeys(columns, pl.Date)})


def training_set(lake: Lake, day: date, people: dict[str, int]) -> pl.DataFrame:
    """Write the training set of a day, made of the day before, and return it."""
    made = rows(day, people, sample_day=day - timedelta(days=1)).with_columns(
        language=pl.lit("python"), prefix="text", suffix="text", middle="text"
    )
    lake.replace("training_set", made, [day])
    return made


def train(
    lake: Lake,
    data_dir: Path,
    day: date,
    digest: str,
    *,
    started_from: str = "base",
    is_finished: bool = True,
    is_recorded: bool = True,
) -> Path:
    """Leave what a training of the day's training set leaves, and return the model's directory."""
    made_of = lake.read("training_set", [day]).collect()
    lineage = {
        "day": day.isoformat(),
        "tables": {"training_set": lake.version("training_set")},
        "sample_days": sorted({str(one) for one in made_of["sample_day"]}),
    }
    home = data_dir / "checkpoints" / day.isoformat() / f"job-{digest}"
    home.mkdir(parents=True)
    told = {"samples_digest": samples_digest(made_of), "lineage": lineage, "model": {"digest": started_from}}
    (home / "job.json").write_text(json.dumps(told))
    if not is_finished:
        (home / "work").mkdir()
        made_of.select("sample_id", "middle").write_parquet(home / "work" / "samples.parquet")
        return home / "model"
    (home / "model").mkdir()
    record = {
        "model_digest": digest,
        "started_from": {"digest": started_from},
        "samples": {"count": made_of.height, "digest": samples_digest(made_of)},
        "lineage": lineage,
    }
    (home / "model" / "provenance.json").write_text(json.dumps(record))
    if is_recorded:
        row = {
            "day": day,
            **dict.fromkeys(CHECKPOINT_SCHEMA),
            "status": "trained",
            "path": str(home / "model"),
            "model_digest": digest,
            "provenance": json.dumps(record),
        }
        lake.replace("checkpoint", pl.DataFrame([row], schema={"day": pl.Date(), **CHECKPOINT_SCHEMA}), [day])
    return home / "model"


def promote(lake: Lake, day: date, digest: str, path: Path) -> None:
    row = {
        "day": day,
        **dict.fromkeys(CHAMPION_SCHEMA),
        "model_digest": digest,
        "path": str(path),
        "decision": "promoted",
        "since": day,
    }
    lake.replace("champion", pl.DataFrame([row], schema={"day": pl.Date(), **CHAMPION_SCHEMA}), [day])
