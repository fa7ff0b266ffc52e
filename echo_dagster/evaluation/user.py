"""The calibrated user: would the user have accepted this proposal, had the gap ended as it did?

What lives here: a logistic regression of logged decisions on how the proposal compares with C_N, its own
calibration on users that it was not fitted on, and its record as JSON. What does not: reading the log
(`decisions.py`).

Two biases to know before reading its numbers. Accepting a proposal moves C_N towards it, so that agreement
explains acceptance better in the log than it would in truth: levels are optimistic. And the C_N of a held-out
gap was written beside the proposals of the model that served, so that this model is favoured: a candidate's
gain over it is understated. Both hold for every model compared, which is why differences are read and levels
are not.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from echo_dagster.evaluation import metrics

FEATURES = (
    "edit_similarity",  # of the proposal and C_N
    "head_similarity",  # of the proposal and as many lines of C_N: the user may have gone on below
    "is_exact_match",
    "is_first_line_match",
    "is_prefix",  # C_N begins with the proposal
    "log_chars",  # log(1 + characters proposed)
    "log_lines",  # log(1 + lines proposed)
)

#: A language with fewer decisions than this has no indicator: there is too little to tell it apart.
MIN_LANGUAGE_DECISIONS = 30
_CALIBRATION_BINS = 10
_MAX_FOLDS = 5

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CalibratedUser:
    """P(accept) = sigmoid(intercept + coefficients . (x - means) / scales).

    x is FEATURES, then one indicator for each of `languages`.
    """

    languages: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    coefficients: tuple[float, ...]
    intercept: float

    def predict(self, proposals: pl.Series, finals: pl.Series, languages: pl.Series) -> pl.Series:
        """Return P(accept) per proposal, in (0, 1), given what the gap held in the end."""
        x = (_features(proposals, finals, languages, self.languages) - np.array(self.means)) / np.array(
            self.scales
        )
        # Not `x @ coefficients`: a matrix product rounds a row by its place in the batch.
        logits = (x * np.array(self.coefficients)).sum(axis=1) + self.intercept
        return pl.Series("predicted_acceptance", _sigmoid(logits))

    def to_json(self) -> str:
        """Return the whole user as JSON, for the provenance of the numbers it makes."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> CalibratedUser:
        """Return the user that `to_json` wrote."""
        told: dict[str, Any] = json.loads(text)
        intercept = told.pop("intercept")
        return cls(**{name: tuple(values) for name, values in told.items()}, intercept=intercept)


@dataclass(frozen=True)
class Calibration:
    """How far to trust the user model: on decisions of users left out of the fit (grouped cross-validation).

    `auc` in [0, 1], 0.5 is chance. `brier` is the mean squared error of P(accept); `base_brier` that of
    always saying the acceptance rate. `ece` is the mean distance of predicted and observed rates over ten
    equally wide bins, by count.
    """

    n_folds: int
    auc: float
    brier: float
    base_brier: float
    ece: float


@dataclass(frozen=True)
class UserFit:
    """A fitted user, or null with the reason; and how well it does, where at least two users decided."""

    user: CalibratedUser | None
    reason: str | None
    n_decisions: int
    n_accepted: int
    n_users: int
    calibration: Calibration | None

    def to_record(self) -> dict[str, Any]:
        """Return the fit as plain values for a provenance record."""
        return {**asdict(self), "features": list(FEATURES)}


def fit(decisions: pl.DataFrame, *, min_decisions: int = 30, seed: int = 0) -> UserFit:
    """Fit the user on `decisions` (`decisions.DECISION_SCHEMA`); the order of rows does not matter.

    No user is fitted on fewer than `min_decisions`, or where every decision is the same.
    """
    rows = decisions.sort("completion_id")
    accepted = rows["is_accepted"].to_numpy().astype(np.float64)
    n, n_accepted, n_users = len(rows), int(accepted.sum()), rows["user_id"].n_unique()
    reason = None
    if n < min_decisions:
        reason = f"{n} decisions are logged, a fit needs {min_decisions}"
    elif n_accepted in (0, n):
        reason = (
            f"all {n} decisions are {'accepted' if n_accepted else 'not accepted'}, which teaches nothing"
        )
    if reason is not None:
        return UserFit(None, reason, n, n_accepted, n_users, None)
    user = _fit(rows, accepted)
    calibration = _cross_validate(rows, accepted, seed) if n_users >= 2 else None
    return UserFit(user, None, n, n_accepted, n_users, calibration)


