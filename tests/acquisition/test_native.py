"""The experience log as a file: nothing is lost, and what is bad is named, whatever the bytes are."""

from __future__ import annotations

import gzip
import io
import json
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_dagster import events
from echo_dagster.acquisition import importers, native
from echo_dagster.acquisition.records import Bad, Record
from echo_dagster.settings import Source

SOURCE = Source(name="team", importer="native", path="*", consent=True)


def line(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "event_id": f"e{number}",
        "ts": "2026-01-05T08:00:00Z",
        "seq": number,
        "user_id": "alex",
        "session_id": "s",
        "document": "a.py",
        "kind": "edited",
        "offset": 0,
        "length": 0,
        "text": "x",
        **fields,
    }


def ndjson(*lines: Any) -> bytes:
    return b"".join(text if isinstance(text, bytes) else json.dumps(text).encode() + b"\n" for text in lines)


def read(path: Path, source: Source = SOURCE) -> list[Record | Bad]:
    return list(native.read(path, source))


def reasons(path: Path, source: Source = SOURCE) -> list[tuple[int, str]]:
    return [(item.line, item.reason) for item in read(path, source) if isinstance(item, Bad)]


def lines(path: Path) -> list[int]:
    return [item.line for item in read(path) if isinstance(item, Record)]


@pytest.mark.parametrize("name", ["a.ndjson", "a.jsonl", "a.JSON"])
def test_lines(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(
        b"\xef\xbb\xbf" + ndjson(line(1), b"\n", b"  \r\n", line(2)) + json.dumps(line(3)).encode()
    )
    assert lines(path) == [1, 4, 5]
    assert reasons(path) == []


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"{not json}\n", "malformed_json"),
        (b"[1]\n", "malformed_json"),
        (b"7\n", "malformed_json"),
        (b'{"offset": NaN}\n', "malformed_json"),
        (b'{"offset": -Infinity}\n', "malformed_json"),
        (b'{"offset": ' + b"9" * 5000 + b"}\n", "malformed_json"),
        (b"[" * 100_000 + b"\n", "malformed_json"),
        (b'{"text": "\xff"}\n', "bad_encoding"),
        (b'{"text": "\xed\xa0\xbd"}\n', "bad_encoding"),
    ],
)
def test_a_bad_line_is_named_and_the_rest_goes_on(tmp_path, bad, reason):
    path = tmp_path / "a.ndjson"
    path.write_bytes(ndjson(line(1), bad, line(2)))
    assert reasons(path) == [(2, reason)]
    assert lines(path) == [1, 3]


def test_what_the_collector_refused_has_its_reason(tmp_path):
    path = tmp_path / "a.ndjson"
    refused = {"kind": "refused", "reason": "wrong_type", "detail": "offset is str"}
    odd = [{**refused, **field} for field in ({"reason": "No Code"}, {"detail": 7}, {"detail": "\ud83d"})]
    path.write_bytes(ndjson(refused, *odd))
    found = list(importers.checked(path, SOURCE, lambda user: user))
    assert found[0] == Bad(1, "wrong_type", "offset is str")
    assert [item.reason for item in found[1:] if isinstance(item, Bad)] == ["missing_field"] * 3


def test_a_last_line_cut_short(tmp_path):
    path = tmp_path / "a.ndjson"
    path.write_bytes(ndjson(line(1), line(2))[:-20])
    assert (lines(path), reasons(path)) == ([1], [(2, "truncated_file")])


def test_a_line_too_long_is_passed_over_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("echo_dagster.acquisition.lines.MAX_LINE_BYTES", 1000)
    path = tmp_path / "a.ndjson"
    fits = ndjson(line(1)).rstrip()
    path.write_bytes(
        ndjson(line(1), b"x" * 5000 + b"\n", line(2), fits.ljust(999) + b"\n", fits.ljust(1000) + b"\n")
    )
    assert reasons(path) == [(2, "line_too_long"), (5, "line_too_long")]
    assert lines(path) == [1, 3, 4]
    path.write_bytes(b"x" * 5000)
    assert reasons(path) == [(1, "line_too_long")]


@pytest.mark.parametrize("name", ["a.ndjson", "a.ndjson.gz"])
def test_an_empty_file_has_no_events_and_no_error(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(b"") if name.endswith("gz") else b"")
    assert read(path) == []


def test_gzip_whole_cut_short_and_damaged(tmp_path):
    path = tmp_path / "a.ndjson.gz"
    content = ndjson(*[line(number, text=f"{number * 7919 % 1009}") for number in range(5000)])
    packed = gzip.compress(content)
    path.write_bytes(packed)
    assert len(lines(path)) == 5000
    path.write_bytes(packed[: len(packed) // 2])
    found = lines(path)
    assert found == list(range(1, len(found) + 1)) and 1000 < len(found) < 5000
    assert reasons(path) == [(len(found) + 1, "truncated_file")]
    path.write_bytes(packed[:1000] + bytes(200) + packed[1200:])
    assert [reason for _, reason in reasons(path)][-1] in ("unreadable_file", "truncated_file")
    path.write_bytes(content)
    assert reasons(path) == [(1, "unreadable_file")]


def test_a_file_of_another_kind(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"a,b\n")
    assert reasons(tmp_path / "a.csv") == [(0, "unknown_file_type")]
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.ndjson")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.parquet")


def test_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(ndjson(line(1), b"{\n"))))
    assert [type(item) for item in read(Path("-"))] == [Record, Bad]


