"""The RealHumanEval study: suggestions with decisions in one CSV, saved states of the code in the other."""

from __future__ import annotations

import csv
import gzip
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import gaps_of, good, items, reasons, source, survives

from echo_dagster import events
from echo_dagster.acquisition import importers, realhumaneval
from echo_dagster.acquisition.importers import Event
from echo_dagster.acquisition.records import Bad
from echo_dagster.extraction import gaps
from echo_dagster.extraction.policies import PRESETS

START_MS = 1_706_700_000_000.0
START = datetime(2024, 1, 31, 11, 20, tzinfo=UTC)
PREFIX, SUFFIX = "def sum_product(numbers):\n    total = 0\n    ", "\n    return total\n"
SECRET = "SECRET-SENTINEL"


def suggestion(**fields: Any) -> dict[str, Any]:
    return {
        "programmer_id": 4,
        "prefix_code": PREFIX,
        "suffix_code": SUFFIX,
        "suggestion": "for n in numbers:\n        total += n",
        "logprobs": f"{{'{SECRET}': -0.5}}",
        "accepted": 1,
        "timestamp": START_MS,
        "model": "CodeLlama7b",
        "task_name": "sum_product",
        "requested": False,
        **fields,
    }


def history(*states: tuple[Any, Any], task: Any = "sum_product") -> str:
    columns = {
        "code": {str(n): code for n, (_, code) in enumerate(states)},
        "times": {str(n): stamp for n, (stamp, _) in enumerate(states)},
        "task_name": {str(n): task for n in range(len(states))},
        "time_gaps": {str(n): 0 for n in range(len(states))},
    }
    return json.dumps(columns)


def write(tmp_path: Path, *lines: dict[str, Any], name: str = "autocomplete_data.csv") -> Path:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(lines[0]))
    writer.writeheader()
    writer.writerows(lines)
    path = tmp_path / name
    content = text.getvalue().encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


def test_a_suggestion_and_the_decision(tmp_path):
    found = good(
        write(tmp_path, suggestion(), suggestion(accepted=0, timestamp=START_MS + 1500.5)), "realhumaneval"
    )
    shown, accepted, again, rejected = found
    assert [(event["kind"], event["seq"], event["reason"]) for event in found] == [
        ("shown", 0, None),
        ("accepted", 1, None),
        ("shown", 0, None),
        ("rejected", 1, None),
    ]
    assert (shown["ts"], accepted["ts"]) == (START, START)
    assert (rejected["ts"] - START).total_seconds() == 1.5005
    names = (
        "user_id",
        "session_id",
        "document",
        "language",
        "model",
        "prefix",
        "suffix",
        "offset",
        "length",
        "text",
    )
    assert tuple(shown[name] for name in names) == (
        "4",
        "realhumaneval",
        "sum_product.py",
        "python",
        "CodeLlama7b",
        PREFIX,
        SUFFIX,
        len(PREFIX),
        0,
        "for n in numbers:\n        total += n",
    )
    assert shown["completion_id"] == accepted["completion_id"] != again["completion_id"]
    # the first record begins in line 2; its texts hold five line breaks
    assert [event["line"] for event in found] == [2, 2, 8, 8]


def test_what_may_be_cut_has_no_offset(tmp_path):
    whole = suggestion(prefix_code="x" * 4000, suffix_code="y" * 1999)
    cut = suggestion(prefix_code="x" * 4000, suffix_code="y" * 2000)
    astral = suggestion(prefix_code="😀" * 2500, suffix_code="y" * 999)
    found = good(write(tmp_path, whole, cut, astral), "realhumaneval")
    assert [event["offset"] for event in found if event["kind"] == "shown"] == [4000, None, 5000]


def test_seconds_count_from_the_day_in_the_name(tmp_path):
    line = suggestion(timestamp=61.5)
    (shown, _) = good(write(tmp_path, line, name="2024-02-01.csv"), "realhumaneval")
    assert shown["ts"] == datetime(2024, 2, 1, 0, 1, 1, 500_000, tzinfo=UTC)
    assert reasons(write(tmp_path, line), "realhumaneval") == [(2, "bad_timestamp")]


def test_saved_states(tmp_path):
    states = [(START_MS, "a\n"), (START_MS + 15_000, "ab\n"), (START_MS + 35 * 60_000, "ab\n")]
    path = write(
        tmp_path,
        {"programmer_id": 4, "code_history": history(*states), "comment": SECRET},
        name="study_data.csv",
    )
    found = good(path, "realhumaneval")
    assert [(event["kind"], event["prefix"], event["suffix"], event["reason"]) for event in found] == [
        ("snapshot", "a\n", "", None),
        ("snapshot", "ab\n", "", None),  # the third state was added by the study
    ]
    assert [event["ts"] for event in found] == [START, START.replace(second=15)]
    assert {(event["user_id"], event["document"]) for event in found} == {("4", "sum_product.py")}


def test_both_files_together_give_the_final_code(tmp_path):
    after = PREFIX + "for n in numbers:\n        total += n * 2" + SUFFIX
    one = write(tmp_path, suggestion())
    other = write(
        tmp_path,
        {"programmer_id": 4, "code_history": history((START_MS + 15_000, after))},
        name="study_data.csv",
    )
    found = [
        item.row
        for path in (one, other)
        for item in importers.checked(path, source("realhumaneval"), lambda user: user)
        if isinstance(item, Event)
    ]
    (gap,) = gaps.extract_frame(events.frame(found), PRESETS["echo"]).to_dicts()
    assert (gap["final"], gap["outcome"]) == ("for n in numbers:\n        total += n * 2", "accepted")
    assert gap["n_edits"] == 1


