"""What denoising did to a training set, as the report tells it: the mix, and samples just in and just out, to read.

What lives here: reading the `denoising` table, and choosing the samples nearest to each edge, on either side. What does
not: the bands themselves (the refinery), which text may be shown and how much of it (`report_texts.py`), and how it
looks (`report.py`, `templates/`, `plots.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, NamedTuple

import polars as pl

from echo_dagster.evaluation.report_facts import Facts, read, window
from echo_dagster.evaluation.report_texts import Caps, Mask, diff, head, shown, tail
from echo_dagster.lake import Lake
from echo_dagster.settings import Settings

#: Samples on either side of an edge. Enough to see what kind of code stands there.
NEAREST = 5
CAPS = Caps(context_lines=6, context_chars=600, text_chars=1200)


class Edge(NamedTuple):
    """One edge of what is kept: the reason beyond it, the value that decides, and where the edge stands."""

    reason: str
    value: str
    column: str


EDGES = (
    Edge("ppl_low", "middle_nats_per_token", "low_nats"),
    Edge("ppl_high", "middle_nats_per_token", "high_nats"),
    Edge("ifd_above_one", "ifd", "max_ifd"),
)

_KEYS = ("scorer", "stratum")
#: What is read of a sample to place it, and of the chosen ones to show them.
_PLACED = ("sample_id", *_KEYS, "middle_nats_per_token", "ifd")
_SHOWN = (
    "sample_id",
    "document",
    "repository",
    "user_id",
    "language",
    "outcome",
    "proposal_nats_per_token",
    "prefix",
    "suffix",
    "proposal",
    "middle",
)


def denoising(lake: Lake, day: date, settings: Settings, mask: Mask) -> Facts:
    """Return what denoising did to the mix of the training set of `day`, and the samples nearest to each edge.

    Each sample is measured against the edge of its own band; of those as near as one another, the ones of the larger
    stratum come first.
    """
    strata = read(lake, "denoising", [day])
    if strata is None:
        return {"missing": f"No training set of {day} was denoised."}
    strata = strata.sort("n_before", *_KEYS, descending=[True, False, False])
    kept = read(lake, "training_set", [day], *_PLACED, "origin")
    if kept is not None:  # others passed the bands of their own days, or none
        kept = kept.filter(pl.col("origin") == "window").drop("origin")
    dropped = _dropped(lake, day, settings)
    near: dict[Edge, dict[str, list[dict[str, Any]]]] = {}
    for edge in EDGES:
        of_edge = None if dropped is None else dropped.filter(reason=edge.reason)
        near[edge] = {"just in": _nearest(kept, strata, edge), "just out": _nearest(of_edge, strata, edge)}
    chosen = [row["sample_id"] for sides in near.values() for rows in sides.values() for row in rows]
    texts = _texts(lake, day, settings, chosen)
    edges = [
        {
            "reason": edge.reason,
            "n_dropped": strata[f"n_{edge.reason}"].sum(),
            "sides": {
                name: [_entry(row, texts[row["sample_id"]], mask) for row in rows]
                for name, rows in sides.items()
            },
        }
        for edge, sides in near.items()
    ]
    return {
        "strata": strata,
        "n_before": strata["n_before"].sum(),
        "n_after": strata["n_after"].sum(),
        "n_scorers": strata["scorer"].n_unique(),
        "edges": edges,
    }


def _dropped(lake: Lake, day: date, settings: Settings) -> pl.DataFrame | None:
    """Return the samples that denoising dropped, each with its reason, as far as they are still in the lake."""
    rejected = read(lake, "rejected_samples", [day], "sample_id", "stage", "reason")
    scored = read(lake, "scored_samples", window(day, settings), *_PLACED)
    if rejected is None or scored is None:
        return None
    of_edges = rejected.filter(
        (pl.col("stage") == "denoise") & pl.col("reason").is_in([edge.reason for edge in EDGES])
    )
    return scored.join(of_edges.select("sample_id", "reason"), on="sample_id")


def _nearest(samples: pl.DataFrame | None, strata: pl.DataFrame, edge: Edge) -> list[dict[str, Any]]:
    if samples is None:
        return []
    # Bands are per language x length: the stratum of the balance without its last part, the outcome.
    of_band = samples.with_columns(pl.col("stratum").str.replace(r"/[^/]*$", ""))
    placed = of_band.join(strata.select(*_KEYS, "n_before", edge=edge.column), on=_KEYS)
    away = (pl.col(edge.value) - pl.col("edge")).abs()
    in_order = placed.sort(away, "n_before", "sample_id", descending=[False, True, False])
    return in_order.head(NEAREST).to_dicts()


def _texts(lake: Lake, day: date, settings: Settings, ids: list[str]) -> dict[str, dict[str, Any]]:
    """Return what is shown of the chosen samples, by id: those kept from the training set, the others as scored."""
    if not ids:
        return {}
    found: dict[str, dict[str, Any]] = {}
    for table, days in (("scored_samples", window(day, settings)), ("training_set", [day])):
        if lake.exists(table):
            rows = lake.read(table, days).filter(pl.col("sample_id").is_in(ids)).select(_SHOWN).collect()
            found |= {row["sample_id"]: row for row in rows.to_dicts()}
    return found


def _entry(row: Mapping[str, Any], text: Mapping[str, Any], mask: Mask) -> dict[str, Any]:
    """Return one sample as the page shows it."""
    entry = {**text, **row}
    sample = {f"{name}_sample": text[name] for name in ("prefix", "suffix", "proposal")}
    verdict = {"is_seen": True, "is_sample": True, "consent": True, "reason": None, "replaced": ""}
    texts = shown({**verdict, **sample, "middle": text["middle"]}, mask, CAPS)
    if isinstance(texts, str):
        return {**entry, "hidden": texts}
    proposal, final = texts.proposal[: CAPS.text_chars], texts.final[: CAPS.text_chars]
    return {
        **entry,
        "before": tail(texts.prefix, CAPS),
        "after": head(texts.suffix, CAPS),
        "parts": diff(proposal, final),
        "is_cut": max(len(texts.proposal), len(texts.final)) > CAPS.text_chars,
    }
