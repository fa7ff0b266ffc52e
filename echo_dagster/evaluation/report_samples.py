"""The report's sample browser: which gaps of a day are shown, and each as the page's script reads it.

What lives here: reading the gaps with their verdicts, the choice among them, and the rows of the browser.
What does not: which of their texts may be shown and how much (`report_texts.py`), and the page (`report.py`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from hashlib import sha256
from typing import Any

import polars as pl

from echo_dagster.evaluation.report_texts import Caps, Mask, Texts, diff, head, shown, tail
from echo_dagster.evaluation.schema import ROLES
from echo_dagster.lake import Lake, TableMissing

#: Documents are long: this many characters are read on either side of a gap. That is more than are shown, so
#: that a private key is noticed of which only the end reaches what is shown.
_READ_CHARS = 8192

_META = (
    "gap_id",
    "opened_at",
    "closed_at",
    "language",
    "document",
    "repository",
    "user_id",
    "model",
    "source",
    "cohort",
    "outcome",
    "break_reason",
    "tracking",
    "censored",
    "kept_rate",
    "n_edits",
    "accepted_chars",
    "typed_chars",
    "pasted_chars",
    "agent_chars",
)


@dataclass(frozen=True)
class Browser:
    """The gaps shown: one mapping per gap, as the page's script reads it, in order of time."""

    gaps: list[dict[str, Any]]
    n_of_day: int
    n_kept: int  # of those shown
    caps: Caps


def browse(
    lake: Lake, day: date, mask: Mask, *, limit: int = 1000, max_bytes: int = 3_400_000
) -> Browser | None:
    """Return the gaps of `day` to read, or None where no gap closed on it.

    At most `limit` gaps: half of the places for kept ones, half for the others, places left over to either;
    within each half those whose ids have the lowest SHA-256. If their JSON exceeds `max_bytes`, all caps are
    halved until it fits. `mask` returns a text with its secrets replaced.
    """
    verdicts = _verdicts(lake, day)
    if verdicts is None:
        return None
    chosen = _choose(verdicts, limit)
    caps, mask = Caps(), cache(mask)  # C_1 is often C_N, and what the models write often either
    rows = [(row, shown(row, mask, caps)) for row in _gaps(lake, day, chosen)]
    predictions = _predictions(lake, day, chosen, mask)
    while True:
        gaps = [_entry(row, texts, predictions.get(row["gap_id"], []), caps) for row, texts in rows]
        size = len(json.dumps(gaps, ensure_ascii=False).encode("utf-8", "replace"))
        if size <= max_bytes or caps.text_chars < 100:
            return Browser(gaps, len(verdicts), sum(_is_kept(row) for row, _ in rows), caps)
        caps = caps.halved()


def _read(lake: Lake, table: str, day: date) -> pl.LazyFrame | None:
    try:
        return lake.read(table, [day])
    except TableMissing:
        return None


def _verdicts(lake: Lake, day: date) -> pl.DataFrame | None:
    """Return one row per gap of the day: `gap_id`, `stage` and `reason` of its rejection, and `is_seen`."""
    gaps = _read(lake, "gap_sessions", day)
    if gaps is None:
        return None
    verdicts = gaps.select("gap_id").collect()
    if not len(verdicts):
        return None
    filtered, rejected = _read(lake, "filtered_samples", day), _read(lake, "rejected_samples", day)
    kept = (
        pl.Series([], dtype=pl.String)
        if filtered is None
        else filtered.select("sample_id").collect().to_series()
    )
    if rejected is None:
        reasons = pl.DataFrame(schema={"gap_id": pl.String, "stage": pl.String, "reason": pl.String})
    else:
        reasons = (
            rejected.filter(pl.col("stage").is_in(["filter", "balance"]))
            .select(pl.col("sample_id").alias("gap_id"), "stage", "reason")
            .collect()
            .unique("gap_id", keep="first")
        )
    return verdicts.join(reasons, on="gap_id", how="left").with_columns(
        is_sample=pl.col("gap_id").is_in(kept.implode()),
        is_seen=pl.col("gap_id").is_in(kept.implode()) | pl.col("stage").is_not_null(),
    )


def _is_kept(row: Mapping[str, Any]) -> bool:
    return bool(row["is_sample"]) and row["stage"] is None


