"""The guard of languages: how often it refuses a model that is equal, and how often one that lost a language.

A day is simulated gap by gap: on most gaps both models write the same, on the others they differ in edit similarity by
chance. One language, the first, may lose. Every rule judges the same days; the last one is the gate's own. By hand:

    python -m benchmarks.gate
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import polars as pl
from rich.console import Console
from rich.table import Table

from echo_dagster.evaluation import bootstrap, gate
from echo_dagster.evaluation.schema import EVALUATED_SCHEMA
from echo_dagster.settings import Evaluation

#: Of the gaps, those that both models answer alike; and by how much edit similarity differs on the others.
SAME, SPREAD = 0.6, 0.45
SIZES = (20, 50, 200)
LANGUAGES = (1, 5, 10)
LOSSES = (0.0, 0.1, 0.2, 0.4)

Judge = Callable[[list[bootstrap.Interval], Evaluation], bool]


def by_size(found: list[bootstrap.Interval], settings: Evaluation) -> bool:
    """Refuse where the loss is larger than the allowance, chance or not."""
    return any(one.value < -settings.language_allowance for one in found)


def by_interval(found: list[bootstrap.Interval], settings: Evaluation) -> bool:
    """Refuse where the whole interval lies beyond the allowance."""
    return any(one.high is not None and one.high < -settings.language_allowance for one in found)


def by_both(found: list[bootstrap.Interval], settings: Evaluation) -> bool:
    """Refuse where the loss is larger than the allowance and its interval below zero, however many languages."""
    return any(
        one.value < -settings.language_allowance and one.high is not None and one.high < 0 for one in found
    )


def by_the_gate(found: list[bootstrap.Interval], settings: Evaluation) -> bool:
    """Refuse as the gate does: as `by_both`, with intervals that are wider the more languages there are."""
    rows = [
        ("candidate", "base", metric, name, one.value, one.low, one.high, one.n_values, "candidate")
        for name, metric, one in _everything(found)
    ]
    evaluated = pl.DataFrame(rows, schema=EVALUATED_SCHEMA, orient="row")
    decision = gate.decide(evaluated, settings, distrust="edit similarity is all there is here")
    return any(one.failure is not None and one.slice != "all" for one in decision.demands)


RULES: dict[str, Judge] = {
    "size": by_size,
    "interval beyond it": by_interval,
    "size, and chance excluded": by_both,
    "the gate: shared by languages": by_the_gate,
}


def measure(days: int, seed: int = 17) -> Iterator[tuple[int, int, float, dict[str, float]]]:
    """Yield languages, gaps of each, the loss of the first, and the share of days that each rule refuses."""
    rng = np.random.default_rng(seed)
    settings = Evaluation(bootstrap_samples=400)
    for languages in LANGUAGES:
        for size in SIZES:
            for loss in LOSSES:
                refused = dict.fromkeys(RULES, 0)
                for day in range(days):
                    losses = [loss] + [0.0] * (languages - 1)
                    found = [
                        bootstrap.mean(_differences(rng, size, one), resamples=400, seed=day)
                        for one in losses
                    ]
                    for name, judge in RULES.items():
                        refused[name] += judge(found, settings)
                yield languages, size, loss, {name: count / days for name, count in refused.items()}


def _differences(rng: np.random.Generator, size: int, loss: float) -> npt.NDArray[np.float64]:
    differs = rng.random(size) >= SAME
    return np.where(differs, rng.normal(-loss / (1 - SAME), SPREAD, size), 0.0)


def _everything(found: list[bootstrap.Interval]) -> Iterator[tuple[str, str, bootstrap.Interval]]:
    """Yield slice, metric and interval of a whole comparison: what the languages do, and a gain over all gaps."""
    for number, one in enumerate(found):
        yield f"language={number}", "edit_similarity", one
    gain = bootstrap.Interval(0.1, 0.05, 0.15, sum(one.n_values for one in found), 100)
    yield "all", "edit_similarity", gain
    yield "all", "middle_nats_per_token", bootstrap.Interval(-0.1, -0.2, 0.0, gain.n_values, 100)


def table(days: int) -> Table:
    """Return the shares of `days` simulated days that each rule refuses, for people."""
    shown = Table("languages", "gaps of each", "loss of one", *RULES, title="Days refused for a language")
    for languages, size, loss, refused in measure(days):
        shown.add_row(
            str(languages), str(size), f"{loss:g}", *(f"{100 * share:.1f} %" for share in refused.values())
        )
    return shown


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=500, help="simulated days in each row")
    Console(width=140).print(table(parser.parse_args().days))


if __name__ == "__main__":
    main()
