"""Stage 2 as an asset: events become gap sessions."""

import dagster as dg

from assets.conventions import (
    conservation,
    conservation_spec,
    data_asset,
    days,
    progress,
    rows,
    table,
    window,
)
from assets.governance import check_inputs
from echo_dagster.extraction import days as extraction
from echo_dagster.extraction.policies import PRESETS
from echo_dagster.extraction.schema import GAP_SCHEMA
from echo_dagster.lake import Lake
from echo_dagster.settings import Settings


@data_asset(
    "extraction",
    GAP_SCHEMA,
    kinds={"duckdb", "python"},
    deps=[dg.AssetDep("raw_events", partition_mapping=window(-1))],
    check_specs=[
        conservation_spec(
            "gap_sessions",
            "every proposal whose gap cannot outlive the day is there once; every other gap comes from one",
        )
    ],
)
def gap_sessions(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]
) -> dg.MaterializeResult:
    """One row per proposal shown whose gap closed on the day: (C_0, C_1, C_N) and what the user did."""
    check_inputs(context, settings, lake, "raw_events", days_before=1)
    policy = PRESETS[settings.extraction.policy]
    done = extraction.extract_days(
        lake,
        days(context),
        policy,
        spill=settings.data_dir / "spill",
        progress=progress(context, "following edits"),
    )
    return dg.MaterializeResult(
        metadata={
            **rows(done.gaps, context),
            "break_reasons": table(done.by_break_reason()),
            "outcomes": table(done.by_outcome()),
            "still_open": done.still_open,
        },
        check_results=[
            conservation((day, *extraction.conservation(lake, day, policy)) for day in days(context))
        ],
    )
