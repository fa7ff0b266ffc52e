"""Whether a string looks like a secret by itself: random, or a password, or only a stand-in for one.

What does not live here: where such strings are looked for (`words.py`, `patterns.py`).
"""

from __future__ import annotations

import re
from math import log, log2

#: What fills in a place: `${PASSWORD}`, `{{ token }}`, `{password}`, `%(token)s`, `<token>`, `****`, `xxxx`, `...`.
_TEMPLATE = re.compile(
    r"[$#]\{|\$\(|^\$\w{1,100}$|\$[A-Z_]{3}|\{\{|\{\w{0,100}\}|%\(|(?<!\w)%[sdr](?!\w)|<[^<>]{0,200}>|\*{3}|x{4}|X{4}|\.\.\."
)
#: What documentation writes where a password goes. A string of little else is no secret.
_STAND_IN = re.compile(
    r"example|sample|default|dummy|fake|mock|test|change_?-?me|changeit|replace|placeholder|redacted|masked|hidden|"
    r"required|optional|none|null|true|false|undefined|string|value|your|insert|enter|here|some|my|the|"
    r"p[a4@]s[s5$]?w(?:[o0]?r)?d|pass|s[e3]cr[e3]t|token|cr[e3]d[e3]ntials?|auth|api|key|foo|bar|baz|qux|hunter|"
    r"scott|tiger|user(?:name)?|admin|root|guest|login|letmein|welcome|qwerty|asdf|abc(?:def)?|xyz|(\d)\1++|0?1234?5?6?7?8?9?0?|[\W_]",
    re.IGNORECASE,
)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}+={0,2}")
_HEX = re.compile(r"(?:0[xX])?[0-9a-fA-F]{24,}+")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_PARTS = re.compile("[A-Za-z0-9]++")
_CLASSES = str.maketrans(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", "a" * 26 + "A" * 26 + "0" * 10
)
#: Characters of a value that are enough to tell.
_HEAD = 160
#: The 160 commonest pairs of letters in the identifiers and comments of Python's standard library: 81 % of all pairs
#: there, and 24 % of random ones.
_COMMON = """
ab ac ad ag ai al am an ap ar as at ba bl bu ca ce ch ci ck cl co cr ct cu da de di do ds ea ec ed ee ef el
em en ep er es et ex fa ff fi fo ge ha he hi ho ia ib ic id ie ig il im in io ip ir is it iz ke la ld le li
ll lo lt ly ma me mi mo mp na nc nd ne nf ng ni no ns nt oc od ol om on oo op or os ot ou ow pa pe pi pl po
pp pr pt py qu ra rc rd re ri rm ro rr rs rt sa sc se sh si so sp ss st su ta tc te th ti to tp tr ts tt tu
ty ub ue ul um un up ur us ut va ve wi xt yp ze
"""
_WORD_PAIRS = frozenset(_COMMON.split())
#: What no token holds parts words.
_BETWEEN = {ord(sign): " " for sign in "\"'`(),;<>[]{}"}


def long_words(text: str) -> str:
    """Return the words of 20 characters or more, parted by blanks: all tokens are among them, and most code is not."""
    return " ".join([word for word in text.translate(_BETWEEN).split() if len(word) >= 20])


def is_credible(value: str) -> bool:
    """Say whether a string is more than a template or a stand-in such as `your-password`."""
    return not _TEMPLATE.search(value) and len(_STAND_IN.sub("", value)) >= 3


def is_password(value: str) -> bool:
    """Say whether a string could be a password: credible, of several kinds of characters, no blank."""
    if re.search(r"\s|\\[uUxN]|^#[0-9a-fA-F]{6,8}$", value) or not is_credible(value):
        return False
    kinds = sum(bool(re.search(kind, value)) for kind in ("[a-z]", "[A-Z]", r"\d", r"[^\w./:,\-]"))
    return kinds >= 3 or (len(value) >= 8 and kinds == 2 and bool(re.search(r"\d[^\d]*[A-Za-z]|\d\d", value)))


def is_drawn(value: str) -> bool:
    """Say whether a string of any length is likelier drawn by lot than written."""
    return _odds(value) > 0


def is_uuid(value: str) -> bool:
    """Say whether a string is a UUID: random, but mostly a name of something."""
    return bool(_UUID.fullmatch(value))


def is_random(value: str, odds: float = 4.0) -> bool:
    """Say whether a string was drawn by lot: 24 hexadecimal digits, or 16 signs of base64 that spell no words.

    `odds`: by how many nats it must be likelier drawn than written. Its head decides.
    """
    value = value[:_HEAD]
    if _UUID.search(value) or _TEMPLATE.search(value) or _is_sequence(value):
        return False
    if _HEX.fullmatch(value):
        return _entropy(value) > 3.0 and bool(re.search("[0-9]", value) and re.search("[a-fA-F]", value))
    if not _BASE64.fullmatch(value) or _entropy(value) < 3.0:
        return False
    return bool(re.search(r"\d", value)) and _odds(value) > odds


def _odds(value: str) -> float:
    """Return by how many nats a string is likelier drawn by lot than written.

    Told by its pairs of letters, and by how often digits, lower and upper case change; a capital before small
    letters says nothing, and neither does what parts the words of a name.
    """
    odds = 0.0
    for part in _PARTS.findall(value[:_HEAD]):
        lowered = part.lower()
        for i in range(len(part) - 1):
            pair = part[i : i + 2].translate(_CLASSES)
            if pair in ("aA", "a0", "0a", "A0", "0A"):
                odds += log(0.45 / 0.10)
            elif pair != "Aa":
                odds += log(0.38 / 0.85)
            if "0" not in pair:
                odds += log(0.24 / 0.81) if lowered[i : i + 2] in _WORD_PAIRS else log(0.76 / 0.19)
    return odds


def _is_sequence(value: str) -> bool:
    from detect_secrets.filters.heuristic import is_sequential_string

    return bool(is_sequential_string(value))


def _entropy(value: str) -> float:
    """Return the entropy of a string's characters, in bits."""
    shares = [value.count(sign) / len(value) for sign in set(value)]
    return -sum(share * log2(share) for share in shares)
