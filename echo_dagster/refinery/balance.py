"""The mix of a day: no user, document, repository or kind of gap drowns the others. sql/balance.sql has the rules.

What does not live here: what a stratum is (`strata.py`), and likelihoods (`denoise.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import duckdb
import polars as pl

from echo_dagster.lake import Lake, connect
from echo_dagster.refinery import strata
from echo_dagster.refinery.staging import LostRows, stage
from echo_dagster.refinery.tally import TALLY_SCHEMA, Tally, tally
from echo_dagster.resources import sql
from echo_dagster.settings import Balance, Settings


@dataclass(frozen=True)
class Balanced(Tally):
    """The tally; the mix (`mix`) and what each cap did (`capped`), both over all the days."""

    mix: pl.DataFrame
    caps: pl.DataFrame


#: What a cap holds for, and the reason it gives.
_CAPPED = {"document": "over_document_cap", "user_id": "over_user_cap", "repository": "over_repository_cap"}

#: What is asked of filtered_samples.
_ASKED = ("sample_id", "user_id", "repository", "document", "language", "outcome", "middle_tokens")


def decide(samples: pl.DataFrame, balance: Balance) -> pl.DataFrame:
    """Decide about the samples of one day.

    Args:
        samples: SAMPLE_SCHEMA, one day, or the columns of it that are asked.
        balance: temperature, caps and seed.

    Returns:
        sample_id, stratum, reason (null: kept) and value (the place in the lot, where it decided), by
        sample_id.
    """
    asked = samples.select("sample_id", "user_id", "repository", _document(), strata.stratum())
    with connect() as connection:
        connection.register("samples", asked.to_arrow())
        named = {name: value for name, value in balance.model_dump().items() if f"${name}" in sql("balance")}
        return connection.sql(f"from ({sql('balance')}) order by sample_id", params=named).pl()


def balance_days(lake: Lake, days: Sequence[date], settings: Settings) -> Balanced:
    """Balance `days` of filtered_samples into balanced_samples and rejected_samples, each day by itself.

    Raises:
        TableMissing: nothing was ever filtered. A day without samples is written empty.
        LostRows: a defect; nothing of the day is written.
    """
    counts, mixes, caps, came_in = [], [], [], {}
    for day in sorted(set(days)):
        samples = lake.read("filtered_samples", [day]).select(_ASKED).collect()
        decisions = decide(samples, settings.balance)
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
        mixes.append(_by_stratum(decisions))
        caps.append(capped(samples, decisions))
    counted = tally(counts, came_in)
    return Balanced(counted.counts, counted.came_in, _mix(pl.concat(mixes)), _caps(pl.concat(caps)))


def _count(connection: duckdb.DuckDBPyConnection, view: str) -> int:
    (count,) = connection.execute(f"select count(*) from {view}").fetchall()[0]
    return int(count)


def mix(decisions: pl.DataFrame) -> pl.DataFrame:
    """Return the samples of each stratum: stratum, n_before, n_after, share_before, share_after; largest first."""
    return _mix(_by_stratum(decisions))


def capped(samples: pl.DataFrame, decisions: pl.DataFrame) -> pl.DataFrame:
    """Return what each cap did to a day, as counts that name nobody: one row per cap.

    Columns: `cap` (document, user or repository), `n` (how many there are), `n_cut` (how many of them lost samples to
    their cap), `n_dropped` (samples that the cap took), `largest_before` and `largest_after` (the largest share that
    one of them has, null where there is none).
    """
    decided = samples.with_columns(_document()).join(decisions.select("sample_id", "reason"), on="sample_id")
    rows = []
    for name, reason in _CAPPED.items():
        of_each = decided.drop_nulls(name).group_by(name)
        counted = of_each.agg(before=pl.len(), after=_is_kept().sum(), cut=(pl.col("reason") == reason).sum())
        rows.append(
            counted.select(
                cap=pl.lit(name.removesuffix("_id")),
                n=pl.len().cast(pl.Int64),
                n_cut=(pl.col("cut") > 0).sum().cast(pl.Int64),
                n_dropped=pl.col("cut").sum().cast(pl.Int64),
                largest_before=pl.col("before").max() / max(1, len(decided)),
                largest_after=pl.col("after").max() / max(1, decided["reason"].null_count()),
            )
        )
    return pl.concat(rows)


def _document() -> pl.Expr:
    """Return a document by the name of its repository, so that many users of one file share its cap."""
    place = pl.col("repository").fill_null(pl.col("user_id"))
    return pl.concat_str([place, "document"], separator="\n").alias("document")


def _is_kept() -> pl.Expr:
    return pl.col("reason").is_null()


def _by_stratum(decisions: pl.DataFrame) -> pl.DataFrame:
    return decisions.group_by("stratum").agg(n_before=pl.len(), n_after=_is_kept().sum())


def _mix(of_days: pl.DataFrame) -> pl.DataFrame:
    summed = of_days.group_by("stratum").agg(pl.col("n_before", "n_after").sum().cast(pl.Int64))
    return summed.sort("n_before", "stratum", descending=[True, False]).with_columns(
        share_before=pl.col("n_before") / pl.col("n_before").sum(),
        share_after=pl.col("n_after") / pl.max_horizontal(pl.col("n_after").sum(), 1),
    )


def _caps(of_days: pl.DataFrame) -> pl.DataFrame:
    """Return the caps of several days: counts added up, and the largest share on any day."""
    return of_days.group_by("cap", maintain_order=True).agg(
        pl.col("n", "n_cut", "n_dropped").sum(), pl.col("largest_before", "largest_after").max()
    )
