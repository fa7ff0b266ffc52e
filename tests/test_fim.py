from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import END, FIM, MIDDLE, PREFIX, SUFFIX

from echo_dagster.fim import FimError, encode, encode_prompt, fim_format, split_boundary
from echo_dagster.models import load_tokenizer

CODE = st.text(alphabet="ab_1 .,()=:'\n\t\u00e9\U0001f600", max_size=40)


@pytest.fixture(scope="module")
def tokenizer(tiny_model_dir: Path):
    return load_tokenizer(tiny_model_dir)


@pytest.fixture(scope="module")
def fmt(tokenizer):
    return fim_format(FIM, tokenizer)


@pytest.mark.parametrize(
    ("prefix", "stable", "carried"),
    [
        ("", "", ""),
        ("  \n ", "", "  \n "),
        ("x = 1\n", "x = 1", "\n"),
        ("def f():\n    ", "def f():", "\n    "),
        ("def f():\n    ret", "def f():", "\n    ret"),
        ("value = other.na", "value = other.", "na"),
        ("return fo", "return", " fo"),
    ],
)
def test_a_prompt_ends_before_blanks_and_before_a_word_begun(prefix, stable, carried):
    assert split_boundary(prefix) == (stable, carried)


def test_an_endless_word_is_carried_only_in_part():
    stable, carried = split_boundary("x = " + "a" * 5000)
    assert len(carried) == 128
    assert stable + carried == "x = " + "a" * 5000


@given(CODE)
def test_splitting_loses_nothing_and_leaves_no_blank_at_the_end(prefix):
    stable, carried = split_boundary(prefix)
    assert stable + carried == prefix
    assert stable == stable.rstrip()


@given(prefix=CODE, suffix=CODE, middle=CODE)
def test_the_parts_of_a_gap_can_be_read_back_from_its_ids(tokenizer, fmt, prefix, suffix, middle):
    encoded = encode(fmt, tokenizer, prefix, suffix, middle)
    stable, carried = split_boundary(prefix)
    assert encoded.target_ids[-1] == fmt.end_id
    assert tokenizer.decode(encoded.target_ids[:-1]) == carried + middle
    assert encoded.prompt_ids[:2] == [fmt.prefix_id, fmt.suffix_id]
    cut = encoded.prompt_ids.index(fmt.middle_id)
    assert tokenizer.decode(encoded.prompt_ids[2:cut]) == suffix
    assert tokenizer.decode(encoded.prompt_ids[cut + 1 :]) == stable


def test_source_text_is_cut_where_its_own_tokens_are(tokenizer, fmt):
    """Prompt and target together are the tokens of the whole text, wherever a cursor stands in a word."""
    text = "class Order:\n    def total(self, prices):\n        return sum(price for price in prices)\n"
    whole = tokenizer.encode(text).ids
    for cursor in range(len(text)):
        if text[cursor].isalpha():
            encoded = encode(fmt, tokenizer, text[:cursor], None, text[cursor:])
            assert [i for i in encoded.prompt_ids if i != fmt.end_id] + encoded.target_ids[:-1] == whole


def test_layouts_order_their_parts(tokenizer, fmt):
    psm = fim_format(FIM.model_copy(update={"layout": "psm"}), tokenizer)
    prefix, suffix = tokenizer.encode("line").ids, tokenizer.encode("\norder").ids
    assert encode_prompt(psm, tokenizer, "line ", "\norder") == (
        [psm.prefix_id, *prefix, psm.suffix_id, *suffix, psm.middle_id],
        " ",
    )
    assert encode_prompt(fmt, tokenizer, "line ", "\norder") == (
        [fmt.prefix_id, fmt.suffix_id, *suffix, fmt.middle_id, *prefix],
        " ",
    )


def test_an_unknown_suffix_is_not_the_end_of_the_document(tokenizer, fmt):
    unknown, _ = encode_prompt(fmt, tokenizer, "line ", None)
    at_the_end, _ = encode_prompt(fmt, tokenizer, "line ", "")
    assert unknown == tokenizer.encode("line").ids
    assert at_the_end == [fmt.prefix_id, fmt.suffix_id, fmt.middle_id, *tokenizer.encode("line").ids]


def test_a_start_token_begins_every_prompt(tokenizer, fmt):
    with_start = fim_format(FIM.model_copy(update={"start": END}), tokenizer)
    assert with_start.start_id == tokenizer.token_to_id(END)
    for suffix in ("\n", None):
        assert encode_prompt(with_start, tokenizer, "line", suffix)[0] == [
            with_start.start_id,
            *[i for i in encode_prompt(fmt, tokenizer, "line", suffix)[0] if i != fmt.end_id],
        ]


def test_a_prompt_is_never_empty(tokenizer, fmt):
    assert encode_prompt(fmt, tokenizer, "\n", None) == ([fmt.end_id], "\n")


def test_a_long_context_loses_what_is_farthest_from_the_gap(tokenizer, fmt):
    prefix, suffix = "far " * 100 + "near", "near" + " far" * 100
    encoded = encode(fmt, tokenizer, prefix, suffix, " = 1", max_tokens=40)
    assert len(encoded.prompt_ids) + len(encoded.target_ids) == 40
    whole = encode(fmt, tokenizer, prefix, suffix, " = 1")
    assert encoded.target_ids == whole.target_ids
    cut = encoded.prompt_ids.index(fmt.middle_id)
    assert encoded.prompt_ids[:cut] == whole.prompt_ids[:cut]
    kept = len(encoded.prompt_ids) - cut - 1
    assert encoded.prompt_ids[cut + 1 :] == whole.prompt_ids[-kept:]


@given(CODE, CODE, st.integers(60, 90))
def test_a_limit_is_kept_and_used(tokenizer, fmt, prefix, suffix, limit):
    whole = encode(fmt, tokenizer, prefix * 3, suffix * 3, "a")
    encoded = encode(fmt, tokenizer, prefix * 3, suffix * 3, "a", max_tokens=limit)
    n_whole = len(whole.prompt_ids) + len(whole.target_ids)
    assert len(encoded.prompt_ids) + len(encoded.target_ids) == min(limit, n_whole)


def test_a_middle_is_never_cut(tokenizer, fmt):
    with pytest.raises(FimError, match="truncate it first"):
        encode(fmt, tokenizer, "line", "", "line " * 100, max_tokens=50)


def test_text_that_spells_a_marker_stays_text(tokenizer, fmt):
    encoded = encode(fmt, tokenizer, f"a {MIDDLE} b", f"{END}", f"{SUFFIX}")
    markers = {fmt.prefix_id, fmt.suffix_id, fmt.middle_id, fmt.end_id}
    assert [i for i in encoded.prompt_ids if i in markers] == [fmt.prefix_id, fmt.suffix_id, fmt.middle_id]
    assert [i for i in encoded.target_ids if i in markers] == [fmt.end_id]


def test_a_marker_that_is_no_token_is_refused_with_what_to_do(tokenizer):
    with pytest.raises(FimError, match=r"fim\.middle '<MID>'.*fim\.repurpose"):
        fim_format(FIM.model_copy(update={"middle": "<MID>"}), tokenizer)


def test_two_markers_cannot_be_one_token(tokenizer):
    with pytest.raises(FimError, match="must be different tokens"):
        fim_format(FIM.model_copy(update={"suffix": PREFIX}), tokenizer)
