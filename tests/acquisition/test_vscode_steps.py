"""Trimming a replacement changes nothing of what it does and never parts the halves of a surrogate pair."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_dagster import utf16
from echo_dagster.acquisition.vscode_steps import is_text, parts_pair, trim

#: Two that share their first half (U+1F600, U+1F601), and two that share their second (U+1F600, U+1FA00).
TEXT = st.text(st.sampled_from("ab\n\U0001f600\U0001f601\U0001fa00"), max_size=8).map(utf16.to_units)


@given(TEXT, TEXT, TEXT, TEXT)
def test_a_trimmed_replacement_does_the_same(head, old, tail, new):
    text, start = head + old + tail, len(head)
    left, right, rest = trim(text, start, start + len(old), new)
    assert text[:left] + rest + text[right:] == head + new + tail
    assert start <= left <= right <= start + len(old)
    assert is_text(rest) and not parts_pair(text, left) and not parts_pair(text, right)


@given(TEXT, TEXT, TEXT)
def test_what_is_kept_is_all_that_can_be_kept(head, old, new):
    left, right, rest = trim(head + old, len(head), len(head) + len(old), new)
    gone = utf16.from_units((head + old)[left:right])
    came = utf16.from_units(rest)
    assert not gone or not came or (gone[0] != came[0] and gone[-1] != came[-1])


@pytest.mark.parametrize(
    ("old", "new", "trimmed"),
    [
        ("foo(", "foo(a)", (4, 4, "a)")),
        ("foo()", "foo(a)", (4, 4, "a")),
        ("same", "same", (4, 4, "")),
        ("", "new", (0, 0, "new")),
        ("gone", "", (0, 4, "")),
        ("aa", "aaa", (2, 2, "a")),  # the head first
    ],
)
def test_the_head_goes_first_and_then_the_tail(old, new, trimmed):
    assert trim(old, 0, len(old), new) == trimmed
