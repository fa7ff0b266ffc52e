"""Secrets that their own form gives away: keys and tokens by their issuers' formats, logins in URLs and headers.

What does not live here: the formats themselves (`formats.py`), private keys, which span lines
(`keys.py`), values that only the words beside them tell (`words.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from echo_dagster.secrets.formats import FORMATS, Check

#: How far before its mark a secret or what tells it can begin.
_REACH = 340
#: A letter before a token's mark makes it part of a word, but for an escape as in `\n`, or a URL's `%20`.
_ESCAPE = re.compile(r"(?:\\[nrtfbu]|%[0-9A-Fa-f]{2})\Z")


class Rule(NamedTuple):
    """A format, for one of its marks: `pattern` begins with the mark, `before` ends in front of it."""

    kind: str
    mark: str
    pattern: re.Pattern[str]
    before: re.Pattern[str] | None
    begins_word: bool
    check: Check | None
    spread: bool


@cache
def rules() -> tuple[Rule, ...]:
    """Return the rules in the order of the formats: of one place the first names the kind."""
    return tuple(
        Rule(
            each.kind,
            mark,
            re.compile(re.escape(mark) + each.after),
            re.compile(rf"(?:{each.before})\Z") if each.before else None,
            each.begins_word,
            each.check,
            each.spread,
        )
        for each in FORMATS
        for mark in each.marks.split("|")
    )


def by_pattern(text: str, long_words: str | None) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and kind of every secret that has the form of one.

    `long_words`: those of `text` (`values.long_words`). A rule is tried if its mark stands among them, or in
    `text` if it can be spread; without them all are tried, to the same end.
    """
    for rule in rules():
        if long_words is None or rule.mark in (text if rule.spread else long_words):
            for match in rule.pattern.finditer(text):
                start, end = _place(rule, text, match)
                if start >= 0 and (rule.check is None or rule.check(text[start:end])):
                    yield start, end, rule.kind


def _place(rule: Rule, text: str, match: re.Match[str]) -> tuple[int, int]:
    """Return where the secret of a match stands; -1 if what is before it makes it none."""
    start = match.start()
    if rule.before:
        before = rule.before.search(text, max(0, start - _REACH), start)
        if before is None:
            return -1, -1
        start = before.start()
    is_inside = start and (text[start - 1].isalnum() or text[start - 1] in "_-")
    if rule.begins_word and is_inside and not _ESCAPE.search(text, max(0, start - 3), start):
        return -1, -1
    return match.span("secret") if "secret" in rule.pattern.groupindex else (start, match.end())
