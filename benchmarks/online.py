"""Online metrics of months of gaps: how long, how many seconds of a core, and how much memory.

The gaps are invented: users who differ in what they accept, two models of which the second serves from the middle on,
three languages, two cohorts, proposals shown again and again, regions of nested gaps, logs without edits, and users who
see nothing. The texts are short, as columns that are not asked for are not read.

    python -m benchmarks.online --days 90 --shown 1000000 --users 300
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks.watched import Watched, watch
from echo_dagster.evaluation import online
from echo_dagster.extraction.schema import GAP_SCHEMA, RETENTION_SECONDS
from echo_dagster.lake import Lake
from echo_dagster.settings import Evaluation

START = date(2026, 1, 5)
_LANGUAGES = ("python", "typescript", "go")
_REFUSED = ("rejected_then_written", "rejected", "ignored", "superseded", "typed_through")
#: Of all showings, those that repeat the one before them.
_RESHOWN = 0.2


def days_of(n_days: int) -> list[date]:
    """Return the days that are written."""
    return [START + timedelta(days=ahead) for ahead in range(n_days)]


def write_gaps(lake: Lake, days: Sequence[date], n_shown: int, n_users: int, seed: int = 1) -> int:
    """Write `gap_sessions` in which about `n_shown` proposals are shown over all days; return how many gaps."""
    n_gaps = 0
    for place, day in enumerate(days):
        wanted = n_shown * (place + 1) // len(days) - n_shown * place // len(days)
        rows = _day(
            day, round(wanted / (1 - _RESHOWN)), n_users, "m2" if 2 * place >= len(days) else "m1", seed
        )
        lake.replace("gap_sessions", rows, [day])
        n_gaps += rows.height
    return n_gaps


def _day(day: date, n: int, n_users: int, model: str, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng([seed, day.toordinal()])
    user = np.sort(rng.integers(0, n_users, n))
    willing = np.random.default_rng(seed).beta(2, 6, n_users)  # who accepts how much, on all days
    willing[::25] = 0.0
    is_again = (rng.random(n) < _RESHOWN) & (user == np.roll(user, 1))
    is_again[:1] = False
    first = np.maximum.accumulate(np.where(is_again, 0, np.arange(n)))
    is_taken = rng.random(n) < willing[user]
    units = rng.integers(1, 121, n)
    lost = rng.random((n, len(RETENTION_SECONDS))).cumsum(axis=1) / 12
    left = np.maximum(0, units[:, None] * (1 - lost)).astype(np.int64)
    is_unwatched = rng.random((n, len(RETENTION_SECONDS))).cumsum(axis=1) > 4.0
    is_tracked = user % 7 != 3  # the others' tool logs no edits
    opened = np.sort(rng.integers(0, 86_000_000_000, n))
    index = pl.int_range(n, eager=True)
    name = pl.format("{}-{}", pl.lit(day.toordinal()), pl.col("number"))
    midnight = datetime.combine(day, time(), UTC)
    taken = pl.col("is_taken")
    frame = pl.DataFrame(
        {
            "number": index,
            "first": first,
            "user": user,
            "is_again": is_again,
            "is_taken": is_taken,
            "is_tracked": is_tracked,
            "units": units,
            "opened": opened,
            "refused": rng.integers(0, len(_REFUSED), n),
            "typed": rng.integers(0, 90, n),
            "kept": rng.random(n),
            "wait": rng.lognormal(5.7, 0.6, n),
            **{f"left_{s}": left[:, at] for at, s in enumerate(RETENTION_SECONDS)},
            **{f"gone_{s}": is_unwatched[:, at] for at, s in enumerate(RETENTION_SECONDS)},
        }
    )
    idle = (pl.col("user") % 25 == 0) & ~taken
    rows = frame.select(
        day=pl.lit(day),
        gap_id=name,
        completion_id=name,
        region_id=pl.format("{}-{}", pl.lit(day.toordinal()), pl.col("number") - pl.col("number") % 2),
        reshown_of=pl.when("is_again").then(pl.format("{}-{}", pl.lit(day.toordinal()), pl.col("first"))),
        user_id=pl.format("user-{}", pl.col("user")),
        session_id=pl.lit("s"),
        document=pl.lit("d.py"),
        language=pl.col("number").mod(len(_LANGUAGES)).replace_strict(dict(enumerate(_LANGUAGES))),
        model=pl.lit(model),
        source=pl.lit("benchmark"),
        cohort=pl.when(pl.col("user") % 4 == 0).then(pl.lit("external")).otherwise(pl.lit("internal")),
        consent=pl.lit(value=True),
        latency_ms=pl.when(~pl.col("is_again")).then(pl.col("wait").cast(pl.Int64)),
        opened_at=pl.lit(midnight) + pl.duration(microseconds=pl.col("opened")),
        closed_at=pl.lit(midnight) + pl.duration(microseconds=pl.col("opened") + 30_000_000),
        break_reason=pl.lit("idle"),
        offset=pl.lit(100),
        prefix=pl.lit("def area(radius):\n    return "),
        suffix=pl.lit("\n"),
        replaced=pl.lit(""),
        proposal=pl.lit("x").repeat_by(pl.col("units")).list.join(""),
        final=pl.lit("x").repeat_by(pl.col("units")).list.join(""),
        outcome=pl.when(taken)
        .then(pl.lit("accepted"))
        .when(idle)
        .then(pl.lit("ignored"))
        .otherwise(pl.col("refused").replace_strict(dict(enumerate(_REFUSED)))),
        accepted_chars=pl.when(taken).then("units").otherwise(0),
        typed_chars=pl.when("is_tracked").then("typed"),
        pasted_chars=pl.when("is_tracked").then(0),
        agent_chars=pl.when("is_tracked").then(0),
        kept_rate="kept",
        **{
            f"retained_{s}s": pl.when(taken & pl.col("is_tracked") & ~pl.col(f"gone_{s}")).then(f"left_{s}")
            for s in RETENTION_SECONDS
        },
        n_edits=pl.lit(1),
        tracking=pl.when("is_tracked").then(pl.lit("edits")).otherwise(pl.lit("snapshots")),
        censored=pl.lit(value=False),
    )
    schema = {"day": pl.Date(), **GAP_SCHEMA}
    missing = {name: pl.lit(None) for name in schema if name not in rows.columns}
    return rows.with_columns(**missing).select(pl.col(name).cast(kind) for name, kind in schema.items())


def measure(lake: Path, n_days: int, *, runs: int = 1) -> list[Watched]:
    """Measure all days in a process of its own, `runs` times."""
    command = [sys.executable, "-m", "benchmarks.online", "--lake", str(lake), "--days", str(n_days)]
    return [watch(command) for _ in range(runs)]


def table(folder: Path, n_days: int, n_shown: int, n_users: int, runs: int) -> Table:
    """Write gaps below `folder`, measure them, and return what it took."""
    n_gaps = write_gaps(Lake(folder), days_of(n_days), n_shown, n_users)
    told = Table(
        title=f"online metrics: {n_days} days, {n_shown:,} shown in {n_gaps:,} gaps, {n_users} users"
    )
    for heading in ("run", "seconds", "seconds of a core", "peak MiB"):
        told.add_column(heading, justify="right")
    for number, run in enumerate(measure(folder, n_days, runs=runs), 1):
        peak = f"{run.peak_bytes / 2**20:,.0f}"
        told.add_row(str(number), f"{run.seconds:.1f}", f"{run.core_seconds:.1f}", peak)
    return told


def main() -> None:
    """Write gaps and measure them; with `--lake`, measure those that are there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--shown", type=int, default=1_000_000, help="proposals shown, over all days")
    parser.add_argument("--users", type=int, default=300)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--lake", type=Path, help="a lake whose gaps are measured, in this process")
    asked = parser.parse_args()
    if asked.lake is not None:
        online.measure_days(Lake(asked.lake), days_of(asked.days), Evaluation())
        return
    with tempfile.TemporaryDirectory() as folder:
        Console().print(table(Path(folder), asked.days, asked.shown, asked.users, asked.runs))


if __name__ == "__main__":
    main()
