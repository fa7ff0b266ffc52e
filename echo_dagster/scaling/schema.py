"""The columns of the tables that a study of growing shares writes."""

import polars as pl

#: `scaling`: one row per share x metric x slice.
SCALING_SCHEMA = pl.Schema(
    {
        "share": pl.Float64(),  # of the day's training set
        "n_samples": pl.Int64(),  # trained on
        "tokens": pl.Int64(),  # trained on, over all epochs
        "steps": pl.Int64(),  # of the optimizer
        "metric": pl.String(),  # as in evaluated_model
        "slice": pl.String(),  # all, held_out_users, or language=<id>
        "base": pl.Float64(),  # of the base model, on the same gaps
        "value": pl.Float64(),  # of the model trained on this share; with several seeds, their mean
        "low": pl.Float64(),  # its interval at evaluation.confidence; null with one unit
        "high": pl.Float64(),
        "difference": pl.Float64(),  # value - base, gap by gap
        "difference_low": pl.Float64(),
        "difference_high": pl.Float64(),
        "n_held_out": pl.Int64(),  # gaps
        "by_seed": pl.List(pl.Float64()),  # the value of each seed, over all gaps; null for other slices
        "jobs": pl.List(
            pl.String()
        ),  # the digest of each seed's training: it names all that the weights depend on
    }
)

#: `scaling_fit`: one row per metric, over all held-out gaps.
FIT_SCHEMA = pl.Schema(
    {
        "metric": pl.String(),
        "per_doubling": pl.Float64(),  # slope of the metric over log2(samples)
        "low": pl.Float64(),  # its interval at evaluation.confidence; null with one unit
        "high": pl.Float64(),
        "at_one": pl.Float64(),  # the line at log2(samples) = 0, to draw it
        "last_doubling": pl.Float64(),  # the largest share against the one before it, per doubling
        "last_low": pl.Float64(),
        "last_high": pl.Float64(),
        "n_shares": pl.Int64(),
        "n_held_out": pl.Int64(),
        "in_words": pl.String(),
    }
)
