"""Pseudonyms: who a user is stays outside the experience log.

A pseudonym is a keyed hash, so that the same user has the same one in every log of an installation, and
nobody without the key can test a guess. What does not live here: which fields name a user (`importers.py`).
"""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from echo_dagster.settings import Settings

#: The environment variable that holds the key; it comes before the key file.
KEY_VARIABLE = "ECHO_PSEUDONYM_KEY"

_PSEUDONYM = re.compile(r"u_[0-9a-f]{16}")


def pseudonymiser(data_dir: Path | None = None) -> Callable[[str], str]:
    """Return the function from a user's name to `u_` and 16 hexadecimal digits (64 bits of keyed BLAKE2b).

    What already is a pseudonym stays as it is, so that an exported log can be read again. The key is the
    value of `ECHO_PSEUDONYM_KEY`, else the content of `<data_dir>/pseudonym.key`, which is made on first use.
    Without `data_dir` the default one of the settings is meant.
    """
    told = os.environ.get(KEY_VARIABLE)
    directory = Settings.model_fields["data_dir"].default if data_dir is None else data_dir
    return with_key(told.encode() if told else _key(directory / "pseudonym.key"))


def with_key(secret: bytes) -> Callable[[str], str]:
    """Return the function from a user's name to the pseudonym that a key gives."""
    key = blake2b(secret, digest_size=32).digest()  # a key of any length fits BLAKE2b's 64 bytes

    @lru_cache(maxsize=65_536)
    def pseudonym(user: str) -> str:
        if _PSEUDONYM.fullmatch(user):
            return user
        return "u_" + blake2b(user.encode("utf-8", "surrogatepass"), key=key, digest_size=8).hexdigest()

    return pseudonym


def _key(path: Path) -> bytes:
    """Return the key in `path`, made when there is none. Processes that race all end with the first one's."""
    with suppress(FileNotFoundError):
        return _read(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, made = tempfile.mkstemp(dir=path.parent, prefix=".pseudonym-")  # mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(made, path)  # whole or not at all, and never over another's
    finally:
        Path(made).unlink()
    return _read(path)


def _read(path: Path) -> bytes:
    key = path.read_bytes().strip()
    if not key:
        raise ValueError(
            f"{path} is empty; remove it to get a new key, or restore the old one to keep pseudonyms"
        )
    return key
