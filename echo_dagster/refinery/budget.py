"""A context cut to a token budget: a prefix keeps its tail, a suffix its head, both from line to line.

What does not live here: C_N, which is cut by its syntax (`truncate.py`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from tokenizers import Encoding, Tokenizer

#: Characters a token is guessed to cover; a text with longer tokens is looked at again, farther.
_CHARS_PER_TOKEN = 5

_JOINER = "\u200d"
_MARKS = {"Mn", "Mc", "Me"}
_SKIN_TONES = "".join(map(chr, range(0x1F3FB, 0x1F400)))
_FLAG_LETTERS = "".join(map(chr, range(0x1F1E6, 0x1F200)))


class Fitted(NamedTuple):
    """A text within its budget, and how many tokens it has."""

    text: str
    tokens: int


def counts(tokenizer: Tokenizer, texts: Sequence[str]) -> list[int]:
    """Return the number of tokens of each text, special tokens not counted."""
    return [len(encoding.ids) for encoding in _encode(tokenizer, texts)]


def tails(tokenizer: Tokenizer, texts: Sequence[str], budget: int) -> list[Fitted]:
    """Return the end of each text in at most `budget` tokens, beginning at the start of a line.

    Where the last line alone is longer than the budget, the cut falls between two of its tokens, never inside a
    sign that takes several characters.
    """
    return _fit(tokenizer, texts, budget, keep_tail=True)


def heads(tokenizer: Tokenizer, texts: Sequence[str], budget: int) -> list[Fitted]:
    """Return the beginning of each text in at most `budget` tokens, ending at the start of a line.

    Where the first line alone is longer than the budget, the cut falls between two of its tokens, never inside a
    sign that takes several characters.
    """
    return _fit(tokenizer, texts, budget, keep_tail=False)


def _fit(tokenizer: Tokenizer, texts: Sequence[str], budget: int, *, keep_tail: bool) -> list[Fitted]:
    if budget == 0:
        return [Fitted("", 0)] * len(texts)
    fitted = [Fitted(text, 0) for text in texts]
    seen_chars = budget * _CHARS_PER_TOKEN
    unsettled = list(range(len(fitted)))
    # Encoding a cut text anew can give a token more than the whole had, so that a cut is checked like any
    # other text.
    while unsettled:
        views = [
            fitted[i].text[-seen_chars:] if keep_tail else fitted[i].text[:seen_chars] for i in unsettled
        ]
        left = []
        for i, view, encoding in zip(unsettled, views, _encode(tokenizer, views), strict=True):
            tokens = len(encoding.ids)
            if tokens > budget:
                cut = _cut_tail(view, encoding, budget) if keep_tail else _cut_head(view, encoding, budget)
                fitted[i] = Fitted(cut, 0)
                left.append(i)
            elif len(view) < len(fitted[i].text):
                left.append(i)  # more of the text would fit
            else:
                fitted[i] = Fitted(view, tokens)
        unsettled = left
        seen_chars *= 2
    return fitted


def _cut_tail(text: str, encoding: Encoding, budget: int) -> str:
    start = max(encoding.offsets[-budget][0], 1)  # shorter by one character at least: the loop above must end
    line = text.find("\n", start - 1) + 1
    if 0 < line < len(text):
        return text[line:]
    while _splits_sign(text, start):
        start += 1
    return text[start:]


def _cut_head(text: str, encoding: Encoding, budget: int) -> str:
    end = min(encoding.offsets[budget - 1][1], len(text) - 1)
    line = text.rfind("\n", 0, end) + 1
    if line:
        return text[:line]
    while _splits_sign(text, end):
        end -= 1
    return text[:end]


def _splits_sign(text: str, at: int) -> bool:
    """Say whether what a reader sees as one sign goes on at `at`: an accent, a skin tone, a joined emoji, a flag."""
    if not 0 < at < len(text):
        return False
    if (
        unicodedata.category(text[at]) in _MARKS
        or text[at] in (_JOINER, *_SKIN_TONES)
        or text[at - 1] == _JOINER
    ):
        return True
    return text[at] in _FLAG_LETTERS and (at - len(text[:at].rstrip(_FLAG_LETTERS))) % 2 == 1


def _encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Encoding]:
    encodings: list[Encoding] = tokenizer.encode_batch(list(texts), add_special_tokens=False)
    return encodings
