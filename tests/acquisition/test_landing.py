"""Landing files become the same table for a day, whatever range it is made in; no line is lost."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from test_native import line, ndjson

from echo_dagster import events
from echo_dagster.acquisition import landing, staging
from echo_dagster.acquisition import ndjson as columns
from echo_dagster.lake import Lake
from echo_dagster.settings import FimTokens, ModelSettings, ModelSource, Settings, Source

D1, D2, D3, D4 = (date(2026, 1, day) for day in (5, 6, 7, 8))
BASE = ModelSettings(
    name="none",
    source=ModelSource(path="none"),
    fim=FimTokens(layout="spm", prefix="a", suffix="b", middle="c", end="d"),
)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECHO_PSEUDONYM_KEY", "test")


def configured(root: Path, *sources: Source, name: str = "data") -> Settings:
    return Settings(data_dir=root / name, start_day=date(2026, 1, 1), base_model=BASE, sources=sources)


def daily(root: Path, **fields: Any) -> Source:
    return Source(name="daily", importer="native", path=f"{root}/daily/{{day}}*", consent=True, **fields)


def timeless(root: Path) -> Source:
    return Source(name="timeless", importer="native", path=f"{root}/timeless/*.ndjson", consent=True)


def land(path: Path, *lines: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(ndjson(*lines))


def at(day: date, number: int, **fields: Any) -> dict[str, Any]:
    return line(number, ts=f"{day}T08:00:00Z", **fields)


def tables(settings: Settings) -> dict[str, pl.DataFrame]:
    lake = Lake(settings.lake_dir)
    return {
        name: (frame := lake.read(name).collect()).sort(frame.columns)
        for name in (landing.RAW, landing.QUARANTINED)
    }


def ingest(settings: Settings, *days: date) -> landing.Ingested:
    done = landing.ingest(settings, Lake(settings.lake_dir), days)
    assert [day.lines for day in done.days] == [day.accounted_for for day in done.days]
    return done


def test_a_day_of_every_kind_of_line(tmp_path):
    land(
        tmp_path / "daily" / "2026-01-06.ndjson",
        at(D2, 1),
        at(D2, 1),
        b"{\n",
        at(D2, 2, kind="hover"),
        at(D1, 3),
        at(D3, 4),
        at(D4, 5),
    )
    settings = configured(tmp_path, daily(tmp_path))
    (day,) = (done := ingest(settings, D2)).days
    assert (day.lines, day.events, day.duplicates) == (5, 1, 1)
    assert day.quarantined == {"malformed_json": 1, "unknown_kind": 1, "wrong_day": 1}
    assert day.counts() == {"day": D2, "lines": 5, "events": 1, "duplicates": 1, "quarantined": 3}
    assert done.outside == {D1: 1, D3: 1}
    assert done.quarantined_reasons()[-1] == {"day": D2, "reason": "wrong_day", "lines": 1}
    assert sorted(path.name for path in settings.data_dir.iterdir()) == ["lake"]  # nothing staged is left
    raw, bad = tables(settings).values()
    assert raw.schema == pl.Schema({"day": pl.Date(), **events.STORED_SCHEMA})
    assert bad.drop("detail").rows()[0] == (
        D2,
        "daily",
        f"{tmp_path}/daily/2026-01-06.ndjson",
        3,
        "malformed_json",
    )


def test_a_late_event_stands_on_its_own_day(tmp_path):
    land(tmp_path / "daily" / "2026-01-06.ndjson", at(D1, 1), at(D2, 2), at(D3, 3))
    settings = configured(tmp_path, daily(tmp_path))
    for day, number in ((D1, 1), (D2, 2), (D3, 3)):
        ingest(settings, day)
        assert tables(settings)[landing.RAW].filter(pl.col("day") == day)["event_id"].to_list() == [
            f"e{number}"
        ]


def test_no_file_makes_empty_tables_with_all_columns(tmp_path):
    settings = configured(tmp_path, daily(tmp_path))
    (day,) = ingest(settings, D2).days
    assert (day.lines, day.events) == (0, 0)
    raw, bad = tables(settings).values()
    assert raw.schema == pl.Schema({"day": pl.Date(), **events.STORED_SCHEMA}) and raw.height == 0
    assert bad.schema == pl.Schema({"day": pl.Date(), **events.QUARANTINE_SCHEMA}) and bad.height == 0


def test_a_day_whose_files_are_gone_is_emptied(tmp_path):
    land(tmp_path / "daily" / "2026-01-06.ndjson", at(D2, 1), b"{\n")
    settings = configured(tmp_path, daily(tmp_path))
    ingest(settings, D2)
    (tmp_path / "daily" / "2026-01-06.ndjson").unlink()
    ingest(settings, D2)
    assert [frame.height for frame in tables(settings).values()] == [0, 0]


def messy(root: Path) -> None:
    """Files with and without a day, late events, copies within and across files, and bad lines."""
    dice = random.Random(7)
    for name, centre in (("daily/2026-01-05", D1), ("daily/2026-01-06", D2), ("daily/2026-01-07", D3)):
        for part in range(2):
            lines: list[Any] = []
            for _ in range(60):
                day = centre + timedelta(days=dice.choice([-2, -1, 0, 0, 0, 0, 1]))
                number = dice.randrange(90)
                lines.append(dice.choice([at(day, number), at(day, number, text=f"{dice.random()}"), b"{\n"]))
            land(root / f"{name}-{part}.ndjson", *lines)
    for part in range(3):
        lines = [b"{\n", b"[]\n"] if part else []
        for _ in range(60):
            day = D1 + timedelta(days=dice.randrange(-2, 5))
            lines.append(dice.choice([at(day, dice.randrange(90)), at(day, 0, kind="hover"), b"{\n"]))
        land(root / f"timeless/{part}.ndjson", *lines)
    land(root / "timeless/hopeless.ndjson", b"{\n", b"{\n")


def test_a_range_equals_single_days_and_equals_itself(tmp_path):
    messy(tmp_path)
    sources = daily(tmp_path), timeless(tmp_path)
    together = configured(tmp_path, *sources, name="together")
    apart = configured(tmp_path, *sources, name="apart")
    done = ingest(together, D1, D2, D3)
    once = tables(together)
    singly = [ingest(apart, day).days[0] for day in (D3, D1, D2)]
    assert sorted(singly, key=lambda day: day.day) == list(done.days)
    assert ingest(together, D1, D2, D3) == done
    for name, frame in once.items():
        assert frame.height > 50
        assert frame.equals(tables(apart)[name])
        assert frame.equals(tables(together)[name])


def test_rerunning_a_day_leaves_the_others_alone(tmp_path):
    messy(tmp_path)
    settings = configured(tmp_path, daily(tmp_path))
    ingest(settings, D1, D2, D3)
    before = tables(settings)[landing.RAW]
    land(tmp_path / "daily/2026-01-05-9.ndjson", at(D1, 999), at(D2, 998))
    ingest(settings, D1)
    after = tables(settings)[landing.RAW]
    assert after.filter(pl.col("day") != D1).equals(before.filter(pl.col("day") != D1))
    assert set(after["event_id"]) - set(before["event_id"]) == {"e999"}


def test_of_copies_that_differ_the_one_without_consent_is_kept_whatever_the_order(tmp_path):
    copies = [
        at(D2, 1, consent=True, text="a"),
        at(D2, 1, consent=False, text="z"),
        at(D2, 1, consent=True, text="b"),
    ]
    for name, order in (("one", copies), ("other", copies[::-1])):
        land(tmp_path / name / "daily" / "2026-01-06.ndjson", *order)
        settings = configured(tmp_path / name, daily(tmp_path / name))
        (day,) = ingest(settings, D2).days
        assert (day.events, day.duplicates) == (1, 2)
        assert tables(settings)[landing.RAW].select("consent", "text").row(0) == (False, "z")


def test_bad_lines_of_a_file_without_a_day_follow_the_event_before_them(tmp_path):
    land(tmp_path / "timeless" / "a.ndjson", b"{\n", b"{\n", at(D2, 1), b"{\n", at(D3, 2), b"{\n", at(D1, 3))
    land(tmp_path / "timeless" / "b.ndjson", b"{\n")
    settings = configured(tmp_path, timeless(tmp_path))
    done = ingest(settings, date(2026, 1, 1), D1, D2, D3)
    assert [sum(day.quarantined.values()) for day in done.days] == [1, 0, 3, 1]
    bad = tables(settings)[landing.QUARANTINED]
    assert bad.filter(pl.col("day") == D2)["line"].to_list() == [1, 2, 4]


def test_users_are_pseudonyms_in_the_lake(tmp_path):
    land(tmp_path / "daily" / "2026-01-06.ndjson", at(D2, 1, user_id="alex@example.org"))
    settings = configured(tmp_path, daily(tmp_path))
    ingest(settings, D2)
    assert tables(settings)[landing.RAW]["user_id"].str.contains("^u_[0-9a-f]{16}$").all()


def test_rows_staged_in_many_batches_are_written_in_stream_order(tmp_path, monkeypatch):
    monkeypatch.setattr(columns, "_BATCH_ROWS", 7)
    monkeypatch.setattr(columns, "_LEAST_ROWS", 7)
    monkeypatch.setattr(staging, "_PART_BYTES", 3_000)
    dice = random.Random(3)
    lines = [
        line(i, ts=f"2026-01-06T{dice.randrange(24):02}:00:00Z", session_id=f"s{i % 3}") for i in range(60)
    ]
    dice.shuffle(lines)
    land(tmp_path / "daily" / "2026-01-06.ndjson", *lines)
    settings = configured(tmp_path, daily(tmp_path))
    ingest(settings, D2)
    frame = pl.read_parquet(sorted(Lake(settings.lake_dir).path(landing.RAW).rglob("*.parquet")))
    assert frame.height == 60
    assert frame["bucket"].n_unique() == 3
    order = ["bucket", *events.STREAM_ORDER]
    assert frame.select(order).equals(frame.select(order).sort(order))


def test_progress_counts_what_was_read_also_within_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(columns, "_BATCH_ROWS", 300)
    for day in (D1, D2, D3):
        land(tmp_path / "daily" / f"{day}.ndjson", *[at(day, number) for number in range(600)])
    told: list[tuple[int, int]] = []
    settings = configured(tmp_path, daily(tmp_path))
    landing.ingest(
        settings, Lake(settings.lake_dir), [D2], progress=lambda done, total: told.append((done, total))
    )
    size = (tmp_path / "daily" / f"{D2}.ndjson").stat().st_size
    (total,) = {total for _, total in told}
    assert total == -(-3 * size // 1024)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (total, total)
    assert len({done for done, _ in told}) > 3


class TestWhichFiles:
    def test_by_day_and_sorted(self, tmp_path):
        for name in ("2026-01-06-b.ndjson", "2026-01-06-a.ndjson", "2026-01-07.ndjson", "other.ndjson"):
            land(tmp_path / "daily" / name)
        (tmp_path / "daily" / "2026-01-06.d").mkdir()
        land(tmp_path / "timeless" / "x.ndjson")
        settings = configured(tmp_path, daily(tmp_path), timeless(tmp_path))
        found = landing.landing_files(settings, [D2, D2])
        assert [(file.path.name, file.day) for file in found] == [
            ("2026-01-06-a.ndjson", D2),
            ("2026-01-06-b.ndjson", D2),
            ("x.ndjson", None),
        ]

    def test_a_name_with_two_days_belongs_to_the_first(self, tmp_path):
        land(tmp_path / "2026-01-05-to-2026-01-06.ndjson", at(D1, 1), at(D2, 2))
        source = Source(name="s", importer="native", path=f"{tmp_path}/*{{day}}*", consent=True)
        settings = configured(tmp_path, source)
        assert [file.day for file in landing.landing_files(settings, [D1, D2])] == [D1]
        assert ingest(settings, D1, D2).days[1].events == 1

    def test_the_day_can_be_a_folder(self, tmp_path):
        land(tmp_path / "logs" / "2026-01-06" / "alex" / "a.ndjson", at(D2, 1))
        source = Source(
            name="s", importer="native", path=f"{tmp_path}/logs/{{day}}/**/*.ndjson", consent=True
        )
        settings = configured(tmp_path, source)
        assert ingest(settings, D2).days[0].events == 1
        assert landing.days_of(tmp_path / "logs/2026-01-06/alex/a.ndjson", settings) == [D1, D2, D3]

    def test_a_relative_pattern_is_below_the_working_directory(self, tmp_path, monkeypatch):
        land(tmp_path / "in" / "2026-01-06.ndjson", at(D2, 1), b"{\n")
        monkeypatch.chdir(tmp_path)
        settings = configured(tmp_path, Source(name="s", importer="native", path="./in/{day}*", consent=True))
        ingest(settings, D2)
        assert tables(settings)[landing.QUARANTINED]["file"].to_list() == ["in/2026-01-06.ndjson"]
        assert landing.days_of("in/2026-01-06.ndjson", settings) == [D1, D2, D3]


class TestLateFiles:
    def test_a_fingerprint_changes_with_its_file_alone(self, tmp_path):
        land(tmp_path / "daily" / "2026-01-06.ndjson", at(D2, 1))
        land(tmp_path / "timeless" / "x.ndjson", at(D2, 1))
        settings = configured(tmp_path, daily(tmp_path), timeless(tmp_path))
        before = landing.fingerprint(settings)
        assert sorted(Path(path).name for path in before) == ["2026-01-06.ndjson", "x.ndjson"]
        land(tmp_path / "daily" / "2026-01-06.ndjson", at(D2, 1), at(D2, 2))
        after = landing.fingerprint(settings)
        assert [Path(path).name for path in after if after[path] != before[path]] == ["2026-01-06.ndjson"]

    def test_the_days_that_a_file_can_change(self, tmp_path):
        land(tmp_path / "daily" / "2026-01-06.ndjson")
        land(tmp_path / "daily" / "2026-01-01.ndjson")
        land(tmp_path / "timeless" / "x.ndjson", b"{\n", at(D3, 1), at(D1, 2))
        land(tmp_path / "timeless" / "bad.ndjson", b"{\n")
        settings = configured(tmp_path, daily(tmp_path), timeless(tmp_path))
        assert landing.days_of(tmp_path / "daily/2026-01-06.ndjson", settings) == [D1, D2, D3]
        assert landing.days_of(tmp_path / "daily/2026-01-01.ndjson", settings) == [
            date(2026, 1, 1),
            date(2026, 1, 2),
        ]
        assert landing.days_of(tmp_path / "timeless/x.ndjson", settings) == [D1, D3]
        assert landing.days_of(tmp_path / "timeless/bad.ndjson", settings) == [settings.start_day]
        assert landing.days_of(tmp_path / "elsewhere.ndjson", settings) == []


def test_days_written_at_once_do_not_lose_each_other(tmp_path):
    days = [D1 + timedelta(days=step) for step in range(4)]
    for day in days:
        land(tmp_path / "daily" / f"{day}.ndjson", *[at(day, number) for number in range(30)])
    settings = configured(tmp_path, daily(tmp_path))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda day: ingest(settings, day), days))
    frame = tables(settings)[landing.RAW]
    assert dict(frame["day"].value_counts().iter_rows()) == dict.fromkeys(days, 30)


class TestImportFiles:
    def test_ndjson_and_parquet_hold_the_same(self, tmp_path):
        land(tmp_path / "a.ndjson", at(D2, 1, consent=False, user_id="alex"), b"{\n", at(D2, 2, user_id=None))
        land(tmp_path / "b.ndjson", at(D2, 3, kind="hover"), at(D2, 4))
        read = {}
        for out in (tmp_path / "out.ndjson", tmp_path / "out.parquet"):
            counts = landing.import_files(
                "native",
                [tmp_path / "a.ndjson", tmp_path / "b.ndjson"],
                out,
                consent=True,
                cohort="c",
                user="sam",
            )
            assert counts == {
                "files": 2,
                "events": 3,
                "edited": 3,
                "quarantined: malformed_json": 1,
                "quarantined: unknown_kind": 1,
            }
            rejects = [
                json.loads(text) for text in Path(f"{out}.quarantined.ndjson").read_text().splitlines()
            ]
            assert [(Path(bad["file"]).name, bad["line"], bad["reason"]) for bad in rejects] == [
                ("a.ndjson", 2, "malformed_json"),
                ("b.ndjson", 1, "unknown_kind"),
            ]
            (read[out.suffix], bad), *_ = landing.importers.batches(
                out, timeless(tmp_path), lambda user: user
            )
            assert bad.height == 0
        frame = read[".parquet"]
        assert frame.equals(read[".ndjson"])
        assert frame["event_id"].to_list() == ["e1", "e2", "e4"]
        assert frame["consent"].to_list() == [False, True, True]
        assert frame["ts"][0] == datetime(2026, 1, 6, 8, tzinfo=UTC)
        assert frame["user_id"].n_unique() == 2 and frame["user_id"].str.starts_with("u_").all()

    def test_without_bad_lines_there_is_no_quarantine_file(self, tmp_path):
        land(tmp_path / "a.ndjson", b"{\n")
        out = tmp_path / "out.ndjson"
        landing.import_files("native", [tmp_path / "a.ndjson"], out, consent=True)
        assert Path(f"{out}.quarantined.ndjson").exists() and out.read_bytes() == b""
        land(tmp_path / "a.ndjson", at(D2, 1))
        landing.import_files("native", [tmp_path / "a.ndjson"], out, consent=True)
        assert not Path(f"{out}.quarantined.ndjson").exists()

    def test_an_absent_file_fails_and_leaves_no_half_output(self, tmp_path):
        land(tmp_path / "a.ndjson", at(D2, 1))
        with pytest.raises(FileNotFoundError):
            landing.import_files(
                "native",
                [tmp_path / "a.ndjson", tmp_path / "none.ndjson"],
                tmp_path / "out.parquet",
                consent=True,
            )
        assert [path.name for path in tmp_path.iterdir()] == ["a.ndjson"]


def test_the_shared_logs_as_sources(tmp_path, shared_data):
    sources = (
        Source(name="cups", importer="native", path=f"{shared_data}/cups/*", consent=True),
        Source(
            name="vscode", importer="vscode_recording", path=f"{shared_data}/recordings/vscode*", consent=True
        ),
    )
    settings = configured(tmp_path, *sources)
    days = [date(2022, 8, 8) + timedelta(days=step) for step in range(5)]
    done = ingest(settings, *days, date(2025, 3, 27))
    assert sum(day.events for day in done.days[:5]) == 657 + 224 + 429
    last = done.days[5]
    assert (last.lines, last.duplicates, last.quarantined) == (9299, 0, {"stale_proposal": 34})
    assert done.outside == {}
