import re
from statistics import NormalDist

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_dagster.evaluation import bootstrap, gate
from echo_dagster.evaluation.schema import EVALUATED_SCHEMA
from echo_dagster.settings import Evaluation

SETTINGS = Evaluation(bootstrap_samples=500)
N = 120
RNG = np.random.default_rng(1)
NOISE = RNG.normal(scale=0.05, size=N)
NOISE -= NOISE.mean()
#: What the champion does on each gap, by metric.
CHAMPION = {
    "edit_similarity": RNG.uniform(0, 0.8, size=N),
    "predicted_retained_chars": RNG.uniform(5, 15, size=N),
    "predicted_acceptance_rate": RNG.uniform(0.1, 0.5, size=N),
    "middle_nats_per_token": np.full(N, 1.0),
}
#: A gain that can be told from chance, in each metric that must rise.
GAIN = {"predicted_retained_chars": 1 + NOISE, "predicted_acceptance_rate": 0.05 + NOISE}


def compared(
    changes, *, languages="python", versus="champion", settings=SETTINGS, units=None, metrics=CHAMPION
):
    """A day of EVALUATED_SCHEMA: a candidate that does `changes[metric]` better than the champion, gap by gap."""
    languages = np.broadcast_to(languages, N)
    slices = {"all": np.full(N, True)} | {
        f"language={one}": languages == one for one in sorted(set(languages))
    }
    rows = []
    options = {
        "resamples": settings.bootstrap_samples,
        "seed": settings.seed,
        "confidence": settings.confidence,
    }
    for name, within in slices.items():
        for metric in metrics:
            before = CHAMPION[metric][within]
            after = before + np.broadcast_to(changes.get(metric, 0.0), N)[within]
            of = {"units": None if units is None else list(np.broadcast_to(units, N)[within]), **options}
            for role, against, found in (
                (versus, None, bootstrap.mean(before, **of)),
                ("candidate", None, bootstrap.mean(after, **of)),
                ("candidate", versus, bootstrap.paired_difference(after, before, **of)),
            ):
                numbers = (found.value, found.low, found.high, found.n_values)
                rows.append((role, against, metric, name, *numbers, role))
    return pl.DataFrame(rows, schema=EVALUATED_SCHEMA, orient="row")


def decide(changes, *, distrust=None, settings=SETTINGS, **options):
    return gate.decide(compared(changes, settings=settings, **options), settings, distrust=distrust)


def demand(decision, metric, slice="all"):
    (found,) = (one for one in decision.demands if (one.metric, one.slice) == (metric, slice))
    return found


def test_a_gain_in_retained_characters_and_in_ar_is_promoted():
    decision = decide(GAIN)
    assert decision.decision == "promoted" and decision.decided_by == "gate"
    assert decision.reason.startswith(
        "against the champion on 120 held-out gaps: predicted retained characters +1.000 [+0.99"
    )
    assert "predicted AR +0.050 [+0.04" in decision.reason
    assert decision.reason.endswith("; 1 language guarded")
    assert 0 < demand(decision, "predicted_acceptance_rate").low < 0.05
    assert all(one.failure is None for one in decision.demands)


@pytest.mark.parametrize("metric", gate.PREDICTED)
def test_a_gain_in_one_of_both_is_not_enough(metric):
    decision = decide({**GAIN, metric: NOISE})
    assert decision.decision == "kept"
    low = demand(decision, metric).low
    assert f"the lower bound is {-low:.3f} below zero, no difference that can be told" in decision.reason
    assert "on 120 held-out gaps" in decision.reason
    assert [one.metric for one in decision.demands if one.failure] == [metric]


@pytest.mark.parametrize("changes", [{}, dict.fromkeys(gate.PREDICTED, NOISE)])
@pytest.mark.parametrize("distrust", [None, "too few"])
def test_a_tie_keeps(changes, distrust):
    decision = decide(changes, distrust=distrust)
    assert decision.decision == "kept"
    assert "no difference that can be told from chance" in decision.reason


def test_a_tie_without_any_spread_is_told_as_such():
    assert "predicted AR +0.000 [+0.000, +0.000] against the champion" in decide({}).reason
    assert "the lower bound is exactly zero" in decide({}).reason


def test_a_loss_keeps_and_names_every_number_that_failed():
    decision = decide({metric: -gain for metric, gain in GAIN.items()})
    assert decision.decision == "kept"
    told = decision.reason.split("; ")
    assert told[0].startswith("predicted retained characters -1.000") and told[0].endswith("gaps: worse")
    assert told[1].startswith("predicted AR -0.050") and told[1].endswith("gaps: worse")


