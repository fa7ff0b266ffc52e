"""Answers of a model to held-out gaps, by hand, for tests of what is made of them."""

import polars as pl


def answers(*similar: float, nats: float = 1.0) -> pl.DataFrame:
    """PREDICTION_SCHEMA + `region_id`, as far as it is read: a gap for each edit similarity."""
    n = len(similar)
    return pl.DataFrame(
        {
            "sample_id": [f"s{index}" for index in range(n)],
            "region_id": [f"r{index}" for index in range(n)],
            "user_id": ["ann"] * n,
            "language": ["python"] * n,
            "is_held_out_user": [False] * n,
            "model_digest": ["m"] * n,
            "is_exact_match": [one == 1 for one in similar],
            "edit_similarity": list(similar),
            "middle_nats_per_token": [nats] * n,
            "predicted_acceptance": [None] * n,
        },
        schema_overrides={"predicted_acceptance": pl.Float64},
    )
