"""Which tool wrote a file: every format is known by its head, and none is taken for another."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import formats
import pyarrow as pa
import pytest

from echo_dagster.acquisition import guessing, importers
from echo_dagster.acquisition.guessing import guess

FILES = formats.files()


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def packed(content: bytes, codec: str) -> bytes:
    return gzip.compress(content) if codec == ".gz" else pa.compress(content, "zstd", asbytes=True)


def test_every_importer_is_looked_for():
    assert set(guessing._LOOKS) == set(importers.NAMES) == {file.of for file in FILES}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_looks_like_its_tool_and_like_no_other(tmp_path, file):
    path = written(tmp_path, file.name, file.content)
    found = guess(path)
    assert found.importer == file.of and found.why
    if path.suffix != ".parquet":
        head, _ = guessing._head(path)
        assert [name for name, looks in guessing._LOOKS.items() if list(looks(head))] == [file.of]


@pytest.mark.parametrize("codec", [".gz", ".zst"])
@pytest.mark.parametrize(
    "file", [file for file in FILES if ".parquet" not in file.name], ids=lambda file: file.name
)
def test_compressed_files(tmp_path, file, codec):
    content = packed(file.content, codec)
    assert guess(written(tmp_path, file.name + codec, content)).importer == file.of
    hidden = guess(written(tmp_path, file.name + ".dat", content))
    assert (hidden.importer, hidden.why) == (None, "compressed, and its name does not end in .gz or .zst")


@pytest.mark.parametrize(
    "file", [file for file in FILES if ".parquet" not in file.name], ids=lambda file: file.name
)
def test_the_head_is_enough(tmp_path, monkeypatch, file):
    path = written(tmp_path, file.name, file.content)
    monkeypatch.setattr(guessing, "HEAD_BYTES", 1200)
    monkeypatch.setattr(guessing, "_PIECE_BYTES", 1200)
    assert guess(path).importer == file.of


@pytest.mark.parametrize("file", [file for file in FILES if ".json" in file.name], ids=lambda file: file.name)
def test_a_byte_order_mark_and_damage(tmp_path, file):
    assert guess(written(tmp_path, file.name, b"\xef\xbb\xbf" + file.content)).importer == file.of
    assert guess(written(tmp_path, file.name, file.content[: len(file.content) // 2])).importer == file.of
    if file.content.endswith(b"}\n"):  # JSON lines
        assert guess(written(tmp_path, file.name, b"\xff\x00{\n" + file.content)).importer == file.of
        assert guess(written(tmp_path, file.name, file.content[9:])).importer == file.of


def test_one_line_longer_than_the_head(tmp_path):
    entry = formats.tabby()[0]
    entry["event"]["completion"]["prompt"] = "x" * 2 * guessing.HEAD_BYTES
    assert guess(written(tmp_path, "a.json", json.dumps(entry).encode())).importer == "tabby"
    log = json.loads(formats.recording(None))["log"]
    log[2]["content"] = "x" * 2 * guessing.HEAD_BYTES
    assert (
        guess(written(tmp_path, "b.json", json.dumps({"log": log}).encode())).importer == "vscode_recording"
    )


def test_lines_of_two_tools_go_to_the_one_that_wrote_most(tmp_path):
    content = formats.lines(*formats.tabby()[:3], *formats.completions()[:1])
    assert guess(written(tmp_path, "a.json", content)).importer == "tabby"


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.json", b"", "empty"),
        ("a.json.gz", gzip.compress(b"", mtime=0), "empty"),
        ("a.json.gz", b"no gzip", "the compressed data are damaged from the beginning"),
        ("a.json", b'{"message": "started", "level": "info"}\n', "JSON objects that no known tool writes"),
        ("a.json", b"[1, 2]\n", "text that no known tool writes"),
        ("a.json", b"[" * 200_000, "text that no known tool writes"),
        ("a.json", b'{"a": ' + b"9" * 9_000 + b"}", "text that no known tool writes"),
        ("log", "a text in français\n".encode(), "text that no known tool writes"),
        ("log", b"\x00\x01\x02", "no text in UTF-8"),
        ("log", "français".encode("latin-1") * 9, "no text in UTF-8"),
        ("a.csv", b"time,user\n1,2\n", "text that no known tool writes"),
        ("a.csv", b'"' + b"x" * 200_000, "text that no known tool writes"),
        ("a.sql", b"COPY public.orders (id) FROM stdin;\n", "text that no known tool writes"),
        ("a.dump", b"PGDMP\x01\x0e", "an archive of pg_dump; expected its plain format"),
        ("a.pkl", b"\x80\x04]\x94.", "no text in UTF-8"),
        ("a.parquet", b"PAR1", "not Parquet, or damaged"),
        ("a.md", b"# Notes\n\n```\nx\n```\n", "text that no known tool writes"),
        ("autocomplete.txt", b"nothing\n", "text that no known tool writes"),
    ],
)  # fmt: skip
def test_what_is_not_known_says_so(tmp_path, name, content, why):
    assert guess(written(tmp_path, name, content)) == guessing.Guess(None, why)


def test_compressed_data_that_end_early_are_known_by_what_is_there(tmp_path):
    content = packed(formats.lines(*formats.tabby()) * 400, ".gz")
    assert guess(written(tmp_path, "a.json.gz", content[: len(content) // 2])).importer == "tabby"


def test_parquet_of_something_else(tmp_path):
    path = tmp_path / "a.parquet"
    formats.pl.DataFrame({"x": [1]}).write_parquet(path)
    assert guess(path) == guessing.Guess(None, "a Parquet file without the columns event_id, ts and kind")


def test_what_tells_it_holds_nothing_of_the_file(tmp_path):
    for file in FILES:
        why = guess(written(tmp_path, file.name, file.content)).why
        assert formats.CODE not in why and "sentinel" not in why.lower() and "@" not in why
