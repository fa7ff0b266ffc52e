"""Perplexity: how likely the reference model finds what the user wrote, and what was proposed, in context.

What does not live here: how a likelihood is computed (`likelihood.py`, and `token_prior.py` without a model), what is
dropped (`denoise.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
from tokenizers import Tokenizer

from echo_dagster.fim import Encoded, encode, fim_format
from echo_dagster.likelihood import nats_per_token
from echo_dagster.models import load_causal_lm, load_tokenizer
from echo_dagster.refinery import token_prior
from echo_dagster.refinery.schema import SCORED_SCHEMA
from echo_dagster.settings import FimTokens, Perplexity


def score(
    samples: pl.DataFrame,
    model_path: Path,
    fim: FimTokens | None,
    settings: Perplexity,
    *,
    scorer: str,
    progress: Callable[[int, int], None] | None = None,
) -> pl.DataFrame:
    """Score samples, in their order: under the reference model, or by token priors (`settings.scorer`).

    `middle_nats_per_token` is C_N given C_0; `proposal_nats_per_token` is C_1 given C_0 (null where nothing
    was proposed); `middle_alone_nats_per_token` is the same target behind nothing but the token with which
    training text begins a document. `ifd`, instruction-following difficulty (Li et al., arXiv 2308.12032), is
    the first over the third: above 1, the context does not help. `token_prior.py` says what the three are without
    a model.

    A context that does not fit in the model's window loses what stands farthest from the gap; a middle is
    never cut; of a proposal longer than half the window, that half is scored.

    Args:
        samples: of `BALANCED_SCHEMA`.
        model_path: the reference model's directory; without a model only its tokenizer is read.
        fim: its fill-in-the-middle format; null: found from its tokenizer.
        settings: what scores, and how much goes into one forward pass.
        scorer: the reference model's digest.
        progress: called with sequences done and in all.

    Returns:
        a frame of `SCORED_SCHEMA`; its `scorer` is `scorer_id`. An empty frame stays empty, and nothing is loaded for
        it.

    Raises:
        FimError: a middle does not fit in the model's window.
        ValueError: a middle is empty, or a likelihood is not a number.
    """
    if samples.is_empty():
        return samples.match_to_schema(SCORED_SCHEMA, missing_columns="insert")
    if settings.scorer == "token_prior":
        likelihoods = token_prior.score(samples, load_tokenizer(model_path), progress)
    else:
        likelihoods = _by_model(samples, model_path, fim, settings.batch_tokens, progress)
    return (
        samples.hstack(likelihoods)
        .with_columns(
            (pl.col("middle_nats_per_token") / pl.col("middle_alone_nats_per_token")).alias("ifd"),
            pl.lit(scorer_id(settings, scorer)).alias("scorer"),
        )
        .match_to_schema(SCORED_SCHEMA)
        .select(SCORED_SCHEMA.names())
    )


def scorer_id(settings: Perplexity, model_digest: str) -> str:
    """Return what names a scorer beside its figures; figures of different scorers do not compare.

    Token priors hang on the model's tokenizer, hence on its digest.
    """
    return model_digest if settings.scorer == "model" else f"{settings.scorer}:{model_digest}"


def _by_model(
    samples: pl.DataFrame,
    model_path: Path,
    fim: FimTokens | None,
    batch_tokens: int,
    progress: Callable[[int, int], None] | None,
) -> pl.DataFrame:
    """Return the three columns of nats per token under the reference model."""
    model = load_causal_lm(model_path)
    tokenizer = load_tokenizer(model_path)
    fmt = fim_format(fim, tokenizer)
    window = model.config.max_position_embeddings

    def encoded(place: int, middle: str) -> Encoded:
        return encode(fmt, tokenizer, prefixes[place], suffixes[place], middle, max_tokens=window)

    prefixes, suffixes = samples["prefix"].to_list(), samples["suffix"].to_list()
    proposed = {place: text for place, text in enumerate(samples["proposal"]) if text}
    middles = [encoded(place, middle) for place, middle in enumerate(samples["middle"])]
    alone = [Encoded(fmt.blank_prompt, sample.target_ids) for sample in middles]
    proposals = [encoded(place, _cut(tokenizer, text, window // 2)) for place, text in proposed.items()]
    nats = nats_per_token(model, [*middles, *alone, *proposals], batch_tokens, progress=progress)
    by_place = dict(zip(proposed, nats[2 * samples.height :], strict=True))
    return pl.DataFrame(
        {
            "middle_nats_per_token": nats[: samples.height],
            "proposal_nats_per_token": [by_place.get(place) for place in range(samples.height)],
            "middle_alone_nats_per_token": nats[samples.height : 2 * samples.height],
        },
        schema=dict.fromkeys(token_prior.COLUMNS, pl.Float64),
    )


def _cut(tokenizer: Tokenizer, text: str, max_tokens: int) -> str:
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    return text if len(ids) <= max_tokens else str(tokenizer.decode(ids[:max_tokens]))
