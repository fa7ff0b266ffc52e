"""What the demo says at its end: read off the tables, and said plainly."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console
from rich.table import Table

from echo_dagster import demo, demo_tables
from echo_dagster.evaluation.schema import CHAMPION_SCHEMA, EVALUATED_SCHEMA
from echo_dagster.events import QUARANTINE_SCHEMA, SCHEMA
from echo_dagster.extraction.schema import GAP_SCHEMA
from echo_dagster.lake import Lake
from echo_dagster.refinery.schema import REJECTED_SCHEMA, SCORED_SCHEMA
from echo_dagster.settings import ModelSettings, Settings, Source

FIRST, LAST = date(2026, 1, 5), date(2026, 1, 6)
DAYS = [FIRST, LAST]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def fill(lake: Lake, table: str, schema: pl.Schema, rows: list[dict]) -> None:
    frame = pl.DataFrame([{"day": LAST} | row for row in rows], schema={"day": pl.Date(), **schema})
    lake.replace(table, frame, DAYS)


def text_of(table: Table) -> str:
    console = Console(width=160, record=True, file=None, quiet=False)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def compared(gain: float, low: float, high: float) -> list[dict]:
    common = {"metric": "edit_similarity", "slice": "all", "n_samples": 84, "model_digest": "d"}
    return [
        {"role": "base", "value": 0.41, "low": 0.35, "high": 0.47, **common},
        {"role": "candidate", "value": 0.41 + gain, "low": 0.36, "high": 0.5, **common},
        {"role": "candidate", "versus": "base", "value": gain, "low": low, "high": high, **common},
        {"role": "candidate", "versus": "base", **common, "slice": "held_out_users", "value": 9.0},
    ]


@pytest.mark.parametrize(
    ("gain", "low", "high", "sentence"),
    [
        (
            0.05,
            0.01,
            0.09,
            "The candidate beats the base model in edit similarity (+0.050, interval +0.010 to +0.090).",
        ),
        (0.05, -0.01, 0.11, "The candidate beats the base model in edit similarity, but not beyond chance ("),
        (0.0, -0.01, 0.01, "The candidate does not beat the base model in edit similarity ("),
        (-0.02, -0.05, 0.01, "The candidate does not beat the base model in edit similarity (-0.020,"),
    ],
)
def test_the_verdict_says_plainly_whether_the_candidate_won(lake, gain, low, high, sentence):
    fill(lake, "evaluated_model", EVALUATED_SCHEMA, compared(gain, low, high))
    assert demo_tables.verdict(lake, LAST).startswith(sentence)
    assert "held_out" not in text_of(demo_tables.models_table(lake, LAST))
    assert f"{gain:+.3f}" in text_of(demo_tables.models_table(lake, LAST))
    assert "84 held-out gaps" in text_of(demo_tables.models_table(lake, LAST))


def test_the_static_baseline_is_told_where_there_is_one(lake):
    static = [row | {"role": "static"} for row in compared(0.02, 0.01, 0.03) if row["role"] == "candidate"]
    against = [row | {"versus": "static"} for row in compared(-0.03, -0.06, 0.01)[2:3]]
    fill(lake, "evaluated_model", EVALUATED_SCHEMA, [*compared(0.05, 0.01, 0.09), static[0], *against])
    beside_base, beside_static = demo_tables.verdict(lake, LAST).splitlines()
    assert beside_base.startswith("The candidate beats the base model in edit similarity (+0.050")
    assert beside_static == (
        "The candidate does not beat the static baseline, trained on as many gaps of plain code, in edit similarity "
        "(-0.030, interval -0.060 to +0.010)."
    )
    told = text_of(demo_tables.models_table(lake, LAST))
    (line,) = [line for line in told.splitlines() if "edit similarity" in line]
    assert line.split()[3:] == ["│", "0.410", "│", "0.430", "│", "0.460", "│", "+0.050", "│", "-0.030", "│"]


def test_without_a_candidate_the_reason_is_said(lake):
    assert (
        demo_tables.verdict(lake, LAST)
        == "There is no candidate to compare on 2026-01-06: nothing was compared."
    )
    fill(
        lake,
        "checkpoint",
        pl.Schema({"status": pl.String(), "reason": pl.String()}),
        [{"status": "skipped", "reason": "12 samples, 32 wanted"}],
    )
    assert demo_tables.verdict(lake, LAST).endswith("2026-01-06: 12 samples, 32 wanted.")
    assert demo_tables.decision(lake, LAST) == "No decision was made on 2026-01-06."


def test_the_decision_is_the_recorded_one(lake):
    row = {"model_digest": "abc", "decision": "kept", "reason": "the interval holds 0"}
    fill(lake, "champion", CHAMPION_SCHEMA, [row])
    assert (
        demo_tables.decision(lake, LAST)
        == "Decision: kept: the interval holds 0. The model that serves is abc."
    )


def test_events_add_up_to_the_lines_that_landed(lake):
    fill(lake, "raw_events", SCHEMA, [{"kind": "edited"}] * 5 + [{"kind": "shown"}] * 2)
    fill(lake, "quarantined_events", QUARANTINE_SCHEMA, [{"reason": "malformed_json"}])
    text = text_of(demo_tables.events_table(lake, DAYS, {"lines": 11}))
    for said in ("11", "duplicate lines, dropped", "3", "quarantined: malformed_json", "edited", "shown"):
        assert said in text


def test_samples_are_counted_after_each_step_with_reasons(lake):
    fill(lake, "gap_sessions", GAP_SCHEMA, [{"outcome": "accepted"}] * 6 + [{"outcome": "ignored"}] * 2)
    for table, count in (
        ("filtered_samples", 5),
        ("balanced_samples", 5),
        ("scored_samples", 5),
        ("training_set", 4),
    ):
        fill(lake, table, SCORED_SCHEMA, [{"middle_nats_per_token": 2.0, "ifd": 0.5}] * count)
    fill(
        lake,
        "rejected_samples",
        REJECTED_SCHEMA,
        [{"stage": "filter", "reason": "pasted"}] * 3 + [{"stage": "denoise", "reason": "high_ifd"}],
    )
    text = text_of(demo_tables.samples_table(lake, DAYS, LAST))
    for said in ("gaps", "8", "filtered", "pasted 3", "training set of 2026-01-06", "high_ifd 1"):
        assert said in text
    assert "75%" in text_of(demo_tables.gaps_table(lake, DAYS))
    perplexity = text_of(demo_tables.perplexity_table(lake, DAYS))
    assert "2.000" in perplexity
    assert "0.500" in perplexity
    assert "none" in perplexity  # no proposal was scored here


def test_an_empty_lake_is_shown_as_empty(lake, tmp_path, tiny_settings: ModelSettings):
    configured = Settings(start_day=FIRST, base_model=tiny_settings, data_dir=tmp_path)
    console = Console(width=160)
    with console.capture() as captured:
        demo_tables.show(lake, configured, FIRST, LAST, landed={"lines": 0}, console=console)
    said = captured.get()
    assert "There is no report." in said
    assert "simulated" in said


def test_the_demo_finds_its_code_base_and_its_landing_folder(tmp_path, tiny_settings: ModelSettings):
    assert (demo._code_base() / "__init__.py").is_file()
    source = Source(name="simulated", importer="native", path="demo/landing/simulated/{day}*", consent=True)
    configured = Settings(start_day=FIRST, base_model=tiny_settings, sources=(source,))
    assert demo._landing_folder(configured) == Path("demo/landing/simulated")
    with pytest.raises(LookupError, match="needs a source named 'simulated'"):
        demo._landing_folder(configured.model_copy(update={"sources": ()}))
