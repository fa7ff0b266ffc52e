"""Zed's examples and settled predictions: the gap that they tell of, in every form they are written in."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import gaps_of, good, items, reasons, survives

from echo_dagster.acquisition import zed_markdown, zed_patch
from echo_dagster.acquisition.records import Bad

EXCERPT = "def area(w, h):\n    return w\n\n\nprint(area(2, 3))\n"
PATH = "/home/sam-sentinel/app/src/area.py"
SECRET = "TOKEN-SENTINEL"


def diff(old: str, new: str, row: int = 2, path: str = PATH) -> str:
    return f"--- a/{path}\n+++ b/{path}\n@@ -{row},1 +{row},1 @@\n-{old}\n+{new}\n"


PROPOSED = diff("    return w", "    return w * w")
SETTLED = diff("    return w", "    return w * h")


def example(**fields: Any) -> dict[str, Any]:
    return {
        "name": "req-1",
        "repository_url": f"https://sam:{SECRET}@git.example.org/private/app.git",
        "revision": "abc",
        "uncommitted_diff": SECRET,
        "cursor_path": PATH,
        "cursor_position": "def area(w, h):\n    return w\n    #       ^[CURSOR_POSITION]\n\n\nprint(area(2, 3))\n",
        "edit_history": SECRET,
        "expected_patches": [SETTLED],
        "rejected_patch": PROPOSED,
        "telemetry": {
            "request_id": "req-1",
            "device_id": "device-1",
            "time": "2026-01-05 08:00:00.500",
            "rejection_reason": "",
            "was_shown": False,
        },
        "prompt_inputs": {"cursor_excerpt": EXCERPT, "excerpt_start_row": 0, "cursor_offset_in_excerpt": 28},
        "tags": ["settled"],
        **fields,
    }


def row(**fields: Any) -> dict[str, Any]:
    """A settled prediction with its request. The region is the second line."""
    start = EXCERPT.index("    return")
    return {
        "request_id": "req-2",
        "device_id": "device-1",
        "time": "2026-01-05 09:00:00 +0000",
        "input": {
            "cursor_path": PATH,
            "cursor_excerpt": EXCERPT,
            "excerpt_start_row": 0,
            "excerpt_ranges": {
                "editable_150": {"start": 0, "end": 3},
                "editable_180": {"start": 0, "end": 4},
                "editable_350": {"start": start, "end": start + len("    return w\n")},
            },
            "repo_url": f"https://sam:{SECRET}@git.example.org/private/app.git",
        },
        "requested_output": "    return w * w\n",
        "requested_format": "V0211Prefill",
        "settled_editable_region": "    return w * h\n",
        "model_version": "zeta-9",
        **fields,
    }


def write(tmp_path: Path, *lines: Any, name: str = "a.jsonl") -> Path:
    path = tmp_path / name
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_an_example_is_shown_and_settled(tmp_path):
    shown, settled = good(write(tmp_path, example()), "zed")
    assert (shown["kind"], settled["kind"], settled["reason"]) == ("shown", "snapshot", "request")
    assert shown["ts"] == settled["ts"] == datetime(2026, 1, 5, 8, 0, 0, 500_000, tzinfo=UTC)
    assert (shown["seq"], settled["seq"], shown["line"], settled["line"]) == (0, 1, 1, 1)
    names = ("user_id", "session_id", "document", "repository", "language", "model", "completion_id")
    told = ("device-1", "req-1", "~/app/src/area.py", "app", "python", None, "req-1")
    assert tuple(shown[name] for name in names) == told
    at = EXCERPT.index("\n\n\nprint")
    assert (shown["prefix"], shown["suffix"], shown["offset"], shown["length"], shown["text"]) == (
        EXCERPT[:at] + "",
        EXCERPT[at:],
        at,
        0,
        " * w",
    )
    assert settled["prefix"] == EXCERPT[:at] + " * h" and settled["suffix"] == EXCERPT[at:]
    assert shown["event_id"] != settled["event_id"] and settled["completion_id"] is None


def test_a_row_of_telemetry_gives_the_same(tmp_path):
    one, other = good(write(tmp_path, example()), "zed"), good(write(tmp_path, row()), "zed")
    names = (
        "kind",
        "seq",
        "document",
        "repository",
        "offset",
        "length",
        "text",
        "prefix",
        "suffix",
        "reason",
    )
    assert [[event[name] for name in names] for event in one] == [
        [event[name] for name in names] for event in other
    ]
    assert other[0]["model"] == "zeta-9" and other[0]["ts"].hour == 9
    as_text = row(input=json.dumps(row()["input"]))
    assert good(write(tmp_path, as_text), "zed") == other


@pytest.mark.parametrize(
    ("layout", "region"),
    [
        ("V0112MiddleAtEnd", "editable_150"),
        ("V0114180EditableRegion", "editable_180"),
        (None, "editable_350"),
    ],
)
def test_the_region_is_that_of_the_prompt_format(tmp_path, layout, region):
    line = row(requested_format=layout, requested_output="X", settled_editable_region=None)
    (shown,) = good(write(tmp_path, line), "zed")
    bounds = line["input"]["excerpt_ranges"][region]
    replaced = shown["suffix"][: shown["length"]]
    assert shown["prefix"] + replaced == EXCERPT[: bounds["end"]] and len(shown["prefix"]) == bounds["start"]


def test_what_the_user_decided(tmp_path):
    def decision(**telemetry: Any) -> list[tuple[str, Any]]:
        line = example(telemetry=example()["telemetry"] | telemetry)
        return [(event["kind"], event["reason"]) for event in good(write(tmp_path, line), "zed")][1:-1]

    assert decision(rejection_reason="Rejected", was_shown=True) == [("rejected", "dismissed")]
    assert decision(rejection_reason="Replaced", was_shown=True) == [("rejected", "superseded")]
    assert decision(rejection_reason="current_preferred", was_shown=True) == [("rejected", "superseded")]
    assert decision(rejection_reason="Discarded", was_shown=True) == []
    accepted = example(tags=["accepted"], rejected_patch=None, predictions=[{"actual_patch": PROPOSED}])
    assert [event["kind"] for event in good(write(tmp_path, accepted), "zed")] == [
        "shown",
        "accepted",
        "snapshot",
    ]


def test_the_gap_ends_with_what_was_settled(tmp_path):
    lines = [
        example(),
        row(requested_output="    return w * h\n"),
        row(request_id="req-3", settled_editable_region="    return w\n"),
        example(
            tags=["accepted"],
            rejected_patch=None,
            predictions=[{"actual_patch": PROPOSED}],
            telemetry=example()["telemetry"] | {"request_id": "req-4"},
        ),
    ]
    found = gaps_of(write(tmp_path, *lines), "zed").sort("session_id")
    columns = ["session_id", "proposal", "final", "outcome", "tracking"]
    assert found.select(columns).rows() == [
        ("req-1", " * w", " * h", "rejected_then_written", "snapshots"),
        ("req-2", " * h", " * h", "typed_through", "snapshots"),
        ("req-3", " * w", "", "ignored", "snapshots"),
        ("req-4", " * w", " * h", "accepted_then_edited", "snapshots"),
    ]


def test_an_excerpt_from_the_middle_of_a_document(tmp_path):
    line = example(prompt_inputs={"cursor_excerpt": EXCERPT, "excerpt_start_row": 40})
    shown, settled = good(write(tmp_path, line), "zed")
    assert (shown["offset"], settled["offset"]) == (None, None)
    assert gaps_of(write(tmp_path, line), "zed")["final"].to_list() == [" * h"]


def test_a_change_at_both_ends_of_the_excerpt_is_one_at_those_of_the_document(tmp_path):
    whole = {"start": 0, "end": 3}
    inputs = {"cursor_path": "a.py", "cursor_excerpt": "a\nb", "excerpt_ranges": {"editable_350": whole}}
    line = row(input=inputs, requested_output="x\ny", settled_editable_region="z")
    shown, _ = good(write(tmp_path, line), "zed")
    assert (shown["offset"], shown["length"], shown["prefix"], shown["suffix"]) == (0, 3, "", "a\nb")
    assert gaps_of(write(tmp_path, line), "zed").select("replaced", "final").rows() == [("a\nb", "z")]


def test_offsets_are_utf16(tmp_path):
    excerpt = "s = '😀'\nt = 1\n"
    region = {"start": len("s = '😀'\n".encode()), "end": len(excerpt.encode())}
    inputs = {
        "cursor_path": "a.py",
        "cursor_excerpt": excerpt,
        "excerpt_start_row": 0,
        "excerpt_ranges": {"editable_350": region},
    }
    line = row(input=inputs, requested_output="t = 2\n", settled_editable_region="t = 3\n")
    shown, _ = good(write(tmp_path, line), "zed")
    assert (shown["offset"], shown["text"]) == (len("s = '😀'\nt = ") + 1, "2")


MARKDOWN = f"""+++
repository_url = "https://git.example.org/private/app"
revision = "abc"
+++

