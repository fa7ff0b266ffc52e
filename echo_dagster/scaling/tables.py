"""What came of a study of growing shares: tables for the terminal, and a record as JSON. Neither holds anybody's code.

What does not live here: the study (`study.py`), the plot (`plot.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl
from rich.markup import escape
from rich.table import Table

from echo_dagster.experiments.telling import metric_name, provenance, trainings, with_interval
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
                "trainings": trainings(run.record for run in arm.runs),
            }
            for arm in done.arms
        ],
        "shares_left_out": [{"share": size.share, "samples": size.n_samples} for size in done.left_out],
        "scaling": done.scaling.to_dicts(),
        "fits": done.fits.to_dicts(),
        "calibrated_user": done.user.to_record(),
        "provenance": provenance(done.base, done.settings, done.versions),
    }


def _metric(done: Study, metric: str) -> Table:
    gaps = f"on {done.n_held_out:,} held-out gaps of {done.day}"
    table = Table(title=escape(f"{metric_name(metric)}, {gaps}"), title_justify="left")
    columns = ["samples", "steps", "tokens trained on", "base", "trained", "trained - base"]
    for column in columns if len(done.seeds) == 1 else [*columns, f"{len(done.seeds)} seeds"]:
        table.add_column(column, justify="right")
    of_metric = (pl.col("metric") == metric) & (pl.col("slice") == "all")
    for row in done.scaling.filter(of_metric).sort("n_samples").iter_rows(named=True):
        cells = [f"{row[column]:,}" for column in ("n_samples", "steps", "tokens")]
        cells += [f"{row[column]:.3f}" for column in ("base", "value")]
        cells.append(with_interval(row["difference"], row["difference_low"], row["difference_high"]))
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
            metric_name(row["metric"]),
            with_interval(row["per_doubling"], row["low"], row["high"]),
            with_interval(row["last_doubling"], row["last_low"], row["last_high"]),
            row["in_words"],
        )
    return table
