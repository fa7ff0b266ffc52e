"""How far the calibrated user is trusted: on a public study, on planted logs, and the sentences where it is not."""

import json

import numpy as np
import polars as pl
import pytest
from test_user import decided, logged

from benchmarks import user as benchmark
from echo_dagster.evaluation import calibration, plots_user, user
from echo_dagster.evaluation.bootstrap import Interval
from echo_dagster.evaluation.schema import USER_FIT_SCHEMA


@pytest.fixture(scope="module")
def study(shared_data, tmp_path_factory):
    """The decisions of the CUPS study, as a day's evaluation reads them from the lake."""
    return benchmark.logged(shared_data / "cups" / "events.ndjson.gz", tmp_path_factory.mktemp("cups"))


@pytest.mark.parametrize("seed", [0, 1])
def test_on_the_study_it_foretells_what_other_users_took(study, seed):
    fitted = user.fit(study.rows, seed=seed)
    found = fitted.calibration
    assert (fitted.n_decisions, fitted.n_users, found.n_folds) == (206, 14, 5)
    assert found.auc > max(0.9, found.length_auc)
    assert found.brier < min(0.12, found.length_brier, found.constant_brier)
    assert found.brier_gain.low > 0
    assert found.ece <= 0.08
    assert abs(found.predicted_acceptance_rate - fitted.logged_acceptance_rate.value) <= 0.03
    assert abs(found.predicted_retained_chars - found.logged_retained_chars) <= 4
    assert found.retained_correlation > 0.85
    assert fitted.is_trusted and fitted.distrust is None


def test_nothing_of_the_study_is_left_out_without_a_reason(study):
    assert study.left_out == {"censored": 358, "blank_final": 77, "superseded": 16}
    assert study.n_decided == study.rows.height == 206


def test_a_rule_that_all_users_share_is_trusted():
    fitted = user.fit(decided(logged()))
    assert (fitted.is_trusted, fitted.distrust) == (True, None)
    logged_rate = fitted.logged_acceptance_rate
    assert logged_rate.low <= fitted.calibration.predicted_acceptance_rate <= logged_rate.high


def test_decisions_by_chance_are_not_surely_better_than_a_constant():
    fitted = user.fit(decided(logged(rate=0.3)))
    found = fitted.calibration
    assert not fitted.is_trusted
    assert fitted.distrust == (
        "on users left out of the fit, it is not surely better than a constant: "
        f"Brier score {found.brier:.3f} against {found.constant_brier:.3f}"
    )


def test_a_rate_outside_the_logged_interval_is_told():
    rate = Interval(0.30, 0.25, 0.35, n_values=600, n_units=6)
    found = user.fit(decided(logged())).calibration
    told = calibration.distrust(rate, found)
    assert found.predicted_acceptance_rate > 0.35
    assert told == (
        f"on users left out of the fit, predicted AR is {found.predicted_acceptance_rate:.3f}, "
        "outside the interval of the logged AR 0.300 [0.250, 0.350]"
    )
    assert calibration.distrust(Interval(0.5, 0.2, 0.8, n_values=600, n_units=6), found) is None


def test_one_user_has_no_other_to_be_tried_on():
    fitted = user.fit(decided(logged(users=1)))
    assert fitted.distrust == "the decisions are one user's: there is no other to try the fit on"
    (row,) = fitted.to_row().to_dicts()
    assert (row["n_users"], row["auc"], row["curve"]) == (1, None, "[]")


def test_without_a_fit_the_reason_is_the_distrust():
    fitted = user.fit(decided(logged(29)))
    assert fitted.distrust == fitted.reason == "29 decisions are logged, a fit needs 30"
    (row,) = fitted.to_row().to_dicts()
    assert (row["is_trusted"], row["distrust"], row["n_decisions"]) == (False, fitted.reason, 29)


def test_the_row_says_what_the_fit_says():
    fitted = user.fit(decided(logged()))
    row = fitted.to_row()
    assert row.schema == USER_FIT_SCHEMA
    told = row.row(0, named=True)
    found, rate = fitted.calibration, fitted.logged_acceptance_rate
    for name in ("auc", "brier", "constant_brier", "length_auc", "length_brier", "ece"):
        assert told[name] == getattr(found, name)
    assert (told["logged_low"], told["logged_high"]) == (rate.low, rate.high)
    assert told["predicted_acceptance_rate"] == found.predicted_acceptance_rate
    points = json.loads(told["curve"])
    assert sum(point["n"] for point in points) == told["n_decisions"] == 600
    assert [point["predicted"] for point in points] == sorted(point["predicted"] for point in points)
    assert any(point["low"] is not None for point in points)
    for point in points:  # a bin of one user's decisions has no interval
        assert point["low"] is None or point["low"] <= point["observed"] <= point["high"]


@pytest.mark.parametrize("stays", [1.0, 0.5])
def test_what_stays_of_accepted_proposals_is_learnt_from_the_log(stays):
    frame = decided(logged()).with_columns(
        retained_chars=pl.when("is_accepted").then(
            stays * pl.col("proposal").str.len_chars().cast(pl.Float64)
        )
    )
    fitted = user.fit(frame).user
    proposals, finals = pl.Series(["alpha beta", "alpha beta", " \n"]), pl.Series(["alpha beta"] * 3)
    kept = fitted.chars_if_accepted(proposals, finals).to_numpy()
    assert kept == pytest.approx([10 * stays, 10 * stays, 0], abs=0.6)
    languages = pl.Series(["python"] * 3)
    retained = fitted.retained_chars(proposals, finals, languages).to_numpy()
    assert retained == pytest.approx(fitted.predict(proposals, finals, languages).to_numpy() * kept)
    assert retained[2] == 0


def test_no_more_stays_than_was_proposed():
    fitted = user.CalibratedUser((), (0.0,) * 7, (1.0,) * 7, (0.0,) * 7, 0.0, 1.4, 0.3)
    proposals, finals = pl.Series(["alpha", "xyz"]), pl.Series(["alpha beta", "beta"])
    assert fitted.chars_if_accepted(proposals, finals).to_list() == pytest.approx([5, 0.9])
    assert fitted.retained_chars(proposals, finals, pl.Series(["c", "c"])).to_list() == pytest.approx(
        [2.5, 0.45]
    )


def test_bins_count_every_decision_once():
    predicted = np.array([0.0, 0.05, 0.1, 0.95, 1.0])
    points = calibration.curve(predicted, np.array([0.0, 0, 1, 1, 1]), ["a", "b", "a", "b", "c"])
    assert [(point.n, point.observed) for point in points] == [(2, 0), (1, 1), (2, 1)]
    assert points[0].predicted == pytest.approx(0.025)
    assert points[1].low is None and points[1].high is None  # one user's


def test_the_plot_has_a_point_and_a_bar_for_each_bin():
    fitted = user.fit(decided(logged()))
    drawn = plots_user.calibration(fitted.to_row())
    curve, bars = drawn.vconcat
    values = bars.data.values
    assert len(values) == len(fitted.calibration.curve) > 5
    for value, point in zip(values, fitted.calibration.curve, strict=True):
        assert (value["observed"], value["n"]) == (point.observed, point.n)
        assert value["left"] <= value["predicted"] <= value["right"]
    assert bars.to_dict()["encoding"]["x"]["bin"] == "binned"  # else bars of a range would not begin at zero
    assert curve.layer[-1].data.values == values
    alone = plots_user.calibration(pl.DataFrame(schema=USER_FIT_SCHEMA))
    assert alone.vconcat[1].data.values == []
