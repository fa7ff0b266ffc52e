"""The columns of the tables that evaluation writes."""

import polars as pl

from echo_dagster.events import TIMESTAMP

#: Who is compared: the base model, the base model trained on plain code (not every day), what serves today, and
#: what was trained for today.
ROLES = ("base", "static", "champion", "candidate")

#: `predictions`: one row per held-out gap and role. What each model wrote, for reading and for recounting.
PREDICTION_SCHEMA = pl.Schema(
    {
        "sample_id": pl.String(),
        "user_id": pl.String(),
        "language": pl.String(),
        "is_held_out_user": pl.Boolean(),
        "role": pl.String(),
        "model_digest": pl.String(),
        "prediction": pl.String(),
        "is_exact_match": pl.Boolean(),
        "edit_similarity": pl.Float64(),  # 1 - Levenshtein distance / longer length, in [0, 1]
        "middle_nats_per_token": pl.Float64(),  # NLL of C_N given C_0
        "predicted_acceptance": pl.Float64(),  # P(accept) by the calibrated user; null without one
    }
)

#: `evaluated_model`: one row per role x metric x slice; and, where `versus` is set, per paired difference.
EVALUATED_SCHEMA = pl.Schema(
    {
        "role": pl.String(),
        "versus": pl.String(),  # null: the role's own value; else value is role minus versus
        # exact_match, edit_similarity, middle_nats_per_token, predicted_acceptance_rate
        "metric": pl.String(),
        "slice": pl.String(),  # all, held_out_users, or language=<id>
        "value": pl.Float64(),
        "low": pl.Float64(),  # bootstrap interval at the configured confidence
        "high": pl.Float64(),
        "n_samples": pl.Int64(),
        "model_digest": pl.String(),
    }
)

#: `champion`: one row a day: what serves from this day on, and why.
CHAMPION_SCHEMA = pl.Schema(
    {
        "model_digest": pl.String(),
        "path": pl.String(),
        "decision": pl.String(),  # promoted or kept
        "reason": pl.String(),
        "candidate_digest": pl.String(),
        "decided_at": TIMESTAMP,  # the end of the day decided on, so that a re-run gives the same row
    }
)

#: `online_metrics`: one row per model x language x cohort.
ONLINE_SCHEMA = pl.Schema(
    {
        "model": pl.String(),
        "language": pl.String(),
        "cohort": pl.String(),
        "n_users": pl.Int64(),
        "n_shown": pl.Int64(),
        "n_superseded": pl.Int64(),  # of those shown: replaced before the user could decide
        "n_accepted": pl.Int64(),
        "acceptance_rate": pl.Float64(),
        "weighted_acceptance_rate": pl.Float64(),  # accepted characters / proposed characters
        "generation_rate": pl.Float64(),  # accepted characters / (typed + accepted characters)
        "kept_rate": pl.Float64(),  # mean over accepted
        "typed_through_share": pl.Float64(),
        # of the characters accepted
        **{f"retained_{s}s_share": pl.Float64() for s in (0, 30, 120, 300, 600, 900)},
    }
)
