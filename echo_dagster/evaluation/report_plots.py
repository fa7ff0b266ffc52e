"""The plots of a day's report, each with the table that it is drawn from.

What lives here: which plots a day has, the figures behind each (units stand in the names of their columns), and both
as files. What does not: the look of plots (`plots.py`, `plots_bands.py`), and reading tables (`report_facts.py` and
those beside it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import altair as alt
import polars as pl
import vl_convert

from echo_dagster.evaluation import plots, plots_bands
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
    trends, online, user = facts["trends"], facts["online"], facts["user"]
    if "points" in trends:
        chart = plots_bands.over_days(trends["points"], online.get("changes"))
        found["online"] = Plot(chart, trends["points"].rename({**_INTERVAL, "series": "cohort"}))
        if len(trends["persistence"]):
            table = trends["persistence"].rename(
                {**_INTERVAL, "series": "cohort", "seconds": "seconds_after_acceptance"}
            )
            found["persistence"] = Plot(plots_bands.persistence(trends["persistence"]), table)
    elif "points" in online and len(online["points"]):
        table = online["points"].rename({"series": "metric", "value": "value_share"})
        found["online"] = Plot(plots.trend(online["points"], online["changes"]), table)
    if len(user.get("curve", ())):
        columns = ("predicted", "observed", "low", "high")
        table = user["curve"].rename({**{name: f"{name}_share" for name in columns}, "n": "decisions"})
        found["calibration"] = Plot(plots_bands.calibration(user["curve"]), table)
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
