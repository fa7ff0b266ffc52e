"""The held-out comparison: every model answers the same gaps; each answer is held against what the user kept.

What lives here: the sample of gaps, running the models, and one row per gap and role. What does not: tables
(`day.py`), means and intervals (`summary.py`), the verdict (`gate.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import polars as pl
from tokenizers import Tokenizer

from echo_dagster import fim, generation, likelihood, models
from echo_dagster.evaluation import metrics, shown
from echo_dagster.evaluation.schema import PREDICTION_SCHEMA, ROLES
from echo_dagster.evaluation.summary import facts, summarise
from echo_dagster.evaluation.user import CalibratedUser
from echo_dagster.holdout import lots
from echo_dagster.models import ResolvedModel
from echo_dagster.settings import Evaluation, FimTokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Progress = Callable[[int, int], None]
#: Opens the next stage of a work of many steps: its size in, its progress out.
Stage = Callable[[int], Progress]

_SURPRISE = "prediction_nats_per_token"
_IDENTITY = (
    *("sample_id", "user_id", "repository", "language", "cohort", "outcome"),
    *("is_held_out_user", "is_held_out_repository"),
)


class NothingToEvaluate(ValueError):
    """No gap was held out, so nothing can be said of any model."""


def compare(
    held_out: pl.DataFrame,
    compared: Mapping[str, ResolvedModel],
    tokens: FimTokens | None,
    settings: Evaluation,
    *,
    user: CalibratedUser | None = None,
    progress: Progress | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return `PREDICTION_SCHEMA` and `EVALUATED_SCHEMA` for the models that stand in each role.

    `held_out` is `SCORED_SCHEMA` + `holdout.marked`; at most `max_samples` of it are answered. Roles are any
    names; those of `schema.ROLES` stand first. A model in two roles runs once, and one model is in memory at a
    time: the base last, since it also says how likely it finds what the others wrote. Without a base
    that is null; without a user, so are predicted acceptance and retained characters.

    Raises:
        NothingToEvaluate: `held_out` has no rows.
        ValueError: no role at all.
    """
    if not compared:
        raise ValueError("name at least one model to compare")
    if held_out.is_empty():
        raise NothingToEvaluate("no gap was held out")
    gaps = sample(held_out, settings.max_samples, settings.seed)
    roles = sorted(compared, key=lambda role: ROLES.index(role) if role in ROLES else len(ROLES))
    runs = {model.digest: model for model in compared.values()}
    base = compared["base"].digest if "base" in compared else None
    if base is not None:
        runs[base] = runs.pop(base)
    stage = _stages(progress, gaps.height * len(runs) * (2 if base is None else 3))
    answers: dict[str, pl.DataFrame] = {}
    for digest, model in runs.items():
        answers |= _run(model, gaps, answers, digest == base, tokens, settings, stage)
    stage(0)(0, 0)
    judged = pl.concat(
        _judge(gaps, answers[compared[role].digest], user).with_columns(
            role=pl.lit(role), model_digest=pl.lit(compared[role].digest)
        )
        for role in roles
    )
    evaluated = summarise(judged.join(facts(gaps), on="sample_id", maintain_order="left"), settings)
    return judged.select(pl.col(name).cast(kind) for name, kind in PREDICTION_SCHEMA.items()), evaluated


def sample(held_out: pl.DataFrame, max_samples: int, seed: int) -> pl.DataFrame:
    """Return at most `max_samples` rows in the order of `sample_id`: those with the lowest lots."""
    return (
        held_out.with_columns(lots(held_out["sample_id"], seed).alias("_lot"))
        .sort("_lot", "sample_id")
        .head(max_samples)
        .drop("_lot")
        .sort("sample_id")
    )


@dataclass(frozen=True)
class _Loaded:
    """A model in memory, with what its prompts need."""

    lm: PreTrainedModel
    tokenizer: Tokenizer
    fmt: fim.FimFormat


def _run(
    model: ResolvedModel,
    gaps: pl.DataFrame,
    others: Mapping[str, pl.DataFrame],
    is_base: bool,
    tokens: FimTokens | None,
    settings: Evaluation,
    stage: Stage,
) -> dict[str, pl.DataFrame]:
    """Return the answers of one model by its digest; of the base also those of `others`, as likely as it finds them.

    The model is loaded here and gone when this returns, so that one alone is in memory.
    """
    tokenizer = models.load_tokenizer(model.path)
    loaded = _Loaded(models.load_causal_lm(model.path), tokenizer, fim.fim_format(tokens, tokenizer))
    written = _answer(loaded, gaps, settings, stage)
    nats = _nats(loaded, gaps, gaps["middle"], settings, stage(gaps.height))
    answers = {model.digest: written.with_columns(nats.alias("middle_nats_per_token"))}
    if is_base:
        answers = {
            digest: rows.with_columns(
                _nats(loaded, gaps, rows["prediction"], settings, stage(gaps.height)).alias(_SURPRISE)
            )
            for digest, rows in {**others, **answers}.items()
        }
    return answers


