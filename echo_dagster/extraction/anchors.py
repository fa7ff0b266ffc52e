"""Finding a gap again in a later view of its document, between its anchors: the text around C_0.

A view is what a later request or snapshot shows of the document. It can be cut at both ends, so that a gap
can be out of sight, and it can show that the document around the gap changed. Pure functions over strings.

What does not live here: what follows from it for the gap (`stream.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from echo_dagster import utf16
from echo_dagster.text import shared_head

#: An anchor begins with this many characters and doubles until it stands in the view once.
ANCHOR_CHARS = 32

#: With fewer characters that are no white space, text is too common to recognise a place by.
_TELLING_CHARS = 4

#: How many lines after the cursor are tried when the suffix was not kept.
_RECALLED_LINES = 20


@dataclass(frozen=True)
class View:
    """What an event shows of a document.

    Attributes:
        start: the offset at which `before` begins, in UTF-16 units; 0 where nothing is cut off.
        before: the text up to the cursor.
        after: the text from the cursor on; null where the tool kept none.
        reaches_end: `after` is known to run to the end of the document.
    """

    start: int
    before: str
    after: str | None
    reaches_end: bool

    @property
    def text(self) -> str:
        """All that is visible."""
        return self.before + (self.after or "")


@dataclass(frozen=True)
class Around:
    """What stood around a gap when it opened: `prefix` up to unit `offset`, and `suffix` after the gap.

    A null suffix was not kept; `""` says that the gap ended the document. `recalled` stands in for a suffix
    that was not kept: what earlier views let us expect there (`recall`).
    """

    offset: int
    prefix: str
    suffix: str | None
    recalled: str | None = None

    @property
    def is_prefix_whole(self) -> bool:
        """Whether the prefix begins where the document does."""
        return utf16.length(self.prefix) == self.offset


@dataclass(frozen=True)
class Found:
    """A gap found in a view."""

    offset: int  # where it begins, in UTF-16 units
    text: str
    is_same_around: bool  # what is visible around it is as it was


#: `unseen`: the view does not reach the gap. `changed`: nor this, but it shows a change before the gap.
#: `gone`: the view reaches the place, and an anchor is not there, or stands there more than once.
Missing = Literal["unseen", "changed", "gone"]


def find(view: View, around: Around, last: str, slack: int) -> Found | Missing:
    """Find a gap in a view.

    Args:
        view: what is visible now.
        around: what stood around the gap.
        last: the gap's text when it was last seen.
        slack: by how many characters the gap may have grown since.
    """
    text = view.text
    left = _left_end(text, view, around)
    if isinstance(left, str):
        return left
    start, is_same_before = left
    right: tuple[int, bool] | Missing
    if around.suffix is None:
        right = _recalled_end(view.before[start:], around, last) if len(view.before) >= start else "unseen"
    else:
        right = _right_end(text[start:], view, around.suffix, len(last) + slack)
    if isinstance(right, str):
        return "changed" if right == "unseen" and not is_same_before else right
    length, is_same_after = right
    offset = view.start + utf16.length(text[:start])
    return Found(offset, text[start : start + length], is_same_before and is_same_after)


def _left_end(text: str, view: View, around: Around) -> tuple[int, bool] | Missing:
    """Return the character at which the left anchor ends and whether the text before it is as it was."""
    prefix = around.prefix
    is_whole = view.start == 0 and around.is_prefix_whole
    if is_whole and text.startswith(prefix):
        return len(prefix), True
    at, is_absent = _only_place(text, prefix, from_head=False)
    if at is not None:
        visible = min(at, len(prefix))
        is_same = text[at - visible : at] == prefix[len(prefix) - visible :]
        return at, is_same and not is_whole  # whole and the same was found above
    if not is_absent:
        return "gone"
    if is_whole:
        shared = shared_head(text, prefix)
        if shared == len(text):
            return "gone" if view.reaches_end else "unseen"
        return "changed" if shared < len(prefix) - ANCHOR_CHARS else "gone"
    view_end = view.start + utf16.length(text)
    is_after = view.start > around.offset - ANCHOR_CHARS
    is_before = not view.reaches_end and view_end < around.offset
    return "unseen" if is_after or is_before else "gone"


def _right_end(rest: str, view: View, suffix: str, longest: int) -> tuple[int, bool] | Missing:
    """Return the gap's length in `rest`, which begins where it does, and whether what follows is as it was.

    `longest` is the length up to which the gap may have grown; a view cut before that may not show its end.
    """
    if not suffix:
        return (len(rest), True) if view.reaches_end else "unseen"
    if rest.endswith(suffix):
        return len(rest) - len(suffix), True
    end, is_absent = _only_place(rest, suffix, from_head=True)
    if end is None:
        is_cut = not view.reaches_end and len(rest) < longest + ANCHOR_CHARS
        return "unseen" if is_absent and is_cut else "gone"
    visible = min(len(rest) - end, len(suffix))
    return end, rest[end : end + visible] == suffix[:visible]


def _recalled_end(inside: str, around: Around, last: str) -> tuple[int, bool] | Missing:
    """Return the gap's length where no suffix was kept, and whether what follows is as it is recalled.

    `inside` runs from the gap's start to the cursor. The gap ends at the cursor, or before what is recalled.
    """
    if last.startswith(inside) and inside != last:
        return "unseen"  # the cursor went back: what stands after it was not kept
    held = shared_head(inside, last)  # what the gap already held cannot be what follows it
    text = around.recalled or ""
    for _ in range(_RECALLED_LINES):  # the first lines may have been deleted since they were seen
        if _is_telling(text[:ANCHOR_CHARS]):
            at, _is_absent = _only_place(inside[held:], text, from_head=True)
            if at is not None:
                return held + at, text.startswith(inside[held + at :])
        text = _next_lines(text[1:])
    return len(inside), True


def recall(known: str, before: str) -> tuple[str, str]:
    """Guess what follows the cursor where a tool keeps only what precedes it, from what was known until then.

    Args:
        known: the document as earlier views showed it.
        before: its text up to the cursor now.

    Returns:
        What stood after this place, and the part of it that can be expected to stand there still. The rest
        of the cursor's own line is not: tools propose where it is empty, so that it was more likely deleted
        than passed.
    """
    shared = shared_head(known, before)
    rest = known[shared:]
    line_start = before.rfind("\n") + 1
    written = before[shared:line_start]  # whole lines that were not known here
    if _is_telling(written):
        passed, _ = _only_place(rest, written, from_head=False)
        if passed is not None:  # the cursor moved down past known lines
            return recall(rest[passed:], before[line_start:])
    is_new_line = shared < len(before) and (shared == 0 or known[shared - 1] == "\n")
    return rest, rest if is_new_line else _next_lines(rest)


def _next_lines(text: str) -> str:
    line_end = text.find("\n")
    return "" if line_end < 0 else text[line_end:]


def _is_telling(text: str) -> bool:
    return len("".join(text.split())) >= _TELLING_CHARS


def _only_place(text: str, context: str, *, from_head: bool) -> tuple[int | None, bool]:
    """Return where the anchor meets the gap, null where there is no single place; and whether it is absent.

    The anchor is the head of `context` (it meets the gap where it begins) or its tail (where it ends).
    """
    size = ANCHOR_CHARS
    while True:
        anchor = context[:size] if from_head else context[-size:]
        first = text.find(anchor) if anchor else -1
        if first < 0:
            return None, size == ANCHOR_CHARS
        if text.find(anchor, first + 1) < 0:
            return first if from_head else first + len(anchor), False
        if size >= len(context):
            return None, False
        size *= 2
