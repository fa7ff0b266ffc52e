"""What the tests of importers share: a file read as Echo reads it, its gaps, and a file damaged at random."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from echo_dagster import events
from echo_dagster.acquisition import importers
from echo_dagster.acquisition.importers import Event
from echo_dagster.acquisition.records import Bad
from echo_dagster.extraction import gaps
from echo_dagster.extraction.policies import PRESETS
from echo_dagster.settings import Source

COLUMNS = list(events.SCHEMA)


def source(importer: str, **told: Any) -> Source:
    return Source(**{"name": "log", "importer": importer, "path": "*", "consent": True, **told})


def items(path: Path, importer: str, **told: Any) -> list[Event | Bad]:
    return list(importers.checked(path, source(importer, **told), lambda user: user))


def good(path: Path, importer: str, **told: Any) -> list[dict[str, Any]]:
    """Return the events as mappings, each with its line; a file with anything bad fails the test."""
    found = items(path, importer, **told)
    assert [item for item in found if isinstance(item, Bad)] == []
    return rows(found)


def rows(found: list[Event | Bad]) -> list[dict[str, Any]]:
    return [
        dict(zip(COLUMNS, item.row, strict=True)) | {"line": item.line}
        for item in found
        if isinstance(item, Event)
    ]


def reasons(path: Path, importer: str, **told: Any) -> list[tuple[int, str]]:
    return [(item.line, item.reason) for item in items(path, importer, **told) if isinstance(item, Bad)]


def gaps_of(path: Path, importer: str, policy: str = "echo", **told: Any) -> pl.DataFrame:
    found = [item.row for item in items(path, importer, **told) if isinstance(item, Event)]
    return gaps.extract_frame(events.frame(found), PRESETS[policy])


def survives(content: bytes, path: Path, importer: str, times: int = 150, seed: int = 1) -> set[str]:
    """Read `content` damaged in `times` ways, and return the reasons met. Every item must be an event or bad."""
    chance = random.Random(seed)
    met: set[str] = set()
    for _ in range(times):
        path.write_bytes(chance.choice(_DAMAGES)(content, chance))
        for item in items(path, importer, user="sam"):
            assert isinstance(item, Event | Bad)
            met |= {item.reason} if isinstance(item, Bad) else set()
    return met


def _flip(content: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def _cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content))]


def _drop(content: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(content))
    return content[:start] + content[start + chance.randint(1, 40) :]


def _repeat(content: bytes, chance: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    number = chance.randrange(len(lines))
    return b"".join([*lines[:number], *lines[number : number + 1] * 2, *lines[number + 1 :]])


_DAMAGES: list[Callable[[bytes, random.Random], bytes]] = [_flip, _cut, _drop, _repeat]
