"""The arms of an ablation: the same gaps refined by the whole refinery, and by the refinery without one step.

Each arm goes through the library's own functions in a scratch lake, one arm after another; what is kept of an arm is
its training set. What does not live here: which settings leave a step out (`steps.py`), training (`trials.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from echo_dagster import forgotten, holdout, models
from echo_dagster.evaluation import day as evaluation
from echo_dagster.experiments.asking import Bar
from echo_dagster.extraction.schema import GAP_SCHEMA
from echo_dagster.lake import Lake, TableOutdated
from echo_dagster.models import ResolvedModel
from echo_dagster.refinery import balance, perplexity, samples, scoring, window
from echo_dagster.refinery.schema import BALANCED_SCHEMA, SCORED_SCHEMA
from echo_dagster.refinery.staging import stage
from echo_dagster.settings import Settings

_TEXTS = ("sample_id", "prefix", "suffix", "middle", "proposal")
_LIKELIHOODS = tuple(name for name in SCORED_SCHEMA if name not in BALANCED_SCHEMA)


@dataclass(frozen=True)
class Arm:
    """A refinery: the one that is configured, or (`dropped`) the same without a step."""

    dropped: str | None
    settings: Settings

    @property
    def name(self) -> str:
        """Return how the arm is called in tables."""
        return "full" if self.dropped is None else f"without {self.dropped}"


@dataclass(frozen=True)
class Refined:
    """What an arm would train on: `file` holds its training set, `rejected` counts what each reason dropped."""

    arm: Arm
    file: Path
    n_samples: int
    n_scored_anew: int
    rejected: dict[str, int]


@dataclass(frozen=True)
class Days:
    """The day to compare on, the days before it that hold gaps to learn from, and those (`empty`) that hold none."""

    held_out: date
    window: tuple[date, ...]
    empty: tuple[date, ...]


@dataclass(frozen=True)
class Ground:
    """What all arms share: a scratch lake with the gaps, and those to be compared on.

    `held_out` went through the whole refinery but scoring, and is `holdout.marked`. `n_seen` more were like a
    sample of some arm's training set. `versions` are those of the tables that were read.
    """

    lake: Lake
    days: Days
    held_out: pl.DataFrame
    n_seen: int
    versions: dict[str, int]


def days_of(lake: Lake, day: date | None, n_days: int, start_day: date) -> Days:
    """Return the days of an ablation: `n_days` before `day`, which is by default the last one that holds gaps.

    Raises:
        TableMissing: no gaps were ever extracted.
        ValueError: there are no gaps of the day, or of none of the days before it. The message names the command.
    """
    present = lake.days("gap_sessions")
    if not present:
        raise ValueError(f"gap_sessions holds no day; {_remedy(start_day, day or start_day)}")
    day = day or present[-1]
    first = max(start_day, day - timedelta(days=n_days))
    asked = [first + timedelta(days=ahead) for ahead in range((day - first).days)]
    held = f"gap_sessions holds {len(present)} days, from {present[0]} to {present[-1]}"
    if day not in present:
        raise ValueError(f"there are no gaps of {day} to compare on: {held}; {_remedy(first, day)}")
    window = tuple(one for one in asked if one in present)
    if not window:
        raise ValueError(
            f"there are no gaps to learn from in the {n_days} days before {day} (start_day is {start_day}): {held}; "
            f"{_remedy(first, day)}, or choose a later --day"
        )
    return Days(day, window, tuple(one for one in asked if one not in present))


def refine(
    source: Lake, room: Path, arms: Sequence[Arm], days: Days, base: ResolvedModel, bar: Bar
) -> tuple[list[Refined], Ground]:
    """Refine the gaps of the window for every arm, and those of the held-out day by the first, the whole refinery.

    Args:
        source: the lake that is read. Nothing is written to it.
        room: a scratch folder.
        arms: the whole refinery, then the others.
        days: as `days_of` found them.
        base: the reference model, which scores.
        bar: shows progress.

    Returns:
        what each arm would train on, in the order of `arms`, and what they share.

    Raises:
        LostRows: a defect.
        TableOutdated: the gaps were extracted by a version of this project that gave them other columns.
        ValueError: a training set holds what must not be learnt from, or a likelihood is not a number.
    """
    full, day, window_days = arms[0].settings, days.held_out, list(days.window)
    lake, known = Lake(room / "lake"), Lake(room / "known")
    versions = _copy(source, lake, [*window_days, day], full.memory_limit)
    tokenizer = models.load_tokenizer(base.path)
    found: dict[str, Refined] = {}
    filtered_by: Any = None
    # Arms that filter as the whole refinery does come first, and need no filtering of their own.
    for arm in sorted(arms, key=lambda arm: _filtering(arm.settings) != _filtering(full)):
        asked = window_days if found else [*window_days, day]
        if _filtering(arm.settings) != filtered_by:
            filtered_by = _filtering(arm.settings)
            with bar(f"filtering: {arm.name}") as progress:
                samples.refine_days(lake, asked, tokenizer, arm.settings, progress=progress)
        balance.balance_days(lake, asked, arm.settings)
        if not found:
            held_out = lake.read("balanced_samples", [day]).drop("day").collect()
            n_held_out = held_out.height
        with bar(f"scoring: {arm.name}") as progress:
            before = [(source, versions.get("scored_samples")), (known, None)]
            n_anew = _score(lake, before, window_days, base, arm.settings, progress)
        built = window.write_training_set(lake, day, window_days, arm.settings, lambda: tokenizer)
        if any((leaked := window.leaks(lake, day, full)).values()):
            raise ValueError(f"the training set of the arm {arm.name!r} must not hold {leaked}")
        held_out = evaluation.unseen(lake, day, held_out, full)
        file = room / f"arm-{len(found)}.parquet"
        built.frame.write_parquet(file)
        found[arm.name] = Refined(arm, file, built.kept, n_anew, _rejected(lake, days))
    seen = n_held_out - held_out.height
    ground = Ground(lake, days, holdout.marked(held_out, full.window), seen, versions)
    return [found[arm.name] for arm in arms], ground


def _copy(source: Lake, lake: Lake, days: Sequence[date], memory_limit: str) -> dict[str, int]:
    """Copy the gaps of `days` as they are now, and the list of people who were forgotten; return the versions."""
    if missing := [name for name in GAP_SCHEMA if name not in source.columns("gap_sessions")]:
        raise TableOutdated(
            f"gap_sessions lacks {', '.join(missing)}, which this version writes; {_remedy(min(days), max(days))}"
        )
    versions = {
        table: source.version(table)
        for table in ("gap_sessions", "scored_samples", forgotten.TABLE)
        if source.exists(table)
    }
    with stage(lake.root, memory_limit) as staged:
        source.register(staged.connection, "gap_sessions", version=versions["gap_sessions"])
        for day in days:
            query = f"select * exclude (day) from gap_sessions where day = date '{day.isoformat()}'"
            staged.write(query, lake, "gap_sessions", day)
    if forgotten.TABLE in versions:
        lake.append(
            forgotten.TABLE, source.read(forgotten.TABLE, version=versions[forgotten.TABLE]).collect()
        )
    return versions


def _filtering(settings: Settings) -> tuple[Any, ...]:
    """Return the settings on which filtered samples depend."""
    return settings.truncation, settings.quality


def _score(
    lake: Lake,
    before: Sequence[tuple[Lake, int | None]],
    days: Sequence[date],
    base: ResolvedModel,
    settings: Settings,
    progress: Callable[[int, int], None],
) -> int:
    """Score the balanced samples of `lake`; return of how many the likelihoods were not known.

    They are known of a sample with the same id and the same texts in the scored samples of `before`: lakes, each at a
    version or as it is now. The last of them takes what was scored anew.
    """
    *_, (known, _) = before
    n_anew, anew = 0, Lake(known.root.with_name("anew"))
    scorer = perplexity.scorer_id(settings.perplexity, base.digest)
    for day in days:
        balanced = lake.read("balanced_samples", [day]).drop("day").collect()
        likelihoods = pl.concat(_likelihoods(one, version, day, scorer) for one, version in before)
        likelihoods = likelihoods.unique(_TEXTS, keep="first", maintain_order=True)
        reused = balanced.join(likelihoods, on=_TEXTS, how="inner", nulls_equal=True)
        left = balanced.join(likelihoods, on=_TEXTS, how="anti", nulls_equal=True)
        anew.replace("balanced_samples", left.select(pl.lit(day).alias("day"), pl.all()), [day])
        scoring.score_days(anew, [day], base, settings, progress=progress)
        scored = anew.read("scored_samples", [day]).collect()
        known.append("scored_samples", scored)
        rows = [scored, reused.select(pl.lit(day).alias("day"), *SCORED_SCHEMA.names())]
        lake.replace("scored_samples", pl.concat(rows), [day])
        n_anew += left.height
    return n_anew


def _likelihoods(lake: Lake, version: int | None, day: date, scorer: str) -> pl.DataFrame:
    """Return `_TEXTS` and `_LIKELIHOODS` of what the lake holds of a day by a scorer."""
    wanted = [*_TEXTS, *_LIKELIHOODS]
    if not lake.exists("scored_samples") or not set(wanted) <= set(lake.columns("scored_samples")):
        return pl.DataFrame(schema={name: SCORED_SCHEMA[name] for name in wanted})
    scored = lake.read("scored_samples", [day], version).filter(pl.col("scorer") == scorer)
    return scored.select(wanted).collect()


def _rejected(lake: Lake, days: Days) -> dict[str, int]:
    """Return how many gaps of the window each reason dropped, the most frequent first."""
    is_of_window = pl.col("day").is_in(days.window) & (pl.col("stage") != "denoise")
    is_of_set = (pl.col("day") == days.held_out) & (pl.col("stage") == "denoise")
    rejected = lake.read("rejected_samples").filter(is_of_window | is_of_set)
    counted = rejected.group_by("reason").len().sort("len", "reason", descending=[True, False])
    return dict(counted.collect().iter_rows())


def _remedy(first: date, last: date) -> str:
    return (
        f"run: echo-dagster materialize --from {first} --to {last} --select raw_events --select gap_sessions"
    )
