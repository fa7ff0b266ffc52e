"""Continue's development data: the document taken out of a prompt, and the fate of every proposal."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_dagster import events, utf16
from echo_dagster.acquisition import continue_dev, importers
from echo_dagster.acquisition.continue_prompts import document_alone, excerpt
from echo_dagster.acquisition.fields import Unusable
from echo_dagster.acquisition.importers import Event
from echo_dagster.acquisition.records import Bad, Record
from echo_dagster.extraction import gaps
from echo_dagster.extraction.policies import PRESETS
from echo_dagster.settings import Source

SOURCE = Source(name="ide", importer="continue", path="*", consent=True)
START = datetime(2026, 1, 5, 8, tzinfo=UTC)
SECRET = "SENTINEL"
PATH = "file:///home/sam/work/app/src/my%20a.ts"


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def iso(seconds: float) -> str:
    return at(seconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def autocomplete(seconds: float = 0, number: int = 1, **fields: Any) -> dict[str, Any]:
    """A line of 0.2.0; a field that is `...` is left out."""
    line = {
        "eventName": "autocomplete",
        "schema": "0.2.0",
        "timestamp": iso(seconds),
        "userId": "sam@example.org",
        "userAgent": f"Visual Studio Code/1.96 (Continue/1.0) {SECRET}",
        "selectedProfileId": f"{SECRET}/local",
        "disable": False,
        "maxPromptTokens": 1024,
        "debounceDelay": 350,
        "time": 412,
        "prefix": f"// Path: Untitled.txt\n// {SECRET} from the clipboard\n// src/my%20a.ts\nlet x = ",
        "suffix": ";\n",
        "prompt": f"<fim_prefix>{SECRET}<fim_suffix><fim_middle>",
        "completion": "1 + 2",
        "modelProvider": "ollama",
        "modelName": "qwen2.5-coder:1.5b",
        "cacheHit": False,
        "filepath": PATH,
        "gitRepo": "private-group/app",
        "completionId": f"c{number}",
        "uniqueId": "machine-7",
        "accepted": True,
        **fields,
    }
    return {name: value for name, value in line.items() if value is not ...}


EXCERPT = (
    "import x\n"
    "<|editable_region_start|>\n"
    "function f() {\n"
    "  return x.<|user_cursor_is_here|>old;\n"
    "}\n"
    "<|editable_region_end|>\n"
    "f();\n"
)
REGION = "function f() {\n  return x.old;\n}"


def next_edit(seconds: float = 0, number: int = 1, **fields: Any) -> dict[str, Any]:
    """A line of 0.2.0; a field that is `...` is left out."""
    line = {
        "eventName": "nextEditOutcome",
        "schema": "0.2.0",
        "timestamp": round(at(seconds).timestamp() * 1000),
        "userId": "sam@example.org",
        "elapsed": 700,
        "completionOptions": None,
        "completionId": f"n{number}",
        "uniqueId": "machine-7",
        "fileUri": PATH,
        "workspaceDirUri": "file:///home/sam/work/app",
        "prompt": SECRET,
        "userEdits": SECRET,
        "userExcerpts": EXCERPT,
        "originalEditableRange": REGION,
        "completion": "function f() {\n  return x.new();\n}",
        "cursorPosition": {"line": 2, "character": 11},
        "accepted": True,
        "modelProvider": "continue",
        "modelName": "instinct",
        **fields,
    }
    return {name: value for name, value in line.items() if value is not ...}


def history(seconds: float = 0, **fields: Any) -> dict[str, Any]:
    line = {
        "eventName": "nextEditWithHistory",
        "schema": "0.2.0",
        "timestamp": iso(seconds),
        "userId": "sam@example.org",
        "previousEdits": [{"filename": "src/b.ts", "diff": SECRET}],
        "fileURI": PATH,
        "workspaceDirURI": "file:///home/sam/work/app",
        "beforeContent": SECRET,
        "afterContent": "let x = 12;\n",
        "beforeCursorPos": {"line": 0, "character": 0},
        "afterCursorPos": {"line": 0, "character": 9},
        "context": SECRET,
        "modelName": "Codestral",
        **fields,
    }
    return {name: value for name, value in line.items() if value is not ...}


def write(folder: Path, *lines: Any, name: str = "autocomplete.jsonl") -> Path:
    path = folder / name
    path.write_bytes(
        b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines)
    )
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


def test_a_proposal_says_how_long_it_took_where_the_tool_wrote_a_duration(tmp_path):
    lines = [autocomplete(), next_edit(20), autocomplete(40, 2, time=...), autocomplete(60, 3, time="412")]
    lines += [autocomplete(80, 4, time=-5), autocomplete(100, 5, time=1.6), autocomplete(120, 6, time=1e300)]
    found, bad = rows(write(tmp_path, *lines))
    assert not bad
    told = [row["latency_ms"] for row in found if row["kind"] == "shown"]
    assert told == [412, 700, None, None, None, 2, None]


class TestAutocomplete:
    def test_a_proposal_that_was_accepted(self, tmp_path):
        (shown, accepted), bad = rows(write(tmp_path, autocomplete()))
        assert not bad
        for row in (shown, accepted):
            assert pick(
                row, "user_id", "session_id", "document", "repository", "language", "source", "line"
            ) == (
                "<sam@example.org>",
                "continue",
                "~/work/app/src/my a.ts",
                "app",
                "typescript",
                "ide",
                1,
            )
            assert pick(row, "ts", "completion_id") == (at(0), "c1")
        assert pick(shown, "kind", "prefix", "suffix", "offset", "length", "text", "model") == (
            "shown",
            "let x = ",
            ";\n",
            None,
            0,
            "1 + 2",
            "qwen2.5-coder:1.5b",
        )
        assert pick(accepted, "kind", "text", "model", "seq") == ("accepted", None, None, 1)

    def test_a_timeout_is_no_act_of_the_user(self, tmp_path):
        (_, rejected), _ = rows(write(tmp_path, autocomplete(accepted=False)))
        assert pick(rejected, "kind", "reason", "ts") == ("rejected", "timeout", at(10))

    def test_nothing_was_decided(self, tmp_path):
        found, _ = rows(write(tmp_path, autocomplete(accepted=...)))
        assert [row["kind"] for row in found] == ["shown"]

    def test_versions_that_say_when_the_line_was_written(self, tmp_path):
        lines = [
            autocomplete(0, 1, createdAt=iso(4), timestamp=round(START.timestamp() * 1000)),
            autocomplete(20, 2, createdAt=iso(31), accepted=False),
            autocomplete(40, 3, createdAt=iso(39)),
        ]
        found, _ = rows(write(tmp_path, *lines))
        assert [pick(row, "kind", "ts") for row in found] == [
            ("shown", at(0)),
            ("accepted", at(4)),
            ("shown", at(20)),
            ("rejected", at(31)),
            ("shown", at(40)),
            ("accepted", at(40)),
        ]

    def test_schema_0_1_0_names_neither_itself_nor_the_user(self, tmp_path):
        line = autocomplete(eventName=..., schema=..., userId=..., userAgent=..., selectedProfileId=...)
        for name in ("autocomplete.jsonl", "posted.jsonl"):
            (shown, _), _ = rows(write(tmp_path, line, name=name))
            assert pick(shown, "kind", "user_id") == ("shown", "<machine-7>")
        (shown, _), _ = rows(write(tmp_path, line), SOURCE.model_copy(update={"user": "kim"}))
        assert shown["user_id"] == "<kim>"
        (shown, _), _ = rows(write(tmp_path, {**line, "userId": ""}))
        assert shown["user_id"] == "<machine-7>"

    def test_a_post(self):
        body = {
            "name": "autocomplete",
            "data": autocomplete(eventName=...),
            "schema": "0.2.0",
            "level": "all",
        }
        told = continue_dev.expand(Record(3, body))
        assert [(item.line, item.fields["kind"]) for item in told if isinstance(item, Record)] == [
            (3, "shown"),
            (3, "accepted"),
        ]
        assert told == continue_dev.expand(Record(3, autocomplete()))

    def test_the_level_without_code_shows_nothing(self, tmp_path):
        line = autocomplete(prefix=..., suffix=..., prompt=..., completion=...)
        assert reasons(write(tmp_path, line)) == [(1, "missing_field")]

    def test_line_ends_become_those_of_the_document(self, tmp_path):
        line = autocomplete(prefix="\n// src/my%20a.ts\na\r\n", completion="b\nc\r\n")
        (shown, _), _ = rows(write(tmp_path, line))
        assert pick(shown, "prefix", "text") == ("a\r\n", "b\r\nc\r\n")


class TestPrompts:
    """What stands before the document in a logged prefix, as each of Continue's templates makes it."""

    @pytest.mark.parametrize(
        ("logged", "document"),
        [
            # any model without a template of its own: other files as comments, then the path
            ("\n// src/my%20a.ts\nlet x", "let x"),
            ("\n// my%20a.ts\nlet x", "let x"),
            ("\n// src/my a.ts\n", ""),
            ("\n// src/my%2520a.ts\nlet x", "let x"),
            ("// Path: b.ts\n// let b\n// \n// end\n// src/my%20a.ts\nlet x", "let x"),
            (
                "// diff --git a/b b/b\n// +x\n// Path: src/my%20a.ts\n// old\n// src/my%20a.ts\nlet x",
                "let x",
            ),
            ("// Path: b\n// y\n// src/my%20a.ts\n// src/my%20a.ts\nlet x", "// src/my%20a.ts\nlet x"),
            ("undefined Path: b\nundefined y\nundefined src/my%20a.ts\nlet x", "let x"),
            (" Path: b\n y\n src/my%20a.ts\n# Title", "# Title"),
            # Codestral
            ("+++++ b.ts \nlet b\n\n+++++ src/my%20a.ts \nold\n\n+++++ my%20a.ts\nlet x", "let x"),
            ("--- a diff\n+x\n\n+++++ my%20a.ts\nlet x", "let x"),
            ("+++++ b.ts \nlet b\n\n+++++ my%20a.ts\n[PREFIX]let x", "let x"),
            ("+++++ src/my%20a.ts\n\n[PREFIX]\n", ""),
            ("let x", "let x"),
            # Mercury, and Qwen with several files
            ("<|fim_prefix|>let x", "let x"),
            ("<|file_sep|>src/my%20a.ts\n<|fim_prefix|>", ""),
            ("<|file_sep|>b.ts \nlet b\n\n<|file_sep|>my%20a.ts\n<|fim_prefix|>let x", "let x"),
            # a document alone
            ("", ""),
            ("\nlet x", "\nlet x"),
            ("// a comment\n// another\nlet x", "// a comment\n// another\nlet x"),
            ("import a\nimport b\nlet x", "import a\nimport b\nlet x"),
            ("a +++++ b\n", "a +++++ b\n"),
        ],
    )
    def test_the_document_is_taken_out(self, logged, document):
        assert document_alone(logged, "s", PATH) == (document, "s")

    def test_the_whole_prompt_as_prefix(self):
        whole = "<|repo_name|>app\n<|file_sep|>b.ts\nlet b<|fim_prefix|>let x<|fim_suffix|>;\n<|fim_middle|>"
        assert document_alone(whole, "", PATH) == ("let x", ";\n")
        assert document_alone("<|fim_prefix|>let x<|fim_suffix|>\n<|fim_middle|>", "", PATH) == ("let x", "")

    def test_a_lone_line_feed_is_how_nothing_is_written(self):
        assert document_alone("x", "\n", PATH) == ("x", "")
        assert document_alone("x", "\n\n", PATH) == ("x", "\n\n")

    @pytest.mark.parametrize(
        "logged",
        [
            "// Path: b.ts\n// let b\nlet x",
            "+++++ b.ts \nlet b\n\nlet x",
            "<|file_sep|>b.ts\nlet b",
            "// Path: b.ts\n// src/other.ts\nlet x",
        ],
    )
    def test_other_files_that_cannot_be_told_apart_are_refused(self, tmp_path, logged):
        with pytest.raises(Unusable, match="prompt_not_parted"):
            document_alone(logged, "s", PATH)
        assert reasons(write(tmp_path, autocomplete(prefix=logged), autocomplete())) == [
            (1, "prompt_not_parted")
        ]

    @given(st.text("/ #\nPath:a.ts+", max_size=60), st.text("/ #\nPath:a.ts+", max_size=60))
    def test_other_files_never_stay(self, other, document):
        """Whatever stands in another file and in the document, the document is found, perhaps without its head."""
        comments = "\n".join(f"// {line}" for line in f"Path: {SECRET}.ts\n{other}".strip().split("\n"))
        codestral = f"+++++ {SECRET}.ts \n{other}\n\n"
        for logged in (
            f"{comments}\n// src/my%20a.ts\n{document}",
            f"{codestral}+++++ src/my%20a.ts\n{document}",
        ):
            found, _ = document_alone(logged, "", PATH)
            assert found == document


