"""Answers of a model to held-out gaps, by hand, for tests of what is made of them."""

import polars as pl

from echo_dagster.evaluation.summary import METRICS


def answers(*similar: float, nats: float = 1.0) -> pl.DataFrame:
    """PREDICTION_SCHEMA + `summary.facts`, as far as it is read: a gap for each edit similarity."""
    n = len(similar)
    return pl.DataFrame(
        {
            "sample_id": [f"s{index}" for index in range(n)],
            "region_id": [f"r{index}" for index in range(n)],
            "user_id": ["ann"] * n,
            "repository": ["shop"] * n,
            "language": ["python"] * n,
            "cohort": [None] * n,
            "outcome": ["rejected"] * n,
            "middle_chars": [30] * n,
            "is_held_out_user": [False] * n,
            "is_held_out_repository": [False] * n,
            "model_digest": ["m"] * n,
            "is_exact_match": [one == 1 for one in similar],
            "edit_similarity": list(similar),
            "middle_nats_per_token": [nats] * n,
        },
    ).with_columns(
        # what these tests do not look at, nobody has measured
        pl.lit(None, pl.Float64).alias(column)
        for column in METRICS.values()
        if column not in ("is_exact_match", "edit_similarity", "middle_nats_per_token")
    )
