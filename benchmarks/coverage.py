"""How often do our intervals cover the truth? Simulated experiments whose truth is known.

    python -m benchmarks.coverage [--experiments 500] [--resamples 2000]

An experiment is a day's comparison of two models on the gaps of some users, or a day's log of what users did. Users
differ: in how many gaps they have (a few have most of them), in how hard their code is, and in what the new model is
worth to them. Gaps of one region are alike as well. Metrics are as skewed as ours: exact match is 0 or 1 and mostly
equal, edit similarity ends at 1, retained characters have a long tail, and so have nats per token.

Three questions:

- *the next user*: users are resampled, and the truth is that of all users there could be;
- *these users*: with fewer than `summary.MIN_USERS`, regions are, and the truth is that of the users who are there;
- *the wrong question*: the same intervals by region, asked about all users. It shows what more users are for.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from echo_dagster.evaluation import bootstrap
from echo_dagster.evaluation.bootstrap import Floats, Interval

OFFLINE = ("exact_match", "edit_similarity", "middle_nats_per_token", "predicted_retained_chars")
ONLINE = ("acceptance_rate", "weighted_acceptance_rate")
GAPS_PER_USER = 20
_POPULATION = 100_000
_GAPS_FOR_TRUTH = 1_500


@dataclass(frozen=True)
class Users:
    """Who takes part, a value for each user."""

    size: Floats  # gaps a day, on average
    skill: Floats  # how easy their code is
    gain: Floats  # what the new model is worth to them
    habit: Floats  # how readily they accept


@dataclass(frozen=True)
class Experiment:
    """What was seen: rows x metrics, of which the ratio of sums is estimated, and whom and which region a row is of."""

    numerators: Floats
    denominators: Floats
    users: npt.NDArray[np.int64]
    regions: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Coverage:
    """How many intervals held the truth, per metric."""

    question: str
    n_users: int
    covered: Mapping[str, int]
    n_experiments: int

    def band(self, metric: str) -> tuple[float, float]:
        """Return the 95 % interval (Wilson) of the share that held it."""
        from scipy.stats import binomtest

        found = binomtest(self.covered[metric], self.n_experiments).proportion_ci(method="wilson")
        return float(found.low), float(found.high)


def draw_users(n: int, rng: np.random.Generator) -> Users:
    """Return `n` users; what they write is lognormal around `GAPS_PER_USER`."""
    return Users(
        size=rng.lognormal(np.log(GAPS_PER_USER) - 0.5 * 0.8**2, 0.8, n),
        skill=rng.normal(0, 0.8, n),
        gain=rng.normal(0.25, 0.35, n),
        habit=rng.normal(-1.1, 0.7, n),
    )


def compared(users: Users, rng: np.random.Generator) -> Experiment:
    """Return the paired differences of two models on one day's gaps, in the order of `OFFLINE`."""
    of_user, of_region = _rows(users, rng)
    n = len(of_user)
    n_regions = of_region.max() + 1
    ease = users.skill[of_user] + rng.normal(0, 1, n_regions)[of_region] + rng.normal(0, 1, n)
    gain = users.gain[of_user] + rng.normal(0, 0.3, n_regions)[of_region]
    old, new = ease + rng.normal(0, 0.7, n), ease + gain + rng.normal(0, 0.7, n)
    is_exact = np.stack([old, new]) > 1.8
    similarity = np.where(is_exact, 1.0, np.clip(1.1 / (1 + np.exp(-np.stack([old, new]))), 0, 1))
    length = rng.lognormal(3.2, 1.0, n)
    kept = length * similarity * (np.stack([old, new]) > 0.3)
    nats = -0.2 * gain + 0.2 * rng.standard_t(4, n)
    differences = [
        np.subtract(is_exact[1], is_exact[0], dtype=float),
        similarity[1] - similarity[0],
        nats,
        kept[1] - kept[0],
    ]
    columns = np.stack(differences, axis=1)
    return Experiment(columns, np.ones_like(columns), of_user, of_region)


def logged(users: Users, rng: np.random.Generator) -> Experiment:
    """Return one day's log: accepted of those shown, and their characters, in the order of `ONLINE`."""
    of_user, of_region = _rows(users, rng)
    n = len(of_user)
    is_accepted = users.habit[of_user] + rng.logistic(size=n) > 0
    length = rng.lognormal(3.2, 1.0, n)
    return Experiment(
        np.stack([is_accepted, is_accepted * length], axis=1).astype(float),
        np.stack([np.ones(n), length], axis=1),
        of_user,
        of_region,
    )


