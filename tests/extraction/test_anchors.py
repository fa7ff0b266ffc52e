"""Gaps in views: `anchors.find`, and `recall` where nothing after the cursor was kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_dagster.extraction.anchors import ANCHOR_CHARS, Around, Found, View, find, only_place
from echo_dagster.extraction.recall import recall

WORDS = st.text("ab \n", min_size=0, max_size=80)


@given(
    prefix=WORDS, old=WORDS, new=WORDS, suffix=WORDS, shown=st.tuples(st.integers(0, 60), st.integers(0, 60))
)
def test_what_is_found_between_untouched_anchors_is_what_stands_there(prefix, old, new, suffix, shown):
    """In a whole view always; in a window wherever it holds both anchors and each of them once."""
    around = Around(len(prefix), prefix, suffix)
    whole = find(View(0, prefix + new, suffix, reaches_end=True), around, old, slack=0)
    assert whole == Found(len(prefix), len(prefix) + len(new), "same", True)
    start, visible = min(shown[0], len(prefix)), suffix[: shown[1]]
    window = prefix[start:] + new + visible
    anchors = prefix[-ANCHOR_CHARS:], suffix[:ANCHOR_CHARS]
    are_visible = len(prefix) - start >= ANCHOR_CHARS and len(visible) >= ANCHOR_CHARS
    if are_visible and all(len(window.split(anchor)) == 2 for anchor in anchors):
        at = len(prefix) - start
        for begin, offset in (
            (start, len(prefix)),
            (None, None),
        ):  # whether or not it is known where they begin
            view = View(begin, prefix[start:] + new, visible, reaches_end=False)
            found = find(view, Around(offset, prefix, suffix), old, slack=0)
            assert found == Found(at, at + len(new), "same", True)


@given(
    sizes=st.tuples(st.integers(40, 90), st.integers(40, 90)),
    last=st.text("cd\n", max_size=9),
    written=st.text("cd\n", max_size=9),
    distance=st.integers(0, 30),
    deleted=st.integers(1, 9),
)
def test_a_rewrite_beside_a_gap_leaves_its_text(sizes, last, written, distance, deleted):
    """Whatever is written in place of text that ends before the gap, or that begins after it."""
    letters = "".join(map(chr, range(0x4E00, 0x4E00 + 400)))  # all different
    head, tail = letters[:100], letters[100:200]
    prefix, suffix = letters[200 : 200 + sizes[0]], letters[300 : 300 + sizes[1]]
    at = max(len(prefix) - distance - deleted, 0)
    before = prefix[:at] + written + prefix[at + deleted :]
    at = min(distance, len(suffix) - deleted)
    after = suffix[:at] + written + suffix[at + deleted :]
    around = Around(len(head + prefix), head + prefix, suffix + tail)
    for old, now in ((before, suffix), (prefix, after)):
        text = head + old + last + now + tail
        found = find(View(0, text, "", reaches_end=True), around, last, slack=0)
        assert isinstance(found, Found)
        assert text[found.start : found.end] == last


def test_an_anchor_is_widened_until_it_stands_once_and_no_further():
    line = "x" * ANCHOR_CHARS
    assert only_place(f"a{line}b{line}", f"a{line}", from_head=False) == ANCHOR_CHARS + 1
    assert (
        only_place(f"a{line}b{line}", f"changed far above b{line}", from_head=False) == 2 * ANCHOR_CHARS + 2
    )
    assert only_place(f"{line}-{line}", line, from_head=True) is None
    assert only_place("nothing of it", line, from_head=True) is None


@pytest.mark.parametrize(
    ("prefix", "last", "suffix", "now", "expected"),
    [
        ("x = foo(", "a", ")\nend", "x = fob(|a|)\nend", "a"),  # a letter of the anchor
        ("cnost ", "", "\nend", "const ||\nend", ""),  # a word of it, and nothing in the gap
        ("return ", "1", " and one\nend", "return |12| and two\nend", "12"),  # after the gap, and in it
        ("value = ", "one", "\nend", "two\nend", None),  # from before the gap into it
    ],
)
def test_a_gap_beside_rewritten_text_is_read_off_the_shortest_rewrite(prefix, last, suffix, now, expected):
    far, end = "the text far before the gap is as it was\n", "\nand so is the text after it, to its very end"
    text = far + now.replace("|", "") + end
    found = find(
        View(0, text, "", reaches_end=True),
        Around(len(far + prefix), far + prefix, suffix + end),
        last,
        slack=0,
    )
    if expected is None:
        assert found == "edited"
    else:
        assert isinstance(found, Found)
        assert text[found.start : found.end] == expected
        assert found.start == len(far) + now.index("|")


@pytest.mark.parametrize(
    ("known", "before", "rest", "expected"),
    [
        (
            "one\ntwo\nsix\n",
            "one\nt",
            "wo\nsix\n",
            "\nsix\n",
        ),  # moved up, or deleted: the line is not expected
        ("one\ntwo\nsix\n", "one\nnew", "two\nsix\n", "two\nsix\n"),  # a new line
        ("one\ntwo\nsix\n", "one\ntwelve", "o\nsix\n", "\nsix\n"),  # the line is being written over
        # moved down past a known line
        (f"a\n{'=' * 40}\nsix\nend", f"a\nnew\n{'=' * 40}\nsi", "x\nend", "\nend"),
    ],
)
def test_what_follows_the_cursor_is_recalled_from_earlier_views(known, before, rest, expected):
    assert recall(known, before) == (rest, expected)
