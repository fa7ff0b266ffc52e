"""The static baseline's training: on the day's static set, by the same program and settings as the candidate's.

It starts from the base model, whatever `training.start_from` says: what a champion learnt is experience already. What
does not live here: cutting the static set (`refinery/static.py`), and the comparison (`evaluation/`).
"""

from __future__ import annotations

import json
from datetime import date, timedelta

from echo_dagster.lake import Lake
from echo_dagster.models import ResolvedModel
from echo_dagster.optimization import job
from echo_dagster.optimization.job import NothingToTrain, Prepared
from echo_dagster.optimization.schema import equal_to, from_base, n_trained
from echo_dagster.optimization.validation import TooFewSamples
from echo_dagster.settings import Settings

#: The asset check that it read as many samples as the candidate.
EQUAL_CHECK = "equal_samples"


def not_due(day: date, settings: Settings) -> NothingToTrain | None:
    """Return why the settings ask for no static baseline on `day`; null where they do."""
    every = settings.evaluation.static_baseline_days
    if every is None:
        return NothingToTrain("evaluation.static_baseline_days is null")
    if past := (day - settings.start_day).days % every:
        following = day + timedelta(days=every - past)
        return NothingToTrain(
            f"one is trained every {every} days (evaluation.static_baseline_days), the next for {following}"
        )
    return None


def no_candidate(lake: Lake, day: date) -> NothingToTrain | None:
    """Return why there is no candidate of `day` to hold a static baseline against; null where there is one."""
    rows = lake.read("checkpoint", [day]).collect().to_dicts() if lake.exists("checkpoint") else []
    if not rows:
        return NothingToTrain(f"no checkpoint is recorded for {day}")
    return None if rows[0]["status"] == "trained" else NothingToTrain(f"no candidate: {rows[0]['reason']}")


def prepare_day(
    lake: Lake, day: date, base: ResolvedModel, settings: Settings, shortfall: str | None
) -> Prepared | NothingToTrain:
    """Prepare the training of the base model on the static set of `day`, beside the day's other trainings.

    Its record says what it is to be equal to: the day's training set. `shortfall` says why it has fewer samples, if so.

    Raises:
        TableMissing: the static set or the training set was never made.
    """
    rows = lake.read("static_set", [day]).collect()
    asked = from_base(settings)
    if rows.height < asked.training.min_samples:
        return NothingToTrain(
            f"the static set of {day} has {rows.height} samples, fewer than training.min_samples "
            f"({asked.training.min_samples})" + (f": {shortfall}" if shortfall else "")
        )
    lineage = job.lineage_of_day(day, rows, lake.version("static_set"), asked.training, "static_set")
    training_set = lake.read("training_set", [day]).collect()
    lineage["equal_to"] = {**equal_to(training_set), "shortfall": shortfall}
    # Where training holds samples out to say when to stop, it takes them from the window; all of these count as its.
    whole = rows.drop("origin")
    try:
        file = job.prepare(
            whole, base, settings.base_model.fim, asked, job.home_of_day(settings, day), lineage
        )
    except TooFewSamples as error:
        return NothingToTrain(f"the static set of {day}: {error}")
    return Prepared(file, job.Job.read(file))


def trained_on(lake: Lake, day: date) -> tuple[int, int]:
    """Return how many samples the candidate and the static baseline of `day` were trained on, as their records tell."""
    counts = []
    for table in ("checkpoint", "static_baseline"):
        provenance = lake.read(table, [day]).select("provenance").collect().item()
        counts.append(n_trained(json.loads(provenance)))
    candidate, baseline = counts
    return candidate, baseline