def _rows(users: Users, rng: np.random.Generator) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the user and the region of each gap. A user has at least one; a region has one and a half on average."""
    sizes = np.maximum(1, rng.poisson(users.size))
    of_user = np.repeat(np.arange(len(sizes)), sizes)
    begins = rng.random(len(of_user)) < 2 / 3
    begins |= np.diff(of_user, prepend=-1) > 0  # no region is of two users
    return of_user, begins.cumsum() - 1


def _ratio(seen: Experiment) -> Floats:
    ratio: Floats = seen.numerators.sum(axis=0) / seen.denominators.sum(axis=0)
    return ratio


def intervals(seen: Experiment, by: npt.NDArray[np.int64], *, resamples: int, seed: int) -> list[Interval]:
    """Return the interval of each metric; `by` is the unit of each row."""
    return bootstrap.ratios(
        seen.numerators, seen.denominators, [f"{unit:06}" for unit in by], resamples=resamples, seed=seed
    )


def next_user(
    make: Callable[[Users, np.random.Generator], Experiment],
    metrics: Sequence[str],
    n_users: int,
    *,
    experiments: int,
    resamples: int,
    by_region: bool = False,
    seed: int = 17,
) -> Coverage:
    """Return how often the interval holds what is true of all users there could be."""
    rng = np.random.default_rng(seed)
    truth = _ratio(make(draw_users(_POPULATION, rng), rng))
    covered = np.zeros(len(metrics), dtype=int)
    for number in range(experiments):
        seen = make(draw_users(n_users, rng), rng)
        found = intervals(
            seen, seen.regions if by_region else seen.users, resamples=resamples, seed=seed + number
        )
        covered += _holds(found, truth)
    question = "the wrong question" if by_region else "the next user"
    return Coverage(question, n_users, dict(zip(metrics, covered.tolist(), strict=True)), experiments)


def these_users(n_users: int, *, experiments: int, resamples: int, seed: int = 17) -> Coverage:
    """Return how often the interval by regions holds what is true of the users who are there."""
    rng = np.random.default_rng(seed)
    covered = np.zeros(len(OFFLINE), dtype=int)
    for number in range(experiments):
        users = draw_users(n_users, rng)
        many = Users(users.size * _GAPS_FOR_TRUTH / GAPS_PER_USER, users.skill, users.gain, users.habit)
        truth = _ratio(compared(many, rng))
        seen = compared(users, rng)
        covered += _holds(intervals(seen, seen.regions, resamples=resamples, seed=seed + number), truth)
    return Coverage("these users", n_users, dict(zip(OFFLINE, covered.tolist(), strict=True)), experiments)


def _holds(found: Sequence[Interval], truth: Floats) -> npt.NDArray[np.bool_]:
    return np.array(
        [
            one.low is not None and one.high is not None and one.low <= true <= one.high
            for one, true in zip(found, truth, strict=True)
        ]
    )


def measure(experiments: int, resamples: int) -> list[Coverage]:
    """Return the coverage of every setting."""
    asked: dict[str, Any] = {"experiments": experiments, "resamples": resamples}
    told = [next_user(compared, OFFLINE, n, **asked) for n in (5, 8, 10, 15, 30, 100)]
    told += [next_user(logged, ONLINE, n, **asked) for n in (5, 8, 10, 15, 30, 100)]
    told += [these_users(n, **asked) for n in (2, 5, 7)]
    told += [next_user(compared, OFFLINE, n, **asked, by_region=True) for n in (5, 7)]
    return told


def table(told: Sequence[Coverage]) -> Table:
    """Return shares of intervals that held the truth, each with an interval of its own, for people."""
    shown = Table(title=f"Intervals of 95 % that hold the truth, of {told[0].n_experiments} experiments each")
    for column in ("truth of", "users", "metric", "held", "of which the interval"):
        shown.add_column(column)
    for one in told:
        for metric, covered in one.covered.items():
            low, high = one.band(metric)
            share = f"{covered / one.n_experiments:.1%}"
            shown.add_row(one.question, str(one.n_users), metric, share, f"{low:.1%} to {high:.1%}")
    return shown


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--experiments", type=int, default=500)
    parser.add_argument("--resamples", type=int, default=2000)
    asked = parser.parse_args()
    Console(width=110).print(table(measure(asked.experiments, asked.resamples)))


if __name__ == "__main__":
    main()
