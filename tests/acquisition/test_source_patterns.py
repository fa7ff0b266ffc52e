"""The suggested configuration reads just the files that were inspected, and reads all that they hold."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_landing import configured
from test_native import line, ndjson

from echo_dagster.acquisition import inspection, inspection_rows, landing
from echo_dagster.acquisition.source_patterns import lines_of_yaml
from echo_dagster.lake import Lake
from echo_dagster.settings import Source

START = datetime(2026, 1, 5, 8, tzinfo=UTC)


def land(path: Path, *days: int) -> None:
    """Write a log with an event on each of some days, counted from the fifth of January."""
    path.parent.mkdir(parents=True, exist_ok=True)
    events = [line(day, ts=(START + timedelta(days=day)).isoformat()) for day in days]
    path.write_bytes(ndjson(*events))


def suggested(*paths: Any) -> list[str]:
    """Return the patterns that are suggested, after landing has read them as a configuration."""
    found = inspection.inspect(inspection.files_of([str(path) for path in paths]))
    sources = [Source(**entry) for entry in yaml.safe_load(lines_of_yaml(found))["sources"]]
    assert len({source.name for source in sources}) == len(sources)
    return [source.path for source in sources]


def test_days_in_names_become_a_placeholder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for day in range(3):
        land(Path(f"logs/2026-01-0{5 + day}.ndjson"), day)
    assert suggested("logs") == ["logs/{day}.ndjson"]
    assert suggested("logs/2026-01-06.ndjson") == ["logs/{day}.ndjson"]
    for day in range(3):
        land(Path(f"parts/2026-01-0{5 + day}-{'abc'[day]}.ndjson"), day)
        land(Path(f"folders/2026-01-0{5 + day}/log.ndjson"), day)
        land(Path(f"users/u{day}/2026-01-05.ndjson"), 0)
    assert suggested("parts") == ["parts/{day}-*.ndjson"]
    assert suggested("folders") == ["folders/{day}/log.ndjson"]
    assert suggested("users") == ["users/u*/{day}.ndjson"]


def test_a_day_in_a_name_that_is_not_the_events_day_stays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    land(Path("logs/export-2026-03-01.ndjson"), 0, 1, 2)
    assert suggested("logs") == ["logs/export-2026-03-01.ndjson"]
    land(Path("near/2026-01-06.ndjson"), 0, 1, 2)
    assert suggested("near") == ["near/{day}.ndjson"]
    land(Path("2026-01-05/wide/2026-01-09.ndjson"), 0)
    assert suggested("2026-01-05") == ["{day}/wide/2026-01-09.ndjson"]


def test_files_without_a_day(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    land(Path("logs/one.ndjson"), 0, 9)
    land(Path("logs/two.ndjson"), 0, 9)
    assert suggested("logs") == ["logs/*.ndjson"]
    land(Path("logs/2026-01-05.ndjson"), 0)
    assert suggested("logs") == [
        "logs/{day}.ndjson",
        "logs/one.ndjson",
        "logs/two.ndjson",
    ]  # none is read twice


def test_other_files_are_not_matched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        land(Path(f"logs/{name}.ndjson"), 0, 9)
    Path("logs/c.ndjson").write_text("no log")
    assert suggested("logs") == ["logs/a.ndjson", "logs/b.ndjson"]
    land(Path("days/2026-01-05.ndjson"), 0)
    Path("days/2026-01-06.ndjson").write_text("no log")
    assert suggested("days") == ["days/2026-01-05.ndjson"]


def test_folders_of_several_depths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    land(Path("logs/2026-01-05.ndjson"), 0)
    land(Path("logs/old/2026-01-04.ndjson"), -1)
    land(Path("logs/old/2026-01-03.ndjson"), -2)
    assert suggested("logs") == ["logs/{day}.ndjson", "logs/old/{day}.ndjson"]


def test_names_that_hold_signs_of_patterns_and_quotes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('a[1]"ü.ndjson', 'a[2]"ü.ndjson'):
        land(Path("lo?gs", name), 0, 9)
    assert suggested("lo?gs") == ['lo[?]gs/a[[]*]"ü.ndjson']


def test_a_name_that_is_not_utf8(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    land(Path("logs/caf\udce9.ndjson"), 0, 9)
    assert suggested("logs") == ["logs/caf?.ndjson"]
    inspection_rows.as_json(inspection.inspect(inspection.files_of(["logs"]))).encode()


def test_many_files_apart_are_told_in_part(tmp_path):
    for number in range(15):
        land(tmp_path.joinpath(*"x" * number, "a.ndjson"), 0, 9)
    found = inspection.inspect(inspection.files_of([str(tmp_path)]))
    text = lines_of_yaml(found)
    assert len(yaml.safe_load(text)["sources"]) == 10 and text.endswith("  # and 5 patterns more\n")


def test_the_lines_in_full(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    land(Path("logs/2026-01-05.ndjson"), 0, 1)
    path = Path("logs/unnamed/a.ndjson")
    path.parent.mkdir()
    path.write_bytes(ndjson(line(1, user_id=None)))
    assert lines_of_yaml(inspection.inspect([path])) == (
        "sources:  # events from 2026-01-05 to 2026-01-05\n"
        '  - {name: native, importer: native, path: "logs/unnamed/a.ndjson", user: NAME, consent: false}\n'
    )
    assert lines_of_yaml(inspection.inspect([])) == ""


@pytest.mark.parametrize("names", [("2026-01-05", "2026-01-06"), ("a", "b"), ("2026-01-05", "b")])
def test_landing_reads_by_it_what_was_inspected(tmp_path, monkeypatch, names):
    monkeypatch.setenv("ECHO_PSEUDONYM_KEY", "test")
    for number, name in enumerate(names):
        land(tmp_path / "logs" / f"{name}.ndjson", number)
    (tmp_path / "logs" / "notes.md").write_text("# nothing")
    found = inspection.inspect(inspection.files_of([str(tmp_path / "logs")]))
    sources = [Source(**entry) for entry in yaml.safe_load(lines_of_yaml(found))["sources"]]
    settings = configured(tmp_path, *sources)
    done = landing.ingest(settings, Lake(settings.lake_dir), [date(2026, 1, 5), date(2026, 1, 6)])
    assert [(day.events, day.duplicates) for day in done.days] == [(1, 0), (1, 0)]