def test_where_no_champion_is_compared_the_base_is_the_one_to_beat():
    decision = decide(GAIN, versus="base")
    assert decision.decision == "promoted" and "against the base on 120" in decision.reason


def test_too_few_gaps_keep_however_large_the_gain():
    decision = decide(GAIN, settings=SETTINGS.model_copy(update={"min_samples": 121}))
    assert decision.decision == "kept"
    assert decision.reason == "120 held-out gaps were compared, a promotion needs 121"


def test_gaps_of_one_region_are_one_piece_of_evidence():
    decision = decide(GAIN, units="r")
    assert decision.decision == "kept"
    assert "predicted AR +0.050 against the champion" in decision.reason
    assert "one independent unit gives no interval" in decision.reason


def test_a_likelihood_that_falls_further_than_tolerated_keeps():
    decision = decide({**GAIN, "middle_nats_per_token": 0.06})
    assert decision.decision == "kept"
    words = (
        "nats per token +0.060 [+0.060, +0.060] on 120 held-out gaps may rise by more than the 0.05 tolerated"
    )
    assert decision.reason == words
    assert decide({**GAIN, "middle_nats_per_token": 0.04}).decision == "promoted"


class TestWithoutATrustedUser:
    WHY = "predicted AR 0.41 is outside the logged interval"

    def test_edit_similarity_decides_and_the_reason_says_so(self):
        decision = decide({"edit_similarity": 0.05 + NOISE}, distrust=self.WHY)
        assert decision.decision == "promoted"
        assert "on 120 held-out gaps: edit similarity +0.050 [+0.04" in decision.reason
        assert decision.reason.endswith(f"; edit similarity decides, as the user is not trusted: {self.WHY}")

    def test_what_is_predicted_counts_neither_for_nor_against(self):
        assert decide(GAIN, distrust=self.WHY).decision == "kept"
        falling = {metric: -gain for metric, gain in GAIN.items()} | {"edit_similarity": 0.05 + NOISE}
        assert decide(falling, distrust=self.WHY).decision == "promoted"

    def test_it_needs_no_predicted_numbers_at_all(self):
        known = {name: CHAMPION[name] for name in ("edit_similarity", "middle_nats_per_token")}
        decision = decide({"edit_similarity": 0.05 + NOISE}, distrust=self.WHY, metrics=known)
        assert decision.decision == "promoted"
        with pytest.raises(ValueError, match="lacks predicted_retained_chars, predicted_acceptance_rate"):
            decide({"edit_similarity": 0.05 + NOISE}, metrics=known)

    def test_the_languages_are_guarded_all_the_same(self):
        languages = np.where(np.arange(N) < 25, "go", "python")
        change = np.where(languages == "go", -0.3, 0.3) + NOISE
        decision = decide({"edit_similarity": change}, distrust=self.WHY, languages=languages)
        assert decision.decision == "kept" and "go loses 0.297 in edit similarity" in decision.reason


