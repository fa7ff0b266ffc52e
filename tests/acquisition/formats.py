"""Good files of every format, for tests that go through all of them. Built as the tests of each importer build theirs.

In every text of a user's code stands `CODE`; in what must not leave an importer stands "sentinel", in some case. Nobody
is named but as somebody@example.org.
"""

from __future__ import annotations

import io
import json
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import test_code4me
import test_continue_dev
import test_cups
import test_realhumaneval
import test_tabby
import test_vscode_recording
import test_zed

from echo_dagster import events

CODE = "qzxv"
DAY = "2026-01-05"
USER = "sam@example.org"
REFUSED = {"kind": "refused", "reason": "wrong_type", "detail": "offset is str"}


@dataclass(frozen=True)
class File:
    """A file's name and content; `of` is the importer that reads it."""

    of: str
    name: str
    content: bytes


@cache
def files() -> tuple[File, ...]:
    """Every way in which a tool writes its log; some importers have several."""
    return (
        File("native", f"{DAY}.ndjson", lines(*native())),
        File("native", "collected.ndjson", lines(*native(), REFUSED)),
        File("native", f"{DAY}.parquet", parquet()),
        File("vscode_recording", f"{DAY}.recording.w.json", recording(indent=None)),
        File("vscode_recording", "pretty.recording.w.json", recording(indent=2)),
        File("tabby", f"{DAY}.json", lines(*tabby())),
        File("continue", "autocomplete.jsonl", lines(*completions())),
        File("continue", "all.jsonl", lines(*completions(), *next_edits(), {"eventName": "toolUsage"})),
        File("continue", "nextEditWithHistory.jsonl", lines(*next_edits()[1:])),
        File("continue", "dev.jsonl", lines(*({**line, "eventName": None} for line in completions()))),
        File(
            "continue", "posted.jsonl", lines(*({"name": "autocomplete", "data": x} for x in completions()))
        ),
        File("zed", f"{DAY}.jsonl", lines(*zed())),
        File("zed", "example.json", json.dumps(zed()[0], indent=2).encode()),
        File("zed", f"{DAY}.md", markdown()),
        File("code4me", "dump.sql", dump()),
        File("realhumaneval", "autocomplete_data.csv", csv_of(suggestions())),
        File("realhumaneval", "study_data.csv", csv_of(saves())),
        File("cups", "data_labeled_study.pkl", pickled(*sessions())),
        File("cups", "protocol3.pkl", pickled(*sessions(), protocol=3)),
    )


def lines(*objects: Any) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in objects)


def native() -> list[dict[str, Any]]:
    where = {"user_id": USER, "session_id": "s", "document": "a.py", "language": "python", "source": "x"}
    shown = {
        "completion_id": "c",
        "text": f"{CODE} = 1",
        "prefix": f"é😀{CODE}\n",
        "suffix": CODE,
        "length": 2,
    }
    kinds: list[dict[str, Any]] = [
        {"kind": "snapshot", "prefix": f"{CODE}\n", "suffix": CODE},
        {"kind": "snapshot", "reason": "request", "prefix": CODE, "suffix": CODE, "offset": 90},
        {"kind": "shown", **shown, "offset": 40, "model": "m1"},
        {"kind": "accepted", "completion_id": "c"},
        {"kind": "edited", "offset": 8, "length": 0, "text": f"{CODE} = 1", "reason": "accept"},
        {"kind": "edited", "offset": 9, "length": 2, "text": CODE, "repository": "r", "cohort": "beta"},
        {"kind": "rejected", "completion_id": "c", "reason": "dismissed", "consent": False},
        {"kind": "cursor", "offset": 3, "length": 0},
        {"kind": "closed", "consent": True},
    ]
    return [
        {"event_id": f"e{number}", "ts": f"{DAY}T08:00:{number:02}Z", "seq": number, **where, **kind}
        for number, kind in enumerate(kinds)
    ]


def parquet() -> bytes:
    frame = pl.DataFrame(
        native(), schema={**events.SCHEMA, "ts": pl.String()}, infer_schema_length=None
    ).with_columns(pl.col("ts").str.to_datetime(time_unit="us", time_zone="UTC"))
    file = io.BytesIO()
    frame.write_parquet(file)
    return file.getvalue()


def recording(indent: int | None) -> bytes:
    made = test_vscode_recording
    log = [
        *made.opened(f"{CODE}()\n\nlet {CODE} = '😀'\n", path="C:\\Users\\sam-sentinel\\app\\a.ts"),
        *made.fetched(1010, 1, ("[2,1 -> 2,1]", f"{CODE}.go()\n"), request=1),
        made.changed(1020, 2, [7, 7, f"{CODE}.go()\n"]),
        made.reason(1020, 2),
        {"kind": "selectionChanged", "id": 0, "time": 1021, "selection": [[9, 12]]},
        made.changed(1030, 3, [0, 4, f"{CODE}{CODE}"], [6, 6, "😀"]),
        *made.fetched(1040, 3, ("[1,1 -> 1,1]", CODE), request=2),
        made.changed(1041, 4, [0, 0, "x"]),
        *made.fetched(1050, 3, ("[1,1 -> 1,1]", CODE), request=3),
        {"kind": "storeContent", "id": 0, "time": 1060, "contentId": "k", "v": 4},
        {"kind": "restoreContent", "id": 0, "time": 1061, "contentId": "k", "v": 5},
        {"kind": "closed", "id": 0, "time": 1070},
    ]
    for entry in log:
        entry["time"] += test_tabby.T0
    log[0]["uuid"] = "s-1"
    return json.dumps({"log": log, "nextUserEdit": {"edit": [[0, 0, CODE]]}}, indent=indent).encode()


