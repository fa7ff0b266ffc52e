"""A line through quality over log2(samples), and what it says in words.

What does not live here: the interval itself (`evaluation/bootstrap.py`).

The slope of a least-squares line is linear in what it is drawn through: slope = sum_k w_k y_k with
w_k = (x_k - mean x) / sum_j (x_j - mean x)^2. So the slope through the means over gaps is the mean of the slopes
through each gap's own values, and its interval is that of a mean: gaps are resampled with all of their answers, as in
every paired comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from echo_dagster.evaluation import bootstrap
from echo_dagster.evaluation.bootstrap import Interval
from echo_dagster.evaluation.summary import LOWER_IS_BETTER


@dataclass(frozen=True)
class Line:
    """quality = at_one + per_doubling.value * log2(samples); and the gain of the last share alone, per doubling."""

    per_doubling: Interval
    at_one: float
    last_doubling: Interval


def fit(
    n_samples: Sequence[int],
    values: npt.NDArray[np.float64],
    units: Sequence[str] | None = None,
    **options: Any,
) -> Line:
    """Fit a line to `values`.

    Args:
        n_samples: how many samples each model was trained on, rising.
        values: a metric, [gaps, models].
        units: per gap, the name of what is resampled with it; by default each gap stands alone.
        options: of `bootstrap.mean`.

    Raises:
        ValueError: fewer than two numbers of samples, numbers that do not rise, or not one column for each.
    """
    if values.ndim != 2 or values.shape[1] != len(n_samples):
        raise ValueError(f"values of shape {values.shape} are not those of {len(n_samples)} models")
    if len(n_samples) < 2 or (np.diff(n_samples) <= 0).any() or n_samples[0] < 1:
        raise ValueError(f"a line needs two or more rising numbers of samples, not {list(n_samples)}")
    x = np.log2(np.asarray(n_samples, dtype=np.float64))
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    # The weights sum to zero, so any value may be taken off. Without the first, a gap where nothing changed gives 0 and
    # no rounding error, which would move an interval that begins at zero to one side of it.
    slopes = ((values - values[:, :1]) * weights).sum(axis=1)
    slope = bootstrap.mean(slopes, units, **options)
    last = bootstrap.paired_difference(
        values[:, -1] / (x[-1] - x[-2]), values[:, -2] / (x[-1] - x[-2]), units, **options
    )
    return Line(slope, float(values.mean() - slope.value * x.mean()), last)


def in_words(metric: str, line: Line, n_shares: int) -> str:
    """Return whether doubling the samples helped, on average and from the last share but one to the last."""
    if line.per_doubling.low is None:
        return "one independent unit gives no interval"
    trend, last = _effect(metric, line.per_doubling), _effect(metric, line.last_doubling)
    said = {
        "helped": "doubling the samples helped",
        "hurt": "doubling the samples hurt",
        None: "these gaps cannot tell whether doubling the samples helps",
    }[trend]
    if n_shares == 2:  # the line goes through both
        return said
    if trend is None:
        return said if last is None else f"{said} over all shares, but the last doubling {last}"
    if last is None:
        return f"{said} over all shares; whether the last doubling still did, these gaps cannot tell"
    return f"{said}, and the last doubling still did" if last == trend else f"{said}, but the last one {last}"


def _effect(metric: str, gain: Interval) -> str | None:
    if gain.low is None or gain.high is None or gain.low <= 0 <= gain.high:
        return None
    return "helped" if (gain.value > 0) != (metric in LOWER_IS_BETTER) else "hurt"
