"""The promotion gate: does today's candidate replace what serves?

What lives here: the rule and its reason in words. What does not: how the numbers come about (`compare.py`),
and the record of what serves (`champion.py`).

The rule, on all held-out gaps, against the champion (or the base model where none is compared):

1. at least `min_samples` gaps were compared;
2. the whole interval of the paired gain in edit similarity lies above zero;
3. neither guard is broken: the interval of the change in predicted AR reaches no further below zero than
   `acceptance_tolerance`, that of the change in nats per token no further above zero than `nats_tolerance`.

Everything else keeps what serves: a tie, a loss, too few gaps, no candidate. Where no user could be fitted
there is no predicted AR to guard, and the reason says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from echo_dagster.settings import Evaluation


@dataclass(frozen=True)
class Decision:
    """What was decided, why, and the numbers it rests on: `<metric>`, `<metric>_low` and `<metric>_high`."""

    decision: Literal["promoted", "kept"]
    reason: str
    numbers: dict[str, float | int | str | None] = field(default_factory=dict)


def keep(reason: str) -> Decision:
    """Return the decision to keep what serves, for a day on which there is nothing to compare."""
    return Decision("kept", reason)


def decide(evaluated: pl.DataFrame, settings: Evaluation) -> Decision:
    """Apply the rule to one day of `EVALUATED_SCHEMA`.

    Raises:
        ValueError: the day has a candidate but no difference to what serves, so the comparison is not whole.
    """
    if evaluated.filter(pl.col("role") == "candidate").is_empty():
        return keep("no candidate was trained")
    serving = "champion" if "champion" in evaluated["role"] else "base"
    differences = {
        row["metric"]: row
        for row in evaluated.filter(
            (pl.col("role") == "candidate") & (pl.col("versus") == serving) & (pl.col("slice") == "all")
        ).iter_rows(named=True)
    }
    if missing := [name for name in ("edit_similarity", "middle_nats_per_token") if name not in differences]:
        raise ValueError(f"the comparison of candidate and {serving} lacks {', '.join(missing)}")
    gain = differences["edit_similarity"]
    numbers = _numbers(serving, differences)
    if gain["n_samples"] < settings.min_samples:
        return Decision(
            "kept",
            f"{gain['n_samples']} held-out gaps were compared, a promotion needs {settings.min_samples}",
            numbers,
        )
    told = f"edit similarity {_spell(gain)} against the {serving} on {gain['n_samples']} held-out gaps"
    if gain["low"] is None:
        return Decision("kept", f"{told}: one independent unit gives no interval", numbers)
    if gain["low"] <= 0:
        verdict = "worse" if gain["high"] < 0 else "no difference that can be told from chance"
        return Decision("kept", f"{told}: {verdict}", numbers)
    if broken := _broken_guards(differences, settings):
        return Decision("kept", f"{told}, but {' and '.join(broken)}", numbers)
    acceptance = differences.get("predicted_acceptance_rate")
    guard = (
        f"predicted AR {_spell(acceptance)}"
        if acceptance is not None
        else "predicted AR not known, as no user could be fitted"
    )
    return Decision(
        "promoted", f"{told}; {guard}; nats per token {_spell(differences['middle_nats_per_token'])}", numbers
    )


def _broken_guards(differences: dict[str, dict[str, Any]], settings: Evaluation) -> list[str]:
    broken = []
    acceptance = differences.get("predicted_acceptance_rate")
    if acceptance is not None and (
        acceptance["low"] is None or acceptance["low"] < -settings.acceptance_tolerance
    ):
        broken.append(
            f"predicted AR {_spell(acceptance)} may fall by more than the "
            f"{settings.acceptance_tolerance:g} tolerated"
        )
    nats = differences["middle_nats_per_token"]
    if nats["high"] is None or nats["high"] > settings.nats_tolerance:
        broken.append(
            f"nats per token {_spell(nats)} may rise by more than the {settings.nats_tolerance:g} tolerated"
        )
    return broken


def _numbers(serving: str, differences: dict[str, dict[str, Any]]) -> dict[str, float | int | str | None]:
    numbers: dict[str, float | int | str | None] = {
        "versus": serving,
        "n_samples": differences["edit_similarity"]["n_samples"],
    }
    for metric in sorted(differences):
        row = differences[metric]
        numbers |= {metric: row["value"], f"{metric}_low": row["low"], f"{metric}_high": row["high"]}
    return numbers


def _spell(row: dict[str, Any]) -> str:
    if row["low"] is None:
        return f"{row['value']:+.3f}"
    return f"{row['value']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
