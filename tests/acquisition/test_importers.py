"""What all importers have in common: the registry, defaults, pseudonyms, quarantine, batches."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from test_native import line, ndjson

from echo_dagster import events
from echo_dagster.acquisition import importers
from echo_dagster.settings import Source

SOURCE = Source(
    name="team",
    importer="native",
    path="*",
    consent=False,
    cohort="internal",
    repository="r",
    user="sam",
    model="m1",
)


def rows(path: Path, source: Source) -> list[dict[str, object]]:
    return pl.concat(
        [good for good, _ in importers.batches(path, source, lambda user: f"<{user}>")]
    ).to_dicts()


def test_the_registry_is_light_and_knows_its_names():
    assert {"native", "vscode_recording"} <= set(importers.NAMES)
    code = (
        "import sys; from echo_dagster.acquisition import importers; "
        "print([m for m in sys.modules if m.startswith('echo_dagster.acquisition.')])"
    )
    root = Path(importers.__file__).parents[2]
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    ).stdout
    assert "native" not in told and "vscode" not in told


def test_an_unknown_importer_is_named_with_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=r"unknown importer 'tabbie'; expected one of .*native"):
        list(importers.read("tabbie", tmp_path, SOURCE))


def test_a_source_says_what_an_event_does_not(tmp_path):
    shown = {"kind": "shown", "completion_id": "c", "prefix": ""}
    path = tmp_path / "a.ndjson"
    path.write_bytes(
        ndjson(
            line(1, user_id=None),
            line(2, **shown),
            line(3, **shown, consent=True, cohort="external", repository="q", model="m0", source="cups"),
        )
    )
    names = ("user_id", "consent", "cohort", "repository", "model", "source")
    assert [tuple(row[name] for name in names) for row in rows(path, SOURCE)] == [
        ("<sam>", False, "internal", "r", None, "team"),
        ("<alex>", False, "internal", "r", "m1", "team"),
        ("<alex>", True, "external", "q", "m0", "cups"),
    ]


def test_bad_lines_go_to_quarantine_with_file_line_and_reason(tmp_path):
    path = tmp_path / "a.ndjson"
    path.write_bytes(ndjson(line(1), b"{\n", line(2, kind="hover"), line(3, offset=-1), line(4, user_id=[7])))
    ((good, bad),) = importers.batches(path, SOURCE, lambda user: user)
    assert good.schema == events.SCHEMA
    assert bad.schema == {**events.QUARANTINE_SCHEMA, "after": events.TIMESTAMP}
    assert good["event_id"].to_list() == ["e1"]
    assert bad.drop("detail", "after").rows() == [
        ("team", path.as_posix(), 2, "malformed_json"),
        ("team", path.as_posix(), 3, "unknown_kind"),
        ("team", path.as_posix(), 4, "impossible_offset"),
        ("team", path.as_posix(), 5, "wrong_type"),
    ]


def test_a_name_that_is_not_utf8_is_kept_as_far_as_it_is(tmp_path):
    path = tmp_path / "caf\udce9.ndjson"
    path.write_bytes(ndjson(line(1), b"{\n"))
    ((good, bad),) = importers.batches(path, SOURCE, lambda user: user)
    assert (good.height, bad["file"].to_list()) == (1, [f"{tmp_path}/caf\ufffd.ndjson"])


def test_a_limit_takes_the_first(tmp_path):
    path = tmp_path / "a.ndjson"
    path.write_bytes(ndjson(line(1), b"{\n", line(2), b"{\n"))
    ((good, bad),) = importers.batches(path, SOURCE, lambda user: user, limit=3)
    assert (good["event_id"].to_list(), bad["line"].to_list()) == (["e1", "e2"], [2])


def test_no_detail_holds_text_of_the_user(tmp_path):
    secret = "hunter2"
    path = tmp_path / "a.ndjson"
    fields = [
        {name: secret}
        for name in events.SCHEMA
        if name not in ("event_id", "user_id", "session_id", "document")
    ]
    path.write_bytes(
        ndjson(
            f"{{{secret}\n".encode(), *[line(1, **given) for given in fields], line(1, text={secret: secret})
        )
    )
    details = pl.concat([bad for _, bad in importers.batches(path, SOURCE, lambda user: user)])[
        "detail"
    ].to_list()
    assert len(details) > 6
    assert not [detail for detail in details if secret in detail]


def test_batches_are_bounded_in_rows_and_in_text(tmp_path, monkeypatch):
    path = tmp_path / "a.ndjson"
    path.write_bytes(ndjson(*[line(number) if number % 2 else b"{\n" for number in range(10)]))
    monkeypatch.setattr("echo_dagster.acquisition.ndjson.is_readable", lambda path: False)
    sizes = [
        (good.height, bad.height) for good, bad in importers.batches(path, SOURCE, lambda user: user, rows=4)
    ]
    assert sizes == [(2, 2), (2, 2), (1, 1)]
    monkeypatch.setattr(importers, "_BATCH_CHARS", 1)
    assert [good.height for good, _ in importers.batches(path, SOURCE, lambda user: user)] == [1] * 5
