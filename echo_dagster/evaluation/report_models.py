"""What the report says about the models: training, and the comparison on held-out gaps.

What lives here: reading `checkpoint` and `evaluated_model` into plain mappings, and saying why something is missing,
as `report_facts.py` does for the data. What does not: the decision (`report_decision.py`), the verdict in words
(`report_verdict.py`), and how it looks.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from echo_dagster.evaluation.report_facts import Facts, read
from echo_dagster.evaluation.report_metrics import METRICS
from echo_dagster.evaluation.schema import ROLES
from echo_dagster.forgotten import people_behind
from echo_dagster.lake import Lake, TableMissing
from echo_dagster.settings import Settings

#: Kinds of slices, in order; what follows the first is folded on the page.
KINDS = {
    "all": "All held-out gaps",
    "held_out": "Held-out users and repositories",
    "language": "By language",
    "length": "By length of C_N",
    "outcome": "By outcome",
    "cohort": "By cohort",
}
_NAMES = {
    "all": "All held-out gaps",
    "held_out_users": "Held-out users",
    "held_out_repositories": "Held-out repositories",
}


def training(lake: Lake, day: date, settings: Settings) -> Facts:
    """Return the day's checkpoint row, the training set behind it, its losses and its provenance record."""
    rows = read(lake, "checkpoint", [day])
    sample_days = read(lake, "training_set", [day], "sample_day", "language", "user_id")
    facts: Facts = {"training_set": None}
    if sample_days is not None:
        facts["training_set"] = {
            "n_samples": len(sample_days),
            "n_days": sample_days["sample_day"].n_unique(),
            "first": sample_days["sample_day"].min(),
            "last": sample_days["sample_day"].max(),
            "n_users": sample_days["user_id"].n_unique(),
        }
    if rows is None:
        return {**facts, "missing": f"Nothing was trained on {day}: no checkpoint is recorded for it."}
    row = rows.row(0, named=True)
    if row["status"] != "trained":
        return {**facts, "missing": f"Nothing was trained on {day}: {row['reason'] or row['status']}."}
    folder = None if row["path"] is None else settings.data_dir / row["path"]
    history, history_missing = _json_file(folder, "history.json", list)
    record = _record(row["provenance"])
    if record is None:
        record, _ = _json_file(folder, "provenance.json", dict)
    return {
        **facts,
        "row": row,
        "n_forgotten": people_behind(lake, row["path"]),
        "history": history,
        "history_missing": history_missing,
        "provenance": [] if record is None else list(_flat(record)),
    }


def _json_file(folder: Path | None, name: str, kind: type) -> tuple[Any, str | None]:
    """Return the content of a file beside the checkpoint, or None and why it cannot be shown."""
    if folder is None or not (folder / name).is_file():
        return None, f"The checkpoint's directory holds no {name}."
    try:
        found = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None, f"{name} in the checkpoint's directory cannot be read."
    return (
        (found, None)
        if isinstance(found, kind)
        else (None, f"{name} in the checkpoint's directory has another shape.")
    )


