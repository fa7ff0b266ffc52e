from __future__ import annotations

import math
from pathlib import Path

import polars as pl
import pytest
import torch  # noqa: TID253 - the reference these tests compare with
from hypothesis import given
from hypothesis import strategies as st
from tiny import FIM, MAX_TOKENS

from echo_dagster.fim import Encoded, encode, fim_format, split_boundary
from echo_dagster.models import load_causal_lm, load_tokenizer
from echo_dagster.refinery import perplexity
from echo_dagster.refinery.schema import BALANCED_SCHEMA, SCORED_SCHEMA
from echo_dagster.settings import Perplexity

GAPS = [
    ("def total(prices):\n    ret", "\n", "urn sum(prices)"),
    ("class Order:\n", None, "    pass"),
    ("const total = pri", ";\nexport function order(lines) { return lines; }", "ces.length"),
    ("", "", "x"),
    ("for index, line in enumerate(self.lines):\n            if line.st", ":\n", "artswith('#')"),
]


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


def reference(model, sample: Encoded) -> float:
    """The loss that transformers itself computes, over the target without its end."""
    target = sample.target_ids[:-1]
    ids = torch.tensor([sample.prompt_ids + target])
    labels = torch.tensor([[-100] * len(sample.prompt_ids) + target])
    with torch.inference_mode():
        return float(model(input_ids=ids, labels=labels).loss)


@pytest.mark.parametrize("batch_tokens", [1, 64, 4096])
def test_a_batch_scores_what_transformers_scores_one_by_one(model, encoded, batch_tokens):
    expected = [reference(model, sample) for sample in encoded]
    assert perplexity.nats_per_token(model, encoded, batch_tokens) == pytest.approx(expected, abs=1e-4)
    assert len({round(value, 3) for value in expected}) == len(expected)


def test_the_end_token_does_not_count(model, encoded):
    other_end = [Encoded(sample.prompt_ids, [*sample.target_ids[:-1], 7]) for sample in encoded]
    assert perplexity.nats_per_token(model, other_end, 64) == perplexity.nats_per_token(model, encoded, 64)


def test_a_target_without_text_is_refused(model):
    with pytest.raises(ValueError, match="no token"):
        perplexity.nats_per_token(model, [Encoded([1, 2], [0])], 64)


def test_a_likelihood_that_is_no_number_is_never_passed_on(model, encoded, tiny_model_dir):
    damaged = load_causal_lm(tiny_model_dir).float()
    with torch.no_grad():
        damaged.get_output_embeddings().weight[5] = math.nan
    with pytest.raises(ValueError, match="weights are damaged"):
        perplexity.nats_per_token(damaged, encoded, 64)


@given(st.lists(st.integers(1, 50)).map(sorted), st.integers(1, 120))
def test_batches_hold_everything_once_within_the_budget(lengths, batch_tokens):
    batches = list(perplexity._batches(lengths, batch_tokens))
    assert [place for batch in batches for place in batch] == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * lengths[batch[-1]] <= batch_tokens


def samples(rows: list[dict]) -> pl.DataFrame:
    return pl.DataFrame([{name: None for name in BALANCED_SCHEMA} | row for row in rows], schema=BALANCED_SCHEMA)


ROWS = [
    {"sample_id": f"s{n}", "prefix": prefix, "suffix": suffix, "middle": middle, "proposal": proposal}
    for n, ((prefix, suffix, middle), proposal) in enumerate(
        zip(GAPS, ["urn prices", None, "", "x", "rip()"], strict=True)
    )
]


def test_scores_stand_beside_their_samples(model, tokenizer, tiny_model_dir, monkeypatch):
    monkeypatch.setattr(perplexity, "load_causal_lm", lambda path: model)  # fp32, to compare to the last digits
    scored = perplexity.score(samples(ROWS), tiny_model_dir, FIM, Perplexity(), scorer="abc")
    assert scored.schema == SCORED_SCHEMA
    assert scored["sample_id"].to_list() == ["s0", "s1", "s2", "s3", "s4"]
    assert set(scored["scorer"]) == {"abc"}
    fmt = fim_format(FIM, tokenizer)
    for row in scored.to_dicts():
        given_context = encode(fmt, tokenizer, row["prefix"], row["suffix"], row["middle"])
        assert row["middle_nats_per_token"] == pytest.approx(reference(model, given_context), abs=1e-4)
        alone = Encoded([fmt.end_id], given_context.target_ids)
        assert row["middle_alone_nats_per_token"] == pytest.approx(reference(model, alone), abs=1e-4)
        assert row["ifd"] == pytest.approx(row["middle_nats_per_token"] / row["middle_alone_nats_per_token"])
        if row["proposal"]:
            proposal = encode(fmt, tokenizer, row["prefix"], row["suffix"], row["proposal"])
            assert row["proposal_nats_per_token"] == pytest.approx(reference(model, proposal), abs=1e-4)
        else:
            assert row["proposal_nats_per_token"] is None
    assert scored["middle_nats_per_token"][3] == scored["proposal_nats_per_token"][3]


def test_scoring_again_gives_the_same_bytes(tiny_model_dir):
    first = perplexity.score(samples(ROWS), tiny_model_dir, FIM, Perplexity(), scorer="abc")
    again = perplexity.score(samples(ROWS), tiny_model_dir, FIM, Perplexity(), scorer="abc")
    assert first.equals(again)


def test_a_context_longer_than_the_window_is_cut_and_the_middle_is_not(tiny_model_dir):
    long = {"sample_id": "long", "prefix": "line = order\n" * MAX_TOKENS, "suffix": "\nprices" * MAX_TOKENS}
    scored = perplexity.score(
        samples([{**long, "middle": "total", "proposal": "line"}]), tiny_model_dir, FIM, Perplexity(), scorer="a"
    )
    assert math.isfinite(scored["middle_nats_per_token"][0])


def test_no_samples_need_no_model():
    scored = perplexity.score(samples([]), Path("no such model"), FIM, Perplexity(), scorer="abc")
    assert scored.schema == SCORED_SCHEMA
    assert scored.height == 0


def test_progress_ends_at_its_total(tiny_model_dir):
    told: list[tuple[int, int]] = []
    perplexity.score(
        samples(ROWS), tiny_model_dir, FIM, Perplexity(batch_tokens=64), scorer="a", progress=lambda *at: told.append(at)
    )
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == sorted(done for done, _ in told)
