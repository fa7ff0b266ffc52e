"""What experiments say alike: cells of their tables in the terminal, and parts of their records as JSON.

What does not live here: what each of them found (`ablation/tables.py`, `scaling/tables.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.markup import escape

from echo_dagster.evaluation.summary import LOWER_IS_BETTER
from echo_dagster.models import ResolvedModel
from echo_dagster.optimization import job
from echo_dagster.settings import Settings


def metric_name(metric: str) -> str:
    """Return how a table calls a metric."""
    return metric + (" (less is better)" if metric in LOWER_IS_BETTER else "")


def with_interval(value: float, low: float | None, high: float | None) -> str:
    """Return a difference with its interval, where it has one, as a cell."""
    return escape(f"{value:+.3f}" + ("" if low is None else f" [{low:+.3f}, {high:+.3f}]"))


def trainings(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return of each training's provenance record what tells it from the others, and its figures."""
    return [
        {
            "seed": one["training"]["seed"],
            "job_digest": one["job_digest"],
            "model_digest": one["model_digest"],
            **one["metrics"],
        }
        for one in records
    ]


def provenance(base: ResolvedModel, settings: Settings, versions: Mapping[str, int]) -> dict[str, Any]:
    """Return where an experiment came from; `versions` are those of the tables that it read."""
    return {
        "settings": settings.model_dump(mode="json", exclude={"data_dir", "sources", "retention"}),
        "settings_digest": settings.digest,
        "table_versions": dict(versions),
        "base_model": {"name": base.name, "digest": base.digest},
        "code_version": job.code_version(),
        "code_digest": job.code_digest(),
    }
