"""The lines of configuration that point Echo at log files: a pattern that matches them, with `{day}` where it can.

What does not live here: what the files hold (`inspection.py`), and which files a pattern means (`landing.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date
from glob import escape, glob
from pathlib import Path

from echo_dagster.acquisition.importers import SLACK
from echo_dagster.acquisition.inspection import FileDays, Inspection
from echo_dagster.text import shared_head

_DAY = re.compile(r"(?<!\d)\d{4}-\d{2}-\d{2}(?!\d)")
_DAY_GLOB = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"
_NOT_UTF8 = re.compile("[\ud800-\udfff]")
#: Stands for a day while names are compared: no file's name holds it.
_MARK = "\0"

#: So many entries are suggested for one importer; more would be a list of files.
_MOST_ENTRIES = 10


def lines_of_yaml(inspection: Inspection) -> str:
    """Return the section `sources` of a configuration, with an entry for each importer, or several where their files
    stand too far apart for one pattern.

    Whether the users consent is not for a machine to say: it says no.
    """
    every = {file.path for found in inspection.found for file in found.files} | set(inspection.unknown)
    entries = []
    for found in inspection.found:
        chosen = patterns(found.files, every)
        for number, pattern in enumerate(chosen[:_MOST_ENTRIES]):
            name = found.importer if number == 0 else f"{found.importer}-{number + 1}"
            user = ", user: NAME" if found.names_no_user else ""
            path = json.dumps(pattern, ensure_ascii=False)
            entries.append(
                f"  - {{name: {name}, importer: {found.importer}, path: {path}{user}, consent: false}}"
            )
        if len(chosen) > _MOST_ENTRIES:
            entries.append(f"  # and {len(chosen) - _MOST_ENTRIES} patterns more")
    if not entries:
        return ""
    days = [day for found in inspection.found for day in found.days]
    span = f"  # events from {min(days)} to {max(days)}" if days else ""
    return "\n".join([f"sources:{span}", *entries, ""])


def patterns(files: Sequence[FileDays], every: set[Path]) -> list[str]:
    """Return the fewest patterns that match all of `files` and none of `every` other file.

    Files whose names hold the day of their events, give or take one, are matched by a pattern with `{day}`.
    """
    marked = {file.path: _marked(file) for file in files}
    found = []
    for has_day in (True, False):
        paths = [path for path, name in marked.items() if (_MARK in name) is has_day]
        others = every - set(paths)
        chosen = (
            [_pattern([marked[path] for path in group], set(group), others) for group in apart]
            for apart in _groupings(paths)
        )
        each = [_escaped(path.as_posix()) for path in paths]
        found += next(([one for one in some if one] for some in chosen if all(some)), each)
    return list(dict.fromkeys(found))


def _groupings(paths: Sequence[Path]) -> Iterator[list[list[Path]]]:
    """Yield ways to part files: not at all, by folder, and each for itself."""
    yield [list(paths)] if paths else []
    folders: dict[Path, list[Path]] = {}
    for path in paths:
        folders.setdefault(path.parent, []).append(path)
    yield list(folders.values())
    yield [[path] for path in paths]


def _marked(file: FileDays) -> str:
    """Return a file's path with a mark in the places of its day, if it names the day of its events."""
    name = file.path.as_posix()
    for text in reversed(_DAY.findall(name)):
        with suppress(ValueError):
            day = date.fromisoformat(text)
            is_first_near = file.first is None or day - SLACK <= file.first
            is_last_near = file.last is None or file.last <= day + SLACK
            if is_first_near and is_last_near:
                return name.replace(text, _MARK)
    return name


def _pattern(names: Sequence[str], wanted: set[Path], others: set[Path]) -> str | None:
    """Return a pattern for marked paths, with `*` where the parts of the paths differ.

    Null where it would not match all that is `wanted`, or something of the `others`.
    """
    split = [name.split("/") for name in names]
    if len({len(parts) for parts in split}) > 1:
        return None
    pattern = "/".join(_joined(sorted(set(parts))) for parts in zip(*split, strict=True)).replace(
        _MARK, "{day}"
    )
    names_matched = glob(pattern.replace("{day}", _DAY_GLOB), recursive=True)  # noqa: PTH207
    matched = {Path(name) for name in names_matched}
    return pattern if wanted <= matched and not matched & others else None


def _joined(parts: Sequence[str]) -> str:
    """Return a pattern for one part of several paths: what they begin and end with alike."""
    if len(parts) == 1:
        return _escaped(parts[0])
    head = min(shared_head(parts[0], part) for part in parts)
    rests = [part[head:][::-1] for part in parts]
    tail = min(shared_head(rests[0], rest) for rest in rests)
    return f"{_escaped(parts[0][:head])}*{_escaped(rests[0][:tail][::-1])}"


def _escaped(name: str) -> str:
    """Return a pattern for a name; a configuration cannot write what of it is not UTF-8."""
    return _NOT_UTF8.sub("?", escape(name))
