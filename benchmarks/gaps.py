"""Samples for measurements: gaps cut from the source files on this machine, with duplicates planted at known rates.

A sample is what the refinery filters: up to 2,000 characters before a gap, one to six lines of code in it, up to 1,000
after it. What is compared of samples (C_N, 400 characters before, 200 after) never overlaps, so that what is alike
was planted, or is alike in the sources: licences, generated code, vendored copies.

What does not live here: what is measured on them (`refinery.py`).
"""

from __future__ import annotations

import random
import re
import sysconfig
from collections.abc import Iterator
from hashlib import md5
from itertools import islice
from pathlib import Path

import polars as pl

SCHEMA = pl.Schema(
    {
        "sample_id": pl.String(),
        "language": pl.String(),
        "prefix": pl.String(),
        "middle": pl.String(),
        "suffix": pl.String(),
        "origin": pl.String(),  # of what was planted: the sample that it repeats
        "planted": pl.String(),  # `exact` or `edited`
    }
)
#: Of the samples that are asked for. Of the edited ones a part stays above the similarity that is looked for.
EXACT_SHARE, EDITED_SHARE = 0.05, 0.05
#: How far a sample's file reaches, and how far it is compared: before C_N and after it.
_BEFORE, _AFTER = 2_000, 1_000
COMPARED_BEFORE, COMPARED_AFTER = 400, 200
_LANGUAGES = {
    **dict.fromkeys((".py", ".pyi"), "python"),
    **dict.fromkeys((".c", ".cc", ".cpp", ".h", ".hpp"), "cpp"),
    **dict.fromkeys((".js", ".mjs", ".cjs"), "javascript"),
    ".ts": "typescript",
}
_LARGEST = 2_000_000  # characters of a file
_LONGEST = 1_000  # characters of C_N
_BATCH = 5_000
_INDENTATION = re.compile(r"[ \t]*")
_NAME = re.compile(r"[^\W\d]\w{2,}")

Row = tuple[str, str, str, str, str, str | None, str | None]


def write_samples(file: Path, n_samples: int, seed: int = 17) -> None:
    """Write `n_samples` as Parquet, in a seeded random order.

    Raises:
        ValueError: the sources on this machine do not hold as many.
    """
    choose = random.Random(seed)
    n_planted = round(n_samples * EXACT_SHARE), round(n_samples * EDITED_SHARE)
    wanted = n_samples - sum(n_planted)
    frames, held = [], 0
    for rows in _batches(_cut(_sources(), choose)):
        frames.append(pl.DataFrame(rows, schema=SCHEMA, orient="row"))
        held += len(rows)
        if held >= wanted:
            break
    if held < wanted:
        raise ValueError(f"the sources on this machine give {held:,} samples, {wanted:,} were asked for")
    cut = pl.concat(frames).head(wanted)
    exact = cut.sample(n_planted[0], seed=seed).with_columns(
        sample_id="copy-" + pl.col("sample_id"), origin="sample_id", planted=pl.lit("exact")
    )
    edited = [_edited(row, choose) for row in cut.sample(n_planted[1], seed=seed + 1).iter_rows()]
    whole = pl.concat([cut, exact, pl.DataFrame(edited, schema=SCHEMA, orient="row")])
    whole.sample(fraction=1.0, shuffle=True, seed=seed).write_parquet(file, row_group_size=_BATCH)


def _sources() -> Iterator[tuple[str, str]]:
    """Yield the language and the text of every source file, each content once, in a fixed order."""
    seen = set()
    installed = (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"))
    for folder in map(Path, (*installed, "/usr/include", "/usr/lib/node_modules")):
        if folder.is_dir():
            for path in sorted(folder.rglob("*")):
                if path.suffix in _LANGUAGES and path.is_file() and path.stat().st_size < _LARGEST:
                    content = path.read_bytes()
                    told = md5(content, usedforsecurity=False).digest()
                    if told not in seen:
                        seen.add(told)
                        yield _LANGUAGES[path.suffix], content.decode(errors="replace").replace("\0", " ")


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while batch := list(islice(rows, _BATCH)):
        yield batch


def _cut(texts: Iterator[tuple[str, str]], choose: random.Random) -> Iterator[Row]:
    """Yield the gaps of the texts. Each begins behind the indentation of a line."""
    number = 0
    for language, text in texts:
        at = choose.randrange(40, COMPARED_BEFORE)
        while (line := text.find("\n", at) + 1) > 0:
            start = line + len(_INDENTATION.match(text, line)[0])
            end = start
            for _ in range(choose.choice((1, 1, 1, 2, 3, 4, 6))):
                end = text.find("\n", end) + 1 or len(text) + 1
            middle = text[start : end - 1]
            if middle.strip() and len(middle) < _LONGEST:
                before, after = text[max(0, start - _BEFORE) : start], text[end - 1 : end + _AFTER]
                yield f"{number:07d}", language, before, middle, after, None, None
                number += 1
            at = end + COMPARED_AFTER + COMPARED_BEFORE


def _edited(row: Row, choose: random.Random) -> Row:
    """Return a sample that repeats another one with an edit: words, one name throughout, or whole lines around C_N."""
    name, language, before, middle, after, *_ = row
    kind = choose.choice(("words", "name", "lines"))
    if kind == "words":
        share = choose.choice((0.005, 0.01, 0.02, 0.03))
        before, middle, after = (_words_changed(text, share, choose) for text in (before, middle, after))
    elif kind == "name":
        names = _NAME.findall(before[-COMPARED_BEFORE:] + middle + after[:COMPARED_AFTER])
        changed = re.compile(rf"\b{choose.choice(names or ['self'])}\b")
        before, middle, after = (changed.sub("renamed", text) for text in (before, middle, after))
    else:
        before, after = _lines_changed(before, -8, choose), _lines_changed(after, 4, choose)
    return "edit-" + name, language, before, middle, after, name, "edited"


def _words_changed(text: str, share: float, choose: random.Random) -> str:
    return _NAME.sub(lambda word: word[0] + "_new" * (choose.random() < share), text)


def _lines_changed(text: str, near: int, choose: random.Random) -> str:
    """Take out a line among those next to C_N, or put one in. The line that C_N stands in stays."""
    lines = text.split("\n")
    places = range(1, len(lines))[:near] if near > 0 else range(len(lines) - 1)[near:]
    if places:
        at = choose.choice(places)
        lines[at : at + 1] = choose.choice(([], [lines[at], f"# see issue {choose.randrange(1000)}"]))
    return "\n".join(lines)
