"""The code that simulated developers write: real files, the regions left to be written, and where help is
asked for.

What lives here: choosing files and cutting holes into them. What does not: how a hole is filled
(`workday.py`), and who gets which file (`workday.py`). Positions are code points of the file's text;
offsets in UTF-16 code units exist only in the events (`editor.py`).
"""

from __future__ import annotations

import io
import keyword
import random
import re
import tokenize
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

#: Files outside these sizes are stubs or too large to be opened for a few lines.
_FILE_CHARS = (1_500, 40_000)
_REGION_STATEMENTS = (2, 5)
_REGION_CHARS = 700
_ASKS_PER_FILE = 5
#: Less than this left on the line is not worth asking for.
_MIN_REST_CHARS = 6
_MAX_REST_CHARS = 70
_BLOCK_LINES = 3
_BLOCK_SHARE = 0.08

#: After these, people stop and look at what the model proposes. The weights say how often, against each
#: other.
_PAUSE_WEIGHTS = {
    "=": 4.0,
    "(": 4.0,
    ".": 4.0,
    "[": 2.0,
    "{": 1.0,
    ",": 2.0,
    ":": 1.0,
    "->": 2.0,
    "==": 2.0,
    "return": 4.0,
    "import": 2.0,
    "raise": 3.0,
    "if": 3.0,
    "elif": 2.0,
    "for": 2.0,
    "in": 3.0,
    "is": 2.0,
    "and": 2.0,
    "or": 2.0,
    "not": 2.0,
    "with": 2.0,
    "yield": 2.0,
    "await": 2.0,
}
_LINE_START_WEIGHT = 1.0
_CONTINUED_LINE_WEIGHT = 0.5
_INSIDE_NAME_WEIGHT = 1.0
#: Which name comes next among imports is in nobody's context.
_IMPORT_DISCOUNT = 0.25

#: From 3.12 on an f-string is many tokens. No point inside one is asked at, so that every Python chooses
#: alike.
_F_STRING_START = getattr(tokenize, "FSTRING_START", None)
_F_STRING_END = getattr(tokenize, "FSTRING_END", None)
_LAYOUT = (tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT, tokenize.ENCODING)
_IMPORT = re.compile(r"^from [\w.]+ import (\w+)\n", re.MULTILINE)


class SimulationError(ValueError):
    """The simulation cannot be made as asked; the message says what to change."""


@dataclass(frozen=True)
class Ask:
    """A cursor position at which the model is asked, and how many lines it may propose."""

    position: int
    max_lines: int


@dataclass(frozen=True)
class Region:
    """A stretch `[start, end)` of the file, missing when it is opened, and the asks made while writing it."""

    start: int
    end: int
    asks: tuple[Ask, ...]


@dataclass(frozen=True)
class CodeFile:
    """A real file, with the regions to write in the order of the text.

    `auto_import` is an import line `[start, end)`, line end included, that is missing too: the editor adds
    it by itself as soon as its name is used.
    """

    path: str
    text: str
    regions: tuple[Region, ...]
    auto_import: tuple[int, int] | None

    @property
    def n_asks(self) -> int:
        """Return how many times the model is asked in this file."""
        return sum(len(region.asks) for region in self.regions)


@dataclass(frozen=True)
class _Statement:
    """A logical line `[start, end)` and the positions in it at which one may ask, with weights."""

    start: int
    end: int
    pauses: tuple[tuple[int, float], ...]


def read(source: Path) -> list[tuple[str, str]]:
    """Return (path below `source`, text) of the Python files that developers can write, in the order of the
    paths.

    Raises:
        SimulationError: `source` holds no such file.
    """
    files = []
    for path in sorted(source.rglob("*.py")):
        if not _FILE_CHARS[0] <= path.stat().st_size <= 4 * _FILE_CHARS[1]:
            continue
        try:
            text = path.read_bytes().decode("utf-8")
        except UnicodeDecodeError:
            continue  # an old encoding: not what an editor holds
        if _FILE_CHARS[0] <= len(text) <= _FILE_CHARS[1] and not re.search(r"[\r\f\t\ufeff]", text):
            files.append((path.relative_to(source).as_posix(), text))
    if not files:
        raise SimulationError(
            f"{source} holds no Python file of {_FILE_CHARS[0]} to {_FILE_CHARS[1]} characters"
        )
    return files


