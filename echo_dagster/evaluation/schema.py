"""The columns of the tables that evaluation writes."""

from collections.abc import Mapping

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
        "repository": pl.String(),
        "language": pl.String(),
        "cohort": pl.String(),
        "outcome": pl.String(),  # what became of C_1
        "is_held_out_user": pl.Boolean(),
        "is_held_out_repository": pl.Boolean(),
        "role": pl.String(),
        "model_digest": pl.String(),
        "prediction": pl.String(),
        "is_exact_match": pl.Boolean(),
        "edit_similarity": pl.Float64(),  # 1 - Levenshtein distance / longer length, in [0, 1]
        "chrf": pl.Float64(),  # F-score of character n-grams, in [0, 1]
        "is_first_line_match": pl.Boolean(),
        "middle_nats_per_token": pl.Float64(),  # NLL of C_N given C_0
        # NLL of the answer under the base model; null for an empty answer, and where no base model is compared
        "prediction_nats_per_token": pl.Float64(),
        "is_reversal": pl.Boolean(),  # the answer is the C_1 that the user refused; null where none was refused
        "is_syntax_valid": pl.Boolean(),  # no more parse errors than with C_N; null without a grammar
        "n_tokens": pl.Int64(),  # generated
        "latency_s": pl.Float64(),  # of the machine, per completion: a batch's time is shared evenly
        "predicted_acceptance": pl.Float64(),  # P(accept) by the calibrated user; null without one
        "predicted_retained_chars": pl.Float64(),  # characters that the user would keep; null without a user
    }
)

#: `evaluated_model`: one row per role x metric x slice; and, where `versus` is set, per paired difference.
EVALUATED_SCHEMA = pl.Schema(
    {
        "role": pl.String(),
        "versus": pl.String(),  # null: the role's own value; else value is role minus versus
        "metric": pl.String(),  # a key of `summary.METRICS`
        # all, held_out_users, held_out_repositories, language=<id>, length=<bin>, outcome=<..> or cohort=<..>
        "slice": pl.String(),
        "value": pl.Float64(),
        "low": pl.Float64(),  # bootstrap interval at the configured confidence
        "high": pl.Float64(),
        "n_samples": pl.Int64(),
        "model_digest": pl.String(),
    }
)

#: `user_fit`: one row a day on which models were compared: the calibrated user, tried on users left out of its fit.
USER_FIT_SCHEMA = pl.Schema(
    {
        "is_trusted": pl.Boolean(),
        "distrust": pl.String(),  # why not
        "n_decisions": pl.Int64(),
        "n_users": pl.Int64(),
        "logged_acceptance_rate": pl.Float64(),  # of these decisions, with its interval by user
        "logged_low": pl.Float64(),
        "logged_high": pl.Float64(),
        "predicted_acceptance_rate": pl.Float64(),  # of the same; this and what follows: on users left out
        "auc": pl.Float64(),
        "brier": pl.Float64(),
        "constant_brier": pl.Float64(),
        "length_auc": pl.Float64(),
        "length_brier": pl.Float64(),
        "ece": pl.Float64(),
        "curve": pl.String(),  # JSON: [{predicted, observed, low, high, n}]
        "n_retained": pl.Int64(),  # accepted decisions of which the log says what stayed
        "logged_retained_chars": pl.Float64(),  # mean per decision
        "predicted_retained_chars": pl.Float64(),
        "retained_correlation": pl.Float64(),
    }
)

#: `champion`: one row a day: what serves from this day on, and why.
CHAMPION_SCHEMA = pl.Schema(
    {
        "model_digest": pl.String(),
        "path": pl.String(),
        "decision": pl.String(),  # promoted, kept or rolled_back
        "reason": pl.String(),
        "candidate_digest": pl.String(),
        "decided_at": TIMESTAMP,  # the gate: the end of the day decided on, so that a re-run gives the same row
        "decided_by": pl.String(),  # gate, or a person's name as given
        "since": pl.Date(),  # the day whose decision brought the model; null: it is the base model
        "previous_digest": pl.String(),  # what served during the day
        "demands": pl.String(),  # JSON: what the gate asked for, with the numbers (`gate.Demand`); [] without it
    }
)

#: `champion_overrides`: what people decided. `day` is the last day that was decided when it was recorded; of `hold`
#: and `lift`, the first day that they hold for. Rows are only ever added.
OVERRIDE_SCHEMA = pl.Schema(
    {
        "action": pl.String(),  # promote, keep or rollback; hold or lift
        "decided_by": pl.String(),  # a name as given
        "reason": pl.String(),
        "decided_at": TIMESTAMP,
        "model_digest": pl.String(),  # what serves from then on; null for hold and lift
        "path": pl.String(),  # null: the base model
        "overruled": pl.String(),  # what the day's row said before
    }
)