class TestNextEdit:
    def test_only_what_changes_is_proposed(self, tmp_path):
        (shown, accepted), bad = rows(write(tmp_path, next_edit(), name="nextEditOutcome.jsonl"))
        assert not bad
        head = "import x\nfunction f() {\n  return x."
        assert pick(shown, "kind", "prefix", "suffix", "offset", "length", "text", "ts", "model") == (
            "shown",
            head,
            "old;\n}\nf();\n",
            len(head),
            3,
            "new()",
            at(0),
            "instinct",
        )
        assert pick(accepted, "kind", "completion_id", "ts") == ("accepted", "n1", at(0))
        assert pick(shown, "document", "repository", "user_id") == (
            "~/work/app/src/my a.ts",
            "app",
            "<sam@example.org>",
        )

    def test_what_became_of_it(self, tmp_path):
        lines = [
            next_edit(0, 1, accepted=False, aborted=False),
            next_edit(60, 2, accepted=..., aborted=True),
            next_edit(120, 3, accepted=..., timestamp=iso(120)),
        ]
        found, _ = rows(write(tmp_path, *lines))
        assert [pick(row, "kind", "reason", "ts") for row in found] == [
            ("shown", None, at(0)),
            ("rejected", "timeout", at(10)),
            ("shown", None, at(60)),
            ("rejected", "superseded", at(60)),
            ("shown", None, at(120)),
        ]

    def test_a_window_that_begins_inside_the_document(self, tmp_path):
        (shown, _), _ = rows(write(tmp_path, next_edit(cursorPosition={"line": 40, "character": 0})))
        assert pick(shown, "offset", "prefix") == (None, "import x\nfunction f() {\n  return x.")

    def test_a_whole_file_and_one_changed_group_of_lines(self, tmp_path):
        whole = "a\n<|code_to_edit|>\nb<|cursor|>\nc😀\nb\n<|/code_to_edit|>"
        line = next_edit(
            userExcerpts=whole,
            originalEditableRange="c😀",
            completion="c😀\nd😀",
            cursorPosition={"line": 1, "character": 1},
        )
        (shown, _), _ = rows(write(tmp_path, line))
        assert pick(shown, "prefix", "suffix", "offset", "length", "text") == (
            "a\nb\nc😀",
            "\nb",
            utf16.length("a\nb\nc😀"),
            0,
            "\nd😀",
        )

    def test_the_end_of_the_document(self, tmp_path):
        """A marked excerpt that ends within 25 lines of the cursor, or is the whole file, ends the document."""
        line = next_edit(
            userExcerpts=EXCERPT.removesuffix("f();\n").removesuffix("\n"), completion=f"{REGION}\ng()"
        )
        (shown, _), _ = rows(write(tmp_path, line))
        assert pick(shown, "suffix", "length", "text") == ("", 0, "\ng()")
        long = (
            EXCERPT.removesuffix("\n<|editable_region_end|>\nf();\n")
            + "\nz" * 30
            + "\n<|editable_region_end|>"
        )
        region = REGION + "\nz" * 30
        line = next_edit(userExcerpts=long, originalEditableRange=region, completion=f"{region}\ng()")
        (shown, _), _ = rows(write(tmp_path, line))
        assert pick(shown, "suffix", "length", "text") == (None, 0, "\ng()")

    def test_an_excerpt_that_is_only_the_region(self, tmp_path):
        plain = {"userExcerpts": REGION, "originalEditableRange": REGION}
        (shown, _), _ = rows(write(tmp_path, next_edit(**plain)))
        assert pick(shown, "prefix", "suffix", "offset", "text") == (
            "function f() {\n  return x.",
            "old;\n}",
            None,
            "new()",
        )
        assert reasons(write(tmp_path, next_edit(**plain, completion="another"))) == [(1, "place_unknown")]

    @pytest.mark.parametrize(
        ("excerpt", "replaced"),
        [(EXCERPT, "not there"), (EXCERPT, ""), ("a\nb\na", "a"), (EXCERPT, "f();"), (EXCERPT, "import x")],
    )
    def test_a_place_that_cannot_be_found(self, tmp_path, excerpt, replaced):
        line = next_edit(userExcerpts=excerpt, originalEditableRange=replaced)
        assert reasons(write(tmp_path, line, next_edit())) == [(1, "place_unknown")]

    def test_of_several_places_the_one_at_the_cursor(self, tmp_path):
        text = "<|code_to_edit|>\nx\ny\nx<|cursor|>\n<|/code_to_edit|>\n"
        (shown, _), _ = rows(
            write(tmp_path, next_edit(userExcerpts=text, originalEditableRange="x", completion="xz"))
        )
        assert pick(shown, "prefix", "text", "suffix") == ("x\ny\nx", "z", "\n")

    @given(st.lists(st.text("ab 😀", max_size=4), min_size=1, max_size=12), st.booleans(), st.data())
    def test_applying_the_proposal_gives_the_new_document(self, lines, is_crlf, data):
        """An excerpt without its markers is the document, and the trimmed proposal makes of it what the model said."""
        first = data.draw(st.integers(0, len(lines) - 1))
        last = data.draw(st.integers(first + 1, len(lines)))
        new = data.draw(st.lists(st.text("ab 😀", max_size=4), min_size=1, max_size=4))
        line_end = "\r\n" if is_crlf and len(lines) > 1 else "\n"
        kept = line_end.join(lines).split("\n")  # as Continue has them: with the half of a line end
        marked = [kept[first] if first else "<|cursor|>" + kept[0], *kept[first + 1 :]]
        marked = [
            *kept[:first],
            "<|code_to_edit|>",
            *marked[: last - first],
            "<|/code_to_edit|>",
            *kept[last:],
        ]
        assert excerpt("\n".join(marked)).lines == kept
        line = next_edit(
            userExcerpts="\n".join(marked),
            originalEditableRange="\n".join(kept[first:last]),
            completion="\n".join(new),
        )
        shown = continue_dev.expand(Record(1, line))[0]
        assert isinstance(shown, Record)
        fields = shown.fields
        assert fields["prefix"] + fields["suffix"] == line_end.join(lines)
        at_unit = utf16.length(fields["prefix"])
        after = utf16.splice(line_end.join(lines), at_unit, fields["length"], fields["text"])
        assert after == line_end.join([*lines[:first], *new, *lines[last:]])


