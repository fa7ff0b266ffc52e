from __future__ import annotations

import math
from pathlib import Path

import polars as pl
import pytest
from tiny import FIM, GAPS, MAX_TOKENS, reference_nats

from echo_dagster.fim import Encoded, encode, fim_format
from echo_dagster.models import load_causal_lm, load_tokenizer
from echo_dagster.refinery import perplexity
from echo_dagster.refinery.schema import BALANCED_SCHEMA, SCORED_SCHEMA
from echo_dagster.settings import Perplexity


@pytest.fixture(scope="module")
def tokenizer(tiny_model_dir: Path):
    return load_tokenizer(tiny_model_dir)


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path):
    return load_causal_lm(tiny_model_dir).float()


def samples(rows: list[dict]) -> pl.DataFrame:
    return pl.DataFrame([dict.fromkeys(BALANCED_SCHEMA) | row for row in rows], schema=BALANCED_SCHEMA)


ROWS = [
    {"sample_id": f"s{n}", "prefix": prefix, "suffix": suffix, "middle": middle, "proposal": proposal}
    for n, ((prefix, suffix, middle), proposal) in enumerate(
        zip(GAPS, ["urn prices", None, "", "x", "rip()"], strict=True)
    )
]


def test_scores_stand_beside_their_samples(model, tokenizer, tiny_model_dir, monkeypatch):
    monkeypatch.setattr(
        perplexity, "load_causal_lm", lambda path: model
    )  # fp32, to compare to the last digits
    scored = perplexity.score(samples(ROWS), tiny_model_dir, FIM, Perplexity(), scorer="abc")
    assert scored.schema == SCORED_SCHEMA
    assert scored["sample_id"].to_list() == ["s0", "s1", "s2", "s3", "s4"]
    assert set(scored["scorer"]) == {"abc"}
    fmt = fim_format(FIM, tokenizer)
    for row in scored.to_dicts():
        given_context = encode(fmt, tokenizer, row["prefix"], row["suffix"], row["middle"])
        assert row["middle_nats_per_token"] == pytest.approx(reference_nats(model, given_context), abs=1e-4)
        alone = Encoded([fmt.end_id], given_context.target_ids)
        assert row["middle_alone_nats_per_token"] == pytest.approx(reference_nats(model, alone), abs=1e-4)
        assert row["ifd"] == pytest.approx(row["middle_nats_per_token"] / row["middle_alone_nats_per_token"])
        if row["proposal"]:
            proposal = encode(fmt, tokenizer, row["prefix"], row["suffix"], row["proposal"])
            assert row["proposal_nats_per_token"] == pytest.approx(reference_nats(model, proposal), abs=1e-4)
        else:
            assert row["proposal_nats_per_token"] is None
    assert scored["middle_nats_per_token"][3] == scored["proposal_nats_per_token"][3]


def test_scoring_again_gives_the_same_bytes(tiny_model_dir):
    first = perplexity.score(samples(ROWS), tiny_model_dir, FIM, Perplexity(), scorer="abc")
    again = perplexity.score(samples(ROWS), tiny_model_dir, FIM, Perplexity(), scorer="abc")
    assert first.equals(again)


def test_a_context_longer_than_the_window_is_cut_and_the_middle_is_not(tiny_model_dir):
    long = {"sample_id": "long", "prefix": "line = order\n" * MAX_TOKENS, "suffix": "\nprices" * MAX_TOKENS}
    one = samples([{**long, "middle": "total", "proposal": "line " * MAX_TOKENS}])
    scored = perplexity.score(one, tiny_model_dir, FIM, Perplexity(), scorer="a")
    assert math.isfinite(scored["middle_nats_per_token"][0])


def test_no_samples_need_no_model():
    scored = perplexity.score(samples([]), Path("no such model"), FIM, Perplexity(), scorer="abc")
    assert scored.schema == SCORED_SCHEMA
    assert scored.height == 0


def test_progress_ends_at_its_total(tiny_model_dir):
    told: list[tuple[int, int]] = []
    perplexity.score(
        samples(ROWS),
        tiny_model_dir,
        FIM,
        Perplexity(batch_tokens=64),
        scorer="a",
        progress=lambda *at: told.append(at),
    )
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_token_priors_fill_the_same_columns_without_a_model(tiny_model_dir, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes(
        (tiny_model_dir / "tokenizer.json").read_bytes()
    )  # and no weights
    chosen = Perplexity(scorer="token_prior")
    scored = perplexity.score(samples(ROWS), tmp_path, FIM, chosen, scorer="abc")
    assert scored.schema == SCORED_SCHEMA
    assert scored["sample_id"].to_list() == ["s0", "s1", "s2", "s3", "s4"]
    assert set(scored["scorer"]) == {"token_prior:abc"}
    assert [row["proposal_nats_per_token"] is None for row in scored.to_dicts()] == [
        not row["proposal"] for row in ROWS
    ]
    assert (scored["ifd"] == scored["middle_nats_per_token"] / scored["middle_alone_nats_per_token"]).all()
    assert scored.equals(perplexity.score(samples(ROWS), tmp_path, FIM, chosen, scorer="abc"))


def test_each_scorer_has_a_name_of_its_own():
    assert perplexity.scorer_id(Perplexity(), "abc") == "abc"
    assert perplexity.scorer_id(Perplexity(scorer="token_prior"), "abc") == "token_prior:abc"


@pytest.mark.parametrize("scorer", ["model", "token_prior"])
def test_an_empty_middle_is_refused_by_either_scorer(tiny_model_dir, scorer):
    nothing = samples([{**ROWS[3], "middle": ""}])
    with pytest.raises(ValueError, match="no token has no likelihood"):
        perplexity.score(nothing, tiny_model_dir, FIM, Perplexity(scorer=scorer), scorer="a")


def test_a_scorer_that_does_not_exist_is_no_setting():
    with pytest.raises(ValueError, match="'model' or 'token_prior'"):
        Perplexity(scorer="ngrams")