def _answer(loaded: _Loaded, gaps: pl.DataFrame, settings: Evaluation, stage: Stage) -> pl.DataFrame:
    """Return one row per gap: what the model writes there, as a tool would show it, and what that costs."""
    contexts = list(gaps.select("prefix", "suffix").iter_rows())
    rules = [shown.rule(middle) for middle in gaps["middle"]]
    rows: list[tuple[str, int, float, None]] = [("", 0, 0.0, None)] * len(contexts)
    for rule in (shown.line, shown.statement, shown.block):
        chosen = [index for index, of_gap in enumerate(rules) if of_gap is rule]
        written = generation.completions(
            loaded.lm,
            loaded.tokenizer,
            loaded.fmt,
            [contexts[index] for index in chosen],
            max_new_tokens=settings.max_new_tokens,
            batch_size=settings.batch_size,
            stop=partial(shown.is_over, rule),
            progress=stage(len(chosen)),
        )
        for index, one in zip(chosen, written, strict=True):
            rows[index] = (shown.cut(one.text, rule), one.n_tokens, one.latency_s, None)
    schema = {"prediction": pl.String, "n_tokens": pl.Int64, "latency_s": pl.Float64, _SURPRISE: pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _nats(
    loaded: _Loaded, gaps: pl.DataFrame, texts: pl.Series, settings: Evaluation, progress: Progress
) -> pl.Series:
    """Return how likely a model finds a text in each gap, in nats per token; null for an empty one."""
    window = getattr(loaded.lm.config, "max_position_embeddings", None)
    asked = gaps.select("prefix", "suffix", texts.alias("text")).with_row_index().filter(pl.col("text") != "")
    encoded = [
        fim.encode(loaded.fmt, loaded.tokenizer, prefix, suffix, text, max_tokens=window)
        for _, prefix, suffix, text in asked.iter_rows()
    ]
    found = likelihood.nats_per_token(loaded.lm, encoded, settings.batch_tokens, progress=progress)
    by_gap = dict(zip(asked["index"], found, strict=True))
    return pl.Series([by_gap.get(index) for index in range(gaps.height)], dtype=pl.Float64)


def _judge(gaps: pl.DataFrame, answers: pl.DataFrame, user: CalibratedUser | None) -> pl.DataFrame:
    """Return gaps and answers side by side with the metrics of each pair."""
    predictions, middles = answers["prediction"], gaps["middle"]
    guesses = _guesses(predictions, middles, gaps["language"], user)
    # A tool would have shown C_1 by the same rule as the answer.
    proposals = pl.Series(
        [
            shown.cut(proposal or "", shown.rule(middle))
            for proposal, middle in gaps.select("proposal", "middle").iter_rows()
        ],
        dtype=pl.String,
    )
    places = gaps.select("language", "prefix", "suffix").iter_rows()
    validity = [
        metrics.is_syntax_valid(language, prefix, suffix, prediction, middle)
        for (language, prefix, suffix), prediction, middle in zip(places, predictions, middles, strict=True)
    ]
    return gaps.select(_IDENTITY).with_columns(
        predictions,
        metrics.exact_match(predictions, middles),
        metrics.edit_similarity(predictions, middles),
        metrics.chrf(predictions, middles),
        metrics.first_line_match(predictions, middles),
        answers["middle_nats_per_token"],
        answers[_SURPRISE],
        metrics.reversal(predictions, middles, proposals),
        pl.Series("is_syntax_valid", validity, dtype=pl.Boolean),
        answers["n_tokens"],
        answers["latency_s"],
        *guesses,
    )


def _guesses(
    predictions: pl.Series, middles: pl.Series, languages: pl.Series, user: CalibratedUser | None
) -> tuple[pl.Series, pl.Series]:
    """Return what the user would have made of each answer: P(accept), and the characters that would have stayed."""
    names = ("predicted_acceptance", "predicted_retained_chars")
    if user is None:
        nothing = pl.Series([None] * len(predictions), dtype=pl.Float64)
        return nothing.alias(names[0]), nothing.alias(names[1])
    # A model that writes nothing shows nothing, and what is not shown is not accepted.
    is_shown, zero = predictions.str.strip_chars() != "", pl.Series([0.0])
    accepted = user.predict(predictions, middles, languages).zip_with(is_shown, zero)
    retained = user.retained_chars(predictions, middles, languages).zip_with(is_shown, zero)
    return accepted.alias(names[0]), retained.alias(names[1])


def _stages(progress: Progress | None, total: int) -> Stage:
    """Return what opens a stage of so many steps, one after another of `total`."""
    opened = 0

    def stage(size: int) -> Progress:
        nonlocal opened
        before = opened
        opened += size
        return lambda done, _: progress(before + done, total) if progress is not None else None

    return stage
