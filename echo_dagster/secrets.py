"""Secrets and personal addresses in code: found by detect-secrets' patterns and a few rules of our own.

`find` gives places and types; `mask` puts a typed placeholder in each place. Nothing here ever returns, logs
or raises the text of a finding. What does not live here: what becomes of a sample that holds one
(`refinery/samples.py`).

The plugins' patterns are run directly on the text: detect-secrets' own file scan costs a hundred times more,
and its verification calls the services that a key belongs to.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

#: Regex plugins whose every match counts. The public-IP and JWT plugins are handled below, with checks.
_PLUGINS = (
    *("artifactory.ArtifactoryDetector", "aws.AWSKeyDetector", "azure_storage_key.AzureStorageKeyDetector"),
    *("basic_auth.BasicAuthDetector", "cloudant.CloudantDetector", "discord.DiscordBotTokenDetector"),
    *(
        "github_token.GitHubTokenDetector",
        "gitlab_token.GitLabTokenDetector",
        "ibm_cloud_iam.IbmCloudIamDetector",
    ),
    *(
        "ibm_cos_hmac.IbmCosHmacDetector",
        "jwt.JwtTokenDetector",
        "mailchimp.MailchimpDetector",
        "npm.NpmDetector",
    ),
    *(
        "openai.OpenAIDetector",
        "pypi_token.PypiTokenDetector",
        "sendgrid.SendGridDetector",
        "slack.SlackDetector",
    ),
    *("softlayer.SoftlayerDetector", "square_oauth.SquareOAuthDetector", "stripe.StripeDetector"),
    *("telegram_token.TelegramBotTokenDetector", "twilio.TwilioKeyDetector"),
)
#: A line with one of these words may hold a secret that only its neighbourhood gives away.
_SECRET_WORD = re.compile(
    r"pass(?:wor)?d|passphrase|pwd|secret|token|credential|(?:db|database)_?-?(?:key|pass)|"
    r"(?:api|auth|access|account|client|private|service|signing|encryption)_?-?key",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"(['\"`])([^'\"`\r\n]{8,200})\1")
_UNQUOTED = re.compile(r"[=:]\s*([^\s'\"`#;,(){}\[\]<>$]{12,200})\s*$")
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?"
    r"(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\Z)"
    r"|PuTTY-User-Key-File-\d[^\n]*",
    re.DOTALL,
)
#: Newer token formats than detect-secrets 1.5 knows.
_TOKENS = (
    ("github_token", re.compile(r"\bgithub_pat_[A-Za-z0-9_]{60,}")),
    ("hugging_face_token", re.compile(r"\bhf_[A-Za-z0-9]{34}\b")),
    ("openai_token", re.compile(r"\bsk-(?:proj|svcacct|admin|ant)-[A-Za-z0-9_-]{32,}")),
    ("google_api_key", re.compile(r"\bAIza[A-Za-z0-9_-]{35}\b")),
    ("slack_token", re.compile(r"\bxox[abeprs]-[A-Za-z0-9-]{20,}")),
)
_EMAIL = re.compile(
    r"(?<![\w.%+/@-])[A-Za-z0-9](?:[\w.%+-]{0,62}[A-Za-z0-9])?"
    r"@((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+"
    r"(?:com|org|net|edu|gov|mil|int|info|biz|io|dev|app|ai|me|tech|cloud|xyz|[a-z]{2}))(?![\w(@:/-]|\.\w)"
)
#: Reserved for documentation (RFC 2606), and addresses of programs rather than of people.
_NOBODY = re.compile(
    r"(?:^|\.)(?:example\.\w+|test|invalid|localhost)$|^(?:domain|email|company|host|foo|bar)\.\w+$"
)
_IPV4 = re.compile(r"(?<![\w.\-=<>~^])(?:\d{1,3}\.){3}\d{1,3}(?![\w.\-])")
_VERSION = re.compile(r"(?:version|release|rev|oid)\W*$|\bv\W*$|[<>=~^]\s*$", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-fA-F]{32,}")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{20,}={0,2}")
_TEMPLATE = re.compile(r"\$\{?\w|\{\{|%\(|%[sdr]|<[^>]*>|\{\w*\}|\*{3,}|x{4,}|\.\.\.", re.IGNORECASE)
#: What documentation writes where a password goes. A string of little else is no secret.
_STAND_IN = re.compile(
    r"example|sample|dummy|fake|mock|test|change_?me|placeholder|redacted|your|insert|here|my|the|"
    r"passw(?:or)?d|pass|secret|token|key|foo|bar|baz|hunter|user(?:name)?|admin|root|abc|xyz|[\W\d_]",
    re.IGNORECASE,
)


class Finding(NamedTuple):
    """Where a secret stands in a text, and of which type it is."""

    start: int
    end: int
    type: str


def find(text: str) -> list[Finding]:
    """Return the secrets in `text`, in order, without overlaps."""
    # Of two findings at one place the first stays: a pattern names it better than its neighbourhood does.
    found = [*_by_pattern(text), *_addresses(text), *_by_neighbourhood(text)]
    found.sort(key=lambda finding: (finding.start, -finding.end))
    apart: list[Finding] = []
    for finding in found:
        if not apart or finding.start >= apart[-1].end:
            apart.append(finding)
    return apart


def count(before: str, text: str, after: str) -> int:
    """Return how many secrets `text` holds or takes part in, seen on the lines that it stands between."""
    head = before[before.rfind("\n") + 1 :]
    start, end = len(head), len(head) + len(text)
    seen = find(head + text + after.split("\n", 1)[0])
    return sum(finding.start < end and finding.end > start for finding in seen)


def mask(text: str) -> str:
    """Return `text` with every secret replaced by its type, as in `<secret:aws_access_key>`.

    >>> mask("write to jane.roe@corp.com")
    'write to <secret:email>'
    """
    parts, last = [], 0
    for finding in find(text):
        parts += [text[last : finding.start], f"<secret:{finding.type}>"]
        last = finding.end
    return "".join([*parts, text[last:]])


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Return the patterns of the regex plugins with the name of what they find."""
    from importlib import import_module

    patterns = []
    for path in _PLUGINS:
        module, name = path.split(".")
        plugin = getattr(import_module(f"detect_secrets.plugins.{module}"), name)()
        kind = re.sub(r"\W+", "_", plugin.secret_type.lower()).strip("_")
        patterns += [(kind, pattern) for pattern in plugin.denylist]
    return tuple(patterns)


