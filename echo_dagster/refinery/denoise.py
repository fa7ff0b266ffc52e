"""Denoising by likelihood: gaps that are neither trivial nor noise to the reference model stay.

A gap is dropped where the context makes C_N less likely than no context does (IFD above its limit), and where
C_N's likelihood is outside the band of its stratum. The best band depends on the data, and one band for all
moves the mix away from code: hence a band per language x length (`strata.py`), and a report of what the cut did
to the mix.

What does not live here: the likelihoods (`perplexity.py`) and the window of days (`window.py`).
"""

from __future__ import annotations

import polars as pl

from echo_dagster.refinery import strata
from echo_dagster.refinery.schema import DENOISING_SCHEMA
from echo_dagster.settings import Perplexity

#: The reasons of this step.
REASONS = ("ppl_low", "ppl_high", "ifd_above_one")

_NATS = pl.col("middle_nats_per_token")


def decide(scored: pl.DataFrame, perplexity: Perplexity) -> pl.DataFrame:
    """Decide about scored samples.

    A stratum's band lies between two of its own likelihoods, ends included: the one below which at most
    `low_quantile` of it lie, and the one above which at most 1 - `high_quantile` of it lie. So no stratum loses more
    to a quantile than it says, however many of its likelihoods are equal. A stratum with fewer than `min_stratum`
    samples takes the band of its language, and a language with fewer that of all samples. Likelihoods under
    different models do not compare: each `scorer` has bands of its own.

    Args:
        scored: SCORED_SCHEMA, or those columns of it that are asked.
        perplexity: the quantiles, the limit of IFD and the smallest stratum.

    Returns:
        sample_id, reason (`ifd_above_one`, `ppl_low`, `ppl_high`, null: kept), value (null: kept), and what decided:
        scorer, stratum, band_of (`stratum`, `language` or `all`), low_nats, high_nats; in the order of `scored`.

    Raises:
        ValueError: a likelihood is not a number. A gap without one must not pass for a good one.
    """
    for column in ("middle_nats_per_token", "ifd"):
        bad = scored.filter(pl.col(column).is_null() | ~pl.col(column).is_finite())
        if len(bad):
            named = ", ".join(bad["sample_id"].head(3).to_list())
            raise ValueError(
                f"{column} is not a finite number for {len(bad)} of {len(scored)} samples: {named}, ..."
            )
    ifd = pl.col("ifd")
    reason = (
        pl.when(ifd > perplexity.max_ifd)
        .then(pl.lit("ifd_above_one"))
        .when(pl.col("low_nats") > _NATS)
        .then(pl.lit("ppl_low"))
        .when(pl.col("high_nats") < _NATS)
        .then(pl.lit("ppl_high"))
    )
    judged = _with_bands(scored, perplexity).with_columns(reason=reason)
    value = (
        pl.when(pl.col("reason") == "ifd_above_one")
        .then(ifd)
        .when(pl.col("reason").is_not_null())
        .then(_NATS)
    )
    return judged.select(
        "sample_id", "reason", "scorer", "stratum", "band_of", "low_nats", "high_nats", value=value
    )


def cut(decided: pl.DataFrame, perplexity: Perplexity) -> pl.DataFrame:
    """Return what the cut did to the mix: DENOISING_SCHEMA, one row per scorer and stratum, the largest first."""
    n_by_reason = [(pl.col("reason") == reason).sum().alias(f"n_{reason}") for reason in REASONS]
    of_stratum = decided.group_by("scorer", "stratum").agg(
        pl.col("band_of", "low_nats", "high_nats").first(),
        pl.len().alias("n_before"),
        pl.col("reason").is_null().sum().alias("n_after"),
        *n_by_reason,
        max_ifd=pl.lit(perplexity.max_ifd),
    )
    in_order = of_stratum.sort("n_before", "stratum", "scorer", descending=[True, False, False])
    return in_order.select(DENOISING_SCHEMA.names()).cast(DENOISING_SCHEMA)


def with_shares(cut: pl.DataFrame) -> pl.DataFrame:
    """Return `cut` with what each stratum is of all samples before and after it, and what share of it was dropped."""
    n_before, n_after = pl.col("n_before"), pl.col("n_after")
    return cut.with_columns(
        share_before=n_before / n_before.sum(),
        share_after=n_after / pl.max_horizontal(n_after.sum(), 1),
        share_dropped=1 - n_after / n_before,
    )


def _with_bands(scored: pl.DataFrame, perplexity: Perplexity) -> pl.DataFrame:
    """Add each sample's stratum, its band, and of what the band was taken."""
    by = {
        "stratum": ["scorer", "stratum"],
        "language": ["scorer", "language"],
        "all": ["scorer"],
    }
    # Only from as many likelihoods is a quantile known.
    is_enough = {name: pl.len().over(keys) >= perplexity.min_stratum for name, keys in by.items()}
    band_of = (
        pl.when(is_enough["stratum"])
        .then(pl.lit("stratum"))
        .when(is_enough["language"])
        .then(pl.lit("language"))
        .otherwise(pl.lit("all"))
    )

    def edge(of_group: pl.Expr) -> pl.Expr:
        """Return the edge of the band that each sample is held to."""
        of = {name: of_group.over(keys) for name, keys in by.items()}
        return (
            pl.when(pl.col("band_of") == "stratum")
            .then(of["stratum"])
            .when(pl.col("band_of") == "language")
            .then(of["language"])
            .otherwise(of["all"])
        )

    return (
        scored.with_columns(stratum=strata.scored_stratum())
        .with_columns(band_of=band_of)
        .with_columns(
            low_nats=edge(_NATS.quantile(perplexity.low_quantile, "lower")),
            high_nats=edge(_NATS.quantile(perplexity.high_quantile, "higher")),
        )
    )