def _choose(verdicts: pl.DataFrame, limit: int) -> pl.DataFrame:
    if len(verdicts) <= limit:
        return verdicts
    is_kept = pl.col("is_sample") & pl.col("stage").is_null()
    kept, others = (
        sorted(verdicts.filter(which)["gap_id"].to_list(), key=lambda name: sha256(name.encode()).digest())
        for which in (is_kept, ~is_kept)
    )
    n_kept = min(len(kept), max(limit // 2, limit - len(others)))
    return verdicts.filter(pl.col("gap_id").is_in([*kept[:n_kept], *others[: limit - n_kept]]))


def _gaps(lake: Lake, day: date, chosen: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the chosen gaps with their verdicts, samples and likelihoods, in order of time."""
    context = [pl.col("prefix").str.tail(_READ_CHARS), pl.col("suffix").str.head(_READ_CHARS)]
    rows = (
        lake.read("gap_sessions", [day])
        .select(
            *_META,
            *context,
            "consent",
            "replaced",
            "proposal",
            "final",
            n_final=pl.col("final").str.len_chars(),
        )
        .join(chosen.lazy(), on="gap_id")
        .collect()
    )
    if (samples := _read(lake, "filtered_samples", day)) is not None:
        became = samples.select(
            *context,
            "proposal",
            "middle",
            "scope",
            gap_id="sample_id",
            n_middle=pl.col("middle").str.len_chars(),
        )
        wanted = chosen.lazy().filter("is_sample").select("gap_id")
        rows = rows.join(
            became.join(wanted, on="gap_id").collect(), on="gap_id", how="left", suffix="_sample"
        )
    if (scored := _read(lake, "scored_samples", day)) is not None:
        nats = ("middle_nats_per_token", "proposal_nats_per_token", "ifd")
        rows = rows.join(scored.select(*nats, gap_id="sample_id").collect(), on="gap_id", how="left")
    return rows.sort("opened_at", "gap_id").to_dicts()


def _predictions(lake: Lake, day: date, chosen: pl.DataFrame, mask: Mask) -> dict[str, list[dict[str, Any]]]:
    """Return what each role wrote, masked, by gap."""
    table = _read(lake, "predictions", day)
    if table is None:
        return {}
    rows = table.join(chosen.lazy().filter("is_sample").select(sample_id="gap_id"), on="sample_id").collect()
    found: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows.to_dicts(), key=lambda row: ROLES.index(row["role"])):
        found.setdefault(row["sample_id"], []).append({**row, "prediction": mask(row["prediction"])})
    return found


def _entry(
    row: Mapping[str, Any], texts: Texts | str, predictions: list[dict[str, Any]], caps: Caps
) -> dict[str, Any]:
    """Return one gap as the page's script reads it."""
    entry: dict[str, Any] = {
        **{name: row[name] for name in _META if name not in ("gap_id", "opened_at", "closed_at")},
        "id": row["gap_id"],
        "at": f"{row['opened_at']:%H:%M:%S}",
        "open_s": round((row["closed_at"] - row["opened_at"]).total_seconds(), 1),
        "verdict": "kept" if _is_kept(row) else row["reason"] or "not refined",
        "stage": row["stage"],
        "kept_rate": _number(row["kept_rate"]),
        "scope": row.get("scope"),
        "nll": _number(row.get("middle_nats_per_token")),
        "nll_shown": _number(row.get("proposal_nats_per_token")),
        "ifd": _number(row.get("ifd")),
    }
    if isinstance(texts, str):
        return {**entry, "hidden": texts}
    named = {"C_1": texts.proposal, "C_N": texts.final, "the replaced text": texts.replaced}
    final = texts.final[: caps.text_chars]
    is_shortened = row["is_sample"] and row["n_middle"] < row["n_final"]
    return {
        **entry,
        "before": tail(texts.prefix, caps),
        "after": head(texts.suffix, caps),
        "is_suffix_known": row["suffix"] is not None,
        "replaced": texts.replaced[: caps.text_chars],
        "parts": diff(texts.proposal[: caps.text_chars], final),
        "n_final": row["n_final"] if is_shortened else None,
        "cut": [name for name, text in named.items() if len(text) > caps.text_chars],
        "predictions": [_prediction(prediction, final, caps) for prediction in predictions],
    }


def _prediction(row: Mapping[str, Any], final: str, caps: Caps) -> dict[str, Any]:
    text = row["prediction"]
    return {
        "role": row["role"],
        "model": row["model_digest"],
        "is_exact": row["is_exact_match"],
        "similarity": _number(row["edit_similarity"]),
        "nll": _number(row["middle_nats_per_token"]),
        "acceptance": _number(row["predicted_acceptance"]),
        "chrf": _number(row.get("chrf")),
        "retained": _number(row.get("predicted_retained_chars")),
        "is_held_out_user": row["is_held_out_user"],
        "is_held_out_repository": row.get("is_held_out_repository"),
        "is_cut": len(text) > caps.prediction_chars,
        "parts": diff(text[: caps.prediction_chars], final[: caps.prediction_chars]),
    }


def _number(value: float | None) -> float | None:
    """Return a number that JSON can hold, or None."""
    return None if value is None or not math.isfinite(value) else round(value, 4)