def _by_pattern(text: str) -> Iterator[Finding]:
    for match in _PRIVATE_KEY.finditer(text):
        yield Finding(match.start(), match.end(), "private_key")
    for kind, pattern in (*_TOKENS, *_patterns()):
        for match in pattern.finditer(text):
            if kind == "json_web_token" and not _is_jwt(match.group()):
                continue
            if kind == "basic_auth_credentials" and not _is_credible(match.group(1)):
                continue
            # Where a pattern has a group it is the secret, but for the tokens, whose group is their kind's
            # prefix.
            group = 1 if kind == "npm_tokens" or (pattern.groups == 1 and "token" not in kind) else 0
            yield Finding(*match.span(group), kind)


def _by_neighbourhood(text: str) -> Iterator[Finding]:
    """Find strings that look random, or like a password, on a line that speaks of one."""
    last_line = -1
    for word in _SECRET_WORD.finditer(text):
        start = text.rfind("\n", 0, word.start()) + 1
        if start == last_line:
            continue
        last_line = start
        end = text.find("\n", word.start())
        line = text[start : end if end >= 0 else len(text)]
        for pattern, group in ((_QUOTED, 2), (_UNQUOTED, 1)):
            for match in pattern.finditer(line, word.start() - start):
                value = match.group(group)
                if _is_random(value):
                    yield Finding(start + match.start(group), start + match.end(group), "high_entropy_string")
                elif (
                    group == 2
                    and _is_assigned(line, word.end() - start, match.start())
                    and _is_password(value)
                ):
                    yield Finding(start + match.start(group), start + match.end(group), "password")


def _addresses(text: str) -> Iterator[Finding]:
    if "@" in text:
        for match in _EMAIL.finditer(text):
            if not _NOBODY.search(match.group(1)) and not match.group().startswith(
                ("git@", "noreply@", "no-reply@")
            ):
                yield Finding(match.start(), match.end(), "email")
    for match in _IPV4.finditer(text):
        try:
            address = ipaddress.IPv4Address(match.group())
        except ValueError:
            continue
        if address.is_global and not _VERSION.search(text, max(0, match.start() - 20), match.start()):
            yield Finding(match.start(), match.end(), "ip_address")


def _is_jwt(token: str) -> bool:
    from detect_secrets.plugins.jwt import JwtTokenDetector

    return token.count(".") == 2 and JwtTokenDetector.is_formally_valid(token)


def _is_assigned(line: str, word_end: int, value_start: int) -> bool:
    """Say whether what stands between a word such as `password` and a string gives the one to the other."""
    between = line[word_end:value_start]
    return bool(
        re.fullmatch(r"\w*['\"`\])]{0,2}\s*(?::\s*\w+\s*)?(?:={1,3}|!==?|:=?|=>)\s*[bru@]{0,2}", between)
    )


def _is_credible(value: str) -> bool:
    """Say whether a string is more than a template or a stand-in such as `your-password`."""
    return not _TEMPLATE.search(value) and len(_STAND_IN.sub("", value)) >= 3


def _is_password(value: str) -> bool:
    """Say whether a string could be a password: long, credible, of several kinds of characters, no blank."""
    if len(value) < 8 or re.search(r"\s", value) or not _is_credible(value):
        return False
    kinds = sum(bool(re.search(kind, value)) for kind in ("[a-z]", "[A-Z]", r"\d", r"[^\w./:,\-]"))
    return kinds >= 3 or (kinds == 2 and bool(re.search(r"\d.*[A-Za-z]|\d\d", value)))


def _is_random(value: str) -> bool:
    """Say whether a string is random: its entropy in bits per character passes detect-secrets' limits.

    A random string of n characters has less than log2(n) bits, so that the limit for base64 is lowered for a
    short one.
    """
    if _TEMPLATE.search(value) or _is_sequence(value):
        return False
    if _HEX.fullmatch(value):
        return _entropy(value) > 3.0
    if not _BASE64.fullmatch(value) or not all(re.search(kind, value) for kind in ("[a-z]", "[A-Z]", r"\d")):
        return False
    return _entropy(value) > 4.5 or (
        len(value) < 32 and _entropy(value) > 3.9 and not re.search(r"[a-z]{6}", value)
    )


def _is_sequence(value: str) -> bool:
    from detect_secrets.filters.heuristic import is_potential_uuid, is_sequential_string

    return bool(is_sequential_string(value)) or bool(is_potential_uuid(value))


def _entropy(value: str) -> float:
    from math import log2

    shares = [value.count(sign) / len(value) for sign in set(value)]
    return -sum(share * log2(share) for share in shares)
