"""Landing files to events to gaps, beside DuckDB's own `read_json` of the same files into Parquet.

The log is made here: users who type beside a tool, about thirty edits for each proposal. Ratios are what counts;
seconds hold for one machine on one day.
"""

import json
import random
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from echo_dagster.acquisition import landing
from echo_dagster.extraction import days as extraction
from echo_dagster.extraction.policies import PRESETS
from echo_dagster.lake import Lake, connect
from echo_dagster.settings import Settings

DAY = date(2026, 1, 5)
EDITS_PER_PROPOSAL = 30


def write_log(file: Path, n_events: int, seed: int = 17) -> None:
    """Write an experience log of about `n_events` lines."""
    choose = random.Random(seed)
    written = 0
    with file.open("w", encoding="utf-8") as out:
        stream = 0
        while written < n_events:
            stream += 1
            written += _write_stream(out.write, stream, min(3000, n_events - written), choose)


def _write_stream(write: Callable[[str], Any], stream: int, n_events: int, choose: random.Random) -> int:
    ts = datetime(DAY.year, DAY.month, DAY.day, 8, tzinfo=UTC) + timedelta(seconds=stream % 3600)
    identity = {
        "user_id": f"user-{stream % 97}",
        "session_id": f"s{stream}",
        "document": f"src/module_{stream}.py",
        "language": "python",
        "model": "tool-1",
        "consent": True,
    }
    text = "import os\n" * 40
    for seq in range(n_events):
        ts += timedelta(milliseconds=choose.randrange(80, 900))
        told: dict[str, Any] = {
            "event_id": f"{stream}-{seq}",
            "ts": ts.isoformat().replace("+00:00", "Z"),
            "seq": seq,
            **identity,
        }
        if seq % (EDITS_PER_PROPOSAL + 1) == 0:
            told |= {"kind": "shown", "completion_id": f"{stream}-{seq}", "offset": len(text), "length": 0}
            told |= {"text": "value = compute(offset)", "prefix": text, "suffix": ""}
        else:
            at = 0 if choose.random() < 0.03 else len(text)
            inserted = choose.choice(("va", "lue", " = ", "x(", ")", "\n", "    ", "ret"))
            told |= {"kind": "edited", "offset": at, "length": 0, "text": inserted, "reason": "typing"}
            text = text[:at] + inserted + text[at:]
        write(json.dumps(told) + "\n")
    return n_events


def measure(folder: Path, n_events: int) -> list[tuple[str, float]]:
    """Return (what, seconds) for the peer and for each stage."""
    landed = folder / "landing"
    landed.mkdir(parents=True)
    write_log(landed / f"{DAY}.ndjson", n_events)
    settings = Settings.model_validate(
        {
            "data_dir": folder / "data",
            "start_day": DAY,
            "sources": [{"name": "b", "importer": "native", "path": f"{landed}/{{day}}*", "consent": True}],
            "base_model": {
                "name": "none",
                "source": {"path": "none"},
                "fim": {"layout": "spm", "prefix": "p", "suffix": "s", "middle": "m", "end": "e"},
            },
        }
    )
    lake = Lake(settings.lake_dir)

    def peer() -> None:
        with connect(settings.memory_limit, folder / "spill") as connection:
            connection.execute(
                f"copy (select * from read_json('{landed}/*.ndjson')) to '{folder}/peer.parquet' (format parquet)"
            )

    def extract() -> None:
        extraction.extract_days(
            lake, [DAY], PRESETS["echo"], memory_limit=settings.memory_limit, spill=folder / "spill"
        )

    steps: list[tuple[str, Callable[[], object]]] = [
        ("DuckDB read_json to Parquet", peer),
        ("landing to raw_events", lambda: landing.ingest(settings, lake, [DAY])),
        ("raw_events to gap_sessions", extract),
    ]
    measured = []
    for what, run in steps:
        start = time.perf_counter()
        run()
        measured.append((what, time.perf_counter() - start))
    return measured