class TestParquet:
    def test_rows(self, tmp_path):
        path = tmp_path / "a.parquet"
        ts = datetime(2026, 1, 5, 8, tzinfo=UTC)
        pl.DataFrame([line(number, ts=ts, extra=1) for number in range(5000)]).write_parquet(path)
        found = list(importers.checked(path, SOURCE, lambda user: user))
        assert [item.line for item in found] == list(range(1, 5001))
        assert found[0].row == events.to_row(line(0, consent=True, source="team"))

    def test_a_row_of_the_wrong_type_is_bad_alone(self, tmp_path):
        path = tmp_path / "a.parquet"
        pl.DataFrame([line(1), line(2) | {"ts": "yesterday"}, line(3)]).write_parquet(path)
        found = list(importers.checked(path, SOURCE, lambda user: user))
        assert [type(item) for item in found] == [importers.Event, Bad, importers.Event]

    @pytest.mark.parametrize("unit", ["ms", "us", "ns"])
    def test_times_outside_the_calendar(self, tmp_path, unit):
        path = tmp_path / "a.parquet"
        rows = [line(number, ts=datetime(2026, 1, 5, 8, tzinfo=UTC)) for number in range(4)]
        ts = pl.col("ts").cast(pl.Datetime(unit, "UTC"))
        far = pl.lit(2**62 if unit != "ns" else None).cast(pl.Datetime(unit, "UTC"))
        is_third = pl.int_range(pl.len()) == 2
        pl.DataFrame(rows).with_columns(pl.when(is_third).then(far).otherwise(ts).alias("ts")).write_parquet(
            path
        )
        found = list(importers.checked(path, SOURCE, lambda user: user))
        assert [item.line for item in found if isinstance(item, importers.Event)] == [1, 2, 4]
        reason = "missing_field" if unit == "ns" else "bad_timestamp"
        assert [(item.line, item.reason) for item in found if isinstance(item, Bad)] == [(3, reason)]

    @pytest.mark.parametrize("name", ["seq", "text", "offset", "model"])
    @pytest.mark.parametrize("kind", [pl.Datetime("ms", "UTC"), pl.Duration("ms"), pl.Date(), pl.Time()])
    def test_times_where_none_belong(self, tmp_path, name, kind):
        path = tmp_path / "a.parquet"
        value = pl.lit(-(2**31)) if kind == pl.Date() else pl.lit(2**62 if kind != pl.Time() else 7)
        pl.DataFrame([line(1)]).with_columns(value.cast(kind).alias(name)).write_parquet(path)
        found = list(importers.checked(path, SOURCE, lambda user: user))
        assert [item.reason for item in found if isinstance(item, Bad)] == ["wrong_type"]

    def test_texts_that_are_no_text(self, tmp_path):
        path = tmp_path / "a.parquet"
        table = pl.DataFrame([line(1)]).to_arrow()
        damaged = pa.array([b"\xff\xfe"]).view(pa.string())
        pq.write_table(table.set_column(table.column_names.index("text"), "text", damaged), path)
        assert reasons(path) == [(1, "unreadable_file")]

    def test_columns_that_are_missing(self, tmp_path):
        path = tmp_path / "a.parquet"
        pl.DataFrame([line(1)]).drop("ts", "user_id").write_parquet(path)
        assert read(path) == [Bad(0, "missing_column", "ts, user_id")]
        assert reasons(path, SOURCE.model_copy(update={"user": "alex"})) == [(0, "missing_column")]
        pl.DataFrame([line(1)]).drop("user_id").write_parquet(path)
        assert reasons(path, SOURCE.model_copy(update={"user": "alex"})) == []

    def test_damage(self, tmp_path):
        path = tmp_path / "a.parquet"
        pl.DataFrame([line(number, text=str(number * 7919)) for number in range(9000)]).write_parquet(path)
        whole = path.read_bytes()
        for content in (b"", b"PAR1", whole[: len(whole) // 2], b"x" * len(whole)):
            path.write_bytes(content)
            assert reasons(path) == [(1, "unreadable_file")]
        path.write_bytes(whole[:100] + bytes(1000) + whole[1100:])
        found = read(path)
        assert isinstance(found[-1], Bad) and found[-1].reason == "unreadable_file"


_GOOD = [json.dumps(line(number)).encode() for number in range(6)]


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 200), st.one_of(st.none(), st.binary(max_size=4))),
        max_size=8,
    )
)
def test_any_bytes_are_conserved(tmp_path_factory, mutations):
    """Every line that is not blank is one event or one bad line; the untouched ones are all events."""
    found = list(_GOOD)
    for number, at, new in mutations:
        old = found[number]
        found[number] = old[:at] if new is None else old[:at] + new + old[at + len(new) :]
    content = b"\n".join(found) + b"\n"
    path = tmp_path_factory.mktemp("n") / "a.ndjson"
    path.write_bytes(content)
    split = content.split(b"\n")
    kept, bad = 0, Counter[int]()
    for item in importers.checked(path, SOURCE, lambda user: user):
        if isinstance(item, Bad):
            bad[item.line] += 1
        else:
            kept += 1
            assert json.loads(split[item.line - 1])["event_id"] == item.row[0]
    assert kept + bad.total() == sum(bool(text.strip()) for text in split)
    assert all(split[number - 1] not in _GOOD for number in bad)


def test_the_cups_study(shared_data):
    (frame, bad), *rest = importers.batches(
        shared_data / "cups" / "events.ndjson.gz", SOURCE, lambda user: user
    )
    assert not rest
    assert dict(frame["kind"].value_counts().iter_rows()) == {"shown": 657, "accepted": 224, "rejected": 429}
    assert bad.height == 0
    assert frame["source"].unique().to_list() == ["cups"]
    assert frame.filter(pl.col("kind") == "shown")["suffix"].null_count() > 0
