"""The report shows what denoising did, and of the samples at its edges only what may be shown."""

from __future__ import annotations

import html
import re
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from report_lake import DAY, DAY_BEFORE, HIGH, LOW, build

from echo_dagster.evaluation import report, report_denoising
from echo_dagster.lake import Lake
from echo_dagster.settings import FimTokens, ModelSettings, ModelSource, Settings


def settings_of(data_dir: Path) -> Settings:
    markers = FimTokens(layout="spm", prefix="<p>", suffix="<s>", middle="<m>", end="<e>")
    model = ModelSettings(name="tiny", source=ModelSource(path="tiny"), fim=markers)
    return Settings(start_day=DAY - timedelta(days=30), data_dir=data_dir, base_model=model)


@pytest.fixture()
def lake(tmp_path: Path) -> Lake:
    lake = Lake(settings_of(tmp_path).lake_dir)
    build(lake)
    return lake


def told(lake: Lake, day: date = DAY) -> dict:
    return report_denoising.denoising(lake, day, settings_of(lake.root.parent), lambda text: text)


def side(facts: dict, reason: str, name: str) -> list[dict]:
    (edge,) = (edge for edge in facts["edges"] if edge["reason"] == reason)
    return edge["sides"][name]


def change(lake: Lake, table: str, *columns: pl.Expr, days: tuple[date, ...] = (DAY,)) -> None:
    for day in days:
        lake.replace(table, lake.read(table, [day]).with_columns(*columns).collect(), [day])


def test_the_samples_nearest_to_an_edge_stand_on_either_side_of_it(lake):
    facts = told(lake)
    scored = lake.read("scored_samples", [DAY_BEFORE]).collect()
    for reason, edge, is_out in (("ppl_low", LOW, -1), ("ppl_high", HIGH, 1)):
        inside, outside = (side(facts, reason, name) for name in ("just in", "just out"))
        nats = [[row["middle_nats_per_token"] for row in rows] for rows in (inside, outside)]
        assert all((value - edge) * is_out <= 0 for value in nats[0])
        assert all((value - edge) * is_out > 0 for value in nats[1])
        for rows, of_side in (
            (inside, scored.filter(pl.col("middle_nats_per_token").is_between(LOW, HIGH))),
            (outside, scored.filter((pl.col("middle_nats_per_token") - edge) * is_out > 0)),
        ):
            nearest = of_side.with_columns(away=(pl.col("middle_nats_per_token") - edge).abs()).sort("away")
            assert [row["sample_id"] for row in rows] == nearest["sample_id"].head(
                report_denoising.NEAREST
            ).to_list()
    assert side(facts, "ifd_above_one", "just out") == []
    assert len(side(facts, "ifd_above_one", "just in")) == report_denoising.NEAREST


def test_the_page_tells_the_mix_the_bands_and_whose_the_samples_are(lake):
    page = report.render(lake, DAY, settings_of(lake.root.parent))
    found = re.search(r'<section id="denoising".*?</section>', page, re.S)
    assert found is not None
    words = re.sub(
        r"\s+", " ", html.unescape(re.sub(r"<svg.*?</svg>|<[^>]+>", " ", found.group(0), flags=re.S))
    )
    strata = lake.read("denoising").sort("n_before", descending=True).collect()
    first = strata.row(0, named=True)
    assert (
        f"Of the 300 samples that came to this step for the training set of this day, {strata['n_after'].sum()} passed"
        in words
    )
    share = f"{100 * first['n_before'] / 300:.1f} %"
    assert f"{first['stratum']} {first['n_before']} {share} {first['n_after']}" in words
    assert "0.30 3.50 its own" in words
    assert f"ppl_high : C_N so unlikely that it may be noise ({strata['n_ppl_high'].sum()} dropped)" in words
    # `forget` finds the pages that show a person by their pseudonym.
    shown = {
        row["user_id"] for edge in told(lake)["edges"] for rows in edge["sides"].values() for row in rows
    }
    assert shown and all(f"· {user}" in words for user in shown)


def test_text_stays_text_and_secrets_stay_hidden(lake):
    hostile = "</pre><img src=x onerror=alert(1)>{{ 7 * 7 }}"
    key = "-----BEGIN PRIVATE KEY-----"
    tables = [("training_set", (DAY,)), ("scored_samples", (DAY, DAY_BEFORE))]
    for table, days in tables:
        change(lake, table, pl.lit(hostile).alias("proposal"), pl.lit(hostile).alias("document"), days=days)
    page = report.render(lake, DAY, settings_of(lake.root.parent))
    assert "<img" not in page and "{{ 7 * 7 }}" in page
    for table, days in tables:
        change(lake, table, pl.lit(key).alias("prefix"), days=days)
    for edge in told(lake)["edges"]:
        for rows in edge["sides"].values():
            assert all(row["hidden"] == "a private key stands in it or near it" for row in rows)
            assert not any("before" in row or "parts" in row for row in rows)


def test_long_texts_are_cut_and_say_so(lake):
    long = "x = 1\n" * 1000
    for table, days in (("training_set", (DAY,)), ("scored_samples", (DAY_BEFORE,))):
        change(lake, table, pl.lit(long).alias("middle"), pl.lit(long).alias("prefix"), days=days)
    for row in side(told(lake), "ppl_high", "just in"):
        assert row["is_cut"] and row["before"].startswith("⋯") and row["before"].count("\n") <= 7
        assert sum(len(text) for sign, text in row["parts"] if sign >= 0) <= report_denoising.CAPS.text_chars


def test_scored_samples_past_their_retention_leave_the_side_empty(lake):
    lake.drop_days("scored_samples", DAY)
    facts = told(lake)
    assert side(facts, "ppl_high", "just out") == []
    assert len(side(facts, "ppl_high", "just in")) == report_denoising.NEAREST
    assert facts["edges"][1]["n_dropped"] > 0, "what the table counted stays"


def test_a_day_without_a_training_set_says_so(lake, tmp_path):
    other = DAY + timedelta(days=1)
    assert told(lake, other) == {"missing": f"No training set of {other} was denoised."}
    empty = Lake(tmp_path / "empty")
    assert told(empty) == {"missing": f"No training set of {DAY} was denoised."}
