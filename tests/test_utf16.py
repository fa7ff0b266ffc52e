"""Offsets agree with UTF-16-LE bytes for any text, lone surrogates included."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from echo_dagster import utf16

TEXT = st.text(st.sampled_from("ab\r\né€😀🦀\U0010ffff"), max_size=12)
RAGGED = st.text(st.sampled_from("a€😀\ud83d\ude00\udfff"), max_size=10)


def units(text: str) -> list[int]:
    found = []
    for code in map(ord, text):
        found += (
            [code] if code < 0x10000 else [0xD800 + (code - 0x10000 >> 10), 0xDC00 + (code - 0x10000 & 0x3FF)]
        )
    return found


@given(RAGGED)
def test_length_counts_units(text):
    assert utf16.length(text) == len(units(text))


@given(TEXT)
def test_encode_is_undone_by_decode(text):
    assert utf16.encode(text).decode("utf-16-le") == text
    assert utf16.readable(utf16.to_units(text)) == text


def test_half_a_pair_is_no_character():
    assert utf16.readable(utf16.to_units("😀")[:1]) == "\ufffd"


@given(RAGGED)
def test_to_units_has_one_character_a_unit(text):
    assert [ord(unit) for unit in utf16.to_units(text)] == units(text)


@given(TEXT)
def test_from_units_undoes_to_units(text):
    assert utf16.from_units(utf16.to_units(text)) == text


@given(RAGGED)
def test_from_units_gives_text_or_fails(text):
    try:
        assert utf16.from_units(utf16.to_units(text)).encode("utf-8").decode("utf-8") is not None
    except ValueError:
        assert any("\ud800" <= character <= "\udfff" for character in text)


@given(RAGGED, st.integers(0, 12), st.integers(0, 12), RAGGED)
def test_splice_is_a_slice_of_units(text, offset, removed, inserted):
    before, new = units(text), units(inserted)
    assume(offset + removed <= len(before))
    assert (
        units(utf16.splice(text, offset, removed, inserted))
        == before[:offset] + new + before[offset + removed :]
    )


@given(TEXT, st.integers(-3, 30), st.integers(-3, 30))
def test_splice_outside_the_text_fails(text, offset, removed):
    assume(offset < 0 or removed < 0 or offset + removed > len(units(text)))
    with pytest.raises(ValueError, match="range"):
        utf16.splice(text, offset, removed, "x")


@given(TEXT, st.integers(0, 24))
def test_cut_parts_the_text_or_says_why_not(text, offset):
    try:
        head, tail = utf16.cut(text, offset)
    except ValueError as error:
        inside = offset <= len(units(text))
        assert ("surrogate" in str(error)) == inside
        assert not inside or 0xDC00 <= units(text)[offset] <= 0xDFFF
    else:
        assert head + tail == text
        assert utf16.length(head) == offset


@pytest.mark.parametrize("text", ["abc", "é😀"])
def test_cut_outside_the_text_fails(text):
    for offset in (-1, 4):
        with pytest.raises(ValueError, match="outside"):
            utf16.cut(text, offset)
