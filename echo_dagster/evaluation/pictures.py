"""How a chart becomes a picture: the theme, SVG text for a page, and a PNG small enough for asset metadata.

What lives here: rendering, which needs neither a browser nor the network. What does not: which plots there
are (`plots.py`).

The colours are Okabe and Ito's, which colour-blind readers tell apart, shifted until each keeps a contrast of
at least 3:1 on white and on near-black: a plot has no background of its own and stands on either.
"""

from __future__ import annotations

import base64
import re
from io import BytesIO
from typing import Any

import altair as alt
import vl_convert
from PIL import Image

BLUE, VERMILION, GREEN, PURPLE, AMBER = "#2f7fc1", "#d5632a", "#1a9873", "#b8699a", "#b58900"
MUTED, TEXT = "#8a8f98", "#757b86"

#: Metadata travels with every event of a run, so a picture in it must stay small.
MAX_PNG_BYTES = 100_000
#: Dagster shows it in a dialog of 1,200 pixels, and lets what is wider be scrolled for.
MAX_PNG_WIDTH = 1_160


class PlotError(ValueError):
    """A plot that cannot be drawn from what was given."""


def styled(chart: Any, legend_offset: int = 4) -> Any:
    """Return the chart in the look that all plots share."""
    axis = {
        "labelColor": TEXT,
        "titleColor": TEXT,
        "titleFontWeight": "normal",
        "titlePadding": 8,
        "domainColor": MUTED,
        "tickColor": MUTED,
        "gridColor": MUTED,
        "gridOpacity": 0.28,
        "labelFontSize": 11,
        "titleFontSize": 11,
        "labelLimit": 260,
    }
    return chart.properties(background="transparent").configure(
        font="Helvetica, Arial, sans-serif",
        aria=False,
        view={"stroke": None},
        axis=axis,
        axisY={"domain": False, "ticks": False, "labelPadding": 8},
        axisX={"labelFlush": False},
        legend={
            "labelColor": TEXT,
            "orient": "top",
            "labelFontSize": 11,
            "symbolSize": 70,
            "offset": legend_offset,
            "padding": 0,
        },
        header={"labelColor": TEXT, "labelFontSize": 12, "labelAnchor": "start", "labelPadding": 6},
    )


def svg(chart: alt.TopLevelMixin, name: str = "plot") -> str:
    """Return the chart as one `<svg>` element: no background, no references to anything outside it.

    The same chart gives the same text: the renderer numbers clip paths over the life of the process, so they
    are numbered anew here. `name` begins their ids, so that several charts can stand in one page.
    """
    text = vl_convert.vegalite_to_svg(chart.to_dict())
    names: dict[str, str] = {}
    for found in re.findall(r'id="((?:clip|gradient)[^"]*)"', text):
        names.setdefault(found, f"{name}-{len(names)}")
    for old, new in names.items():
        text = re.sub(rf'(id="|url\(#){old}(?=["\)])', rf"\g<1>{new}", text)
    return text


def png(chart: alt.TopLevelMixin, max_bytes: int = MAX_PNG_BYTES, max_width: int | None = None) -> bytes:
    """Return the chart as a PNG of at most `max_bytes`, and so many pixels wide, as sharp as that allows.

    Raises:
        PlotError: even at half scale, where its letters can just be read, it is larger.
    """
    spec = chart.to_dict()
    size = width = 0
    for scale in (2.0, 1.5, 1.25, 1.0, 0.75, 0.5):
        with Image.open(BytesIO(vl_convert.vegalite_to_png(spec, scale=scale))) as picture:
            width = picture.width
            image = _packed(picture)
        size = len(image)
        if size <= max_bytes and (max_width is None or width <= max_width):
            return image
    if max_width is not None and width > max_width:
        raise PlotError(f"the plot is {width} pixels wide as a PNG, more than the {max_width} allowed")
    raise PlotError(f"the plot takes {size} bytes as a PNG, more than the {max_bytes} allowed")


def png_markdown(chart: alt.TopLevelMixin, alt_text: str = "plot") -> str:
    """Return a markdown image with the PNG inside it, small enough for asset metadata (base64 included).

    Raises:
        PlotError: the picture is too large.
    """
    image = base64.b64encode(png(chart, MAX_PNG_BYTES * 3 // 4 - 100, MAX_PNG_WIDTH)).decode("ascii")
    return f"![{alt_text}](data:image/png;base64,{image})"


def _packed(picture: Image.Image) -> bytes:
    """Return a picture as a PNG with a palette, in a third of the bytes: few colours are in a chart, most of them the
    edges of its letters.
    """
    packed = BytesIO()
    picture.quantize(256, method=Image.Quantize.FASTOCTREE).save(packed, "PNG", optimize=True)
    return packed.getvalue()
