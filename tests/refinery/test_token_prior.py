from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refinery_rows import samples
from tokenizers import Tokenizer, models, pre_tokenizers

from echo_dagster.refinery import token_prior
from echo_dagster.refinery.schema import BALANCED_SCHEMA

#: One token a word, so that everything can be counted by hand. Line breaks are no tokens.
WORDS = ("a", "b", "c", "d", "e", "f", "g", "h")


@pytest.fixture(scope="module")
def by_word() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="h"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def scored(tokenizer, *changes, **options):
    plain = {"prefix": "a a b", "suffix": " c\n", "middle": " a d", "proposal": " e", "document": "one"}
    frame = samples(*({**plain, **change} for change in changes), schema=BALANCED_SCHEMA)
    return token_prior.score(frame, tokenizer, **options)


def test_the_figures_of_one_sample_by_hand(by_word):
    # The cursor stands behind ` b`, which is carried into the target: the context is a, a and c; C_N is b, a, d.
    row = scored(by_word, {}).row(0, named=True)
    prior = {
        "a": 3 / 11,
        "b": 1 / 11,
        "c": 2 / 11,
        "d": 1 / 11,
        "e": 1 / 11,
    }  # one added to each of eight words
    given = {word: (count + 2 * prior[word]) / 5 for word, count in {"a": 2, "b": 0, "d": 0, "e": 0}.items()}
    assert row["middle_alone_nats_per_token"] == pytest.approx(
        -(log(prior["b"]) + log(prior["a"]) + log(prior["d"])) / 3
    )
    assert row["middle_nats_per_token"] == pytest.approx(
        -(log(given["b"]) + log(given["a"]) + log(given["d"])) / 3
    )
    assert row["proposal_nats_per_token"] == pytest.approx(-(log(given["b"]) + log(given["e"])) / 2)


def test_without_its_context_a_middle_is_in_the_contexts_of_the_other_documents(by_word):
    # The longest contexts, carried words left out: `a a a c` of one, `d` of two, nothing of three.
    long, other, empty = (
        {"prefix": "a a a b", "suffix": " c"},
        {"prefix": "d\n", "suffix": None, "document": "two"},
        {"prefix": "", "suffix": None, "document": "three"},
    )
    row = scored(by_word, {"middle": " d"}, long, other, empty).row(0, named=True)
    prior = {"b": 1 / 13, "d": 2 / 13}
    in_two = {"b": (0 + prior["b"]) / 2, "d": (1 + prior["d"]) / 2}
    elsewhere = -(log(in_two["b"]) + log(in_two["d"]) + log(prior["b"]) + log(prior["d"])) / 4
    assert row["middle_alone_nats_per_token"] == pytest.approx(elsewhere)
    here = {"b": (0 + 2 * prior["b"]) / 5, "d": (0 + 2 * prior["d"]) / 5}  # its own context: a, a and c
    assert row["middle_nats_per_token"] == pytest.approx(-(log(here["b"]) + log(here["d"])) / 2)


def test_a_document_counts_once_however_often_it_is_shown(by_word):
    other = {"document": "two", "prefix": "d e\n"}
    once, often = (scored(by_word, *[{}] * n, other) for n in (1, 9))
    assert often.row(0) == once.row(0) and often.row(-1) == once.row(-1)


def test_what_the_context_holds_is_likelier_in_it_and_what_others_hold_is_not(by_word):
    other = {"prefix": "d e f\n", "document": "two"}
    of_context, of_others = (
        scored(by_word, {"middle": middle, "prefix": "a a\n"}, other).row(0, named=True)
        for middle in ("a c", "d e")
    )
    assert of_context["middle_nats_per_token"] < of_context["middle_alone_nats_per_token"]
    assert of_others["middle_nats_per_token"] > of_others["middle_alone_nats_per_token"]


@pytest.mark.parametrize("proposal", [None, ""])
def test_no_proposal_has_no_likelihood(by_word, proposal):
    assert scored(by_word, {"proposal": proposal})["proposal_nats_per_token"].to_list() == [None]


def test_an_empty_middle_is_refused(by_word):
    with pytest.raises(ValueError, match="no token"):
        scored(by_word, {"prefix": "a\n", "middle": ""})


def test_progress_ends_at_its_total(by_word):
    told: list[tuple[int, int]] = []
    scored(by_word, *[{}] * 300, progress=lambda *at: told.append(at))
    assert told == [(256, 300), (300, 300)]


@given(st.lists(st.sampled_from(WORDS), max_size=30), st.lists(st.sampled_from(WORDS), max_size=30))
def test_the_probabilities_of_all_tokens_add_up_to_one(by_word, context, other):
    ids = token_prior._ids(by_word, [" ".join(context), " ".join(other)])
    prior = token_prior._prior(ids, len(WORDS))
    assert prior.sum() == pytest.approx(1)
    assert np.exp(-token_prior._nats(ids[0], prior)).sum() == pytest.approx(1)
