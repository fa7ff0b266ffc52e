"""How much is enough, as an asset that runs on demand: models trained on growing shares of a day's training set."""

import dagster as dg
import polars as pl
from pydantic import Field

from assets.conventions import DAYS, OWNERS, TRAINING_POOL, bar, column_schema, days, frame_table, plot, rows
from assets.optimization import reference_model
from echo_dagster.lake import Lake
from echo_dagster.scaling import plot as plots
from echo_dagster.scaling import study, tables
from echo_dagster.scaling.schema import SCALING_SCHEMA
from echo_dagster.scaling.shares import asked
from echo_dagster.settings import Settings


class Growth(dg.Config):
    """What one run may ask for in place of the settings."""

    shares: list[float] | None = Field(
        default=None, description="of the training set, the smallest first; by default scaling.shares"
    )
    seeds: int | None = Field(default=None, description="trainings of each share; by default scaling.seeds")


@dg.asset(
    group_name="evaluation",
    partitions_def=DAYS,
    owners=OWNERS,
    kinds={"pytorch", "deepspeed", "deltalake"},
    deps=["training_set", "scored_samples", "base_model"],
    pool=TRAINING_POOL,
    metadata={"dagster/column_schema": column_schema(SCALING_SCHEMA)},
)
def scaling(
    context: dg.AssetExecutionContext,
    config: Growth,
    settings: dg.ResourceParam[Settings],
    lake: dg.ResourceParam[Lake],
) -> dg.MaterializeResult:
    """Held-out quality by the number of samples trained on, and what doubling them brings. Runs on demand."""
    (day,) = days(context)
    settings = asked(settings, config.shares, config.seeds)
    done = study.study_day(lake, day, reference_model(settings), settings, bar=bar(context))
    return dg.MaterializeResult(
        metadata={
            **rows(done.scaling.height, context),
            "training_set": done.n_samples,
            "shares_left_out": tables.left_out(done) or "none",
            "held_out_gaps": done.n_held_out,
            "left_out_as_trained_on": done.n_seen,
            **{f"doubling_{row['metric']}": row["in_words"] for row in done.fits.iter_rows(named=True)},
            **plot("scaling_plot", plots.scaling, (done.scaling, done.fits)),
            "fits": frame_table(done.fits.drop("at_one", "n_shares", "in_words")),
            # of all gaps; the slices stand in the table
            "scaling": frame_table(
                done.scaling.filter(pl.col("slice") == "all").drop("slice", "by_seed", "jobs")
            ),
            "record": dg.MetadataValue.json(tables.record(done)),
        }
    )
