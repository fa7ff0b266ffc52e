import numpy as np
import polars as pl
import pytest

from echo_dagster.evaluation import bootstrap, decisions, user
from echo_dagster.evaluation.calibration import expected_calibration_error

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]


def logged(n=600, *, users=6, seed=3, rate=None):
    """Decisions by a planted rule: P(accept) rises steeply with the words that the proposal got right."""
    rng = np.random.default_rng(seed)
    rows = []
    for index in range(n):
        words = list(rng.choice(WORDS, size=4))
        right = rng.integers(0, 5)
        proposal = " ".join(words[:right] + ["xyzzy"] * (4 - right))
        chance = 1 / (1 + np.exp(-(3.0 * right - 6.0))) if rate is None else rate
        rows.append(
            {
                "completion_id": f"c{index:04}",
                "user_id": f"user {index % users}",
                "language": "python" if index % 3 else "rust",
                "proposal": proposal,
                "final": " ".join(words),
                "is_accepted": bool(rng.random() < chance),
                "chance": float(chance),
                "retained_chars": None,
            }
        )
    return pl.DataFrame(rows)


def decided(frame):
    return frame.select(pl.col(name).cast(kind) for name, kind in decisions.DECISION_SCHEMA.items())


def predict(fitted, frame):
    return fitted.user.predict(frame["proposal"], frame["final"], frame["language"])


def test_a_planted_rule_is_recovered_on_decisions_never_seen():
    fitted = user.fit(decided(logged()))
    fresh = logged(seed=4)
    predicted = predict(fitted, fresh)
    assert np.abs(predicted.to_numpy() - fresh["chance"].to_numpy()).mean() < 0.08
    assert fitted.calibration.auc > 0.9
    assert fitted.calibration.brier < 0.6 * fitted.calibration.constant_brier
    assert fitted.calibration.ece < 0.08
    assert (fitted.n_decisions, fitted.n_users, fitted.calibration.n_folds) == (600, 6, 5)


def test_chance_decisions_are_reported_as_chance():
    fitted = user.fit(decided(logged(rate=0.3)))
    assert 0.4 < fitted.calibration.auc < 0.6
    assert fitted.calibration.brier == pytest.approx(fitted.calibration.constant_brier, rel=0.05)


def test_predicted_acceptance_reproduces_the_logged_rate():
    frame = logged()
    fitted = user.fit(decided(frame))
    told = bootstrap.mean(frame["is_accepted"].cast(pl.Float64).to_numpy())
    assert told.low <= predict(fitted, frame).mean() <= told.high
    assert predict(fitted, frame).mean() == pytest.approx(told.value, abs=1e-4)


def test_a_better_proposal_is_predicted_to_be_taken_more_often():
    fitted = user.fit(decided(logged()))
    finals = pl.Series(["alpha beta gamma delta"] * 3)
    proposals = pl.Series(["alpha beta gamma delta", "alpha beta xyzzy xyzzy", "xyzzy xyzzy xyzzy xyzzy"])
    right, half, wrong = fitted.user.predict(proposals, finals, pl.Series(["python"] * 3))
    assert right > half > wrong


def test_the_same_decisions_in_any_order_give_the_same_record():
    frame = decided(logged(120))
    assert user.fit(frame).to_record() == user.fit(frame.sample(fraction=1, shuffle=True, seed=1)).to_record()


def test_a_user_survives_json():
    fitted = user.fit(decided(logged(120)))
    assert user.CalibratedUser.from_json(fitted.user.to_json()) == fitted.user


def test_unknown_and_rare_languages_are_predicted_like_any_other():
    fitted = user.fit(decided(logged(60)))  # 20 decisions in rust: too few for an indicator
    assert fitted.user.languages == ("python",)
    texts = pl.Series(["alpha"] * 3)
    rust, new, unknown = fitted.user.predict(texts, texts, pl.Series(["rust", "cobol", None]))
    assert rust == new == unknown


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (logged(29), "29 decisions are logged, a fit needs 30"),
        (logged(40, rate=0.0), "all 40 decisions are not accepted, which teaches nothing"),
        (logged(40, rate=1.0), "all 40 decisions are accepted, which teaches nothing"),
        (logged(1).head(0), "0 decisions are logged, a fit needs 30"),
    ],
)
def test_no_user_is_made_up(frame, reason):
    fitted = user.fit(decided(frame))
    assert (fitted.user, fitted.reason, fitted.calibration) == (None, reason, None)


def test_one_user_alone_cannot_be_cross_validated():
    fitted = user.fit(decided(logged(users=1)))
    assert fitted.user is not None
    assert fitted.calibration is None


def test_a_fold_whose_training_users_all_did_the_same_predicts_just_that():
    frame = decided(logged(users=2, rate=0.5)).with_columns(is_accepted=pl.col("user_id") == "user 0")
    fitted = user.fit(frame)
    assert (fitted.calibration.brier, fitted.calibration.auc) == (
        1.0,
        0.0,
    )  # each is predicted to be the other


def test_calibration_error_of_a_known_case():
    predicted = np.array([0.15, 0.15, 0.95, 1.0])
    assert expected_calibration_error(predicted, np.array([0, 1, 1, 1])) == pytest.approx(
        (2 * abs(0.15 - 0.5) + 2 * abs(0.975 - 1)) / 4
    )


def test_a_perfect_proposal_below_which_the_user_went_on_is_told_from_a_wrong_one():
    finals = pl.Series(["alpha\nbeta\ngamma\ndelta"] * 2)
    features = user._features(pl.Series(["alpha\n", "xyzzy"]), finals, pl.Series(["python"] * 2), ())
    table = pl.DataFrame(features, schema=list(user.FEATURES))
    assert table["head_similarity"].to_list() == [1, 0]
    assert table["is_prefix"].to_list() == [1, 0]
    assert table["is_first_line_match"].to_list() == [1, 0]
    assert table["is_exact_match"].to_list() == [0, 0]
    assert table["edit_similarity"][0] == pytest.approx(5 / 22)
    assert table["log_chars"].to_list() == pytest.approx([np.log(6)] * 2)
