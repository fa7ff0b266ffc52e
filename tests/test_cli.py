"""Each command through the command line, on a small log, as its user would type it."""

import json
import random
import sys
from datetime import date
from pathlib import Path

import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

from echo_dagster.cli import app
from echo_dagster.extraction.schema import GAP_SCHEMA
from echo_dagster.refinery.schema import SAMPLE_SCHEMA, SCORED_SCHEMA

sys.path.insert(0, str(Path(__file__).parent / "dag"))
from logs import write_day

DAY = date(2022, 9, 5)


def run(*arguments: str, fails: bool = False, typed: str | None = None):
    found = CliRunner().invoke(app, [str(argument) for argument in arguments], input=typed)
    assert (found.exit_code != 0) is fails, found.output
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_settings):
    root = tmp_path_factory.mktemp("cli")
    shown = write_day(root, DAY, users=3, gaps=6)
    config = {
        "data_dir": str(root / "data"),
        "start_day": "2022-08-01",
        "base_model": tiny_settings.model_dump(mode="json"),
        "truncation": {"prefix_tokens": 128, "suffix_tokens": 48, "middle_tokens": 64},
        "evaluation": {"max_new_tokens": 4, "bootstrap_samples": 50},
    }
    (root / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return root, shown


@pytest.fixture(scope="module")
def gaps(folder):
    root, _ = folder
    run("import", "native", root / f"{DAY}.ndjson", "--out", root / "events.parquet")
    run("extract", root / "events.parquet", "--out", root / "gaps.parquet")
    return root / "gaps.parquet"


def test_import_and_extract_find_every_proposal_with_the_columns_of_the_docs(folder, gaps):
    _, shown = folder
    found = pl.read_parquet(gaps)
    assert found.height == shown and found.schema == GAP_SCHEMA


def test_inspect_says_what_logs_hold_and_how_to_read_them(folder):
    root, shown = folder
    found = run("inspect", root / f"{DAY}.ndjson")
    (source,) = yaml.safe_load(found.stdout)["sources"]
    assert source == {
        "name": "native",
        "importer": "native",
        "path": f"{root}/{{day}}.ndjson",
        "consent": False,
    }
    assert "objects with event_id and ts" in found.stderr and f"shown {shown}" in found.stderr
    told = json.loads(run("inspect", root / f"{DAY}.ndjson", "--json", "--limit", "4").stdout)
    assert (told["found"][0]["lines"], told["found"][0]["users"]) == (4, 1)


def test_inspect_fails_where_it_knows_nothing(tmp_path):
    (tmp_path / "a[red].txt").write_text("nothing")
    found = run("inspect", tmp_path, fails=True)
    assert "a[red].txt" in found.stderr and "no known tool" in found.stderr and found.stdout == ""
    assert "no such file" in run("inspect", tmp_path / "b", fails=True).stderr


def test_users_become_pseudonyms_at_import(folder, gaps):
    assert all(user.startswith("u_") for user in pl.read_parquet(gaps)["user_id"])


def test_extract_reads_shuffled_events_from_standard_input(folder, gaps):
    root, _ = folder
    run("import", "native", root / f"{DAY}.ndjson", "--out", root / "events.ndjson")
    lines = (root / "events.ndjson").read_text(encoding="utf-8").splitlines()
    random.Random(1).shuffle(lines)
    run("extract", "-", "--out", root / "shuffled.parquet", typed="\n".join(lines))
    assert pl.read_parquet(root / "shuffled.parquet").equals(pl.read_parquet(gaps))


def test_extract_writes_ndjson_to_standard_output(folder, gaps):
    root, shown = folder
    found = run("extract", root / "events.parquet", "--out", "-")
    rows = [json.loads(line) for line in found.stdout.splitlines()]
    assert len(rows) == shown and set(rows[0]) == set(GAP_SCHEMA)


def test_an_unknown_policy_names_those_that_exist(folder, gaps):
    root, _ = folder
    found = run("extract", root / "events.parquet", "--out", "-", "--policy", "slow", fails=True)
    assert "expected one of echo, zed, copilot_nes" in found.stderr


def test_a_file_of_the_wrong_kind_names_every_missing_column(folder, gaps):
    root, _ = folder
    found = run(
        *("refine", root / "events.parquet", "--out", root / "x.ndjson", "--rejected", root / "y.ndjson"),
        *("--config", root / "config.yaml"),
        fails=True,
    )
    assert "gap_id: missing" in found.stderr and "final: missing" in found.stderr


def test_refine_score_and_evaluate_go_from_gaps_to_a_comparison(folder, gaps, tiny_model_dir):
    root, shown = folder
    config = ("--config", root / "config.yaml")
    run("refine", gaps, "--out", root / "samples.parquet", "--rejected", root / "rejected.ndjson", *config)
    samples = pl.read_parquet(root / "samples.parquet")
    rejected = pl.read_ndjson(root / "rejected.ndjson") if (root / "rejected.ndjson").stat().st_size else None
    assert samples.schema == SAMPLE_SCHEMA
    assert samples.height + (0 if rejected is None else rejected.height) == shown

    run("score", root / "samples.parquet", "--out", root / "scored.parquet", *config)
    scored = pl.read_parquet(root / "scored.parquet")
    assert scored.schema == SCORED_SCHEMA and scored["middle_nats_per_token"].min() > 0

    run(
        "evaluate",
        root / "scored.parquet",
        "--model",
        f"mine={tiny_model_dir}",
        "--out",
        root / "compared.csv",
        *config,
    )
    compared = pl.read_csv(root / "compared.csv")
    tie = compared.filter(
        pl.col("versus") == "base", pl.col("metric") == "edit_similarity", pl.col("slice") == "all"
    )
    assert tie["value"].to_list() == [0.0]


def test_a_wrong_configuration_is_told_whole(tmp_path):
    (tmp_path / "bad.yaml").write_text(
        "start_day: soon\ntraining: {epochs: 0, speed: 9}\n"
        "sources: [{name: a, importer: tabbie, path: x, consent: true}]\n",
        encoding="utf-8",
    )
    found = run("report", DAY, "--config", tmp_path / "bad.yaml", fails=True)
    for mistake in ("start_day", "training.epochs", "training.speed", "sources.0.importer"):
        assert mistake in found.stderr
