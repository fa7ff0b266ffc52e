"""Plots of values with their intervals: trends by cohort, the persistence curve, the calibration curve.

What lives here: frames in, Altair charts out. What does not: reading tables (`report_trends.py`, `report_user.py`)
and the look (`pictures.py`).
"""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from echo_dagster.evaluation.pictures import AMBER, BLUE, GREEN, MUTED, PURPLE, TEXT, styled

_COLOURS = (BLUE, AMBER, GREEN, PURPLE)
_SHARE = alt.Axis(format=".0%", tickCount=5)


def over_days(points: pl.DataFrame, marks: pl.DataFrame | None = None) -> alt.ConcatChart:
    """Lines over days with bands, a panel per metric, and a dashed rule where another model came to serve.

    Args:
        points: columns `day`, `series` and `metric` (str), `value`, `low`, `high` (shares; an interval may be null).
        marks: columns `day` and `label` (str): what began on that day.
    """
    colour = _colour(points)
    x = alt.X(
        "day:T",
        title=None,
        scale=alt.Scale(type="utc"),
        axis=alt.Axis(format="%-d %b", tickCount=5, grid=False),
    )
    panels = []
    for metric in points["metric"].unique(maintain_order=True):
        base = alt.Chart(_values(points.filter(metric=metric))).encode(x=x, color=colour)
        y = alt.Y("value:Q", title=None, axis=_SHARE, scale=alt.Scale(zero=False))
        layers: list[Any] = [
            base.mark_area(opacity=0.18).encode(y=alt.Y("low:Q", title=None), y2="high:Q"),
            base.mark_line(strokeWidth=1.8, point={"size": 30, "filled": True}).encode(y=y),
        ]
        if marks is not None and len(marks):
            rule = alt.Chart(_values(marks)).encode(x=x)
            layers.append(rule.mark_rule(color=MUTED, strokeDash=[4, 3]))
            layers.append(
                rule.mark_text(align="left", dx=3, y=6, fontSize=10, color=TEXT).encode(text="label:N")
            )
        title = alt.TitleParams(metric, anchor="start", fontSize=12, fontWeight="normal", color=TEXT)
        panels.append(alt.layer(*layers).properties(width=330, height=140, title=title))
    return styled(alt.concat(*panels, columns=2))


def persistence(points: pl.DataFrame) -> alt.LayerChart:
    """Share of the accepted characters that is left, over the seconds since they were accepted.

    Args:
        points: columns `seconds`, `series` (str), `value`, `low` and `high` (shares; the interval may be null).
    """
    base = alt.Chart(_values(points)).encode(
        x=alt.X("seconds:Q", title="seconds after acceptance"), color=_colour(points)
    )
    y = alt.Y("value:Q", title="characters left", axis=_SHARE, scale=alt.Scale(zero=False))
    return styled(
        alt.layer(
            base.mark_area(opacity=0.18).encode(y=alt.Y("low:Q", title="characters left"), y2="high:Q"),
            base.mark_line(strokeWidth=1.8, point={"size": 36, "filled": True}).encode(y=y),
        ).properties(width=440, height=200)
    )


def calibration(curve: pl.DataFrame) -> alt.LayerChart:
    """Observed against predicted acceptance by bin, with intervals; on the dashed line both agree.

    Args:
        curve: columns `predicted`, `observed`, `low`, `high` (shares) and `n` (decisions), one row per bin.
    """
    whole = alt.Scale(domain=[0, 1])
    diagonal = (
        alt.Chart(alt.Data(values=[{"at": 0}, {"at": 1}]))
        .mark_line(color=MUTED, strokeDash=[4, 3])
        .encode(x=alt.X("at:Q", scale=whole), y=alt.Y("at:Q", scale=whole))
    )
    base = alt.Chart(_values(curve)).encode(
        x=alt.X("predicted:Q", title="predicted P(accept)", axis=_SHARE, scale=whole)
    )
    return styled(
        alt.layer(
            diagonal,
            base.mark_rule(color=BLUE, strokeWidth=2).encode(y=alt.Y("low:Q", scale=whole), y2="high:Q"),
            base.mark_point(color=BLUE, filled=True, opacity=1).encode(
                y=alt.Y("observed:Q", title="accepted", axis=_SHARE, scale=whole),
                size=alt.Size("n:Q", legend=None, scale=alt.Scale(range=[30, 160])),
            ),
        ).properties(width=300, height=260)
    )


def _colour(points: pl.DataFrame) -> alt.Color:
    series = points["series"].unique(maintain_order=True).to_list()
    colours = [_COLOURS[place % len(_COLOURS)] for place in range(len(series))]
    return alt.Color("series:N", title=None, sort=series, scale=alt.Scale(domain=series, range=colours))


def _values(frame: pl.DataFrame) -> alt.Data:
    dates = [name for name, kind in frame.schema.items() if kind == pl.Date]
    return alt.Data(values=frame.with_columns(pl.col(dates).cast(pl.String)).to_dicts())
