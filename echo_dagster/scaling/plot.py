"""The plot of a study: quality over the number of samples.

What does not live here: the look and the rendering (`evaluation/pictures.py`).
"""

from __future__ import annotations

import math
from typing import Any

import altair as alt
import polars as pl

from echo_dagster.evaluation.pictures import BLUE, MUTED, TEXT, PlotError, styled
from echo_dagster.evaluation.plots import METRIC_TITLES

_COLUMNS = 2
#: Two panels at twice their size fit the window in which Dagster shows a plot.
_WIDTH = 248
#: Above and below what is drawn, in units of the metric.
_LEAST_ROOM = 0.01
#: Between what the panels plot, so that it lines up; axes and titles stand in between.
_SPACING = {"row": 92, "column": 58}


def scaling(study: tuple[pl.DataFrame, pl.DataFrame]) -> alt.ConcatChart:
    """One panel per metric: each share's value, the fitted line, and the base model's value across.

    A bar is the interval of the difference from the base model, drawn around its line's height: a bar that does not
    touch the line is a model that differs from it. The samples stand on a logarithmic axis.

    Args:
        study: rows of `SCALING_SCHEMA`, of which those over all gaps are drawn, and of `FIT_SCHEMA`.

    Raises:
        PlotError: there is nothing to draw.
    """
    measured, fits = study
    measured = measured.filter(pl.col("slice") == "all").sort("n_samples")
    if measured.is_empty():
        raise PlotError("a study without shares cannot be drawn")
    panels = [
        _panel(measured.filter(pl.col("metric") == metric), fits.filter(pl.col("metric") == metric))
        for metric in fits["metric"]
    ]
    caption = alt.Title(
        "Bars: the interval of the difference from the base model. Lines: the fit over the doublings.",
        color=TEXT,
        fontSize=11,
        fontWeight="normal",
        anchor="start",
        offset=14,
    )
    return styled(alt.concat(*panels, columns=_COLUMNS, bounds="flush", spacing=_SPACING, title=caption))


def _panel(measured: pl.DataFrame, fitted: pl.DataFrame) -> Any:
    (line,) = fitted.iter_rows(named=True)
    sizes = measured["n_samples"].to_list()
    points = measured.select(
        "n_samples",
        "value",
        low=pl.col("base") + pl.col("difference_low"),
        high=pl.col("base") + pl.col("difference_high"),
    )
    ends = [
        {"n_samples": n, "value": line["at_one"] + line["per_doubling"] * math.log2(n)}
        for n in (sizes[0], sizes[-1])
    ]
    base = measured["base"][0]
    margin = (sizes[-1] / sizes[0]) ** 0.16  # on each side; the last holds the name of the base model's line
    x = alt.X(
        "n_samples:Q",
        title="samples trained on",
        scale=alt.Scale(type="log", base=2, domain=[sizes[0] / margin, sizes[-1] * margin], nice=False),
        axis=alt.Axis(values=sizes, format=",d", grid=False, labelOverlap=True),
    )
    y = alt.Y(
        "value:Q",
        title=None,
        scale=_scale([base, *(row["value"] for row in ends)], points),
        axis=alt.Axis(tickCount=5),
    )
    drawn = alt.Chart(alt.Data(values=points.to_dicts())).encode(x=x)
    across = alt.Chart(alt.Data(values=[{"value": base, "label": "base"}]))
    return alt.layer(
        across.mark_rule(color=MUTED, strokeDash=[5, 3], strokeWidth=1.5).encode(y=y),
        across.mark_text(align="right", dx=-2, dy=-6, color=TEXT, fontSize=10).encode(
            x=alt.value("width"), y=y, text="label:N"
        ),
        alt.Chart(alt.Data(values=ends))
        .mark_line(color=BLUE, opacity=0.45, strokeWidth=1.5)
        .encode(x=x, y=y),
        drawn.transform_filter("datum.low !== null")
        .mark_rule(color=BLUE, strokeWidth=2)
        .encode(y=alt.Y("low:Q", title=None), y2="high:Q"),
        drawn.mark_point(filled=True, size=70, opacity=1, color=BLUE).encode(y=y),
    ).properties(
        width=_WIDTH,
        height=170,
        title=alt.Title(
            METRIC_TITLES[line["metric"]],
            subtitle=_subtitle(line),
            color=TEXT,
            subtitleColor=TEXT,
            fontSize=12,
            fontWeight="normal",
            subtitleFontSize=10,
            anchor="start",
            frame="group",
        ),
    )


def _scale(values: list[float], points: pl.DataFrame) -> alt.Scale:
    """Return a scale with room around all that is drawn, also where that is one and the same value."""
    drawn = [*values, *(one for name in ("low", "value", "high") for one in points[name].drop_nulls())]
    room = max(0.1 * (max(drawn) - min(drawn)), _LEAST_ROOM)
    return alt.Scale(zero=False, nice=False, domain=[min(drawn) - room, max(drawn) + room])


def _subtitle(line: dict[str, Any]) -> str:
    bounds = "" if line["low"] is None else f" [{line['low']:+.3f}, {line['high']:+.3f}]"
    return f"per doubling {line['per_doubling']:+.3f}{bounds}"
