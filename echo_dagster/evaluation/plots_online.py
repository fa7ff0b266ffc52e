"""Plots of online metrics: frames in, Altair charts out.

What lives here: one function per plot. What does not: the frames (`longitudinal.py`), the look and the rendering
(`pictures.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import altair as alt
import polars as pl

from echo_dagster.evaluation import longitudinal
from echo_dagster.evaluation.pictures import (
    AMBER,
    BLUE,
    GREEN,
    MUTED,
    PURPLE,
    TEXT,
    VERMILION,
    PlotError,
    styled,
)
from echo_dagster.evaluation.schema import PERSISTENCE_SECONDS

METRIC_TITLES = {
    "acceptance_rate": "Acceptance rate",
    "weighted_acceptance_rate": "Acceptance rate, by characters",
    "generation_rate": "Generation rate",
    "kept_rate": "Kept rate",
    "typed_through_share": "Typed out instead of accepted",
    "retained_30s_share": "Left after 30 s",
    "retained_300s_share": "Left after 5 min",
    "latency_p50_ms": "Latency, median, ms",
    "latency_p95_ms": "Latency, 95th percentile, ms",
}
#: The few that say most: for a table of cohorts, and where a picture must be small.
HEADLINES = ("acceptance_rate", "weighted_acceptance_rate", "generation_rate", "kept_rate")

_COLOURS = (BLUE, AMBER, GREEN, PURPLE, VERMILION, MUTED)
#: More series than this cannot be told apart; those with the fewest points go, and the title says so.
MAX_SERIES = len(_COLOURS)
_WIDTH, _HEIGHT = 330, 110


def metric_trends(
    trends: pl.DataFrame, grain: str = "all", metrics: Sequence[str] = tuple(METRIC_TITLES)
) -> alt.ConcatChart:
    """Small multiples: a panel per metric, a line per series with the band of its interval, rules where models changed.

    Args:
        trends: rows of `trends`, of many days; metrics that were never measured have no panel.
        grain: as in `longitudinal.points`.
        metrics: names in `METRIC_TITLES`.

    Raises:
        PlotError: there is nothing to draw.
    """
    points = longitudinal.points(trends, grain, metrics)
    marks = longitudinal.served(trends)
    series, left_out = _series(points)
    points = points.filter(pl.col("series").is_in(series))
    if points.is_empty():
        raise PlotError("no rate was measured on any of these days, or none may be told")
    present = set(points["metric"])
    panels = [
        _trend_panel(points.filter(pl.col("metric") == name), METRIC_TITLES[name], marks, series)
        for name in metrics
        if name in present
    ]
    title = f"{left_out} series with fewer days are left out" if left_out else alt.Undefined
    return styled(alt.concat(*panels, columns=2, spacing=18, title=title))


def headlines(trends: pl.DataFrame) -> alt.ConcatChart:
    """Draw the few metrics that say most, of all users: small enough for asset metadata, up to a month or so."""
    return metric_trends(trends, metrics=HEADLINES)


def persistence(curves: pl.DataFrame) -> alt.LayerChart:
    """Lines of what is left of accepted text over time, with the band of the interval.

    Args:
        curves: as `longitudinal.persistence` returns them.

    Raises:
        PlotError: there is nothing to draw.
    """
    if curves.is_empty():
        raise PlotError("nothing was accepted whose text was watched, or none may be told")
    series, _ = _series(curves)
    shown = curves.filter(pl.col("series").is_in(series))
    x = alt.X(
        "seconds:Q",
        title="seconds after acceptance",
        scale=alt.Scale(type="sqrt"),
        axis=alt.Axis(values=list(PERSISTENCE_SECONDS), grid=False),
    )
    return styled(_with_band(shown, x, series, ".3~p").properties(width=520, height=220))


def cohorts(table: pl.DataFrame) -> alt.FacetChart:
    """A panel per metric: cohort beside cohort, each model's value with its interval.

    Args:
        table: as `longitudinal.by_cohort` returns it; rows that are not told are left out.

    Raises:
        PlotError: there is nothing to draw.
    """
    unknown = pl.lit(longitudinal.UNKNOWN)
    rows = pl.concat(
        [
            table.filter(pl.col(name).is_not_null()).select(
                cohort=pl.col("cohort").fill_null(unknown),
                row=pl.format(
                    "{}, {}", pl.col("cohort").fill_null(unknown), pl.col("model").fill_null(unknown)
                ),
                place=pl.int_range(pl.len()),
                metric=pl.lit(METRIC_TITLES[name]),
                value=name,
                low=f"{name}_low",
                high=f"{name}_high",
            )
            for name in HEADLINES
        ]
    )
    if rows.is_empty():
        raise PlotError("no rate was measured in any cohort, or none may be told")
    names = rows["cohort"].unique(maintain_order=True).to_list()
    # A list of names as the order becomes a program in the chart; a number does not, and names can hold anything.
    y = alt.Y("row:N", sort=alt.EncodingSortField(field="place", op="min"), title=None)
    colour = _colour("cohort", names)
    x = alt.X("value:Q", title=None, scale=alt.Scale(zero=False, padding=16), axis=_shares())
    panel = alt.layer(
        alt.Chart().mark_rule(strokeWidth=2).encode(y=y, x=alt.X("low:Q"), x2="high:Q", color=colour),
        alt.Chart().mark_point(filled=True, size=80, opacity=1).encode(y=y, x=x, color=colour),
        alt.Chart()
        .mark_text(dy=-11, color=TEXT, fontSize=11)
        .encode(y=y, x="value:Q", text=alt.Text("value:Q", format=".1%")),
        data=_data(rows),
    ).properties(width=300, height=alt.Step(32))
    order = [METRIC_TITLES[name] for name in HEADLINES]
    return styled(
        panel.facet(facet=alt.Facet("metric:N", sort=order, title=None), columns=2).resolve_scale(
            x="independent"
        )
    )


def _trend_panel(points: pl.DataFrame, title: str, marks: pl.DataFrame, series: list[str]) -> Any:
    days = points["day"].unique().sort()
    step = max(1, math.ceil(((days[-1] - days[0]) / timedelta(days=1)) / 5))
    x = alt.X(
        "day:T",
        title=None,
        scale=alt.Scale(type="utc"),
        axis=alt.Axis(format="%-d %b", tickCount={"interval": "day", "step": step}, grid=False),
    )
    is_share = not points["metric"].str.ends_with("_ms").any()
    drawn = _with_band(points, x, series, ".3~p" if is_share else ".3~s")
    inside = marks.filter(pl.col("day") >= days[0])
    rule = alt.Chart(_data(inside)).encode(x=alt.X("day:T", scale=alt.Scale(type="utc")))
    lines = rule.mark_rule(color=MUTED, strokeDash=[4, 3])
    labels = rule.transform_calculate(short="slice(datum.label, 0, 16)").mark_text(
        align="left", dx=3, y=6, fontSize=9, color=TEXT
    )
    return alt.layer(drawn, lines, labels.encode(text="short:N")).properties(
        width=_WIDTH,
        height=_HEIGHT,
        title=alt.TitleParams(title, fontSize=12, fontWeight="normal", color=TEXT, anchor="start"),
    )


def _with_band(points: pl.DataFrame, x: alt.X, series: list[str], number: str) -> Any:
    axis = alt.Axis(format=number, tickCount=4)
    base = alt.Chart(_data(points)).encode(x=x, color=_colour("series", series))
    band = (
        base.transform_filter("isValid(datum.low)")
        .mark_area(opacity=0.18)
        .encode(y=alt.Y("low:Q", title=None, axis=axis, scale=alt.Scale(zero=False)), y2="high:Q")
    )
    steps = points["day" if "day" in points.columns else "seconds"].n_unique()
    dots = {"size": 24, "filled": True} if steps <= 31 else False
    line = base.mark_line(strokeWidth=1.8, point=dots).encode(
        y=alt.Y("value:Q", title=None, axis=axis, scale=alt.Scale(zero=False))
    )
    return alt.layer(band, line)


def _colour(column: str, names: list[str]) -> alt.Color:
    scale = alt.Scale(domain=names, range=[_COLOURS[place % MAX_SERIES] for place in range(len(names))])
    legend = alt.Legend(symbolOpacity=1) if len(names) > 1 else None
    return alt.Color(f"{column}:N", title=None, scale=scale, legend=legend)


def _series(points: pl.DataFrame) -> tuple[list[str], int]:
    """Return the series that are drawn, by name, and how many are not."""
    counts = points.group_by("series").len().sort("len", "series", descending=[True, False])
    return sorted(counts["series"].head(MAX_SERIES)), max(0, counts.height - MAX_SERIES)


def _shares() -> alt.Axis:
    return alt.Axis(format=".3~p", tickCount=4)


def _data(frame: pl.DataFrame) -> alt.Data:
    dates = [name for name, kind in frame.schema.items() if kind == pl.Date]
    return alt.Data(values=frame.with_columns(pl.col(dates).cast(pl.String)).to_dicts())
