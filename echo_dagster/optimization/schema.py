"""The columns of `checkpoint` and `static_baseline`, one row a day; and what of a training set and of the settings the
weights depend on.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import polars as pl

from echo_dagster.optimization.hosts import with_ranks
from echo_dagster.settings import Settings, Training

#: What training reads of a sample.
TRAINED_COLUMNS = ("sample_id", "language", "prefix", "suffix", "middle")

CHECKPOINT_SCHEMA = pl.Schema(
    {
        "status": pl.String(),  # trained or skipped
        "reason": pl.String(),  # why nothing was trained; null where something was
        "path": pl.String(),  # the model directory
        "model_digest": pl.String(),
        "training_set_digest": pl.String(),  # of the samples, in the order of their ids
        "training_set_version": pl.Int64(),  # of the table that they were read from: training_set, or static_set
        "n_samples": pl.Int64(),
        "steps": pl.Int64(),
        "final_loss_nats_per_token": pl.Float64(),  # mean over the last tenth of the steps
        "provenance": pl.String(),  # JSON: everything that the weights depend on, and what training measured
    }
)

#: `static_baseline` adds whether it was trained on as many samples as the candidate.
STATIC_SCHEMA = pl.Schema(
    {
        **CHECKPOINT_SCHEMA,
        "n_wanted": pl.Int64(),  # samples of the day's training set
        "shortfall": pl.String(),  # why there are fewer gaps than that; null where there are as many
    }
)

#: Settings that say where ranks run, and nothing of what is learnt.
_PLACES = {"hostfile", "master_addr", "ssh_port"}


def trained_settings(training: Training) -> dict[str, Any]:
    """Return the settings of a training that its record tells: all but where ranks run.

    Raises:
        ValueError: the hostfile and other settings do not fit each other.
    """
    return with_ranks(training).model_dump(mode="json", exclude=_PLACES)


def from_base(settings: Settings) -> Settings:
    """Return settings whose trainings start from the base model."""
    return settings.model_copy(
        update={"training": settings.training.model_copy(update={"start_from": "base"})}
    )


def equal_to(training_set: pl.DataFrame) -> dict[str, Any]:
    """Return what the record of a static baseline says of the training set that it is to be as large as."""
    return {"n_wanted": training_set.height, "digest": samples_digest(training_set)}


def n_trained(record: Mapping[str, Any]) -> int:
    """Return how many samples a model was trained on: all but those that said when to stop and those left out."""
    validation = record["validation"]
    held = 0 if validation is None else validation["samples"] + validation["left_out"]
    return int(record["samples"]["count"]) - held


def read_from(lineage: Mapping[str, Any]) -> tuple[str, int]:
    """Return the table that a training's samples were read from, and its version, as its lineage tells."""
    ((table, version),) = lineage["tables"].items()
    return table, version


def samples_digest(training_set: pl.DataFrame) -> str:
    """Return 16 hex digits over `TRAINED_COLUMNS` of a training set, in the order of `sample_id`."""
    total = sha256()
    for row in training_set.select(TRAINED_COLUMNS).sort("sample_id").iter_rows():
        total.update(json.dumps(row).encode())
    return total.hexdigest()[:16]
