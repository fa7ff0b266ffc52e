"""Any set of models on gaps that none of them has seen, by the command: names, leaks, figures and files."""

import json
import shutil
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
import yaml
from answered import answers
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from echo_dagster import configuration, models
from echo_dagster.cli import app
from echo_dagster.evaluation import user
from echo_dagster.evaluation.decisions import DECISION_SCHEMA
from echo_dagster.evaluation.schema import CHAMPION_SCHEMA
from echo_dagster.experiments import leaks, named, side_by_side
from echo_dagster.experiments.telling import in_words
from echo_dagster.extraction.schema import GAP_SCHEMA
from echo_dagster.holdout import is_held_out
from echo_dagster.lake import Lake
from echo_dagster.models import ResolvedModel
from echo_dagster.optimization import job, record
from echo_dagster.refinery.schema import SCORED_SCHEMA, TRAINING_SCHEMA
from echo_dagster.settings import Evaluation

DAYS = [date(2026, 1, 5) + timedelta(days=ahead) for ahead in range(3)]
CONFIG = {
    "start_day": str(DAYS[0]),
    "window": {"days": 1, "held_out_user_share": 0.5},
    "training": {"min_samples": 4},
    "evaluation": {"max_new_tokens": 4, "min_samples": 4, "bootstrap_samples": 100},
}
WORDS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa")


def scored(day: date, n: int = 16) -> pl.DataFrame:
    rows = [
        {
            "sample_id": f"{day.day}-{index:02}",
            "region_id": f"{day.day}-{index:02}",
            "user_id": f"user {index % 8}",
            "language": "python",
            "prefix": "".join(f"{word}_{index}_{day.day} = {word}.{index}\n" for word in WORDS),
            "suffix": "\n",
            "middle": " + ".join(f"{word}[{index * day.day}]" for word in WORDS),
            "content_hash": f"{day.day}-{index:02}",
        }
        for index in range(n)
    ]
    return pl.DataFrame(rows, schema=SCORED_SCHEMA)


