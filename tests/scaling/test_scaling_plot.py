"""The plot of a study draws what was measured."""

import math

import polars as pl
import pytest

from echo_dagster.evaluation import pictures
from echo_dagster.scaling.plot import scaling
from echo_dagster.scaling.schema import FIT_SCHEMA, SCALING_SCHEMA


def study(low=-0.01):
    rows = [
        {
            **dict.fromkeys(SCALING_SCHEMA),
            "share": share,
            "n_samples": n,
            "metric": "edit_similarity",
            "slice": slice_,
            "base": 0.4,
            "value": 0.4 + share / 10,
            "difference": share / 10,
            "difference_low": None if low is None else share / 10 + low,
            "difference_high": None if low is None else share / 10 + 0.01,
        }
        for share, n in ((1.0, 800), (0.5, 400), (0.25, 200))
        for slice_ in ("all", "language=go")
    ]
    fits = {**dict.fromkeys(FIT_SCHEMA), "metric": "edit_similarity", "per_doubling": 0.01, "at_one": 0.3}
    return pl.DataFrame(rows, schema=SCALING_SCHEMA), pl.DataFrame([fits], schema=FIT_SCHEMA)


def layers(chart):
    (panel,) = chart.to_dict()["concat"]
    return panel["layer"]


def test_points_bars_the_line_and_the_base_model():
    base, _, line, bars, points = layers(scaling(study()))
    assert [row["value"] for row in base["data"]["values"]] == [0.4]
    assert [row["n_samples"] for row in points["data"]["values"]] == [200, 400, 800]
    first = bars["data"]["values"][0]
    assert (first["low"], first["high"]) == (pytest.approx(0.415), pytest.approx(0.435))
    assert first["low"] < first["value"] < first["high"]
    ends = line["data"]["values"]
    assert ends[0]["value"] == pytest.approx(0.3 + 0.01 * math.log2(200)) and ends[1]["n_samples"] == 800
    assert points["encoding"]["x"]["scale"]["type"] == "log"


def test_one_unit_draws_points_without_bars():
    svg = pictures.svg(scaling(study(low=None)))
    assert svg.count("<path") < pictures.svg(scaling(study())).count("<path") + 3 and "NaN" not in svg


def test_a_metric_that_nothing_changed_has_an_axis_around_its_value():
    measured, fits = study()
    same = (
        pl.lit(0.4).alias("value"),
        *(pl.lit(0.0).alias(f"difference{end}") for end in ("", "_low", "_high")),
    )
    flat = fits.with_columns(per_doubling=pl.lit(0.0), at_one=pl.lit(0.4))
    *_, points = layers(scaling((measured.with_columns(*same), flat)))
    assert points["encoding"]["y"]["scale"]["domain"] == [pytest.approx(0.39), pytest.approx(0.41)]


def test_four_panels_fit_where_dagster_shows_them():
    measured, fits = study()
    metrics = ["exact_match", "edit_similarity", "middle_nats_per_token", "predicted_acceptance_rate"]
    every = [
        pl.concat(frame.with_columns(metric=pl.lit(one)) for one in metrics) for frame in (measured, fits)
    ]
    png = pictures.png(scaling((every[0], every[1])))
    width = int.from_bytes(png[16:20])  # of the header
    assert 1000 < width <= 1240


def test_it_is_small_enough_for_metadata():
    assert len(pictures.png_markdown(scaling(study()))) < 100_000


def test_a_study_of_nothing_is_no_plot():
    measured, fits = study()
    with pytest.raises(pictures.PlotError):
        scaling((measured.head(0), fits))
