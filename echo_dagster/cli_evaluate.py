"""`echo-dagster evaluate`: any set of models side by side. A thin shell over `experiments/`."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echo_dagster import terminal
from echo_dagster.cli_parts import CONFIG, check_folders, failing_plainly, tell
from echo_dagster.experiments.named import FORMS

if TYPE_CHECKING:
    import polars as pl

    from echo_dagster.experiments.side_by_side import HeldOut

_ONE_DAY = {"formats": ["%Y-%m-%d"], "metavar": "YYYY-MM-DD"}


def evaluate(
    samples: Annotated[
        str | None, typer.Argument(help="held-out samples, scored or not; or give --from and --to")
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help=f"{FORMS}; may be given several times")] = None,
    first: Annotated[
        datetime | None,
        typer.Option("--from", help="the first day whose held-out gaps are asked", **_ONE_DAY),
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", help="the last one; by default the first", **_ONE_DAY)
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(help="what the others are held against; by default the configured base model"),
    ] = None,
    out: Annotated[
        str | None, typer.Option(help="where the comparison goes: .csv, .parquet or .ndjson")
    ] = None,
    predictions: Annotated[str | None, typer.Option(help="where what each model wrote goes")] = None,
    config: Annotated[Path | None, CONFIG] = None,
) -> None:
    """Compare models on held-out gaps that none of them has seen, with paired bootstrap intervals."""
    from echo_dagster import configuration, files, models
    from echo_dagster.evaluation import user
    from echo_dagster.evaluation.decisions import DECISION_SCHEMA
    from echo_dagster.experiments import named, side_by_side, telling
    from echo_dagster.experiments.asking import check_held_out, fit_user
    from echo_dagster.lake import Lake

    with failing_plainly():
        check_folders(out, predictions)
        if (samples is None) == (first is None):
            raise ValueError("say which gaps: a file of held-out samples, or --from a day (and --to another)")
        configured = configuration.load(config)
        lake = Lake(configured.lake_dir)
        reference = models.resolve(configured.base_model, configured.data_dir)
        chosen = {"base": reference} if base is None else named.named([base], reference, lake, configured)
        chosen = named.named(model or [], reference, lake, configured, chosen)
        if samples is not None:
            held_out = _read(samples)
            fitted = user.fit(DECISION_SCHEMA.to_frame())  # gaps in a file come without a log of decisions
        else:
            assert first is not None
            days = first.date(), (last or first).date()
            found = side_by_side.held_out_of(lake, *days, chosen, reference, configured)
            _tell_checked(found, *days)
            held_out = found.gaps
            check_held_out(held_out.height, sum(found.left_out.values()), days[0], configured.evaluation)
            day_before = days[0] - timedelta(days=1)
            window_before = days[0] - timedelta(days=configured.window.days)
            fitted = fit_user(lake, window_before, day_before, configured)
        done = side_by_side.compare(chosen, held_out, reference, fitted, configured, bar=terminal.bar)
        for table in telling.compared(done.rows, done.n_gaps):
            terminal.console.print(table)
        for frame, where in ((done.rows, out), (done.predictions, predictions)):
            if where is not None:
                files.write(frame, where)


def _read(samples: str) -> pl.DataFrame:
    """Return held-out samples of a file; nobody in it is known to be held out by name."""
    import polars as pl

    from echo_dagster import files
    from echo_dagster.refinery.schema import SAMPLE_SCHEMA

    return files.read(samples, SAMPLE_SCHEMA).with_columns(
        is_held_out_user=pl.lit(False), is_held_out_repository=pl.lit(False)
    )


def _tell_checked(found: HeldOut, first: date, last: date) -> None:
    """Show what was left out, and how it is known what each model has learnt from."""
    title = f"held-out gaps of {first}" + ("" if first == last else f" to {last}")
    left_out = {f"left out, seen by {who}": count for who, count in found.left_out.items()}
    tell(title, {"gaps": found.gaps.height, **left_out, **found.checked})
