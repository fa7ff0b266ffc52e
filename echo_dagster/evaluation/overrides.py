"""What people decide over the gate: promote, keep, roll back; hold, and lift the hold. Each is a row that stays.

What lives here: recording it, reading it, and finding the model that is meant. What does not: the row of `champion`
that follows from it (`champion.py`).

Each is bound to the last day that was decided when it was recorded, and holds from the end of that day on, as the rows
of `champion` do. All but a lift name the model that serves from then on: whoever runs that day again gets that model
again, and whoever runs older days again changes nothing after them. Under a hold later days promote nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Literal

import polars as pl

from echo_dagster import models
from echo_dagster.evaluation import candidate as candidates
from echo_dagster.evaluation.candidate import NoCandidate
from echo_dagster.evaluation.schema import OVERRIDE_SCHEMA
from echo_dagster.lake import Lake
from echo_dagster.models import ResolvedModel

TABLE = "champion_overrides"

Action = Literal["promote", "keep", "rollback", "hold", "lift"]

#: What stands for the configured base model where a former champion is asked for.
BASE = "base"

_DECISIONS: dict[str, Literal["promoted", "kept", "rolled_back"]] = {
    "promote": "promoted",
    "keep": "kept",
    "rollback": "rolled_back",
    "hold": "kept",
}
#: A shorter beginning of a digest is more likely a slip than a name.
_SHORTEST_DIGEST = 6


class OverrideRefused(ValueError):
    """What a person asked for cannot be done. Nothing was recorded."""


@dataclass(frozen=True)
class Override:
    """A row of `OVERRIDE_SCHEMA`. `path` is null for the base model, and for a lift, which names no model."""

    action: Action
    decided_by: str
    reason: str
    decided_at: datetime
    model_digest: str | None
    path: str | None
    overruled: str | None

    @property
    def decision(self) -> Literal["promoted", "kept", "rolled_back"]:
        """What `champion` says of it."""
        return _DECISIONS[self.action]

    @property
    def in_words(self) -> str:
        """What was decided, by whom and why."""
        done = {"hold": "held", "rollback": "rolled back"}.get(self.action, self.decision)
        return f"{done} by {self.decided_by}: {self.reason}"


@dataclass(frozen=True)
class Former:
    """A model that serves or has served. `last_day` is the last day whose row named it."""

    digest: str
    path: Path
    last_day: date

    @property
    def is_there(self) -> bool:
        """Whether its directory is on disk."""
        return self.path.is_dir()


def of_day(lake: Lake, day: date) -> Override | None:
    """Return what a person decided to serve from the end of `day` on; null where nobody did."""
    return _last(_rows(lake).filter(pl.col("day") == day, pl.col("action") != "lift"))


def hold_on(lake: Lake, day: date) -> Override | None:
    """Return the hold under which nothing is promoted on `day`; null where there is none, or it was lifted."""
    last = _last(_rows(lake).filter(pl.col("day") < day, pl.col("action").is_in(["hold", "lift"])))
    return None if last is None or last.action == "lift" else last


def check(lake: Lake, action: Action, target: tuple[str, Path], serving: str, base: ResolvedModel) -> None:
    """Refuse what makes no sense, or cannot be served. `target` is a digest and a directory, `serving` a digest.

    Raises:
        OverrideRefused: it serves already, its directory is gone or holds other weights, or promotions are held, or
            are not.
    """
    held = hold_on(lake, date.max)
    if action in ("hold", "promote") and held is not None:
        raise OverrideRefused(f"{held.decided_by} holds promotions: {held.reason}. Lift the hold first")
    if action == "lift" and held is None:
        raise OverrideRefused("nothing is held, so there is nothing to lift")
    if action in ("hold", "lift"):
        return
    digest, path = target
    if digest == serving:
        raise OverrideRefused(f"{digest} serves already")
    if not path.is_dir():
        there = [one.digest for one in former(lake) if one.is_there and one.digest != serving]
        raise OverrideRefused(
            f"{digest} is gone from disk: {path}. Restore that directory from a copy, or materialize `checkpoint` of "
            "its day again, which gives the same weights for the same data and settings; or choose one that is "
            f"there: {', '.join([*there, BASE])}"
        )
    if digest != base.digest and (found := models.digest(path)) != digest:
        raise OverrideRefused(f"{path} holds {found}, asked for was {digest}; restore the directory")


def append(lake: Lake, day: date, override: Override) -> None:
    """Add a row to the record, bound to `day`.

    Raises:
        OverrideRefused: it does not say who decides, or why.
    """
    if not override.decided_by.strip() or not override.reason.strip():
        raise OverrideRefused("say who decides, and why")
    row = {"day": day, **asdict(override)}
    lake.append(TABLE, pl.DataFrame([row], schema={"day": pl.Date(), **OVERRIDE_SCHEMA}))


def target(
    lake: Lake, action: Action, asked: str | None, rows: pl.DataFrame, base: ResolvedModel
) -> tuple[str, Path]:
    """Return digest and directory of the model to promote or to roll back to; see `champion.override`.

    `rows` are those of `champion`, the last day's at the end.

    Raises:
        OverrideRefused: there is no such model, or more than one.
    """
    day = _day(asked)
    if action == "promote":
        if asked is not None and day is None:
            raise OverrideRefused(f"{asked!r} is no day: name the day whose candidate is to serve")
        trained = rows.item(-1, "day") if day is None else day
        candidate = candidates.of_day(lake, trained, base)
        if isinstance(candidate, NoCandidate):
            raise OverrideRefused(f"{trained}: {candidate.reason}")
        return candidate.digest, candidate.path
    if asked is None:
        raise OverrideRefused(f"say what to roll back to: a digest, a day, or {BASE}")
    if asked in (BASE, base.digest):
        return base.digest, base.path
    if day is not None:
        until = rows.filter(pl.col("day") <= day)
        if until.is_empty():
            return base.digest, base.path
        row = until.row(-1, named=True)
        return (base.digest, base.path) if row["since"] is None else (row["model_digest"], Path(row["path"]))
    return _by_digest(lake, asked)


def former(lake: Lake) -> list[Former]:
    """Return every model that serves or has served, the last one first."""
    found: dict[str, Former] = {}
    for table in ("champion", "champion_changes"):
        if lake.exists(table):
            for day, digest, path in (
                lake.read(table).select("day", "model_digest", "path").collect().iter_rows()
            ):
                if digest not in found or found[digest].last_day < day:
                    found[digest] = Former(digest, Path(path), day)
    return sorted(found.values(), key=lambda one: (one.last_day, one.digest), reverse=True)


def _by_digest(lake: Lake, asked: str) -> tuple[str, Path]:
    if len(asked) < _SHORTEST_DIGEST:
        raise OverrideRefused(f"{asked!r} is no day, and too short for a digest")
    known = former(lake)
    matching = [one for one in known if one.digest.startswith(asked)]
    if len(matching) != 1:
        what = "several former champions begin" if matching else "no former champion begins"
        raise OverrideRefused(
            f"{what} with {asked!r}; there are {', '.join([one.digest for one in known] + [BASE])}"
        )
    return matching[0].digest, matching[0].path


def _day(asked: str | None) -> date | None:
    try:
        return None if asked is None else datetime.strptime(asked, "%Y-%m-%d").date()
    except ValueError:
        return None


def _rows(lake: Lake) -> pl.DataFrame:
    """Return all rows in the order in which they take effect."""
    if not lake.exists(TABLE):
        return pl.DataFrame(schema={"day": pl.Date(), **OVERRIDE_SCHEMA})
    return lake.read(TABLE).sort("day", "decided_at").collect()


def _last(rows: pl.DataFrame) -> Override | None:
    return None if rows.is_empty() else Override(**rows.drop("day").row(-1, named=True))