def of_day(day: date, frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(pl.lit(day).alias("day"), pl.all())


@pytest.fixture(scope="module")
def config(tmp_path_factory, tiny_settings) -> Path:
    """Three days of samples. The training set of the last day is the second one's, without people held out."""
    root = tmp_path_factory.mktemp("side")
    raw = {"data_dir": str(root / "data"), "base_model": tiny_settings.model_dump(mode="json"), **CONFIG}
    file = root / "config.yaml"
    file.write_text(yaml.safe_dump(raw), encoding="utf-8")
    lake = Lake(root / "data" / "lake")
    for day in DAYS:
        lake.replace("scored_samples", of_day(day, scored(day)), [day])
        lake.replace("gap_sessions", pl.DataFrame(schema={"day": pl.Date(), **GAP_SCHEMA}), [day])
    learnt = scored(DAYS[1])
    learnt = learnt.filter(~is_held_out(learnt["user_id"], 0.5, 17)).with_columns(
        sample_day=pl.lit(DAYS[1]), origin=pl.lit("window")
    )
    lake.replace("training_set", of_day(DAYS[2], learnt.select(TRAINING_SCHEMA.names())), [DAYS[2]])
    return file


@pytest.fixture(scope="module")
def settings(config):
    return configuration.load(config)


@pytest.fixture(scope="module")
def lake(settings) -> Lake:
    return Lake(settings.lake_dir)


@pytest.fixture(scope="module")
def base(settings) -> ResolvedModel:
    return models.resolve(settings.base_model, settings.data_dir)


def changed(model: Path, out: Path, by: float) -> Path:
    """A model directory with other weights."""
    shutil.copytree(model, out, dirs_exist_ok=True)
    weights = load_file(out / "model.safetensors")
    told = {name: (value * by).contiguous() for name, value in weights.items()}
    save_file(told, out / "model.safetensors", metadata={"format": "pt"})
    return out


@pytest.fixture(scope="module")
def candidate(lake, base, settings) -> ResolvedModel:
    """The candidate of the last day, recorded as its training leaves one."""
    prepared = job.prepare_day(lake, DAYS[2], base, base, settings)
    path = changed(base.path, prepared.job.result, 1.5)
    digest = models.digest(path)
    metrics = {"steps": 1, "final_loss_nats_per_token": 1.0}
    told = job.provenance(prepared.job) | {"model_digest": digest, "metrics": metrics}
    (path / "provenance.json").write_text(json.dumps(told))
    (path / "history.json").write_text("[]")
    record.write_trained(lake, DAYS[2], prepared)
    return ResolvedModel("tiny", path, digest)


def run(config, *arguments) -> tuple[int, str]:
    told = CliRunner().invoke(
        app, ["evaluate", *map(str, arguments), "--config", str(config)], env={"COLUMNS": "250"}
    )
    return told.exit_code, told.stderr


@pytest.fixture(scope="module")
def compared(config, candidate, tmp_path_factory):
    root = tmp_path_factory.mktemp("out")
    other = changed(candidate.path, root / "other", 2.0)
    (other / "provenance.json").unlink()
    arguments = (
        "--model",
        f"candidate@{DAYS[2]}",
        "--model",
        f"other={other}",
        "--from",
        DAYS[1],
        "--to",
        DAYS[2],
    )
    status, told = run(config, *arguments, "--out", root / "c.csv", "--predictions", root / "p.parquet")
    assert status == 0, told
    return told, pl.read_csv(root / "c.csv"), pl.read_parquet(root / "p.parquet")


def test_every_model_and_every_pair_has_its_figures_with_intervals(compared):
    told, rows, _ = compared
    whole = rows.filter(pl.col("slice") == "all", pl.col("metric") == "middle_nats_per_token")
    names = ("base", f"candidate@{DAYS[2]}", "other")
    assert set(whole.select("model", "versus").rows()) == {
        *((name, None) for name in names),
        (names[1], "base"),
        ("other", "base"),
        ("other", names[1]),
    }
    value = {
        (model, versus): value for model, versus, value in whole.select("model", "versus", "value").rows()
    }
    for name, versus in ((names[1], "base"), ("other", names[1])):
        assert value[name, versus] == pytest.approx(value[name, None] - value[versus, None])
    rounding = 1e-12  # of sums taken in another order
    assert (rows["low"] <= rows["value"] + rounding).all() and (
        rows["value"] - rounding <= rows["high"]
    ).all()
    assert f"other - candidate@{DAYS[2]}" in told and "Paired differences" in told


def test_what_a_model_learnt_from_is_asked_of_nobody_and_counted(compared, lake, settings):
    told, rows, predictions = compared
    second = scored(DAYS[1])
    held_out = second.filter(is_held_out(second["user_id"], 0.5, settings.window.seed))
    asked = predictions["sample_id"].unique().sort().to_list()
    assert asked == sorted([*held_out["sample_id"], *scored(DAYS[2])["sample_id"]])
    assert 0 < held_out.height < second.height
    assert set(rows.filter(pl.col("slice") == "all")["n_samples"]) == {len(asked)}
    seen = second.height - held_out.height
    assert f"left out, seen by candidate@{DAYS[2]}" in told and f"{seen}" in told
    assert (
        f"checked against training_set of {DAYS[2]}" in told and "not checked: no provenance record" in told
    )
    assert "the base model" in told


def test_each_model_writes_its_own_answers(compared):
    _, _, predictions = compared
    assert predictions["model"].unique().len() == 3 and "role" not in predictions.columns
    assert predictions.group_by("model").len()["len"].n_unique() == 1


def test_a_set_that_changed_since_is_said_and_checked_as_it_is_now(lake, candidate, base):
    gaps = of_day(DAYS[2], scored(DAYS[2])).with_columns(is_held_out_user=pl.lit(False))
    before = lake.read("training_set", [DAYS[2]]).collect()
    assert leaks.seen(candidate, gaps, lake, base, 0.7).sample_ids == frozenset()
    near = before.head(2).with_columns(
        prefix=pl.lit(gaps["prefix"][0]), middle=pl.lit(gaps["middle"][0] + " "), content_hash=pl.lit("new")
    )
    lake.replace("training_set", pl.concat([before.tail(-2), near]), [DAYS[2]])
    lake.vacuum("training_set", timedelta(0))
    found = leaks.seen(candidate, gaps, lake, base, 0.7)
    assert (
        found.checked == f"checked against what training_set of {DAYS[2]} is now, not what it was trained on"
    )
    assert found.sample_ids == {gaps["sample_id"][0]}
    assert leaks.seen(candidate, gaps, lake, base, None).sample_ids == frozenset()
    lake.replace("training_set", before, [DAYS[2]])


def test_what_a_model_began_with_counts_too(lake, candidate, base, tmp_path):
    heir = changed(candidate.path, tmp_path / "heir", 1.1)
    told = json.loads((heir / "provenance.json").read_text())
    told["started_from"] = {"name": "tiny", "digest": candidate.digest}
    told["lineage"] = {"samples": "a file"}
    (heir / "provenance.json").write_text(json.dumps(told))
    gaps = of_day(DAYS[1], scored(DAYS[1])).with_columns(is_held_out_user=pl.lit(False))
    model = ResolvedModel("heir", heir, models.digest(heir))
    found = leaks.seen(model, gaps, lake, base, None)
    assert found.checked == (
        f"not checked: it was not trained on a table of the lake; checked against training_set of {DAYS[2]}"
    )
    assert len(found.sample_ids) == gaps.height
    told["started_from"]["digest"] = "gone"
    (heir / "provenance.json").write_text(json.dumps(told))
    assert "began with gone, which is not on record" in leaks.seen(model, gaps, lake, base, None).checked


def test_names_find_directories_and_what_is_on_record(lake, candidate, base, settings):
    row = {
        **dict.fromkeys(CHAMPION_SCHEMA),
        **{
            "day": DAYS[1],
            "path": str(candidate.path),
            "model_digest": candidate.digest,
            "decision": "promoted",
        },
    }
    lake.replace("champion", pl.DataFrame([row], schema={"day": pl.Date(), **CHAMPION_SCHEMA}), [DAYS[1]])
    asked = [f"champion@{DAYS[2]}", f"mine={base.path}", str(candidate.path), f"old=champion@{DAYS[1]}"]
    found = named.named(asked, base, lake, settings)
    assert list(found) == [f"champion@{DAYS[2]}", "mine", "model", "old"]
    digests = [model.digest for model in found.values()]
    assert digests == [candidate.digest, base.digest, candidate.digest, base.digest]
    assert named.fim_of(found["mine"], base, settings) == settings.base_model.fim
    assert named.fim_of(found["model"], base, settings).layout == settings.base_model.fim.layout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "say which gaps"),
        (("x.ndjson", "--from", DAYS[0]), "say which gaps"),
        (("--from", DAYS[0], "--model", "./nowhere"), "'./nowhere' is no model: there is no such directory"),
        (
            ("--from", DAYS[0], "--model", "static@2026-01-07"),
            "static@2026-01-07: no static baseline is recorded",
        ),
        (("--from", DAYS[0], "--model", "candidate@soon"), "expected a day, as in candidate@2026-01-31"),
        (
            ("--from", DAYS[0], "--model", "a=champion@2026-01-05", "--model", "a=champion@2026-01-05"),
            "two models",
        ),
        (("--from", DAYS[0], "--out", "nowhere/x.csv"), "there is no folder nowhere"),
        (("--from", "2026-02-01"), "0 gaps of 2026-02-01 to compare on"),
    ],
)
def test_what_cannot_be_done_is_told_before_any_model_is_asked(config, arguments, told):
    status, said = run(config, *arguments)
    assert status == 1 and told in said and "comparing" not in said


