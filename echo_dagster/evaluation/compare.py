"""The held-out comparison: every model answers the same gaps; each answer is held against what the user kept.

What lives here: the sample of gaps, running the models, and one row per gap and role. What does not: tables
(`day.py`), means and intervals (`summary.py`), the verdict (`gate.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import polars as pl

from echo_dagster import fim, generation, likelihood, models
from echo_dagster.evaluation import metrics, shown
from echo_dagster.evaluation.schema import PREDICTION_SCHEMA, ROLES
from echo_dagster.evaluation.summary import summarise
from echo_dagster.evaluation.user import CalibratedUser
from echo_dagster.holdout import lots
from echo_dagster.models import ResolvedModel
from echo_dagster.settings import Evaluation, FimTokens

Progress = Callable[[int, int], None]


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

    `held_out` is `SCORED_SCHEMA` + `is_held_out_user`; at most `max_samples` of it are answered. A model in
    two roles runs once. Without a user, predicted acceptance is null.

    Raises:
        NothingToEvaluate: `held_out` has no rows.
        ValueError: a role that does not exist, or no role at all.
    """
    if not compared or set(compared) - set(ROLES):
        raise ValueError(f"roles are some of {', '.join(ROLES)}; got {', '.join(sorted(compared)) or 'none'}")
    if held_out.is_empty():
        raise NothingToEvaluate("no gap was held out")
    gaps = sample(held_out, settings.max_samples, settings.seed)
    runs = {model.digest: model for role in ROLES if (model := compared.get(role)) is not None}
    answers = {
        digest: _answer(model, gaps, tokens, settings, _part(progress, index, len(runs)))
        for index, (digest, model) in enumerate(runs.items())
    }
    judged = pl.concat(
        _judge(gaps, answers[compared[role].digest], user).with_columns(
            role=pl.lit(role), model_digest=pl.lit(compared[role].digest)
        )
        for role in ROLES
        if role in compared
    )
    evaluated = summarise(judged, settings)
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


def _answer(
    model: ResolvedModel,
    gaps: pl.DataFrame,
    tokens: FimTokens | None,
    settings: Evaluation,
    progress: Progress,
) -> pl.DataFrame:
    """Return one row per gap: what the model writes there, and how likely it finds what the user kept."""
    tokenizer = models.load_tokenizer(model.path)
    fmt = fim.fim_format(tokens, tokenizer)
    lm = models.load_causal_lm(model.path)
    contexts = list(gaps.select("prefix", "suffix").iter_rows())
    middles = gaps["middle"].to_list()
    rules = [shown.rule(middle) for middle in middles]
    predictions = [""] * len(contexts)
    n_written, total = 0, 2 * len(contexts)

    def tell(done: int, _: int) -> None:
        progress(n_written + done, total)

    for rule in (shown.line, shown.statement, shown.block):
        chosen = [index for index, of_gap in enumerate(rules) if of_gap is rule]
        written = generation.complete(
            lm,
            tokenizer,
            fmt,
            [contexts[index] for index in chosen],
            max_new_tokens=settings.max_new_tokens,
            batch_size=settings.batch_size,
            stop=partial(shown.is_over, rule),
            progress=tell,
        )
        for index, text in zip(chosen, written, strict=True):
            predictions[index] = shown.cut(text, rule)
        n_written += len(chosen)
    window = getattr(lm.config, "max_position_embeddings", None)
    encoded = [
        fim.encode(fmt, tokenizer, prefix, suffix, middle, max_tokens=window)
        for (prefix, suffix), middle in zip(contexts, middles, strict=True)
    ]
    nats = likelihood.nats_per_token(lm, encoded, settings.batch_tokens, progress=tell)
    return pl.DataFrame(
        {"prediction": predictions, "middle_nats_per_token": nats},
        schema={"prediction": pl.String, "middle_nats_per_token": pl.Float64},
    )


def _judge(gaps: pl.DataFrame, answers: pl.DataFrame, user: CalibratedUser | None) -> pl.DataFrame:
    """Return gaps and answers side by side with the metrics of each pair."""
    predictions, middles = answers["prediction"], gaps["middle"]
    acceptance = (
        pl.Series("predicted_acceptance", [None] * gaps.height, dtype=pl.Float64)
        if user is None
        # A model that writes nothing shows nothing, and what is not shown is not accepted.
        else user.predict(predictions, middles, gaps["language"]).zip_with(
            predictions.str.strip_chars() != "", pl.Series([0.0])
        )
    )
    return gaps.select("sample_id", "region_id", "user_id", "language", "is_held_out_user").with_columns(
        predictions,
        metrics.exact_match(predictions, middles),
        metrics.edit_similarity(predictions, middles),
        answers["middle_nats_per_token"],
        acceptance.alias("predicted_acceptance"),
    )


def _part(progress: Progress | None, index: int, of: int) -> Progress:
    """Return the progress of one run among `of` equal ones."""
    if progress is None:
        return lambda done, total: None
    return lambda done, total: progress(index * total + done, of * total)
