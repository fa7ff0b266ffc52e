"""Means and ratios with bootstrap intervals, of several columns at once, and of the difference between two paired ones.

The interval is Hesterberg's *expanded percentile* interval (Hesterberg 2015, "What Teachers Should Know about
the Bootstrap"): the plain percentile interval is too narrow by sqrt((n - 1) / n) and by using z for t, which
matters at the few dozen gaps of a small team's day. Its quantiles are read at Phi(-+ sqrt(n / (n - 1)) * t) instead.

What is resampled is a *unit*: values that are not independent of each other (one user's, say) stay together.
The mean is over values, not over units, so a unit with many values weighs more, and ten users of whom two wrote
half of everything tell less than ten alike. The degrees of freedom of t are therefore those of the *effective*
number of units, (sum of sizes)^2 / sum of squared sizes, less one (Carter, Schnepel and Steigerwald 2017,
"Asymptotic Behavior of a t-Test Robust to Cluster Heterogeneity"; Kish 1965). `benchmarks/coverage.py` measures
how often the interval covers the truth.

Which unit to use is the caller's decision.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: Draws held in memory at a time; 2**20 are 8 MB.
_CHUNK_DRAWS = 2**20
#: Draws of so few units are kept for the next group of as many: 6 MB each.
_KEPT_DRAWS = 750_000


@dataclass(frozen=True)
class Interval:
    """A mean and where it lies. `low` and `high` are null with fewer than two units, which have no spread."""

    value: float
    low: float | None
    high: float | None
    n_values: int
    n_units: int


def mean(
    values: Sequence[float] | Floats,
    units: Sequence[str] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return the mean of `values` with its interval.

    `units` names, per value, what it is resampled with; by default each value stands alone.

    Raises:
        ValueError: no values, or a value that is not finite.
    """
    data = np.asarray(values, dtype=np.float64)
    if np.isnan(data).any():
        raise ValueError("a value is null or not finite")
    return means(data[:, None], units, confidence=confidence, resamples=resamples, seed=seed)[0]


def paired_difference(
    values: Sequence[float] | Floats,
    versus: Sequence[float] | Floats,
    units: Sequence[str] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return the mean of `values - versus` with its interval.

    Pairs are resampled together, so that what both share cancels: an easy gap is easy for every model.
    """
    left, right = np.asarray(values, dtype=np.float64), np.asarray(versus, dtype=np.float64)
    if left.shape != right.shape:
        raise ValueError(f"{left.size} values cannot be paired with {right.size}")
    return mean(left - right, units, confidence=confidence, resamples=resamples, seed=seed)


def means(
    columns: Floats,
    units: Sequence[str] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> list[Interval]:
    """Return the mean of each of `columns` (rows x columns) with its interval, all from the same draws of units.

    A column is what `mean` would be asked for: a metric, or the difference of one between two models. NaN says
    that a row has no value there; the mean is over the others, and `n_values` counts them.

    Raises:
        ValueError: a column without values, or an infinite value.
    """
    has_value = ~np.isnan(columns)
    return ratios(
        np.where(has_value, columns, 0.0),
        has_value.astype(np.float64),
        units,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    )


def ratios(
    numerators: Floats,
    denominators: Floats,
    units: Sequence[str] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> list[Interval]:
    """Return sum of numerators / sum of denominators per column (both rows x columns), all from the same draws.

    Acceptance rate is accepted / shown, with a row per completion, or with a row per user that holds the user's
    sums: the interval is the same. `n_values` counts the rows whose denominator is not zero. A draw whose
    denominators add up to zero has no ratio, and is left out.

    Raises:
        ValueError: a column whose denominators add up to zero; a number that is not finite; a denominator below zero.
    """
    if numerators.shape != denominators.shape or numerators.ndim != 2:
        raise ValueError(f"{numerators.shape} numerators do not go with {denominators.shape} denominators")
    if not (np.isfinite(numerators).all() and np.isfinite(denominators).all()):
        raise ValueError("a value is null or not finite")
    if (denominators < 0).any():
        raise ValueError("a denominator is below zero")
    if not denominators.any(axis=0).all():
        raise ValueError("the mean of no values does not exist")
    above, below = _by_unit(numerators, units), _by_unit(denominators, units)
    drawn = _drawn_ratios(above, below, resamples, seed)
    centres = numerators.sum(axis=0) / denominators.sum(axis=0)
    counts = np.count_nonzero(denominators, axis=0)
    return [
        _interval(float(centre), ratio[np.isfinite(ratio)], sizes, int(count), confidence)
        for centre, ratio, sizes, count in zip(centres, drawn.T, below.T, counts, strict=True)
    ]


def _interval(centre: float, drawn: Floats, sizes: Floats, n_values: int, confidence: float) -> Interval:
    n_units = int(np.count_nonzero(sizes))
    if n_units < 2:
        return Interval(centre, None, None, n_values, n_units)
    effective = float(sizes.sum() ** 2 / (sizes**2).sum())
    tail = _expanded_tail(confidence, n_units, effective)
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(centre, float(low), float(high), n_values, n_units)


def _by_unit(columns: Floats, units: Sequence[str] | None) -> Floats:
    """Return the sums of each unit (units x columns), in the order of the units' names."""
    if units is None:
        return columns
    if len(units) != len(columns):
        raise ValueError(f"{len(units)} units were named for {len(columns)} values")
    names, member = np.unique(np.asarray(units, dtype=np.str_), return_inverse=True)
    sums = [np.bincount(member, weights=column, minlength=len(names)) for column in columns.T]
    return np.stack(sums, axis=1).astype(np.float64)


def _drawn_ratios(above: Floats, below: Floats, resamples: int, seed: int) -> Floats:
    """Return the ratio of each resample and column; NaN where a resample has no denominator."""
    ratios = np.full((resamples, above.shape[1]), np.nan)
    start = 0
    for times in _times_drawn(len(above), resamples, seed):
        part = ratios[start : start + len(times)]
        total = times @ below
        np.divide(times @ above, total, out=part, where=total > 0)
        start += len(times)
    return ratios


def _times_drawn(n: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield, for some resamples at a time, how often each of `n` units is in each of them."""
    if n * resamples <= _KEPT_DRAWS:
        yield _kept_draws(n, resamples, seed)
        return
    rng = np.random.default_rng([seed, n])
    rows = max(1, _CHUNK_DRAWS // n)
    for start in range(0, resamples, rows):
        yield _drawn(rng, min(rows, resamples - start), n)


@lru_cache(maxsize=32)
def _kept_draws(n: int, resamples: int, seed: int) -> Floats:
    return _drawn(np.random.default_rng([seed, n]), resamples, n)


def _drawn(rng: np.random.Generator, resamples: int, n: int) -> Floats:
    places = rng.integers(0, n, size=(resamples, n)) + n * np.arange(resamples)[:, None]
    return np.bincount(places.ravel(), minlength=resamples * n).reshape(resamples, n).astype(np.float64)


def _expanded_tail(confidence: float, n: int, effective: float) -> float:
    from scipy.special import stdtrit  # comes with scikit-learn

    # Two units are the fewest that have a spread: below that, t has no degree of freedom left.
    t = -float(stdtrit(max(effective, 2.0) - 1, (1 - confidence) / 2))
    return NormalDist().cdf(-((n / (n - 1)) ** 0.5) * t)