def test_pairs_over_seeds_are_of_the_means():
    rows = side_by_side.judged(
        {
            "base": [answers(0.1, 0.2)],
            "static": [answers(0.2, 0.4)],
            "candidate": [answers(0.3, 0.5), answers(0.5, 0.7)],
        },
        Evaluation(bootstrap_samples=50, min_slice_samples=100),
    )
    found = {
        (row["model"], row["versus"]): row["value"]
        for row in rows.filter(pl.col("metric") == "edit_similarity").iter_rows(named=True)
    }
    assert found["candidate", None] == pytest.approx(0.5)
    assert found["candidate", "static"] == pytest.approx(0.2) and found["static", "base"] == pytest.approx(
        0.15
    )


@pytest.mark.parametrize(
    ("metric", "told", "words"),
    [
        ("edit_similarity", (0.1, 0.05, 0.2), "better"),
        ("middle_nats_per_token", (0.1, 0.05, 0.2), "worse"),
        ("exact_match", (0.1, -0.05, 0.2), "no difference within the interval"),
        ("exact_match", (0.1, None, None), "one independent unit gives no interval"),
    ],
)
def test_a_difference_in_words(metric, told, words):
    assert in_words(metric, *told) == words


def test_models_that_count_tokens_otherwise_are_not_compared_by_nats(base, tmp_path, settings):
    other = changed(base.path, tmp_path / "other", 1.0)
    raw = json.loads((other / "tokenizer.json").read_text())
    raw["model"]["merges"] = raw["model"]["merges"][:-1]
    del raw["model"]["vocab"][max(raw["model"]["vocab"], key=raw["model"]["vocab"].get)]
    (other / "tokenizer.json").write_text(json.dumps(raw))
    model = ResolvedModel("other", other, models.digest(other))
    assert not named.has_tokenizer_of(model, base) and named.fim_of(model, base, settings) is None
    told = {"fim": settings.base_model.fim.model_dump(mode="json")}  # as the record of a training says it
    (other / "provenance.json").write_text(json.dumps(told))
    gaps = scored(DAYS[2], 4).with_columns(
        is_held_out_user=pl.lit(False), is_held_out_repository=pl.lit(False)
    )
    nobody = user.fit(DECISION_SCHEMA.to_frame())
    done = side_by_side.compare({"base": base, "other": model}, gaps, base, nobody, settings)
    per_metric = dict(done.rows.group_by("metric").agg(pl.col("versus").drop_nulls().unique()).iter_rows())
    assert per_metric["middle_nats_per_token"] == [] and per_metric["edit_similarity"] == ["base"]
    assert done.n_gaps == 4