class TestHistory:
    def test_the_document_after_some_edits(self, tmp_path):
        for name in ("nextEditWithHistory", "nextEdit"):
            (row,), bad = rows(write(tmp_path, history(eventName=name)))
            assert not bad
            assert pick(
                row, "kind", "ts", "document", "repository", "prefix", "suffix", "reason", "user_id"
            ) == (
                "snapshot",
                at(0),
                "~/work/app/src/my a.ts",
                "app",
                "let x = 12;\n",
                "",
                None,
                "<sam@example.org>",
            )

    def test_it_names_no_machine(self, tmp_path):
        path = write(tmp_path, history(userId=""))
        assert reasons(path) == [(1, "missing_field")]
        assert reasons(path, SOURCE.model_copy(update={"user": "sam"})) == []

    def test_a_post_and_its_line_are_one_event(self):
        posted = {"name": "nextEditWithHistory", "data": history(0.02), "schema": "0.2.0"}
        ids = {
            item.fields["event_id"]
            for line in (history(), posted)
            for item in continue_dev.expand(Record(1, line))
            if isinstance(item, Record)
        }
        assert len(ids) == 1

    def test_an_older_version_names_its_time_otherwise(self, tmp_path):
        (row,), _ = rows(write(tmp_path, history(timestamp=..., createdAt=iso(3))))
        assert row["ts"] == at(3)


