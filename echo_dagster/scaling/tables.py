"""What came of a study of growing shares: tables for the terminal, and a record as JSON. Neither holds anybody's code.

What does not live here: the study (`study.py`), the plot (`plot.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl
from rich.markup import escape
from rich.table import Table

from echo_dagster.evaluation.summary import LOWER_IS_BETTER
from echo_dagster.optimization import job
from echo_dagster.scaling.study import Study


def tables(done: Study) -> Iterator[Table]:
    """Yield a table of the shares for each metric, and one of what a doubling brought."""
    for metric in done.fits["metric"]:
        yield _metric(done, metric)
    yield _fits(done)


def left_out(done: Study) -> str:
    """Return which shares were not trained on, in words; nothing where all were."""
    shares = ", ".join(f"{size.share:g} ({size.n_samples:,} samples)" for size in done.left_out)
    least = done.settings.training.min_samples
    return (
        shares
        and f"Shares left out, below training.min_samples ({least:,}) or as large as another: {shares}."
    )


def record(done: Study) -> dict[str, Any]:
    """Return the study as plain values: what was compared on what, what it found, and where all came from."""
    settings = done.settings
    return {
        "day": done.day.isoformat(),
        "training_set": done.n_samples,
        "held_out_gaps": done.n_held_out,
        "left_out_as_trained_on": done.n_seen,
        "seeds": list(done.seeds),
        "shares": [
            {
                "share": arm.size.share,
                "samples": arm.size.n_samples,
                "samples_digest": arm.runs[0].record["samples"]["digest"],
                "trainings": [
                    {
                        "seed": run.record["training"]["seed"],
                        "job_digest": run.record["job_digest"],
                        "model_digest": run.record["model_digest"],
                        **run.record["metrics"],
                    }
                    for run in arm.runs
                ],
            }
            for arm in done.arms
        ],
        "shares_left_out": [{"share": size.share, "samples": size.n_samples} for size in done.left_out],
        "scaling": done.scaling.to_dicts(),
        "fits": done.fits.to_dicts(),
        "calibrated_user": done.user.to_record(),
        "provenance": {
            "settings": settings.model_dump(mode="json", exclude={"data_dir", "sources", "retention"}),
            "settings_digest": settings.digest,
            "table_versions": done.versions,
            "base_model": {"name": done.base.name, "digest": done.base.digest},
            "code_version": job.code_version(),
            "code_digest": job.code_digest(),
        },
    }


def _metric(done: Study, metric: str) -> Table:
    gaps = f"on {done.n_held_out:,} held-out gaps of {done.day}"
    table = Table(title=escape(f"{_named(metric)}, {gaps}"), title_justify="left")
    columns = ["samples", "steps", "tokens trained on", "base", "trained", "trained - base"]
    for column in columns if len(done.seeds) == 1 else [*columns, f"{len(done.seeds)} seeds"]:
        table.add_column(column, justify="right")
    of_metric = (pl.col("metric") == metric) & (pl.col("slice") == "all")
    for row in done.scaling.filter(of_metric).sort("n_samples").iter_rows(named=True):
        cells = [f"{row[column]:,}" for column in ("n_samples", "steps", "tokens")]
        cells += [f"{row[column]:.3f}" for column in ("base", "value")]
        cells.append(_with_interval(row, "difference", "difference_low", "difference_high"))
        if len(done.seeds) > 1:
            cells.append(f"{min(row['by_seed']):.3f} to {max(row['by_seed']):.3f}")
        table.add_row(*cells)
    return table


def _fits(done: Study) -> Table:
    table = Table(title="What a doubling of the samples brought", title_justify="left")
    table.add_column("metric")
    for column in ("per doubling", "the last doubling"):
        table.add_column(column, justify="right")
    table.add_column("in words")
    for row in done.fits.iter_rows(named=True):
        table.add_row(
            _named(row["metric"]),
            _with_interval(row, "per_doubling", "low", "high"),
            _with_interval(row, "last_doubling", "last_low", "last_high"),
            row["in_words"],
        )
    return table


def _named(metric: str) -> str:
    return metric + (" (less is better)" if metric in LOWER_IS_BETTER else "")


def _with_interval(row: Mapping[str, Any], value: str, low: str, high: str) -> str:
    bounds = "" if row[low] is None else f" [{row[low]:+.3f}, {row[high]:+.3f}]"
    return escape(f"{row[value]:+.3f}{bounds}")
