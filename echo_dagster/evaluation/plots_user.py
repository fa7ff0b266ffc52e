"""The plot of the calibrated user: what it predicts beside what users did.

What lives here: the calibration curve and the histogram of predictions. What does not: the figures
(`calibration.py`), and the look and the rendering (`pictures.py`).
"""

from __future__ import annotations

import json
from typing import Any

import altair as alt
import polars as pl

from echo_dagster.evaluation.pictures import BLUE, MUTED, styled


def calibration(user_fit: pl.DataFrame) -> alt.VConcatChart:
    """Observed against predicted acceptance with intervals by user; below, the decisions behind each point.

    Points on the dashed line are calibrated. A point of one user's decisions has no interval.

    Args:
        user_fit: one row of `USER_FIT_SCHEMA`, or none, which draws the line alone.
    """
    points: list[dict[str, Any]] = [point for text in user_fit["curve"] for point in json.loads(text)]
    places = [{**point, "left": _left(point), "right": _left(point) + 0.1} for point in points]
    share = alt.Scale(domain=[0, 1], nice=False)
    x = alt.X("predicted:Q", title=None, scale=share, axis=alt.Axis(format=".0%", tickCount=5))
    y = alt.Y("observed:Q", title="accepted", scale=share, axis=alt.Axis(format=".0%", tickCount=5))
    data = alt.Data(values=places)
    ideal = (
        alt.Chart(alt.Data(values=[{"predicted": end, "observed": end} for end in (0, 1)]))
        .mark_line(color=MUTED, strokeDash=[4, 3])
        .encode(x=x, y=y)
    )
    intervals = (
        alt.Chart(data)
        .transform_filter("datum.low !== null")
        .mark_rule(color=BLUE, strokeWidth=2)
        .encode(x=x, y=alt.Y("low:Q", title="accepted"), y2="high:Q")
    )
    found = alt.Chart(data).mark_point(color=BLUE, filled=True, size=70, opacity=1).encode(x=x, y=y)
    curve = alt.layer(ideal, intervals, found).properties(width=360, height=260)
    histogram = (
        alt.Chart(data)
        .mark_bar(color=BLUE)
        .encode(
            x=alt.X(
                "left:Q",
                bin="binned",
                title="predicted P(accept)",
                scale=share,
                axis=alt.Axis(format=".0%", tickCount=5),
            ),
            x2="right:Q",
            y=alt.Y("n:Q", title="decisions", axis=alt.Axis(format=",d", tickMinStep=1, tickCount=3)),
        )
        .properties(width=360, height=70)
    )
    return styled(alt.vconcat(curve, histogram, spacing=10))


def _left(point: dict[str, Any]) -> float:
    """Return where the bin of a point begins."""
    return min(int(point["predicted"] * 10), 9) / 10
