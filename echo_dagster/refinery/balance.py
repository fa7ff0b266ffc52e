"""The mix of a day: no user, document or kind of gap drowns the others. sql/balance.sql has the rules.

What does not live here: what a stratum is (`strata.py`), and likelihoods (`denoise.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import duckdb
import polars as pl

from echo_dagster.lake import Lake
from echo_dagster.refinery import strata
from echo_dagster.refinery.staging import LostRows, stage
from echo_dagster.refinery.tally import TALLY_SCHEMA, Tally, tally
from echo_dagster.resources import sql
from echo_dagster.settings import Balance, Settings


@dataclass(frozen=True)
class Balanced(Tally):
    """The tally, and the mix: stratum, n_before, n_after, over all the days."""

    mix: pl.DataFrame


def decide(samples: pl.DataFrame, balance: Balance) -> pl.DataFrame:
    """Decide about the samples of one day.

    Args:
        samples: SAMPLE_SCHEMA, one day; the columns that are asked are the strata's, `sample_id`, `user_id`,
            `repository` and `document`.
        balance: temperature, caps and seed.

    Returns:
        sample_id, stratum, reason (null: kept) and value (the place in the lot, where it decided), by
        sample_id.
    """
    # A document is known by its repository, so that many users of one file share its cap.
    document = pl.concat_str([pl.col("repository").fill_null(pl.col("user_id")), "document"], separator="\n")
    asked = samples.select("sample_id", "user_id", document.alias("document"), strata.stratum())
    with duckdb.connect() as connection:
        connection.register("samples", asked.to_arrow())
        named = {name: value for name, value in balance.model_dump().items() if f"${name}" in sql("balance")}
        return connection.sql(f"from ({sql('balance')}) order by sample_id", params=named).pl()


def balance_days(lake: Lake, days: Sequence[date], settings: Settings) -> Balanced:
    """Balance `days` of filtered_samples into balanced_samples and rejected_samples, each day by itself.

    Raises:
        TableMissing: nothing was ever filtered. A day without samples is written empty.
        LostRows: a defect; nothing of the day is written.
    """
    asked = ["sample_id", "user_id", "repository", "document", "language", "outcome", "middle_tokens"]
    counts, mixes, came_in = [], [], {}
    for day in sorted(set(days)):
        decisions = decide(lake.read("filtered_samples", [day]).select(asked).collect(), settings.balance)
        with stage(lake.root, settings.memory_limit) as staged:
            lake.register(staged.connection, "filtered_samples")
            filtered = staged.connection.sql("select * from filtered_samples where day = ?", params=[day])
            filtered.create_view("filtered")
            staged.connection.register("decisions", decisions.to_arrow())
            came_in[day] = _count(staged.connection, "filtered")
            if not came_in[day] == len(decisions) == decisions["sample_id"].n_unique():
                raise LostRows(
                    f"{day}: {came_in[day]} samples, {len(decisions)} decisions: sample ids are not unique"
                )
            staged.write(sql("balanced_samples"), lake, "balanced_samples", day)
            staged.write(sql("balanced_rejected"), lake, "rejected_samples", day, where={"stage": "balance"})
        by_reason = decisions.group_by("reason").agg(n=pl.len()).sort("n", "reason", descending=[True, False])
        counts.append(by_reason.select(pl.lit(day).alias("day"), "reason", "n").cast(TALLY_SCHEMA))
        mixes.append(decisions)
    counted = tally(counts, came_in)
    return Balanced(counted.counts, counted.came_in, mix(pl.concat(mixes)))


def _count(connection: duckdb.DuckDBPyConnection, view: str) -> int:
    (count,) = connection.execute(f"select count(*) from {view}").fetchall()[0]
    return int(count)


def mix(decisions: pl.DataFrame) -> pl.DataFrame:
    """Return the samples of each stratum before and after: stratum, n_before, n_after, largest first."""
    kept = pl.col("reason").is_null().sum()
    return (
        decisions.group_by("stratum")
        .agg(n_before=pl.len().cast(pl.Int64), n_after=kept.cast(pl.Int64))
        .sort("n_before", "stratum", descending=[True, False])
    )
