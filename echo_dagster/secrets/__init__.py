"""Secrets and personal addresses in code: where they stand, and texts without them.

`find` gives places and kinds, `mask` puts a typed placeholder in each place. Nothing here ever returns, logs or
raises the text of a finding. What does not live here: what becomes of a sample that holds one
(`refinery/samples.py`), and what a secret looks like: by the form of its issuer (`patterns.py`), as a private
key (`keys.py`), beside a word that tells it (`words.py`), as an address (`addresses.py`).
"""

from __future__ import annotations

from typing import NamedTuple

from echo_dagster.secrets.addresses import addresses
from echo_dagster.secrets.keys import MAX_KEY_CHARS, private_keys
from echo_dagster.secrets.patterns import by_pattern
from echo_dagster.secrets.values import long_words
from echo_dagster.secrets.words import beside_words

#: How many lines around a text are looked at with it, and how many characters if they are long.
_LINES = 3
_CHARS = 4096


class Finding(NamedTuple):
    """Where a secret stands in a text, and of which type it is."""

    start: int
    end: int
    type: str


def find(text: str, start: int = 0, end: int | None = None) -> list[Finding]:
    """Return the secrets that stand in `text[start:end]`, in part at least; in order, without overlaps.

    Places are those in `text`, of which no more is looked at than the lines around, and all of a private key.
    """
    end = len(text) if end is None else end
    first, last = _surroundings(text, start, end)
    seen = text[first:last]
    # Of findings that overlap the first finder names the kind: a form tells it better than a word beside it does.
    words = long_words(seen)
    found = [
        *private_keys(seen),
        *by_pattern(seen, words),
        *beside_words(seen, _lowered(seen), words),
        *addresses(seen),
    ]
    apart: list[tuple[int, Finding]] = []
    for rank, (at, until, kind) in sorted(enumerate(found), key=lambda ranked: ranked[1][:2]):
        place = Finding(at + first, until + first, kind)
        if apart and place.start < apart[-1][1].end:
            best, other = min((rank, place), apart[-1])
            apart[-1] = best, Finding(apart[-1][1].start, max(place.end, apart[-1][1].end), other.type)
        else:
            apart.append((rank, place))
    return [place for _, place in apart if place.start < end and place.end > start]


def count(before: str, text: str, after: str) -> int:
    """Return how many secrets `text` holds or takes part in, seen between what stands before and after it."""
    reach = MAX_KEY_CHARS + _CHARS
    before = before[-reach:]
    return len(find(before + text + after[:reach], len(before), len(before) + len(text)))


def mask(text: str, start: int = 0, end: int | None = None) -> str:
    """Return `text[start:end]` with every secret replaced by its type, as in `<secret:aws_access_key>`.

    A secret that begins before or ends behind it is known by the rest of `text`.

    >>> mask("write to jane.roe@corp.com")
    'write to <secret:email>'
    """
    end = len(text) if end is None else end
    parts, last = [], start
    for finding in find(text, start, end):
        parts += [text[last : finding.start], f"<secret:{finding.type}>"]
        last = min(finding.end, end)
    return "".join([*parts, text[last:end]])


def mask_beside(before: str, text: str, after: str) -> tuple[str, str]:
    """Return `before` and `after` without the secrets that only `text` between them tells.

    No more than the lines near `text` is looked at.
    """
    seen = before + text + after
    start, end = len(before), len(before) + len(text)
    first, last = _surroundings(seen, start, end)
    first, last = min(first, start), max(last, end)
    return before[:first] + mask(seen, first, start), mask(seen, end, last) + after[last - end :]


def _lowered(text: str) -> str:
    """Return `text` in lower case, character for character."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(sign.lower() if len(sign.lower()) == 1 else sign for sign in text)


def _surroundings(text: str, start: int, end: int) -> tuple[int, int]:
    """Return from where to where `text` decides about the secrets in `text[start:end]`."""
    first, last = start, end
    for _ in range(_LINES + 1):
        first = text.rfind("\n", max(0, start - _CHARS), max(0, first)) if first > 0 else -1
        if first < 0:
            break
    first = first + 1 if first >= 0 else max(0, start - _CHARS)
    for _ in range(_LINES + 1):
        last = text.find("\n", last, end + _CHARS) + 1
        if last == 0:
            break
    last = last if last > 0 else min(len(text), end + _CHARS)
    for marker in ("-----BEGIN ", "PuTTY-User-Key-File-", "Private-Lines"):
        begin = text.rfind(marker, max(0, start - MAX_KEY_CHARS), first)
        first = begin if begin >= 0 else first
    for marker in ("-----END ", "Private-MAC"):
        stop = text.find(marker, last, end + MAX_KEY_CHARS)
        last = min(len(text), stop + 200) if stop >= 0 else last
    return first, last
