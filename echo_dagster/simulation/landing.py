"""Landing files of simulated sessions, with the dirt that real ones have, and the manifest beside them.

One NDJSON file per UTC day, in the order of time. Every day holds a few lines twice (a client that sent a
batch again); the first day holds a line that breaks off (a writer that was stopped, and began again with
the same line); and one event of each day but the last arrives a day late.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

_DUPLICATES_PER_DAY = 3
_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Landed:
    """What was written."""

    files: tuple[Path, ...]
    n_lines: int
    n_duplicates: int
    n_malformed: int
    n_late: int


def write(out: Path, events: Sequence[Mapping[str, Any]], rng: random.Random) -> Landed:
    """Write `events` below `out`, replacing what an earlier simulation left there."""
    out.mkdir(parents=True, exist_ok=True)
    (out / _MANIFEST).unlink(missing_ok=True)  # what it vouches for is about to change
    for old in out.glob("*.ndjson"):
        old.unlink()
    days: dict[str, list[Mapping[str, Any]]] = {}
    for event in sorted(events, key=lambda event: (event["ts"], event["event_id"])):
        days.setdefault(event["ts"][:10], []).append(event)
    names = sorted(days)
    lines = {name: [_line(event) for event in days[name]] for name in names}
    n_late = sum(_delay(days[day], lines[day], lines[after], rng) for day, after in pairwise(names))
    n_duplicates = sum(_send_again(lines[name], rng) for name in names)
    n_malformed = _break_off(lines[names[0]], rng) if names else 0
    files = []
    for name in names:
        file = out / f"{name}.ndjson"
        file.write_text("".join(line + "\n" for line in lines[name]), encoding="utf-8")
        files.append(file)
    return Landed(tuple(files), sum(map(len, lines.values())), n_duplicates, n_malformed, n_late)


def write_manifest(
    out: Path, parameters: Mapping[str, Any], counts: Mapping[str, Any], files: Sequence[Path]
) -> None:
    """Write down what the landing files were made from and what they hold; last, to vouch for them."""
    told = {
        "what": "simulated experience logs",
        "parameters": parameters,
        "counts": counts,
        "bytes": {file.name: file.stat().st_size for file in files},
    }
    (out / _MANIFEST).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def counts_if_made_from(out: Path, parameters: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the counts of the landing files where they were made from exactly `parameters`, else None."""
    manifest = out / _MANIFEST
    if not manifest.is_file():
        return None
    told = json.loads(manifest.read_text(encoding="utf-8"))
    found = {file.name: file.stat().st_size for file in out.glob("*.ndjson")}
    is_same = told["parameters"] == dict(parameters) and told["bytes"] == found
    return told["counts"] if is_same else None


def _line(event: Mapping[str, Any]) -> str:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))


def _delay(
    events: Sequence[Mapping[str, Any]], lines: list[str], after: list[str], rng: random.Random
) -> int:
    """Move one cursor event to the next day's file: late, but no document depends on it."""
    cursors = [index for index, event in enumerate(events) if event["kind"] == "cursor"]
    if not cursors:
        return 0
    after.insert(0, lines.pop(rng.choice(cursors)))
    return 1


def _send_again(lines: list[str], rng: random.Random) -> int:
    """Repeat a short run of lines a little later."""
    count = min(_DUPLICATES_PER_DAY, len(lines))
    start = rng.randrange(len(lines) - count + 1)
    at = min(len(lines), start + count + rng.randint(0, 20))
    lines[at:at] = lines[start : start + count]
    return count


def _break_off(lines: list[str], rng: random.Random) -> int:
    """Put half of a line before the whole one."""
    at = rng.randrange(len(lines))
    lines.insert(at, lines[at][: len(lines[at]) // 2])
    return 1
