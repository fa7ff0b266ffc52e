"""What Continue logs around the cursor, without what its prompts put there: the document alone.

The `prefix` of an autocomplete line is the prompt's: text of other files, diffs and the clipboard may stand in it,
before the document. The `userExcerpts` of a next edit hold the document with markers in it. How they are made is in
Continue's `core/autocomplete/templating` and `core/nextEdit/templating`.

What does not live here: the lines of the log (`continue_dev.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from echo_dagster.acquisition.fields import Unusable

_FIM_HEADS = ("<|fim_prefix|>", "<|file_sep|>", "<|repo_name|>")
_FILE_LINE = re.compile(r"^\+{5} ([^\n]*)\n", re.MULTILINE)
_PREFIX_MARKS = ("[PREFIX]", "\n[PREFIX]\n")

#: Continue sends a line feed where there is nothing.
_NO_SUFFIX = "\n"


def document_alone(prefix: str, suffix: str, path: str) -> tuple[str, str]:
    """Return the document before and after the cursor, perhaps cut, from the prompt's prefix and suffix.

    Args:
        prefix, suffix: as logged.
        path: of the document, as logged: the prompt names it right before its text.

    Raises:
        Unusable: `prompt_not_parted`; other files stand in the prefix, and where they end is not certain.
    """
    suffix = "" if suffix == _NO_SUFFIX else suffix
    if prefix.startswith(_FIM_HEADS):
        return _after_fim_marker(prefix, suffix)
    document = _plain(path)
    own = [line for line in _FILE_LINE.finditer(prefix) if _is_named(document, line[1])]
    if own:
        rest = prefix[own[-1].end() :]
        for mark in _PREFIX_MARKS:
            rest = rest.removeprefix(mark)
        return rest, suffix
    if prefix.startswith("+++++ "):
        raise Unusable("prompt_not_parted", "prefix: other files, and no line that names the document")
    return _after_comments(prefix, document), suffix


def _after_fim_marker(prefix: str, suffix: str) -> tuple[str, str]:
    marker = "<|fim_prefix|>"
    if prefix.startswith(marker):
        rest = prefix.removeprefix(marker)  # no other files
    elif marker in prefix:
        rest = prefix.rpartition(marker)[2]
    else:
        raise Unusable("prompt_not_parted", "prefix: other files, and no marker of the document")
    if not suffix and rest.endswith("<|fim_middle|>"):  # the whole prompt was logged as prefix
        rest, _, suffix = rest.removesuffix("<|fim_middle|>").partition("<|fim_suffix|>")
        suffix = "" if suffix == _NO_SUFFIX else suffix
    return rest, suffix


def _after_comments(prefix: str, document: str) -> str:
    """Return what stands after a block of comments whose last line is the document's path.

    Without other files the block is an empty line and the path. A block of the same comments that does not end so
    is the document's own beginning, unless it begins as other files do.
    """
    first_end = prefix.find("\n")
    first = prefix[:first_end] if first_end >= 0 else prefix
    start = first_end + 1 if not first else 0
    mark = prefix[start:].partition("\n")[0].partition(" ")[0] + " "
    at = start
    while (end := prefix.find("\n", at)) >= 0 and prefix.startswith(mark, at):
        if _is_named(document, prefix[at + len(mark) : end]):
            return prefix[end + 1 :]
        at = end + 1
    if first.startswith(f"{mark}Path: "):
        raise Unusable("prompt_not_parted", "prefix: other files, and no line that names the document")
    return prefix


def _is_named(document: str, name: str) -> bool:
    """Say whether a name is the document's path, or its last parts."""
    name = _plain(name)
    return bool(name) and document.endswith(name) and (document == name or document[-len(name) - 1] == "/")


def _plain(path: str) -> str:
    """Return a path as it is told to people. Continue percent-encodes it, sometimes twice."""
    return unquote(unquote(path)).replace("\\", "/") if "%" in path or "\\" in path else path


@dataclass(frozen=True)
class _Markers:
    start: str
    end: str
    cursor: str
    lines_after: int | None  # how many are kept after the cursor; None: all


_MARKERS = (
    _Markers("<|editable_region_start|>", "<|editable_region_end|>", "<|user_cursor_is_here|>", 25),
    _Markers("<|code_to_edit|>", "<|/code_to_edit|>", "<|cursor|>", None),
)


@dataclass(frozen=True)
class Excerpt:
    """A piece of a document in lines, without markers.

    Attributes:
        lines: their line ends are `"\\n"`, and not part of them.
        first, last: the region that the model may rewrite is `lines[first:last]`.
        cursor: the line that the cursor stands in, where it is marked.
        reaches_end: the last line is known to be the document's.
    """

    lines: list[str]
    first: int
    last: int
    cursor: int | None
    reaches_end: bool


def excerpt(text: str) -> Excerpt:
    """Read the excerpt of a next edit. One without markers is the region alone."""
    lines = text.split("\n")
    for markers in _MARKERS:
        if markers.start in lines and markers.end in lines:
            first = lines.index(markers.start)
            last = len(lines) - 1 - lines[::-1].index(markers.end)
            if first < last:
                kept = lines[:first] + lines[first + 1 : last] + lines[last + 1 :]
                return _without_cursor(kept, first, last - 1, markers)
    return Excerpt(lines, 0, len(lines), None, reaches_end=False)


def _without_cursor(lines: list[str], first: int, last: int, markers: _Markers) -> Excerpt:
    cursor = next((number for number, line in enumerate(lines) if markers.cursor in line), None)
    if cursor is not None:
        lines[cursor] = lines[cursor].replace(markers.cursor, "", 1)
    is_short = cursor is not None and len(lines) - 1 - cursor < (markers.lines_after or 0)
    return Excerpt(lines, first, last, cursor, reaches_end=markers.lines_after is None or is_short)


def find_lines(where: Excerpt, wanted: str) -> int:
    """Return the line of the excerpt at which the wanted ones begin.

    Raises:
        Unusable: `place_unknown`; they are not in the region, or more than once and not at the cursor.
    """
    lines, first, last = where.lines, where.first, where.last
    if "\n".join(lines[first:last]) == wanted:
        return first
    if where.cursor is not None:
        size = wanted.count("\n") + 1
        start = max(first, where.cursor - size + 1)
        at = _only(lines[start : min(last, where.cursor + size)], wanted)  # all that could hold the cursor
        if at is not None:
            return start + at
    at = _only(lines[first:last], wanted) if wanted.strip() else None
    if at is None:
        raise Unusable("place_unknown", "the replaced lines are not in the excerpt, or more than once")
    return first + at


def _only(lines: list[str], wanted: str) -> int | None:
    """Return the number of the line at which the wanted ones begin, if there is one place alone."""
    text, wanted = "\n".join(["", *lines, ""]), f"\n{wanted}\n"
    at = text.find(wanted)
    return None if at < 0 or text.find(wanted, at + 1) >= 0 else text.count("\n", 0, at)
