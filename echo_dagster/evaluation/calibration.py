"""How far the calibrated user can be trusted, measured on decisions of users that it was not fitted on.

What lives here: grouped cross-validation by user beside a constant and a length-only model, the calibration
curve, and the sentence that says why a user is not trusted. What does not: the user itself (`user.py`), and what
follows from distrust (`gate.py`).

Logged AR and predicted AR are of the same decisions: those that `decisions.py` returns, whose C_N is known and not
blank, as that of a held-out gap is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from echo_dagster.evaluation import bootstrap
from echo_dagster.evaluation.bootstrap import Interval

_BINS = 10
_MAX_FOLDS = 5

Floats = npt.NDArray[np.float64]


class Predictor(Protocol):
    """What is cross-validated: `user.CalibratedUser`."""

    def predict(self, proposals: pl.Series, finals: pl.Series, languages: pl.Series) -> pl.Series:
        """Return P(accept) per proposal."""
        ...

    def chars_if_accepted(self, proposals: pl.Series, finals: pl.Series) -> pl.Series:
        """Return the characters that stay of each proposal where it is accepted."""
        ...


@dataclass(frozen=True)
class Bin:
    """One bin of the calibration curve: mean P(accept), share accepted with its interval by user, decisions.

    The interval is null where one user made all the decisions.
    """

    predicted: float
    observed: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Calibration:
    """The user on decisions of users left out of the fit (at most five folds).

    `auc` in [0, 1], 0.5 is chance. `brier` is the mean squared error of P(accept). `constant_brier` is that of
    answering the acceptance rate of the other folds, `length_*` are of a logistic regression on log(1 + characters
    proposed), in the same folds. `brier_gain` is constant less user, decision by decision, resampled by user. `ece`
    is the mean distance of predicted and observed rates over ten equally wide bins, by count.

    `logged_retained_chars` and `predicted_retained_chars` are means over all decisions (nothing stays of what was
    not accepted); `retained_correlation` is Pearson's, over the same. All three are null where the log does not say
    what stayed, the last also where either does not vary.
    """

    n_folds: int
    auc: float
    length_auc: float
    brier: float
    constant_brier: float
    length_brier: float
    brier_gain: Interval
    ece: float
    predicted_acceptance_rate: float
    curve: tuple[Bin, ...]
    n_retained: int
    logged_retained_chars: float | None
    predicted_retained_chars: float | None
    retained_correlation: float | None


def logged_rate(rows: pl.DataFrame, seed: int) -> Interval:
    """Return the AR of decisions with its interval: users are resampled, since they differ more than decisions."""
    return bootstrap.mean(accepted(rows), rows["user_id"].to_list(), seed=seed)


def accepted(rows: pl.DataFrame) -> Floats:
    """Return 1.0 for each decision to accept and 0.0 for each other."""
    return rows["is_accepted"].to_numpy().astype(np.float64)


def cross_validate(rows: pl.DataFrame, learn: Callable[[pl.DataFrame], Predictor], seed: int) -> Calibration:
    """Return how a user learnt from some users' decisions does on the others'; at least two users are needed.

    Args:
        rows: `decisions.DECISION_SCHEMA`, of both kinds of decisions.
        learn: makes a user of such rows; it is never given rows of one kind only.
        seed: of the folds and of the intervals.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold

    decided, users = accepted(rows), rows["user_id"].to_list()
    length = np.log1p(rows["proposal"].str.len_chars().cast(pl.Float64).to_numpy()).reshape(-1, 1)
    n_folds = min(_MAX_FOLDS, rows["user_id"].n_unique())
    folds = GroupKFold(n_folds, shuffle=True, random_state=seed)
    predicted, constant, by_length, chars = (np.zeros(len(rows)) for _ in range(4))
    for train, test in folds.split(decided, groups=users):
        constant[test] = decided[train].mean()
        if decided[train].min() == decided[train].max():
            # All the other users did the same: no more is known.
            predicted[test] = by_length[test] = constant[test]
            chars[test] = rows[test]["proposal"].str.len_chars().to_numpy()
            continue
        held_out = rows[test]
        user = learn(rows[train])
        texts = held_out["proposal"], held_out["final"]
        predicted[test] = user.predict(*texts, held_out["language"]).to_numpy()
        chars[test] = user.chars_if_accepted(*texts).to_numpy()
        by_length[test] = (
            LogisticRegression().fit(length[train], decided[train]).predict_proba(length[test])[:, 1]
        )
    gain = bootstrap.paired_difference(
        (constant - decided) ** 2, (predicted - decided) ** 2, users, seed=seed
    )
    return Calibration(
        n_folds=n_folds,
        auc=float(roc_auc_score(decided, predicted)),
        length_auc=float(roc_auc_score(decided, by_length)),
        brier=_brier(predicted, decided),
        constant_brier=_brier(constant, decided),
        length_brier=_brier(by_length, decided),
        brier_gain=gain,
        ece=expected_calibration_error(predicted, decided),
        predicted_acceptance_rate=float(predicted.mean()),
        curve=curve(predicted, decided, users, seed),
        **_retained(rows, predicted * chars),
    )


