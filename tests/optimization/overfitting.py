"""A training that learns by heart, so that what it is not trained on says when to stop."""

from hashlib import sha256

import polars as pl

#: So many passes over so few samples are learnt by heart, and others then found less and less likely.
EARLY = {"validation_share": 0.4, "validations": 2, "patience": 2, "epochs": 12, "learning_rate": 1e-2}
EARLY |= {"min_samples": 16}


def filed(samples: pl.DataFrame) -> pl.DataFrame:
    """Samples that say in which of eleven files they were written. Their middles can be learnt only by heart."""
    number = pl.col("sample_id").str.slice(1).cast(pl.Int64)
    digests = [sha256(name.encode()).hexdigest()[:12] for name in samples["sample_id"]]
    return samples.with_columns(
        repository=pl.lit("r"),
        document=pl.format("file {}.py", number % 11),
        prefix=pl.format("value_{} = ", "sample_id"),
        middle=pl.Series(digests),
    )
