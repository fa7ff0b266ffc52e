"""The record of what serves: one row a day in the table `champion`.

What lives here: reading what serves, and writing what a day decided. What does not: the rule (`gate.py`), what people
decide (`overrides.py`), and showing the model to a server (`serving.py`).

A row of day D holds from the end of D on, so that day D's own candidate is judged against what served during D. What
serves is what the last row says: a row that is written for an older day changes nothing after it until the later
days are decided again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from filelock import FileLock

from echo_dagster.evaluation import candidate as candidates
from echo_dagster.evaluation import gate, overrides
from echo_dagster.evaluation.candidate import NoCandidate
from echo_dagster.evaluation.gate import Decision
from echo_dagster.evaluation.overrides import Override, OverrideRefused
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
    """What serves. `since` is the day whose decision brought it; null for the base model."""

    path: Path
    digest: str
    since: date | None
    reason: str


def current(lake: Lake, before: date, base: ResolvedModel) -> Champion:
    """Return what serves on the day `before`: what the last row of an earlier day says, else the base model.

    Raises:
        ChampionMissing: the model's directory is gone.
    """
    champion = _on_record(lake, before, base)
    if not champion.path.is_dir():
        raise ChampionMissing(
            f"{champion.path} serves since {champion.since} and is gone; restore it, or roll back to another model "
            "(`echo-dagster champion show` lists them)"
        )
    return champion


def last_row(lake: Lake) -> dict[str, Any] | None:
    """Return the row of the last day that was decided; null before any was."""
    rows = _rows(lake)
    return None if rows.is_empty() else rows.row(-1, named=True)


def decide_day(lake: Lake, day: date, base: ResolvedModel, settings: Settings) -> dict[str, Any]:
    """Replace the day's row of `champion` and return it: what a person decided for the day, else what the gate does.

    Raises:
        StaleEvaluation: a model is another one than when they were compared.
        TableMissing: `evaluated_model` was never written.
    """
    with deciding(lake):
        if (by_hand := overrides.of_day(lake, day)) is not None:
            return _record_override(lake, day, by_hand, base)
        evaluated = lake.read("evaluated_model", [day]).collect()
        serving = current(lake, day, base)
        candidate = candidates.of_day(lake, day, base)
        model = None if isinstance(candidate, NoCandidate) else candidate
        if isinstance(candidate, NoCandidate):
            decision = gate.keep(candidate.reason)
        elif evaluated.is_empty():
            decision = gate.keep(f"nothing was compared on {day}: no gap of it is held out")
        else:
            asked = {"base": base.digest, "champion": serving.digest, "candidate": candidate.digest}
            _check_fresh(evaluated, asked, day)
            decision = gate.decide(evaluated, settings.evaluation, distrust=_distrust(lake, day))
        held = overrides.hold_on(lake, day)
        if held is not None and decision.decision == "promoted":
            why = f"{held.in_words}; the gate would have promoted: {decision.reason}"
            decision = replace(decision, decision="kept", reason=why, decided_by=held.decided_by)
        return record(lake, day, decision, serving=serving, candidate=model).row(0, named=True)


def override(
    lake: Lake,
    action: overrides.Action,
    asked: str | None,
    base: ResolvedModel,
    *,
    by: str,
    reason: str,
    at: datetime,
) -> dict[str, Any]:
    """Record what a person decides, and return the last row of `champion`, rewritten where another model serves now.

    `promote`: the candidate of the day `asked`, by default the last one decided. `keep`: what served before the last
    decision. `rollback`: to `asked`, which is a former champion's digest, or a day, for what served after it, or
    `base`. `hold`: nothing is promoted from now on, until `lift`.

    Raises:
        OverrideRefused: no day was decided yet, or it cannot be done. Nothing is recorded.
    """
    with deciding(lake):
        rows = _rows(lake)
        if rows.is_empty():
            raise OverrideRefused("no day was decided yet: materialize `champion` first")
        row = rows.row(-1, named=True)
        target = (row["model_digest"], Path(row["path"]))
        if action == "keep":
            before = _on_record(lake, row["day"], base)
            target = (before.digest, before.path)
        elif action in ("promote", "rollback"):
            target = overrides.target(lake, action, asked, rows, base)
        overrides.check(lake, action, target, row["model_digest"], base)
        is_base = target[0] == base.digest or (action == "hold" and row["since"] is None)
        told = Override(
            action=action,
            decided_by=by,
            reason=reason,
            decided_at=at,
            model_digest=None if action == "lift" else target[0],
            path=None if is_base or action == "lift" else str(target[1]),
            overruled=f"{row['decision']}: {row['reason']}",
        )
        overrides.append(lake, row["day"], told)
        return row if action in ("hold", "lift") else _record_override(lake, row["day"], told, base)


def record(
    lake: Lake, day: date, decision: Decision, *, serving: Champion, candidate: ResolvedModel | None
) -> pl.DataFrame:
    """Write and return the one row of `day`: the candidate where it was promoted, else what served already.

    Raises:
        ValueError: a promotion without a candidate.
    """
    decided_at = datetime.combine(day + timedelta(days=1), time(), UTC)
    champion = serving
    if decision.decision == "promoted":
        if candidate is None:
            raise ValueError("a promotion needs a candidate")
        champion = Champion(candidate.path, candidate.digest, day, decision.reason)
    return _write(lake, day, decision, champion, serving.digest, candidate, decided_at)


@contextmanager
def deciding(lake: Lake) -> Iterator[None]:
    """Hold off others who decide, or show a server what was decided: a nightly run and a person must not cross."""
    lake.root.mkdir(parents=True, exist_ok=True)
    with FileLock(lake.root / ".champion.lock"):
        yield


def _rows(lake: Lake) -> pl.DataFrame:
    """Return all rows, the last day's at the end.

    Rows that an earlier version wrote do not say who decided, nor since when a model serves: the gate, and since it
    was last promoted.
    """
    schema = {"day": pl.Date(), **CHAMPION_SCHEMA}
    if not lake.exists("champion"):
        return pl.DataFrame(schema=schema)
    rows = lake.read("champion").sort("day").collect()
    lacking = [pl.lit(None, kind).alias(name) for name, kind in schema.items() if name not in rows.columns]
    promoted = pl.when(pl.col("decision") == "promoted").then("day").forward_fill()
    is_old = pl.col("decided_by").is_null()
    return (
        rows.with_columns(lacking)
        .select(schema.keys())
        .with_columns(
            since=pl.when(is_old).then(promoted).otherwise("since"),
            decided_by=pl.col("decided_by").fill_null("gate"),
            demands=pl.col("demands").fill_null("[]"),
        )
    )


def _on_record(lake: Lake, before: date, base: ResolvedModel) -> Champion:
    rows = _rows(lake).filter(pl.col("day") < before)
    if rows.is_empty():
        return Champion(base.path, base.digest, None, "the base model: nothing was promoted yet")
    row = rows.row(-1, named=True)
    brought = rows.filter(pl.col("decision") != "kept", pl.col("model_digest") == row["model_digest"])
    reason = row["reason"] if brought.is_empty() else brought.item(-1, "reason")
    if row["since"] is None:  # the base model is the one that is configured, whichever it was then
        return Champion(base.path, base.digest, None, reason)
    return Champion(Path(row["path"]), row["model_digest"], row["since"], reason)


def _record_override(lake: Lake, day: date, told: Override, base: ResolvedModel) -> dict[str, Any]:
    """Write what a person decided as the row of `day`. The gate is not asked: it works where that would fail, too."""
    serving, candidate = _on_record(lake, day, base), candidates.of_day(lake, day, base)
    if told.path is None:
        champion = Champion(base.path, base.digest, None, told.in_words)
    else:
        since = serving.since if serving.digest == told.model_digest else day
        champion = Champion(Path(told.path), str(told.model_digest), since, told.in_words)
    decision = Decision(told.decision, told.in_words, decided_by=told.decided_by)
    model = None if isinstance(candidate, NoCandidate) else candidate
    rows = _write(lake, day, decision, champion, serving.digest, model, told.decided_at)
    return rows.row(0, named=True)


def _write(
    lake: Lake,
    day: date,
    decision: Decision,
    champion: Champion,
    previous_digest: str,
    candidate: ResolvedModel | None,
    decided_at: datetime,
) -> pl.DataFrame:
    row = {
        "day": day,
        "model_digest": champion.digest,
        "path": str(champion.path),
        "decision": decision.decision,
        "reason": decision.reason,
        "candidate_digest": None if candidate is None else candidate.digest,
        "decided_at": decided_at,
        "decided_by": decision.decided_by,
        "since": champion.since,
        "previous_digest": previous_digest,
        "demands": json.dumps([vars(demand) for demand in decision.demands]),
    }
    rows = pl.DataFrame([row], schema={"day": pl.Date(), **CHAMPION_SCHEMA})
    lake.replace("champion", rows, [day], adds_columns=True)
    return rows


def _distrust(lake: Lake, day: date) -> str | None:
    """Return why the day's calibrated user is not to be gated on; null where it is."""
    rows = (
        lake.read("user_fit", [day]).select("is_trusted", "distrust").collect()
        if lake.exists("user_fit")
        else None
    )
    if rows is None or rows.is_empty():
        return f"no calibrated user is on record for {day}"
    is_trusted, distrust = rows.row(0)
    return None if is_trusted else distrust or "it does not say why"


def _check_fresh(evaluated: pl.DataFrame, asked: dict[str, str], day: date) -> None:
    compared = dict(evaluated.select("role", "model_digest").unique().iter_rows())
    stale = [
        f"the {role} is {digest}, compared was {compared.get(role)}"
        for role, digest in asked.items()
        if compared.get(role) != digest
    ]
    if stale:
        raise StaleEvaluation(f"{'; '.join(stale)}; materialize `evaluated_model` of {day} again")
