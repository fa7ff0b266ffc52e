"""What the demo prints at its end, read off the lake's tables: events, gaps, samples, perplexity, models,
decision.

What does not live here: running anything (`demo.py`), and the HTML report, which says more
(`evaluation/report.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from echo_dagster.lake import Lake, TableMissing
from echo_dagster.settings import Settings

_METRICS = {
    "exact_match": ("exact match", "{:.1%}", "{:+.1%}"),
    "edit_similarity": ("edit similarity", "{:.3f}", "{:+.3f}"),
    "middle_nats_per_token": ("NLL of C_N, nats per token (less is better)", "{:.3f}", "{:+.3f}"),
    "predicted_acceptance_rate": ("predicted acceptance rate", "{:.1%}", "{:+.1%}"),
    "predicted_retained_chars": ("predicted retained characters", "{:.2f}", "{:+.2f}"),
}

#: What the candidate is held against, and how it is called in a sentence.
_AGAINST = {"base": "the base model", "static": "the static baseline, trained on as many gaps of plain code,"}


def show(
    lake: Lake,
    settings: Settings,
    first: date,
    last: date,
    *,
    landed: Mapping[str, Any],
    console: Console | None = None,
) -> None:
    """Print the tables of `first` to `last`; models are compared on `last`, which none of them has seen."""
    console = console or Console()
    days = [first + timedelta(days=ahead) for ahead in range((last - first).days + 1)]
    for table in (
        events_table(lake, days, landed),
        gaps_table(lake, days),
        samples_table(lake, days, last),
        perplexity_table(lake, days),
        models_table(lake, last),
    ):
        console.print(table)
    console.print(verdict(lake, last))
    console.print(decision(lake, last))
    report = settings.data_dir / "reports" / f"{last.isoformat()}.html"
    console.print(f"Report: {_near(report)}" if report.is_file() else "There is no report.", soft_wrap=True)
    console.print("Everything above was learnt from simulated developers. `make ui` opens Dagster on it.")


def events_table(lake: Lake, days: list[date], landed: Mapping[str, Any]) -> Table:
    """Return how many lines landed, and what they became."""
    table = _table("Events (simulated)", "lines in landing files", f"{landed['lines']:,}")
    events = _rows(lake, "raw_events", days, "kind")
    quarantined = _rows(lake, "quarantined_events", days, "reason")
    table.add_row("duplicate lines, dropped", f"{landed['lines'] - events.height - quarantined.height:,}")
    for reason, count in _counted(quarantined, "reason"):
        table.add_row(f"quarantined: {reason}", f"{count:,}")
    table.add_row("events", f"{events.height:,}", end_section=True)
    for kind, count in _counted(events, "kind"):
        table.add_row(f"  {kind}", f"{count:,}")
    return table


def gaps_table(lake: Lake, days: list[date]) -> Table:
    """Return the gaps by outcome."""
    gaps = _rows(lake, "gap_sessions", days, "outcome")
    table = _table("Gaps (simulated)", "proposals shown whose gap closed", f"{gaps.height:,}", "100 %")
    for outcome, count in _counted(gaps, "outcome"):
        table.add_row(f"  {outcome}", f"{count:,}", f"{count / gaps.height:.0%}")
    return table


def samples_table(lake: Lake, days: list[date], last: date) -> Table:
    """Return the samples after each step of the refinery, and why others were dropped."""
    table = Table(title="Samples (simulated)", title_justify="left")
    table.add_column("step")
    table.add_column("samples", justify="right")
    table.add_column("dropped, by reason")
    # A training set rests on days before its own, and its rejects bear its day.
    for step, name, stage, of_days in (
        ("gaps", "gap_sessions", None, days),
        ("filtered", "filtered_samples", "filter", days),
        ("balanced", "balanced_samples", "balance", days),
        ("scored", "scored_samples", None, days),
        (f"training set of {last}", "training_set", "denoise", [last]),
    ):
        rejected = _rows(lake, "rejected_samples", of_days, "stage", "reason").filter(
            pl.col("stage") == (stage or "")
        )
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in _counted(rejected, "reason"))
        table.add_row(step, f"{_rows(lake, name, of_days, 'day').height:,}", reasons)
    return table


def perplexity_table(lake: Lake, days: list[date]) -> Table:
    """Return what the reference model thinks of the samples."""
    scored = _rows(
        lake,
        "scored_samples",
        days,
        "middle_nats_per_token",
        "proposal_nats_per_token",
        "ifd",
        "middle_tokens",
    )
    table = _table("Under the base model (simulated)", "samples scored", f"{scored.height:,}")
    for column, what in (
        ("middle_nats_per_token", "NLL of C_N given C_0, mean nats per token"),
        ("proposal_nats_per_token", "NLL of C_1 given C_0, mean nats per token"),
        ("ifd", "IFD of C_N, mean"),
    ):
        mean = scored.select(pl.col(column).mean()).item()
        table.add_row(what, "none" if mean is None else f"{mean:.3f}")
    return table


def models_table(lake: Lake, last: date) -> Table:
    """Return the models side by side on the held-out gaps of `last`, and what the candidate gains over the others."""
    rows = _rows(lake, "evaluated_model", [last]).filter(pl.col("slice") == "all")
    found = {(row["role"], row["versus"], row["metric"]): row for row in rows.iter_rows(named=True)}
    n_samples = rows.select(pl.col("n_samples").max()).item() or 0
    table = Table(
        title=f"The models on {n_samples} held-out gaps of {last} (simulated)", title_justify="left"
    )
    others = [role for role in _AGAINST if (role, None, "edit_similarity") in found] or ["base"]
    table.add_column("metric")
    for column in (*others, "candidate", *(f"candidate - {role}" for role in others)):
        table.add_column(column, justify="right")
    for metric, (name, plain, signed) in _METRICS.items():
        values = [_value(found.get((role, None, metric)), plain) for role in (*others, "candidate")]
        gains = [_interval(found.get(("candidate", role, metric)), signed) for role in others]
        table.add_row(name, *values, *gains)
    return table


def verdict(lake: Lake, last: date) -> str:
    """Return a sentence for each model that the candidate is held against: does it beat it in edit similarity?"""
    rows = _rows(lake, "evaluated_model", [last]).filter(
        (pl.col("slice") == "all") & (pl.col("metric") == "edit_similarity") & (pl.col("role") == "candidate")
    )
    gains = {row["versus"]: row for row in rows.iter_rows(named=True)}
    if "base" not in gains:
        trained = _rows(lake, "checkpoint", [last], "status", "reason")
        why = trained["reason"][0] if trained.height and trained["reason"][0] else "nothing was compared"
        return f"There is no candidate to compare on {last}: {why}."
    return "\n".join(_beats(gains[role], other) for role, other in _AGAINST.items() if role in gains)


def _beats(gain: Mapping[str, Any], other: str) -> str:
    """Say whether the candidate is better than another model, and whether chance would do the same."""
    interval = f"{gain['value']:+.3f}, interval {gain['low']:+.3f} to {gain['high']:+.3f}"
    if gain["value"] <= 0:
        return f"The candidate does not beat {other} in edit similarity ({interval})."
    beyond = ", but not beyond chance" if gain["low"] <= 0 else ""
    return f"The candidate beats {other} in edit similarity{beyond} ({interval})."


def decision(lake: Lake, last: date) -> str:
    """Return what serves after `last`, and why."""
    rows = _rows(lake, "champion", [last], "decision", "reason", "model_digest")
    if rows.is_empty():
        return f"No decision was made on {last}."
    made, reason, digest = rows.row(0)
    return f"Decision: {made}: {reason}. The model that serves is {digest}."


def _rows(lake: Lake, table: str, days: list[date], *columns: str) -> pl.DataFrame:
    """Return some columns of a table's days; no rows where nothing was ever written."""
    try:
        rows = lake.read(table, days)
    except TableMissing:
        return pl.DataFrame(schema=dict.fromkeys(columns or _COMPARED, pl.Null()))
    return (rows.select(columns) if columns else rows).collect()


_COMPARED = ("role", "versus", "metric", "slice", "value", "low", "high", "n_samples")


def _counted(rows: pl.DataFrame, column: str) -> list[tuple[str, int]]:
    return list(rows.group_by(column).len().sort("len", column, descending=[True, False]).iter_rows())


def _value(row: Mapping[str, Any] | None, form: str) -> str:
    return "none" if row is None else form.format(row["value"])


def _interval(row: Mapping[str, Any] | None, form: str) -> str:
    """Return a difference with its interval below it, which a terminal has room for."""
    if row is None:
        return "none"
    return f"{form.format(row['value'])}\n[{form.format(row['low'])}, {form.format(row['high'])}]"


def _table(title: str, *first_row: str) -> Table:
    table = Table(title=title, title_justify="left", show_header=False)
    for index, _ in enumerate(first_row):
        table.add_column(justify="right" if index else "left")
    table.add_row(*first_row)
    return table


def _near(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
