"""Strata: which samples are alike enough to be weighed against each other. Language x length, and outcome.

What does not live here: what is done with a stratum (`balance.py`, `denoise.py`).
"""

import polars as pl

#: Upper ends of the length buckets, in tokens of C_N: part of a line, a line, a few lines, a block.
LENGTH_BUCKETS = (8, 24, 64)


def length_bucket() -> pl.Expr:
    """Return the bucket of `middle_tokens`, as in `9-24`."""
    tokens = pl.col("middle_tokens")
    bucket: pl.Expr = pl.lit(f">{LENGTH_BUCKETS[-1]}")
    for low, high in reversed(list(zip((0, *LENGTH_BUCKETS), LENGTH_BUCKETS, strict=False))):
        bucket = pl.when(tokens <= high).then(pl.lit(f"{low + 1}-{high}")).otherwise(bucket)
    return bucket


def stratum() -> pl.Expr:
    """Return the stratum in which a day is balanced, as in `python/9-24/accepted`."""
    return pl.concat_str(["language", length_bucket(), "outcome"], separator="/").alias("stratum")


def scored_stratum() -> pl.Expr:
    """Return the stratum in which likelihoods are compared, as in `python/9-24`, whatever the outcome."""
    return pl.concat_str(["language", length_bucket()], separator="/")