def tabby() -> list[dict[str, Any]]:
    made = test_tabby
    return [
        made.completion(0, 1, prefix=f"{CODE}\n", text=f"{CODE} = 1", suffix=f"\n{CODE}"),
        made.view(100, 1),
        made.view(200, 1),
        made.select(1500, 1, elapsed=1400),
        made.completion(3000, 2, prefix=f"{CODE}\n{CODE} = 1", text=f"\n{CODE}\n{CODE}", suffix=None),
        made.select(4000, 2, kind="line"),
        made.select(4100, 2, kind="line"),
        made.dismiss(5000, 2),
        made.entry(6000, "chat_completion", completion_id="x", input=[{"content": "SENTINEL"}], output={}),
    ]


def completions() -> list[dict[str, Any]]:
    made = test_continue_dev
    comment = "// Path: Untitled.txt\n// SENTINEL from the clipboard\n// src/my%20a.ts\n"
    return [
        made.autocomplete(0, 1, prefix=f"{comment}let {CODE} = ", suffix=f";\n{CODE}", completion=CODE),
        made.autocomplete(
            5, 2, prefix=f"{comment}{CODE}", suffix="\n", completion=f"{CODE}\n", accepted=False
        ),
        made.autocomplete(9, 3, prefix=f"\n// src/my%20a.ts\n{CODE}", aborted=True, accepted=False),
    ]


def next_edits() -> list[dict[str, Any]]:
    made = test_continue_dev
    excerpt = made.EXCERPT.replace("old", f"old{CODE}")
    region, new = made.REGION.replace("old", f"old{CODE}"), made.REGION.replace("old", CODE)
    return [
        made.next_edit(20, 1, userExcerpts=excerpt, originalEditableRange=region, completion=new),
        made.history(30, afterContent=f"let {CODE} = 12;\n"),
        made.history(40, afterContent=f"let {CODE} = 13;\n"),
    ]


def zed() -> list[dict[str, Any]]:
    made = test_zed
    excerpt = made.EXCERPT.replace("area", CODE)
    patch = made.diff("    return w", f"    return {CODE}")
    inputs = {"cursor_excerpt": excerpt, "excerpt_start_row": 0}
    position = excerpt.replace("return w", "return w<|user_cursor|>")
    taken = {**made.example()["telemetry"], "request_id": "req-9", "was_shown": True}
    row = made.row(
        requested_output=f"    return {CODE}\n", settled_editable_region=f"    return {CODE} * w\n"
    )
    row["input"]["cursor_excerpt"] = made.EXCERPT.replace("area", CODE)
    return [
        made.example(rejected_patch=patch, prompt_inputs=inputs),
        made.example(prompt_inputs=None, cursor_position=position, telemetry=taken, tags=["accepted"])
        | {"rejected_patch": None, "predictions": [{"actual_patch": patch}]},
        row,
    ]


def markdown() -> bytes:
    return test_zed.MARKDOWN.replace("area", CODE).encode()


def dump() -> bytes:
    made = test_code4me
    return "".join(made.ALL).replace("circumference", CODE).encode()


def suggestions() -> list[dict[str, Any]]:
    made = test_realhumaneval
    prefix, suffix = f"def {CODE}(a):\n    ", f"\n{CODE}\n"
    one = made.suggestion(prefix_code=prefix, suffix_code=suffix, suggestion=f'"{CODE}", 1')
    return [one, {**one, "accepted": 0, "timestamp": made.START_MS + 1500.5, "prefix_code": prefix + CODE}]


def saves() -> list[dict[str, Any]]:
    made = test_realhumaneval
    states = [(made.START_MS + 15_000 * number, f"{CODE}\n" * (number + 1)) for number in range(3)]
    return [
        {"programmer_id": 4, "code_history": made.history(*states), "comment": "SENTINEL"},
        {"programmer_id": 5, "code_history": made.history(*states[:1]), "comment": "SENTINEL"},
    ]


def csv_of(rows: list[dict[str, Any]]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return test_realhumaneval.write(Path(folder), *rows).read_bytes()


def sessions() -> list[list[dict[str, Any]]]:
    made = test_cups
    return [
        [
            made.row(1, "Shown", f"{CODE} = 1", f"{CODE}\n"),
            made.row(2, "Replay", CODE),
            made.row(3, "Rejected", CODE),
            made.row(4, "Shown", CODE, f"{CODE}\n{CODE} = 2\n"),
            made.row(6, "Accepted", CODE),
        ],
        [made.row(9, "Shown", CODE, CODE, UserId=USER)],
    ]


def pickled(*rows: list[dict[str, Any]], protocol: int = 4) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.pkl")
        return test_cups.write(path, *map(test_cups.frame, rows), protocol=protocol).read_bytes()