def test_a_later_suggestion_shows_what_was_written(tmp_path):
    later = suggestion(accepted=0, timestamp=START_MS + 20_000, prefix_code=PREFIX + "total = sum(numbers)")
    lines = (suggestion(accepted=0), later)
    found = gaps_of(write(tmp_path, *lines), "realhumaneval")
    assert found["final"][0] == "total = sum(numbers)" and found["outcome"][0] == "rejected_then_written"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"accepted": "maybe"}, "wrong_type"),
        ({"accepted": ""}, "wrong_type"),
        ({"timestamp": "soon"}, "bad_timestamp"),
        ({"timestamp": "nan"}, "bad_timestamp"),
        ({"timestamp": "-5"}, "bad_timestamp"),
        ({"timestamp": "9" * 30}, "bad_timestamp"),
        ({"programmer_id": ""}, "missing_field"),
    ],
)
def test_records_that_give_no_events_are_named(tmp_path, fields, reason):
    path = write(tmp_path, suggestion(), suggestion(**fields), suggestion(timestamp=START_MS + 9))
    assert set(reasons(path, "realhumaneval")) == {(8, reason)}
    assert {item.line for item in items(path, "realhumaneval")} == {2, 8, 14}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("{", "malformed_json"),
        ("[1]", "missing_field"),
        ('{"code": {}, "times": {}}', "missing_field"),
        (history((START_MS, None)), "wrong_type"),
        (history((START_MS, "a"), task=7), "wrong_type"),
        (history(("x", "a")), "bad_timestamp"),
        (history((10**400, "a"), (1.5, "a")), "bad_timestamp"),
    ],
)
def test_histories_that_give_no_events_are_named(tmp_path, value, reason):
    path = write(tmp_path, {"programmer_id": 4, "code_history": value}, name="study_data.csv")
    assert set(reasons(path, "realhumaneval")) == {(2, reason)}


def test_damaged_files(tmp_path):
    path = tmp_path / "a.csv"
    header = ",".join(suggestion()) + "\r\n"
    row = "4,p,s,x,{},1,1706700000000,m,t,False\r\n"

    def found(content: str | bytes) -> list[tuple[int, str]]:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return reasons(path, "realhumaneval")

    assert found("") == []
    assert found(header) == []
    assert found("a,b\r\n1,2\r\n") == [(1, "missing_column")]
    assert found("\r\na,b\r\n1,2\r\n") == [(2, "missing_column")]
    assert found(header + "1,2\r\n" + row) == [(2, "wrong_columns")]
    assert found(header + row + '4,"p') == [(3, "truncated_file")]
    assert found(header + '4,"p"x,s\r\n' + row) == [(2, "malformed_csv")]
    assert found((header + row + row).encode().replace(b"4,p", b"4,\xff", 1)) == [(2, "bad_encoding")]
    assert found(b"\xef\xbb\xbf" + (header + "\r\n" + row).encode()) == []
    path.write_bytes(b"no gzip")
    path.rename(tmp_path / "a.csv.gz")
    assert reasons(tmp_path / "a.csv.gz", "realhumaneval") == [(1, "unreadable_file")]


def test_a_field_longer_than_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(realhumaneval, "MAX_LINE_BYTES", 1000)
    path = write(tmp_path, suggestion(prefix_code="x" * 5000), suggestion())
    try:
        assert reasons(path, "realhumaneval")[0] == (2, "malformed_csv")
        assert {item.line for item in items(path, "realhumaneval") if isinstance(item, Event)} != set()
    finally:
        csv.field_size_limit(131_072)


def test_compressed_and_again(tmp_path):
    first = good(write(tmp_path, suggestion(), suggestion(accepted=0), name="a.csv.gz"), "realhumaneval")
    again = good(write(tmp_path, suggestion(accepted=0), suggestion(), name="b.csv"), "realhumaneval")
    assert {event["event_id"] for event in first} == {event["event_id"] for event in again}


def test_what_is_not_read_stays_behind(tmp_path):
    study = {"programmer_id": 4, "code_history": history((START_MS, "a")), "worker": SECRET}
    told = repr(items(write(tmp_path, suggestion()), "realhumaneval"))
    told += repr(items(write(tmp_path, study, name="study.csv"), "realhumaneval"))
    told += repr(items(write(tmp_path, study | {"code_history": SECRET}, name="study.csv"), "realhumaneval"))
    assert SECRET not in told


def test_damage_is_quarantined(tmp_path):
    content = write(
        tmp_path, suggestion(), suggestion(accepted=0), suggestion(timestamp=START_MS + 5)
    ).read_bytes()
    met = survives(content, tmp_path / "a.csv", "realhumaneval")
    assert met >= {"wrong_columns", "truncated_file", "missing_column"}
    study = {"programmer_id": 4, "code_history": history((START_MS, "a"), (START_MS + 1, "b"))}
    content = write(tmp_path, study, name="study.csv").read_bytes()
    assert "malformed_json" in survives(content, tmp_path / "b.csv", "realhumaneval")


@given(st.sampled_from([*suggestion()]), st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_in_any_column(tmp_path_factory, name, value):
    path = write(tmp_path_factory.mktemp("r"), suggestion(**{name: value}), suggestion())
    found = items(path, "realhumaneval", user="sam")
    assert all(isinstance(item, Event | Bad) for item in found)
    assert len({item.line for item in found}) == 2
