"""How much of what a model writes a tool would show: where a completion is over, although the model goes on.

What lives here: the rules and the choice among them. What does not: decoding (`echo_dagster/generation.py`).

The rule of a gap is the narrowest one that leaves its C_N whole, and it is the same for every model compared.
So a gap that the user filled with one line is judged on one line. Brackets inside strings and comments count
like any others: a cut in the wrong place then costs all models the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable

#: Returns where a text is over, or null while it is not.
Rule = Callable[[str], int | None]

_LINE = re.compile(r"\S[^\n]*(?=\n)")


def line(text: str) -> int | None:
    """Return the end of the first line that is not blank, once a newline has followed it."""
    found = _LINE.search(text)
    return None if found is None else found.end()


def statement(text: str) -> int | None:
    """Return the end of the first line that is not blank and leaves no bracket open."""
    depth = 0
    for found in _LINE.finditer(text):
        depth += sum(found.group().count(sign) for sign in "([{") - sum(
            found.group().count(sign) for sign in ")]}"
        )
        if depth <= 0:
            return found.end()
    return None


def block(text: str) -> int | None:
    """Return null: a block is over where the model says so, or runs out of tokens."""
    return None


def rule(middle: str) -> Rule:
    """Return the narrowest rule that leaves `middle` whole."""
    kept = middle.rstrip()
    return next((rule for rule in (line, statement) if rule(kept) is None), block)


def is_over(rule: Rule, text: str) -> bool:
    """Say whether more of `text` would not be shown."""
    return rule(text) is not None


def cut(text: str, rule: Rule) -> str:
    """Return what is shown of `text`."""
    end = rule(text)
    return text if end is None else text[:end]
