"""Means with bootstrap intervals, of one column and of the difference between two paired columns.

The interval is Hesterberg's *expanded percentile* interval (Hesterberg 2015, "What Teachers Should Know about
the Bootstrap"): the plain percentile interval is too narrow by sqrt((n - 1) / n) and by using z for t, which
matters at the few dozen gaps of a small team's day. Its quantiles are read at
Phi(-+ sqrt(n / (n - 1)) * t(n - 1)) instead.

What is resampled is a *unit*: values that are not independent of each other (one user's, say) stay together.
The mean is over values, not over units. Which unit to use is the caller's decision; `n` above is the number
of units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

#: Draws held in memory at a time; 2**20 indices are 8 MB.
_CHUNK_DRAWS = 2**20


@dataclass(frozen=True)
class Interval:
    """A mean and where it lies. `low` and `high` are null with fewer than two units, which have no spread."""

    value: float
    low: float | None
    high: float | None
    n_values: int
    n_units: int


def mean(
    values: Sequence[float] | npt.NDArray[np.float64],
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
    if data.size == 0:
        raise ValueError("the mean of no values does not exist")
    if not np.isfinite(data).all():
        raise ValueError("a value is null or not finite")
    sums, counts = _by_unit(data, units)
    n_units = len(sums)
    centre = float(data.mean())
    if n_units < 2:
        return Interval(centre, None, None, data.size, n_units)
    draws = _resampled_means(sums, counts, resamples, np.random.default_rng(seed))
    tail = _expanded_tail(confidence, n_units)
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Interval(centre, float(low), float(high), data.size, n_units)


def paired_difference(
    values: Sequence[float] | npt.NDArray[np.float64],
    versus: Sequence[float] | npt.NDArray[np.float64],
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


def _by_unit(
    data: npt.NDArray[np.float64], units: Sequence[str] | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the sum and the count of the values of each unit, in the order of the units' names."""
    if units is None:
        return data, np.ones_like(data)
    if len(units) != data.size:
        raise ValueError(f"{len(units)} units were named for {data.size} values")
    _, member = np.unique(np.asarray(units, dtype=np.str_), return_inverse=True)
    sums = np.bincount(member, weights=data).astype(np.float64)
    return sums, np.bincount(member).astype(np.float64)


def _resampled_means(
    sums: npt.NDArray[np.float64], counts: npt.NDArray[np.float64], resamples: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    n = len(sums)
    rows = max(1, _CHUNK_DRAWS // n)
    means = np.empty(resamples)
    for start in range(0, resamples, rows):
        stop = min(start + rows, resamples)
        drawn = rng.integers(0, n, size=(stop - start, n))
        means[start:stop] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return means


def _expanded_tail(confidence: float, n: int) -> float:
    from scipy.special import stdtrit  # comes with scikit-learn

    t = -float(stdtrit(n - 1, (1 - confidence) / 2))
    return NormalDist().cdf(-((n / (n - 1)) ** 0.5) * t)
