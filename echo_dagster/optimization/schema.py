"""The columns of `checkpoint`, one row a day; and what of a training set the weights depend on."""

import json
from hashlib import sha256

import polars as pl

#: What training reads of a sample.
TRAINED_COLUMNS = ("sample_id", "language", "prefix", "suffix", "middle")

CHECKPOINT_SCHEMA = pl.Schema(
    {
        "status": pl.String(),  # trained or skipped
        "reason": pl.String(),  # why nothing was trained; null where something was
        "path": pl.String(),  # the model directory
        "model_digest": pl.String(),
        "training_set_digest": pl.String(),  # of the samples, in the order of their ids
        "training_set_version": pl.Int64(),  # of the table that they were read from
        "n_samples": pl.Int64(),
        "steps": pl.Int64(),
        "final_loss_nats_per_token": pl.Float64(),  # mean over the last tenth of the steps
        "provenance": pl.String(),  # JSON: everything that the weights depend on, and what training measured
    }
)


def samples_digest(training_set: pl.DataFrame) -> str:
    """Return 16 hex digits over `TRAINED_COLUMNS` of a training set, in the order of `sample_id`."""
    total = sha256()
    for row in training_set.select(TRAINED_COLUMNS).sort("sample_id").iter_rows():
        total.update(json.dumps(row).encode())
    return total.hexdigest()[:16]
