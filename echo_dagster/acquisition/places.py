"""Names of documents and repositories as tools write them, made fit to keep: no home directory, no host, no account.

What does not live here: who a user is (`privacy.py`).
"""

from __future__ import annotations

import re
from urllib.parse import unquote

_HOMES = ("users", "home", "documents and settings")
_HOME = re.compile(rf"^.*?/(?:{'|'.join(_HOMES)})/+[^/]+(?:/+|$)", re.IGNORECASE)
#: Quotes and brackets may stand before a path, and a tool that escapes twice doubles what stands between its parts.
_OUTSIDE = re.compile(r"""[\s"'`(<\[]*(?:/|(?:\./+)*\.\./|[a-z][a-z0-9+.-]*:)""", re.IGNORECASE)


def document(path: str) -> str:
    """Return a path or file URI with `/` between its parts; outside of a repository, `~/` for a home directory.

    A path that leads out of the repository is an absolute one, or begins with `../` or a drive or scheme.
    """
    path = (unquote(path) if path.startswith("file:") else path).replace("\\", "/")
    return _HOME.sub("~/", "/" + path) if _OUTSIDE.match(path) and _HOME.match("/" + path) else path


def repository(uri: object) -> str | None:
    """Return the last part of a repository's root or remote, without `.git`: what stands above it (a host, an
    account, a user's folders) is nobody's business. None where it is no text, or a home directory.
    """
    if not isinstance(uri, str):
        return None
    folders = [part for part in re.split(r"[/\\:]", unquote(uri)) if part]
    if len(folders) >= 2 and folders[-2].lower() in _HOMES:
        return None  # a home directory: its name is the user's
    return folders[-1].removesuffix(".git") or None if folders else None
