"""Reading in columns says what reading line by line says, but for what docs/importing/native.md lists."""

from __future__ import annotations

import gzip
import json
import random
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from test_native import SOURCE, line, ndjson

from echo_dagster import events
from echo_dagster.acquisition import importers
from echo_dagster.acquisition import ndjson as columns
from echo_dagster.acquisition.records import Bad, Record
from echo_dagster.resources import sql

NAMED = SOURCE.model_copy(
    update={"user": "sam", "model": "m", "repository": "r", "cohort": "c", "consent": False}
)

SHOWN = {
    "kind": "shown",
    "completion_id": "c",
    "offset": 4,
    "length": 1,
    "text": "new",
    "prefix": "é😀a",
    "suffix": "bc",
    "latency_ms": 120,
}
KINDS = [
    line(1),
    line(2, **SHOWN),
    line(3, kind="accepted", completion_id="c"),
    line(4, kind="rejected", completion_id="c", reason="dismissed"),
    line(5, kind="cursor", offset=3, length=0),
    line(6, kind="snapshot", prefix="abc", suffix=None),
    line(7, kind="snapshot", reason="request", offset=9, prefix="abc", suffix=""),
    line(8, kind="closed"),
]
ODD: list[Any] = [
    None,
    True,
    False,
    0,
    7,
    -1,
    1.5,
    1e3,
    2**53 + 1,
    2**63,
    -(2**63),
    10**400,
    "",
    "7",
    "-7",
    "07",
    "1.5",
    "true",
    "no",
    "x",
    "é",
    "😀",
    "\ud83d",
    "\x00",
    "{}",
    "[]",
    "[1]",
    '{"a": 1}',
    "[1",
    "{",
    {},
    [],
    {"a": "b"},
    ["x"],
    "typing",
    "dismissed",
    "request",
    "edited",
    "2026-01-05T08:00:00Z",
    "2026-01-05T08:00:00.123456789Z",
    "2026-01-05T10:00:00+02:00",
    "2026-01-05 08:00:00Z",
    "2026-01-05T08:00:00",
    "2026-01-05T 8:00:00Z",
    "2026-02-30T08:00:00Z",
    "2026-01-05T08:00:60Z",
    "2026-1-5T8:00:00Z",
    "2024-01-05T08:00:00Z",
    "epoch",
    "infinity",
    "2026-01-05T08:00:00+0200",
    "2026-01-05T08:00:00z",
    "20260105T080000Z",
    "2026-01-05T08:00Z",
    "0001-01-01T00:00:00+10:00",
    "9999-12-31T23:59:59-10:00",
]


