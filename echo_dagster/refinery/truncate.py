"""C_N cut to what was asked for: the statement that the cursor is in, or the whole statements that fit.

A proposal of one line, or of one statement that spans lines, asked for a statement, so C_N is cut where that
statement is complete; a proposal of several statements asked for a block, so C_N keeps as many whole statements
as the budget holds. Cuts fall on line breaks only, never inside a string, a comment or an expression, and never
leave a file that parses worse than with C_N whole.

What does not live here: cutting the context (`budget.py`), grammars (`parsing/`), brackets (`brackets.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice

from tokenizers import Tokenizer

from echo_dagster.parsing import syntax
from echo_dagster.refinery import brackets

#: Of an unlucky C_N no more cuts than these are tried; each takes one parse.
_TRIES = 12
#: Where C_N seems to end inside a statement, how many earlier cuts are compared with it.
_EARLIER = 3
#: Characters of C_N looked at, per token of the budget.
_CHARS_PER_TOKEN = 32

_LINE_BREAK = re.compile(r"\r?\n")
_BLANK_END = re.compile(r"\r?\n\s*\Z")
_WORD = re.compile(rb"\w")
_LAST_BREAK = re.compile(r"\r?\n[ \t]*\Z")


@dataclass(frozen=True)
class Middle:
    """The truncated C_N. `errors`: what does not parse in the file around it, None without a grammar."""

    text: str
    scope: str  # line, statement or block
    tokens: int
    errors: int | None


def middle(
    language: str,
    prefix: str,
    final: str,
    suffix: str | None,
    *,
    proposal: str,
    tokenizer: Tokenizer,
    budget: int,
) -> Middle | None:
    """Return `final` cut to what `proposal` asked for, within `budget` tokens; None if nothing complete fits.

    `prefix` and `suffix` are the file around the gap, as much of it as is known; a null suffix is unknown.
    """
    before, after = syntax.window(prefix, suffix)
    tail = _required_tail(final, suffix)
    whole = _BLANK_END.sub("", final) if tail == "" else final
    parsed = syntax.parse(language, before, whole, after) if syntax.has_grammar(language) else None
    limit = _characters_within(tokenizer, whole, budget)
    cuts = [] if tail is None else _boundaries(language, parsed, before, whole, after, tail=tail, limit=limit)
    wants_block = _is_block(language, before, proposal, after)
    ordered = cuts[::-1] if wants_block else _statement_first(parsed, whole, cuts, len(tail or ""))

    def tried(length: int) -> Middle | None:
        """Return the cut at `length`, unless it is too long or parses worse than C_N whole."""
        text = whole[:length]
        tokens = len(tokenizer.encode(text, add_special_tokens=False).ids)
        errors = None
        if parsed is not None:
            is_whole = length == len(whole)
            errors = parsed.errors if is_whole else syntax.parse(language, before, text, after).errors
        if tokens > budget or (errors is not None and parsed is not None and errors > parsed.errors):
            return None
        is_line = "\n" not in text.strip()
        return Middle(text, "line" if is_line else "block" if wants_block else "statement", tokens, errors)

    if len(whole) <= limit:
        # C_N whole is what a block wants, and the last resort of a statement.
        ordered = [len(whole), *ordered] if wants_block else [*ordered[:2], len(whole), *ordered[2:]]
    chosen = next(filter(None, map(tried, islice(ordered, _TRIES))), None)
    if chosen is not None and chosen.text == whole and chosen.errors:
        # Perhaps C_N ends inside a statement: then an earlier cut has fewer errors.
        earlier = filter(None, map(tried, cuts[: -_EARLIER - 1 : -1]))
        chosen = next((cut for cut in earlier if (cut.errors or 0) < chosen.errors), chosen)
    return chosen


def _is_block(language: str, before: str, proposal: str, after: str) -> bool:
    """Say whether a proposal holds more than one statement."""
    code = proposal.rstrip()
    if "\n" not in code.lstrip():
        return False
    if not syntax.has_grammar(language):
        return bool(brackets.boundaries(before, code, after, language))
    parsed = syntax.parse(language, before, code, after)
    first = syntax.statement_end(parsed, _byte(parsed, code, len(code) - len(code.lstrip())))
    return first is None or bool(_WORD.search(parsed.source, first, parsed.end))


def _required_tail(final: str, suffix: str | None) -> str | None:
    """Return what a cut must end in, so that the suffix follows as it did; None if it could not.

    A suffix that begins with the rest of a line belongs to the last line of C_N. Where that line is still
    blank, it is an indentation, and a cut must end in the same one.
    """
    if not (suffix or "").split("\n", 1)[0].strip():
        return ""
    blank = _LAST_BREAK.search(final)
    return blank.group() if blank else None


def _characters_within(tokenizer: Tokenizer, text: str, budget: int) -> int:
    """Return how many characters the first `budget` tokens of `text` cover, about."""
    view = text[: budget * _CHARS_PER_TOKEN]
    offsets = tokenizer.encode(view, add_special_tokens=False).offsets
    return len(view) if len(offsets) <= budget else offsets[budget - 1][1]


def _boundaries(
    language: str,
    parsed: syntax.Parsed | None,
    before: str,
    whole: str,
    after: str,
    *,
    tail: str,
    limit: int,
) -> list[int]:
    """Return the lengths that `whole` can be cut to between statements, in order, without its own."""
    by_brackets: set[int] | None = None
    found = []
    line_start = 0
    for line_break in _LINE_BREAK.finditer(whole):
        at, length = line_break.start(), line_break.start() + len(tail)
        if length > limit or length >= len(whole):
            break
        is_blank = not whole[line_start:at].strip()
        line_start = line_break.end()
        if is_blank or not whole.startswith(tail, at):
            continue
        complete = syntax.is_boundary(parsed, _byte(parsed, whole, at)) if parsed else None
        if complete is None:
            if by_brackets is None:
                by_brackets = set(brackets.boundaries(before, whole, after, language))
            complete = line_break.end() - 1 in by_brackets
        if complete:
            found.append(length)
    return found


def _statement_first(parsed: syntax.Parsed | None, whole: str, cuts: list[int], tail: int) -> list[int]:
    """Order the cuts for a proposal of one line: the statement's header or itself, then the longest that fit.

    The first boundary is the end of the statement, or of its header where the suffix holds the body. Where
    that parses worse, the statement is a compound one, and goes to the end of its body.
    """
    if not cuts:
        return []
    first, others = cuts[0], cuts[1:]
    if parsed is not None:
        start = len(whole) - len(whole.lstrip())
        end = syntax.statement_end(parsed, _byte(parsed, whole, start))
        closing = next(
            (cut for cut in others if end is not None and _byte(parsed, whole, cut - tail) >= end), None
        )
        if closing is not None:
            return [first, closing, *(cut for cut in others[::-1] if cut != closing)]
    return [first, *others[::-1]]


def _byte(parsed: syntax.Parsed, text: str, at: int) -> int:
    return parsed.start + (at if text.isascii() else len(text[:at].encode()))
