"""The calibrated user: would the user have accepted this proposal, had the gap ended as it did?

What lives here: a logistic regression of logged decisions on how the proposal compares with C_N, the characters
that stay of what is accepted, and the record of a fit. What does not: reading the log (`decisions.py`), and how far
the fit can be trusted (`calibration.py`).

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
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cpdist

from echo_dagster.evaluation import calibration, metrics
from echo_dagster.evaluation.bootstrap import Interval
from echo_dagster.evaluation.calibration import Calibration
from echo_dagster.evaluation.schema import USER_FIT_SCHEMA

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

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CalibratedUser:
    """P(accept) = sigmoid(intercept + coefficients . (x - means) / scales).

    x is FEATURES, then one indicator for each of `languages`. Of an accepted proposal
    `matched_stay` * characters matched + `proposed_stay` * characters proposed stay, at most all of them; matched
    are those of a longest common subsequence with C_N.
    """

    languages: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    coefficients: tuple[float, ...]
    intercept: float
    matched_stay: float = 1.0
    proposed_stay: float = 0.0

    def predict(self, proposals: pl.Series, finals: pl.Series, languages: pl.Series) -> pl.Series:
        """Return P(accept) per proposal, in (0, 1), given what the gap held in the end."""
        x = (_features(proposals, finals, languages, self.languages) - np.array(self.means)) / np.array(
            self.scales
        )
        # Not `x @ coefficients`: a matrix product rounds a row by its place in the batch.
        logits = (x * np.array(self.coefficients)).sum(axis=1) + self.intercept
        return pl.Series("predicted_acceptance", _sigmoid(logits))

    def chars_if_accepted(self, proposals: pl.Series, finals: pl.Series) -> pl.Series:
        """Return the characters expected to stay of each proposal where it is accepted; 0 of a blank one."""
        matched, proposed = _chars(proposals, finals)
        stays = np.minimum(self.matched_stay * matched + self.proposed_stay * proposed, proposed)
        return pl.Series("chars_if_accepted", stays)

    def retained_chars(self, proposals: pl.Series, finals: pl.Series, languages: pl.Series) -> pl.Series:
        """Return P(accept) * the characters that then stay, per proposal; 0 of a blank one."""
        expected = self.predict(proposals, finals, languages) * self.chars_if_accepted(proposals, finals)
        return expected.rename("predicted_retained_chars")

    def to_json(self) -> str:
        """Return the whole user as JSON, for the provenance of the numbers it makes."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> CalibratedUser:
        """Return the user that `to_json` wrote."""
        told: dict[str, Any] = json.loads(text)
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in told.items()
        }
        return cls(**fields)


@dataclass(frozen=True)
class UserFit:
    """A fitted user, or null with the reason; and how well it does, where at least two users decided.

    `logged_acceptance_rate` is of the decisions fitted on, with its interval by user; null without decisions.
    `distrust` says why predicted AR cannot be trusted with a promotion; null where it can.
    """

    user: CalibratedUser | None
    reason: str | None
    n_decisions: int
    n_accepted: int
    n_users: int
    logged_acceptance_rate: Interval | None
    calibration: Calibration | None
    distrust: str | None

    @property
    def is_trusted(self) -> bool:
        """Whether predictions reproduce the log well enough to decide by them."""
        return self.distrust is None

    def to_record(self) -> dict[str, Any]:
        """Return the fit as plain values for a provenance record."""
        return {**asdict(self), "is_trusted": self.is_trusted, "features": list(FEATURES)}

    def to_row(self) -> pl.DataFrame:
        """Return the fit as the one row of `USER_FIT_SCHEMA`."""
        logged = None if self.logged_acceptance_rate is None else asdict(self.logged_acceptance_rate)
        found = {} if self.calibration is None else asdict(self.calibration)
        row = {
            **found,
            "is_trusted": self.is_trusted,
            "distrust": self.distrust,
            "n_decisions": self.n_decisions,
            "n_users": self.n_users,
            "logged_acceptance_rate": logged and logged["value"],
            "logged_low": logged and logged["low"],
            "logged_high": logged and logged["high"],
            "curve": json.dumps(found.get("curve", [])),
        }
        return pl.DataFrame([{name: row.get(name) for name in USER_FIT_SCHEMA}], schema=USER_FIT_SCHEMA)


def fit(decisions: pl.DataFrame, *, min_decisions: int = 30, seed: int = 0) -> UserFit:
    """Fit the user on `decisions` (`decisions.DECISION_SCHEMA`); the order of rows does not matter.

    No user is fitted on fewer than `min_decisions`, or where every decision is the same.
    """
    rows = decisions.sort("completion_id")
    n, n_accepted, n_users = len(rows), int(rows["is_accepted"].sum()), rows["user_id"].n_unique()
    logged = calibration.logged_rate(rows, seed) if n else None
    reason = None
    if n < min_decisions:
        reason = f"{n} decisions are logged, a fit needs {min_decisions}"
    elif n_accepted in (0, n):
        reason = (
            f"all {n} decisions are {'accepted' if n_accepted else 'not accepted'}, which teaches nothing"
        )
    if reason is not None or logged is None:
        return UserFit(None, reason, n, n_accepted, n_users, logged, None, reason)
    found = calibration.cross_validate(rows, _fit, seed) if n_users >= 2 else None
    distrust = calibration.distrust(logged, found)
    return UserFit(_fit(rows), None, n, n_accepted, n_users, logged, found, distrust)


def _fit(rows: pl.DataFrame) -> CalibratedUser:
    from sklearn.linear_model import LogisticRegression

    counts = rows.drop_nulls("language").group_by("language").len()
    languages = tuple(counts.filter(pl.col("len") >= MIN_LANGUAGE_DECISIONS)["language"].sort().to_list())
    x = _features(rows["proposal"], rows["final"], rows["language"], languages)
    means, scales = x.mean(axis=0), x.std(axis=0)
    scales[scales == 0] = 1.0
    model = LogisticRegression(C=1.0, max_iter=1000).fit((x - means) / scales, calibration.accepted(rows))
    matched_stay, proposed_stay = _stays(rows)
    return CalibratedUser(
        languages=languages,
        means=tuple(means.tolist()),
        scales=tuple(scales.tolist()),
        coefficients=tuple(model.coef_[0].tolist()),
        intercept=float(model.intercept_[0]),
        matched_stay=matched_stay,
        proposed_stay=proposed_stay,
    )


def _stays(rows: pl.DataFrame) -> tuple[float, float]:
    """Return how much of the characters matched and of those proposed stays of what is accepted, neither below 0.

    Where the log does not say what stayed of anything, what matches C_N is taken to stay.
    """
    from scipy.optimize import nnls

    known = rows.filter(pl.col("is_accepted") & pl.col("retained_chars").is_not_null())
    if known.is_empty():
        return 1.0, 0.0
    x = np.column_stack(_chars(known["proposal"], known["final"]))
    # Without an intercept: nothing stays of nothing.
    (matched, proposed), _ = nnls(x, known["retained_chars"].to_numpy().astype(np.float64))
    return float(matched), float(proposed)


def _chars(proposals: pl.Series, finals: pl.Series) -> tuple[Floats, Floats]:
    """Return, per pair, the characters matched and those proposed. Outer white space is not counted."""
    left, right = (texts.cast(pl.String).str.strip_chars() for texts in (proposals, finals))
    matched = cpdist(left.to_list(), right.to_list(), scorer=LCSseq.similarity, dtype=np.float64)
    return matched, left.str.len_chars().cast(pl.Float64).to_numpy()


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
