"""What an inspection counts is what the importers read, of every format, and nothing is left behind by it."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import formats
import pytest
from reading import items
from test_native import line, ndjson

from echo_dagster import events
from echo_dagster.acquisition import importers, inspection, inspection_rows, privacy
from echo_dagster.acquisition.importers import Event
from echo_dagster.acquisition.inspection import Found, Inspection, Quarantined

KIND = list(events.SCHEMA).index("kind")
DAY = date(2026, 1, 5)


def inspected(*paths: Any, **told: Any) -> Inspection:
    return inspection.inspect(inspection.files_of([str(path) for path in paths]), **told)


def only(*paths: Any, **told: Any) -> Found:
    found = inspected(*paths, **told)
    assert len(found.found) == 1 and not found.unknown
    return found.found[0]


def land(path: Path, *lines: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(ndjson(*lines))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Every format, a folder for each importer, and files that none reads."""
    for file in formats.files():
        path = tmp_path / file.of / file.name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(file.content)
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "native" / "empty.ndjson").touch()
    (tmp_path / ".hidden.ndjson").write_bytes(ndjson(line(1)))
    return tmp_path


def test_a_folder_of_every_format_is_counted_as_the_importers_read_it(folder):
    found = inspected(folder)
    assert [one.importer for one in found.found] == sorted(importers.NAMES)
    assert found.unknown == {
        folder / "native" / "empty.ndjson": "empty",
        folder / "notes.txt": "text that no known tool writes",
    }
    for one in found.found:
        paths = [file.path for file in one.files]
        assert paths == [
            path for path in sorted((folder / one.importer).iterdir()) if path.name != "empty.ndjson"
        ]
        told = {"user": "nobody"} if one.importer == "zed" else {}
        read = [item for path in paths for item in items(path, one.importer, **told)]
        good = [item for item in read if isinstance(item, Event)]
        assert one.lines == len(read)
        assert one.kinds == Counter(item.row[KIND] for item in good)
        assert one.days == dict(sorted(Counter(item.ts.date() for item in good).items()))
        lost = Counter(item.reason for item in read if not isinstance(item, Event))
        assert {reason: lines.lines for reason, lines in one.quarantined.items()} == lost
    assert {one.importer: one.tracking for one in found.found} == {
        **dict.fromkeys(["code4me", "continue", "realhumaneval", "tabby", "zed"], "snapshots"),
        **dict.fromkeys(["native", "vscode_recording"], "edits"),
        "cups": "later proposals",
    }


def test_every_figure_of_a_small_log(tmp_path):
    shown = {"kind": "shown", "completion_id": "c", "prefix": "a", "offset": 1}
    one = land(
        tmp_path / "a.ndjson",
        line(1),
        line(2, **shown, suffix="", language="python", model="m1", repository="r", cohort="beta"),
        line(3, **{**shown, "offset": None}, user_id="kim", language="python", ts="2026-01-06T08:00:00Z"),
        line(4, kind="accepted", completion_id="c", consent=True),
        line(5, kind="rejected", completion_id="c", reason="timeout", consent=False, cohort="beta"),
        line(6, kind="rejected", completion_id="c", document="b.py", session_id="t"),
        b"{\n",
        line(7, kind="hover"),
    )
    other = land(tmp_path / "b.ndjson", b"{\n", line(8, kind="closed"))
    assert only(tmp_path) == Found(
        importer="native",
        why={"objects with event_id and ts": 2},
        files=(
            inspection.FileDays(one, DAY, date(2026, 1, 6)),
            inspection.FileDays(other, DAY, DAY),
        ),
        lines=10,
        is_partial=False,
        kinds={"rejected": 2, "shown": 2, "accepted": 1, "closed": 1, "edited": 1},
        days={DAY: 6, date(2026, 1, 6): 1},
        rejected={"timeout": 1, "unknown": 1},
        users=2,
        sessions=3,
        documents=3,
        repositories=1,
        languages={"python": 2},
        models={"m1": 1, "unknown": 1},
        cohorts={"beta": 2},
        consent={"given": 1, "withheld": 1},
        with_suffix=1,
        with_offset=1,
        names_no_user=False,
        quarantined={
            "malformed_json": Quarantined(2, (f"{one}:7", f"{other}:1")),
            "unknown_kind": Quarantined(1, (f"{one}:8",)),
        },
    )