# req-1

## Edit History

```diff
{SECRET}
```

## Cursor Position

```src/area.py
def area(w, h):
    return w
    #       ^[CURSOR_POSITION]


print(area(2, 3))
```

## Expected Patch

```diff
--- a/src/area.py
+++ b/src/area.py
@@ ... @@
 def area(w, h):
-    return w
+    return w * h
#             ^[CURSOR_POSITION]

```

## Rejected Patch

```diff
--- a/src/area.py
+++ b/src/area.py
@@ -1,9 +1,9 @@
 def area(w, h):
-    return w
+    return w * w<|user_cursor|>

```
"""


def test_markdown(tmp_path):
    path = tmp_path / "2026-01-05.md"
    path.write_text(MARKDOWN, encoding="utf-8")
    shown, settled = good(path, "zed", user="sam")
    assert (shown["text"], shown["document"], shown["repository"]) == (" * w", "src/area.py", "app")
    assert settled["prefix"].endswith("return w * h") and shown["ts"] == datetime(2026, 1, 5, tzinfo=UTC)
    path.rename(tmp_path / "example.md")
    assert reasons(tmp_path / "example.md", "zed", user="sam") == [(1, "missing_field")]


def test_one_example_as_json_over_many_lines(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(example(), indent=2), encoding="utf-8")
    assert [event["kind"] for event in good(path, "zed")] == ["shown", "snapshot"]


def test_markdown_fields():
    found = zed_markdown.parsed(MARKDOWN.replace("\n", "\r\n"))
    assert found["repository_url"] == "https://git.example.org/private/app"
    assert (found["name"], found["cursor_path"]) == ("req-1", "src/area.py")
    assert len(found["expected_patches"]) == 1 and found["rejected_patch"].startswith("--- a/src")
    assert zed_markdown.parsed("## Cursor Position\n\n```a.py\nnever closed") == {"expected_patches": []}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (example(rejected_patch=None), "no_proposal"),
        (example(rejected_patch=""), "no_proposal"),
        (row(requested_output="    return w\n"), "no_proposal"),
        (row(requested_output=None), "no_proposal"),
        (row(input=None), "missing_field"),
        (row(input="{"), "malformed_json"),
        (row(input=[1]), "wrong_type"),
        (row(input={"cursor_excerpt": "", "cursor_path": "a"}), "missing_field"),
        (
            row(input=row()["input"] | {"excerpt_ranges": {"editable_350": {"start": 2, "end": 900}}}),
            "impossible_offset",
        ),
        (
            row(input=row()["input"] | {"excerpt_ranges": {"editable_350": {"start": 2.0, "end": True}}}),
            "missing_field",
        ),
        (row(settled_editable_region=7), "wrong_type"),
        (row(reason="Canceled", was_shown=False), "not_shown"),
        (row(time=None), "missing_field"),
        (row(time=5), "bad_timestamp"),
        (row(time="0001-01-01T00:00:00+14:00"), "bad_timestamp"),
        (row(device_id=None), "missing_field"),
        (row(requested_output="\ud83d"), "wrong_type"),
        (example(cursor_path=3), "wrong_type"),
        (example(telemetry="x"), "malformed_json"),
        (example(expected_patches=[None]), "wrong_type"),
        (example(expected_patches=[diff("    return z", "x")]), "patch_failed"),
        (example(rejected_patch=diff("    return w", "x", path="other.py")), "patch_failed"),
        ({"request_id": "r", "settled_editable_region": "x", "kept_rate": 1.0}, "missing_field"),
        ({}, "missing_field"),
    ],
)
def test_what_gives_no_events_is_named(tmp_path, line, reason):
    path = write(tmp_path, row(), line, row(request_id="req-9"))
    assert set(reasons(path, "zed")) == {(2, reason)}
    assert {item.line for item in items(path, "zed")} == {1, 2, 3}


def test_consent_is_withheld_where_zed_says_so(tmp_path):
    kept = row(input=row()["input"] | {"can_collect_data": True})
    withheld = row(request_id="req-3", input=row()["input"] | {"can_collect_data": False})
    found = good(write(tmp_path, kept, withheld), "zed")
    assert [event["consent"] for event in found] == [True, True, False, False]


def test_private_fields_stay_behind(tmp_path):
    lines = [example(), row(), example(rejected_patch=diff("no such line", SECRET)), row(input=SECRET)]
    told = repr(items(write(tmp_path, *lines), "zed"))
    assert SECRET not in told and "sam-sentinel" not in told and "git.example.org" not in told


def test_the_same_file_twice_gives_the_same_ids(tmp_path):
    nameless = example(telemetry=None, name="")
    first = good(write(tmp_path, example(), row(), nameless, name="2026-01-05-a.jsonl"), "zed", user="sam")
    again = good(write(tmp_path, nameless, row(), example(), name="2026-01-05-b.jsonl"), "zed", user="sam")
    assert {event["event_id"] for event in first} == {event["event_id"] for event in again}
    assert len({event["event_id"] for event in first}) == 6


def test_files_of_other_kinds(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n")
    assert reasons(tmp_path / "a.csv", "zed") == [(0, "unknown_file_type")]
    (tmp_path / "a.md").write_bytes(b"\xff")
    assert reasons(tmp_path / "a.md", "zed") == [(1, "bad_encoding")]
    (tmp_path / "a.json").write_bytes(b"")
    assert items(tmp_path / "a.json", "zed") == []
    with pytest.raises(FileNotFoundError):
        items(tmp_path / "none.md", "zed")


def test_damage_is_quarantined(tmp_path):
    content = "".join(json.dumps(line) + "\n" for line in (example(), row(), example())).encode()
    assert survives(content, tmp_path / "a.jsonl", "zed") >= {"malformed_json", "truncated_file"}
    assert survives(MARKDOWN.encode(), tmp_path / "2026-01-05.md", "zed") >= {"missing_field", "patch_failed"}


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**30, 10**40)
    | st.text()
    | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.sampled_from([*example(), *(f"prompt_inputs.{name}" for name in example()["prompt_inputs"])]),
    st.sampled_from([*row(), *(f"input.{name}" for name in row()["input"])]),
    _JSON,
)
def test_any_value_in_any_field(tmp_path_factory, of_example, of_row, value):
    path = tmp_path_factory.mktemp("z") / "2026-01-05.jsonl"
    lines = []
    for line, name in ((example(), of_example), (row(), of_row)):
        parent, _, child = name.rpartition(".")
        target = dict(line[parent]) if parent else line
        target[child] = value
        lines.append(line | {parent: target} if parent else target)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    found = items(path, "zed", user="sam")
    assert {item.line for item in found} == {1, 2}


class TestPatch:
    def test_a_hunk_is_found_by_its_text_wherever_its_number_points(self):
        assert zed_patch.apply(diff("b", "B", row=77, path="f"), "a\nb\nc\n", "f") == "a\nB\nc\n"

    def test_its_number_chooses_between_several_places(self):
        assert zed_patch.apply(diff("a", "A", row=3, path="f"), "a\nb\na\n", "f") == "a\nb\nA\n"
        assert (
            zed_patch.apply(diff("a", "A", row=43, path="f"), "a\nb\na\n", "f", first_row=40) == "a\nb\nA\n"
        )
        with pytest.raises(zed_patch.PatchError, match="more than once"):
            zed_patch.apply(diff("a", "A", row=2, path="f"), "a\nb\na\n", "f")

    def test_a_text_without_a_last_line_break(self):
        assert zed_patch.apply(diff("b", "B", path="f"), "a\nb", "f") == "a\nB"
        assert zed_patch.apply("@@ -2,1 +2,0 @@\n-b\n", "a\nb", "f") == "a"

    def test_a_part_of_a_line_is_no_line(self):
        with pytest.raises(zed_patch.PatchError, match="not in the excerpt"):
            zed_patch.apply(diff("b", "B", path="f"), "ab\nbc\n", "f")

    def test_hunks_follow_one_another(self):
        patch = "@@ -1,1 +1,1 @@\n-a\n+A\n@@ -3,1 +3,2 @@\n a\n+n\n"
        assert zed_patch.apply(patch, "a\nb\na\n", "f") == "A\nb\na\nn\n"

    def test_an_insertion_without_context_stands_at_its_row(self):
        assert zed_patch.apply("@@ -2,0 +2,1 @@\n+n\n", "a\nb\n", "f") == "a\nn\nb\n"
        with pytest.raises(zed_patch.PatchError):
            zed_patch.apply("@@ -9,0 +9,1 @@\n+n\n", "a\nb\n", "f")

    def test_names_with_and_without_a_slash(self):
        for name in ("b//home/x.py", "b/home/x.py", "/home/x.py", "home/x.py"):
            patch = f"--- a/home/x.py\n+++ {name}\n@@ -1,1 +1,1 @@\n-a\n+A\n"
            assert zed_patch.apply(patch, "a\n", "/home/x.py") == "A\n"

    @given(st.text(alphabet="ab\n", max_size=40), st.text(alphabet="ab\n", max_size=40))
    def test_a_real_diff_gives_the_new_text(self, old, new):
        import difflib

        old, new = old + "\n", new + "\n"
        lines = difflib.unified_diff(old.splitlines(True), new.splitlines(True), "a/f", "b/f")
        assert zed_patch.apply("".join(lines), old, "f") == new


def test_no_detail_holds_text_of_the_document(tmp_path):
    line = example(rejected_patch=f"@@ -1,1 +1,1 @@\n-{SECRET}\n+x\n")
    (bad,) = [item for item in items(write(tmp_path, line), "zed") if isinstance(item, Bad)]
    assert bad.reason == "patch_failed" and SECRET not in bad.detail
