"""What came of a day's training, as the one row of the table `checkpoint`; of the static baseline's, of the table
`static_baseline`.

Evaluation finds the model by this row, never by listing a directory.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from echo_dagster import models
from echo_dagster.lake import Lake
from echo_dagster.optimization import job
from echo_dagster.optimization.job import Prepared
from echo_dagster.optimization.schema import CHECKPOINT_SCHEMA, STATIC_SCHEMA, read_from

_SCHEMAS = {"checkpoint": CHECKPOINT_SCHEMA, "static_baseline": STATIC_SCHEMA}


class CheckpointBroken(RuntimeError):
    """A model directory that is not what its own record says."""


@dataclass(frozen=True)
class Trained:
    """A finished training. `provenance` is the JSON text of its record, `history` one mapping per step."""

    path: Path
    digest: str
    provenance: str
    history: list[dict[str, Any]]


def write_skipped(lake: Lake, day: date, reason: str, table: str = "checkpoint") -> None:
    """Record that `day` trained nothing, and why."""
    _write(lake, day, table, {"status": "skipped", "reason": reason})


def write_trained(lake: Lake, day: date, prepared: Prepared, table: str = "checkpoint") -> Trained:
    """Record the model that the training of `prepared` left.

    Raises:
        TrainingMissing: there is none.
        CheckpointBroken: the directory's weights are not those that were written.
    """
    record = job.result(prepared.job.out)
    path = prepared.job.result
    if record["job_digest"] != prepared.job.digest or models.digest(path) != record["model_digest"]:
        raise CheckpointBroken(
            f"{path} is not what its provenance.json says; remove {prepared.job.out} and materialize "
            f"`{table}` again"
        )
    history = json.loads((path / "history.json").read_text(encoding="utf-8"))
    provenance = json.dumps(record, sort_keys=True)
    lineage = record["lineage"]
    _, version = read_from(lineage)
    equal_to = {name: value for name, value in lineage.get("equal_to", {}).items() if name in STATIC_SCHEMA}
    _write(
        lake,
        day,
        table,
        {
            "status": "trained",
            "path": str(path),
            "model_digest": record["model_digest"],
            "training_set_digest": record["samples"]["digest"],
            "training_set_version": version,
            "n_samples": record["samples"]["count"],
            "steps": record["metrics"]["steps"],
            "final_loss_nats_per_token": record["metrics"]["final_loss_nats_per_token"],
            "provenance": provenance,
            **equal_to,
        },
    )
    return Trained(path, record["model_digest"], provenance, history)


def _write(lake: Lake, day: date, table: str, told: dict[str, Any]) -> None:
    schema = _SCHEMAS[table]
    row = {"day": day, **dict.fromkeys(schema), **told}
    lake.replace(table, pl.DataFrame([row], schema={"day": pl.Date(), **schema}), [day])