def test_other_features_are_ignored(tmp_path):
    names = sorted(continue_dev._OTHER_FEATURES)
    assert {"chatFeedback", "editOutcome", "tokensGenerated"} <= set(names)
    lines = [{"eventName": name, "prompt": SECRET} for name in names]
    assert rows(write(tmp_path, *lines)) == ([], [])
    assert rows(write(tmp_path, {"prompt": SECRET}, name="tokensGenerated.jsonl")) == ([], [])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"eventName": "somethingNew"}, "unknown_event"),
        ({"eventName": 7}, "wrong_type"),
        ({}, "missing_field"),  # the file's name says what it should be
        (autocomplete(timestamp=...), "missing_field"),
        (autocomplete(timestamp="2026-13-01T00:00:00Z"), "bad_timestamp"),
        (autocomplete(timestamp="9999-12-31T23:59:59Z", accepted=False), "bad_timestamp"),
        (autocomplete(timestamp=10**40), "bad_timestamp"),
        (autocomplete(timestamp=[]), "wrong_type"),
        (autocomplete(createdAt="later"), "bad_timestamp"),
        (autocomplete(prefix=None), "missing_field"),
        (autocomplete(suffix=1), "wrong_type"),
        (autocomplete(completion={}), "wrong_type"),
        (autocomplete(completion="\ud83d"), "wrong_type"),
        (autocomplete(filepath=...), "missing_field"),
        (autocomplete(filepath=["a"]), "wrong_type"),
        (autocomplete(completionId=5), "wrong_type"),
        (autocomplete(accepted="yes"), "wrong_type"),
        (autocomplete(userId=5), "wrong_type"),
        (autocomplete(uniqueId=5, userId=""), "wrong_type"),
        (autocomplete(modelName=5), "wrong_type"),
        (next_edit(userExcerpts=...), "missing_field"),
        (next_edit(userExcerpts="\ud83d\n" + EXCERPT), "wrong_type"),
        (next_edit(completion="\ud83d"), "wrong_type"),
        (next_edit(cursorPosition=3), "wrong_type"),
        (next_edit(aborted=1), "wrong_type"),
        (history(afterContent=...), "missing_field"),
        (history(timestamp="now"), "bad_timestamp"),
    ],
)
def test_a_bad_line_is_named_and_the_rest_goes_on(tmp_path, line, reason):
    path = write(tmp_path, autocomplete(0, 1), line, autocomplete(1, 2))
    assert set(reasons(path)) == {(2, reason)}
    assert [row["line"] for row in rows(path)[0] if row["kind"] == "shown"] == [1, 3]


