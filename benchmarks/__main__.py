"""`make bench`: run every measurement and print ratios."""

import argparse
import tempfile
from pathlib import Path

from rich.console import Console

from benchmarks import backfill, events, snapshots


def main() -> None:
    """Run the measurements that need no accelerator."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=5_000_000, help="lines in the landing file")
    parser.add_argument("--rounds", type=int, default=5, help="how often to measure them")
    parser.add_argument("--days", type=int, default=90, help="days of the backfill")
    parser.add_argument("--events-per-day", type=int, default=50_000, help="lines of each of them")
    parser.add_argument(
        "--recording", type=Path, default=snapshots.RECORDING, help="a VS Code workspace recording"
    )
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Console().print(events.table(events.measure(Path(folder), asked.events, asked.rounds), asked.events))
    with tempfile.TemporaryDirectory() as folder:
        told = backfill.measure(Path(folder), asked.days, asked.events_per_day)
        Console().print(backfill.table(told, asked.days, asked.events_per_day))
    with tempfile.TemporaryDirectory() as folder:
        recording = asked.recording if asked.recording.exists() else None
        Console().print(snapshots.table(snapshots.measure(Path(folder), recording)))


if __name__ == "__main__":
    main()
