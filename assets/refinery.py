"""Stage 3 as assets: gap sessions become samples, step by step; every drop goes to `rejected_samples`."""

import dagster as dg
from tokenizers import Tokenizer

from assets.conventions import (
    ACCELERATOR_POOL,
    DAYS,
    RANGE,
    conservation,
    conservation_spec,
    data_asset,
    days,
    days_before,
    frame_table,
    plot,
    progress,
    rows,
    table,
    window,
)
from assets.governance import check_inputs
from assets.optimization import reference_model
from echo_dagster import models
from echo_dagster.configuration import load
from echo_dagster.evaluation import plots, report_facts
from echo_dagster.evaluation import report as reports
from echo_dagster.lake import Lake
from echo_dagster.refinery import balance, denoise, samples, scoring
from echo_dagster.refinery import window as training_window
from echo_dagster.refinery.schema import BALANCED_SCHEMA, SAMPLE_SCHEMA, SCORED_SCHEMA
from echo_dagster.settings import Settings


def _tokenizer(settings: Settings) -> Tokenizer:
    return models.load_tokenizer(reference_model(settings).path)


@data_asset(
    "refinery",
    SAMPLE_SCHEMA,
    kinds={"polars"},
    deps=["gap_sessions", "base_model"],
    check_specs=[
        conservation_spec("filtered_samples", "gaps = samples + rejected at the filters, for every day")
    ],
)
def filtered_samples(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]
) -> dg.MaterializeResult:
    """Samples cut to the token budget, that pass every quality filter. Drops have a reason code."""
    check_inputs(context, settings, lake, "gap_sessions")
    tokenizer = _tokenizer(settings)
    done = samples.refine_days(
        lake, days(context), tokenizer, settings, progress=progress(context, "filtering")
    )
    return dg.MaterializeResult(
        metadata={**rows(done.kept, context), "rejected": table(done.by_reason())},
        check_results=[conservation(done.balances())],
    )


@data_asset(
    "refinery",
    BALANCED_SCHEMA,
    kinds={"duckdb"},
    deps=["filtered_samples"],
    check_specs=[
        conservation_spec("balanced_samples", "samples = balanced + rejected by the balance, for every day")
    ],
)
def balanced_samples(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]
) -> dg.MaterializeResult:
    """The day's samples after stratified balancing and caps per user, document and repository."""
    check_inputs(context, settings, lake, "filtered_samples")
    done = balance.balance_days(lake, days(context), settings)
    return dg.MaterializeResult(
        metadata={
            **rows(done.kept, context),
            "rejected": table(done.by_reason()),
            "mix": frame_table(done.mix),
            "caps": frame_table(done.caps),
            **plot("mix_plot", plots.mix, done.mix),
        },
        check_results=[conservation(done.balances())],
    )


@data_asset(
    "refinery",
    SCORED_SCHEMA,
    kinds={"pytorch", "huggingface"},
    deps=["balanced_samples", "base_model"],
    pool=ACCELERATOR_POOL,
    check_specs=[conservation_spec("scored_samples", "balanced samples = scored samples, for every day")],
)
def scored_samples(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]
) -> dg.MaterializeResult:
    """Likelihoods of C_N and C_1 under the reference model, and how much the context helps (IFD)."""
    check_inputs(context, settings, lake, "balanced_samples")
    done = scoring.score_days(
        lake, days(context), reference_model(settings), settings, progress=progress(context, "scoring")
    )
    return dg.MaterializeResult(
        metadata={
            **rows(done.kept, context),
            "strata": frame_table(done.summary),
            **plot("perplexity_plot", plots.perplexity, done.figures),
            **plot("funnel_plot", plots.funnel, report_facts.funnel_steps(lake, max(days(context)))),
        },
        check_results=[conservation(done.balances())],
    )


@dg.asset(
    group_name="refinery",
    partitions_def=DAYS,
    backfill_policy=RANGE,
    owners=["team:ml-platform"],
    kinds={"polars", "deltalake"},
    deps=[dg.AssetDep("scored_samples", partition_mapping=window(-load().window.days_read, -1))],
    check_specs=[
        conservation_spec(
            "training_set", "scored samples of the window = training samples + rejected, for every day"
        ),
        dg.AssetCheckSpec(
            "no_held_out_data",
            asset="training_set",
            blocking=True,
            description="Nobody held out or forgotten, and nothing of the day itself or later, is in it.",
        ),
    ],
)
def training_set(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]
) -> dg.MaterializeResult:
    """The denoised window of days up to the one before, frozen and content-addressed."""
    check_inputs(context, settings, lake, "scored_samples", days_before=settings.window.days_read)
    built = [
        training_window.write_training_set(
            lake, day, days_before(day, settings.window.days), settings, lambda: _tokenizer(settings)
        )
        for day in days(context)
    ]
    leaks = {day: training_window.leaks(lake, day, settings) for day in days(context)}
    found = {
        f"{day} {what}": count for day, by_kind in leaks.items() for what, count in by_kind.items() if count
    }
    return dg.MaterializeResult(
        metadata={
            **rows(sum(len(one.frame) for one in built), context),
            "origins": table([row for one in built for row in one.by_origin()]),
            "rejected": table([row for one in built for row in one.by_reason()]),
            "digests": table(
                [{"day": one.day, "digest": one.digest, "samples": len(one.frame)} for one in built]
            ),
            # Of the last day, which is the only one but in a backfill; the table `denoising` has every day.
            "denoising": frame_table(denoise.with_shares(built[-1].denoising)),
            **plot("denoising_plot", plots.denoising, built[-1].denoising),
            # People's code stays out of metadata: the report shows it, beside the lake.
            "just_in_and_out": dg.MetadataValue.path(
                f"{reports.page_path(built[-1].day, settings)}#denoising"
            ),
        },
        check_results=[
            conservation((one.day, one.considered, one.kept + one.dropped) for one in built),
            dg.AssetCheckResult(check_name="no_held_out_data", passed=not found, metadata={"leaks": found}),
        ],
    )