def plan(path: str, text: str, rng: random.Random) -> CodeFile | None:
    """Choose what to leave out of a file and where to ask. None where the file offers too little.

    Regions are two to five statements in a row; documentation, comments and what is trivial are rarely
    asked for.
    """
    try:
        statements = _statements(text)
    except (tokenize.TokenError, SyntaxError):
        return None  # a template or another version's syntax
    regions: list[Region] = []
    index = rng.randint(0, 4)
    while index < len(statements) and sum(len(region.asks) for region in regions) < _ASKS_PER_FILE:
        group = statements[index : index + rng.randint(*_REGION_STATEMENTS)]
        while len(group) > 1 and group[-1].end - group[0].start > _REGION_CHARS:
            group = group[:-1]
        region = _region(text, group, rng)
        if region is None:
            index += 1
            continue
        regions.append(region)
        index += len(group) + rng.randint(1, max(2, len(statements) // 6))
    if sum(len(region.asks) for region in regions) < _ASKS_PER_FILE - 2:
        return None
    return CodeFile(path, text, tuple(regions), _auto_import(text, regions))


def trim(file: CodeFile, n_asks: int) -> CodeFile:
    """Return `file` with only its first `n_asks` asks; what no one asks about any more is written already."""
    regions = []
    for region in file.regions:
        asks = region.asks[: max(0, n_asks)]
        n_asks -= len(asks)
        if asks:
            regions.append(Region(region.start, region.end, asks))
    return CodeFile(file.path, file.text, tuple(regions), _auto_import(file.text, regions))


def _region(text: str, group: Sequence[_Statement], rng: random.Random) -> Region | None:
    start, end = group[0].start, group[-1].end
    if end - start > _REGION_CHARS:
        return None
    lines: dict[int, list[tuple[int, float]]] = {}
    for statement in group:
        for position, weight in statement.pauses:
            lines.setdefault(text.rfind("\n", 0, position), []).append((position, weight))
    if not lines:
        return None
    # One ask for every two lines, as between two asks people also write.
    # Drawn by weight without replacement: the largest u ** (1 / weight) of uniform u.
    drawn = {line: rng.random() ** (1 / sum(weight for _, weight in lines[line])) for line in sorted(lines)}
    chosen = sorted(sorted(drawn, key=drawn.__getitem__, reverse=True)[: max(1, min(3, len(lines) // 2))])
    asks = []
    for line in chosen:
        positions, weights = zip(*lines[line], strict=True)
        position = rng.choices(positions, weights)[0]
        block = text.count("\n", position, end) >= 2 and rng.random() < _BLOCK_SHARE
        asks.append(Ask(position, _BLOCK_LINES if block else 1))
    return Region(start, end, tuple(asks))


def _statements(text: str) -> list[_Statement]:
    """Return the logical lines of a file but for documentation strings."""
    line_starts = [0, *(match.end() for match in re.finditer("\n", text))]
    statements = []
    tokens: list[tokenize.TokenInfo] = []
    for token in tokenize.generate_tokens(io.StringIO(text, newline="\n").readline):
        if token.type in (tokenize.NEWLINE, tokenize.ENDMARKER):
            if tokens and not all(item.type == tokenize.STRING for item in tokens):
                end = line_starts[token.start[0] - 1] + token.start[1]
                statements.append(_statement(text, tokens, line_starts, end))
            tokens = []
        elif token.type not in _LAYOUT:
            tokens.append(token)
    return statements


def _statement(
    text: str, tokens: Sequence[tokenize.TokenInfo], line_starts: Sequence[int], end: int
) -> _Statement:
    def position(token: tokenize.TokenInfo) -> int:
        return line_starts[token.start[0] - 1] + token.start[1]

    start = position(tokens[0])
    pauses = [(start, _LINE_START_WEIGHT)]
    f_strings = 0
    for before, token in pairwise(tokens):
        f_strings += (before.type == _F_STRING_START) - (before.type == _F_STRING_END)
        if f_strings:
            continue
        at = position(token)
        if before.end[0] == token.start[0]:
            weight = (
                _PAUSE_WEIGHTS.get(before.string, 0.0) if before.type in (tokenize.OP, tokenize.NAME) else 0.0
            )
            if weight:
                pauses.append((at, weight))
        else:
            pauses.append((at, _CONTINUED_LINE_WEIGHT))
        if token.type == tokenize.NAME and len(token.string) >= 6 and not keyword.iskeyword(token.string):
            pauses.append((at + 3, _INSIDE_NAME_WEIGHT))
    discount = _IMPORT_DISCOUNT if tokens[0].string in ("import", "from") else 1.0
    worth_it = ((at, weight * discount) for at, weight in pauses if _worth_asking(text, at))
    return _Statement(start, end, tuple(worth_it))


def _worth_asking(text: str, position: int) -> bool:
    line_end = text.find("\n", position)
    rest = text[position : len(text) if line_end < 0 else line_end].split("  #", maxsplit=1)[0].strip()
    return _MIN_REST_CHARS <= len(rest) <= _MAX_REST_CHARS and len(re.findall(r"[A-Za-z_]{2,}", rest)) >= 1


def _auto_import(text: str, regions: Sequence[Region]) -> tuple[int, int] | None:
    """Return the last import line above all regions whose one name a region uses."""
    if not regions:
        return None
    written = "\n".join(text[region.start : region.end] for region in regions)
    found = None
    for match in _IMPORT.finditer(text, 0, regions[0].start):
        if match[1] != "annotations" and re.search(rf"\b{match[1]}\b", written):
            found = (match.start(), match.end())
    return found
