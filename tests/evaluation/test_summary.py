import numpy as np
import polars as pl
import pytest

from echo_dagster.evaluation import gate
from echo_dagster.evaluation.schema import EVALUATED_SCHEMA
from echo_dagster.evaluation.summary import summarise, units
from echo_dagster.settings import Evaluation

#: The columns of these metrics are null here.
UNMEASURED = (
    *("chrf", "is_first_line_match", "is_reversal", "is_syntax_valid", "n_tokens", "latency_s"),
    "predicted_retained_chars",
)
SETTINGS = Evaluation(bootstrap_samples=500, min_slice_samples=20)


def answered(role, similarity, *, n=None, users=4, language="python", nats=1.0, acceptance=0.3, digest=None):
    """Predictions of one role on n gaps with the given similarities."""
    similarity = np.broadcast_to(similarity, n or len(similarity))
    n = len(similarity)
    return pl.DataFrame(
        {
            "sample_id": [f"{index:04}" for index in range(n)],
            "region_id": [f"r{index:04}" for index in range(n)],
            "user_id": [f"u{index % users}" for index in range(n)],
            "repository": "shop",
            "cohort": None,
            "outcome": "rejected",
            "middle_chars": 30,
            "is_held_out_repository": False,
            "language": [language] * n if isinstance(language, str) else language,
            "is_held_out_user": [index % users == 0 for index in range(n)],
            "role": role,
            "model_digest": digest or role,
            "prediction": "x",
            "is_exact_match": similarity == 1,
            "edit_similarity": similarity,
            "middle_nats_per_token": pl.Series([nats] * n, dtype=pl.Float64),
            "predicted_acceptance": pl.Series([acceptance] * n, dtype=pl.Float64),
            **{column: pl.Series([None] * n, dtype=pl.Float64) for column in UNMEASURED},
        }
    )


def row(evaluated, role, metric, versus=None, slice="all"):
    found = evaluated.filter(
        (pl.col("role") == role)
        & (pl.col("metric") == metric)
        & (pl.col("slice") == slice)
        & pl.col("versus").eq_missing(pl.lit(versus))
    )
    assert found.height == 1
    return found.row(0, named=True)


def test_values_and_paired_differences_of_a_planted_gain():
    rng = np.random.default_rng(1)
    base = rng.uniform(0, 0.8, size=100)
    evaluated = summarise(pl.concat([answered("base", base), answered("candidate", base + 0.1)]), SETTINGS)
    assert evaluated.schema == EVALUATED_SCHEMA
    own, gain = (
        row(evaluated, "candidate", "edit_similarity"),
        row(evaluated, "candidate", "edit_similarity", "base"),
    )
    assert own["value"] == pytest.approx(base.mean() + 0.1)
    assert own["low"] < own["value"] < own["high"]
    assert (gain["value"], gain["low"], gain["high"]) == pytest.approx((0.1, 0.1, 0.1))
    assert (gain["n_samples"], gain["model_digest"]) == (100, "candidate")


def test_every_role_metric_slice_and_pair_is_there_once():
    languages = ["python"] * 60 + ["go"] * 19 + [None]
    roles = [answered(role, 0.5, n=80, language=languages) for role in ("base", "champion", "candidate")]
    evaluated = summarise(pl.concat(roles), SETTINGS)
    assert set(evaluated["slice"]) == {
        "all",
        "held_out_users",
        "language=python",  # 19 are too few for go
        "length=21-80",
        "outcome=rejected",
    }
    assert set(evaluated.select("role", "versus").rows()) == {
        ("base", None),
        ("champion", None),
        ("candidate", None),
        ("champion", "base"),
        ("candidate", "base"),
        ("champion", "base"),
        ("candidate", "champion"),
    }
    assert evaluated.height == 6 * 4 * 5
    assert evaluated.select("role", "versus", "metric", "slice").is_unique().all()
    assert row(evaluated, "base", "edit_similarity", slice="held_out_users")["n_samples"] == 20


def test_languages_too_small_alone_are_one_slice_and_a_loss_spread_over_them_keeps_the_champion():
    languages = ["python"] * 60 + ["go", "rust", "lua"] * 10 + [None] * 5
    small = np.array([language not in ("python", None) for language in languages])
    champion = np.linspace(0.3, 0.6, len(languages))
    candidate = champion + np.where(small, -0.2, 0.3)
    roles = {"base": champion, "champion": champion, "candidate": candidate}
    told = pl.concat([answered(role, values, language=languages) for role, values in roles.items()])
    evaluated = summarise(told, SETTINGS)
    slices = {name for name in evaluated["slice"] if name.startswith("language=")}
    assert slices == {"language=python", "language=others"}
    lost = row(evaluated, "candidate", "edit_similarity", "champion", "language=others")
    assert (lost["n_samples"], lost["value"]) == (30, pytest.approx(-0.2))
    decision = gate.decide(evaluated, SETTINGS, distrust="no fit")
    assert decision.decision == "kept"
    assert "others loses 0.200 in edit similarity" in decision.reason


def test_without_a_fitted_user_there_are_no_acceptance_rows():
    evaluated = summarise(answered("base", 0.5, n=30, acceptance=None), SETTINGS)
    assert set(evaluated["metric"]) == {"exact_match", "edit_similarity", "middle_nats_per_token"}


def test_without_held_out_users_there_is_no_slice_of_them():
    rows = answered("base", 0.5, n=30).with_columns(is_held_out_user=False)
    assert set(summarise(rows, SETTINGS)["slice"]) == {
        "all",
        "language=python",
        "length=21-80",
        "outcome=rejected",
    }


def test_users_are_resampled_where_there_are_eight_else_regions():
    assert units(answered("base", 0.5, n=40, users=8)) == [f"u{index % 8}" for index in range(40)]
    assert units(answered("base", 0.5, n=40, users=7)) == [f"r{index:04}" for index in range(40)]
    few = answered("base", 0.5, n=3, users=3).with_columns(region_id=pl.Series(["r", "r", None]))
    assert units(few) == ["r", "r", "0002"]


def test_roles_that_answered_different_gaps_are_refused():
    rows = pl.concat([answered("base", 0.5, n=5), answered("candidate", 0.5, n=4)])
    with pytest.raises(ValueError, match="did not answer the same gaps"):
        summarise(rows, SETTINGS)
