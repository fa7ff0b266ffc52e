"""Stage 1 as assets: landing files become one typed, deduplicated table of events."""

import dagster as dg

from assets.conventions import conservation, conservation_spec, data_asset, days, progress, rows, table
from echo_dagster.acquisition import landing
from echo_dagster.events import STORED_SCHEMA
from echo_dagster.lake import Lake
from echo_dagster.settings import Settings


@data_asset(
    "acquisition",
    STORED_SCHEMA,
    kinds={"duckdb", "polars"},
    check_specs=[
        conservation_spec("raw_events", "lines read = events + duplicates + quarantined, for every day")
    ],
)
def raw_events(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]
) -> dg.MaterializeResult:
    """Validated, typed, deduplicated events of the day. Bad input is in `quarantined_events`, with its reason."""
    done = landing.ingest(
        settings, lake, days(context), progress=progress(context, "reading landing files, KiB")
    )
    return dg.MaterializeResult(
        metadata={
            **rows(sum(day.events for day in done.days), context),
            "days": table([day.counts() for day in done.days]),
            "quarantined": table(done.quarantined_reasons()),
        },
        check_results=[conservation((day.day, day.lines, day.accounted_for) for day in done.days)],
    )
