"""The plots of a day's report, each with the table that it is drawn from.

What lives here: which plots a day has, the figures behind each (units stand in the names of their columns), and both
as files. What does not: the look of plots (`plots.py`, `plots_online.py`, `plots_user.py`), and reading tables
(`report_facts.py` and those beside it).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import altair as alt
import polars as pl
import vl_convert

from echo_dagster.evaluation import plots, plots_online, plots_user
from echo_dagster.evaluation.report_metrics import METRICS, UNITS

_INTERVAL = {"value": "value_share", "low": "low_share", "high": "high_share"}


@dataclass(frozen=True)
class Plot:
    """A chart and the figures in it."""

    chart: alt.TopLevelMixin
    table: pl.DataFrame

    def csv(self) -> str:
        """Return the figures as CSV with a header."""
        return self.table.write_csv()


def of_day(facts: dict[str, Any], offline: pl.DataFrame | None) -> dict[str, Plot]:
    """Return every plot that `facts` has something for, by name.

    A training history that cannot be drawn says so in `facts["training"]["history_missing"]`.
    """
    found = {**_of_data(facts), **_of_use(facts), **_of_models(facts)}
    if offline is not None:
        table = offline.rename({"series": "role", "value": "edit_similarity_0_to_1"})
        found["offline"] = Plot(plots.trend(offline, percent=False), table)
    return found


def write(found: Mapping[str, Plot], day: date, folder: Path) -> list[Path]:
    """Write each plot as `<day>-<name>.png`, on white, and its figures as `<day>-<name>.csv`; return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, plot in found.items():
        picture, figures = (folder / f"{day.isoformat()}-{name}.{kind}" for kind in ("png", "csv"))
        chart = {**plot.chart.to_dict(), "background": "white"}
        picture.write_bytes(vl_convert.vegalite_to_png(chart, scale=2))
        figures.write_text(plot.csv(), encoding="utf-8")
        paths += [picture, figures]
    return paths


def _of_data(facts: Mapping[str, Any]) -> dict[str, Plot]:
    found = {}
    if "steps" in facts["funnel"]:
        steps = pl.DataFrame(facts["funnel"]["steps"])
        named = steps.rename({"n_kept": "gaps_kept", "n_rejected": "gaps_rejected"})
        found["funnel"] = Plot(plots.funnel(steps), named)
    if "strata" in facts["mix"]:
        strata = facts["mix"]["strata"]
        named = strata.rename({"n_before": "samples_before", "n_after": "samples_after"})
        found["mix"] = Plot(plots.mix(strata), named)
    if "samples" in facts["likelihood"] and len(facts["likelihood"]["samples"]):
        samples = facts["likelihood"]["samples"]
        bins = plots.perplexity_bins(samples).select(
            "verdict", samples="rows", from_nats_per_token="low", below_nats_per_token="high"
        )
        found["likelihood"] = Plot(plots.perplexity(samples), bins)
    if "strata" in facts["denoising"]:
        strata = facts["denoising"]["strata"]
        counts = {name: f"samples_{name.removeprefix('n_')}" for name in strata.columns if name[:2] == "n_"}
        edges = {"low_nats": "low_nats_per_token", "high_nats": "high_nats_per_token"}
        named = strata.drop("day", strict=False).rename({**counts, **edges, "max_ifd": "max_ifd_ratio"})
        found["denoising"] = Plot(plots.denoising(strata), named)
    return found


def _of_use(facts: Mapping[str, Any]) -> dict[str, Plot]:
    found = {}
    trends, user = facts["trends"], facts["user"]
    if len(points := trends.get("points", ())):
        is_latency = pl.col("metric").str.ends_with("_ms")
        unit = pl.when(is_latency).then(pl.lit("milliseconds")).otherwise(pl.lit("share"))
        table = points.select(
            "day", cohort="series", metric="metric", unit=unit, value="value", low="low", high="high"
        )
        found["online"] = Plot(plots_online.metric_trends(trends["rows"], trends["grain"]), table)
    if len(left := trends.get("persistence", ())):
        named = {"series": "cohort", "seconds": "seconds_after_acceptance"}
        found["persistence"] = Plot(plots_online.persistence(left), left.rename({**_INTERVAL, **named}))
    if len(cohorts := trends.get("cohorts", ())):
        shares = [f"{name}{end}" for name in plots_online.HEADLINES for end in ("", "_low", "_high")]
        table = cohorts.select("cohort", "model", "first_day", "last_day", "n_users", "n_shown", *shares)
        found["cohorts"] = Plot(plots_online.cohorts(cohorts), table)
    if "fit" in user and (curve := json.loads(user["curve"] or "[]")):
        columns = ("predicted", "observed", "low", "high")
        table = pl.DataFrame(curve, infer_schema_length=None).select(
            *(pl.col(name).cast(pl.Float64).alias(f"{name}_share") for name in columns), decisions="n"
        )
        found["calibration"] = Plot(plots_user.calibration(user["fit"]), table)
    return found


def _of_models(facts: dict[str, Any]) -> dict[str, Plot]:
    found = {}
    if history := facts["training"].get("history"):
        try:
            chart = plots.training_curve(history)
        except plots.PlotError as error:
            facts["training"]["history_missing"] = f"history.json cannot be drawn: {error}."
        else:
            names = ("step", "loss_nats_per_token", "validation_nats_per_token", "learning_rate")
            table = pl.DataFrame([{name: row.get(name) for name in names} for row in history])
            found["loss"] = Plot(chart, table)
    own = facts["compared"].get("own")
    if own is not None and len(own):
        units = {name: UNITS[form] for name, (_, form, _) in METRICS.items()}
        table = own.select(
            "metric",
            pl.col("metric").replace_strict(units, default="number").alias("unit"),
            "role",
            "value",
            "low",
            "high",
            "n_samples",
        )
        found["comparison"] = Plot(plots.comparison(own), table)
    return found
