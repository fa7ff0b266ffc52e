"""Every plot draws what it was given; pictures are small, repeatable and need nothing from outside."""

from __future__ import annotations

import base64
import io
import json
import re
from datetime import date

import numpy as np
import polars as pl
import pytest
import vl_convert
from PIL import Image

from echo_dagster.evaluation import pictures, plots
from echo_dagster.evaluation.report_metrics import METRICS
from echo_dagster.evaluation.schema import EVALUATED_SCHEMA

STEPS = pl.DataFrame({"step": ["gaps closed", "filtered"], "n_kept": [1144, 612], "n_rejected": [0, 532]})
HISTORY = [{"step": n, "loss_nats_per_token": 3.0 / n, "learning_rate": 5e-5 / n} for n in range(1, 30)]
CUT = pl.DataFrame(
    {
        "stratum": ["python/9-24", "python/9-24", "go/1-8"],
        "n_before": [30, 30, 40],
        "n_after": [20, 25, 35],
        "n_ppl_low": [2, 0, 0],
        "n_ppl_high": [8, 5, 4],
        "n_ifd_above_one": [0, 0, 1],
    }
)
DAYS = [date(2026, 1, day) for day in range(5, 9)]


def evaluated() -> pl.DataFrame:
    rows = [
        (role, None, metric, "all", value, value - 0.02, value + 0.02, 211, "d1gest")
        for metric in ("exact_match", "edit_similarity", "middle_nats_per_token", "predicted_acceptance_rate")
        for role, value in (("base", 0.41), ("champion", 0.43), ("candidate", 0.47))
    ]
    return pl.DataFrame(rows, schema=EVALUATED_SCHEMA, orient="row")


def all_charts():
    scored = pl.DataFrame(
        {
            "middle_nats_per_token": [0.1, 1.2, 1.3, 9.0],
            "verdict": ["below_band", "kept", "kept", "above_band"],
        }
    )
    points = pl.DataFrame({"day": DAYS, "series": ["acceptance rate"] * 4, "value": [0.2, 0.25, 0.26, 0.3]})
    marks = pl.DataFrame({"day": DAYS[:1], "label": ["smollm2-135m"]})
    return {
        "funnel": plots.funnel(STEPS),
        "reasons": plots.reasons(pl.DataFrame({"reason": ["unchanged", "secret"], "rows": [12, 3]})),
        "mix": plots.mix(
            pl.DataFrame({"stratum": ["python", "json"], "n_before": [30, 10], "n_after": [20, 20]})
        ),
        "perplexity": plots.perplexity(scored),
        "denoising": plots.denoising(CUT),
        "loss": plots.training_curve(HISTORY),
        "comparison": plots.comparison(evaluated()),
        "trend": plots.trend(points, marks),
    }


CHARTS = all_charts()


def texts(chart) -> list[str]:
    """What stands in a chart, read off its SVG."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", plots.svg(chart))


def rows(chart) -> list[dict]:
    """The data inside a chart's specification."""
    found: list[dict] = []

    def walk(node):
        if isinstance(node, dict):
            found.extend(
                node["values"] if isinstance(node.get("values"), list) and "format" not in node else []
            )
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(chart.to_dict())
    return [row for row in found if isinstance(row, dict)]


