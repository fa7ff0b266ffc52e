"""The VS Code importer, on a real session of 92 minutes and on recordings damaged in every way."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_dagster import events, utf16
from echo_dagster.acquisition import importers, vscode_recording
from echo_dagster.acquisition.importers import Event
from echo_dagster.acquisition.records import Bad
from echo_dagster.settings import Source

SOURCE = Source(name="vscode", importer="vscode_recording", path="*.json", consent=True)
COLUMNS = list(events.SCHEMA)


def checked(path: Path, source: Source = SOURCE) -> tuple[list[dict[str, Any]], list[Bad]]:
    items = list(importers.checked(path, source, lambda user: user))
    rows = [
        dict(zip(COLUMNS, item.row, strict=True)) | {"line": item.line}
        for item in items
        if isinstance(item, Event)
    ]
    return rows, [item for item in items if isinstance(item, Bad)]


def record(tmp_path: Path, log: Sequence[Any], name: str = "a.recording.w.json") -> Path:
    path = tmp_path / name
    path.write_text(json.dumps({"log": log}), encoding="utf-8")
    return path


def opened(content: str, path: str = "src/a.ts", document: int = 0, time: int = 1000) -> list[dict[str, Any]]:
    return [
        {
            "kind": "header",
            "uuid": "session-1",
            "repoRootUri": "file:///c%3A/Users/alex/src/my-repo",
            "time": time,
        },
        {"kind": "documentEncountered", "id": document, "time": time, "relativePath": path},
        {"kind": "setContent", "id": document, "time": time, "v": 1, "content": content},
    ]


def changed(time: int, version: int, *edits: list[Any], document: int = 0) -> dict[str, Any]:
    return {"kind": "changed", "id": document, "time": time, "v": version, "edit": list(edits)}


def fetched(
    time: int, version: int, *results: tuple[str, str], request: int = 0, document: int = 0
) -> list[Any]:
    return [
        {
            "kind": "documentEvent",
            "id": document,
            "time": time,
            "data": {
                "sourceId": "InlineCompletions.fetch",
                "kind": "start",
                "requestId": request,
                "v": version,
            },
        },
        {
            "kind": "event",
            "time": time + 1,
            "data": {
                "sourceId": "InlineCompletions.fetch",
                "kind": "end",
                "requestId": request,
                "durationMs": 1.4,
                "result": [{"range": where, "text": text, "source": "copilot"} for where, text in results],
            },
        },
    ]


def reason(time: int, version: int, source: str = "inlineSuggestion.accept") -> dict[str, Any]:
    data = {"sourceId": "TextModel.setChangeReason", "source": source, "v": version}
    return {"kind": "documentEvent", "id": 0, "time": time, "data": data}


def replayed(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Replay events as any reader of the log would: by stream order, with `splice` alone."""
    texts: dict[str, str] = {}
    for row in sorted(rows, key=lambda row: (row["ts"], row["seq"], row["event_id"])):
        if row["kind"] == "snapshot":
            texts[row["document"]] = row["prefix"] + row["suffix"]
        elif row["kind"] == "edited":
            texts[row["document"]] = utf16.splice(
                texts[row["document"]], row["offset"], row["length"], row["text"]
            )
    return texts