def both(path: Path, source: Any = SOURCE, day: date | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return what is read in columns, after comparing it with what is read line by line."""

    def read() -> tuple[pl.DataFrame, pl.DataFrame]:
        found = list(importers.batches(path, source, lambda user: f"<{user}>", day))
        if not found:
            return events.frame([]), pl.DataFrame()
        good, bad = pl.concat([good for good, _ in found]), pl.concat([bad for _, bad in found])
        return (good, bad) if day is None else (good.sort(good.columns), bad.sort("line", "reason"))

    quick = read()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "is_readable", lambda path: False)
        slow = read()
    for frames in zip(quick, slow, strict=True):
        of_columns, of_lines = (frame.drop("detail", strict=False) for frame in frames)
        differing = [
            (one, other)
            for one, other in zip(of_columns.iter_rows(), of_lines.iter_rows(), strict=False)
            if one != other
        ]
        assert not differing[:1] and of_columns.equals(of_lines)
    return quick


@pytest.mark.parametrize("source", [SOURCE, NAMED])
def test_every_kind_with_every_odd_value_in_every_field(tmp_path, source):
    path = tmp_path / "a.ndjson"
    lines = [
        json.dumps({**record, name: value}).encode() + b"\n"
        for record in KINDS
        for name in events.SCHEMA
        for value in ODD
    ]
    path.write_bytes(b"".join(lines))
    good, bad = both(path, source, date(2026, 1, 5))
    assert good.height + bad.height == len(lines)
    assert {*bad["reason"]} == {
        "bad_timestamp",
        "impossible_latency",
        "impossible_offset",
        "missing_field",
        "unknown_kind",
        "unknown_reason",
        "wrong_day",
        "wrong_type",
    }


def test_every_kind_is_read_in_columns(tmp_path):
    path = tmp_path / "a.ndjson"
    path.write_bytes(ndjson(*KINDS))
    ((good, doubtful),) = columns.batches(path, SOURCE, *importers.bounds(None), is_ordered=True)
    assert (good.height, doubtful) == (len(KINDS), [])


def test_the_query_knows_every_reason():
    query = sql("native_events")
    for reason in (*events.KINDS, *events.EDIT_REASONS, *events.REJECTION_REASONS, *events.SNAPSHOT_REASONS):
        assert f"'{reason}'" in query, reason


def mutated(dice: random.Random, text: bytes) -> bytes:
    at = dice.randrange(len(text) + 1)
    odd = dice.choice([b'"', b"\\", b"{", b"}", b",", b"\n", b"\r", b"\xff", b"\x00", b"  "])
    name = dice.choice(list(events.SCHEMA)).encode()
    alone = (b"", b"  ", b"\t\r", b"\xef\xbb\xbf" + text, b"[" + text + b"]", b"null", b"\x0c")
    ways = (
        text[:at] + bytes([dice.randrange(256)]) + text[at + 1 :],
        text[:at] + text[at + dice.randrange(1, 9) :],
        text[:at] + odd + text[at:],
        text[:at],
        text + b" " + text,
        text.replace(b'"' + name + b'":', b'"%s": 1, "%s":' % (b"q" + name, name), 1),
        dice.choice(alone),
    )
    return dice.choice(ways)


def test_mutated_files(tmp_path):
    dice = random.Random(23)
    path = tmp_path / "a.ndjson"
    for _ in range(60):
        lines = [
            json.dumps({**dice.choice(KINDS), "event_id": str(n)}, ensure_ascii=dice.random() < 0.5).encode()
            for n in range(40)
        ]
        for _ in range(dice.randrange(12)):
            at = dice.randrange(len(lines))
            lines[at] = mutated(dice, lines[at]).replace(b",}", b"}")  # which DuckDB takes
        content = b"\n".join(lines) + b"\n" * dice.randrange(3)
        path.write_bytes(content)
        good, bad = both(path, SOURCE, date(2026, 1, 5))
        assert good.height + bad.height == sum(1 for some in content.split(b"\n") if some.strip())


def test_bad_lines_stand_after_the_event_before_them(tmp_path, monkeypatch):
    monkeypatch.setattr(columns, "_BATCH_ROWS", 2)
    monkeypatch.setattr(columns, "_LEAST_ROWS", 2)
    path = tmp_path / "a.ndjson"
    times = ["2026-01-05T08:00:00Z", "2026-01-05T09:00:00Z"]
    path.write_bytes(
        ndjson(
            b"{\n", b"{\n", line(1, ts=times[0]), b"{\n", b"\n", b"{\n", b"{\n", line(2, ts=times[1]), b"{\n"
        )
    )
    good, bad = both(path)
    assert good["event_id"].to_list() == ["e1", "e2"]
    assert bad["line"].to_list() == [1, 2, 4, 6, 7, 9]
    assert [ts and ts.hour for ts in bad["after"]] == [None, None, 8, 8, 8, 9]


def test_what_cannot_be_read_in_columns_is_read_line_by_line(tmp_path, monkeypatch):
    monkeypatch.setattr(columns, "_LONGEST_LINE", 100_000)
    path = tmp_path / "a.ndjson"
    long = line(1, text="x" * 3_000_000)
    path.write_bytes(
        ndjson(*[line(n) for n in range(5)], b"\n", long, *[line(n) for n in range(5, 9)], b"{\n")
    )
    good, bad = both(path)
    assert good.height == 10 and bad["line"].to_list() == [12]


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_compressed_whole_cut_and_damaged(tmp_path, codec):
    path = tmp_path / f"a.ndjson{'.gz' if codec == 'gzip' else '.zst'}"
    content = ndjson(*[line(n, text=str(n * 7919)) for n in range(20_000)])
    whole = gzip.compress(content) if codec == "gzip" else pa.compress(content, codec="zstd", asbytes=True)
    path.write_bytes(whole)
    good, bad = both(path)
    assert (good.height, bad.height) == (20_000, 0)
    half = len(whole) // 2
    for damaged in (
        whole[:half],
        whole[:half] + bytes(100) + whole[half + 100 :],
        whole[:half] + whole[:half],
    ):
        path.write_bytes(damaged)
        good, bad = both(path)
        assert {"truncated_file", "unreadable_file", "malformed_json"} & {*bad["reason"]}
        assert 5_000 < good.height < 20_000
    path.write_bytes(whole[:half])
    assert both(path)[1]["reason"].to_list() == ["truncated_file"]


def test_a_name_that_looks_like_a_pattern(tmp_path):
    folder = tmp_path / "a[1]*?"
    folder.mkdir()
    (folder / "b*.ndjson").write_bytes(ndjson(line(1)))
    (folder / "bc.ndjson").write_bytes(ndjson(line(2)))
    good, _ = both(folder / "b*.ndjson")
    assert good["event_id"].to_list() == ["e1"]


@pytest.mark.parametrize("day", [None, date(2026, 1, 5)])
def test_a_file_that_grows_while_it_is_read(tmp_path, day):
    """Its last line is cut short when it is read first, and whole when its lines are read again."""
    path = tmp_path / "a.ndjson"
    whole = ndjson(line(1), b"{\n", line(2))
    path.write_bytes(whole[:-20])
    reading = columns.batches(path, SOURCE, *importers.bounds(day), is_ordered=day is None)
    found = []
    for good, doubtful in reading:
        found += [*good["event_id"], *[item for _, item in doubtful]]
        path.write_bytes(whole + ndjson(line(3)))
    assert found[0] == "e1" and len(found) == 3
    assert isinstance(found[1], Bad) and found[1].line == 2
    if day:
        assert isinstance(found[2], Record) and found[2].fields["event_id"] == "e2"
    else:
        assert found[2] == Bad(3, "truncated_file", "the last line ends early")


@pytest.mark.parametrize("day", [None, date(2026, 1, 5)])
def test_a_file_that_is_rewritten_while_it_is_read_fails(tmp_path, day):
    path = tmp_path / "a.ndjson"
    path.write_bytes(ndjson(*[line(1)] * 1000, b"{\n", b"{\n", b"{\n"))
    with pytest.raises(RuntimeError, match="was rewritten while it was read"):
        if day is None:
            columns._at(path, iter([]), [0])
        for _ in columns.batches(path, SOURCE, *importers.bounds(day), is_ordered=False):
            path.write_bytes(ndjson(line(1)))
