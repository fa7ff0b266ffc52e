"""When things run: the nightly job and its schedule, retention, the sensor for late landing files, freshness.

All clocks are UTC.
"""

from __future__ import annotations

import json
from datetime import date, timedelta
from hashlib import sha256

import dagster as dg

from assets.conventions import DAYS
from assets.governance import retention
from echo_dagster.acquisition import landing
from echo_dagster.configuration import load
from echo_dagster.settings import Settings

_HOUR = load().schedule_hour_utc

DATA_ASSETS = (
    "raw_events",
    "gap_sessions",
    "online_metrics",
    "filtered_samples",
    "balanced_samples",
    "scored_samples",
)

#: Nothing that serves depends on these, so they wait for somebody who asks; each of its own job.
ON_DEMAND = {"scaling": "scale"}

daily = dg.define_asset_job(
    "daily",
    selection=dg.AssetSelection.all() - dg.AssetSelection.assets(*ON_DEMAND),
    description="Everything for one day: from landing files to the decision which model serves, and the report.",
)

refresh = dg.define_asset_job(
    "refresh",
    selection=dg.AssetSelection.assets(*DATA_ASSETS),
    description="The data of one day again, up to the scored samples. No training.",
)

scale = dg.define_asset_job(
    ON_DEMAND["scaling"],
    selection=dg.AssetSelection.assets("scaling"),
    description="How much is enough: models trained on growing shares of a day's training set, one training each.",
)

nightly = dg.build_schedule_from_partitioned_job(
    daily, name="nightly", hour_of_day=_HOUR, description="Yesterday, every night."
)

nightly_retention = dg.ScheduleDefinition(
    name="nightly_retention",
    job=retention,
    cron_schedule=f"0 {(_HOUR + 12) % 24} * * *",
    execution_timezone="UTC",
    description="What is older than the settings keep, half a day after the nightly run.",
)

#: A day is late when it is not there four hours after its run began.
FRESHNESS = dg.FreshnessPolicy.cron(
    deadline_cron=f"0 {(_HOUR + 4) % 24} * * *", lower_bound_delta=timedelta(hours=4), timezone="UTC"
)


@dg.sensor(job=refresh, minimum_interval_seconds=300, default_status=dg.DefaultSensorStatus.STOPPED)
def late_landing_files(
    context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]
) -> dg.SensorResult | dg.SkipReason:
    """Re-materialize the days whose landing files came or changed after their nightly run.

    The first tick only remembers what is there: a new installation is backfilled on purpose, not by surprise.
    """
    now = landing.fingerprint(settings)
    before = json.loads(context.cursor) if context.cursor else None
    context.update_cursor(json.dumps(now, sort_keys=True))
    if before is None:
        return dg.SkipReason(f"remembered {len(now)} landing files")
    changed = sorted(path for path, mark in now.items() if before.get(path) != mark)
    finished = {date.fromisoformat(key) for key in DAYS.get_partition_keys()}
    touched = {day for path in changed for day in landing.days_of(path, settings)}
    # A gap open over midnight closes on the next day, which therefore reads this one.
    late = sorted((touched | {day + timedelta(days=1) for day in touched}) & finished)
    if not late:
        return dg.SkipReason(f"{len(changed)} files changed, none of a finished day")
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(run_key=f"{day}:{_mark(now, changed)}", partition_key=day.isoformat())
            for day in late
        ]
    )


def _mark(fingerprint: dict[str, str], changed: list[str]) -> str:
    """Return a key that is new whenever one of the changed files is, so that a second change runs again."""
    return sha256("|".join(fingerprint[path] for path in changed).encode()).hexdigest()[:16]
