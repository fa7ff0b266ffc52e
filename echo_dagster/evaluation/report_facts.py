"""What the report says about the day's data: one function per section, each from the lake to a plain mapping.

What lives here: reading, counting and saying why something is missing. What does not: the models
(`report_models.py`), the sample browser (`report_samples.py`), and how it looks (`report.py`, `templates/`,
`plots.py`).

A section that has nothing to say is a mapping with the one key `missing`, a sentence. No number is made up
for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import polars as pl

from echo_dagster.lake import Lake, TableMissing
from echo_dagster.settings import Settings

Facts = dict[str, Any]


def read(lake: Lake, table: str, days: Sequence[date], *columns: str) -> pl.DataFrame | None:
    """Return `columns` (all, if none is named) of `days`, or None where the table or its rows are missing."""
    try:
        frame = lake.read(table, days)
    except TableMissing:
        return None
    rows = (frame.select(columns) if columns else frame).collect()
    return rows if len(rows) else None


def sources(lake: Lake, day: date) -> Facts:
    """Return the day's events by source and cohort, and what was quarantined by reason."""
    events = read(lake, "raw_events", [day], "source", "cohort", "kind", "user_id")
    if events is None:
        return {"missing": f"There are no events of {day}.", "quarantined": _quarantined(lake, day)}
    rows = (
        events.group_by("source", "cohort")
        .agg(
            pl.len().alias("events"),
            pl.col("user_id").n_unique().alias("users"),
            *(
                (pl.col("kind") == kind).sum().alias(kind)
                for kind in ("shown", "accepted", "rejected", "edited")
            ),
        )
        .sort("source", "cohort", nulls_last=True)
    )
    return {"rows": rows.to_dicts(), "n_events": len(events), "quarantined": _quarantined(lake, day)}


def _quarantined(lake: Lake, day: date) -> list[Facts]:
    rows = read(lake, "quarantined_events", [day], "source", "reason")
    return (
        []
        if rows is None
        else rows.group_by("source", "reason").len("rows").sort("source", "reason").to_dicts()
    )


def simulated(lake: Lake, day: date, settings: Settings) -> list[str]:
    """Return which parts of the report rest on data whose source or cohort calls itself simulated."""
    parts = {
        "the day's events": ("raw_events", [day], ("source", "cohort")),
        "the day's gaps": ("gap_sessions", [day], ("source", "cohort")),
        "the training set": ("training_set", [day], ("source", "cohort")),
        "the scored samples of its window": ("scored_samples", window(day, settings), ("source", "cohort")),
        "the online metrics": ("online_metrics", None, ("cohort",)),
    }
    found = []
    for part, (table, days, columns) in parts.items():
        try:
            frame = lake.read(table, days).filter(pl.col("day") <= day)
        except TableMissing:
            continue
        says_so = pl.any_horizontal(
            pl.col(column).str.to_lowercase().str.contains("simulated") for column in columns
        )
        if len(frame.filter(says_so).head(1).collect()):
            found.append(part)
    return found


def window(day: date, settings: Settings) -> list[date]:
    """Return the days a training set of `day` is made of."""
    return [day - timedelta(days=back) for back in range(settings.window.days, 0, -1)]


def funnel(lake: Lake, day: date) -> Facts:
    """Return rows kept and rejected by each step of the day, and every reason with its rows."""
    gaps = _count(lake, "gap_sessions", day)
    if gaps is None:
        return {"missing": f"No gap closed on {day}."}
    rejected = read(lake, "rejected_samples", [day], "stage", "reason")
    by_reason = (
        pl.DataFrame(schema={"stage": pl.String, "reason": pl.String, "rows": pl.Int64})
        if rejected is None
        else rejected.filter(pl.col("stage").is_in(["filter", "balance"]))
        .group_by("stage", "reason")
        .agg(rows=pl.len())
    )
    lost: dict[str, int] = dict(by_reason.group_by("stage").agg(pl.col("rows").sum()).iter_rows())
    steps = [{"step": "gaps closed", "n_kept": gaps, "n_rejected": 0}]
    not_run = []
    for step, table, stage in (
        ("filtered", "filtered_samples", "filter"),
        ("balanced", "balanced_samples", "balance"),
        ("scored", "scored_samples", None),
    ):
        kept, dropped = _count(lake, table, day), lost.get(stage or "", 0)
        if kept is None and not dropped:
            not_run.append(f"{table} has no rows of {day}")
        else:
            steps.append({"step": step, "n_kept": kept or 0, "n_rejected": dropped})
    come = {"filter": gaps, "balance": steps[1]["n_kept"] if len(steps) > 1 else 0}
    reasons = by_reason.with_columns(
        share=pl.col("rows") / pl.col("stage").replace_strict(come, return_dtype=pl.Float64)
    ).sort(pl.col("stage") == "balance", "rows", "reason", descending=[False, True, False])
    return {"steps": steps, "reasons": reasons.to_dicts(), "not_run": not_run}


