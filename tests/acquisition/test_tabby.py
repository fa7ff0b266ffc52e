"""Tabby's event files: what was shown and decided, joined from lines that name each other."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_dagster import events
from echo_dagster.acquisition import importers, tabby
from echo_dagster.acquisition.importers import Event
from echo_dagster.acquisition.records import Bad, Record
from echo_dagster.extraction import gaps
from echo_dagster.extraction.policies import PRESETS
from echo_dagster.settings import Source

SOURCE = Source(name="server", importer="tabby", path="*", consent=True)
START = datetime(2026, 1, 5, 8, tzinfo=UTC)
T0 = round(START.timestamp() * 1000)
CLIPBOARD, SECRET = "CLIPBOARD-SENTINEL", "TOKEN-SENTINEL"


def at(ms: int) -> datetime:
    return START + timedelta(milliseconds=ms)


def entry(ms: int, kind: str, /, user: str | None = "sam@example.org", **fields: Any) -> dict[str, Any]:
    return {"user": user, "ts": T0 + ms, "event": {kind: fields}}


def completion(
    ms: int,
    number: int = 1,
    prefix: str = "def f():\n    ",
    text: str = "return 1",
    **segments: Any,
) -> dict[str, Any]:
    return entry(
        ms,
        "completion",
        completion_id=f"cmpl-{number}",
        language="python",
        prompt=f"<PRE> {prefix} <SUF>\n <MID>{SECRET}",
        segments={
            "prefix": prefix,
            "suffix": "\n\nprint(f())\n",
            "filepath": "src/a.py",
            "git_url": f"https://sam:{SECRET}@git.example.org/private-group/app.git",
            "clipboard": CLIPBOARD,
            "declarations": [{"filepath": "file:///home/sam/lib.py", "body": SECRET}],
            **segments,
        },
        choices=[{"index": 0, "text": text}],
        user_agent=f"Node.js/v18 {SECRET}",
    )


def view(ms: int, number: int = 1, **fields: Any) -> dict[str, Any]:
    return entry(ms, "view", completion_id=f"cmpl-{number}", choice_index=0, view_id="v", **fields)


def select(ms: int, number: int = 1, **fields: Any) -> dict[str, Any]:
    return entry(ms, "select", completion_id=f"cmpl-{number}", choice_index=0, view_id="v", **fields)


def dismiss(ms: int, number: int = 1, **fields: Any) -> dict[str, Any]:
    return entry(ms, "dismiss", completion_id=f"cmpl-{number}", choice_index=0, view_id="v", **fields)


def write(folder: Path, *lines: Any, name: str = "2026-01-05.json") -> Path:
    path = folder / name
    data = b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines)
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def rows(path: Path, source: Source = SOURCE) -> tuple[list[dict[str, Any]], list[Bad]]:
    found = list(importers.checked(path, source, lambda user: f"<{user}>"))
    good = [
        dict(zip(events.SCHEMA, item.row, strict=True), line=item.line)
        for item in found
        if isinstance(item, Event)
    ]
    return good, [item for item in found if isinstance(item, Bad)]


def reasons(path: Path, source: Source = SOURCE) -> list[tuple[int, str]]:
    return [(bad.line, bad.reason) for bad in rows(path, source)[1]]


def pick(row: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


def test_a_proposal_from_the_request_to_the_acceptance(tmp_path):
    (asked, shown, accepted), bad = rows(
        write(tmp_path, completion(0), view(100), select(1500, elapsed=1400))
    )
    assert not bad
    stream = ("<sam@example.org>", "app", "src/a.py", "app", "python", "server", True)
    for row in (asked, shown, accepted):
        assert (
            pick(row, "user_id", "session_id", "document", "repository", "language", "source", "consent")
            == stream
        )
    context = ("def f():\n    ", "\n\nprint(f())\n", None)
    assert pick(asked, "kind", "reason", "ts", "prefix", "suffix", "offset") == (
        "snapshot",
        "request",
        at(0),
        *context,
    )
    assert pick(shown, "kind", "completion_id", "ts", "text", "length", "prefix", "suffix", "offset") == (
        "shown",
        "cmpl-1",
        at(100),
        "return 1",
        0,
        *context,
    )
    assert pick(accepted, "kind", "completion_id", "ts", "text", "reason") == (
        "accepted",
        "cmpl-1",
        at(1500),
        None,
        None,
    )
    assert [row["line"] for row in (asked, shown, accepted)] == [1, 2, 3]


def test_what_nobody_viewed_is_not_shown(tmp_path):
    found, _ = rows(write(tmp_path, completion(0), completion(50, 2), view(100, 2)))
    assert [pick(row, "kind", "completion_id") for row in found] == [
        ("snapshot", None),
        ("snapshot", None),
        ("shown", "cmpl-2"),
    ]


def test_a_proposal_shown_again_at_every_keystroke_is_shown_once(tmp_path):
    lines = [completion(0), view(100), dismiss(200), view(201), dismiss(300), view(301), select(400)]
    found, bad = rows(write(tmp_path, *lines))
    assert [pick(row, "kind", "ts") for row in found] == [
        ("snapshot", at(0)),
        ("shown", at(100)),
        ("rejected", at(200)),
        ("rejected", at(300)),
        ("accepted", at(400)),
    ]
    assert not bad
    assert [row["reason"] for row in found if row["kind"] == "rejected"] == [None, None]


def test_a_decision_tells_of_a_view_that_is_missing(tmp_path):
    found, _ = rows(write(tmp_path, completion(0), select(2000, elapsed=1500), view(2100)))
    assert [pick(row, "kind", "ts", "line") for row in found] == [
        ("snapshot", at(0), 1),
        ("shown", at(500), 2),
        ("accepted", at(2000), 2),
    ]


def test_lines_are_accepted_one_after_the_other(tmp_path):
    lines = [completion(0, text="one\ntwo\n"), view(1), *(select(ms, kind="line") for ms in (2, 3, 4))]
    found, bad = rows(write(tmp_path, *lines))
    assert [pick(row, "kind", "text") for row in found[2:]] == [("accepted", "one\n"), ("accepted", "two\n")]
    assert not bad


def test_every_choice_is_a_proposal_of_its_own(tmp_path):
    several = completion(0)
    several["event"]["completion"]["choices"] = [{"index": 1, "text": "b"}, {"index": 0, "text": "a"}]
    lines = [several, view(1)]
    for line in (view(2), select(3)):
        next(iter(line["event"].values()))["choice_index"] = 1
        lines.append(line)
    found, _ = rows(write(tmp_path, *lines))
    assert [pick(row, "kind", "completion_id", "text") for row in found[1:]] == [
        ("shown", "cmpl-1", "a"),
        ("shown", "cmpl-1#1", "b"),
        ("accepted", "cmpl-1#1", None),
    ]


def test_an_older_log_names_the_user_in_the_completion_and_no_file(tmp_path):
    line = completion(0)
    del line["user"], line["event"]["completion"]["segments"]["filepath"]
    del line["event"]["completion"]["segments"]["git_url"]
    line["event"]["completion"]["user"] = "alex"
    line["event"]["completion"]["language"] = "unknown"
    (asked, shown), _ = rows(write(tmp_path, line, view(5, user=None)))
    for row in (asked, shown):
        assert pick(row, "user_id", "session_id", "document", "language") == (
            "<alex>",
            "tabby",
            "cmpl-1",
            None,
        )


def test_the_source_says_what_the_server_does_not_know(tmp_path):
    source = SOURCE.model_copy(update={"user": "kim", "model": "m-1", "repository": "r"})
    line = completion(0, filepath="lib/b.rs", git_url=None)
    line["user"], line["event"]["completion"]["language"] = None, "unknown"
    (asked, shown), _ = rows(write(tmp_path, line, view(5, user="sam")), source)
    assert pick(asked, "user_id", "repository", "language", "model") == ("<kim>", "r", "rust", None)
    assert pick(shown, "user_id", "repository", "language", "model") == ("<kim>", "r", "rust", "m-1")
    assert reasons(write(tmp_path, line)) == [(1, "missing_field")]


@pytest.mark.parametrize(("suffix", "told"), [("", ""), (None, None), ("\r\n}", "\r\n}")])
def test_the_suffix(tmp_path, suffix, told):
    line = completion(0, suffix=suffix)
    assert [row["suffix"] for row in rows(write(tmp_path, line, view(1)))[0]] == [told, told]
    del line["event"]["completion"]["segments"]["suffix"]
    assert [row["suffix"] for row in rows(write(tmp_path, line, view(1)))[0]] == [None, None]


@pytest.mark.parametrize(
    ("filepath", "document"),
    [
        ("src\\win\\a.py", "src/win/a.py"),
        ("file:///home/sam/x%20y/a.py", "~/x y/a.py"),
        ("../outside/a.py", "../outside/a.py"),
    ],
)
def test_the_document(tmp_path, filepath, document):
    (row,), _ = rows(write(tmp_path, completion(0, filepath=filepath)))
    assert row["document"] == document


def test_chat_is_another_feature(tmp_path):
    chat = entry(0, "chat_completion", completion_id="c", input=[], output={"role": "a", "content": "b"})
    assert rows(write(tmp_path, chat)) == ([], [])


def broken(line: dict[str, Any], *path: str, value: Any = ...) -> dict[str, Any]:
    """Return the line with one field removed, or set to a value."""
    copy = json.loads(json.dumps(line))
    holder = copy
    for name in path[:-1]:
        holder = holder[name]
    if value is ...:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return copy


_C = ("event", "completion")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (broken(completion(0), "ts"), "missing_field"),
        (broken(completion(0), "ts", value="2026"), "bad_timestamp"),
        (broken(completion(0), "ts", value=True), "wrong_type"),
        (broken(completion(0), "ts", value=1.5), "wrong_type"),
        (broken(completion(0), "ts", value=10**30), "bad_timestamp"),
        (broken(completion(0), "ts", value=-1), "bad_timestamp"),
        (broken(completion(0), "event"), "missing_field"),
        (broken(completion(0), "event", value=[]), "wrong_type"),
        (broken(completion(0), "event", value={}), "wrong_type"),
        (broken(completion(0), "event", value={"hover": {}}), "unknown_event"),
        (broken(completion(0), *_C, value=7), "wrong_type"),
        (broken(completion(0), *_C, "completion_id"), "missing_field"),
        (broken(completion(0), *_C, "segments"), "no_segments"),
        (broken(completion(0), *_C, "segments", "prefix"), "missing_field"),
        (broken(completion(0), *_C, "segments", "suffix", value=3), "wrong_type"),
        (broken(completion(0), *_C, "segments", "prefix", value="\ud800"), "wrong_type"),
        (broken(completion(0), *_C, "choices", value={}), "wrong_type"),
        (broken(completion(0), *_C, "choices", value=[1]), "wrong_type"),
        (broken(completion(0), *_C, "choices", value=[{"index": True, "text": ""}]), "wrong_type"),
        (broken(completion(0), "user", value={"name": "x"}), "wrong_type"),
        (view(1, number=9), "completion_unknown"),
        (broken(view(1, number=7), "event", "view", "choice_index", value=3), "choice_unknown"),
        (broken(view(1, number=7), "event", "view", "choice_index", value=[0]), "wrong_type"),
        (select(1, number=7, kind="everything"), "unknown_event"),
        (select(1, number=7, kind=1), "wrong_type"),
        (select(1, number=7, elapsed="soon"), "wrong_type"),
    ],
)
def test_a_bad_line_is_named_and_the_rest_goes_on(tmp_path, line, reason):
    path = write(tmp_path, completion(0, 7), line, view(2, 7))
    assert reasons(path) == [(2, reason)]
    assert [row["line"] for row in rows(path)[0]] == [1, 3]


def test_bytes_that_are_no_lines(tmp_path):
    whole = json.dumps(completion(0)).encode()
    path = write(tmp_path, b"{\n", b"[1]\n", b"\xff\n", b"\n", completion(1), whole[:50])
    assert reasons(path) == [
        (1, "malformed_json"),
        (2, "malformed_json"),
        (3, "bad_encoding"),
        (6, "truncated_file"),
    ]
    assert len(rows(path)[0]) == 1


def test_the_oldest_requests_are_forgotten(tmp_path, monkeypatch):
    lines = [*(completion(n, n) for n in range(5)), *(view(9, n) for n in range(5))]
    path = write(tmp_path, *lines)
    assert reasons(path) == []
    monkeypatch.setattr(tabby, "MEMORY_CHARS", 3200)  # three of them
    assert reasons(path) == [(6, "completion_unknown"), (7, "completion_unknown")]


def test_a_request_told_twice_takes_its_place_once():
    requests = tabby.Requests()
    for _ in range(100):
        tabby.expand(Record(1, completion(0)), requests)
    assert requests._chars == requests.find("cmpl-1").size


def test_nothing_private_leaves(tmp_path):
    lines = [
        completion(0),
        view(1),
        select(2, kind="line"),
        dismiss(3),
        broken(completion(4), "ts", value=SECRET),
    ]
    path = write(tmp_path, *lines)
    found = [item.fields if isinstance(item, Record) else item for item in tabby.read(path, SOURCE)]
    for item in found:
        if isinstance(item, dict):
            assert item.pop("user_id") == "sam@example.org"
    told = repr(found)
    assert len(found) == 5
    for private in (CLIPBOARD, SECRET, "private-group", "git.example.org", "sam", "lib.py"):
        assert private not in told


def test_the_same_event_has_the_same_id_wherever_it_stands(tmp_path):
    lines = [completion(0), view(1), dismiss(2), view(3), select(4, kind="line")]
    one, _ = rows(write(tmp_path, *lines))
    other, _ = rows(write(tmp_path, b"\n", completion(0, 2), *lines, name="again.json.gz"))
    ids = [row["event_id"] for row in one]
    assert len(set(ids)) == len(ids) == 4
    assert [row["event_id"] for row in other][1:] == ids


_LINES = [json.dumps(line).encode() for line in (completion(0), view(1), select(2), completion(3, 2))]


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 400), st.one_of(st.none(), st.binary(max_size=3))),
        max_size=6,
    )
)
def test_any_bytes_are_read_without_an_exception(tmp_path_factory, mutations):
    found = list(_LINES)
    for number, position, new in mutations:
        old = found[number]
        found[number] = old[:position] if new is None else old[:position] + new + old[position + len(new) :]
    path = tmp_path_factory.mktemp("t") / "a.json"
    path.write_bytes(b"\n".join(found) + b"\n")
    good, bad = rows(path)
    split = path.read_bytes().split(b"\n")
    # a decision alone in its file shows its proposal, too; no line is silent, but for a repeated view
    told = {row["line"] for row in good} | {item.line for item in bad}
    assert all(number in told for number, line in enumerate(split, 1) if line in _LINES)


def test_from_the_file_to_the_gaps(tmp_path):
    """One proposal is taken and rewritten, one dismissed; requests that brought nothing show the document."""
    head = "import os\n\ndef f():\n    "
    tail = "\n\nprint(f())\n"
    taken, longer = "return 1", "return one() + g()"
    lines = [
        completion(0, 1, head, taken, suffix=tail),
        view(100),
        select(2000, elapsed=1900),
        completion(5000, 2, head + "return one() + ", "2", suffix=tail),  # nobody saw it
        completion(9000, 3, head + longer, "\n    # done", suffix=tail),
        view(9100, 3),
        dismiss(9900, 3),
        completion(20_000, 4, head + longer, "  # never", suffix=tail),
    ]
    good, bad = rows(write(tmp_path, *lines))
    assert not bad
    found = gaps.extract_frame(pl.DataFrame(good, schema=events.SCHEMA), PRESETS["echo"])
    assert found.select("completion_id", "outcome", "final", "tracking").rows() == [
        ("cmpl-1", "accepted_then_edited", longer, "snapshots"),
        ("cmpl-3", "rejected", "", "snapshots"),
    ]
