"""What all assets say in the same way."""

from __future__ import annotations

import altair as alt
import pytest

from assets import conventions
from echo_dagster.evaluation import pictures


def bars(rows: list[dict[str, float]]) -> alt.Chart:
    return alt.Chart(alt.Data(values=rows)).mark_bar().encode(x="x:Q", y="y:Q")


ROWS = [{"x": 1, "y": 2.0}, {"x": 2, "y": 3.0}]


def test_a_plot_is_a_picture_in_metadata():
    told = conventions.plot("some_plot", bars, ROWS)
    assert told["some_plot"].value.startswith("![plot](data:image/png;base64,")


def test_of_nothing_there_is_no_plot():
    assert conventions.plot("some_plot", bars, []) == {}


def test_a_plot_that_cannot_be_drawn_says_why_and_undoes_nothing():
    def refuse(rows):
        raise pictures.PlotError("no rate was measured")

    assert (
        conventions.plot("some_plot", refuse, ROWS)["some_plot"].value == "Not drawn: no rate was measured."
    )


def test_a_plot_too_large_for_metadata_says_so(monkeypatch):
    monkeypatch.setattr(conventions.plots, "png_markdown", lambda chart: pictures.png(chart, max_bytes=100))
    told = conventions.plot("some_plot", bars, ROWS)["some_plot"].value
    assert told.startswith("Not drawn: the plot takes ") and told.endswith("more than the 100 allowed.")


def test_any_other_mistake_is_one():
    with pytest.raises(KeyError):
        conventions.plot("some_plot", lambda rows: bars(rows[0]["none"]), ROWS)
