"""Who may send to the collector, and how much: tokens, rates, and the memory that bodies hold.

What does not live here: reading a request (`collector.py`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest

#: The environment variable that holds the tokens.
TOKENS_VARIABLE = "ECHO_COLLECTOR_TOKENS"

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{16,}")  # what a bearer token may hold, and not too short to guess


@dataclass(frozen=True)
class Token:
    """A token as its hash, and whose events it brings where they do not say."""

    digest: bytes
    user: str | None


def tokens(text: str) -> tuple[Token, ...]:
    """Read tokens parted by white space or commas, each `token` or `user:token`.

    Raises:
        ValueError: there is none, or one is too short, holds other signs, or is given twice.
    """
    found = []
    for number, item in enumerate(re.split(r"[\s,]+", text.strip(" \t\r\n,")), 1):
        user, _, token = item.rpartition(":")
        if not _TOKEN.fullmatch(token):
            raise ValueError(
                f"{TOKENS_VARIABLE}: expected tokens of at least 16 letters, digits and ._~+/=-, each alone or as "
                f"user:token, parted by spaces or commas; number {number} is none (python3 -c 'import secrets; "
                "print(secrets.token_urlsafe())' makes one)"
            )
        found.append(Token(_digest(token), user or None))
    if len({token.digest for token in found}) < len(found):
        raise ValueError(f"{TOKENS_VARIABLE}: a token is given twice")
    return tuple(found)


def holder(known: Sequence[Token], authorization: str | None) -> Token | None:
    """Return the token that an `Authorization` header bears, in a time that does not depend on which it is."""
    scheme, _, given = (authorization or "").partition(" ")
    digest = _digest(given.strip())
    matching = [token for token in known if compare_digest(token.digest, digest)]  # all of them, always
    return matching[0] if matching and scheme.lower() == "bearer" else None


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


class Rate:
    """How many events a second, on the average of `burst_s` seconds.

    A batch that is larger than what is left is let through and paid for afterwards: while the balance is below
    one event, nothing is. So no batch is too large for ever, and the average holds.
    """

    def __init__(self, per_second: float, burst_s: float = 10.0) -> None:
        self._per_second = per_second
        self._most = max(1.0, per_second * burst_s)
        self._balance = self._most
        self._at = 0.0

    def wait(self, now: float) -> float:
        """Return the seconds until the next request may come; 0 if it may now. `now` never goes back."""
        self._balance = min(self._most, self._balance + (now - self._at) * self._per_second)
        self._at = now
        return max(0.0, 1 - self._balance) / self._per_second

    def spend(self, events: int) -> None:
        """Take `events` off the balance."""
        self._balance -= events


class Memory:
    """Bytes of bodies that are held at the same time."""

    def __init__(self, limit: int) -> None:
        self._left = limit

    def take(self, size: int) -> bool:
        """Take `size` bytes if there are so many left."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give_back(self, size: int) -> None:
        """Give back what was taken."""
        self._left += size
