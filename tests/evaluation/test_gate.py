import numpy as np
import polars as pl
import pytest
from test_summary import SETTINGS, answered

from echo_dagster.evaluation import gate
from echo_dagster.evaluation.schema import EVALUATED_SCHEMA
from echo_dagster.evaluation.summary import summarise

RNG = np.random.default_rng(1)
BASE = RNG.uniform(0, 0.8, size=120)
NOISE = RNG.normal(scale=0.05, size=120)


def decide(*roles, settings=SETTINGS):
    return gate.decide(summarise(pl.concat(roles), settings), settings)


def test_a_planted_win_is_promoted():
    decision = decide(answered("base", BASE), answered("candidate", BASE + 0.05 + NOISE - NOISE.mean()))
    assert decision.decision == "promoted"
    assert decision.reason.startswith("edit similarity +0.050 [+0.04")
    assert "against the base on 120 held-out gaps; predicted AR +0.000 [+0.000, +0.000]" in decision.reason
    assert decision.numbers["versus"] == "base"
    assert 0 < decision.numbers["edit_similarity_low"] < decision.numbers["edit_similarity"]


def test_the_champion_is_the_one_to_beat_not_the_base():
    base, champion = answered("base", BASE), answered("champion", BASE + 0.1)
    assert decide(base, champion, answered("candidate", BASE + 0.05 + NOISE)).decision == "kept"
    assert decide(base, champion, answered("candidate", BASE + 0.15 + NOISE)).decision == "promoted"


@pytest.mark.parametrize("difference", [0 * NOISE, NOISE - NOISE.mean()])
def test_a_tie_keeps(difference):
    decision = decide(answered("base", BASE), answered("candidate", BASE + difference))
    assert decision.decision == "kept"
    assert "no difference that can be told from chance" in decision.reason


def test_a_loss_keeps_and_says_so():
    decision = decide(answered("base", BASE), answered("candidate", BASE - 0.05 + NOISE))
    assert decision.decision == "kept"
    assert decision.reason.endswith("worse")


def test_too_few_gaps_keep_however_large_the_gain():
    decision = decide(answered("base", BASE[:29]), answered("candidate", BASE[:29] + 0.1))
    assert (decision.decision, decision.reason) == (
        "kept",
        "29 held-out gaps were compared, a promotion needs 30",
    )


def test_gaps_of_one_region_are_one_piece_of_evidence():
    rows = [
        answered(role, BASE + gain).with_columns(region_id=pl.lit("r"))
        for role, gain in (("base", 0), ("candidate", 0.1))
    ]
    decision = decide(*rows)
    assert decision.decision == "kept"
    assert "one independent unit gives no interval" in decision.reason


@pytest.mark.parametrize(
    ("worse", "words"),
    [
        (
            {"acceptance": 0.27},
            "but predicted AR -0.030 [-0.030, -0.030] may fall by more than the 0.02 tolerated",
        ),
        (
            {"nats": 1.06},
            "but nats per token +0.060 [+0.060, +0.060] may rise by more than the 0.05 tolerated",
        ),
    ],
)
def test_a_broken_guard_keeps_although_similarity_rose(worse, words):
    decision = decide(answered("base", BASE), answered("candidate", BASE + 0.05 + NOISE, **worse))
    assert decision.decision == "kept"
    assert words in decision.reason


def test_a_loss_within_tolerance_breaks_no_guard():
    candidate = answered("candidate", BASE + 0.05 + NOISE, acceptance=0.285, nats=1.04)
    assert decide(answered("base", BASE), candidate).decision == "promoted"


def test_without_a_calibrated_user_the_reason_says_that_nothing_guards_acceptance():
    roles = [answered(role, BASE + gain, acceptance=None) for role, gain in (("base", 0), ("candidate", 0.1))]
    decision = decide(*roles)
    assert decision.decision == "promoted"
    assert "predicted AR not known, as no user could be fitted" in decision.reason


def test_no_candidate_keeps():
    assert decide(answered("base", BASE)).reason == "no candidate was trained"
    assert gate.decide(pl.DataFrame(schema=EVALUATED_SCHEMA), SETTINGS).decision == "kept"


def test_a_comparison_that_is_not_whole_is_an_error_and_no_decision():
    evaluated = summarise(pl.concat([answered("base", BASE), answered("candidate", BASE)]), SETTINGS)
    with pytest.raises(ValueError, match="lacks edit_similarity"):
        gate.decide(evaluated.filter(pl.col("metric") != "edit_similarity"), SETTINGS)


def test_chance_alone_promotes_about_as_rarely_as_the_confidence_says():
    rng, promoted = np.random.default_rng(7), 0
    for seed in range(60):
        settings = SETTINGS.model_copy(update={"seed": seed, "bootstrap_samples": 200})
        roles = [
            answered(role, np.clip(BASE[:60] + rng.normal(scale=0.1, size=60), 0, 1))
            for role in ("base", "candidate")
        ]
        promoted += decide(*roles, settings=settings).decision == "promoted"
    assert promoted <= 6  # 2.5 % of 60 is 1.5
