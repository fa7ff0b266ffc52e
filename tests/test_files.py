"""Frames survive NDJSON and Parquet unchanged, and a file that does not fit says everything that is wrong."""

from __future__ import annotations

import io
import json
import os
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_dagster import events, files

SCHEMA = pl.Schema(
    {
        "name": pl.String(),
        "ts": events.TIMESTAMP,
        "day": pl.Date(),
        "count": pl.Int64(),
        "share": pl.Float64(),
        "consent": pl.Boolean(),
    }
)
FRAME = pl.DataFrame(
    [
        ('a\n"😀\u2028', datetime(2026, 1, 5, 8, 0, 0, 123456, tzinfo=UTC), date(2026, 1, 5), 7, 0.1, True),
        (None, None, None, None, None, None),
        ("", datetime(1999, 12, 31, tzinfo=UTC), date(1, 1, 1), -(2**62), 1e300, False),
    ],
    schema=SCHEMA,
    orient="row",
)


@pytest.fixture(params=["frame.ndjson", "frame.jsonl", "frame.parquet"])
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return tmp_path / "folder" / request.param


def test_a_frame_comes_back_as_it_was(path):
    assert files.write(FRAME, path) == 3
    assert files.read(path, SCHEMA).equals(FRAME)
    assert [child.name for child in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("height", [0, 1])
def test_short_frames_and_columns_that_are_all_null(path, height):
    frame = pl.DataFrame({name: [None] * height for name in SCHEMA}, schema=SCHEMA)
    files.write(frame, path)
    assert files.read(path, SCHEMA).equals(frame)


def test_batches_are_written_one_after_the_other(path):
    assert files.write((part for part in (FRAME[:1], FRAME[1:])), path, SCHEMA) == 3
    assert files.read(path, SCHEMA).equals(FRAME)
    assert files.write(iter(()), path, SCHEMA) == 0
    assert files.read(path, SCHEMA).height == 0


@given(st.lists(st.text(max_size=8), max_size=5))
def test_any_text_survives(tmp_path_factory, texts):
    frame = pl.DataFrame({"text": texts}, schema={"text": pl.String()})
    for name in ("a.ndjson", "a.parquet"):
        path = tmp_path_factory.mktemp("t") / name
        files.write(frame, path)
        assert files.read(path, frame.schema).equals(frame)


def test_times_are_iso_with_z(tmp_path):
    files.write(FRAME, tmp_path / "a.ndjson")
    first = json.loads((tmp_path / "a.ndjson").read_text(encoding="utf-8").split("\n")[0])
    assert (first["ts"], first["day"]) == ("2026-01-05T08:00:00.123456Z", "2026-01-05")


def test_standard_input_and_output(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", out)
    files.write(FRAME, "-")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(out.buffer.getvalue())))
    assert files.read("-", SCHEMA).equals(FRAME)


def test_every_mistake_is_named_at_once_and_no_content(tmp_path):
    path = tmp_path / "a.ndjson"
    path.write_text('{"name": 3, "ts": "hunter2", "day": "2026-01-05", "count": 1.5, "share": 1}\n')
    with pytest.raises(files.FileMistake) as told:
        files.read(path, SCHEMA)
    message = str(told.value)
    assert [name for name in SCHEMA if f"- {name}:" in message] == ["name", "ts", "count", "consent"]
    assert "consent: missing" in message and "count: Float64, expected Int64" in message
    assert "hunter2" not in message


def test_more_columns_than_asked_for_are_left_out(tmp_path):
    files.write(FRAME, tmp_path / "a.parquet")
    assert files.read(tmp_path / "a.parquet", pl.Schema({"count": pl.Int64()})).columns == ["count"]


@pytest.mark.parametrize(
    ("name", "content"), [("a.ndjson", '{"name": hunter2}'), ("a.parquet", "hunter2"), ("a.parquet", "")]
)
def test_damage_is_one_clear_error_without_content(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(files.FileMistake, match="damaged") as told:
        files.read(tmp_path / name, SCHEMA)
    assert "hunter2" not in str(told.value)


def test_a_suffix_that_means_nothing(tmp_path):
    with pytest.raises(files.FileMistake, match=r"\.ndjson, \.jsonl, \.json, \.parquet"):
        files.write(FRAME, tmp_path / "a.txt")


def test_csv_is_written_for_spreadsheets_with_one_header_and_not_read(tmp_path):
    frames = (pl.DataFrame({"a": [n], "b": ["x,y"]}) for n in range(2))
    assert files.write(frames, tmp_path / "a.csv") == 2
    assert (tmp_path / "a.csv").read_text() == 'a,b\n0,"x,y"\n1,"x,y"\n'
    with pytest.raises(files.FileMistake, match="expected a file name that ends in"):
        files.read(tmp_path / "a.csv", SCHEMA)


def test_what_fails_half_way_leaves_the_old_file(path):
    files.write(FRAME, path)
    before = path.read_bytes()

    def broken():
        yield FRAME
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        files.write(broken(), path, SCHEMA)
    assert path.read_bytes() == before
    assert [child.name for child in path.parent.iterdir()] == [path.name]


def test_a_pipe_is_written_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe.ndjson"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    files.write(FRAME[:1], pipe)
    assert os.read(reader, 10_000).startswith(b'{"name"')
    os.close(reader)
    assert pipe.is_fifo()


def test_events_are_checked_line_by_line(tmp_path):
    path = tmp_path / "a.ndjson"
    good = {
        "event_id": "1",
        "ts": "2026-01-05T08:00:00Z",
        "user_id": "alex",
        "session_id": "s",
        "document": "a.py",
        "kind": "closed",
    }
    path.write_text("\n".join([json.dumps(good), "{", json.dumps(good | {"kind": "hover"})]))
    read = files.read_events(path)
    assert read.events.schema == events.SCHEMA and read.quarantined.schema == events.QUARANTINE_SCHEMA
    assert read.events.select("event_id", "user_id", "seq", "consent").rows() == [("1", "alex", 0, False)]
    assert read.quarantined["reason"].to_list() == ["malformed_json", "unknown_kind"]
    (tmp_path / "empty.ndjson").touch()
    assert files.read_events(tmp_path / "empty.ndjson").events.schema == events.SCHEMA
