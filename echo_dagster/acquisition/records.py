"""What a reader of one log file yields: records that may be events, and what could not be read.

Nothing here knows a file format (`native.py`, `vscode_recording.py`) or checks an event (`events.to_row`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from echo_dagster.settings import Source


class Record(NamedTuple):
    """Fields of an event, not yet checked, and where they stood. The receiver owns the mapping."""

    line: int
    fields: dict[str, Any]


@dataclass(frozen=True)
class Bad:
    """Something that is no event. `reason` is a code; `detail` says more and never holds user text."""

    line: int
    reason: str
    detail: str


class Reader(Protocol):
    """What an importer is: a module with this function."""

    def __call__(self, path: Path, source: Source) -> Iterator[Record | Bad]:
        """Yield what `path` holds, in its order. A damaged file yields `Bad`; only an absent one raises."""


def stable_id(*parts: object) -> str:
    """Return an id that is the same whenever its parts are: 128 bits of BLAKE2b, in hexadecimal digits."""
    return blake2b("\0".join(map(str, parts)).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
