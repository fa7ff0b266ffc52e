"""The calibrated user on real decisions: `python -m benchmarks.user EVENTS`.

EVENTS is an experience log (NDJSON, possibly gzipped), as `echo-dagster import` writes one of the CUPS study. Its gaps
are extracted as every day's are; the user is fitted and tried by cross-validation, grouped by user.
`docs/benchmarks.md` says what each figure means.
"""

from __future__ import annotations

import argparse
import tempfile
from datetime import date
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

from echo_dagster import files
from echo_dagster.evaluation import decisions, user
from echo_dagster.evaluation.decisions import Decisions
from echo_dagster.evaluation.user import UserFit
from echo_dagster.extraction.gaps import extract_frame
from echo_dagster.extraction.policies import PRESETS
from echo_dagster.lake import Lake


def logged(events: Path, folder: Path) -> Decisions:
    """Return the decisions of an experience log, read from a lake made in `folder` as a day's evaluation reads them."""
    gaps = extract_frame(files.read_events(str(events)).events, PRESETS["echo"])
    gaps = gaps.select(pl.col("closed_at").dt.date().alias("day"), pl.all())
    lake = Lake(folder)
    days: list[date] = sorted(gaps["day"].unique())
    lake.replace("gap_sessions", gaps, days)
    return decisions.read(lake, days[0], days[-1], max_decisions=gaps.height, seed=0)


def table(fitted: UserFit) -> Table:
    """Return what the fit says of itself, as a table.

    Raises:
        ValueError: no user was fitted, or none could be tried on others.
    """
    found, rate = fitted.calibration, fitted.logged_acceptance_rate
    if found is None or rate is None:
        raise ValueError(fitted.reason or fitted.distrust)
    title = f"{fitted.n_decisions} decisions of {fitted.n_users} users, {found.n_folds} folds by user"
    shown = Table("", "AUC", "Brier", title=title)
    shown.add_row("calibrated user", f"{found.auc:.3f}", f"{found.brier:.3f}")
    shown.add_row("length only", f"{found.length_auc:.3f}", f"{found.length_brier:.3f}")
    shown.add_row("constant", "0.500", f"{found.constant_brier:.3f}")
    gain = found.brier_gain
    shown.add_row("gain over the constant", "", f"{gain.value:.3f} [{gain.low:.3f}, {gain.high:.3f}]")
    shown.add_section()
    shown.add_row("expected calibration error", "", f"{found.ece:.3f}")
    shown.add_row("logged AR", "", f"{rate.value:.3f} [{rate.low:.3f}, {rate.high:.3f}]")
    shown.add_row("predicted AR", "", f"{found.predicted_acceptance_rate:.3f}")
    shown.add_row("retained characters, logged", "", f"{found.logged_retained_chars:.1f}")
    shown.add_row("retained characters, predicted", "", f"{found.predicted_retained_chars:.1f}")
    shown.add_row("their correlation", "", f"{found.retained_correlation:.2f}")
    shown.add_row("trusted", "", fitted.distrust or "yes")
    return shown


def show(events: Path) -> None:
    """Print the table, over five ways to make the folds, and what was left out."""
    with tempfile.TemporaryDirectory() as folder:
        found = logged(events, Path(folder))
    for seed in range(5):
        Console().print(table(user.fit(found.rows, seed=seed)))
    Console().print("left out:", found.left_out)


def main() -> None:
    """Print what is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("events", type=Path)
    show(parser.parse_args().events)


if __name__ == "__main__":
    main()
