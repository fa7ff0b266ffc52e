"""One day's evaluation, from table to table: which gaps, which models, which user.

What lives here: reading the day's inputs and writing `predictions`, `evaluated_model` and `user_fit`. What does
not: the comparison itself (`compare.py`), and what follows from it (`gate.py`, `champion.py`).

The held-out gaps of day D are all its scored samples: the training set of D ends the day before, and some
users are in none at all. The calibrated user is fitted on decisions of the same days that the training set is
made of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import polars as pl

from echo_dagster import holdout
from echo_dagster.evaluation import candidate as candidates
from echo_dagster.evaluation import champion as champions
from echo_dagster.evaluation import decisions, user
from echo_dagster.evaluation.candidate import NoCandidate
from echo_dagster.evaluation.compare import compare
from echo_dagster.evaluation.schema import EVALUATED_SCHEMA, PREDICTION_SCHEMA, USER_FIT_SCHEMA
from echo_dagster.lake import Lake
from echo_dagster.models import ResolvedModel
from echo_dagster.near_duplicates import COMPARED, near_duplicates_of
from echo_dagster.settings import Settings


@dataclass(frozen=True)
class DayEvaluation:
    """What was compared on a day; or, with empty tables, the reason why nothing was.

    `n_held_out` gaps were there to compare on; `n_seen` more are duplicates or near duplicates of training samples, and
    left out. `user` is the record of the calibrated user: its coefficients and its own calibration, or why
    none could be fitted.
    """

    reason: str | None
    predictions: pl.DataFrame
    evaluated: pl.DataFrame
    n_held_out: int
    n_seen: int
    user: dict[str, Any] | None


def evaluate_day(
    lake: Lake,
    day: date,
    base: ResolvedModel,
    settings: Settings,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> DayEvaluation:
    """Compare the day's candidate with the base model, with what serves and, where there is one, with the static
    baseline; replace the day's rows.

    A day without a candidate or without held-out gaps compares nothing and leaves no rows.

    Raises:
        ProvenanceMismatch: the checkpoint, or the static baseline, is not the one that today's lineage asks for.
        TableMissing: an earlier stage was never materialized.
    """
    held_out, n_seen = held_out_gaps(lake, day, settings)
    candidate = candidates.of_day(lake, day, base)
    if isinstance(candidate, NoCandidate):
        return _write(lake, day, DayEvaluation(candidate.reason, *_nothing(), held_out.height, n_seen, None))
    if held_out.is_empty():
        return _write(lake, day, DayEvaluation(f"no gap of {day} is held out", *_nothing(), 0, n_seen, None))
    serving = champions.current(lake, day, base)
    started_from = serving.digest if settings.training.start_from == "champion" else base.digest
    candidates.verify(lake, day, candidate, started_from=started_from, settings=settings)
    baseline = candidates.of_day(lake, day, base, "static_baseline")
    static = {}
    if not isinstance(baseline, NoCandidate):
        candidates.verify_static(lake, day, baseline, base=base, settings=settings)
        static["static"] = baseline
    logged = decisions.read(
        lake,
        day - timedelta(days=settings.window.days),
        day - timedelta(days=1),
        max_decisions=settings.evaluation.max_decisions,
        seed=settings.evaluation.seed,
        memory_limit=settings.memory_limit,
    )
    fitted = user.fit(
        logged.rows, min_decisions=settings.evaluation.min_decisions, seed=settings.evaluation.seed
    )
    predictions, evaluated = compare(
        held_out,
        {
            "base": base,
            **static,
            "champion": ResolvedModel(base.name, serving.path, serving.digest),
            "candidate": candidate,
        },
        settings.base_model.fim,
        settings.evaluation,
        user=fitted.user,
        progress=progress,
    )
    record = {**fitted.to_record(), "n_decided": logged.n_decided, "left_out": logged.left_out}
    done = DayEvaluation(None, predictions, evaluated, held_out.height, n_seen, record)
    return _write(lake, day, done, fitted.to_row())


def leaks(lake: Lake, day: date, settings: Settings) -> dict[str, int]:
    """Count what would make the comparison of `day` worthless, by split.

    `near_duplicates`: gaps that models were compared on and that a set they were trained on holds, or nearly.
    The others are of that training set itself: see `holdout.leaks`.
    """
    compared = lake.read("predictions", [day]).select("sample_id").unique()
    samples = lake.read("scored_samples", [day]).join(compared, on="sample_id", how="semi").collect()
    columns = ("user_id", "repository", "sample_day", "closed_at")
    trained_on = lake.read("training_set", [day]).select(columns).collect()
    return {
        "near_duplicates": samples.height - unseen(lake, day, samples, settings).height,
        **holdout.leaks(trained_on, day, settings.window),
    }


def held_out_gaps(lake: Lake, day: date, settings: Settings) -> tuple[pl.DataFrame, int]:
    """Return the day's gaps to compare on, and how many were left out as duplicates of training samples.

    The gaps are SCORED_SCHEMA + the columns of `holdout.marked`.
    """
    samples = lake.read("scored_samples", [day]).drop("day").collect()
    left = unseen(lake, day, samples, settings)
    return holdout.marked(left, settings.window), samples.height - left.height


def unseen(lake: Lake, day: date, samples: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Return the samples that neither the training set of `day` nor its static set holds, nor nearly."""
    sets = [lake.read(table, [day]) for table in ("training_set", "static_set") if lake.exists(table)]
    if samples.is_empty() or not sets:
        return samples
    asked = ("sample_id", "content_hash", "prefix", "middle", "suffix")
    trained_on = pl.concat(one.select(asked) for one in sets)
    left = samples.join(trained_on.select("content_hash").unique().collect(), on="content_hash", how="anti")
    similarity = settings.window.near_duplicate_similarity
    if similarity is None:
        return left
    known = trained_on.select("sample_id", *COMPARED).collect()
    alike = near_duplicates_of([known], [left.select("sample_id", *COMPARED)], similarity, lake.root)
    return left.join(alike, on="sample_id", how="anti")


def _nothing() -> tuple[pl.DataFrame, pl.DataFrame]:
    return pl.DataFrame(schema=PREDICTION_SCHEMA), pl.DataFrame(schema=EVALUATED_SCHEMA)


def _write(lake: Lake, day: date, done: DayEvaluation, user_fit: pl.DataFrame | None = None) -> DayEvaluation:
    if user_fit is None:
        user_fit = pl.DataFrame(schema=USER_FIT_SCHEMA)
    lake.replace("predictions", done.predictions.select(pl.lit(day).alias("day"), pl.all()), [day])
    lake.replace("evaluated_model", done.evaluated.select(pl.lit(day).alias("day"), pl.all()), [day])
    lake.replace("user_fit", user_fit.select(pl.lit(day).alias("day"), pl.all()), [day])
    return done