@pytest.mark.parametrize("name", CHARTS)
def test_svg_is_repeatable_and_refers_to_nothing_outside(name):
    first, second = plots.svg(CHARTS[name], name), plots.svg(CHARTS[name], name)
    assert first == second
    assert first.startswith("<svg") and first.endswith("</svg>")
    assert set(re.findall(r"https?://[^\"]+", first)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert 'fill="white"' not in first, "a plot has no background of its own"
    assert all(found.startswith(name) for found in re.findall(r'id="([^"]+)"', first))


@pytest.mark.parametrize("name", CHARTS)
def test_a_picture_for_metadata_is_a_small_png(name):
    markdown = plots.png_markdown(CHARTS[name], "what it shows")
    assert len(markdown) < pictures.MAX_PNG_BYTES
    head, _, encoded = markdown.partition(";base64,")
    assert head == "![what it shows](data:image/png"
    assert base64.b64decode(encoded.removesuffix(")")).startswith(b"\x89PNG")


def test_four_models_and_every_metric_are_a_picture():
    """As many as are ever compared: sharp as a file, and whole where Dagster shows it."""
    rows = [
        (role, None, metric, "all", value, value - 0.0213, value + 0.0377, 211, "d1gest")
        for number, metric in enumerate(METRICS)
        for role, value in (
            *(("base", 0.3517 + number / 13), ("static", 0.3742 + number / 13)),
            *(("champion", 0.3654 + number / 13), ("candidate", 0.3841 + number / 13)),
        )
    ]
    chart = plots.comparison(pl.DataFrame(rows, schema=EVALUATED_SCHEMA, orient="row"))
    assert width_of(plots.png(chart)) > 1400
    markdown = plots.png_markdown(chart)
    assert len(markdown) < pictures.MAX_PNG_BYTES
    image = base64.b64decode(markdown.partition(";base64,")[2][:-1])
    assert 900 < width_of(image) <= 1160, "Dagster's dialog shows no more without scrolling"


def width_of(image: bytes) -> int:
    with Image.open(io.BytesIO(image)) as picture:
        return picture.width


def test_the_palette_keeps_the_colours():
    """Where a pixel is one of the theme's colours, it stays that colour, but for a few of 256 shades."""
    chart = CHARTS["comparison"]
    plain = vl_convert.vegalite_to_png(chart.to_dict(), scale=2.0)
    before, after = (
        np.asarray(Image.open(io.BytesIO(image)).convert("RGBA")).astype(int)
        for image in (plain, plots.png(chart))
    )
    assert before.shape == after.shape
    opaque = before[..., 3] == 255
    assert opaque.sum() > 1000
    assert np.abs(before - after)[opaque].max() < 32
    assert np.abs(before - after)[opaque].mean() < 2


def test_a_picture_too_large_is_refused():
    with pytest.raises(plots.PlotError, match="more than the 100 allowed"):
        plots.png(CHARTS["funnel"], max_bytes=100)


def test_funnel_names_what_was_kept_of_what_came():
    found = texts(CHARTS["funnel"])
    assert "612 of 1,144" in found
    assert "1,144" in found, "a step that rejects nothing shows one figure"
    assert found.index("gaps closed") < found.index("filtered")


def test_mix_shows_shares():
    shares = {(row["stratum"], row["mix"]): row["share"] for row in rows(CHARTS["mix"])}
    assert shares == {
        ("python", "before"): 0.75,
        ("python", "after"): 0.5,
        ("json", "before"): 0.25,
        ("json", "after"): 0.5,
    }


def test_more_strata_than_one_can_read_are_added_up():
    many = pl.DataFrame(
        {"stratum": [f"s{n:02d}" for n in range(40)], "n_before": [10] * 40, "n_after": [5] * 40}
    )
    shown = {row["stratum"]: row["share"] for row in rows(plots.mix(many)) if row.get("mix") == "before"}
    assert len(shown) == plots.MAX_ROWS
    assert shown["17 others"] == pytest.approx(17 / 40)
    assert sum(shown.values()) == pytest.approx(1)


def test_many_small_strata_do_not_squeeze_the_large_ones():
    many = pl.DataFrame(
        {"stratum": [f"s{n:02d}" for n in range(60)], "n_before": [10] * 60, "n_after": [5] * 60}
    )
    assert [row["is_rest"] for row in rows(plots.mix(many)) if row["stratum"] == "37 others"] == [True, True]
    found = texts(plots.mix(many))
    assert "61.7% → 61.7%" in found and "0.2%" in found and "60%" not in found, (
        "the axis ends before the rest"
    )
    assert not any(row["is_rest"] for row in rows(plots.mix(many.head(plots.MAX_ROWS))))


def test_denoising_adds_scorers_up_and_shows_what_each_stratum_lost():
    found = rows(CHARTS["denoising"])
    shares = {(row["stratum"], row["mix"]): row["share"] for row in found if "mix" in row}
    assert shares["python/9-24", "before"] == 0.6 and shares["python/9-24", "after"] == pytest.approx(45 / 80)
    lost = {(row["stratum"], row["reason"]): row["share"] for row in found if "reason" in row}
    assert lost["python/9-24", "ppl_high"] == pytest.approx(13 / 60)
    assert lost["go/1-8", "ifd_above_one"] == 1 / 40 and lost["go/1-8", "ppl_low"] == 0
    assert [text for text in texts(CHARTS["denoising"]) if text in ("before", "after", "ppl_low")] == [
        "before",
        "after",
        "ppl_low",
    ], "one legend each"


def test_perplexity_count_every_sample_and_gather_the_tail():
    values = [0.1] * 5 + [1.1] * 200 + [80.0]
    chart = plots.perplexity(
        pl.DataFrame(
            {"middle_nats_per_token": values, "verdict": ["below_band"] * 5 + ["kept"] * 200 + ["above_band"]}
        )
    )
    bars = rows(chart)
    assert sum(row["rows"] for row in bars) == 206
    assert {row["verdict"]: row["rows"] for row in bars} == {"below_band": 5, "kept": 200, "above_band": 1}
    assert max(row["high"] for row in bars) < 3, "one outlier does not squeeze the rest"


def test_perplexity_without_anything_kept():
    chart = plots.perplexity(
        pl.DataFrame({"middle_nats_per_token": [1.0, 2.0], "verdict": ["too_few", "too_few"]})
    )
    assert [(row["verdict"], row["rows"]) for row in rows(chart)] == [("too_few", 1), ("too_few", 1)]


def test_rare_reasons_share_a_colour_and_lose_no_sample():
    verdicts = ["kept"] * 9 + [f"reason_{n}" for n in range(8)]
    chart = plots.perplexity(pl.DataFrame({"middle_nats_per_token": [1.0] * 17, "verdict": verdicts}))
    assert sum(row["rows"] for row in rows(chart)) == 17
    assert sum(row["rows"] for row in rows(chart) if row["verdict"] == "other reasons") == 4


@pytest.mark.parametrize(
    "history",
    [
        [],
        [{"step": 1, "loss_nats_per_token": 2.0}],
        [{"step": 1, "loss_nats_per_token": float("nan"), "learning_rate": 1e-5}],
        ["not a mapping"],
    ],
)
def test_a_history_that_cannot_be_drawn_is_refused(history):
    with pytest.raises(plots.PlotError, match="finite step, loss_nats_per_token, learning_rate"):
        plots.training_curve(history)


def test_what_is_not_trained_on_is_drawn_where_it_was_measured():
    history = [dict(row) for row in HISTORY]
    history[-1]["validation_nats_per_token"] = 1.25
    chart = plots.training_curve(history)
    assert {"step": history[-1]["step"], "nats": 1.25} in rows(chart)
    assert "blue: trained on; red: not trained on, the lowest is kept" in texts(chart)
    assert "blue: trained on; red: not trained on, the lowest is kept" not in texts(CHARTS["loss"])


def test_comparison_has_a_panel_per_metric_and_only_the_roles_there_are():
    found = texts(CHARTS["comparison"])
    assert "Exact match, share" in found and "NLL of C_N, nats per token (lower is better)" in found
    assert found.count("0.470") == 4
    without = plots.comparison(evaluated().filter(pl.col("role") != "champion"))
    assert "champion" not in texts(without)


def test_trend_marks_what_began():
    assert "smollm2-135m" in texts(CHARTS["trend"])
    one_day = pl.DataFrame({"day": DAYS[:1], "series": ["candidate"], "value": [0.4]})
    assert "5 Jan" in texts(plots.trend(one_day, percent=False)), "one day is a point on its own day"


@pytest.mark.parametrize("background", ["#ffffff", "#14161a"])
def test_colours_can_be_seen_on_white_and_on_near_black(background):
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for name in ("BLUE", "VERMILION", "GREEN", "PURPLE", "AMBER", "MUTED", "TEXT"):
        colour = getattr(pictures, name)
        light, dark = sorted((luminance(colour), luminance(background)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 3, f"{name} on {background}"


def test_plots_of_nothing_are_empty_and_not_an_error():
    nothing = (
        plots.funnel(STEPS.clear()),
        plots.mix(pl.DataFrame(schema={"stratum": pl.String, "n_before": pl.Int64, "n_after": pl.Int64})),
        plots.denoising(CUT.clear()),
        plots.perplexity(pl.DataFrame(schema={"middle_nats_per_token": pl.Float64})),
        plots.comparison(evaluated().clear()),
        plots.reasons(pl.DataFrame(schema={"reason": pl.String, "rows": pl.Int64})),
    )
    for chart in nothing:
        assert rows(chart) == []
        assert plots.svg(chart).startswith("<svg")


def test_perplexity_of_samples_without_a_verdict_leaves_out_what_is_no_number():
    chart = plots.perplexity(pl.DataFrame({"middle_nats_per_token": [1.0, None, float("nan"), 1.1]}))
    assert [(row["verdict"], row["rows"]) for row in rows(chart)] == [("scored", 2)]


def test_comparison_draws_neither_slices_nor_differences():
    full = pl.concat(
        [
            evaluated(),
            evaluated().with_columns(slice=pl.lit("held_out_users")),
            evaluated().with_columns(versus=pl.lit("base")),
        ]
    )
    assert plots.svg(plots.comparison(full)) == plots.svg(CHARTS["comparison"])


def test_names_can_hold_anything():
    hostile = "\u2028'\"\\</text><script>alert(1)</script> ${x} \n"
    charts = (
        plots.funnel(STEPS.with_columns(step=pl.lit(hostile))),
        plots.reasons(pl.DataFrame({"reason": [hostile], "rows": [1]})),
        plots.mix(pl.DataFrame({"stratum": [hostile], "n_before": [1], "n_after": [1]})),
        plots.denoising(CUT.with_columns(stratum=pl.lit(hostile))),
        plots.perplexity(pl.DataFrame({"middle_nats_per_token": [1.0], "verdict": [hostile]})),
        plots.trend(
            pl.DataFrame({"day": DAYS[:1], "series": ["acceptance rate"], "value": [0.2]}),
            pl.DataFrame({"day": DAYS[:1], "label": [hostile]}),
        ),
    )
    for chart in charts:
        assert "<script" not in plots.svg(chart)


def test_a_chart_is_plain_json():
    for chart in CHARTS.values():
        json.dumps(chart.to_dict(), allow_nan=False)