def replayed_recording(log: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Replay a recording on UTF-16 bytes, with no code of the importer."""
    paths: dict[int, str] = {}
    texts: dict[int, bytes] = {}
    stored: dict[str, bytes] = {}
    for entry in log:
        number = entry.get("id")
        match entry["kind"]:
            case "documentEncountered":
                paths[number] = entry["relativePath"].replace("\\", "/")
            case "setContent":
                texts[number] = entry["content"].encode("utf-16-le")
            case "storeContent":
                stored[entry["contentId"]] = texts[number]
            case "restoreContent":
                texts[number] = stored[entry["contentId"]]
            case "changed":
                before, parts, at = texts[number], [], 0
                for start, end, text in entry["edit"]:
                    parts += [before[2 * at : 2 * start], text.encode("utf-16-le")]
                    at = end
                texts[number] = b"".join([*parts, before[2 * at :]])
    return {paths[number]: text.decode("utf-16-le") for number, text in texts.items()}


@pytest.fixture(scope="module")
def log(shared_data: Path) -> list[dict[str, Any]]:
    path = shared_data / "recordings" / "vscode-ts-customized.recording.w.json"
    return json.loads(path.read_text(encoding="utf-8"))["log"]


@pytest.fixture(scope="module")
def read(shared_data: Path) -> tuple[list[dict[str, Any]], list[Bad]]:
    return checked(shared_data / "recordings" / "vscode-ts-customized.recording.w.json")


class TestTheRealSession:
    def test_everything_is_there_and_what_is_dropped_is_counted(self, read, log):
        rows, bad = read
        assert Counter(row["kind"] for row in rows) == {
            "snapshot": 32,
            "cursor": 4594,
            "edited": sum(len(entry["edit"]) for entry in log if entry["kind"] == "changed"),
            "shown": 1144,
            "accepted": 87,
        }
        assert Counter(item.reason for item in bad) == {"stale_proposal": 34}

    def test_every_change_became_edits(self, read, log):
        rows, _ = read
        changes = {index + 1 for index, entry in enumerate(log) if entry["kind"] == "changed"}
        assert len(changes) == 3247
        assert {row["line"] for row in rows if row["kind"] == "edited"} == changes

    def test_replaying_the_events_gives_the_text_of_the_recording(self, read, log):
        rows, _ = read
        expected = replayed_recording(log)
        assert len(expected) == 24
        assert replayed(rows) == expected

    def test_every_accept_is_joined_to_what_was_accepted(self, read):
        rows, _ = read
        shown = {row["completion_id"]: row for row in rows if row["kind"] == "shown"}
        assert len(shown) == 1144
        texts: dict[str, str] = {}
        whole = part = typed_into = 0
        before: dict[str, str] = {}
        latest: dict[str, dict[str, Any]] = {}
        for row in rows:
            document = row["document"]
            if row["kind"] == "snapshot":
                texts[document] = row["prefix"]
            elif row["kind"] == "edited":
                before.setdefault(document, texts[document])
                texts[document] = utf16.splice(texts[document], row["offset"], row["length"], row["text"])
            elif row["kind"] == "shown":
                assert row["prefix"] + row["suffix"] == texts[document]
                latest[document] = row
            if row["kind"] == "accepted":
                proposal = shown[row["completion_id"]]
                applied = (
                    proposal["prefix"]
                    + proposal["text"]
                    + utf16.cut(proposal["suffix"], proposal["length"])[1]
                )
                if row["text"] is not None:
                    part += 1
                    assert proposal is latest[document]
                    assert proposal["text"].startswith(row["text"]) and proposal["text"] != row["text"]
                elif applied == texts[document]:
                    whole += 1
                    assert proposal is latest[document]
                else:
                    # The user renamed something above, and pressed Enter, with which the proposal begins.
                    typed_into += 1
                    assert (
                        proposal["text"]
                        .strip()
                        .startswith("const result = service.getDefinitionAndBoundSpan")
                    )
                    assert proposal["text"].strip() in texts[document]
        assert (whole, part, typed_into) == (76, 10, 1)

    def test_no_event_is_earlier_than_the_one_before_it_in_its_document(self, read):
        rows, _ = read
        latest: dict[str, Any] = {}
        for row in rows:
            assert row["ts"] >= latest.get(row["document"], row["ts"])
            latest[row["document"]] = row["ts"]

    def test_an_accept_carries_its_reason_and_other_reasons_keep_theirs(self, read):
        rows, _ = read
        edits = {row["line"]: row["reason"] for row in rows if row["kind"] == "edited"}
        assert Counter(edits.values()) == {None: 3247 - 208, "snippet": 105, "accept": 87, "format": 16}

    def test_nothing_points_at_the_user(self, read):
        rows, _ = read
        assert {row["repository"] for row in rows} == {"vscode-ts-customized"}
        assert not [row["document"] for row in rows if "\\" in row["document"] or ":" in row["document"]]
        assert {row["language"] for row in rows if row["document"].endswith("tests.test.ts")} == {
            "typescript"
        }


def test_every_small_recording_goes_through(shared_data: Path):
    paths = sorted((shared_data / "recordings").glob("[0-9]*.json"))
    assert len(paths) == 11
    for path in paths:
        rows, bad = checked(path)
        log = json.loads(path.read_text(encoding="utf-8"))["log"]
        assert not bad
        assert replayed(rows) == replayed_recording(log), path.name
        assert len({row["session_id"] for row in rows}) == 1


@given(
    st.text(st.sampled_from("ab\n😀é\r"), max_size=12),
    st.lists(
        st.lists(
            st.tuples(st.integers(0, 6), st.integers(0, 3), st.sampled_from(["", "x", "a", "🦀", "ab\n"])),
            min_size=1,
            max_size=3,
        ),
        max_size=6,
    ),
)
def test_any_recording_replays_to_the_same_text(tmp_path_factory, content, moves):
    log = opened(content)
    text = utf16.to_units(content)
    for version, several in enumerate(moves, start=2):
        edits, at = [], 0
        for gap, length, new in several:  # ascending and apart, against the text before, on whole characters
            start = min(at + gap, len(text))
            end = min(start + length, len(text))
            start += 0 < start < len(text) and "\udc00" <= text[start] <= "\udfff"
            end = max(end, start)
            end += 0 < end < len(text) and "\udc00" <= text[end] <= "\udfff"
            edits.append([start, end, new])
            at = end
        log.append(changed(1000 + version, version, *edits))
        for start, end, new in reversed(edits):
            text = text[:start] + utf16.to_units(new) + text[end:]
    rows, bad = checked(record(tmp_path_factory.mktemp("r"), log))
    assert not bad
    assert replayed(rows)["src/a.ts"] == replayed_recording(log)["src/a.ts"] == utf16.from_units(text)


def test_a_proposal_begins_where_the_new_code_begins(tmp_path):
    log = [*opened("let s = '😀';\r\nfoo()\r\n"), *fetched(1010, 1, ("[2,1 -> 2,6]", "foo(a,\n  b)"))]
    (_, shown), bad = checked(record(tmp_path, log))
    assert not bad
    assert (shown["offset"], shown["length"], shown["text"]) == (19, 0, "a,\r\n  b")
    assert (shown["prefix"], shown["suffix"]) == ("let s = '😀';\r\nfoo(", ")\r\n")
    assert (shown["model"], shown["latency_ms"]) == ("copilot", 1)
    assert shown["completion_id"]


def test_a_configured_model_comes_before_the_recorded_one(tmp_path):
    log = [*opened("a"), *fetched(1010, 1, ("[1,2 -> 1,2]", "b"))]
    source = SOURCE.model_copy(update={"model": "served-7", "user": "alex", "repository": "r"})
    (_, shown), _ = checked(record(tmp_path, log), source)
    assert (shown["model"], shown["user_id"], shown["repository"]) == ("served-7", "alex", "r")


def test_a_proposal_that_changes_nothing_is_shown_as_empty(tmp_path):
    log = [*opened("abc"), *fetched(1010, 1, ("[1,1 -> 1,4]", "abc"))]
    (_, shown), _ = checked(record(tmp_path, log))
    assert (shown["offset"], shown["length"], shown["text"]) == (3, 0, "")


def test_a_proposal_for_an_older_version_is_stale(tmp_path):
    start, end = fetched(1010, 1, ("[1,2 -> 1,2]", "b"))
    rows, bad = checked(record(tmp_path, [*opened("a"), start, changed(1010, 2, [1, 1, "x"]), end]))
    assert [row["kind"] for row in rows] == ["snapshot", "edited"]
    assert bad == [Bad(6, "stale_proposal", "version 1 was asked about, the document stands at 2")]


class TestAccepts:
    def joined(self, tmp_path: Path, *log: Any) -> tuple[list[dict[str, Any]], list[Bad]]:
        return checked(record(tmp_path, [*opened("f()\n"), *log]))

    def test_the_newest_proposal_that_explains_the_text(self, tmp_path):
        rows, bad = self.joined(
            tmp_path,
            *fetched(1010, 1, ("[1,3 -> 1,3]", "a"), request=1),
            *fetched(1020, 1, ("[1,3 -> 1,3]", "a"), request=2),
            changed(1030, 2, [2, 2, "a"]),
            reason(1030, 2),
        )
        assert not bad
        assert [row["kind"] for row in rows] == ["snapshot", "shown", "shown", "edited", "accepted"]
        assert rows[4]["completion_id"] == rows[2]["completion_id"] != rows[1]["completion_id"]
        assert rows[4]["text"] is None
        assert rows[3]["reason"] == "accept"

    def test_another_choice_than_the_first_was_on_the_screen(self, tmp_path):
        rows, bad = self.joined(
            tmp_path,
            *fetched(1010, 1, ("[1,3 -> 1,3]", "a"), ("[1,3 -> 1,3]", "b")),
            changed(1030, 2, [2, 2, "b"]),
            reason(1030, 2),
        )
        assert not bad
        assert [row["text"] for row in rows if row["kind"] == "shown"] == ["b"]

    def test_a_part(self, tmp_path):
        rows, _ = self.joined(
            tmp_path,
            *fetched(1010, 1, ("[1,1 -> 1,4]", "f(one, two) {")),
            changed(1030, 2, [2, 2, "one"]),
            reason(1030, 2),
        )
        assert rows[1]["text"] == "one, two) {"
        assert (rows[3]["kind"], rows[3]["text"]) == ("accepted", "one")
        assert rows[3]["completion_id"] == rows[1]["completion_id"]

    def test_the_last_part_need_not_remove_what_the_proposal_replaces(self, tmp_path):
        rows, _ = self.joined(
            tmp_path,
            *fetched(1010, 1, ("[1,3 -> 1,4]", "one")),
            changed(1030, 2, [2, 2, "one"]),
            reason(1030, 2),
        )
        assert (rows[1]["length"], rows[3]["kind"], rows[3]["text"]) == (1, "accepted", "one")

    def test_typed_into_before_and_edited_elsewhere(self, tmp_path):
        rows, bad = self.joined(
            tmp_path,
            *fetched(1010, 1, ("[1,3 -> 1,3]", "one, two")),
            changed(1020, 2, [0, 0, "g;"]),  # elsewhere
            changed(1021, 3, [4, 4, "one"]),  # typed through
            changed(1030, 4, [7, 7, ", two"]),
            reason(1030, 4),
        )
        assert not bad
        assert rows[5]["kind"] == "accepted"
        assert rows[5]["completion_id"] == rows[1]["completion_id"]
        assert replayed(rows)["src/a.ts"] == "g;f(one, two)\n"

    def test_an_accept_is_written_as_the_proposal_has_it(self, tmp_path):
        # "(a" inserted at 1 and "a(" inserted at 2 give the same text; the gap is where the proposal says.
        rows, _ = self.joined(
            tmp_path,
            *fetched(1010, 1, ("[1,2 -> 1,2]", "(a")),
            changed(1030, 2, [0, 2, "f(a("]),
            reason(1030, 2),
        )
        shown, edited = rows[1], rows[2]
        assert (shown["offset"], shown["text"]) == (edited["offset"], edited["text"]) == (1, "(a")

    def test_what_no_proposal_explains_is_quarantined_and_stays_an_edit(self, tmp_path):
        rows, bad = self.joined(
            tmp_path, *fetched(1010, 1, ("[1,3 -> 1,3]", "a")), changed(1030, 2, [2, 2, "b"]), reason(1030, 2)
        )
        assert [row["kind"] for row in rows] == ["snapshot", "shown", "edited"]
        assert rows[2]["reason"] == "accept"
        assert [(item.line, item.reason) for item in bad] == [(6, "unmatched_accept")]

    def test_a_reason_before_its_change_counts_too(self, tmp_path):
        rows, bad = self.joined(
            tmp_path, *fetched(1010, 1, ("[1,3 -> 1,3]", "a")), reason(1029, 2), changed(1030, 2, [2, 2, "a"])
        )
        assert not bad
        assert rows[-1]["kind"] == "accepted"

    def test_a_reason_without_its_change(self, tmp_path):
        _, bad = self.joined(tmp_path, reason(1029, 9))
        assert [(item.line, item.reason) for item in bad] == [(4, "reason_without_change")]


@pytest.mark.parametrize(
    ("said", "reason_code"),
    [("snippet", "snippet"), ("formatEditsCommand", "format"), ("undo", "undo"), ("something.new", "other")],
)
def test_reasons(tmp_path, said, reason_code):
    rows, _ = checked(record(tmp_path, [*opened("a"), changed(1010, 2, [0, 0, "b"]), reason(1010, 2, said)]))
    assert rows[1]["reason"] == reason_code


def test_several_edits_of_one_change_come_last_position_first(tmp_path):
    log = [*opened("abc"), changed(1010, 2, [0, 1, "xx"], [1, 1, "y"], [1, 1, "z"], [3, 3, "!"])]
    rows, _ = checked(record(tmp_path, log))
    assert [row["offset"] for row in rows[1:]] == [3, 1, 1, 0]
    assert replayed(rows)["src/a.ts"] == "xxyzbc!"


def test_the_cursor_is_the_end_that_moved(tmp_path):
    def selected(*selection: list[int]) -> dict[str, Any]:
        return {"kind": "selectionChanged", "id": 0, "time": 1010, "selection": list(selection)}

    log = [
        *opened("abcdef"),
        selected([3, 3], [9, 9]),
        selected([1, 3]),
        selected([0, 3]),
        selected([3, 5]),
        selected(),
    ]
    rows, bad = checked(record(tmp_path, log))
    assert not bad
    assert [(row["offset"], row["length"]) for row in rows[1:]] == [(3, 0), (1, 2), (0, 3), (5, 2)]


def test_a_late_stamp_does_not_change_the_order(tmp_path):
    log = [
        *opened("", time=5000),
        changed(4000, 2, [0, 0, "a"]),
        changed(3990, 3, [1, 1, "b"]),
        {"kind": "closed", "id": 0, "time": 4500},
    ]
    rows, _ = checked(record(tmp_path, log))
    assert [row["kind"] for row in rows] == ["snapshot", "edited", "edited", "closed"]
    assert [row["ts"].timestamp() for row in rows] == [4.0, 4.0, 4.0, 4.5]
    assert replayed(rows)["src/a.ts"] == "ab"


def test_a_content_that_was_stored_comes_back(tmp_path):
    log = [
        *opened("first"),
        {"kind": "storeContent", "id": 0, "time": 1000, "contentId": "c", "v": 1},
        changed(1010, 2, [0, 5, "second"]),
        {"kind": "restoreContent", "id": 0, "time": 1020, "contentId": "c", "v": 1},
    ]
    rows, bad = checked(record(tmp_path, log))
    assert not bad
    assert replayed(rows)["src/a.ts"] == "first"


@pytest.mark.parametrize(
    ("recorded", "document"),
    [
        ("vscode\\src\\a.ts", "vscode/src/a.ts"),
        ("src/home/hero/a.ts", "src/home/hero/a.ts"),
        ("../../../../Users/alex/src/a.ts", "~/src/a.ts"),
        ("C:\\Users\\alex\\a.ts", "~/a.ts"),
        ("/home/alex/work/a.ts", "~/work/a.ts"),
        ("vscode-userdata:/c%3A/Users/alex/settings.json", "~/settings.json"),
        ("../sibling/a.ts", "../sibling/a.ts"),
    ],
)
def test_paths_hold_no_home_directory(tmp_path, recorded, document):
    rows, _ = checked(record(tmp_path, opened("a", path=recorded)))
    assert rows[0]["document"] == document


def test_who_and_where(tmp_path):
    (row,), _ = checked(record(tmp_path, opened("a")))
    assert (row["session_id"], row["user_id"], row["repository"]) == ("session-1", "session-1", "my-repo")
    meta = {
        "kind": "meta",
        "data": {"kind": "log-origin", "uuid": "u", "opStart": 7, "repoRootUri": "file:///home/alex"},
    }
    (row,), _ = checked(record(tmp_path, [meta, *opened("a")[1:]]))
    assert (row["session_id"], row["user_id"], row["repository"]) == ("u-7", "u", None)
    (row,), _ = checked(record(tmp_path, opened("a")[1:]))
    assert row["session_id"].startswith("file-")
    assert row["user_id"] == row["session_id"]


def test_the_same_recording_gives_the_same_ids_wherever_it_lies(tmp_path):
    log = [*opened("a"), changed(1010, 2, [0, 0, "b"])]
    one, _ = checked(record(tmp_path, log, "one.json"))
    other, _ = checked(record(tmp_path, [*log, changed(1020, 3, [0, 0, "c"])], "longer.json"))
    assert [row["event_id"] for row in one] == [row["event_id"] for row in other][:2]


class TestDamage:
    @pytest.mark.parametrize(
        ("content", "reason_code"),
        [
            (b"{]", "malformed_json"),
            (b'{"log": [{"kind": "hea', "truncated_file"),
            (b'{"log": [', "truncated_file"),
            (b'{"entries": []}', "missing_field"),
            (b"[1, 2]", "missing_field"),
            (b'{"log": 3}', "missing_field"),
            (b'{"log": ["\xff"]}', "bad_encoding"),
            (b"[" * 100_000, "malformed_json"),
        ],
    )
    def test_of_the_file(self, tmp_path, content, reason_code):
        path = tmp_path / "a.json"
        path.write_bytes(content)
        rows, bad = checked(path)
        assert not rows
        assert [item.reason for item in bad] == [reason_code]

    def test_an_empty_file_is_no_damage(self, tmp_path):
        (tmp_path / "a.json").write_bytes(b"")
        assert checked(tmp_path / "a.json") == ([], [])

    def test_compressed_it_is_the_same_log(self, tmp_path):
        plain = record(tmp_path, opened("a")[1:])  # without a header, the file's name tells sessions apart
        packed = tmp_path / f"{plain.name}.gz"
        packed.write_bytes(gzip.compress(plain.read_bytes()))
        assert checked(packed) == checked(plain)
        packed.write_bytes(packed.read_bytes()[:-20])
        assert [(bad.line, bad.reason) for bad in checked(packed)[1]] == [(0, "truncated_file")]

    def test_a_recording_too_large_is_refused(self, tmp_path, monkeypatch):
        monkeypatch.setattr(vscode_recording, "MAX_FILE_BYTES", 10)
        _, bad = checked(record(tmp_path, opened("a")))
        assert [item.reason for item in bad] == ["file_too_large"]

    @pytest.mark.parametrize(
        ("entry", "reason_code"),
        [
            (3, "missing_field"),
            ({"no": "kind"}, "missing_field"),
            ({"kind": "changed", "time": 1, "edit": []}, "missing_field"),
            ({"kind": "changed", "id": [1], "time": 1, "edit": []}, "wrong_type"),
            ({"kind": "changed", "id": 0, "edit": []}, "missing_field"),
            ({"kind": "changed", "id": 0, "time": "now", "edit": []}, "wrong_type"),
            ({"kind": "changed", "id": 0, "time": 10**18, "edit": []}, "bad_timestamp"),
            ({"kind": "changed", "id": 0, "time": 1, "edit": [[0, 1]]}, "wrong_type"),
            ({"kind": "changed", "id": 0, "time": 1, "edit": [[0.5, 1, ""]]}, "wrong_type"),
            ({"kind": "changed", "id": 0, "time": 1, "edit": [[0, 0, "\ud83d"]]}, "wrong_type"),
            ({"kind": "changed", "id": 0, "time": 1, "edit": [[0, 99, ""]]}, "impossible_offset"),
            ({"kind": "changed", "id": 0, "time": 1, "edit": [[-1, 0, ""]]}, "impossible_offset"),
            ({"kind": "changed", "id": 0, "time": 1, "edit": [[1, 0, ""]]}, "impossible_offset"),
            ({"kind": "changed", "id": 0, "time": 1, "edit": [[0, 2, ""], [1, 3, ""]]}, "impossible_offset"),
            ({"kind": "changed", "id": 0, "time": 1, "edit": [[4, 4, "x"]]}, "impossible_offset"),
            ({"kind": "changed", "id": 7, "time": 1, "edit": []}, "document_unknown"),
            ({"kind": "setContent", "id": 7, "time": 1, "content": ""}, "document_unknown"),
            ({"kind": "restoreContent", "id": 0, "time": 1, "contentId": "none"}, "document_unknown"),
            ({"kind": "selectionChanged", "id": 0, "time": 1, "selection": [[0, 99]]}, "impossible_offset"),
            ({"kind": "selectionChanged", "id": 0, "time": 1, "selection": [7]}, "wrong_type"),
            ({"kind": "documentEvent", "id": 0, "time": 1}, "missing_field"),
            (fetched(1, 1, ("[1,1 -> 1,1]", "x"))[1], "fetch_without_start"),
        ],
    )
    def test_of_one_entry_loses_that_entry(self, tmp_path, entry, reason_code):
        again = {"kind": "setContent", "id": 0, "time": 2000, "content": "again"}
        rows, bad = checked(record(tmp_path, [*opened("abc😀"), entry, again, changed(2001, 2, [5, 5, "!"])]))
        assert [(item.line, item.reason) for item in bad] == [(4, reason_code)]
        assert replayed(rows)["src/a.ts"] == "again!"

    @pytest.mark.parametrize(
        ("where", "reason_code"),
        [
            ("[1,1 -> 1,9]", "impossible_offset"),
            ("[3,1 -> 3,1]", "impossible_offset"),
            ("[0,1 -> 1,1]", "impossible_offset"),
            ("[1,2 -> 1,1]", "impossible_offset"),
            ("[1,5 -> 1,5]", "impossible_offset"),
            ("first line", "wrong_type"),
        ],
    )
    def test_of_a_range(self, tmp_path, where, reason_code):
        rows, bad = checked(record(tmp_path, [*opened("abc😀\nd"), *fetched(1010, 1, (where, "x"))]))
        assert [row["kind"] for row in rows] == ["snapshot"]
        assert [item.reason for item in bad] == [reason_code]

    def test_after_an_impossible_change_the_document_is_unknown_until_it_is_told_again(self, tmp_path):
        log = [
            *opened("abc"),
            changed(1010, 2, [99, 99, "x"]),
            changed(1011, 3, [0, 0, "y"]),
            *fetched(1012, 3, ("[1,1 -> 1,1]", "x")),
            {"kind": "selectionChanged", "id": 0, "time": 1013, "selection": [[0, 0]]},
            {"kind": "setContent", "id": 0, "time": 1020, "v": 9, "content": "new"},
            changed(1021, 10, [3, 3, "er"]),
        ]
        rows, bad = checked(record(tmp_path, log))
        assert [(item.line, item.reason) for item in bad] == [
            (4, "impossible_offset"),
            (5, "document_unknown"),
            (7, "document_unknown"),
            (8, "document_unknown"),
        ]
        assert replayed(rows)["src/a.ts"] == "newer"

    def test_unknown_kinds_are_ignored(self, tmp_path):
        rows, bad = checked(record(tmp_path, [{"kind": "somethingNew", "x": 1}, *opened("a")]))
        assert len(rows) == 1 and not bad

    def test_no_detail_holds_text_of_the_user(self, tmp_path):
        secret = "hunter2"
        log = [
            *opened("a"),
            {"kind": secret, "id": secret},
            {"kind": "changed", "id": secret, "time": 1, "edit": [[0, 0, secret]]},
            changed(1010, 2, [99, 99, secret]),
            {"kind": "setContent", "id": 0, "time": secret, "content": secret},
        ]
        _, bad = checked(record(tmp_path, log))
        assert len(bad) == 3
        assert not [item for item in bad if secret in item.detail]
