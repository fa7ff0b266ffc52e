"""The day's trained models: the candidate that `checkpoint` names, and the static baseline that `static_baseline`
names on some days, once they prove to be what today's lineage asks for.

What lives here: finding them and what is expected of their records. What does not: training them (`optimization/`),
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
from echo_dagster.optimization.schema import equal_to, from_base, samples_digest, trained_settings
from echo_dagster.settings import Settings

#: What a table holds, and which model it names.
_NAMES = {
    "checkpoint": ("checkpoint", "candidate"),
    "static_baseline": ("static baseline", "static baseline"),
}


@dataclass(frozen=True)
class NoCandidate:
    """A day that trained nothing, and why."""

    reason: str


def of_day(
    lake: Lake, day: date, base: ResolvedModel, table: str = "checkpoint"
) -> ResolvedModel | NoCandidate:
    """Return the model that `table` names for `day`, unverified; or why there is none."""
    rows = lake.read(table, [day]).collect() if lake.exists(table) else None
    what, who = _NAMES[table]
    if rows is None or rows.is_empty():
        return NoCandidate(f"no {what} is recorded for {day}")
    row = rows.row(0, named=True)
    if row["status"] != "trained":
        return NoCandidate(f"no {who} was trained: {row['reason']}")
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
    return verify_provenance(
        candidate.path, _expected(lake, day, "training_set", candidate, started_from, settings)
    )


def verify_static(
    lake: Lake, day: date, baseline: ResolvedModel, *, base: ResolvedModel, settings: Settings
) -> dict[str, Any]:
    """Return the static baseline's provenance record, checked like a candidate's against the day's static set.

    It started from the base model, and its record names the training set that it is to be as large as.

    Raises:
        ProvenanceMismatch: with every difference.
    """
    training_set = lake.read("training_set", [day]).collect()
    same = {f"lineage.equal_to.{name}": value for name, value in equal_to(training_set).items()}
    asked = _expected(lake, day, "static_set", baseline, base.digest, from_base(settings))
    return verify_provenance(baseline.path, {**asked, **same}, "static_baseline")


def _expected(
    lake: Lake, day: date, table: str, model: ResolvedModel, started_from: str, settings: Settings
) -> dict[str, Any]:
    """Return what the record of a model trained on `day`'s samples of `table` must say."""
    samples = lake.read(table, [day]).collect()
    return {
        "model_digest": models.digest(model.path),
        "started_from.digest": started_from,
        "lineage.day": day.isoformat(),
        "samples.count": samples.height,
        "samples.digest": samples_digest(samples),
        "training": trained_settings(settings.training),
        "fim": models.fim_tokens(settings.base_model.fim, model.path).model_dump(mode="json"),
        "max_tokens": settings.base_model.max_tokens,
    }