def test_nothing_private_leaves(tmp_path):
    lines = [autocomplete(), next_edit(), history(), autocomplete(timestamp=SECRET), {"eventName": SECRET}]
    found = [
        item.fields if isinstance(item, Record) else item
        for item in continue_dev.read(write(tmp_path, *lines), SOURCE)
    ]
    for item in found:
        if isinstance(item, dict):
            assert item.pop("user_id") == "sam@example.org"
    assert len(found) == 7
    told = repr(found)
    for private in (SECRET, "sam", "private-group", "machine-7", "ollama"):
        assert private not in told


def test_the_same_event_has_the_same_id_wherever_it_stands(tmp_path):
    lines = [autocomplete(), next_edit(accepted=False), history(), history(5, context="longer")]
    one, _ = rows(write(tmp_path, *lines))
    other, _ = rows(write(tmp_path, b"\n", *lines, name="again.jsonl"))
    ids = [row["event_id"] for row in one]
    assert len(set(ids)) == len(ids) == 6
    assert [row["event_id"] for row in other] == ids


_LINES = [json.dumps(line).encode() for line in (autocomplete(), next_edit(), history())]


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 1200), st.one_of(st.none(), st.binary(max_size=3))),
        max_size=6,
    )
)
def test_any_bytes_are_conserved(tmp_path_factory, mutations):
    found = list(_LINES)
    for number, position, new in mutations:
        old = found[number]
        found[number] = old[:position] if new is None else old[:position] + new + old[position + len(new) :]
    path = tmp_path_factory.mktemp("c") / "a.jsonl"
    path.write_bytes(b"\n".join(found) + b"\n")
    good, bad = rows(path)
    told = {row["line"] for row in good} | {item.line for item in bad}
    assert told == {number for number, line in enumerate(path.read_bytes().split(b"\n"), 1) if line.strip()}


def test_from_the_file_to_the_gaps(tmp_path):
    """One proposal is accepted and edited, one times out and something else is written."""
    intro = "\n// src/my%20a.ts\n"
    head, tail = "export function area(r: number) {\n  return ", "\n}\n\nconsole.log(area(2));\n"
    edited = "Math.PI * r ** 2;"
    lines = [
        autocomplete(0, 1, prefix=intro + head, suffix=tail, completion="Math.PI * r * r;", accepted=True),
        autocomplete(40, 2, prefix=intro + head + edited, suffix=tail, completion=" // pi", accepted=False),
        history(90, afterContent=head + edited + " // area" + tail),
    ]
    good, bad = rows(write(tmp_path, *lines))
    assert not bad
    found = gaps.extract_frame(pl.DataFrame(good, schema=events.SCHEMA), PRESETS["echo"])
    assert found.select("completion_id", "outcome", "final", "tracking").rows() == [
        ("c1", "accepted_then_edited", edited + " // area", "snapshots"),
        ("c2", "rejected_then_written", " // area", "snapshots"),
    ]
