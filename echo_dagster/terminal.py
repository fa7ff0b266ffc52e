"""Progress in the terminal: one bar for each thing that takes a while. What is done stands elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

#: Everything for people goes to standard error; standard output is for data.
console = Console(stderr=True)


@dataclass(frozen=True)
class Step:
    """What one asset is doing. `total` is None where the work is not counted."""

    days: str
    asset: str
    state: str  # started, running, finished or failed
    done: int = 0
    total: int | None = None


def _bars() -> Progress:
    return Progress(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show one bar and yield the callback `(done, total)` that moves it."""
    with _bars() as bars:
        task = bars.add_task(what, total=None)

        def tell(done: int, total: int) -> None:
            bars.update(task, completed=done, total=total)

        yield tell
        total = bars.tasks[0].total
        bars.update(task, total=total or 1, completed=total or 1)


@contextmanager
def asset_bars() -> Iterator[Callable[[Step], None]]:
    """Show a bar for each asset of a materialization and yield the callback that takes its steps."""
    tasks: dict[tuple[str, str], TaskID] = {}
    with _bars() as bars:

        def tell(step: Step) -> None:
            key = (step.days, step.asset)
            if key not in tasks:
                tasks[key] = bars.add_task(f"{step.asset} [dim]{step.days}", total=None)
            task = tasks[key]
            if step.state == "running":
                bars.update(task, completed=step.done, total=step.total)
            elif step.state == "finished":
                total = bars.tasks[bars.task_ids.index(task)].total or 1
                bars.update(task, completed=total, total=total)
            elif step.state == "failed":
                bars.update(task, description=f"[red]{step.asset} failed[/red] [dim]{step.days}")
                bars.stop_task(task)

        yield tell
