"""Days are UTC days, whatever the clock of the machine does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from test_native import line, ndjson

#: Clocks there go forward on the first day and back on the second.
ZONES = {
    "America/New_York": (date(2026, 3, 8), date(2026, 11, 1)),
    "Europe/Berlin": (date(2026, 3, 29), date(2026, 10, 25)),
}

PROGRAM = """
import json, sys
from datetime import date, timedelta
from pathlib import Path
import polars as pl
from echo_dagster.acquisition import landing
from echo_dagster.extraction import days as extraction
from echo_dagster.extraction.policies import PRESETS
from echo_dagster.lake import Lake
from echo_dagster.settings import Settings

settings = Settings.model_validate(json.loads(sys.argv[1]))
lake = Lake(settings.lake_dir)
first = date.fromisoformat(sys.argv[2])
days = [first + timedelta(days=ahead) for ahead in (-1, 0, 1)]
done = landing.ingest(settings, lake, days)
for day in days:
    extraction.extract_days(lake, [day], PRESETS["echo"], spill=settings.data_dir / "spill")
    expected, found = extraction.conservation(lake, day, PRESETS["echo"])
    assert expected == found
events = lake.read("raw_events").group_by("day").len().sort("day").collect()
gaps = lake.read("gap_sessions").select("day", "opened_at", "closed_at", "break_reason").sort("opened_at").collect()
print(json.dumps([[str(value) for value in row] for frame in (events, gaps) for row in frame.rows()]))
"""


def landed(folder: Path, day: date) -> None:
    """Write an event for every half hour of the day around it, and a proposal late in the evening."""
    folder.mkdir(parents=True)
    stamps = pl.datetime_range(
        pl.datetime(day.year, day.month, day.day).dt.offset_by("-6h"),
        pl.datetime(day.year, day.month, day.day).dt.offset_by("30h"),
        "30m",
        time_zone="UTC",
        eager=True,
    )
    by_day: dict[date, list[dict[str, object]]] = {}
    for number, ts in enumerate(stamps):
        by_day.setdefault(ts.date(), []).append(line(number, ts=ts.isoformat()))
    shown = {"kind": "shown", "completion_id": "c", "prefix": "", "suffix": "", "text": "x", "offset": 0}
    by_day[day].append(line(1000, ts=f"{day}T23:59:00Z", document="b.py", **shown))
    for own, lines in by_day.items():
        (folder / f"{own}.ndjson").write_bytes(ndjson(*lines))


@pytest.mark.parametrize("zone", ZONES)
def test_the_days_on_which_clocks_change_are_days_of_24_hours(tmp_path, zone):
    for day in ZONES[zone]:
        told = []
        for clock in (zone, "UTC"):
            home = tmp_path / f"{day}-{clock.replace('/', '-')}"
            landed(home / "landing", day)
            settings = {
                "data_dir": str(home / "data"),
                "start_day": "2026-01-01",
                "sources": [
                    {
                        "name": "s",
                        "importer": "native",
                        "path": f"{home}/landing/{{day}}.ndjson",
                        "consent": True,
                    }
                ],
                "base_model": {
                    "name": "none",
                    "source": {"path": "none"},
                    "fim": {"layout": "spm", "prefix": "p", "suffix": "s", "middle": "m", "end": "e"},
                },
            }
            done = subprocess.run(
                [sys.executable, "-c", PROGRAM, json.dumps(settings), str(day)],
                env={**os.environ, "TZ": clock, "ECHO_PSEUDONYM_KEY": "k"},
                capture_output=True,
                text=True,
                check=True,
            )
            told.append(json.loads(done.stdout))
        assert told[0] == told[1]
        (_, before), (_, on), (_, after), gap = told[0]
        assert (before, on, after) == ("12", "49", "13")
        assert gap[0] == str(
            date.fromordinal(day.toordinal() + 1)
        )  # open over midnight, it closed on the next day
        assert gap[1].startswith(f"{day} 23:59:00") and gap[3] == "idle"
