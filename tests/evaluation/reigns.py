"""A small installation in which models served one after the other, without any training."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

from echo_dagster import models
from echo_dagster.evaluation import champion, serving
from echo_dagster.evaluation.gate import Decision, keep
from echo_dagster.lake import Lake
from echo_dagster.models import ResolvedModel
from echo_dagster.optimization.schema import CHECKPOINT_SCHEMA

START = date(2026, 1, 5)
NOW = datetime(2026, 2, 1, 9, tzinfo=UTC)
PROMOTE = Decision("promoted", "better")


def day(number: int) -> date:
    return START + timedelta(days=number)


@dataclass(frozen=True)
class Reign:
    """A lake, its data directory and base model; `decide` goes on with a day, as the asset does."""

    data_dir: Path
    lake: Lake
    base: ResolvedModel

    def train(self, number: int, name: str) -> ResolvedModel:
        """Leave a candidate of a day: a directory, and its row of `checkpoint`."""
        path = self.data_dir / "checkpoints" / str(day(number)) / f"job-{name}" / "model"
        write_model(path, name)
        row = {
            "day": day(number),
            **dict.fromkeys(CHECKPOINT_SCHEMA),
            "status": "trained",
            "path": str(path),
            "model_digest": models.digest(path),
        }
        rows = pl.DataFrame([row], schema={"day": pl.Date(), **CHECKPOINT_SCHEMA})
        self.lake.replace("checkpoint", rows, [day(number)])
        return ResolvedModel(name, path, row["model_digest"])

    def decide(self, number: int, name: str, *, promotes: bool) -> ResolvedModel:
        """Train a candidate for a day, let the gate decide on it, and publish."""
        candidate = self.train(number, name)
        decision = PROMOTE if promotes else keep("a tie")
        now = champion.current(self.lake, day(number), self.base)
        champion.record(self.lake, day(number), decision, serving=now, candidate=candidate)
        self.publish()
        return candidate

    def publish(self) -> dict | None:
        return serving.publish(self.lake, self.data_dir, self.base, NOW)

    def override(self, action: str, asked: str | None = None, **options: object) -> dict:
        told = {"by": "Ann", "reason": "users complain", "at": NOW, **options}
        return champion.override(self.lake, action, asked, self.base, **told)

    def serves(self) -> str:
        return champion.current(self.lake, date.max, self.base).digest


def write_model(path: Path, name: str) -> None:
    """Leave a directory that has a digest of its own; no weights."""
    path.mkdir(parents=True, exist_ok=True)
    for file in ("config.json", "tokenizer.json"):
        (path / file).write_text(name)


def reign(root: Path) -> Reign:
    base = root / "models" / "base"
    write_model(base, "base")
    return Reign(root, Lake(root / "lake"), ResolvedModel("base", base, models.digest(base)))
