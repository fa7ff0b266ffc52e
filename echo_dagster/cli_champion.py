"""`echo-dagster champion`: what serves, and deciding over the gate. A thin shell over `evaluation/` and the DAG."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from echo_dagster import terminal
from echo_dagster.cli_parts import DAY, failing_plainly, tell

if TYPE_CHECKING:
    from echo_dagster.evaluation.overrides import Action

app = typer.Typer(
    name="champion",
    help="See what serves, roll back, and decide over the gate.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)

_BY = typer.Option("--by", help="who decides; kept as given")
_REASON = typer.Option("--reason", help="why; stands in the record and in the report")


@app.command()
def show() -> None:
    """Say what serves and why, and print the models that can be rolled back to as NDJSON, the last one first."""
    import polars as pl

    from echo_dagster import configuration, files
    from echo_dagster.evaluation import champion as champions
    from echo_dagster.evaluation import overrides, webhook
    from echo_dagster.lake import Lake

    with failing_plainly():
        configured = configuration.load()
        lake = Lake(configured.lake_dir)
        row = champions.last_row(lake)
        if row is None:
            raise ValueError("no day was decided yet: the base model serves")
        told = {name: row[name] for name in ("model_digest", "path", "since", "day", "decided_by", "reason")}
        held = overrides.hold_on(lake, date.max)
        untold = webhook.pending(lake, configured.serving)
        tell(
            "serves",
            {
                **told,
                "promotions": "as the gate decides" if held is None else held.in_words,
                "webhook": "no change is untold"
                if untold is None
                else f"has not heard of {untold['change_id']}",
            },
        )
        former = [
            {
                "model_digest": one.digest,
                "path": str(one.path),
                "last_day": str(one.last_day),
                "is_there": one.is_there,
            }
            for one in overrides.former(lake)
            if one.digest != row["model_digest"]
        ]
        columns = ("model_digest", "path", "last_day", "is_there")
        files.write(pl.DataFrame(former, schema=dict.fromkeys(columns)), "-")


@app.command()
def rollback(
    to: Annotated[
        str, typer.Argument(help="a former champion's digest; a day, for what served after it; or base")
    ],
    by: Annotated[str, _BY],
    reason: Annotated[str, _REASON],
) -> None:
    """Let a former champion, or the base model, serve from now on, through Dagster."""
    _decide("rollback", to, by, reason)


@app.command()
def promote(
    by: Annotated[str, _BY],
    reason: Annotated[str, _REASON],
    day: Annotated[datetime | None, DAY] = None,
) -> None:
    """Let a candidate serve that the gate kept out: that of a day, by default of the last day decided."""
    _decide("promote", None if day is None else str(day.date()), by, reason)


@app.command()
def keep(by: Annotated[str, _BY], reason: Annotated[str, _REASON]) -> None:
    """Take the last promotion back: what served before it serves on."""
    _decide("keep", None, by, reason)


@app.command()
def hold(by: Annotated[str, _BY], reason: Annotated[str, _REASON]) -> None:
    """Promote nothing until the hold is lifted."""
    _decide("hold", None, by, reason)


@app.command()
def lift(by: Annotated[str, _BY], reason: Annotated[str, _REASON]) -> None:
    """Lift a hold: from the next day on the gate decides again."""
    _decide("lift", None, by, reason)


def _decide(action: Action, asked: str | None, by: str, reason: str) -> None:
    from echo_dagster import definitions

    with failing_plainly(definitions.MaterializeFailed), terminal.asset_bars() as on_step:
        done = definitions.override(action, asked, by=by, reason=reason, on_step=on_step)
    told = {name: done.row[name] for name in ("day", "decision", "reason", "previous_digest", "path")}
    tell(f"{action}: recorded", {**told, "server": done.server})
    typer.echo(done.row["model_digest"])