def test_counts_go_over_batches_and_examples_are_the_first(tmp_path, monkeypatch):
    lines = [line(number) if number % 2 else b"{\n" for number in range(40)]
    path = land(tmp_path / "a.ndjson", *lines)
    monkeypatch.setattr(inspection, "_BATCH_ROWS", 7)
    monkeypatch.setattr("echo_dagster.acquisition.ndjson.is_readable", lambda path: False)
    found = only(path)
    assert (found.lines, found.users, found.days) == (40, 1, {DAY: 20})
    assert found.quarantined == {"malformed_json": Quarantined(20, tuple(f"{path}:{n}" for n in (1, 3, 5)))}


def test_a_limit_ends_every_file_early(tmp_path):
    for name in ("a.ndjson", "b.ndjson"):
        land(tmp_path / name, b"{\n", *map(line, range(20)))
    assert (only(tmp_path).lines, only(tmp_path).is_partial) == (42, False)
    found = only(tmp_path, limit=5)
    assert (found.lines, found.kinds, found.is_partial) == (10, {"edited": 8}, True)
    assert "not all" in inspection_rows.rows(found)["lines"]


def test_files_that_name_no_user_are_counted_as_one_users(tmp_path):
    entries = [{**entry, "user": None} for entry in formats.tabby()]
    path = tmp_path / "a.json"
    path.write_bytes(formats.lines(*entries))
    found = only(path)
    assert (found.names_no_user, found.users, found.kinds["shown"], found.quarantined) == (True, 1, 2, {})
    assert inspection_rows.rows(found)["users"] == "none is named: set user"
    frame = formats.pl.read_parquet(formats.parquet()).drop("user_id")
    frame.write_parquet(tmp_path / "a.parquet")
    assert only(tmp_path / "a.parquet").names_no_user


