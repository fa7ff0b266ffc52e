"""What experiments say alike: cells of their tables in the terminal, and parts of their records as JSON.

What does not live here: what each of them found (`ablation/tables.py`, `scaling/tables.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import polars as pl
from rich.markup import escape
from rich.table import Table

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


def with_own_interval(value: float, low: float | None, high: float | None) -> str:
    """Return a figure with its interval, where it has one, as a cell."""
    return escape(f"{value:.3f}" + ("" if low is None else f" [{low:.3f}, {high:.3f}]"))


def in_words(metric: str, difference: float, low: float | None, high: float | None) -> str:
    """Return what a paired difference says: `better`, `worse` (of a length `more`, `fewer`), or why neither."""
    if low is None or high is None:
        return "one independent unit gives no interval"
    if low <= 0 <= high:
        return "no difference within the interval"
    if metric == "tokens_per_completion":  # neither is better
        return "more" if difference > 0 else "fewer"
    return "better" if (difference > 0) != (metric in LOWER_IS_BETTER) else "worse"


def compared(rows: pl.DataFrame, n_gaps: int) -> Iterator[Table]:
    """Yield a table of the models' own figures and one of their paired differences, over all gaps.

    `rows` is COMPARED_SCHEMA of `side_by_side.py`.
    """
    whole = rows.filter(pl.col("slice") == "all")
    own = whole.filter(pl.col("versus").is_null())
    names = own["model"].unique(maintain_order=True).to_list()
    figures = Table(title=f"On {n_gaps:,} held-out gaps", title_justify="left")
    figures.add_column("metric")
    for name in names:
        figures.add_column(escape(name), justify="right")
    for (metric,), of_metric in own.group_by("metric", maintain_order=True):
        cells = {
            row["model"]: with_own_interval(row["value"], row["low"], row["high"])
            for row in of_metric.iter_rows(named=True)
        }
        figures.add_row(metric_name(str(metric)), *(cells.get(name, "") for name in names))
    yield figures
    pairs = Table(title="Paired differences", title_justify="left")
    for column in ("models", "metric"):
        pairs.add_column(column)
    pairs.add_column("difference", justify="right")
    pairs.add_column("gaps", justify="right")
    pairs.add_column("in words")
    for row in whole.filter(pl.col("versus").is_not_null()).iter_rows(named=True):
        told = row["value"], row["low"], row["high"]
        pairs.add_row(
            escape(f"{row['model']} - {row['versus']}"),
            metric_name(row["metric"]),
            with_interval(*told),
            f"{row['n_samples']:,}",
            in_words(row["metric"], *told),
        )
    if pairs.row_count:
        yield pairs


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
