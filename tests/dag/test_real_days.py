"""Real logs, as configured sources, through Dagster from landing files to scored samples."""

from datetime import date

import polars as pl
from house import DATA, build_house


def test_the_recorded_session_and_the_cups_days_go_through(tmp_path, tiny_settings, shared_data):
    house = build_house(
        tmp_path,
        tiny_settings,
        sources=[
            {
                "name": "vscode",
                "importer": "vscode_recording",
                "path": f"{shared_data}/recordings/vscode-ts-*.recording.w.json",
                "consent": True,
                "user": "alex",
            },
            {
                "name": "cups",
                "importer": "native",
                "path": f"{shared_data}/cups/*.ndjson.gz",
                "consent": True,
            },
        ],
    )
    recorded = date(2025, 3, 27)
    house.run("base_model", *DATA, first=recorded)
    house.run("base_model", *DATA, first=date(2022, 8, 1), last=date(2022, 8, 31))
    gaps = house.lake.read("gap_sessions").collect()
    by_source = dict(gaps.group_by("source").len().iter_rows())
    assert by_source == {"vscode": 1144, "cups": 657}
    assert gaps.filter(pl.col("source") == "vscode")["tracking"].unique().to_list() == ["edits"]
    assert gaps.filter(pl.col("source") == "cups")["tracking"].unique().to_list() == ["snapshots"]
    scored = house.lake.read("scored_samples").collect()
    assert scored.group_by("source").len().height == 2
    assert scored["middle_nats_per_token"].is_finite().all()
