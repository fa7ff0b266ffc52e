"""Finding a gap again in a later view of its document, between its anchors: the text around it.

A view is what a later request or snapshot shows of the document. It can be cut at both ends, at places that nobody
tells, so that a gap can be out of sight; and it can show that the document around the gap changed. Pure functions
over strings.

What does not live here: what follows from it for the gap (`views.py`), imports above it (`imports.py`), and documents
of which no tool kept what stands after the cursor (`recall.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from rapidfuzz.distance import Indel

from echo_dagster import utf16
from echo_dagster.extraction.imports import only_imports_differ
from echo_dagster.text import shared_head

#: An anchor begins with this many characters and is widened until it stands in the view once.
ANCHOR_CHARS = 32

#: With fewer characters that are no white space, text is too common to recognise a place by.
_TELLING_CHARS = 4

#: Where the text beside a gap was rewritten, half an anchor is enough to know the place by, if it stands there once;
_NARROW_CHARS = 16

#: else the rewrite is read character by character, and shorter pieces that both texts hold are a coincidence.
_SHORTEST_PIECE = 3

#: A longer rewrite is not read.
_LONGEST_REWRITE = 4_000


class View(NamedTuple):
    """What an event shows of a document.

    Attributes:
        start: the offset at which `before` begins, in UTF-16 units; 0 where nothing is cut off, null where it is not
            known.
        before: the text up to the cursor.
        after: the text from the cursor on; null where the tool kept none.
        reaches_end: `after` is known to run to the end of the document.
    """

    start: int | None
    before: str
    after: str | None
    reaches_end: bool

    @property
    def text(self) -> str:
        """All that is visible."""
        return self.before + (self.after or "")


class Around(NamedTuple):
    """What stood around a gap when it was last seen: `prefix` up to unit `offset`, and `suffix` after the gap.

    An offset that is not known is null, and so is a suffix that was not kept; a suffix of `""` says that the gap ended
    the document. `recalled` stands in for a suffix that was not kept (`recall.py`).
    """

    offset: int | None
    prefix: str
    suffix: str | None
    recalled: str | None = None

    @property
    def is_prefix_whole(self) -> bool:
        """Whether the prefix is known to begin where the document does."""
        return self.offset is not None and utf16.length(self.prefix) == self.offset


#: What is visible before a gap: the `same` as it was, with other `imports` far above, or `other` text.
Before = Literal["same", "imports", "other"]


class Found(NamedTuple):
    """A gap found in a view: the characters `[start, end)` of what is visible."""

    start: int
    end: int
    before: Before
    is_same_after: bool


#: `unseen`: the view does not reach the gap. `changed`: nor this, but it shows a change before the gap.
#: `edited`: the view shows the place, but what stood beside the gap was rewritten together with a part of it.
#: `gone`: the view reaches the place, and an anchor is not there, or stands there more than once.
Missing = Literal["unseen", "changed", "edited", "gone"]


class Pin(NamedTuple):
    """A place in the text around a gap, and where it stands in a view. Both are characters."""

    old: int
    new: int


def find(view: View, around: Around, last: str, slack: int) -> Found | Missing:
    """Find a gap in a view.

    The nearest text on either side that stands as it was, and once, pins the place. If it touches the gap, the gap is
    what stands between. If not, the text beside the gap was edited, and what became of the gap is read off the
    shortest way from the old text between the pins to the new.

    Args:
        view: what is visible now.
        around: what stood around the gap; its suffix was kept.
        last: the gap's text when it was last seen.
        slack: by how many characters the gap may have grown since.
    """
    assert around.suffix is not None
    text, prefix, suffix = view.text, around.prefix, around.suffix
    left = left_pin(view, around)
    if left is None:
        return out_of_sight(view, around)
    before = before_gap(view, around, left)
    if left.new == len(text) and left.old < len(prefix) and not view.reaches_end:
        return "changed" if before == "other" else "unseen"
    right = _right_pin(text[left.new :], suffix, reaches_end=view.reaches_end)
    if right is None:
        is_changed = before == "other" or left.old < len(prefix)
        if is_changed and view.start != 0:  # the pin alone may be a coincidence
            return out_of_sight(view, around)
        longest = len(prefix) - left.old + len(last) + slack + ANCHOR_CHARS
        is_cut = not view.reaches_end and (not suffix or len(text) - left.new < longest)
        return "gone" if not is_cut else "changed" if is_changed else "unseen"
    end = left.new + right.new
    rewritten = (prefix[left.old :], last, suffix[: right.old])
    inside = _between(*rewritten, text[left.new : end])
    if inside is None:
        return "edited"
    return Found(
        start=left.new + inside[0],
        end=left.new + inside[1],
        before="other" if left.old < len(prefix) else before,
        is_same_after=right.old == 0 and _is_same_after(text[end:], suffix, reaches_end=view.reaches_end),
    )


def left_pin(view: View, around: Around) -> Pin | None:
    """Return the place nearest to the gap up to which the document before it is as it was."""
    text, prefix = view.text, around.prefix
    is_whole = view.start == 0 and around.is_prefix_whole
    if is_whole and text.startswith(prefix):
        return Pin(len(prefix), len(prefix))
    for skipped in _distances(len(prefix)):
        old = len(prefix) - skipped
        if (new := only_place(text, prefix[:old], from_head=False)) is not None:
            shared = shared_head(text[new:], prefix[old:])
            return Pin(old + shared, new + shared)
    shared = shared_head(text, prefix)
    return Pin(shared, shared) if is_whole else None


def before_gap(view: View, around: Around, left: Pin) -> Before:
    """Say what is visible before the pin, compared with what stood there."""
    old, now = around.prefix[: left.old], view.text[: left.new]
    is_whole = view.start == 0 and around.is_prefix_whole
    if old == now or (not is_whole and (old.endswith(now) or now.endswith(old))):
        return "same"
    return "imports" if only_imports_differ(old, now, is_cut=not is_whole) else "other"


def out_of_sight(view: View, around: Around) -> Missing:
    """Say why a view holds nothing of the text before the gap."""
    if view.start is None or around.offset is None:
        return "unseen"
    view_end = view.start + utf16.length(view.text)
    is_after = view.start > max(around.offset - ANCHOR_CHARS, 0)
    is_before = not view.reaches_end and view_end < around.offset
    return "unseen" if is_after or is_before else "gone"


def is_telling(text: str) -> bool:
    """Say whether a place can be recognised by this text."""
    return len("".join(text.split())) >= _TELLING_CHARS


def only_place(text: str, context: str, *, from_head: bool) -> int | None:
    """Return where in `text` an anchor meets its gap, null where there is no single place.

    The anchor is the head of `context` (it meets the gap where it begins) or its tail (where it ends). It is widened
    until it stands in `text` once; where a doubled anchor is absent, the widest one that is not is looked for.
    """
    several, absent = 0, len(context) + 1  # sizes known to stand more than once, and not at all
    size = min(ANCHOR_CHARS, len(context))
    while several < size < absent:
        anchor = context[:size] if from_head else context[-size:]
        first = text.find(anchor)
        if first < 0 and not several:
            return None
        if first < 0:
            absent = size
        elif text.find(anchor, first + 1) < 0:
            return first if from_head else first + size
        else:
            several = size
        size = min(2 * several, (several + absent) // 2)
    return None


def _right_pin(rest: str, suffix: str, *, reaches_end: bool) -> Pin | None:
    """Return the place nearest to the gap from which on the document after it is as it was. `rest` begins before it."""
    if not suffix:
        return Pin(0, len(rest)) if reaches_end else None
    if rest.endswith(suffix):
        return Pin(0, len(rest) - len(suffix))
    for skipped in _distances(len(suffix)):
        if (new := only_place(rest, suffix[skipped:], from_head=True)) is not None:
            shared = shared_head(rest[:new][::-1], suffix[:skipped][::-1])
            return Pin(skipped - shared, new - shared)
    if len(suffix) < ANCHOR_CHARS:  # so little is never cut off: the document ends here
        shared = shared_head(rest[::-1], suffix[::-1])
        return Pin(len(suffix) - shared, len(rest) - shared)
    return None


def _is_same_after(now: str, old: str, *, reaches_end: bool) -> bool:
    """Say whether what is visible after a gap begins like what stood there, as far as both were seen."""
    return now.startswith(old) or (not reaches_end and old.startswith(now))


def _distances(longest: int) -> Iterator[int]:
    """Yield how far from the gap to look for an anchor: beside it, then further and further away."""
    yield 0
    distance = 4
    while distance < longest:
        yield distance
        distance *= 2


def _between(before: str, last: str, after: str, now: str) -> tuple[int, int] | None:
    """Return where in `now` the gap stands that held `last`, null where its bounds are not to be told.

    Args:
        before, after: what stood beside the gap and was rewritten; empty where nothing was.
        last: the gap's text when it was last seen.
        now: what stands in place of all three.
    """
    if not (before or after):
        return 0, len(now)
    if max(len(before) + len(last) + len(after), len(now)) > _LONGEST_REWRITE:
        return None
    start, end = _kept_bounds(before, last, after, now)
    from_end = _narrow_place(now[::-1], before[::-1])
    start = 0 if not before else start if from_end is None else len(now) - from_end
    from_start = _narrow_place(now, after)
    end = len(now) if not after else end if from_start is None else from_start
    return None if start is None or end is None or start > end else (start, end)


def _narrow_place(now: str, context: str) -> int | None:
    """Return where the head of `context` stands in rewritten text, null where it does not, or more than once."""
    anchor = context[:_NARROW_CHARS]
    is_one = len(anchor) == _NARROW_CHARS and is_telling(anchor) and now.count(anchor) == 1
    return now.index(anchor) if is_one else None


def _kept_bounds(before: str, last: str, after: str, now: str) -> tuple[int | None, int | None]:
    """Return the gap's bounds after the shortest rewrite of `before + last + after` into `now`.

    What was inserted at a bound belongs to the gap, so that its bounds keep to the text outside of it. A bound is null
    where nothing beside it was kept.
    """
    opens, closes = len(before), len(before) + len(last)
    start = end = None
    for old, new, size in _kept_pieces(before + last + after, now):
        if old < opens <= old + size or (start is None and opens == old):
            start = new + opens - old
        if old <= closes < old + size:
            end = new + closes - old
        elif end is None and closes == old + size:
            end = new + size
    return start, end


def _kept_pieces(old: str, now: str) -> Iterator[tuple[int, int, int]]:
    """Yield (place in `old`, place in `now`, length) of what the shortest rewrite keeps, and of the pins around it."""
    yield -1, -1, 1
    for step in Indel.opcodes(old, now):
        size = step.src_end - step.src_start
        is_long = size >= _SHORTEST_PIECE and now[step.dest_start : step.dest_end].strip()
        is_at_pin = step.src_start == step.dest_start == 0 or (step.src_end, step.dest_end) == (
            len(old),
            len(now),
        )
        if step.tag == "equal" and (is_long or is_at_pin):
            yield step.src_start, step.dest_start, size
    yield len(old), len(now), 1
