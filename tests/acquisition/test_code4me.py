"""Code4Me's dumped tables: proposals, acceptances and later looks at them, joined whatever the order of the tables."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import gaps_of, good, items, reasons, rows, survives

from echo_dagster.acquisition import code4me_dump
from echo_dagster.acquisition.importers import Event
from echo_dagster.acquisition.records import Bad

SECRET = "EMAIL-SENTINEL@example.org"
PREFIX = "import math\n\n\ndef circumference(radius):\n    return "
SUFFIX = "\n\n\nprint(circumference(3))\nprint(circumference(4))\n"
HEAD, TAIL = PREFIX[-32:], SUFFIX[:32]


def copied(table: str, columns: str, *rows: tuple[object, ...]) -> str:
    """A block as `pg_dump` writes it; values stand as they are."""
    lines = "".join("\t".join(map(str, row)) + "\n" for row in rows)
    return f"COPY public.{table} ({columns}) FROM stdin;\n{lines}\\.\n"


def escaped(text: str) -> str:
    return text.replace("\n", "\\n")


ACCOUNT = copied('"user"', "user_id, email, name", ("u-1", SECRET, "Sam Sentinel"))
CONTEXTS = copied(
    "context",
    "context_id, prefix, suffix, file_name, selected_text",
    ("c-1", escaped(PREFIX), escaped(SUFFIX), "circle.py", r"\N"),
    ("c-2", r"\N", r"\N", "circle.py", r"\N"),
)
QUERIES = copied(
    "meta_query",
    "meta_query_id, user_id, contextual_telemetry_id, behavioral_telemetry_id, context_id, session_id, project_id, "
    'multi_file_context_changes_indexes, "timestamp", total_serving_time, server_version_id, query_type',
    (
        "q-1",
        "u-1",
        "t-1",
        r"\N",
        "c-1",
        "s-1",
        "p-1",
        "{}",
        "2026-01-05 08:00:00.25+00",
        120,
        1,
        "completion",
    ),
)
GENERATIONS = copied(
    "had_generation",
    "meta_query_id, model_id, completion, generation_time, shown_at, was_accepted, confidence, logprobs",
    ("q-1", 7, "2 * math.pi * radius", 100, '{"2026-01-05 08:00:01+00"}', "t", 0.9, "{-0.1,-0.2}"),
)


def truths(*seen: tuple[str, str]) -> str:
    rows = [("q-1", f"2026-01-05 {time}+00", text) for time, text in seen]
    return copied("ground_truth", "completion_query_id, truth_timestamp, ground_truth", *rows)


def window(text: str) -> str:
    return escaped(HEAD + text + TAIL)


TRUTHS = truths(
    ("08:00:16", window("2 * math.pi * radius")), ("08:01:31", window("2 * math.pi * abs(radius)"))
)
MODELS = copied("model_name", "model_id, model_name, is_instruction_tuned", (7, "starcoder2-3b", "f"))
LANGUAGES = copied("programming_language", "language_id, language_name", (3, "Python"))
UNITS = len(PREFIX + SUFFIX)
TELEMETRY = copied(
    "contextual_telemetry",
    "contextual_telemetry_id, version_id, trigger_type_id, language_id, file_path, caret_line, document_char_length, "
    "relative_document_position",
    ("t-1", 1, 2, 3, "/home/sam-sentinel/app/circle.py", 4, UNITS, len(PREFIX) / UNITS),
)
PREAMBLE = "--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\nSET statement_timeout = 0;\nSELECT 1;\n\n"
ALL = (PREAMBLE, ACCOUNT, CONTEXTS, GENERATIONS, TRUTHS, LANGUAGES, QUERIES, MODELS, TELEMETRY)


def write(tmp_path: Path, *parts: str, name: str = "dump.sql") -> Path:
    path = tmp_path / name
    content = "".join(parts or ALL).encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


def at(clock: str) -> datetime:
    return datetime.fromisoformat(f"2026-01-05T{clock}").replace(tzinfo=UTC)


def test_a_proposal_and_what_became_of_it(tmp_path):
    shown, accepted, *looks = good(write(tmp_path), "code4me")
    names = ("user_id", "session_id", "document", "language", "repository", "source")
    told = ("u-1", "s-1", "~/app/circle.py", "python", None, "log")
    for event in (shown, accepted, *looks):
        assert tuple(event[name] for name in names) == told
    assert (shown["kind"], shown["ts"], shown["model"], shown["completion_id"]) == (
        "shown",
        at("08:00:01"),
        "starcoder2-3b",
        "q-1/7",
    )
    assert (shown["prefix"], shown["suffix"], shown["offset"]) == (PREFIX, SUFFIX, len(PREFIX))
    assert (shown["text"], shown["length"], shown["seq"]) == ("2 * math.pi * radius", 0, 0)
    assert shown["latency_ms"] == 120
    assert (accepted["kind"], accepted["ts"], accepted["seq"], accepted["completion_id"]) == (
        "accepted",
        at("08:00:01"),
        1,
        "q-1/7",
    )
    assert [(look["kind"], look["reason"], look["ts"]) for look in looks] == [
        ("snapshot", "request", at("08:00:16")),
        ("snapshot", "request", at("08:01:31")),
    ]
    assert looks[1]["prefix"] == HEAD + "2 * math.pi * abs(radius)" + TAIL
    assert (looks[1]["offset"], looks[1]["suffix"]) == (None, None)
    lines = path_lines(tmp_path)
    assert lines[shown["line"] - 1].startswith("q-1\t7") and "abs(radius)" in lines[looks[1]["line"] - 1]


def test_only_the_first_showing_was_waited_for_and_zero_is_not_measured(tmp_path):
    twice = GENERATIONS.replace("08:00:01+00", '08:00:01+00","2026-01-05 08:00:05+00')
    found = good(write(tmp_path, CONTEXTS, QUERIES, twice), "code4me")
    assert [event["latency_ms"] for event in found if event["kind"] == "shown"] == [120, None]
    unfinished = QUERIES.replace("\t120\t", "\t0\t")
    assert unfinished != QUERIES
    found = good(write(tmp_path, CONTEXTS, unfinished, GENERATIONS), "code4me")
    assert found[0]["latency_ms"] is None


def path_lines(tmp_path: Path) -> list[str]:
    return (tmp_path / "dump.sql").read_text(encoding="utf-8").split("\n")


def test_the_gap_ends_with_the_ground_truth(tmp_path):
    (gap,) = gaps_of(write(tmp_path), "code4me").to_dicts()
    assert (gap["proposal"], gap["final"]) == ("2 * math.pi * radius", "2 * math.pi * abs(radius)")
    assert (gap["outcome"], gap["tracking"]) == ("accepted_then_edited", "snapshots")


def test_a_proposal_at_the_end_of_the_document(tmp_path):
    contexts = CONTEXTS.replace(escaped(SUFFIX), "")
    seen = truths(("08:00:16", escaped(HEAD + "2 * math.pi * radius")))
    path = write(tmp_path, contexts, QUERIES, GENERATIONS, seen)
    assert [event["suffix"] for event in good(path, "code4me")] == ["", None, ""]
    (gap,) = gaps_of(path, "code4me").to_dicts()
    assert (gap["final"], gap["outcome"]) == ("2 * math.pi * radius", "accepted")


def test_several_times_are_the_same_proposal_shown_again(tmp_path):
    times = '{"2026-01-05 08:00:03.5+00","2026-01-05 10:00:01+02"}'
    again = GENERATIONS.replace('{"2026-01-05 08:00:01+00"}', times).replace("\tt\t", "\tf\t")
    shown = good(write(tmp_path, CONTEXTS, QUERIES, again), "code4me")
    assert [(event["kind"], event["ts"]) for event in shown] == [
        ("shown", at("08:00:01")),
        ("shown", at("08:00:03.5")),
    ]
    assert len({event["completion_id"] for event in shown}) == 1
    assert len({event["event_id"] for event in shown}) == 2


def test_a_request_without_a_proposal_is_a_look_at_the_document(tmp_path):
    never = GENERATIONS.replace('{"2026-01-05 08:00:01+00"}', "{}")
    for parts in ((CONTEXTS, QUERIES), (CONTEXTS, QUERIES, never)):
        (look,) = good(write(tmp_path, *parts), "code4me")
        assert (look["kind"], look["reason"], look["ts"]) == ("snapshot", "request", at("08:00:00.25"))
        assert (look["prefix"], look["suffix"], look["offset"]) == (PREFIX, SUFFIX, None)


def test_answers_of_the_chat_are_left_out(tmp_path):
    chat = QUERIES.replace("\tcompletion\n", "\tchat\n")
    assert items(write(tmp_path, CONTEXTS, chat, GENERATIONS), "code4me") == []


def test_the_first_version_of_the_tables(tmp_path):
    contexts = copied("context", "context_id, prefix, suffix, language_id", ("c-1", "a = ", r"\N", 3))
    queries = copied(
        "query",
        'query_id, user_id, telemetry_id, context_id, "timestamp"',
        ("q-1", "u-1", "t-1", "c-1", "2026-01-05 08:00:00+00"),
    )
    generations = GENERATIONS.replace("meta_query_id", "query_id")
    seen = truths(("08:00:16", "a = 2")).replace("completion_query_id", "query_id")
    shown, _, look = good(write(tmp_path, contexts, queries, generations, seen, LANGUAGES), "code4me")
    assert (shown["session_id"], shown["document"], shown["language"]) == ("code4me", "unnamed/c-1", "python")
    assert (shown["suffix"], shown["offset"], shown["model"]) == (None, None, None)
    assert look["document"] == "unnamed/c-1"


@pytest.mark.parametrize(
    ("length", "share", "offset"),
    [
        (
            str(len(PREFIX + SUFFIX) + 10),
            str((len(PREFIX) + 10) / (len(PREFIX + SUFFIX) + 10)),
            len(PREFIX) + 10,
        ),
        (str(len(PREFIX)), "1", None),
        ("5", "0.5", None),
        ("\\N", "\\N", None),
        ("x", "nan", None),
        ("9999999999", "0.5", None),
    ],
)
def test_an_offset_that_does_not_fit_is_not_known(tmp_path, length, share, offset):
    row = TELEMETRY.split("\n")[1].split("\t")
    told = TELEMETRY.replace("\t".join(row[-2:]), f"{length}\t{share}")
    shown, *_ = good(write(tmp_path, CONTEXTS, QUERIES, GENERATIONS, told), "code4me")
    assert shown["offset"] == offset


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ((CONTEXTS, GENERATIONS), "query_unknown"),
        ((QUERIES, GENERATIONS), "context_unknown"),
        ((CONTEXTS, QUERIES.replace("\tc-1\t", "\t\\N\t"), GENERATIONS), "context_unknown"),
        ((CONTEXTS, QUERIES, GENERATIONS.replace("08:00:01+00", "soon")), "bad_timestamp"),
        ((CONTEXTS, QUERIES, GENERATIONS.replace('{"2026', '"2026')), "bad_timestamp"),
        ((CONTEXTS, QUERIES, GENERATIONS.replace("\tt\t", "\t1\t")), "wrong_type"),
        ((CONTEXTS, QUERIES.replace("08:00:00.25+00", "x"), truths(("8:00", "x"))), "bad_timestamp"),
        (
            (CONTEXTS, QUERIES.replace("\tc-1\t", "\tc-2\t"), GENERATIONS.replace("\tt\t", "\tf\t")),
            "missing_field",
        ),
        (
            (CONTEXTS, QUERIES.replace("\tu-1\t", "\t\\N\t"), GENERATIONS.replace("\tt\t", "\tf\t")),
            "missing_field",
        ),
    ],
)
def test_rows_that_give_no_events_are_named(tmp_path, parts, reason):
    path = write(tmp_path, *parts)
    assert {found for _, found in reasons(path, "code4me")} == {reason}
    assert not [item for item in items(path, "code4me") if isinstance(item, Event)]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (CONTEXTS.replace("c-1\t", "c-1"), [(2, "wrong_columns")]),
        (CONTEXTS.replace("c-1\t", "\\N\t"), [(2, "missing_field")]),
        (CONTEXTS.replace("prefix, ", "head, "), [(2, "missing_column"), (3, "missing_column")]),
        (CONTEXTS.replace("COPY", "COPI"), [(2, "outside_copy"), (3, "outside_copy")]),
        (CONTEXTS.removesuffix("\\.\n"), [(4, "truncated_file")]),
        ("INSERT INTO public.context VALUES (1);\n", [(1, "not_copy")]),
        ("PGDMP\x01\n" + CONTEXTS, [(1, "unknown_file_type")]),
        ("", []),
        (ACCOUNT, []),
        (CONTEXTS, []),
    ],
)
def test_damaged_dumps(tmp_path, content, found):
    path = tmp_path / "dump.sql"
    path.write_text(content, encoding="utf-8")
    assert reasons(path, "code4me") == found


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "dump.sql"
    path.write_bytes(
        CONTEXTS.encode().replace(b"import", b"\xff") + ACCOUNT.encode().replace(b"Sam", b"\xff")
    )
    assert reasons(path, "code4me") == [(2, "bad_encoding")]


def test_a_block_that_is_not_ended_ends_with_the_next(tmp_path):
    open_end = CONTEXTS.removesuffix("\\.\n")
    assert len(good(write(tmp_path, open_end, QUERIES, GENERATIONS), "code4me")) == 2


def test_escapes(tmp_path):
    path = tmp_path / "dump.sql"
    path.write_text(
        "COPY public.model_name (model_id, model_name) FROM stdin;\n1\ta\\\\b\\tc\\nd\\q\\v\\N\n\\.\n"
    )
    (row,) = code4me_dump.rows(path)
    assert row == code4me_dump.Row(2, "model", ("1", "a\\b\tc\ndq\vN"))


def test_arrays_of_times():
    found = code4me_dump.times_in('{"2026-01-05 08:00:00+00",2026-01-05T08:00:01Z}')
    assert found == [at("08:00:00"), at("08:00:01")]
    assert code4me_dump.times_in("{}") == []
    for array in ("", "{", "{NULL}", '{"x"}', "2026-01-05 08:00:00+00"):
        assert code4me_dump.times_in(array) is None


def test_rows_twice_count_once(tmp_path):
    twice = [part.replace("\\.\n", part.split("\n")[-3] + "\n\\.\n") for part in (CONTEXTS, QUERIES, MODELS)]
    assert [event["kind"] for event in good(write(tmp_path, *twice, GENERATIONS), "code4me")] == [
        "shown",
        "accepted",
    ]


def test_compressed_and_again(tmp_path):
    first = good(write(tmp_path, name="a.sql.gz"), "code4me")
    again = good(write(tmp_path, *reversed(ALL), name="b.sql"), "code4me")
    assert {event["event_id"] for event in first} == {event["event_id"] for event in again}
    assert len({event["event_id"] for event in first}) == len(first) == 4


def test_private_fields_stay_behind(tmp_path):
    path = write(tmp_path, *ALL, CONTEXTS.replace("c-1\t", f"{SECRET}\t\t"))
    told = repr(items(path, "code4me"))
    assert SECRET not in told and "Sam Sentinel" not in told and "sam-sentinel" not in told


def test_damage_is_quarantined(tmp_path):
    met = survives("".join(ALL).encode(), tmp_path / "dump.sql", "code4me", times=60)
    assert met >= {"wrong_columns", "truncated_file"}


@settings(max_examples=40)
@given(
    st.integers(0, len(ALL) - 1),
    st.integers(0, 6),
    st.sampled_from(["", "\\N", "{", "-1", "9" * 40, "\\", "x" * 99]),
)
def test_any_value_in_any_column(tmp_path_factory, part, column, value):
    parts = list(ALL)
    lines = parts[part].split("\n")
    fields = lines[1].split("\t") if len(lines) > 1 else []
    if len(fields) > column:
        fields[column] = value
        lines[1] = "\t".join(fields)
    parts[part] = "\n".join(lines)
    found = items(write(tmp_path_factory.mktemp("c"), *parts), "code4me", user="sam")
    assert found and all(isinstance(item, Event | Bad) for item in found)
    assert all(row["kind"] in ("shown", "accepted", "snapshot") for row in rows(found))