def distrust(logged: Interval, found: Calibration | None) -> str | None:
    """Return why the user is not to be trusted with a decision; null where it is."""
    if found is None or logged.low is None or logged.high is None:
        return "the decisions are one user's: there is no other to try the fit on"
    rate = found.predicted_acceptance_rate
    if not logged.low <= rate <= logged.high:
        return (
            f"on users left out of the fit, predicted AR is {rate:.3f}, outside the interval of the logged AR "
            f"{logged.value:.3f} [{logged.low:.3f}, {logged.high:.3f}]"
        )
    if found.brier_gain.low is None or found.brier_gain.low <= 0:
        return (
            f"on users left out of the fit, it is not surely better than a constant: Brier score {found.brier:.3f} "
            f"against {found.constant_brier:.3f}"
        )
    return None


def curve(predicted: Floats, observed: Floats, users: list[str], seed: int = 0) -> tuple[Bin, ...]:
    """Return the bins that hold decisions, in rising order of P(accept)."""
    bins, names = _bins(predicted), np.asarray(users, dtype=np.str_)
    points = []
    for number in np.unique(bins):
        inside = bins == number
        told = bootstrap.mean(observed[inside], names[inside].tolist(), seed=seed)
        points.append(
            Bin(float(predicted[inside].mean()), told.value, told.low, told.high, int(inside.sum()))
        )
    return tuple(points)


def expected_calibration_error(predicted: Floats, observed: Floats) -> float:
    """Return the sum over ten equally wide bins of share of decisions * |mean predicted - mean observed|."""
    gaps = np.bincount(_bins(predicted), weights=predicted - observed, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(predicted))


def _bins(predicted: Floats) -> npt.NDArray[np.int64]:
    return np.minimum((predicted * _BINS).astype(np.int64), _BINS - 1)


def _brier(predicted: Floats, observed: Floats) -> float:
    return float(np.mean((predicted - observed) ** 2))


def _retained(rows: pl.DataFrame, predicted: Floats) -> dict[str, Any]:
    """Return what is said of retained characters, over decisions of which the log knows what stayed."""
    stayed = rows.select(pl.when("is_accepted").then("retained_chars").otherwise(0.0)).to_series()
    known = stayed.is_not_null().to_numpy()
    n_retained = rows.filter(pl.col("is_accepted"))["retained_chars"].count()
    if not n_retained:
        names = ("logged_retained_chars", "predicted_retained_chars", "retained_correlation")
        return {"n_retained": 0, **dict.fromkeys(names)}
    observed, expected = stayed.to_numpy()[known].astype(np.float64), predicted[known]
    varies = observed.std() > 0 and expected.std() > 0
    return {
        "n_retained": n_retained,
        "logged_retained_chars": float(observed.mean()),
        "predicted_retained_chars": float(expected.mean()),
        "retained_correlation": float(np.corrcoef(observed, expected)[0, 1]) if varies else None,
    }