class TestLanguages:
    GO = np.where(np.arange(N) < 25, "go", "python")

    @pytest.mark.parametrize(
        ("metric", "loss", "words"),
        [
            ("edit_similarity", 0.2, r"go loses 0\.197 in edit similarity -0\.197 \["),
            (
                "predicted_retained_chars",
                2.0,
                r"go loses 0\.2\d\d of what it was in predicted retained characters",
            ),
        ],
    )
    def test_a_model_broken_for_one_language_is_refused_whatever_it_gains_elsewhere(
        self, metric, loss, words
    ):
        change = {**GAIN, metric: np.where(self.GO == "go", -loss, loss) + NOISE}
        decision = decide(change, languages=self.GO)
        assert {one.slice for one in decision.demands if one.failure} == {"language=go"}
        assert decision.decision == "kept"
        assert "python loses" not in decision.reason
        assert re.search(words, decision.reason) and "on 25 gaps, more than the 0.05" in decision.reason

    def test_a_loss_within_the_allowance_is_allowed_however_certain(self):
        change = {**GAIN, "edit_similarity": np.where(self.GO == "go", -0.04, 0.04)}
        decision = decide(change, languages=self.GO)
        assert demand(decision, "edit_similarity", "language=go").high < 0
        assert decision.decision == "promoted"

    def test_a_loss_beyond_the_allowance_that_chance_explains_is_allowed(self):
        spread = np.tile([-0.8, 0.6], N // 2)  # mean -0.1, and far more noise than that
        change = {**GAIN, "edit_similarity": np.where(self.GO == "go", spread, 0.1)}
        decision = decide(change, languages=self.GO)
        found = demand(decision, "edit_similarity", "language=go")
        assert found.value < -0.05 and found.high > 0
        assert decision.decision == "promoted"

    def test_what_nobody_guards_is_told(self):
        evaluated = compared(GAIN, languages=self.GO).filter(pl.col("slice") != "language=go")
        reason = gate.decide(evaluated, SETTINGS, distrust=None).reason
        assert reason.endswith("; 1 language guarded, 25 gaps in languages too small to guard")
        alone = compared(GAIN).filter(pl.col("slice") == "all")
        reason = gate.decide(alone, SETTINGS, distrust=None).reason
        assert reason.endswith("; no language guarded, 120 gaps in languages too small to guard")

    def test_one_language_is_judged_by_its_interval_as_it_is_and_many_by_wider_ones(self):
        evaluated = compared(GAIN)
        row = evaluated.filter(
            pl.col("versus") == "champion",
            pl.col("slice") == "language=python",
            pl.col("metric") == "edit_similarity",
        ).row(0, named=True)
        found = demand(gate.decide(evaluated, SETTINGS, distrust=None), "edit_similarity", "language=python")
        assert (found.low, found.high) == pytest.approx((row["low"], row["high"]))
        many = np.resize([f"l{index}" for index in range(6)], N)
        change = {**GAIN, "edit_similarity": NOISE}
        evaluated = compared(change, languages=many)
        row = evaluated.filter(
            pl.col("versus") == "champion",
            pl.col("slice") == "language=l3",
            pl.col("metric") == "edit_similarity",
        ).row(0, named=True)
        found = demand(gate.decide(evaluated, SETTINGS, distrust=None), "edit_similarity", "language=l3")
        wider = NormalDist().inv_cdf(1 - 0.05 / 12) / NormalDist().inv_cdf(0.975)
        assert found.high - found.value == pytest.approx(wider * (row["high"] - row["value"]))
        assert wider == pytest.approx(1.346, abs=1e-3)

    def test_equal_models_are_refused_for_a_language_as_rarely_as_the_confidence_says(self):
        rng, refused = np.random.default_rng(7), 0
        many = np.resize([f"l{index}" for index in range(6)], N)
        for seed in range(60):
            settings = SETTINGS.model_copy(update={"seed": seed, "bootstrap_samples": 200})
            change = {**GAIN, "edit_similarity": rng.normal(scale=0.4, size=N)}
            refused += decide(change, languages=many, settings=settings).decision == "kept"
        assert refused <= 6  # of six languages of 20 gaps each; 5 % of 60 is 3


@given(
    gains=st.tuples(st.floats(-0.2, 0.2), st.floats(-2, 2)),
    widths=st.tuples(st.floats(0, 0.2), st.floats(0, 2)),
)
def test_nothing_is_promoted_whose_lower_bounds_are_not_both_above_zero(gains, widths):
    metrics = ("predicted_acceptance_rate", "predicted_retained_chars")
    rows = [
        ("candidate", "champion", metric, "all", gain, gain - width, gain + width, 50, "c")
        for metric, gain, width in zip(metrics, gains, widths, strict=True)
    ]
    rows += [
        ("candidate", "champion", "middle_nats_per_token", "all", 0.0, 0.0, 0.0, 50, "c"),
        ("champion", None, "edit_similarity", "all", 0.5, 0.4, 0.6, 50, "b"),
    ]
    evaluated = pl.DataFrame(rows, schema=EVALUATED_SCHEMA, orient="row")
    decision = gate.decide(evaluated, SETTINGS, distrust=None)
    is_better = all(gain - width > 0 for gain, width in zip(gains, widths, strict=True))
    assert (decision.decision == "promoted") is is_better


def test_no_candidate_keeps():
    only = compared(GAIN).filter(pl.col("role") == "champion")
    assert gate.decide(only, SETTINGS, distrust=None).reason == "no candidate was trained"
    assert gate.decide(pl.DataFrame(schema=EVALUATED_SCHEMA), SETTINGS, distrust=None).decision == "kept"


def test_a_comparison_that_is_not_whole_is_an_error_and_no_decision():
    evaluated = compared(GAIN).filter(pl.col("metric") != "middle_nats_per_token")
    with pytest.raises(ValueError, match="of candidate and champion lacks middle_nats_per_token"):
        gate.decide(evaluated, SETTINGS, distrust=None)


def test_chance_alone_promotes_about_as_rarely_as_the_confidence_says():
    rng, promoted = np.random.default_rng(7), 0
    for seed in range(60):
        settings = SETTINGS.model_copy(update={"seed": seed, "bootstrap_samples": 200})
        noise = rng.normal(scale=0.1, size=N)  # the same in both: the easiest case for a false promotion
        changes = dict.fromkeys(gate.PREDICTED, noise)
        promoted += decide(changes, settings=settings).decision == "promoted"
    assert promoted <= 6  # 2.5 % of 60 is 1.5
