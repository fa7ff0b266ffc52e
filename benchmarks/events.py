"""Landing files to events to gaps, beside DuckDB's own `read_json` of the same files into Parquet.

Each step runs in a process of its own, so that its memory is its own: all that it and its children hold. Ratios are
what counts; seconds hold for one machine on one day.
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median

from rich.table import Table

from benchmarks.log import EDITS_PER_PROPOSAL, write_log
from benchmarks.watched import watch
from echo_dagster.acquisition import landing
from echo_dagster.extraction import days as extraction
from echo_dagster.extraction.policies import PRESETS
from echo_dagster.lake import Lake, connect
from echo_dagster.settings import Settings

DAY = date(2026, 1, 5)


@dataclass(frozen=True)
class Step:
    """What was run, how long it took, and the most memory that it held."""

    what: str
    seconds: float
    peak_bytes: int


def settings(folder: Path, start: date = DAY) -> Settings:
    """Return the settings of a pipeline whose landing files are in `folder/landing`."""
    return Settings.model_validate(
        {
            "data_dir": folder / "data",
            "start_day": start,
            "sources": [
                {"name": "log", "importer": "native", "path": f"{folder}/landing/{{day}}*", "consent": True}
            ],
            "base_model": {
                "name": "none",
                "source": {"path": "none"},
                "fim": {"layout": "spm", "prefix": "p", "suffix": "s", "middle": "m", "end": "e"},
            },
        }
    )


def peer(folder: Path) -> None:
    """Read the same files with DuckDB and write them as one Parquet file."""
    with connect(settings(folder).memory_limit, folder / "spill") as connection:
        connection.execute(
            f"copy (select * from read_json('{folder}/landing/*.ndjson')) to '{folder}/peer.parquet' (format parquet)"
        )


def ingest(folder: Path) -> None:
    """Make `raw_events` of the day."""
    told = settings(folder)
    landing.ingest(told, Lake(told.lake_dir), [DAY])


def extract(folder: Path) -> None:
    """Make `gap_sessions` of the day."""
    told = settings(folder)
    extraction.extract_days(Lake(told.lake_dir), [DAY], PRESETS["echo"], spill=folder / "spill")


STEPS: dict[str, Callable[[Path], None]] = {
    "DuckDB read_json to Parquet": peer,
    "landing to raw_events": ingest,
    "raw_events to gap_sessions": extract,
}


def measure(folder: Path, n_events: int, rounds: int) -> list[list[Step]]:
    """Write a landing file of `n_events` and run every step of each round in a new lake. One list a round."""
    (folder / "landing").mkdir(parents=True)
    write_log(folder / "landing" / f"{DAY}.ndjson", n_events, DAY)
    done = []
    for _ in range(rounds):
        done.append([_run(folder, what) for what in STEPS])
        shutil.rmtree(settings(folder).data_dir)
    return done


def table(rounds: list[list[Step]], n_events: int) -> Table:
    """Return what was measured, for people: the median over the rounds, and the least and the most.

    A ratio is one of steps of the same round, so that what slows a machine down for a while slows both.
    """
    shown = Table(
        title=f"{n_events:,} events, about {EDITS_PER_PROPOSAL} edits per proposal, {len(rounds)} rounds"
    )
    for heading in ("step", "times the peer", "least to most", "microseconds / event", "peak MiB"):
        shown.add_column(heading, justify="left" if heading == "step" else "right")
    peers = [steps[0].seconds for steps in rounds]
    whole = [_together(steps[1:]) for steps in rounds]
    for steps in (*zip(*rounds, strict=True), whole):
        ratios = sorted(step.seconds / peer for step, peer in zip(steps, peers, strict=True))
        shown.add_row(
            steps[0].what,
            f"{median(ratios):.2f}",
            f"{ratios[0]:.2f} - {ratios[-1]:.2f}",
            f"{median(step.seconds for step in steps) / n_events * 1e6:.2f}",
            f"{max(step.peak_bytes for step in steps) / 2**20:,.0f}",
        )
    return shown


def _together(steps: list[Step]) -> Step:
    """Return steps that follow one another as one."""
    return Step(
        "landing to gap_sessions", sum(step.seconds for step in steps), max(step.peak_bytes for step in steps)
    )


def _run(folder: Path, what: str) -> Step:
    """Run a step in a fresh process and watch what it and its children hold."""
    done = watch([sys.executable, "-m", "benchmarks.events", what, str(folder)])
    return Step(what, json.loads(done.output)["seconds"], done.peak_bytes)


if __name__ == "__main__":
    multiprocessing.freeze_support()
    start = time.perf_counter()
    STEPS[sys.argv[1]](Path(sys.argv[2]))
    print(json.dumps({"seconds": time.perf_counter() - start}))
