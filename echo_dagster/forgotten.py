"""Who was forgotten: the list that keeps a removed person out, and the models that learnt from them.

What lives here: the two tables, which hold pseudonyms and counts and nobody's code, and reading them. What does not:
removing a person (`governance/`), and the stages that ask: ingest takes no event of a forgotten person, and no
training set holds one.
"""

from __future__ import annotations

import polars as pl

from echo_dagster.events import TIMESTAMP
from echo_dagster.lake import Lake

TABLE = "forgotten"
CHECKPOINTS = "forgotten_checkpoints"

#: One row per person and table that rows were removed from. The row that puts a person on the list names no table.
#: The column is not called `user_id`: what removes a person from the tables must not remove them from this list.
SCHEMA = pl.Schema(
    {
        "pseudonym": pl.String(),
        "forgotten_at": TIMESTAMP,
        "table": pl.String(),
        "rows": pl.Int64(),
    }
)

#: How it is known that a model learnt from a person, the surest first.
EVIDENCE = (
    "its_training_set",  # the samples it was trained on, counted
    "set_of_its_day",  # the training set of its day has changed since; counted are the samples in what it is now
    "its_window",  # its training set is gone, and the person had samples on the days it was made of
    "its_ancestor",  # it began with the weights of such a model
)

#: One row per person and model that learnt from them. Its `day` is the day that the model was trained for.
CHECKPOINTS_SCHEMA = pl.Schema(
    {
        "pseudonym": pl.String(),
        "forgotten_at": TIMESTAMP,
        "path": pl.String(),
        "model_digest": pl.String(),
        "n_samples": pl.Int64(),  # of the person; null where only the window or the ancestor is known
        "evidence": pl.String(),
        "is_serving": pl.Boolean(),  # when the person was forgotten
    }
)


def forgotten(lake: Lake) -> frozenset[str]:
    """Return the pseudonyms of everyone who was forgotten."""
    if not lake.exists(TABLE):
        return frozenset()
    return frozenset(lake.read(TABLE).select(pl.col("pseudonym").unique()).collect().to_series())


def people_behind(lake: Lake, model_path: str | None) -> int:
    """Return how many people who were forgotten since the model in a directory has learnt from."""
    if not lake.exists(CHECKPOINTS):
        return 0
    rows = lake.read(CHECKPOINTS).filter(pl.col("path") == model_path)
    return rows.select(pl.col("pseudonym").n_unique()).collect().item()
