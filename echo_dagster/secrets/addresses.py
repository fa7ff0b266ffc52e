"""Addresses that lead to a person or their machine: e-mail addresses, public IPv4 and IPv6 addresses.

What does not live here: what becomes of a text that holds one (`secrets.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Address, IPv6Address

#: From the sign on which all depends: a pattern that begins with it is much faster.
_EMAIL = re.compile(
    r"@((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}"
    r"(?:com|org|net|edu|gov|mil|int|info|biz|name|pro|io|dev|app|ai|me|tech|cloud|xyz|email|online|site|store|"
    r"digital|agency|studio|world|solutions|systems|software|engineering|academy|group|team|work|works|one|[a-z]{2}))"
    r"(?![\w(@:/-]|\.\w)"
)
_NAME = re.compile(r"(?<![\w.%+/@-])[A-Za-z0-9_](?:[\w.%+'-]{0,62}\w)?\Z")
#: Reserved for documentation (RFC 2606), and addresses of programs rather than of people.
_NOBODY = re.compile(
    r"(?:^|\.)(?:example\.\w{2,24}|test|invalid|localhost)$|^(?:domain|email|company|host|foo|bar)\.\w{2,24}$"
)
_PROGRAMS = ("git", "noreply", "no-reply")
_IPV4 = re.compile(r"\.\d{1,3}\.\d{1,3}\.\d{1,3}(?![\w-]|\.\d)")
_FIRST = re.compile(r"(?<![\w.\-<>~^])(?<![=<>!~]=)\d{1,3}\Z")
_VERSION = re.compile(
    r"(?:version|release|rev|oid|identifier)\W{0,8}$|\bv\W{0,8}$|[<>=~^]=?\s{1,8}$", re.IGNORECASE
)
#: What examples write, and name servers that everybody uses.
_STAND_INS = ("1.2.3.", "1.1.1.", "1.0.0.1", "8.8.8.8", "8.8.4.4", "9.9.9.9")
#: Addresses of the internet begin with 2 or 3 (2000::/3); names in C++ and times of day do not have this form.
_IPV6 = re.compile(r"[23](?<![\w:.][23])[0-9a-fA-F]{3}(?::[0-9a-fA-F]{0,4}){2,7}(?![\w:])")


def addresses(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and kind of every address in `text`: `email` or `ip_address`."""
    for match in _EMAIL.finditer(text):
        name = _NAME.search(text, max(0, match.start() - 64), match.start())
        if name and not _NOBODY.search(match[1]) and name.group() not in _PROGRAMS:
            yield name.start(), match.end(), "email"
    for match in _IPV4.finditer(text):
        first = _FIRST.search(text, max(0, match.start() - 3), match.start())
        if first is None:
            continue
        start, end = first.start(), match.end()
        try:
            is_public = IPv4Address(text[start:end]).is_global
        except AddressValueError:
            continue
        is_stand_in = text.startswith(_STAND_INS, start)
        if is_public and not is_stand_in and not _VERSION.search(text, max(0, start - 20), start):
            yield start, end, "ip_address"
    if "::" in text or text.count(":") >= 7:
        for match in _IPV6.finditer(text):
            try:
                is_public = IPv6Address(match.group()).is_global
            except AddressValueError:
                continue
            # With fewer groups it is an example's, or a well-known server's.
            if is_public and len(match.group().replace("::", ":").split(":")) >= 4:
                yield *match.span(), "ip_address"
