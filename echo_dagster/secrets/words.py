"""Secrets that have no form of their own: values beside a word that tells, such as `password`, and random strings.

What does not live here: what looks random or like a password (`values.py`), the forms of known keys
(`patterns.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from echo_dagster.secrets.values import is_drawn, is_password, is_random, is_uuid

#: What tells, in lower case, and whether a password is enough as its value: else the value must be random.
_WORDS = {
    **dict.fromkeys(
        (
            "password",
            "passwort",
            "passwd",
            "passphrase",
            "passcode",
            "pwd",
            "secret",
            "token",
            "credential",
            "kennwort",
        ),
        True,
    ),
    **dict.fromkeys(("contrase", "senha", "apikey"), True),
    **dict.fromkeys(("auth", "signing", "signature", "session", "cookie", "bearer", "hmac", "login"), False),
}
#: What tells where it is a word of its own, or one of a name: `db_pass`, `KEY`.
_SHORT_WORDS = {
    "pass": True,
    "creds": True,
    "key": False,
    "sig": False,
    "salt": False,
    "sas": False,
    "dsn": False,
    "seed": False,
}
#: With one of these before it, a key is what opens something.
_STRONG_KEY = re.compile(
    r"(?:api|app|access|account|auth|client|consumer|deploy|encryption|license|master|private|secret|service|shared|"
    r"signing|storage|subscription|webhook|\bx)[_-]?$"
)
#: A name that goes on like this is of something about a password, or of something else (`tokenizer`).
_ABOUT = re.compile(
    r"^(?!s(?![a-z]))[a-z]|(?:name|type|kind|field|ur[il]|path|file|dir|ids?|re|regexp?|pattern|fmt|format|label|prefix|suffix|header|length|"
    r"len|size|policy|form|input|prompt|message|msg|error|help|hint|title|column|param|class|style|icon|count|limit|"
    r"expiry|expires|ttl|date|time|version|alg|algorithm|method|scheme|endpoint|scope|mode|reset|rule|strength)s?$"
)
#: What stands between a telling word and its value: the rest of its name, what closes that, a type, a sign that gives
#: the one to the other, at most two line breaks, what the value is wrapped in.
_GIVEN = re.compile(
    r"""
    (?P<rest>[\w.-]{0,40}+) (?:\\?["'`\])}]){0,4}+ [ \t]{0,20}+
    (?: (?: :[ \t]{0,4}+ )? [A-Za-z_&*] [\w.\[\]|, ?]{0,40}? (?==) )?
    (?P<sign> [=!]==? | [:?|&+]{0,2}= >? | <- | ::? | , | \( | > | (?:\r?\n[ \t]{0,40})? value[:=] )
    (?: [ \t]{0,40}+ [\\|>]? [+-]? \r?\n ){0,2}+ [ \t]{0,80}+ (?:-[ \t]{0,4}+)? (?: value:[ \t]{0,4}+ )?
    (?: [\w.:!]{0,40}+ [ ]? \( (?: \s{0,40}+ ["'][\w.-]{1,60}+["'], )?+ \s{0,40}+ (?=[brufBRUF@$]{0,2}[\\"'`]) )?
    (?: [brufBRUF@$]{0,2}+ (?=[\\"'`]) )?
    """,
    re.VERBOSE,
)
#: `--password VALUE`, `machine HOST login NAME password VALUE`, `the password is VALUE`.
_SPOKEN = re.compile(r"(?P<rest>[\w-]{0,20}+)(?P<sign>[ \t]{1,4})(?:(?:is|was)\b[ \t:]{0,4})?")
_QUOTED = re.compile(
    r"(?P<quote>\\?(?:\"{3}|'{3}|[\"'`]))(?P<value>(?:(?!(?P=quote))[^\r\n]){6,400}+)(?P=quote)"
)
_UNQUOTED = re.compile(r"(?P<value>[^\s\"'`,;(){}\[\]<>&|\\]{8,400}+)")
#: A setting alone on its line, `NAME=value` or `name: value`: its value has no quotes and ends with the line.
_SETTING = re.compile(
    r"[ \t]*+(?:-[ \t]{1,20}+)?(?:(?:export|ENV|set|SET)[ \t]{1,4})?"
    r"(?:[A-Z][A-Z0-9_]{2,80}=|[\w.-]{1,80}:[ \t]{1,4}|[a-z0-9_.-]{1,80}=)"
)
_TO_END = re.compile(r"(?P<value>[^\s\"'`]\S{5,400}+)[ \t]{0,40}(?:#[^\n]{0,400})?$", re.MULTILINE)
_CODE = re.compile(
    r"[\w.\]\[]{1,100}\(|[A-Za-z_$][\w$]*+(?:(?:\.|->|::|/)[\w$]++)*+[^\w]{0,3}$|[^$#]{0,400}[,;({\[]$"
)
_STRINGS = re.compile(r"([\"'`])(?P<value>[A-Za-z0-9+/_.=-]{16,400}+)\1")
#: A random string with no word to tell it.
_BARE = re.compile(r"(?<![\w+/.-])[A-Za-z0-9+/_-]{32,128}+={0,2}(?![\w+/=-])")
_HEX = re.compile(r"[0-9a-f]++|[0-9A-F]++")
#: The secret of an AWS key has no mark of its own.
_AWS_SECRET = re.compile(r"[A-Za-z0-9+/]{40}")
_AWS = re.compile(r"aws|amazon|s3|secret_?access|A[KS]IA[A-Z0-9]{16}", re.IGNORECASE)
#: What else is random: digests, public keys, pictures, what is encoded.
_PUBLIC = re.compile(
    r"sha-?\d|md5|blake|hash|digest|checksum|integrity|fingerprint|etag|commit|revision|uuid|guid|public|ssh-|alphabet|"
    r"charset|base-?64|b64|encod|decod|data:|certificate|=\?",
    re.IGNORECASE,
)
_PUBLIC_HEAD = re.compile(r"iVBORw0KGgo|AAAA[BCE]3Nza|AAAA[CE]2V|MII[A-Z]")

#: How far a line is looked at, in characters.
_NEAR = 400

PASSWORD, RANDOM, AWS_SECRET = "password", "high_entropy_string", "aws_secret_key"


def beside_words(text: str, lowered: str, long_words: str) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and kind of every secret that a word beside it tells, and of random strings.

    `lowered` is `text` in lower case, of the same length; `long_words` those of `text`.
    """
    for end, is_strong in _told(text, lowered):
        yield from _given(text, end, is_strong)
    for match in _BARE.finditer(text) if _BARE.search(long_words) else ():
        if (
            not _HEX.fullmatch(match.group())
            and is_random(match.group(), 6.0)
            and not _is_public(text, *match.span())
        ):
            yield *match.span(), _random_kind(text, *match.span())


def _is_public(text: str, start: int, end: int) -> bool:
    """Say whether a random string is one of a kind that hides nothing, by its line; or a line of a longer one."""
    first, last = _line(text, start, end)
    if not text[first:start].strip() and not text[end:last].strip():
        return True
    return bool(_PUBLIC.search(text, first, start) or _PUBLIC_HEAD.match(text, start))


def _line(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the ends of the line around a place, or what is near if it is long."""
    first = text.rfind("\n", max(0, start - _NEAR), start)
    last = text.find("\n", end, end + _NEAR)
    return first + 1 if first >= 0 else max(0, start - _NEAR), last if last >= 0 else min(
        len(text), end + _NEAR
    )


def _random_kind(text: str, start: int, end: int) -> str:
    is_aws = _AWS_SECRET.fullmatch(text, start, end) and _AWS.search(text, max(0, start - 120), start)
    return AWS_SECRET if is_aws else RANDOM


def _told(text: str, lowered: str) -> Iterator[tuple[int, bool]]:
    """Yield where telling words end, and whether a password is enough as their value."""
    for word, is_strong in (*_WORDS.items(), *_SHORT_WORDS.items()):
        at = lowered.find(word)
        while at >= 0:
            end = at + len(word)
            if word in _WORDS:
                yield end, is_strong
            elif not lowered[end : end + 1].isalpha():
                before = text[max(0, at - 1) : at]
                if word == "key":
                    yield end, bool(_STRONG_KEY.search(lowered, max(0, at - 14), at))
                elif not before.isalpha() or (before.islower() and text[at].isupper()):
                    yield end, is_strong
            at = lowered.find(word, end)


def _given(text: str, end: int, is_strong: bool) -> Iterator[tuple[int, int, str]]:
    """Yield the value that a telling word is given on its line or the next, and random strings on its line."""
    for between in (_GIVEN.match(text, end), _SPOKEN.match(text, end)):
        if between is None:
            continue
        is_spoken = between["sign"].isspace()
        is_named = is_strong and not _ABOUT.search(between["rest"])
        if quoted := _QUOTED.match(text, between.end()):
            # Behind a comma most strings are names, and in prose most are options.
            is_named = is_named and (between["sign"] != "," or _is_mixed(quoted["value"]))
            yield from _judged(text, quoted, is_named and not (is_spoken and "=" in quoted["value"]))
        elif between["sign"] not in ",(":
            yield from _unquoted(text, between.end(), is_named, is_spoken=is_spoken)
    for match in _STRINGS.finditer(text, end, _line(text, end, end)[1]):
        if is_random(match["value"], 2.0):
            yield *match.span("value"), _random_kind(text, *match.span("value"))


def _judged(
    text: str, found: re.Match[str], is_named: bool, *, odds: float = 1.0, is_password_too: bool = True
) -> Iterator[tuple[int, int, str]]:
    """Yield the value found if it is random, or else a password of that name."""
    value, place = found["value"], found.span("value")
    if is_random(value, odds) or (is_named and is_uuid(value)):
        yield *place, _random_kind(text, *place)
    elif is_named and is_password_too and is_password(value):
        yield *place, PASSWORD


def _unquoted(text: str, at: int, is_named: bool, *, is_spoken: bool) -> Iterator[tuple[int, int, str]]:
    """Yield the value without quotes that stands at `at`, if it is none of code."""
    line, _ = _line(text, at, at)
    setting = _SETTING.match(text, line)
    whole = _TO_END.match(text, at) if setting and setting.end() == at else None
    found = whole or _UNQUOTED.match(text, at)
    if found:
        value = found["value"]
        is_alone = whole is not None or is_spoken
        is_written = is_alone and (text[line:at].isupper() or len(re.findall(r"\d", value)) >= 3)
        is_code = bool(_CODE.match(value)) and not is_written and not is_drawn(value)
        is_code |= is_spoken and "=" in value
        yield from _judged(text, found, is_named, odds=2.0, is_password_too=not is_code)


def _is_mixed(value: str) -> bool:
    return is_drawn(value) or bool(re.search(r"[^\w./:,\-]", value))
