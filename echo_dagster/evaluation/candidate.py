"""The day's candidate: the model that `checkpoint` names, once it proves to be what today's lineage asks for.

What lives here: finding it and what is expected of its record. What does not: training it (`optimization/`),
the comparison of records (`provenance.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from echo_dagster import models
from echo_dagster.evaluation.provenance import verify_provenance
from echo_dagster.lake import Lake
from echo_dagster.models import ResolvedModel
from echo_dagster.optimization.schema import samples_digest, trained_settings
from echo_dagster.settings import Settings


@dataclass(frozen=True)
class NoCandidate:
    """A day that trained nothing, and why."""

    reason: str


def of_day(lake: Lake, day: date, base: ResolvedModel) -> ResolvedModel | NoCandidate:
    """Return the model that `checkpoint` names for `day`, unverified; or why there is none."""
    rows = lake.read("checkpoint", [day]).collect() if lake.exists("checkpoint") else None
    if rows is None or rows.is_empty():
        return NoCandidate(f"no checkpoint is recorded for {day}")
    row = rows.row(0, named=True)
    if row["status"] != "trained":
        return NoCandidate(f"no candidate was trained: {row['reason']}")
    return ResolvedModel(base.name, Path(row["path"]), row["model_digest"])


def verify(
    lake: Lake,
    day: date,
    candidate: ResolvedModel,
    *,
    started_from: str,
    settings: Settings,
) -> dict[str, Any]:
    """Return the candidate's provenance record, checked against the lake, the settings and the weights.

    Compared is what the weights depend on: the day's training set as it stands now, the model started from,
    and the settings of training. Settings of other stages may have changed since.

    Raises:
        ProvenanceMismatch: with every difference.
    """
    training_set = lake.read("training_set", [day]).collect()
    return verify_provenance(
        candidate.path,
        {
            "model_digest": models.digest(candidate.path),
            "started_from.digest": started_from,
            "lineage.day": day.isoformat(),
            "samples.count": training_set.height,
            "samples.digest": samples_digest(training_set),
            "training": trained_settings(settings.training),
            "fim": models.fim_tokens(settings.base_model.fim, candidate.path).model_dump(mode="json"),
            "max_tokens": settings.base_model.max_tokens,
        },
    )
