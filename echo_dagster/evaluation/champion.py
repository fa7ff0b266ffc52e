"""The record of what serves: one row a day in the table `champion`.

What lives here: reading what serves, and writing what a day decided. What does not: the rule (`gate.py`) and
putting a model behind a server.

A row of day D holds from the end of D on, so that day D's own candidate is judged against what served during
D.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from echo_dagster.evaluation import candidate as candidates
from echo_dagster.evaluation import gate
from echo_dagster.evaluation.candidate import NoCandidate
from echo_dagster.evaluation.gate import Decision
from echo_dagster.evaluation.schema import CHAMPION_SCHEMA
from echo_dagster.lake import Lake
from echo_dagster.models import ResolvedModel
from echo_dagster.settings import Settings


class StaleEvaluation(RuntimeError):
    """The comparison on record is of other models than those that the decision is about."""


class ChampionMissing(FileNotFoundError):
    """The model that serves is on record but not on disk."""


@dataclass(frozen=True)
class Champion:
    """What serves. `since` is the day whose decision promoted it; null for the base model."""

    path: Path
    digest: str
    since: date | None
    reason: str


def current(lake: Lake, before: date, base: ResolvedModel) -> Champion:
    """Return what serves on the day `before`: the model last promoted on an earlier day, else the base model.

    Raises:
        ChampionMissing: the promoted model's directory is gone.
    """
    promoted = (
        lake.read("champion")
        .filter((pl.col("day") < before) & (pl.col("decision") == "promoted"))
        .sort("day")
        .collect()
        if lake.exists("champion")
        else pl.DataFrame()
    )
    if promoted.is_empty():
        return Champion(base.path, base.digest, None, "the base model: nothing was promoted yet")
    row = promoted.row(-1, named=True)
    champion = Champion(Path(row["path"]), row["model_digest"], row["day"], row["reason"])
    if not champion.path.is_dir():
        raise ChampionMissing(
            f"{champion.path} was promoted on {champion.since} and is gone; restore it, or materialize "
            f"`checkpoint` and `champion` of {champion.since} again"
        )
    return champion


def decide_day(lake: Lake, day: date, base: ResolvedModel, settings: Settings) -> dict[str, Any]:
    """Apply the gate to what the day's comparison wrote, replace the day's row of `champion` and return it.

    Raises:
        StaleEvaluation: a model is another one than when they were compared.
        TableMissing: `evaluated_model` was never written.
    """
    evaluated = lake.read("evaluated_model", [day]).collect()
    candidate = candidates.of_day(lake, day, base)
    serving = current(lake, day, base)
    if isinstance(candidate, NoCandidate):
        decision = gate.keep(candidate.reason)
    elif evaluated.is_empty():
        decision = gate.keep(f"nothing was compared on {day}: no gap of it is held out")
    else:
        asked = {"base": base.digest, "champion": serving.digest, "candidate": candidate.digest}
        _check_fresh(evaluated, asked, day)
        decision = gate.decide(evaluated, settings.evaluation)
    return record(
        lake,
        day,
        decision,
        serving=serving,
        candidate=None if isinstance(candidate, NoCandidate) else candidate,
    ).row(0, named=True)


def record(
    lake: Lake, day: date, decision: Decision, *, serving: Champion, candidate: ResolvedModel | None
) -> pl.DataFrame:
    """Write and return the one row of `day`: the candidate where it was promoted, else what served already.

    Raises:
        ValueError: a promotion without a candidate.
    """
    if decision.decision == "promoted":
        if candidate is None:
            raise ValueError("a promotion needs a candidate")
        digest, path = candidate.digest, candidate.path
    else:
        digest, path = serving.digest, serving.path
    row = {
        "day": day,
        "model_digest": digest,
        "path": str(path),
        "decision": decision.decision,
        "reason": decision.reason,
        "candidate_digest": None if candidate is None else candidate.digest,
        "decided_at": datetime.combine(day + timedelta(days=1), time(), UTC),
    }
    rows = pl.DataFrame([row], schema={"day": pl.Date(), **CHAMPION_SCHEMA})
    lake.replace("champion", rows, [day])
    return rows


def _check_fresh(evaluated: pl.DataFrame, asked: dict[str, str], day: date) -> None:
    compared = dict(evaluated.select("role", "model_digest").unique().iter_rows())
    stale = [
        f"the {role} is {digest}, compared was {compared.get(role)}"
        for role, digest in asked.items()
        if compared.get(role) != digest
    ]
    if stale:
        raise StaleEvaluation(f"{'; '.join(stale)}; materialize `evaluated_model` of {day} again")
