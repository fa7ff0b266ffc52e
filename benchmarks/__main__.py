"""`make bench`: run every measurement and print ratios."""

import argparse
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import events


def main() -> None:
    """Run the measurements that need no accelerator."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=300_000, help="lines in the landing file")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measured = events.measure(Path(folder), asked.events)
    (_, peer), *_ = measured
    table = Table(title=f"{asked.events:,} events, {events.EDITS_PER_PROPOSAL} edits per proposal")
    for heading in ("stage", "seconds", "times the peer", "events / s"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    for what, seconds in measured:
        table.add_row(what, f"{seconds:.1f}", f"{seconds / peer:.1f}", f"{asked.events / seconds:,.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
