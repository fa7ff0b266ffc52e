"""Stage 5 as assets: what users did, what the candidate does, what serves, and the report."""

from datetime import UTC, date, datetime, timedelta
from functools import partial

import dagster as dg

from assets.conventions import (
    ACCELERATOR_POOL,
    DAYS,
    OWNERS,
    RANGE,
    data_asset,
    days,
    frame_table,
    plot,
    progress,
    rows,
    window,
)
from assets.governance import check_inputs
from assets.optimization import reference_model
from assets.promotion import decided
from echo_dagster.evaluation import champion as champions
from echo_dagster.evaluation import day as evaluation
from echo_dagster.evaluation import (
    longitudinal,
    online,
    plots,
    plots_online,
    plots_user,
    report_models,
    serving,
)
from echo_dagster.evaluation import report as reports
from echo_dagster.evaluation.schema import ONLINE_SCHEMA
from echo_dagster.lake import Lake
from echo_dagster.settings import Settings

#: What must not have been trained on: each check, with what it counts (`evaluation.leaks`) and what it says.
SPLITS = {
    "no_near_duplicates": (
        "near_duplicates",
        "No gap that models are compared on has a duplicate, exact or near, in training.",
    ),
    "no_held_out_users": ("held_out_user_samples", "Nobody held out is in the training set of the day."),
    "no_held_out_repositories": (
        "held_out_repository_samples",
        "No repository held out is in the training set of the day.",
    ),
    "no_held_out_days": ("held_out_day_samples", "The training set of the day ends before it."),
}


@data_asset("evaluation", ONLINE_SCHEMA, kinds={"duckdb"}, deps=["gap_sessions"])
def online_metrics(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]
) -> dg.MaterializeResult:
    """Acceptance rate, generation rate, kept rate and persistence, by model, language and cohort."""
    check_inputs(context, settings, lake, "gap_sessions")
    measured = online.measure_days(lake, days(context), settings.evaluation)
    return dg.MaterializeResult(
        metadata={
            **rows(measured.height, context),
            "suppressed_groups": int(measured["is_suppressed"].sum()),
            "metrics": frame_table(measured.select(_OVERVIEW)),
            **_online_plots(lake, settings, max(days(context))),
        }
    )


#: Of the sixty columns those that fit on a screen.
_OVERVIEW = ("day", "model", "language", "cohort", "n_users", "n_shown", *plots_online.HEADLINES)
#: More days do not fit into a picture that asset metadata may hold.
_TREND_DAYS = 30


def _online_plots(lake: Lake, settings: Settings, last: date) -> dict[str, dg.MarkdownMetadataValue]:
    """Return trends, persistence and cohorts of the last days; where nothing may be told there are none."""
    recent = [last - timedelta(days=back) for back in range(_TREND_DAYS)]
    trends, users = (lake.read(table, recent).collect().sort("day") for table in ("trends", "online_users"))
    models, cohorts = (
        of(users, settings.evaluation) for of in (longitudinal.by_model, longitudinal.by_cohort)
    )
    return {
        **plot("trend_plot", plots_online.headlines, longitudinal.told(trends)),
        **plot("persistence_plot", plots_online.persistence, longitudinal.persistence(models)),
        **plot("cohort_plot", plots_online.cohorts, cohorts.drop_nulls("acceptance_rate")),
    }


@dg.asset(
    group_name="evaluation",
    partitions_def=DAYS,
    owners=OWNERS,
    kinds={"pytorch", "deltalake"},
    # It also reads which model served yesterday, from the champion table. Dagster knows no cycle through another
    # day, so this self-dependency stands for it and the champion asset verifies it.
    deps=[
        *("checkpoint", "static_baseline", "scored_samples"),
        dg.AssetDep("evaluated_model", partition_mapping=window(-1, -1)),
    ],
    pool=ACCELERATOR_POOL,
    check_specs=[
        dg.AssetCheckSpec(name, asset="evaluated_model", blocking=True, description=description)
        for name, (_, description) in SPLITS.items()
    ],
)
def evaluated_model(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]
) -> dg.MaterializeResult:
    """Base, champion, candidate and, where there is one, static baseline on the day's held-out gaps, with intervals."""
    (day,) = days(context)
    done = evaluation.evaluate_day(
        lake, day, reference_model(settings), settings, progress=progress(context, "evaluating")
    )
    leaked = evaluation.leaks(lake, day, settings)
    checks = [
        dg.AssetCheckResult(check_name=name, passed=not leaked[of], metadata={of: leaked[of]})
        for name, (of, _) in SPLITS.items()
    ]
    told = {"held_out_gaps": done.n_held_out, "left_out_as_trained_on": done.n_seen}
    if done.reason is not None:
        skipped = {"status": "skipped", "reason": done.reason}
        return dg.MaterializeResult(metadata={**rows(0, context), **skipped, **told}, check_results=checks)
    return dg.MaterializeResult(
        check_results=checks,
        metadata={
            **rows(done.evaluated.height, context),
            "status": "compared",
            **told,
            "calibrated_user": dg.MetadataValue.json(done.user or {}),
            "comparison": frame_table(report_models.side_by_side(done.evaluated)),
            **plot("comparison_plot", plots.comparison, done.evaluated),
            **plot("trend_plot", partial(plots.trend, percent=False), report_models.offline_trend(lake, day)),
            **plot("user_plot", plots_user.calibration, lake.read("user_fit", [day]).collect()),
        },
    )


@dg.asset(
    group_name="evaluation",
    partitions_def=DAYS,
    owners=OWNERS,
    kinds={"deltalake"},
    deps=["evaluated_model", dg.AssetDep("champion", partition_mapping=window(-1, -1))],
)
def champion(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]
) -> dg.MaterializeResult:
    """Which model serves from this day on, and why; a link and a record beside it show the last day's to a server."""
    (day,) = days(context)
    base = reference_model(settings)
    row = champions.decide_day(lake, day, base, settings)
    serving.publish(lake, settings.data_dir, base, datetime.now(UTC))
    return dg.MaterializeResult(metadata=decided(row))


@dg.asset(
    group_name="evaluation",
    partitions_def=DAYS,
    backfill_policy=RANGE,
    owners=OWNERS,
    kinds={"html"},
    deps=[
        "raw_events",
        "online_metrics",
        "scored_samples",
        "training_set",
        "checkpoint",
        "evaluated_model",
        "champion",
    ],
)
def report(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]
) -> dg.MaterializeResult:
    """A self-contained HTML page: the day, the trend, the samples themselves with diffs."""
    paths = [reports.write(lake, day, settings) for day in days(context)]
    return dg.MaterializeResult(metadata={"path": dg.MetadataValue.path(str(paths[-1])), "pages": len(paths)})
