"""A backfill through Dagster, beside the same library calls in a plain loop.

Both make `raw_events` and `gap_sessions` of the same days from the same landing files, up to a month of days at a time,
as a backfill does. Each has a lake of its own and begins with none.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path

import yaml
from rich.table import Table

from benchmarks.events import settings
from benchmarks.log import write_log
from echo_dagster.acquisition import landing
from echo_dagster.extraction import days as extraction
from echo_dagster.extraction.policies import PRESETS
from echo_dagster.lake import Lake

START = date(2026, 1, 5)
#: As in assets/conventions.py, which only a code location can import.
DAYS_PER_RUN = 31


def loop(folder: Path, days: list[date]) -> None:
    """Call the library, a month of days at a time."""
    told = settings(folder, START)
    lake = Lake(told.lake_dir)
    for first in range(0, len(days), DAYS_PER_RUN):
        some = days[first : first + DAYS_PER_RUN]
        landing.ingest(told, lake, some)
        extraction.extract_days(lake, some, PRESETS["echo"], spill=told.data_dir / "spill")
        for day in some:  # what the assets check
            extraction.conservation(lake, day, PRESETS["echo"])


def dagster(folder: Path, days: list[date]) -> None:
    """Materialize the assets in runs of a month of days each, with a history on disk."""
    from echo_dagster import definitions

    for first in range(0, len(days), DAYS_PER_RUN):
        some = days[first : first + DAYS_PER_RUN]
        definitions.materialize(some[0], some[-1], select=["raw_events", "gap_sessions"])


def measure(folder: Path, n_days: int, n_events: int) -> list[tuple[str, float]]:
    """Write `n_days` landing files of `n_events` each; return (what, seconds) of the loop and of Dagster."""
    days = [START + timedelta(days=ahead) for ahead in range(n_days)]
    found = []
    for way in ("loop", "dagster"):
        home = folder / way
        (home / "landing").mkdir(parents=True)
        for day in days:
            file = folder / f"{day}.ndjson"
            if not file.exists():
                write_log(file, n_events, day)
            (home / "landing" / file.name).symlink_to(file)
        config = home / "pipeline.yaml"
        told = settings(home, START).model_dump(mode="json", exclude_unset=True)
        config.write_text(yaml.safe_dump(told))
        (home / "dagster").mkdir()
        (home / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        known = {"ECHO_CONFIG": str(config), "DAGSTER_HOME": str(home / "dagster")}
        command = [sys.executable, "-m", "benchmarks.backfill", way, str(home), str(n_days)]
        done = subprocess.run(command, env={**os.environ, **known}, check=True, stdout=subprocess.PIPE)
        found.append((way, float(done.stdout.split()[-1])))
    return found


def table(measured: list[tuple[str, float]], n_days: int, n_events: int) -> Table:
    """Return what was measured, for people."""
    (_, beside), *_ = measured
    shown = Table(title=f"{n_days} days of {n_events:,} events each, landing to gap_sessions")
    for heading in ("way", "seconds", "times the loop"):
        shown.add_column(heading, justify="left" if heading == "way" else "right")
    for way, seconds in measured:
        shown.add_row(way, f"{seconds:.1f}", f"{seconds / beside:.2f}")
    return shown


if __name__ == "__main__":
    wanted = [START + timedelta(days=ahead) for ahead in range(int(sys.argv[3]))]
    begun = time.perf_counter()
    {"loop": loop, "dagster": dagster}[sys.argv[1]](Path(sys.argv[2]), wanted)
    print(time.perf_counter() - begun)
