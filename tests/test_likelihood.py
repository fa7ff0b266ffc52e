from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch  # noqa: TID253 - one test damages a weight
from hypothesis import given
from hypothesis import strategies as st
from tiny import FIM, GAPS, reference_nats

from echo_dagster import likelihood
from echo_dagster.fim import Encoded, encode, fim_format
from echo_dagster.models import load_causal_lm, load_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tiny_model_dir: Path):
    return load_tokenizer(tiny_model_dir)


@pytest.fixture(scope="module")
def encoded(tokenizer):
    fmt = fim_format(FIM, tokenizer)
    return [encode(fmt, tokenizer, *gap) for gap in GAPS]


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path):
    return load_causal_lm(tiny_model_dir).float()


@pytest.mark.parametrize("batch_tokens", [1, 64, 4096])
def test_a_batch_scores_what_transformers_scores_one_by_one(model, encoded, batch_tokens):
    expected = [reference_nats(model, sample) for sample in encoded]
    assert likelihood.nats_per_token(model, encoded, batch_tokens) == pytest.approx(expected, abs=1e-4)
    assert len({round(value, 3) for value in expected}) == len(expected)


def test_targets_of_one_prompt_share_its_reading_and_see_nothing_of_each_other(model, encoded):
    prompt = max((sample.prompt_ids for sample in encoded), key=len)
    batch = [Encoded(prompt, sample.target_ids[:4]) for sample in encoded] + [encoded[0]]
    rows = likelihood._share_prompts(batch)
    assert [len(row.targets) for row in rows] == [len(encoded), 1]
    expected = [reference_nats(model, sample) for sample in batch]
    assert likelihood.nats_per_token(model, batch, 4096) == pytest.approx(expected, abs=1e-4)


def test_many_targets_of_one_prompt_make_several_rows(model, encoded):
    batch = [encoded[2]] * 40
    rows = likelihood._share_prompts(batch)
    assert len(rows) > 1
    assert all(len(row.ids()) <= 2 * len(row.prompt) for row in rows)
    assert sorted(place for row in rows for place in row.places) == list(range(40))
    nats = likelihood.nats_per_token(model, batch, 256)
    assert nats == pytest.approx([reference_nats(model, encoded[2])] * 40, abs=1e-4)


def test_the_end_token_does_not_count(model, encoded):
    other_end = [Encoded(sample.prompt_ids, [*sample.target_ids[:-1], 7]) for sample in encoded]
    assert likelihood.nats_per_token(model, other_end, 64) == likelihood.nats_per_token(model, encoded, 64)


def test_a_target_without_text_is_refused(model):
    with pytest.raises(ValueError, match="no token"):
        likelihood.nats_per_token(model, [Encoded([1, 2], [0])], 64)


def test_a_likelihood_that_is_no_number_is_never_passed_on(model, encoded, tiny_model_dir):
    damaged = load_causal_lm(tiny_model_dir).float()
    with torch.no_grad():
        damaged.get_output_embeddings().weight[5] = math.nan
    with pytest.raises(ValueError, match="weights are damaged"):
        likelihood.nats_per_token(damaged, encoded, 64)


@given(st.lists(st.integers(1, 50)).map(sorted), st.integers(1, 120))
def test_batches_hold_everything_once_within_the_budget(lengths, batch_tokens):
    batches = list(likelihood._batches(lengths, batch_tokens))
    assert [place for batch in batches for place in batch] == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * lengths[batch[-1]] <= batch_tokens