#: `champion_changes`: each time that what serves became another model. `day` is the day whose row says so. Rows are
#: only ever added: what stands here has served, and can be rolled back to.
CHANGE_SCHEMA = pl.Schema(
    {
        "change_id": pl.String(),
        "changed_at": TIMESTAMP,
        "model_digest": pl.String(),
        "path": pl.String(),
        "since": pl.Date(),  # null: the base model
        "previous_digest": pl.String(),  # null: the first that ever served
        "decision": pl.String(),
        "reason": pl.String(),
        "decided_by": pl.String(),
    }
)

#: `champion_deliveries`: each time that the webhook was told of a change, or could not be. Rows are only ever added.
DELIVERY_SCHEMA = pl.Schema(
    {
        "change_id": pl.String(),
        "attempted_at": TIMESTAMP,
        "is_delivered": pl.Boolean(),
        "attempts": pl.Int64(),
        "outcome": pl.String(),  # the last attempt: the status, or what failed
    }
)

#: Tables that rows are only ever added to: retention leaves them alone.
RECORDS = ("champion_overrides", "champion_changes", "champion_deliveries")

#: Seconds after acceptance at which the persistence curve is read.
PERSISTENCE_SECONDS = (0, 30, 120, 300, 600, 900)

#: Rates of users in whose hands a model was: name, what is counted, and of what. Both are columns of sums.
RATES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "acceptance_rate": ("n_accepted", ("n_shown",)),
    "weighted_acceptance_rate": ("accepted_chars", ("proposed_chars",)),
    "generation_rate": ("tracked_chars", ("tracked_chars", "typed_chars")),
    "kept_rate": ("kept_rates", ("n_kept",)),  # mean over accepted
    "typed_through_share": ("n_typed_through", ("n_shown",)),
    # of the characters accepted
    **{
        f"retained_{s}s_share": (f"retained_{s}s_chars", (f"watched_{s}s_chars",))
        for s in PERSISTENCE_SECONDS
    },
}

#: What adds up over users, groups and days.
SUMS = pl.Schema(
    {
        "n_shown": pl.Int64(),  # proposals, each once however often it was shown
        "n_superseded": pl.Int64(),  # of those shown: replaced before the user could decide
        "n_dismissed": pl.Int64(),
        "n_accepted": pl.Int64(),
        "n_typed_through": pl.Int64(),
        "proposed_chars": pl.Int64(),
        "accepted_chars": pl.Int64(),
        "tracked_chars": pl.Int64(),  # accepted where typing is on record as well
        "typed_chars": pl.Int64(),
        "n_kept": pl.Int64(),  # accepted completions with a kept rate
        "kept_rates": pl.Float64(),  # their sum
        **{f"retained_{s}s_chars": pl.Int64() for s in PERSISTENCE_SECONDS},
        **{f"watched_{s}s_chars": pl.Int64() for s in PERSISTENCE_SECONDS},
    }
)

#: `online_users`: one row per user x model x language x cohort, from which intervals over any days are made.
ONLINE_USER_SCHEMA = pl.Schema(
    {
        "user_id": pl.String(),
        "model": pl.String(),
        "language": pl.String(),
        "cohort": pl.String(),
        "is_shadowed": pl.Boolean(),  # left out of the rates: another extension hides the proposals
        **SUMS,
    }
)

_MEASURED = pl.Schema(
    {
        "n_users": pl.Int64(),  # those that the rates are of
        **SUMS,
        **{f"{rate}{end}": pl.Float64() for rate in RATES for end in ("", "_low", "_high")},
        "latency_p50_ms": pl.Float64(),
        "latency_p95_ms": pl.Float64(),
        "n_shadowed_users": pl.Int64(),
        "n_shadowed_shown": pl.Int64(),  # what they were shown, which is not in n_shown
        "is_suppressed": pl.Boolean(),  # too few users: only n_users and n_shown are told
    }
)

#: `online_metrics`: one row per model x language x cohort.
ONLINE_SCHEMA = pl.Schema({"model": pl.String(), "language": pl.String(), "cohort": pl.String(), **_MEASURED})

#: What a row of `trends` is of. What is not in its name is null: all models, say.
GRAINS: Mapping[str, tuple[str, ...]] = {
    "model_cohort": ("model", "cohort"),
    "model": ("model",),
    "cohort": ("cohort",),
    "all": (),
}

#: `trends`: one row per grain and its groups, over all languages.
TREND_SCHEMA = pl.Schema({"grain": pl.String(), "model": pl.String(), "cohort": pl.String(), **_MEASURED})
