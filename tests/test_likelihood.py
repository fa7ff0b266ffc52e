from __future__ import annotations

import math
from pathlib import Path
from unittest.mock import patch

import pytest
import torch  # noqa: TID253 - one test damages a weight
from hypothesis import given, settings
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
    batch = [encoded[2]] * 100
    rows = likelihood._share_prompts(batch)
    assert len(rows) > 1
    assert all(row.length <= likelihood._FULL_ROW for row in rows)
    assert all(row.length > likelihood._FULL_ROW - len(encoded[2].target_ids) for row in rows[:-1])
    assert sorted(place for row in rows for place in row.places) == list(range(100))
    nats = likelihood.nats_per_token(model, batch, 256)
    assert nats == pytest.approx([reference_nats(model, encoded[2])] * 100, abs=1e-4)


def test_a_long_prompt_takes_no_more_targets_than_it_has_tokens(model):
    prompt = [7] * 300
    batch = [Encoded(prompt, [5, 6] * 50 + [0])] * 4
    rows = likelihood._share_prompts(batch)
    assert [len(row.targets) for row in rows] == [3, 1]
    assert [row.length for row in rows] == [300 + 3 * 99, 399] == [len(row.ids()) for row in rows]


PROMPTS = st.sampled_from([[1], [2, 3, 4], [5, 6] * 10, [7, 8, 9] * 70])
TARGETS = st.lists(st.integers(0, 400), min_size=1, max_size=40)


@settings(max_examples=30)
@given(
    st.lists(
        st.builds(lambda prompt, target: Encoded(prompt, [*target, 0]), PROMPTS, TARGETS),
        min_size=1,
        max_size=24,
    ),
    st.sampled_from([1, 100, 600, 5000]),
    st.sampled_from([1, 7, 128]),
)
def test_whatever_is_scored_together_is_scored_as_if_alone(model, batch, batch_tokens, at_a_time):
    with patch.object(likelihood, "_LOGITS_AT_A_TIME", at_a_time):
        nats = likelihood.nats_per_token(model, batch, batch_tokens)
    assert nats == pytest.approx([reference_nats(model, sample) for sample in batch], abs=1e-4)


def test_short_rows_are_filled_up(model, encoded):
    alone = [Encoded([1], sample.target_ids) for sample in encoded] * 20
    assert len(likelihood._share_prompts(alone)) < len(alone) / 10


def test_nothing_to_score_gives_nothing(model):
    assert likelihood.nats_per_token(model, [], 64) == []


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
        padded, tokens = len(batch) * lengths[batch[-1]], sum(lengths[place] for place in batch)
        assert len(batch) == 1 or padded <= min(batch_tokens, tokens * 1.05)


def test_a_batch_ends_at_its_budget_or_where_padding_begins_to_cost():
    assert [len(batch) for batch in likelihood._batches([100] * 10, 400)] == [4, 4, 2]
    assert [len(batch) for batch in likelihood._batches([95, 100, 200, 205], 4096)] == [2, 2]
