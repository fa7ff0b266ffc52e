"""What the commands of `echo-dagster` share: options, messages, errors told plainly. Commands are in `cli.py`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.markup import escape
from rich.table import Table

from echo_dagster import terminal

if TYPE_CHECKING:
    from echo_dagster.models import ResolvedModel
    from echo_dagster.settings import Settings

DAY = typer.Option(formats=["%Y-%m-%d"], metavar="YYYY-MM-DD")
JSON = typer.Option("--json", help="where the record goes as JSON, or - for standard output")
CONFIG = typer.Option("--config", help="a configuration file; by default the one ECHO_CONFIG names")


def model_of(configured: Settings, path: Path | None) -> ResolvedModel:
    """Return the model directory `path`, or the configured base model."""
    from echo_dagster import models

    if path is None:
        return models.resolve(configured.base_model, configured.data_dir)
    return models.ResolvedModel(path.name, path, models.digest(path))


def tell(title: str, counts: Mapping[str, object]) -> None:
    """Show what a command did, a line each."""
    shown = Table(title=escape(title), show_header=False, title_justify="left")
    for _ in range(2):
        shown.add_column(overflow="fold")
    for name, value in counts.items():
        shown.add_row(escape(name), f"{value:,}" if isinstance(value, int) else escape(str(value)))
    terminal.console.print(shown)


def write_record(record: Mapping[str, object], where: str) -> None:
    """Write a record as JSON to a file, or to standard output where it is called `-`."""
    told = json.dumps(record, indent=2)
    if where == "-":
        typer.echo(told)
    else:
        Path(where).write_text(told + "\n", encoding="utf-8")


def check_folders(*files: str | Path | None) -> None:
    """Refuse files whose folder is not there: before long work whose outcome they are to hold, not after it.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    for file in files:
        if file is not None and not Path(file).parent.is_dir():
            raise FileNotFoundError(f"{file} cannot be written: there is no folder {Path(file).parent}")


@contextmanager
def failing_plainly(*also: type[Exception]) -> Iterator[None]:
    """Turn errors that a user can mend into one message; anything else is a bug and keeps its traceback."""
    from echo_dagster.lake import TableMissing

    mendable: tuple[type[Exception], ...] = (ValueError, OSError, TableMissing, *also)
    try:
        yield
    except mendable as error:
        terminal.console.print(f"[red]error:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
