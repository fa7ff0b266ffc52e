"""The tables of a lake: the columns of each, which asset writes it, and what it holds in one line.

What does not live here: what a column means, which stands beside it in the schema of its stage.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from echo_dagster import events, forgotten
from echo_dagster.evaluation import schema as evaluation
from echo_dagster.extraction.schema import GAP_SCHEMA
from echo_dagster.optimization import schema as optimization
from echo_dagster.refinery import schema as refinery
from echo_dagster.scaling import schema as scaling


@dataclass(frozen=True)
class Table:
    """What is known of a table whether or not it was ever written. `schema` has no `day`, which every table has."""

    schema: pl.Schema
    written_by: str  # an asset, or the run of the DAG that does
    meaning: str

    @property
    def columns(self) -> pl.Schema:
        """Return all columns, the day first."""
        return pl.Schema({"day": pl.Date(), **self.schema})


TABLES = {
    "raw_events": Table(events.STORED_SCHEMA, "raw_events", "one row per event of the day, deduplicated"),
    "quarantined_events": Table(
        events.QUARANTINE_SCHEMA, "raw_events", "one row per landed line that could not be read, and why"
    ),
    "gap_sessions": Table(
        GAP_SCHEMA, "gap_sessions", "one row per proposal shown: C_0, C_1, C_N and what became of it"
    ),
    "online_metrics": Table(
        evaluation.ONLINE_SCHEMA,
        "online_metrics",
        "how the served models did, by model, language and cohort",
    ),
    "online_users": Table(
        evaluation.ONLINE_USER_SCHEMA,
        "online_metrics",
        "the sums behind these, one row per user, model, language and cohort",
    ),
    "trends": Table(
        evaluation.TREND_SCHEMA, "online_metrics", "the same rates by model and by cohort, and of all users"
    ),
    "filtered_samples": Table(
        refinery.SAMPLE_SCHEMA, "filtered_samples", "one row per gap that passed every filter, truncated"
    ),
    "rejected_samples": Table(
        refinery.REJECTED_SCHEMA,
        "filtered_samples",
        "one row per sample that the refinery dropped, and the reason",
    ),
    "balanced_samples": Table(
        refinery.BALANCED_SCHEMA, "balanced_samples", "the samples that are left after balancing"
    ),
    "scored_samples": Table(
        refinery.SCORED_SCHEMA, "scored_samples", "these with their likelihoods under the reference model"
    ),
    "training_set": Table(
        refinery.TRAINING_SCHEMA, "training_set", "the samples that the model of the day is trained on"
    ),
    "denoising": Table(
        refinery.DENOISING_SCHEMA, "training_set", "what denoising did to the mix of a training set"
    ),
    "static_set": Table(
        refinery.TRAINING_SCHEMA,
        "static_baseline",
        "as many gaps of plain code, which the static baseline is trained on",
    ),
    "checkpoint": Table(
        optimization.CHECKPOINT_SCHEMA, "checkpoint", "one row a day: the model trained, or why none was"
    ),
    "static_baseline": Table(
        optimization.STATIC_SCHEMA,
        "static_baseline",
        "one row a day: the static baseline, or why there is none",
    ),
    "predictions": Table(
        evaluation.PREDICTION_SCHEMA, "evaluated_model", "one row per held-out gap and role: what was written"
    ),
    "evaluated_model": Table(
        evaluation.EVALUATED_SCHEMA,
        "evaluated_model",
        "one row per role, metric and slice, and per paired difference",
    ),
    "user_fit": Table(
        evaluation.USER_FIT_SCHEMA, "evaluated_model", "one row a day: how well the calibrated user foretells"
    ),
    "champion": Table(
        evaluation.CHAMPION_SCHEMA, "champion", "one row a day: what serves from this day on, and why"
    ),
    "champion_overrides": Table(
        evaluation.OVERRIDE_SCHEMA, "the jobs `override` and `rollback`", "what a person decided, who and why"
    ),
    "champion_changes": Table(
        evaluation.CHANGE_SCHEMA, "champion", "one row per time that another model came to serve"
    ),
    "champion_deliveries": Table(
        evaluation.DELIVERY_SCHEMA, "champion", "whether the serving side was told of a change"
    ),
    "scaling": Table(scaling.SCALING_SCHEMA, "scaling", "held-out quality by the share that was trained on"),
    "scaling_fit": Table(scaling.FIT_SCHEMA, "scaling", "what a doubling of the samples brings, per metric"),
    forgotten.TABLE: Table(
        forgotten.SCHEMA, "the job `forget`", "who was forgotten, and how many rows were removed"
    ),
    forgotten.CHECKPOINTS: Table(
        forgotten.CHECKPOINTS_SCHEMA, "the job `forget`", "which models learnt from who was forgotten"
    ),
}
