"""`echo-dagster ablate`: what a step of the refinery is worth. A thin shell over `ablation/`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from echo_dagster import terminal
from echo_dagster.ablation import steps
from echo_dagster.cli_parts import CONFIG, JSON, check_folders, failing_plainly, write_record

_STEPS = "\n\n".join(f"{name}: {step.what}" for name, step in steps.STEPS.items())
#: Paragraphs behind the options.
EPILOG = f"Steps.\n\n{_STEPS}\n\nSingle rules, by reason code: {', '.join(steps.RULES)}."


def ablate(
    drop: Annotated[
        list[str], typer.Option(help="a step, or one rule by its reason code; may be given several times")
    ],
    day: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            metavar="YYYY-MM-DD",
            help="whose gaps are held out; by default the last day",
        ),
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, help="the days before it to learn from; by default window.days")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="to train each arm on; by default as many as the smallest has")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="trainings of each arm")] = 1,
    json_: Annotated[str | None, JSON] = None,
    config: Annotated[Path | None, CONFIG] = None,
) -> None:
    """Train with and without a step of the refinery on the same budget, and compare on held-out gaps."""
    from echo_dagster import configuration
    from echo_dagster.ablation import tables, trials
    from echo_dagster.lake import Lake

    with failing_plainly():
        check_folders(json_)
        configured = configuration.load(config)
        done = trials.ablate(
            Lake(configured.lake_dir),
            drop,
            configured,
            day=None if day is None else day.date(),
            n_days=days,
            n_samples=samples,
            n_seeds=seeds,
            bar=terminal.bar,
        )
        for table in tables.tables(done):
            terminal.console.print(table)
        if empty := done.ground.days.empty:
            terminal.console.print(f"Days without gaps: {', '.join(map(str, empty))}.", highlight=False)
        if json_ is not None:
            write_record(tables.record(done), json_)
