"""Does learning from what users came to write beat learning from plain code, at equal samples?

Simulated developers write real code beside an agent (`simulated.py`); their days go through the project's own stages,
and the model that ships is trained on the last day's training set and on as many gaps of plain code cut in the same
files. Both and the base model are asked that day's held-out gaps. What comes of it is printed, whatever it is.

    python -m benchmarks.static_baseline
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks import simulated, snapshots
from echo_dagster import models, terminal
from echo_dagster.experiments import telling
from echo_dagster.experiments.against_static import Against, against_static
from echo_dagster.experiments.asking import Bar, silent
from echo_dagster.extraction.gaps import extract_frame
from echo_dagster.extraction.policies import PRESETS
from echo_dagster.lake import Lake
from echo_dagster.refinery import balance, samples, scoring, window
from echo_dagster.settings import Settings

#: As in configs/demo.yaml: sizes for a machine without a GPU.
SETTINGS = {
    "truncation": {"prefix_tokens": 128, "suffix_tokens": 32, "middle_tokens": 48},
    "balance": {"temperature": 1},
    "training": {"last_layers": 8, "epochs": 2, "learning_rate": 1e-4},
    "evaluation": {"max_new_tokens": 32, "max_samples": 300},
}


def measure(
    asked: Settings, *, users: int, days: int, seeds: int, bar: Bar = silent
) -> tuple[Against, pl.DataFrame]:
    """Simulate, refine, train and compare; return what came of it, and the samples by day."""
    lake = Lake(asked.lake_dir)
    base = models.resolve(asked.base_model, asked.data_dir)
    tokenizer = models.load_tokenizer(base.path)
    code = snapshots.library().parent  # the whole package: a part of it is too little for so many
    log = snapshots.simulated(code, users=users, days=days)
    gaps = extract_frame(log, PRESETS[asked.extraction.policy])
    closed: list[date] = []
    for (day,), of_day in gaps.group_by(pl.col("closed_at").dt.date().alias("day"), maintain_order=True):
        assert isinstance(day, date)
        lake.replace("gap_sessions", of_day.select(pl.lit(day).alias("day"), pl.all()), [day])
        closed.append(day)
    closed.sort()
    with bar("refining") as progress:
        samples.refine_days(lake, closed, tokenizer, asked, progress=progress)
    balance.balance_days(lake, closed, asked)
    with bar("scoring") as progress:
        scoring.score_days(lake, closed, base, asked, progress=progress)
    last = closed[-1]
    window.write_training_set(lake, last, closed[:-1], asked, lambda: tokenizer)
    done = against_static(lake, last, base, asked, n_seeds=seeds, bar=bar)
    return done, lake.read("scored_samples").group_by("day").len().sort("day").collect()


def tables(done: Against) -> Iterator[Table]:
    """Yield what was trained on, how plain code differs from experience by language and length, and the figures."""
    trained = Table(title=f"Trained for {done.day}, {done.n_samples:,} samples each", title_justify="left")
    trained.add_column("model")
    for column in ("cut or kept", "steps", "tokens", "final loss, nats per token"):
        trained.add_column(column, justify="right")
    had = {"static": done.cut.frame.height, "candidate": done.cut.n_wanted}
    for name, records in done.records.items():
        for record in records:
            told = record["metrics"]
            trained.add_row(
                *(f"{name}, seed {record['training']['seed']}", f"{had[name]:,}", f"{told['steps']:,}"),
                *(f"{told['tokens']:,}", f"{told['final_loss_nats_per_token']:.3f}"),
            )
    yield trained
    mix = Table(title=done.cut.shortfall or "As many gaps as samples", title_justify="left")
    for column in done.cut.mix.columns:
        mix.add_column(column)
    for row in done.cut.mix.iter_rows():
        mix.add_row(*map(str, row))
    yield mix
    yield from telling.compared(done.rows, done.n_held_out)


def main() -> None:
    """Print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=10, help="simulated developers")
    parser.add_argument("--days", type=int, default=5, help="the last of them is held out")
    parser.add_argument("--seeds", type=int, default=1, help="trainings on either set")
    parser.add_argument("--out", type=Path, help="where the figures go, as CSV")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        configured = simulated.settings(Path(folder), **SETTINGS)
        told = {"users": asked.users, "days": asked.days, "seeds": asked.seeds}
        done, by_day = measure(configured, **told, bar=terminal.bar)
    console = Console(width=160)
    console.print(f"samples by day: {dict(by_day.iter_rows())}", highlight=False)
    for table in tables(done):
        console.print(table)
    if asked.out is not None:
        done.rows.write_csv(asked.out)


if __name__ == "__main__":
    main()
