"""Landing files to events to gaps, beside DuckDB's own `read_json` of the same files into Parquet.

Each step runs in a process of its own, so that its memory is its own: all that it and its children hold. Ratios are
what counts; seconds hold for one machine on one day.
"""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import psutil
from rich.table import Table

from benchmarks.log import EDITS_PER_PROPOSAL, write_log
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


def measure(folder: Path, n_events: int) -> list[Step]:
    """Write a landing file of `n_events` and run every step, the peer once before and once after the others."""
    (folder / "landing").mkdir(parents=True)
    write_log(folder / "landing" / f"{DAY}.ndjson", n_events, DAY)
    first, *others = [_run(folder, what) for what in (*STEPS, next(iter(STEPS)))]
    *own, last = others
    return [
        Step(first.what, (first.seconds + last.seconds) / 2, max(first.peak_bytes, last.peak_bytes)),
        *own,
    ]


def table(steps: list[Step], n_events: int) -> Table:
    """Return what was measured, for people."""
    beside, *own = steps
    whole = Step("landing to gap_sessions", sum(s.seconds for s in own), max(s.peak_bytes for s in own))
    shown = Table(title=f"{n_events:,} events, about {EDITS_PER_PROPOSAL} edits per proposal")
    for heading in ("step", "seconds", "times the peer", "microseconds / event", "peak MiB"):
        shown.add_column(heading, justify="left" if heading == "step" else "right")
    for step in (*steps, whole):
        shown.add_row(
            step.what,
            f"{step.seconds:.1f}",
            f"{step.seconds / beside.seconds:.2f}",
            f"{step.seconds / n_events * 1e6:.2f}",
            f"{step.peak_bytes / 2**20:,.0f}",
        )
    return shown


def _run(folder: Path, what: str) -> Step:
    """Run a step in a fresh process and watch what it and its children hold."""
    command = [sys.executable, "-m", "benchmarks.events", what, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        peak = 0
        while child.poll() is None:
            peak = max(peak, _held(child.pid))
            time.sleep(0.1)
        assert child.stdout is not None
        told = child.stdout.read()
    if child.returncode:
        raise RuntimeError(f"{what} ended with exit status {child.returncode}")
    return Step(what, json.loads(told)["seconds"], peak)


def _held(pid: int) -> int:
    """Return the bytes that a process and its children hold; what they share counts for each of them."""
    try:
        process = psutil.Process(pid)
        return sum(some.memory_info().rss for some in (process, *process.children(recursive=True)))
    except psutil.Error:  # one of them has just ended
        return 0


if __name__ == "__main__":
    multiprocessing.freeze_support()
    start = time.perf_counter()
    STEPS[sys.argv[1]](Path(sys.argv[2]))
    print(json.dumps({"seconds": time.perf_counter() - start}))
