"""Which regions of real code are left out, and where help is asked for."""

import io
import random
import tokenize
from pathlib import Path

import pytest
from knowing import ASTRAL

from echo_dagster.simulation import code


@pytest.fixture(scope="module")
def planned(source: Path) -> list[code.CodeFile]:
    files = [code.plan(path, text, random.Random(path)) for path, text in code.read(source)]
    return [file for file in files if file is not None]


def not_code(text: str) -> list[tuple[int, int]]:
    """Where comments and multi-line strings (documentation) stand."""
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return [
        (starts[token.start[0] - 1] + token.start[1], starts[token.end[0] - 1] + token.end[1])
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
        or (token.type == tokenize.STRING and token.start[0] != token.end[0])
    ]


def test_most_files_are_worth_writing(source, planned):
    assert len(planned) > 0.6 * len(code.read(source))
    assert {file.path for file in planned} >= {"faces.py", "asyncio/queues.py"}


def test_regions_are_apart_in_order_and_inside_the_file(planned):
    for file in planned:
        ends = [-1]
        for region in file.regions:
            assert ends[-1] < region.start < region.end <= len(file.text)
            assert region.end - region.start <= 700
            ends.append(region.end)


def test_asks_stand_in_their_region_on_lines_of_their_own(planned):
    for file in planned:
        assert 3 <= file.n_asks <= 7
        for region in file.regions:
            assert region.asks
            lines = [file.text.count("\n", 0, ask.position) for ask in region.asks]
            assert lines == sorted(set(lines))
            assert all(region.start <= ask.position < region.end for ask in region.asks)


def test_something_worth_proposing_is_left_on_the_line(planned):
    for file in planned:
        for region in file.regions:
            for ask in region.asks:
                rest = file.text[ask.position :].split("\n")[0].strip()
                assert len(rest) >= 6
                assert any(character.isalpha() for character in rest)


def test_documentation_and_comments_are_not_asked_for(planned):
    for file in planned:
        spans = not_code(file.text)
        for region in file.regions:
            for ask in region.asks:
                assert not any(start < ask.position < end for start, end in spans), file.path


def test_some_asks_are_for_several_lines(planned):
    lines = [ask.max_lines for file in planned for region in file.regions for ask in region.asks]
    assert 0.01 < lines.count(3) / len(lines) < 0.15
    assert set(lines) == {1, 3}


def test_a_missing_import_is_one_that_a_region_uses(planned):
    files = [file for file in planned if file.auto_import]
    assert files
    for file in files:
        start, end = file.auto_import
        line = file.text[start:end]
        assert line.startswith("from ")
        assert line.endswith("\n")
        name = line.split()[-1]
        assert any(name in file.text[region.start : region.end] for region in file.regions)
        assert end <= file.regions[0].start


def test_trim_keeps_the_first_asks(planned):
    file = next(file for file in planned if len(file.regions) > 2)
    trimmed = code.trim(file, file.n_asks - 1)
    assert trimmed.n_asks == file.n_asks - 1
    assert code.trim(file, 100).regions == file.regions
    assert code.trim(file, 0) == code.CodeFile(file.path, file.text, (), None)


def test_the_same_seed_plans_the_same():
    assert code.plan("faces.py", ASTRAL, random.Random(1)) == code.plan("faces.py", ASTRAL, random.Random(1))


@pytest.mark.parametrize("text", ["x = 1\n" * 50, "def broken(:\n", '"""Only words."""\n', ""])
def test_a_file_that_offers_too_little_is_left_out(text):
    assert code.plan("a.py", text, random.Random(1)) is None


def test_files_that_an_editor_shows_otherwise_are_not_read(tmp_path):
    body = "def function(argument):\n    return argument\n" * 60
    for name, text in (
        ("good", body),
        ("dos", body.replace("\n", "\r\n")),
        ("tabs", body.replace("    ", "\t")),
    ):
        (tmp_path / f"{name}.py").write_bytes(text.encode())
    (tmp_path / "old.py").write_bytes(body.encode() + b"# \xe9\n")
    (tmp_path / "stub.py").write_text("x = 1\n")
    assert [path for path, _ in code.read(tmp_path)] == ["good.py"]
