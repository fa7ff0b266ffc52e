"""Events of people who were forgotten are refused and counted, whichever way a file is read."""

import json
from datetime import UTC, date, datetime

import polars as pl
import pytest
from test_landing import BASE

from echo_dagster.acquisition import landing
from echo_dagster.forgotten import SCHEMA, TABLE
from echo_dagster.lake import Lake
from echo_dagster.settings import Settings, Source

MONDAY, TUESDAY = date(2026, 1, 5), date(2026, 1, 6)
GONE, OTHER = "u_00000000000000aa", "u_00000000000000bb"


def event(number: int, user: str, at: str) -> dict:
    return {
        "event_id": f"e{number}",
        "ts": at,
        "user_id": user,
        "session_id": "s",
        "document": "a.py",
        "kind": "edited",
        "offset": 0,
        "length": 0,
        "text": f"code of {user}",
    }


@pytest.fixture
def lake(tmp_path) -> Lake:
    lake = Lake(tmp_path / "data" / "lake")
    mark = {"day": MONDAY, "pseudonym": GONE, "forgotten_at": datetime(2026, 1, 5, tzinfo=UTC), "rows": 0}
    lake.append(TABLE, pl.DataFrame([mark | {"table": None}], schema={"day": pl.Date(), **SCHEMA}))
    return lake


def settings(tmp_path, name: str) -> Settings:
    source = Source(name="editors", importer="native", path=f"{tmp_path}/{name}", consent=True)
    return Settings(data_dir=tmp_path / "data", start_day=MONDAY, sources=(source,), base_model=BASE)


@pytest.mark.parametrize("suffix", ["ndjson", "parquet"])
@pytest.mark.parametrize("name", [f"{MONDAY}", "all"])
def test_they_are_refused_on_their_day_and_every_line_is_counted(tmp_path, lake, suffix, name):
    events = [
        event(1, GONE, "2026-01-05T23:59:59Z"),
        event(1, GONE, "2026-01-05T23:59:59Z"),  # delivered twice
        event(2, OTHER, "2026-01-05T12:00:00Z"),
        event(3, GONE, "2026-01-06T00:00:00Z"),
        event(4, OTHER, "2026-01-06T00:00:01Z"),
        event(4, OTHER, "2026-01-06T00:00:01Z"),
    ]
    file = tmp_path / f"{name}.{suffix}"
    if suffix == "parquet":
        pl.DataFrame(events).write_parquet(file)
    else:
        file.write_text("".join(json.dumps(one) + "\n" for one in events))
    pattern = f"{{day}}.{suffix}" if name != "all" else file.name
    done = landing.ingest(settings(tmp_path, pattern), lake, [MONDAY, TUESDAY])
    counts = [(day.lines, day.events, day.duplicates, dict(day.quarantined)) for day in done.days]
    assert counts == [(3, 1, 0, {"forgotten": 2}), (3, 1, 1, {"forgotten": 1})]
    assert all(day.lines == day.accounted_for for day in done.days)
    assert lake.read("raw_events").collect()["user_id"].unique().to_list() == [OTHER]
    bad = lake.read("quarantined_events").collect()
    assert bad["source"].unique().to_list() == ["editors"] and bad["file"].unique().to_list() == [str(file)]
    assert GONE not in str(bad.rows()) and "code" not in str(bad.rows()) and bad["line"].null_count() == 3


def test_bad_lines_at_the_head_of_a_file_keep_their_day(tmp_path, lake):
    lines = ["no event", json.dumps(event(1, GONE, "2026-01-05T10:00:00Z"))]
    lines.append(json.dumps(event(2, OTHER, "2026-01-06T10:00:00Z")))
    (tmp_path / "all.ndjson").write_text("\n".join(lines) + "\n")
    done = landing.ingest(settings(tmp_path, "all.ndjson"), lake, [MONDAY, TUESDAY])
    assert [(day.lines, dict(day.quarantined)) for day in done.days] == [
        (2, {"forgotten": 1, "malformed_json": 1}),
        (1, {}),
    ]
