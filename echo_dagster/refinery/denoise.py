"""Denoising by likelihood: gaps that are neither trivial nor noise to the reference model stay.

A gap is dropped where the context makes C_N less likely than no context does (IFD above its limit), and where
C_N's likelihood is outside the band of its stratum. The best band depends on the data, and one band for all
moves the mix away from code: hence a band per language x length (`strata.py`).

What does not live here: the likelihoods (`perplexity.py`) and the window of days (`window.py`).
"""

from __future__ import annotations

import polars as pl

from echo_dagster.refinery import strata
from echo_dagster.settings import Perplexity

_NATS = pl.col("middle_nats_per_token")


def decide(scored: pl.DataFrame, perplexity: Perplexity) -> pl.DataFrame:
    """Decide about scored samples.

    A stratum's band lies between two quantiles of its nats per token, ends included. A stratum with fewer
    than `min_stratum` samples takes the band of its language, and a language with fewer that of all samples.

    Args:
        scored: SCORED_SCHEMA, or those columns of it that are asked.
        perplexity: the quantiles, the limit of IFD and the smallest stratum.

    Returns:
        sample_id, reason (`ifd_above_one`, `ppl_low`, `ppl_high`, null: kept) and value, in the order of
        `scored`.

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
    low, high = perplexity.low_quantile, perplexity.high_quantile
    n, is_small = pl.len(), perplexity.min_stratum
    by_stratum, by_language = (strata.scored_stratum(), pl.col("language"))

    def edge(quantile: float) -> pl.Expr:
        of_all = _NATS.quantile(quantile, "linear")
        return (
            pl.when(n.over(by_stratum) >= is_small)
            .then(of_all.over(by_stratum))
            .when(n.over(by_language) >= is_small)
            .then(of_all.over(by_language))
            .otherwise(of_all)
        )

    ifd = pl.col("ifd")
    reason = (
        pl.when(ifd > perplexity.max_ifd)
        .then(pl.lit("ifd_above_one"))
        .when(edge(low) > _NATS)
        .then(pl.lit("ppl_low"))
        .when(edge(high) < _NATS)
        .then(pl.lit("ppl_high"))
    )
    return scored.select(
        "sample_id",
        reason=reason,
        value=pl.when(ifd > perplexity.max_ifd).then(ifd).otherwise(_NATS),
    ).with_columns(value=pl.when(pl.col("reason").is_not_null()).then("value"))