def test_damaged_files(tmp_path):
    content = gzip.compress(formats.lines(*formats.tabby()) * 400)
    (tmp_path / "a.json.gz").write_bytes(content[: len(content) // 2])
    (tmp_path / "b.pkl").write_bytes(formats.pickled(*formats.sessions())[:-300])
    tabby_log, pickle = sorted(inspected(tmp_path).found, key=lambda one: one.importer, reverse=True)
    assert tabby_log.kinds["shown"] == 2 and list(tabby_log.quarantined) == ["truncated_file"]
    assert (pickle.lines, list(pickle.quarantined), pickle.days) == (1, ["malformed_pickle"], {})


def test_compressed_recordings_are_read(tmp_path):
    (tmp_path / "a.json").write_bytes(formats.recording(None))
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(formats.recording(2)))
    found = only(tmp_path)
    assert (len(found.files), found.lines, found.sessions) == (2, 24, 1)


def test_paths_are_files_folders_and_patterns(folder, monkeypatch):
    monkeypatch.chdir(folder)
    names = [path.as_posix() for path in inspection.files_of(["tabby", "*/2026*.md", "notes.txt", "tabby/*"])]
    assert names == ["tabby/2026-01-05.json", "zed/2026-01-05.md", "notes.txt"]
    odd = folder / "a[1].ndjson"
    odd.touch()
    assert inspection.files_of([str(odd)]) == [odd]
    for nothing in ("nowhere", "*.nothing"):
        with pytest.raises(ValueError, match="no such file"):
            inspection.files_of(["tabby", nothing])


def test_progress_goes_from_nothing_to_all(tmp_path):
    told: list[tuple[int, int]] = []
    path = tmp_path / "a.json"
    path.write_bytes(formats.lines(*formats.tabby()) * 1000)
    inspected(tmp_path, progress=lambda done, total: told.append((done, total)))
    megabytes = path.stat().st_size // 10**6
    assert megabytes > 1 and told[-1] == (megabytes, megabytes) and told == sorted(told)


def test_no_key_is_made_and_nobody_is_named(folder, monkeypatch):
    monkeypatch.delenv(privacy.KEY_VARIABLE, raising=False)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(privacy, "_key", lambda path: pytest.fail("a key was asked for"))
    before = sorted(folder.rglob("*"))
    found = inspected(folder)
    assert sorted(folder.rglob("*")) == before
    told = inspection_rows.as_json(found) + str([inspection_rows.rows(one) for one in found.found])
    for secret in (formats.CODE, "entinel", "ENTINEL", "@example.org", "device-1", "machine-7", "user-a"):
        assert secret not in told, secret


def test_json_holds_all_that_was_found(folder):
    told = json.loads(inspection_rows.as_json(inspected(folder)))
    assert told["unknown"][(folder / "notes.txt").as_posix()] == "text that no known tool writes"
    native = next(one for one in told["found"] if one["importer"] == "native")
    assert native["days"] == {"2026-01-05": 27} and native["tracking"] == "edits"
    assert native["files"][0] == {
        "path": (folder / "native" / "2026-01-05.ndjson").as_posix(),
        "first": "2026-01-05",
        "last": "2026-01-05",
    }
    assert native["quarantined"]["wrong_type"]["lines"] == 1
    assert "importer: native" in told["yaml"]


def test_rows_are_short_where_there_is_much_to_tell(tmp_path):
    days = [line(day, ts=f"2026-01-{day:02}T08:00:00Z", cohort=f"c{day}") for day in range(1, 32)]
    path = land(tmp_path / "a.ndjson", *days)
    rows = inspection_rows.rows(only(path))
    assert rows["days"] == "2026-01-01 to 2026-01-31: 31"
    assert rows["cohorts"].startswith("c1 1, c10 1") and rows["cohorts"].endswith(", 23 more")
    assert "rejected" not in rows and "followed by" not in rows
    for number in range(30):
        (tmp_path / f"{number:02}.txt").touch()
    unknown = inspection_rows.unknown_rows(inspected(tmp_path))
    assert len(unknown) == 21 and unknown["..."] == "10 more"


def test_the_real_recordings_go_through_whole(shared_data):
    found = only(shared_data / "recordings")
    assert (len(found.files), found.lines, found.tracking) == (12, 9402, "edits")
    assert found.kinds == {"cursor": 4640, "edited": 3452, "shown": 1144, "accepted": 87, "snapshot": 45}
    assert found.days[date(2025, 3, 27)] == 9265 and sum(found.days.values()) == 9368
    assert (found.users, found.sessions, found.documents, found.repositories) == (7, 12, 33, 3)
    assert found.languages == {"typescript": 1071, "json": 73}
    assert (found.with_suffix, found.with_offset) == (1144, 1144)
    recording = shared_data / "recordings" / "vscode-ts-customized.recording.w.json"
    assert found.quarantined == {
        "stale_proposal": Quarantined(34, tuple(f"{recording}:{entry}" for entry in (1149, 4043, 4055)))
    }


def test_the_real_study_goes_through_whole(shared_data):
    found = only(shared_data / "cups")
    assert (found.lines, found.quarantined, found.tracking) == (1310, {}, "later proposals")
    assert found.kinds == {"shown": 657, "rejected": 429, "accepted": 224}
    assert (found.users, found.sessions, found.repositories) == (14, 14, 7)
    assert list(found.days) == [date(2022, 8, day) for day in range(8, 13)]
    assert (found.with_suffix, found.with_offset) == (202, 657)
    assert (found.cohorts, found.consent) == ({"study": 1310}, {"given": 1310})
    assert (found.languages, found.models) == ({"python": 657}, {"copilot-2022-08": 657})
