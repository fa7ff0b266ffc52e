"""The promotion gate: does today's candidate replace what serves?

What lives here: the rule and its reason in words. What does not: how the numbers come about (`compare.py`), the
record of what serves (`champion.py`), and people who decide otherwise (`overrides.py`).

The rule, candidate against champion (or against the base model where none is compared):

1. at least `min_samples` gaps were compared;
2. on all of them, the whole interval of the gain in predicted retained characters lies above zero, and so does that
   of the gain in predicted AR;
3. the interval of the change in nats per token reaches no further above zero than `nats_tolerance`;
4. no language loses more than `language_allowance` in predicted retained characters (of what the champion retains)
   or in edit similarity, where the loss can be told from chance.

Where the calibrated user is not trusted there is nothing predicted to gate on: in 2 and 4 edit similarity stands
alone. Everything else keeps what serves: a tie, a loss, too few gaps, no candidate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import polars as pl

from echo_dagster.settings import Evaluation

#: What must rise: where the user is trusted, and where not.
PREDICTED = ("predicted_retained_chars", "predicted_acceptance_rate")
FALLBACK = ("edit_similarity",)

#: What no language may lose: retained characters as a share of the champion's, edit similarity as it is.
GUARDED = ("predicted_retained_chars", "edit_similarity")
_RELATIVE = "predicted_retained_chars"

_WORDS = {
    "predicted_retained_chars": "predicted retained characters",
    "predicted_acceptance_rate": "predicted AR",
    "edit_similarity": "edit similarity",
    "middle_nats_per_token": "nats per token",
}

Row = dict[str, Any]


@dataclass(frozen=True)
class Demand:
    """One thing that a promotion asks for: the difference, candidate minus champion, and whether it is good enough.

    `low` and `high` are the interval that was judged, null where there is none. `failure` says in words what is
    wrong; null where nothing is.
    """

    metric: str
    slice: str
    value: float
    low: float | None
    high: float | None
    n_samples: int
    needed: str
    failure: str | None = None


@dataclass(frozen=True)
class Decision:
    """What was decided, by whom, why, and the demands that it rests on."""

    decision: Literal["promoted", "kept", "rolled_back"]
    reason: str
    demands: tuple[Demand, ...] = ()
    decided_by: str = "gate"


def keep(reason: str) -> Decision:
    """Return the decision to keep what serves, for a day on which there is nothing to compare."""
    return Decision("kept", reason)


def decide(evaluated: pl.DataFrame, settings: Evaluation, *, distrust: str | None) -> Decision:
    """Apply the rule to one day of `EVALUATED_SCHEMA`.

    `distrust` says why the calibrated user cannot be gated on; null trusts it.

    Raises:
        ValueError: the day has a candidate but not every difference to what serves, so the comparison is not whole.
    """
    if evaluated.filter(pl.col("role") == "candidate").is_empty():
        return keep("no candidate was trained")
    serving = "champion" if "champion" in evaluated["role"] else "base"
    differences = _rows(evaluated, "candidate", serving)
    rising, guarded = (PREDICTED, GUARDED) if distrust is None else (FALLBACK, FALLBACK)
    if missing := [name for name in (*rising, "middle_nats_per_token") if ("all", name) not in differences]:
        raise ValueError(f"the comparison of candidate and {serving} lacks {', '.join(missing)}")
    n_samples = differences["all", rising[0]]["n_samples"]
    demands = (
        *(_rises(differences["all", metric], serving) for metric in rising),
        _nats(differences["all", "middle_nats_per_token"], settings),
        *_languages(differences, _rows(evaluated, serving, None), settings, guarded),
    )
    told = [] if distrust is None else [f"edit similarity decides, as the user is not trusted: {distrust}"]
    if n_samples < settings.min_samples:
        few = f"{n_samples} held-out gaps were compared, a promotion needs {settings.min_samples}"
        return Decision("kept", "; ".join([few, *told]), demands)
    if failures := [demand.failure for demand in demands if demand.failure is not None]:
        return Decision("kept", "; ".join([*failures, *told]), demands)
    gains = [f"{_WORDS[one.metric]} {_spell(one)}" for one in demands if one.slice == "all"]
    gained = f"against the {serving} on {n_samples} held-out gaps: {', '.join(gains)}"
    return Decision("promoted", "; ".join([gained, _guarded(demands, n_samples), *told]), demands)


def _rows(evaluated: pl.DataFrame, role: str, versus: str | None) -> dict[tuple[str, str], Row]:
    """Return the rows of a role, or of a difference, by slice and metric."""
    rows = evaluated.filter(pl.col("role") == role, pl.col("versus").eq_missing(pl.lit(versus)))
    return {(row["slice"], row["metric"]): row for row in rows.iter_rows(named=True)}


def _rises(row: Row, serving: str) -> Demand:
    """Demand that a gain be above zero beyond chance."""
    demand = _demand(row, "lower bound above 0")
    told = (
        f"{_WORDS[row['metric']]} {_spell(demand)} against the {serving} on {row['n_samples']} held-out gaps"
    )
    if demand.low is None or demand.high is None:
        return _failed(demand, f"{told}: one independent unit gives no interval")
    if demand.high < 0:
        return _failed(demand, f"{told}: worse")
    if demand.low <= 0:
        short = "exactly zero" if demand.low == 0 else f"{-demand.low:.3f} below zero"
        return _failed(
            demand, f"{told}: the lower bound is {short}, no difference that can be told from chance"
        )
    return demand


def _nats(row: Row, settings: Evaluation) -> Demand:
    """Demand that the likelihood of C_N be no worse than tolerated."""
    limit = settings.nats_tolerance
    demand = _demand(row, f"upper bound at most {limit:g}")
    if demand.high is None or demand.high > limit:
        told = f"nats per token {_spell(demand)} on {row['n_samples']} held-out gaps"
        return _failed(demand, f"{told} may rise by more than the {limit:g} tolerated")
    return demand


def _languages(
    differences: Mapping[tuple[str, str], Row],
    own: Mapping[tuple[str, str], Row],
    settings: Evaluation,
    metrics: tuple[str, ...],
) -> Iterator[Demand]:
    """Demand of each language that it lose no more than allowed.

    A loss counts where its size is beyond the allowance and its interval beyond zero. Size alone would refuse good
    models: of twenty gaps chance often takes more than the allowance. An interval that must itself lie beyond the
    allowance would let most real losses of a small language pass. Many languages are many looks, so their intervals
    are widened until all of them together refuse an equal model as rarely as 1 - `confidence`.
    """
    looks = [
        (slice_, metric)
        for slice_, metric in sorted(differences)
        if slice_.startswith("language=") and metric in metrics
    ]
    limit = settings.language_allowance
    for slice_, metric in looks:
        row = differences[slice_, metric]
        unit, needed = 1.0, f"no loss beyond {limit:g}"
        if metric == _RELATIVE:
            unit = own[slice_, metric]["value"]
            needed = f"no loss beyond {limit:g} of the champion's"
            if unit <= 0:
                continue  # who retains nothing has nothing to lose
        demand = _demand(_widened(row, len(looks), settings.confidence, unit), needed)
        if demand.value < -limit and demand.high is not None and demand.high < 0:
            language, share = (
                slice_.removeprefix("language="),
                " of what it was" if metric == _RELATIVE else "",
            )
            told = f"{language} loses {-demand.value:.3f}{share} in {_WORDS[metric]} {_spell(demand)}"
            demand = _failed(
                demand, f"{told} on {row['n_samples']} gaps, more than the {limit:g} that a language may lose"
            )
        yield demand


def _widened(row: Row, looks: int, confidence: float, unit: float) -> Row:
    """Return a difference in `unit`s, its interval such that one of `looks` equal models' intervals lies below zero
    with a chance of 1 - `confidence`, by Bonferroni's inequality and the normal distribution. Two looks need no more
    than the interval as it is: its two tails are the same chance.
    """
    normal = NormalDist()
    wider = normal.inv_cdf(1 - (1 - confidence) / looks) / normal.inv_cdf((1 + confidence) / 2)
    value = row["value"]
    bounds = {
        name: None if row[name] is None else (value + (row[name] - value) * wider) / unit
        for name in ("low", "high")
    }
    return {**row, "value": value / unit, **bounds}


def _guarded(demands: tuple[Demand, ...], n_samples: int) -> str:
    """Say which languages were looked at, and how many gaps are in none of them."""
    sizes = {
        one.slice: one.n_samples
        for one in demands
        if one.slice.startswith("language=") and one.high is not None
    }
    rest = n_samples - sum(sizes.values())
    told = (
        f"{len(sizes)} language{'' if len(sizes) == 1 else 's'} guarded" if sizes else "no language guarded"
    )
    return told if rest == 0 else f"{told}, {rest} gaps in languages too small to guard"


def _demand(row: Row, needed: str) -> Demand:
    return Demand(
        row["metric"], row["slice"], row["value"], row["low"], row["high"], row["n_samples"], needed
    )


def _failed(demand: Demand, failure: str) -> Demand:
    return Demand(**{**vars(demand), "failure": failure})


def _spell(demand: Demand) -> str:
    if demand.low is None or demand.high is None:
        return f"{demand.value:+.3f}"
    return f"{demand.value:+.3f} [{demand.low:+.3f}, {demand.high:+.3f}]"