def funnel_steps(lake: Lake, day: date) -> pl.DataFrame:
    """Return the steps of `funnel` as a frame for its plot, without rows where no gap closed."""
    return pl.DataFrame(funnel(lake, day).get("steps", []))


def _count(lake: Lake, table: str, day: date) -> int | None:
    rows = read(lake, table, [day], "day")
    return None if rows is None else len(rows)


def online(lake: Lake, day: date) -> Facts:
    """Return the day's online metrics by group; what a group of too few users did is null and is in no sum."""
    rows = read(lake, "online_metrics", [day])
    if rows is None:
        return {"missing": f"No online metrics were measured for {day}."}
    order = {"n_shown": True, "model": False, "language": False, "cohort": False}
    return {
        "rows": rows.sort(*order, descending=list(order.values())).to_dicts(),
        "n_suppressed": int(rows["is_suppressed"].sum()),
    }


def mix(lake: Lake, day: date) -> Facts:
    """Return the day's samples by language and outcome before and after balancing."""
    before = read(lake, "filtered_samples", [day], "language", "outcome")
    after = read(lake, "balanced_samples", [day], "language", "outcome")
    if before is None or after is None:
        return {
            "missing": f"Nothing was balanced on {day}: no sample passed the filters or the step has not run."
        }
    stratum = pl.concat_str(
        pl.col("language").fill_null("unknown language"), pl.lit(" · "), pl.col("outcome")
    )
    counts = [
        frame.select(stratum=stratum).group_by("stratum").len(name)
        for name, frame in (("n_before", before), ("n_after", after))
    ]
    strata = counts[0].join(counts[1], on="stratum", how="left").with_columns(pl.col("n_after").fill_null(0))
    return {
        "strata": strata.sort("n_before", "stratum", descending=[True, False]),
        "n_before": len(before),
        "n_after": len(after),
    }


def likelihood(lake: Lake, day: date, settings: Settings) -> Facts:
    """Return NLL by what became of the sample: of the training set's window, or of the day itself."""
    columns = ("sample_id", "stratum", "middle_nats_per_token", "proposal_nats_per_token", "ifd")
    kept = read(lake, "training_set", [day], "sample_id")
    cut = read(lake, "rejected_samples", [day], "sample_id", "stage", "reason")
    cut = None if cut is None else cut.filter(pl.col("stage") == "denoise")
    is_denoised = kept is not None or (cut is not None and len(cut) > 0)
    scored = read(lake, "scored_samples", window(day, settings) if is_denoised else [day], *columns)
    if scored is None:
        return {"missing": f"No sample of {day} or of the days before it was scored."}
    verdicts = pl.concat(
        ([] if kept is None else [kept.select("sample_id", verdict=pl.lit("kept"))])
        + ([] if cut is None else [cut.select("sample_id", verdict="reason")])
        or [pl.DataFrame(schema={"sample_id": pl.String, "verdict": pl.String})]
    ).unique("sample_id", keep="first")
    other = "not taken" if is_denoised else "scored, not yet denoised"
    scored = scored.join(verdicts, on="sample_id", how="left").with_columns(
        pl.col("verdict").fill_null(other)
    )
    nats = pl.col("middle_nats_per_token")
    is_kept = pl.col("verdict") == "kept"
    # Bands are per language x length: the stratum of the balance without its last part, the outcome.
    bands = (
        scored.group_by(stratum=pl.col("stratum").str.replace(r"/[^/]*$", ""))
        .agg(
            pl.len().alias("samples"),
            is_kept.sum().alias("kept"),
            nats.median().alias("median"),
            nats.filter(is_kept).min().alias("low"),
            nats.filter(is_kept).max().alias("high"),
        )
        .sort("samples", "stratum", descending=[True, False])
    )
    finite = scored.filter(nats.is_finite())
    return {
        "samples": finite.select("verdict", "middle_nats_per_token"),
        "n_not_finite": len(scored) - len(finite),
        "bands": bands.to_dicts(),
        "verdicts": scored.group_by("verdict")
        .len("rows")
        .sort("rows", "verdict", descending=[True, False])
        .to_dicts(),
        "medians": finite.select(pl.col(columns[2:]).median()).row(0, named=True) if len(finite) else None,
        "is_denoised": is_denoised,
        "n_samples": len(scored),
    }
