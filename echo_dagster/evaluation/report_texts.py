"""The texts of the report's samples: which may be shown, how much of each, and where two of them differ.

What lives here: the rules of what text may be shown, cutting, and the word diff. What does not: which gaps
are shown (`report_samples.py`) and what a secret is (the refinery).

No text at all is shown of a gap that the refinery has not seen, whose user gave no consent, that was rejected
for a secret, that a private key stands in or near, or in which a secret stands across the border of the gap.
A gap that passed the filters is shown as the sample it became, whose context the refinery has masked and
whose C_1 and C_N hold no secret; any other is masked here. Predictions are masked too: a model can recite.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rapidfuzz.distance import Indel

Mask = Callable[[str], str]

#: Words, runs of blanks, line ends, and single signs: what the diff calls equal or not.
_WORD = re.compile(r"\w+|[^\S\n]+|\n|[^\w\s]")
#: A secret is found whole or not at all, so masking sees this much beyond what is shown.
_MARGIN_CHARS = 1000


@dataclass(frozen=True)
class Caps:
    """How much of each text is shown; lengths in characters."""

    context_lines: int = 20
    context_chars: int = 1600
    text_chars: int = 4000
    prediction_chars: int = 2000

    def halved(self) -> Caps:
        """Return caps of half the lengths."""
        return Caps(
            self.context_lines, self.context_chars // 2, self.text_chars // 2, self.prediction_chars // 2
        )


@dataclass(frozen=True)
class Texts:
    """The texts of one gap as they may be shown, each a little longer than the caps."""

    prefix: str
    suffix: str
    replaced: str
    proposal: str
    final: str


def shown(row: Mapping[str, Any], mask: Mask, caps: Caps) -> Texts | str:
    """Return the texts of a gap, or a clause that says why there are none.

    `row` is a gap with its verdict (`is_seen`, `is_sample`, `reason`) and, where it became a sample, that
    sample's `prefix_sample`, `suffix_sample`, `proposal_sample` and `middle`.
    """
    if (why := _why_hidden(row)) is not None:
        return why
    names = ("prefix", "suffix", "proposal", "final")
    if row["is_sample"]:
        names = ("prefix_sample", "suffix_sample", "proposal_sample", "middle")
    prefix, suffix, proposal, final = (row[name] or "" for name in names)
    replaced = row["replaced"] or ""
    # A private key runs over many lines, so that a part of one is not known for what it is.
    if any("PRIVATE KEY" in text for text in (prefix, suffix, replaced, proposal, final)):
        return "a private key stands in it or near it"
    most = caps.text_chars + _MARGIN_CHARS
    replaced, proposal, final = replaced[:most], proposal[:most], final[:most]
    if not row["is_sample"]:
        prefix = _last(prefix, caps.context_lines + 1, caps.context_chars + _MARGIN_CHARS)
        suffix = _first(suffix, caps.context_lines + 1, caps.context_chars + _MARGIN_CHARS)
    before, after = prefix[prefix.rfind("\n") + 1 :], suffix.partition("\n")[0]
    # Of a sample the refinery has checked C_1 and C_N in their place already.
    for inside in {replaced} - {""} if row["is_sample"] else {replaced, proposal, final}:
        if mask(before + inside + after) != mask(before) + mask(inside) + mask(after):
            return "a secret stands across the border of the gap"
    if row["is_sample"]:
        return Texts(prefix, suffix, mask(replaced), proposal, final)
    return Texts(*(mask(text) for text in (prefix, suffix, replaced, proposal, final)))


def _why_hidden(row: Mapping[str, Any]) -> str | None:
    if not row["is_seen"]:
        return "the refinery has not seen this gap"
    if row["consent"] is not True:
        return "its user gave no consent"
    return "it was rejected for holding a secret" if row["reason"] == "secret" else None


def tail(text: str, caps: Caps) -> str:
    """Return the end of a context as it is shown; an ellipsis says that it was cut."""
    end = _last(text, caps.context_lines, caps.context_chars)
    return end if len(end) == len(text) else f"⋯\n{end}"


def head(text: str, caps: Caps) -> str:
    """Return the beginning of a context as it is shown; an ellipsis says that it was cut."""
    start = _first(text, caps.context_lines, caps.context_chars)
    return start if len(start) == len(text) else f"{start}\n⋯"


def diff(before: str, after: str) -> list[tuple[int, str]]:
    """Return `before` and `after` as parts: (0, in both), (-1, only before), (1, only after).

    Parts 0 and -1 joined are `before`; parts 0 and 1 joined are `after`. Words are the unit. Blanks alone
    between two changes are counted as changed, for otherwise a rewritten line looks like confetti.
    """
    left, right = _WORD.findall(before), _WORD.findall(after)
    runs: list[tuple[bool, str, str]] = []  # whether it changed, text before, text after
    for code in Indel.opcodes(left, right):
        old = "".join(left[code.src_start : code.src_end])
        new = "".join(right[code.dest_start : code.dest_end])
        is_changed = code.tag != "equal"
        if is_changed and runs and runs[-1][0]:
            runs[-1] = (True, runs[-1][1] + old, runs[-1][2] + new)
        elif is_changed and len(runs) > 1 and runs[-1][1].isspace() and "\n" not in runs[-1][1]:
            _, blank, _ = runs.pop()
            runs[-1] = (True, runs[-1][1] + blank + old, runs[-1][2] + blank + new)
        else:
            runs.append((is_changed, old, new))
    parts: list[tuple[int, str]] = []
    for is_changed, old, new in runs:
        if is_changed:
            parts += [(sign, text) for sign, text in ((-1, old), (1, new)) if text]
        else:
            parts.append((0, old))
    return parts


def _last(text: str, lines: int, chars: int) -> str:
    """Return the last lines of a text: whole ones, unless one alone is too long."""
    end = "\n".join(text.split("\n")[-lines:])
    if len(end) > chars:
        end = end[-chars:]
        end = end.partition("\n")[2] or end
    return end


def _first(text: str, lines: int, chars: int) -> str:
    """Return the first lines of a text: whole ones, unless one alone is too long."""
    start = "\n".join(text.split("\n")[:lines])
    if len(start) > chars:
        start = start[:chars]
        start = start.rpartition("\n")[0] or start
    return start
