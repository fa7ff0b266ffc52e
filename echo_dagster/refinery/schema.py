"""The columns of the samples, stage by stage: each stage appends columns and never changes one.

`middle` is the truncated C_N: what the model is taught to write between `prefix` and `suffix`.
"""

import polars as pl

from echo_dagster.events import TIMESTAMP

SAMPLE_SCHEMA = pl.Schema(
    {
        "sample_id": pl.String(),  # the gap's id
        "completion_id": pl.String(),
        "region_id": pl.String(),
        "user_id": pl.String(),
        "session_id": pl.String(),
        "document": pl.String(),
        "repository": pl.String(),
        "language": pl.String(),
        "model": pl.String(),
        "source": pl.String(),
        "cohort": pl.String(),
        "opened_at": TIMESTAMP,
        "closed_at": TIMESTAMP,
        "break_reason": pl.String(),
        "outcome": pl.String(),
        "tracking": pl.String(),
        "accepted_chars": pl.Int64(),
        "kept_rate": pl.Float64(),
        "prefix": pl.String(),
        "suffix": pl.String(),
        "proposal": pl.String(),
        "middle": pl.String(),
        "prefix_tokens": pl.Int64(),
        "suffix_tokens": pl.Int64(),
        "middle_tokens": pl.Int64(),
        "proposal_tokens": pl.Int64(),
        "scope": pl.String(),  # line, statement or block: how far C_N was kept
        "content_hash": pl.String(),  # equal for exact duplicates
    }
)

#: `balanced_samples` adds where the sample stood in the mix.
BALANCED_SCHEMA = pl.Schema({**SAMPLE_SCHEMA, "stratum": pl.String()})

#: `scored_samples` adds likelihoods under the reference model, in nats per token.
SCORED_SCHEMA = pl.Schema(
    {
        **BALANCED_SCHEMA,
        "middle_nats_per_token": pl.Float64(),  # C_N given C_0
        "proposal_nats_per_token": pl.Float64(),  # C_1 given C_0
        "middle_alone_nats_per_token": pl.Float64(),  # C_N without C_0
        "ifd": pl.Float64(),  # middle_nats_per_token / middle_alone_nats_per_token
        "scorer": pl.String(),  # digest of the reference model
    }
)

#: `training_set` adds where a sample comes from; the table's own `day` is the day trained for. What is cut out of plain
#: code has no proposal, outcome, stratum or likelihood.
TRAINING_SCHEMA = pl.Schema(
    {
        **SCORED_SCHEMA,
        "sample_day": pl.Date(),
        "origin": pl.String(),  # window, earlier (the days before it) or plain (code around the window's samples)
    }
)

#: What denoising did to the mix of a training set: one row per scorer and stratum (language x length of C_N).
DENOISING_SCHEMA = pl.Schema(
    {
        "scorer": pl.String(),
        "stratum": pl.String(),
        "n_before": pl.Int64(),  # samples that came to this step
        "n_after": pl.Int64(),  # and those that passed it
        "n_ppl_low": pl.Int64(),
        "n_ppl_high": pl.Int64(),
        "n_ifd_above_one": pl.Int64(),
        "low_nats": pl.Float64(),  # the band, ends included
        "high_nats": pl.Float64(),
        "band_of": pl.String(),  # stratum, language or all: from whose likelihoods the band was taken
        "max_ifd": pl.Float64(),
    }
)

#: Every sample dropped by the refinery, at whichever stage.
REJECTED_SCHEMA = pl.Schema(
    {
        "sample_id": pl.String(),
        "stage": pl.String(),  # filter, balance or denoise
        "reason": pl.String(),
        "value": pl.Float64(),  # the value that decided, where there is one
        "sample_day": pl.Date(),
        "language": pl.String(),
        "outcome": pl.String(),
    }
)
