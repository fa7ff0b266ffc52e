"""`echo-dagster`: each command is a thin shell over one function of the library.

Frames are read and written as NDJSON or Parquet, by suffix; `-` is NDJSON on standard input or output. What a
command did goes to standard error as a table; data is the only thing on standard output.
"""

from __future__ import annotations

from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echo_dagster import cli_ablate, cli_champion, cli_evaluate, cli_export, cli_scale, terminal
from echo_dagster.cli_parts import CONFIG, DAY, failing_plainly, model_of, tell

if TYPE_CHECKING:
    from echo_dagster.optimization.job import Prepared

app = typer.Typer(
    name="echo-dagster",
    help="Turn code-completion logs into a better completion model.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # locals hold people's code
    add_completion=False,
)


@app.command("import")
def import_(
    importer: Annotated[str, typer.Argument(help="which tool wrote them: see docs/importing")],
    paths: Annotated[list[Path], typer.Argument(help="log files of that tool")],
    out: Annotated[Path, typer.Option(help="where the events go")],
    consent: Annotated[bool, typer.Option(help="may be trained on, where an event does not say")] = True,
    cohort: Annotated[str | None, typer.Option()] = None,
    user: Annotated[str | None, typer.Option(help="whose log it is, where the tool records no user")] = None,
) -> None:
    """Read a tool's own log files into the experience log."""
    from echo_dagster.acquisition import landing

    with failing_plainly():
        counts = landing.import_files(importer, paths, out, consent=consent, cohort=cohort, user=user)
    tell("imported", counts)


@app.command()
def inspect(
    paths: Annotated[list[str], typer.Argument(help="log files, folders, or patterns in quotes")],
    limit: Annotated[int | None, typer.Option(min=1, help="stop after so many lines of each file")] = None,
    is_json: Annotated[bool, typer.Option("--json", help="print all that was found as JSON")] = False,
) -> None:
    """Say which tool wrote log files and what they hold, and print the configuration that points Echo at them."""
    from echo_dagster.acquisition import importers, inspection, inspection_rows, source_patterns

    with failing_plainly():
        files = inspection.files_of(paths)
        is_big = sum(file.stat().st_size for file in files) > inspection.BIG_BYTES
        with terminal.bar("inspecting (MB)") if is_big else nullcontext() as progress:
            found = inspection.inspect(files, limit, progress)
    if is_json:
        typer.echo(inspection_rows.as_json(found))
    else:
        for one in found.found:
            tell(one.importer, inspection_rows.rows(one))
        if found.unknown:
            tell(f"read by none of {', '.join(importers.NAMES)}", inspection_rows.unknown_rows(found))
        typer.echo(source_patterns.lines_of_yaml(found), nl=False)
    if not found.found:
        raise typer.Exit(1)


@app.command()
def collect(
    landing: Annotated[Path, typer.Option(help="the folder that takes the files")],
    host: Annotated[str, typer.Option()] = "127.0.0.1",
    port: Annotated[int, typer.Option()] = 8790,
    max_body_mb: Annotated[int, typer.Option(min=1, max=64, help="of one request, decompressed")] = 16,
    rate: Annotated[float, typer.Option(min=0.01, help="events a second with one token")] = 200,
    total_rate: Annotated[float, typer.Option(min=0.01, help="events a second in all")] = 5_000,
    late_days: Annotated[int, typer.Option(min=1, help="older events are refused")] = 7,
    config: Annotated[Path | None, CONFIG] = None,
) -> None:
    """Receive events over HTTP into a landing folder. ECHO_COLLECTOR_TOKENS holds the tokens that may post."""
    import os

    from echo_dagster import configuration
    from echo_dagster.acquisition import collector, collector_limits
    from echo_dagster.acquisition.privacy import pseudonymiser

    with failing_plainly():
        configured = configuration.load(config)
        made = collector.application(
            landing,
            collector_limits.tokens(os.environ.get(collector_limits.TOKENS_VARIABLE, "")),
            pseudonymiser(configured.data_dir),
            first=configured.start_day,
            last=configured.end_day,
            limits=collector.Limits(max_body_mb * 1024 * 1024, rate, total_rate, late_days),
        )
        collector.serve(made, host, port)


