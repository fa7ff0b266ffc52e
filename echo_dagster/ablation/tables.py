"""What came of an ablation: tables for the terminal, and a record as JSON. Neither holds anybody's code.

What does not live here: the trials (`trials.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl
from rich.markup import escape
from rich.table import Table

from echo_dagster.ablation.trials import Ablation, Trained
from echo_dagster.experiments.telling import in_words, metric_name, provenance, trainings, with_interval

#: So many reasons are told of an arm; the record has all.
_REASONS = 3


def tables(done: Ablation) -> Iterator[Table]:
    """Yield a table of the arms, and one for each step that was dropped."""
    yield _arms(done)
    for trained in done.arms[1:]:
        yield _step(done, trained)


def record(done: Ablation) -> dict[str, Any]:
    """Return the ablation as plain values: what was compared on what, the differences, and where all came from."""
    days = done.ground.days
    return {
        "day": days.held_out.isoformat(),
        "window": [day.isoformat() for day in days.window],
        "empty_days": [day.isoformat() for day in days.empty],
        "held_out_gaps": done.n_held_out,
        "left_out_as_trained_on": done.ground.n_seen,
        "samples": done.n_samples,
        "seeds": list(done.seeds),
        "arms": [_arm(trained) for trained in done.arms],
        "compared": [
            {**row, "verdict": verdict(row, is_same=_is_same(done, row["dropped"]))}
            for row in done.compared.to_dicts()
        ],
        "calibrated_user": done.user.to_record(),
        "provenance": provenance(done.base, done.settings, done.ground.versions),
    }


def verdict(row: Mapping[str, Any], *, is_same: bool = False) -> str:
    """Return in words what a difference says about the step. `is_same`: both arms were trained on the same samples."""
    if is_same:
        return "the same samples with and without it"
    told = in_words(row["metric"], row["difference"], row["low"], row["high"])
    return f"{told} with {row['dropped']}" if told in ("better", "worse") else told


def _arms(done: Ablation) -> Table:
    days = done.ground.days
    window = f"{days.window[0]} to {days.window[-1]}"
    table = Table(title=f"Trained on {window}, {done.n_samples:,} samples an arm", title_justify="left")
    table.add_column("arm")
    for column in ("samples it has", "tokens trained on", "scored anew"):
        table.add_column(column, justify="right")
    table.add_column("dropped most, by reason")
    for trained in done.arms:
        refined = trained.refined
        reasons = list(refined.rejected.items())[:_REASONS]
        table.add_row(
            escape(refined.arm.name),
            f"{refined.n_samples:,}",
            f"{sum(one['metrics']['tokens'] for one in trained.records) // len(trained.records):,}",
            f"{refined.n_scored_anew:,}",
            ", ".join(f"{reason} {count:,}" for reason, count in reasons),
        )
    return table


def _step(done: Ablation, trained: Trained) -> Table:
    step = trained.refined.arm.dropped or ""
    title = (
        f"{step}: with it and without it, on {done.n_held_out:,} held-out gaps of {done.ground.days.held_out}"
    )
    table = Table(title=escape(title), title_justify="left")
    table.add_column("metric")
    columns = ["base", "full", "without", "full - without"]
    for column in columns if len(done.seeds) == 1 else [*columns, f"{len(done.seeds)} seeds"]:
        table.add_column(column, justify="right")
    table.add_column("in words")
    rows = done.compared.filter(pl.col("dropped") == step, pl.col("slice") == "all")
    for row in rows.iter_rows(named=True):
        cells = [f"{row[column]:.3f}" for column in ("base", "full", "without")]
        cells.append(with_interval(row["difference"], row["low"], row["high"]))
        if len(done.seeds) > 1:
            cells.append(f"{min(row['by_seed']):+.3f} to {max(row['by_seed']):+.3f}")
        table.add_row(metric_name(row["metric"]), *cells, verdict(row, is_same=_is_same(done, step)))
    return table


def _arm(trained: Trained) -> dict[str, Any]:
    refined = trained.refined
    return {
        "name": refined.arm.name,
        "dropped": refined.arm.dropped,
        "settings_digest": refined.arm.settings.digest,
        "samples_it_has": refined.n_samples,
        "scored_anew": refined.n_scored_anew,
        "rejected": refined.rejected,
        "samples_digest": trained.records[0]["samples"]["digest"],
        "trainings": trainings(trained.records),
    }


def _is_same(done: Ablation, step: str) -> bool:
    """Say whether an arm was trained on the very samples of the whole refinery."""
    full, *others = (one.records[0]["samples"]["digest"] for one in done.arms)
    names = [one.refined.arm.dropped for one in done.arms[1:]]
    return others[names.index(step)] == full
