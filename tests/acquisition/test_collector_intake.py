"""What a body becomes: lines that `raw_events` reads as the same events, and refusals that it quarantines."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_native import line, ndjson

from echo_dagster import events
from echo_dagster.acquisition import importers
from echo_dagster.acquisition.collector_intake import MAX_OBJECTS, BadBody, Days, Taken, native, take
from echo_dagster.acquisition.records import Bad, Record
from echo_dagster.settings import Source

DAY = date(2026, 1, 5)  # that of `line`
DAYS = Days(first=date(2026, 1, 1), last=date(2026, 1, 6), today=date(2026, 1, 6))
SOURCE = Source(name="team", importer="native", path="*", consent=True)


def pseudonym(user: str) -> str:
    return user if user.startswith("u_") else f"u_{user}"


def taken(
    body: bytes, *, is_json: bool = False, user: str | None = None, days: Days = DAYS, **other: Any
) -> Taken:
    told = {"expand": native, "pseudonym": pseudonym, **other}
    return take(body, is_json=is_json, user=user, days=days, **told)


def reread(found: Taken, folder: Path) -> list[importers.Event | Bad]:
    """What the native importer makes of the lines."""
    items: list[importers.Event | Bad] = []
    for day, data in sorted(found.lines.items()):
        file = folder / f"{day}.ndjson"
        file.write_bytes(data)
        items += importers.checked(file, SOURCE, pseudonym)
    return items


def test_an_event_is_written_with_the_columns_of_the_log_and_a_pseudonym():
    found = taken(ndjson(line(1, clipboard="SECRET", text="é𝔸\n", ts="2026-01-05T09:00:00+01:00")))
    assert (found.events, found.ignored, found.refused) == (1, 0, ())
    assert json.loads(found.lines[DAY]) == {
        "event_id": "e1",
        "ts": "2026-01-05T08:00:00+00:00",
        "seq": 1,
        "user_id": "u_alex",
        "session_id": "s",
        "document": "a.py",
        "kind": "edited",
        "offset": 0,
        "length": 0,
        "text": "é𝔸\n",
    }


def test_lines_an_array_and_one_object_are_the_same():
    first, second = line(1), line(2)
    as_lines = taken(ndjson(first, second))
    for body, is_json in (
        (json.dumps([first, second]).encode(), False),
        (json.dumps([first, second], indent=2).encode(), True),
        (b"\xef\xbb\xbf" + ndjson(first, b"\n", second).rstrip(), False),
    ):
        assert taken(body, is_json=is_json) == as_lines
    assert taken(json.dumps(first, indent=1).encode(), is_json=True) == taken(ndjson(first))


@pytest.mark.parametrize("body", [b"", b"\n \n", b"[]"])
def test_nothing_is_nothing(body):
    assert taken(body) == Taken({}, 0, 0, ())


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (b"{bad\n", "malformed_json"),
        (b"7\n", "malformed_json"),
        (b'{"offset": NaN}\n', "malformed_json"),
        (b"[" * 100_000 + b"\n", "malformed_json"),
        (b'{"text": "\xff"}\n', "bad_encoding"),
        (ndjson(line(9, text=["SECRET"])), "wrong_type"),
        (ndjson(line(9, user_id=["alex"])), "wrong_type"),
        (ndjson(line(9, text="\ud800")), "wrong_type"),
        (ndjson(line(9, text=None)), "missing_field"),
        (ndjson(line(9, user_id="")), "missing_field"),
        (ndjson(line(9, ts="2026-01-05T08:00:00")), "bad_timestamp"),
        (ndjson(line(9, kind="hover")), "unknown_kind"),
        (ndjson(line(9, reason="SECRET")), "unknown_reason"),
        (ndjson(line(9, offset=-1)), "impossible_offset"),
        (ndjson(line(9, ts="2025-12-31T23:59:59Z")), "wrong_day"),
        (ndjson(line(9, ts="2026-01-07T00:00:00Z")), "wrong_day"),
    ],
)
def test_a_refusal_is_told_and_quarantined_with_the_same_reason_and_the_rest_is_kept(tmp_path, wrong, reason):
    found = taken(ndjson(line(1), wrong, line(2)))
    assert found.events == 2
    assert [(bad.line, bad.reason) for bad in found.refused] == [(2, reason)]
    assert b"SECRET" not in b"".join(found.lines.values())
    items = reread(found, tmp_path)
    assert sorted(item.row[0] for item in items if isinstance(item, importers.Event)) == ["e1", "e2"]
    assert [(item.reason, item.detail) for item in items if isinstance(item, Bad)] == [
        (reason, found.refused[0].detail)
    ]


def test_an_event_goes_to_its_own_day_and_a_refusal_to_today():
    found = taken(
        ndjson(line(1, ts="2026-01-05T23:59:59.999999Z"), line(2, ts="2026-01-05T19:00:00-05:00"), b"{\n"),
        days=Days(first=date(2026, 1, 1), last=date(2026, 1, 8), today=date(2026, 1, 7)),
    )
    assert {day: len(data.splitlines()) for day, data in found.lines.items()} == {
        date(2026, 1, 5): 1,
        date(2026, 1, 6): 1,
        date(2026, 1, 7): 1,
    }


@pytest.mark.parametrize("given_user", [None, ""])
def test_the_token_says_whose_event_it_is_where_the_event_does_not(given_user):
    found = taken(ndjson(line(1, user_id=given_user), line(2)), user="kim")
    assert [json.loads(item)["user_id"] for item in found.lines[DAY].splitlines()] == ["u_kim", "u_alex"]


def test_consent_and_cohort_are_left_to_the_source_unless_the_event_says(tmp_path):
    said, unsaid = reread(
        taken(ndjson(line(1, consent=False, cohort="beta", source="tool"), line(2))), tmp_path
    )
    columns = list(events.SCHEMA)
    for item, wanted in ((said, ("tool", "beta", False)), (unsaid, ("team", None, True))):
        assert isinstance(item, importers.Event)
        assert tuple(item.row[columns.index(name)] for name in ("source", "cohort", "consent")) == wanted


def test_one_object_can_be_several_events_or_none():
    def expand(record: Record, _):
        number = record.fields["n"]
        yield from (Record(record.line, line(number * 10 + i)) for i in range(number))

    found = taken(ndjson({"n": 2}, {"n": 0}, {"n": 1}), expand=expand)
    assert (found.events, found.ignored) == (3, 1)


@pytest.mark.parametrize(
    ("body", "is_json", "reason"),
    [
        (b"{bad", True, "malformed_json"),
        (b"[1, 2", False, "malformed_json"),
        (b"[\xff]", False, "bad_encoding"),
        (b"", True, "malformed_json"),
        (b"\n" * (MAX_OBJECTS + 1), False, "too_many_events"),
        (b"[" + b"0," * MAX_OBJECTS + b"0]", False, "too_many_events"),
    ],
)
def test_a_body_of_which_nothing_can_be_taken(body, is_json, reason):
    with pytest.raises(BadBody) as error:
        taken(body, is_json=is_json)
    assert error.value.reason == reason


def test_an_event_that_no_importer_would_read_is_refused(monkeypatch):
    monkeypatch.setattr("echo_dagster.acquisition.collector_intake.MAX_LINE_BYTES", 1000)
    found = taken(ndjson(line(1, text="x" * 1000), line(2)))
    assert [(bad.line, bad.reason) for bad in found.refused] == [(1, "line_too_long")]


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(), max_size=20),
    st.lists(st.text(max_size=3), max_size=2),
)


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from([*events.SCHEMA, "other"]), VALUES, max_size=4), st.data())
def test_whatever_is_taken_is_read_as_the_same_event(tmp_path_factory, changes, data):
    """What the collector accepts, ingestion accepts, with the same values; what it refuses is quarantined."""
    kind = data.draw(st.sampled_from(events.KINDS))
    offered = {**line(1, kind=kind, completion_id="c", prefix="", suffix="ab"), **changes}
    try:
        body = json.dumps(offered, allow_nan=False).encode()
    except ValueError:
        body = b'{"offset": Infinity}'
    found = taken(body, user=data.draw(st.sampled_from([None, "kim"])))
    (item,) = reread(found, tmp_path_factory.mktemp("lines"))
    if isinstance(item, Bad):
        assert [bad.reason for bad in found.refused] == [item.reason]
        return
    assert not found.refused
    (meant,) = native(Record(1, json.loads(body)), None)
    assert isinstance(meant, Record)
    wanted = {**meant.fields, "user_id": pseudonym(meant.fields.get("user_id") or "kim")}
    unsaid = {"source": SOURCE.name, "consent": SOURCE.consent}
    defaults = {name: value for name, value in unsaid.items() if wanted.get(name) is None}
    assert item.row == events.to_row({**wanted, **defaults})