@app.command()
def extract(
    events: Annotated[str, typer.Argument(help="an experience log, or - for standard input")],
    out: Annotated[str, typer.Option(help="where the gap sessions go, or -")],
    policy: Annotated[str, typer.Option(help="what ends a gap: echo, zed or copilot_nes")] = "echo",
) -> None:
    """Find the gaps in an experience log: (C_0, C_1, C_N) for every proposal shown. Events may come in any order."""
    from echo_dagster import files
    from echo_dagster.extraction import gaps, policies

    with failing_plainly():
        if policy not in policies.PRESETS:
            raise ValueError(f"unknown policy {policy!r}; expected one of {', '.join(policies.PRESETS)}")
        read = files.read_events(events)
        found = gaps.extract_frame(read.events, policies.PRESETS[policy])
        files.write(found, out)
    tell(
        "extracted",
        {"events": read.events.height, "quarantined": read.quarantined.height, "gaps": found.height},
    )


@app.command()
def refine(
    gaps: Annotated[str, typer.Argument(help="gap sessions")],
    out: Annotated[str, typer.Option(help="where the samples go")],
    rejected: Annotated[str, typer.Option(help="where the drops go, each with its reason")],
    config: Annotated[Path | None, CONFIG] = None,
) -> None:
    """Truncate and filter gap sessions into training samples."""
    from echo_dagster import configuration, files, models
    from echo_dagster.extraction.schema import GAP_SCHEMA
    from echo_dagster.refinery import samples

    with failing_plainly():
        configured = configuration.load(config)
        tokenizer = models.load_tokenizer(models.resolve(configured.base_model, configured.data_dir).path)
        kept, dropped = samples.refine(files.read(gaps, GAP_SCHEMA), tokenizer, configured)
        files.write(kept, out)
        files.write(dropped, rejected)
    reasons = dropped.group_by("reason").len().sort("len", "reason", descending=[True, False])
    tell(
        "refined", {"samples": kept.height, **{f"rejected: {reason}": n for reason, n in reasons.iter_rows()}}
    )


@app.command()
def score(
    samples: Annotated[str, typer.Argument(help="samples, as refine writes them")],
    out: Annotated[str, typer.Option(help="where the scored samples go")],
    model: Annotated[
        Path | None, typer.Option(help="a model directory; by default the configured base model")
    ] = None,
    config: Annotated[Path | None, CONFIG] = None,
) -> None:
    """Add likelihoods of C_N and C_1 under a model, in nats per token."""
    from echo_dagster import configuration, files
    from echo_dagster.refinery import perplexity, strata
    from echo_dagster.refinery.schema import SAMPLE_SCHEMA

    with failing_plainly():
        configured = configuration.load(config)
        scorer = model_of(configured, model)
        with terminal.bar("scoring") as progress:
            scored = perplexity.score(
                files.read(samples, SAMPLE_SCHEMA).with_columns(strata.stratum()),
                scorer.path,
                configured.base_model.fim,
                configured.perplexity,
                scorer=scorer.digest,
                progress=progress,
            )
        files.write(scored, out)
    tell("scored", {"samples": scored.height})


@app.command()
def train(
    samples: Annotated[
        str,
        typer.Argument(
            help="samples: at least prefix, suffix, middle, language, sample_id; for pairs also proposal"
        ),
    ],
    out: Annotated[Path, typer.Option(help="a directory for jobs and checkpoints")],
    model: Annotated[
        Path | None, typer.Option(help="start here; by default the configured base model")
    ] = None,
    config: Annotated[Path | None, CONFIG] = None,
) -> None:
    """Fine-tune on samples with DeepSpeed, then on pairs if configured; print the path of the model directory."""
    import polars as pl

    from echo_dagster import configuration, files
    from echo_dagster.optimization import job, preference
    from echo_dagster.optimization.schema import TRAINED_COLUMNS
    from echo_dagster.optimization.validation import FILE_COLUMNS

    with failing_plainly():
        configured = configuration.load(config)
        start = model_of(configured, model)
        columns = (
            *TRAINED_COLUMNS,
            *(FILE_COLUMNS if configured.training.validation_share else ()),
            *(("proposal",) if configured.preference.enabled else ()),
        )
        chosen = files.read(samples, pl.Schema(dict.fromkeys(columns, pl.String())))
        lineage = {"samples": samples}
        prepared = job.prepare(chosen, start, configured.base_model.fim, configured, out, lineage)
        trained = job.Prepared(prepared, job.Job.read(prepared))
        _train(trained, "train")
        preferred = preference.prepare(chosen, trained.job, configured)
        if isinstance(preferred, job.Prepared):
            trained = preferred
            _train(trained, "train_preference")
        elif preferred is not None:
            left_out = {f"left out: {reason}": count for reason, count in preferred.left_out.items()}
            tell(f"preference skipped: {preferred.reason}", left_out)
    typer.echo(trained.job.result)


