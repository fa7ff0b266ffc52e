"""`echo-dagster scale`: would more samples help. A thin shell over `scaling/`."""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from echo_dagster import terminal
from echo_dagster.cli_parts import CONFIG, JSON, check_folders, failing_plainly, write_record


def scale(
    day: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            metavar="YYYY-MM-DD",
            help="whose training set is shared out; by default the last one",
        ),
    ] = None,
    shares: Annotated[
        str | None, typer.Option(help="such as 1/8,1/4,1/2,1; by default scaling.shares")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="trainings of each share; by default scaling.seeds")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="where the plot goes, as a PNG")] = None,
    json_: Annotated[str | None, JSON] = None,
    config: Annotated[Path | None, CONFIG] = None,
) -> None:
    """Train on growing shares of a training set, compare on held-out gaps, and say whether doubling it helps."""
    from echo_dagster import configuration, models
    from echo_dagster.evaluation import pictures
    from echo_dagster.lake import Lake
    from echo_dagster.scaling import plot as plots
    from echo_dagster.scaling import study, tables
    from echo_dagster.scaling.shares import asked

    with failing_plainly():
        check_folders(plot, json_)
        fractions = None if shares is None else _fractions(shares)
        configured = asked(configuration.load(config), fractions, seeds)
        lake = Lake(configured.lake_dir)
        base = models.resolve(configured.base_model, configured.data_dir)
        of_day = study.last_day(lake) if day is None else day.date()
        done = study.study_day(lake, of_day, base, configured, bar=terminal.bar)
        for table in tables.tables(done):
            terminal.console.print(table)
        if done.left_out:
            terminal.console.print(tables.left_out(done), highlight=False)
        if plot is not None:
            plot.write_bytes(pictures.png(plots.scaling((done.scaling, done.fits))))
        if json_ is not None:
            write_record(tables.record(done), json_)


def _fractions(text: str) -> tuple[float, ...]:
    try:
        return tuple(sorted(float(Fraction(part.strip())) for part in text.split(",")))
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f"--shares {text}: expected shares such as 1/8,1/4,1/2,1") from error