def _record(text: str | None) -> dict[str, Any] | None:
    try:
        found = json.loads(text or "")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _flat(record: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield a nested record as (dotted name, text), sorted by name; long values are cut and say so."""
    for name, value in sorted(record.items()):
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
            yield f"{above}{name}", text if len(text) <= 200 else f"{text[:200]} … ({len(text)} characters)"


def compared(lake: Lake, day: date) -> Facts:
    """Return the comparison of the day: per slice and metric the roles' values and paired differences."""
    rows = read(lake, "evaluated_model", [day])
    if rows is None:
        return {"missing": f"No model was evaluated on {day}."}
    own, paired = rows.filter(pl.col("versus").is_null()), rows.filter(pl.col("versus").is_not_null())
    roles = [role for role in ROLES if role in own["role"]]
    pairs = [
        (role, versus)
        for role in reversed(ROLES)
        for versus in ROLES
        if len(paired.filter((pl.col("role") == role) & (pl.col("versus") == versus)))
    ]
    cells = {(row["slice"], row["metric"], row["role"], row["versus"]): row for row in rows.to_dicts()}
    slices = sorted(rows["slice"].unique(), key=_order)
    metrics = sorted(
        rows["metric"].unique(),
        key=lambda name: (name not in METRICS, list(METRICS).index(name) if name in METRICS else 0, name),
    )
    table = [
        {
            "slice": name,
            "kind": _kind(name),
            "title": _NAMES.get(name, name.partition("=")[2] or name),
            "rows": [
                {
                    "metric": metric,
                    "roles": [_cell(cells.get((name, metric, role, None)), metric) for role in roles],
                    "differences": [
                        _cell(cells.get((name, metric, role, versus)), metric) for role, versus in pairs
                    ],
                    "n": max(
                        (row["n_samples"] for key, row in cells.items() if key[:2] == (name, metric)),
                        default=None,
                    ),
                }
                for metric in metrics
                if any(key[:2] == (name, metric) for key in cells)
            ],
        }
        for name in slices
    ]
    named = dict(own.select("role", "model_digest").unique().sort("role", "model_digest").iter_rows())
    digests = {role: named[role] for role in roles}
    return {
        "roles": roles,
        "pairs": pairs,
        "table": table,
        "families": [
            {
                "kind": kind,
                "title": KINDS.get(kind, kind),
                "groups": [one for one in table if one["kind"] == kind],
            }
            for kind in dict.fromkeys(one["kind"] for one in table)
        ],
        "own": own.filter(pl.col("slice") == "all"),
        "digests": digests,
    }


def _kind(name: str) -> str:
    return "held_out" if name.startswith("held_out") else name.partition("=")[0]


def _order(name: str) -> tuple[int, str, int, str]:
    """Return where a slice stands: by kind, and lengths by their number."""
    kind = _kind(name)
    digits = re.search(r"\d+", name) if kind == "length" else None
    place = list(KINDS).index(kind) if kind in KINDS else len(KINDS)
    return place, kind, int(digits.group()) if digits else 0, name


def _cell(row: Mapping[str, Any] | None, metric: str) -> Facts | None:
    """Return a value with its interval, and for a difference on which side of zero the interval lies."""
    if row is None or row["value"] is None or not math.isfinite(row["value"]):
        return None
    verdict = None
    if (
        row["versus"] is not None
        and row["low"] is not None
        and row["high"] is not None
        and _direction(metric) != "neither"
    ):
        sign = 1 if _direction(metric) == "higher" else -1
        verdict = (
            "better"
            if min(sign * row["low"], sign * row["high"]) > 0
            else "worse"
            if max(sign * row["low"], sign * row["high"]) < 0
            else "open"
        )
    return {
        "value": row["value"],
        "low": row["low"],
        "high": row["high"],
        "n": row["n_samples"],
        "verdict": verdict,
        "metric": metric,
    }


def _direction(metric: str) -> str:
    return METRICS[metric][2] if metric in METRICS else "neither"


def side_by_side(evaluated: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each metric over all held-out gaps, in the order of `METRICS`: each model's value, and what the
    candidate gains over the champion, with its interval.

    Args:
        evaluated: rows of `evaluated_model` of one day.
    """
    every = evaluated.filter(slice="all")
    values = every.filter(pl.col("versus").is_null()).pivot("role", index="metric", values="value")
    gains = every.filter(role="candidate", versus="champion").select(
        "metric", pl.col("value").alias("gain_over_champion"), "low", "high", "n_samples"
    )
    order = pl.DataFrame({"metric": list(METRICS)})
    return order.join(values, on="metric", maintain_order="left").join(
        gains, on="metric", how="left", maintain_order="left"
    )


def offline_trend(lake: Lake, day: date) -> pl.DataFrame | None:
    """Return edit similarity by role over all days up to `day`, or None where nothing was evaluated."""
    try:
        rows = lake.read("evaluated_model").filter(pl.col("day") <= day).collect()
    except TableMissing:
        return None
    rows = rows.filter(
        pl.col("versus").is_null()
        & (pl.col("slice") == "all")
        & (pl.col("metric") == "edit_similarity")
        & pl.col("value").is_finite()
    )
    order = pl.col("series").replace_strict(
        {role: place for place, role in enumerate(ROLES)}, return_dtype=pl.Int64
    )
    points = rows.select("day", "value", series="role").sort(order, "day")
    return points if len(points) else None