def _train(prepared: Prepared, module: str) -> None:
    """Run a training program on a job, and show its command."""
    import os
    import subprocess

    from echo_dagster.optimization import job

    command = job.command(prepared.file, prepared.job.training, module)
    terminal.console.print(" ".join(command), highlight=False, soft_wrap=True)
    variables = {**os.environ, **job.environment(prepared.job.training)}
    done = subprocess.run(command, env=variables, check=False)
    if done.returncode:
        raise ValueError(job.why_failed(prepared.job, done.returncode))


app.command(epilog=cli_ablate.EPILOG)(cli_ablate.ablate)
app.command()(cli_evaluate.evaluate)
app.command()(cli_scale.scale)
app.command()(cli_export.export)
app.add_typer(cli_champion.app)


@app.command()
def simulate(
    source: Annotated[Path, typer.Option(help="a directory of real source code")],
    days: Annotated[int, typer.Option(min=1)],
    start: Annotated[datetime, DAY],
    out: Annotated[Path, typer.Option(help="a landing folder")],
    users: Annotated[int, typer.Option(min=1)] = 5,
    gaps: Annotated[int, typer.Option(min=1, help="proposals asked for, by user and day")] = 20,
    seed: Annotated[int, typer.Option()] = 17,
    config: Annotated[Path | None, CONFIG] = None,
) -> None:
    """Write the logs of simulated developers who type a real code base beside the base model."""
    from echo_dagster import configuration
    from echo_dagster.simulation import agent, workday

    with failing_plainly():
        configured = configuration.load(config)
        with terminal.bar("simulating") as progress:
            made = workday.simulate(
                source,
                days,
                start.date(),
                out,
                users=users,
                gaps_per_user_day=gaps,
                seed=seed,
                agent=agent.from_settings(configured),
                progress=progress,
            )
    tell("simulated", made.counts())


@app.command()
def materialize(
    first: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], metavar="YYYY-MM-DD")],
    last: Annotated[datetime, typer.Option("--to", formats=["%Y-%m-%d"], metavar="YYYY-MM-DD")],
    select: Annotated[list[str] | None, typer.Option(help="an asset; may be given several times")] = None,
) -> None:
    """Materialize a range of days through Dagster; the runs stand in the history of DAGSTER_HOME."""
    from echo_dagster import definitions

    with failing_plainly(definitions.MaterializeFailed), terminal.asset_bars() as on_step:
        runs = definitions.materialize(first.date(), last.date(), select=select, on_step=on_step)
    tell("materialized", {"runs": runs})


@app.command()
def forget(
    user: Annotated[str, typer.Argument(help="the name in the logs, or the pseudonym in the tables")],
) -> None:
    """Remove a person from everything, for good, through Dagster; print the models that learnt from them as NDJSON."""
    import polars as pl

    from echo_dagster import definitions, files

    with failing_plainly(definitions.MaterializeFailed), terminal.asset_bars() as on_step:
        done = definitions.forget(user, on_step=on_step)
    tell(f"forgotten: {done.pseudonym}", {**done.rows, "report pages": len(done.pages)})
    if not any(done.rows.values()):
        terminal.console.print("No table held this person. With another key a name has another pseudonym.")
    if done.runs_under_way:
        terminal.console.print(
            f"Forget again when these runs have ended, which may have read them: {', '.join(done.runs_under_way)}"
        )
    files.write(done.models.with_columns(pl.col("day").cast(pl.String())), "-")


@app.command()
def report(
    day: Annotated[datetime, typer.Argument(formats=["%Y-%m-%d"], metavar="YYYY-MM-DD")],
    out: Annotated[
        Path | None, typer.Option(help="by default reports/<day>.html in the data directory")
    ] = None,
    plots: Annotated[
        Path | None, typer.Option(help="also write every plot to this directory, as PNG and CSV")
    ] = None,
    config: Annotated[Path | None, CONFIG] = None,
) -> None:
    """Write the report of a day from what the lake holds, and print its path."""
    from echo_dagster import configuration
    from echo_dagster.evaluation import report as reports
    from echo_dagster.lake import Lake

    with failing_plainly():
        configured = configuration.load(config)
        lake = Lake(configured.lake_dir)
        path = reports.write(lake, day.date(), configured, out)
        written = [] if plots is None else reports.write_plots(lake, day.date(), configured, plots)
    for one in (path, *written):
        typer.echo(one)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