def expected_calibration_error(predicted: Floats, observed: Floats) -> float:
    """Return the sum over ten equally wide bins of share of decisions * |mean predicted - mean observed|."""
    bins = np.minimum((predicted * _CALIBRATION_BINS).astype(np.int64), _CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=predicted - observed, minlength=_CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(predicted))


def _fit(rows: pl.DataFrame, accepted: Floats) -> CalibratedUser:
    from sklearn.linear_model import LogisticRegression

    counts = rows.drop_nulls("language").group_by("language").len()
    languages = tuple(counts.filter(pl.col("len") >= MIN_LANGUAGE_DECISIONS)["language"].sort().to_list())
    x = _features(rows["proposal"], rows["final"], rows["language"], languages)
    means, scales = x.mean(axis=0), x.std(axis=0)
    scales[scales == 0] = 1.0
    model = LogisticRegression(C=1.0, max_iter=1000).fit((x - means) / scales, accepted)
    return CalibratedUser(
        languages=languages,
        means=tuple(means.tolist()),
        scales=tuple(scales.tolist()),
        coefficients=tuple(model.coef_[0].tolist()),
        intercept=float(model.intercept_[0]),
    )


def _cross_validate(rows: pl.DataFrame, accepted: Floats, seed: int) -> Calibration:
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold

    n_folds = min(_MAX_FOLDS, rows["user_id"].n_unique())
    folds = GroupKFold(n_folds, shuffle=True, random_state=seed)
    predicted = np.empty(len(rows))
    for train, test in folds.split(accepted, groups=rows["user_id"].to_numpy()):
        if accepted[train].min() == accepted[train].max():
            predicted[test] = accepted[train][0]  # all the other users did the same: no more is known
            continue
        held_out = rows[test]
        user = _fit(rows[train], accepted[train])
        predicted[test] = user.predict(
            held_out["proposal"], held_out["final"], held_out["language"]
        ).to_numpy()
    rate = accepted.mean()
    return Calibration(
        n_folds=n_folds,
        auc=float(roc_auc_score(accepted, predicted)),
        brier=float(np.mean((predicted - accepted) ** 2)),
        base_brier=float(rate * (1 - rate)),
        ece=expected_calibration_error(predicted, accepted),
    )


def _features(proposals: pl.Series, finals: pl.Series, languages: pl.Series, known: Sequence[str]) -> Floats:
    """Return one row per proposal: FEATURES, then one indicator for each of `known`."""
    texts = pl.DataFrame(
        {"proposal": proposals.cast(pl.String), "final": finals.cast(pl.String)}
    ).with_columns(pl.col("proposal", "final").str.strip_chars_end())
    lines = texts["proposal"].str.count_matches("\n", literal=True) + 1
    heads = (
        texts.with_columns(lines=lines)
        .select(pl.col("final").str.split("\n").list.head(pl.col("lines")).list.join("\n"))
        .to_series()
    )
    is_prefix = texts.select(
        pl.col("final").str.starts_with(pl.col("proposal")) & (pl.col("proposal") != "")
    ).to_series()
    columns = [
        metrics.edit_similarity(texts["proposal"], texts["final"]),
        metrics.edit_similarity(texts["proposal"], heads),
        metrics.exact_match(texts["proposal"], texts["final"]),
        metrics.first_line_match(texts["proposal"], texts["final"]),
        is_prefix,
        texts["proposal"].str.len_chars().cast(pl.Float64).log1p(),
        lines.cast(pl.Float64).log1p(),
        *((languages == language).fill_null(False) for language in known),
    ]
    return np.column_stack([column.cast(pl.Float64).to_numpy() for column in columns])


def _sigmoid(z: Floats) -> Floats:
    return np.exp(-np.logaddexp(0, -z))
