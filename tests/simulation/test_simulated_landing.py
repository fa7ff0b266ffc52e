"""The files of a simulation: by day, dirty as real ones, and vouched for."""

import json
import random
from datetime import UTC, datetime, timedelta

import pytest

from echo_dagster.simulation import landing

BEGIN = datetime(2026, 1, 5, 22, tzinfo=UTC)


def events(n: int) -> list[dict]:
    return [
        {
            "event_id": f"e{index:03d}",
            "ts": (BEGIN + timedelta(minutes=3 * index))
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "kind": "cursor" if index % 5 == 0 else "edited",
        }
        for index in range(n)
    ]


@pytest.fixture
def landed(tmp_path):
    return landing.write(tmp_path, events(80), random.Random(1))


def test_each_day_has_its_file(landed):
    assert [file.name for file in landed.files] == ["2026-01-05.ndjson", "2026-01-06.ndjson"]


def test_the_dirt_is_counted_and_nothing_is_lost(landed):
    lines = [line for file in landed.files for line in file.read_text().splitlines()]
    assert len(lines) == landed.n_lines == 80 + landed.n_duplicates + landed.n_malformed
    whole = [json.loads(line) for line in lines if line.endswith("}")]
    assert len(lines) - len(whole) == landed.n_malformed == 1
    assert len(whole) - len({event["event_id"] for event in whole}) == landed.n_duplicates == 6
    assert {event["event_id"] for event in whole} == {event["event_id"] for event in events(80)}


def test_the_late_line_is_a_cursor_of_the_day_before(landed):
    first = json.loads(landed.files[1].read_text().splitlines()[0])
    assert landed.n_late == 1
    assert first["ts"].startswith("2026-01-05")
    assert first["kind"] == "cursor"


def test_an_older_simulation_is_replaced(landed, tmp_path):
    again = landing.write(tmp_path, events(10), random.Random(1))
    assert sorted(tmp_path.iterdir()) == sorted(again.files)


def test_no_events_make_no_files(tmp_path):
    assert landing.write(tmp_path, [], random.Random(1)) == landing.Landed((), 0, 0, 0, 0)


def test_the_manifest_vouches_for_these_files_and_parameters_only(landed, tmp_path):
    assert landing.counts_if_made_from(tmp_path, {"seed": 1}) is None
    landing.write_manifest(tmp_path, {"seed": 1}, {"lines": landed.n_lines}, landed.files)
    assert landing.counts_if_made_from(tmp_path, {"seed": 1}) == {"lines": landed.n_lines}
    assert landing.counts_if_made_from(tmp_path, {"seed": 2}) is None
    landed.files[0].write_text("cut short")
    assert landing.counts_if_made_from(tmp_path, {"seed": 1}) is None


def test_writing_again_withdraws_the_manifest_first(landed, tmp_path):
    landing.write_manifest(tmp_path, {"seed": 1}, {}, landed.files)
    landing.write(tmp_path, events(80), random.Random(1))
    assert landing.counts_if_made_from(tmp_path, {"seed": 1}) is None
