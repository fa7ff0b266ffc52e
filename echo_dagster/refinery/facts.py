"""What the quality filters ask of a sample that takes a loop or a parser: a small pure function each.

What does not live here: thresholds and verdicts (`quality.py`), secrets (`secrets.py`).
"""

from __future__ import annotations

import re
from hashlib import sha256
from itertools import islice
from typing import NamedTuple

from echo_dagster.parsing import syntax

_LINE = re.compile(r"\S[^\n]*")
#: How much of the context says that two samples are the same, in characters without white space runs.
_HASHED_PREFIX = 400
_HASHED_SUFFIX = 200
#: Shorter grams are shared by words that are merely alike.
_GRAM_CHARS = 8
_FEW_GRAMS = 16


class SuffixCopy(NamedTuple):
    """How much of a middle stands at the head of its suffix: in characters, and as a share of the middle."""

    chars: int
    share: float


def suffix_copy(middle: str, suffix: str | None) -> SuffixCopy:
    """Measure the longest run of lines that ends the middle and begins the suffix, indentation aside."""
    lines = _stripped_lines(middle)
    following = _stripped_lines(suffix or "", len(lines))
    copied = next((n for n in range(len(following), 0, -1) if lines[-n:] == following[:n]), 0)
    chars = sum(map(len, lines[len(lines) - copied :]))
    total = sum(map(len, lines))
    return SuffixCopy(chars, chars / total if total else 0.0)


def repeated_line_share(middle: str) -> float:
    """Return the share of lines that repeat an earlier one; lines of brackets alone do not count.

    Fewer than four lines repeat nothing: two equal lines in three are ordinary code.
    """
    lines = [line for line in _stripped_lines(middle) if any(sign.isalnum() for sign in line)]
    return 1 - len(set(lines)) / len(lines) if len(lines) >= 4 else 0.0


def repeated_gram_share(middle: str) -> float:
    """Return the share of 8-grams of characters that occurred in their line before, white space runs aside.

    Up to sixteen of them repeat nothing: `x = y = z = 0` is ordinary code.
    """
    repeated = total = 0
    for line in middle.split("\n"):
        text = " ".join(line.split())
        grams = len(text) - _GRAM_CHARS + 1
        if grams > 0:
            total += grams
            repeated += grams - len({text[at : at + _GRAM_CHARS] for at in range(grams)})
    return repeated / total if total > _FEW_GRAMS else 0.0


def errors_before(language: str, prefix: str, replaced: str, suffix: str | None) -> int | None:
    """Return how many syntax errors the file had when the proposal was shown; None without a grammar."""
    if not syntax.has_grammar(language):
        return None
    before, after = syntax.window(prefix, suffix)
    return syntax.parse(language, before, replaced, after).errors


def content_hash(language: str, prefix: str, middle: str, suffix: str | None) -> str:
    """Return a hash, equal for exact duplicates: same language, middle and, white space aside, context."""
    tail = " ".join(prefix[-4 * _HASHED_PREFIX :].split())[-_HASHED_PREFIX:]
    head = " ".join((suffix or "")[: 4 * _HASHED_SUFFIX].split())[:_HASHED_SUFFIX]
    return _digest(language, tail, middle.strip(), head)


def unit_hash(prefix: str, middle: str) -> str:
    """Return a short hash of what the middle completes: the cursor's line and the middle, white space aside.

    Proposals shown again at every keystroke of one line share it.
    """
    return _digest("".join((prefix[prefix.rfind("\n") + 1 :] + middle).split()))


def _digest(*parts: str) -> str:
    told = b"".join(len(part.encode()).to_bytes(8, "big") + part.encode() for part in parts)
    return sha256(told).hexdigest()[:16]


def _stripped_lines(text: str, most: int | None = None) -> list[str]:
    """Return the lines of a text that are not blank, without the white space around them; the first `most`."""
    return [line.group().rstrip() for line in islice(_LINE.finditer(text), most)]
