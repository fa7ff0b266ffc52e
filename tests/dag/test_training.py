"""From scored samples to the model that serves, with a real DeepSpeed run of the tiny model."""

import json
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
import yaml
from house import CONFIG, DATA, build_house
from logs import write_day
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from assets import runs
from echo_dagster import models, open_lake
from echo_dagster.cli import app
from echo_dagster.evaluation.schema import RECORDS
from echo_dagster.experiments import training
from echo_dagster.experiments.against_static import against_static
from echo_dagster.optimization import job
from echo_dagster.optimization.schema import samples_digest
from echo_dagster.scaling import study
from echo_dagster.settings import Retention
from echo_dagster.tables import TABLES

FIRST = date(2022, 9, 5)
MODEL = ("training_set", "checkpoint", "static_baseline", "evaluated_model", "champion", "report")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_settings):
    asked = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["evaluation"]
    house = build_house(
        tmp_path_factory.mktemp("trained"), tiny_settings, evaluation={**asked, "static_baseline_days": 1}
    )
    days = [FIRST + timedelta(days=ahead) for ahead in range(3)]
    for day in days:
        write_day(house.landing, day)
    house.run("base_model", *DATA, first=days[0], last=days[-1])
    house.run(*MODEL, first=days[0])
    house.run(*MODEL, first=days[2])
    return house, days


def row(house, table: str, day: date) -> dict:
    (found,) = house.lake.read(table, [day]).collect().to_dicts()
    return found


def test_a_day_with_nothing_to_train_on_is_a_clear_skip(trained):
    house, days = trained
    record = row(house, "checkpoint", days[0])
    assert record["status"] == "skipped" and "0 samples" in record["reason"] and record["path"] is None
    decision = row(house, "champion", days[0])
    assert decision["decision"] == "kept" and decision["model_digest"]
    assert not (house.settings.data_dir / "checkpoints" / days[0].isoformat()).exists()
    assert "Nothing was trained" in (house.settings.data_dir / "reports" / f"{days[0]}.html").read_text(
        encoding="utf-8"
    )


def test_a_checkpoint_is_a_model_directory_with_its_provenance(trained):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    house, days = trained
    record = row(house, "checkpoint", days[2])
    assert record["status"] == "trained" and record["n_samples"] >= 8
    path = Path(record["path"])
    assert AutoModelForCausalLM.from_pretrained(path).config.vocab_size == len(
        AutoTokenizer.from_pretrained(path)
    )
    told = json.loads(record["provenance"])
    assert record["training_set_digest"] in json.dumps(told)
    assert house.settings.digest in json.dumps(told)


def test_nobody_held_out_and_no_day_held_out_was_trained_on(trained):
    house, days = trained
    from echo_dagster.holdout import is_held_out

    samples = house.lake.read("training_set", [days[2]]).collect()
    window = house.settings.window
    held_out = is_held_out(samples["user_id"], window.held_out_user_share, window.seed)
    assert samples.height and not held_out.any()
    assert samples["sample_day"].max() < days[2]


def test_the_comparison_names_who_is_better_with_an_interval_and_a_decision_follows(trained):
    house, days = trained
    compared = house.lake.read("evaluated_model", [days[2]]).collect()
    pairs = set(compared.select("role", "versus", "metric").rows())
    for metric in ("exact_match", "edit_similarity", "middle_nats_per_token"):
        assert ("base", None, metric) in pairs and ("candidate", None, metric) in pairs
        assert ("candidate", "base", metric) in pairs
    assert (compared["low"] <= compared["value"]).all() and (compared["value"] <= compared["high"]).all()
    decision = row(house, "champion", days[2])
    assert decision["decision"] in {"promoted", "kept"} and decision["reason"]
    assert decision["candidate_digest"] == row(house, "checkpoint", days[2])["model_digest"]


def test_the_training_learnt_something(trained):
    house, days = trained
    history = json.loads((Path(row(house, "checkpoint", days[2])["path"]) / "history.json").read_text())
    steps = history["steps"] if isinstance(history, dict) else history
    assert steps[-1]["loss_nats_per_token"] < steps[0]["loss_nats_per_token"]


def test_a_training_shows_its_figures_while_it_runs(trained):
    house, days = trained
    (last, *_) = house.instance.fetch_observations(dg.AssetKey("checkpoint"), limit=1).records
    told = {name: value.value for name, value in last.asset_observation.metadata.items()}
    history = json.loads((Path(row(house, "checkpoint", days[2])["path"]) / "history.json").read_text())
    assert last.asset_observation.partition == str(days[2])
    assert told["optimizer_step"] == len(history) and told["done_share"] == 1
    assert told["learning_rate"] == history[-1]["learning_rate"]
    assert 0 < told["loss_nats_per_token"] < 10 and told["tokens_per_second"] > 0
    assert told["peak_memory_bytes"] > 50e6
    (made,) = house.instance.fetch_materializations(dg.AssetKey("checkpoint"), limit=1).records
    assert last.timestamp < made.timestamp


def test_running_the_training_again_gives_the_same_weights(trained):
    house, days = trained
    before = row(house, "checkpoint", days[2])
    house.run("checkpoint", first=days[2])
    assert row(house, "checkpoint", days[2])["model_digest"] == before["model_digest"]


def equal_samples(house) -> list:
    key = dg.AssetCheckKey(dg.AssetKey("static_baseline"), "equal_samples")
    return house.instance.event_log_storage.get_asset_check_execution_history(key, limit=9)


def test_a_static_baseline_is_trained_as_the_candidate_is_on_as_many_gaps_of_the_same_files(trained):
    house, days = trained
    candidate, baseline = row(house, "checkpoint", days[2]), row(house, "static_baseline", days[2])
    assert baseline["n_samples"] == baseline["n_wanted"] == candidate["n_samples"] >= 8
    assert baseline["shortfall"] is None and baseline["steps"] == candidate["steps"]
    mine, theirs = (json.loads(one["provenance"]) for one in (baseline, candidate))
    for same in ("training", "deepspeed", "started_from", "fim", "code_digest"):
        assert mine[same] == theirs[same]
    assert mine["lineage"]["equal_to"]["digest"] == theirs["samples"]["digest"] != mine["samples"]["digest"]
    assert models.digest(Path(baseline["path"])) == baseline["model_digest"] != candidate["model_digest"]
    static, echo = (house.lake.read(name, [days[2]]).collect() for name in ("static_set", "training_set"))
    assert static.height == echo.height and set(static["document"]) <= set(echo["document"])
    assert samples_digest(static) == mine["samples"]["digest"]
    (check, *_) = equal_samples(house)
    told = check.event.dagster_event.event_specific_data
    assert told.passed and {one.value for one in told.metadata.values()} == {static.height}
    (event,) = house.instance.fetch_materializations(dg.AssetKey("static_baseline"), limit=1).records
    shown = event.asset_materialization.metadata
    assert sum(one.data["n_static_set"] for one in shown["mix"].records) == static.height
    assert (
        "data:image/png;base64," in shown["loss_plot"].value and "duplicate" in shown["gaps_left_out"].value
    )


def test_the_static_baseline_answers_the_same_gaps(trained):
    house, days = trained
    found = house.lake.read("evaluated_model", [days[2]]).collect()
    pairs = set(found.select("role", "versus").rows())
    assert {("static", None), ("static", "base"), ("candidate", "static")} <= pairs
    digests = dict(found.select("role", "model_digest").unique().rows())
    assert digests["static"] == row(house, "static_baseline", days[2])["model_digest"]
    answered = (
        house.lake.read("predictions", [days[2]]).collect().group_by("role").agg(pl.col("sample_id").sort())
    )
    assert answered["sample_id"].n_unique() == 1 and answered.height == 4


def test_a_day_without_a_candidate_has_no_static_baseline_and_says_why(trained):
    house, days = trained
    told = row(house, "static_baseline", days[0])
    assert told["status"] == "skipped" and told["reason"].startswith(
        f"no candidate: the training set of {days[0]}"
    )
    assert house.lake.read("static_set", [days[0]]).collect().is_empty()
    assert "static" not in house.lake.read("evaluated_model", [days[0]]).collect()["role"]


def test_a_static_baseline_of_other_samples_is_refused(trained):
    house, days = trained
    static = house.lake.read("static_set", [days[2]]).collect()
    house.lake.replace("static_set", static.head(9), [days[2]])
    failed = house.run("evaluated_model", first=days[2], fails=True)
    (error,) = [event for event in failed.all_events if event.is_step_failure]
    told = error.step_failure_data.error.to_string()
    assert "samples.count" in told and "materialize `static_baseline` for this day again" in told
    house.lake.replace("static_set", static, [days[2]])


def test_the_experiment_trains_what_the_day_trained_and_finds_what_it_found(trained, monkeypatch):
    house, days = trained
    # both are done already, so no process is begun for either
    monkeypatch.setattr(training, "train", lambda prepared, who, progress: job.result(prepared.out))
    base = models.resolve(house.settings.base_model, house.settings.data_dir)
    done = against_static(house.lake, days[2], base, house.settings)
    digests = {name: record["model_digest"] for name, (record,) in done.records.items()}
    assert digests == {
        "candidate": row(house, "checkpoint", days[2])["model_digest"],
        "static": row(house, "static_baseline", days[2])["model_digest"],
    }
    assert all(record["samples"]["count"] == done.n_samples for (record,) in done.records.values())
    daily = house.lake.read("evaluated_model", [days[2]]).filter(pl.col("role") != "champion").collect()
    names = ["model", "versus", "metric", "slice"]
    mine, theirs = (
        frame.filter(pl.col("versus").is_null() | pl.col("versus").is_in(["base", "static"]))
        .filter(pl.col("metric") != "latency_s_per_completion")  # the machine's, not the model's
        .select(pl.col(who).alias("model"), *names[1:], "value", "low", "high", "n_samples", "model_digest")
        .sort(names)
        for frame, who in ((done.rows, "model"), (daily, "role"))
    )
    assert_frame_equal(mine, theirs)


def test_every_table_that_the_graph_wrote_is_listed_with_its_columns(trained):
    house, _ = trained
    lake = open_lake(house.settings.data_dir)
    assert {"raw_events", "trends", "online_users", "static_set", "user_fit", "champion"} <= set(lake.tables)
    assert set(lake.tables) <= set(TABLES)
    for table in lake.tables:
        assert lake.schema(table) == TABLES[table].columns, table


@pytest.fixture(scope="module")
def scaled(trained):
    """A study of growing shares by the command, which did not get to clearing up; then by its job, which did."""
    house, days = trained
    candidate = Path(row(house, "checkpoint", days[2])["path"])
    config = house.settings.data_dir.parent / "pipeline.yaml"
    arguments = ["--day", str(days[2]), "--plot", str(config.with_name("plot.png")), "--json", "-"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(study, "remove_models", lambda *_: None)
        told = CliRunner().invoke(app, ["scale", *arguments, "--config", str(config)], env={"COLUMNS": "250"})
    assert told.exit_code == 0, told.output
    left = {path: (path / "history.json").stat().st_mtime_ns for path in candidate.parents[1].glob("*/model")}
    steps = []
    ran = runs.materialize(
        house.defs,
        house.settings,
        days[2],
        days[2],
        select=["scaling"],
        on_step=steps.append,
        instance=house.instance,
    )
    assert ran == 1 and {step.asset for step in steps} == {"scaling"}
    (event,) = house.instance.fetch_materializations(dg.AssetKey("scaling"), limit=1).records
    return told, left, candidate, config, event.asset_materialization.metadata


def test_a_study_trains_on_growing_shares_and_says_what_doubling_brings(trained, scaled):
    house, days = trained
    told, *_ = scaled
    record = json.loads(told.stdout)
    whole = row(house, "checkpoint", days[2])["n_samples"]
    assert record["training_set"] == whole
    assert [one["samples"] for one in record["shares"]] == [(whole + 1) // 2, whole]
    assert [one["share"] for one in record["shares_left_out"]] == [0.01]
    assert record["shares"][1]["trainings"][0]["steps"] > record["shares"][0]["trainings"][0]["steps"]
    assert "Shares left out, below training.min_samples (8)" in told.stderr
    assert "What a doubling of the samples brought" in told.stderr
    for fit in record["fits"]:
        assert fit["in_words"] in told.stderr and fit["low"] <= fit["per_doubling"] <= fit["high"]
    assert record["provenance"]["base_model"]["digest"] and record["held_out_gaps"] == 16


def test_the_whole_set_is_the_candidate_itself_compared_as_every_day(trained, scaled):
    house, days = trained
    compared = house.lake.read("evaluated_model", [days[2]]).collect()
    table = house.lake.read("scaling", [days[2]]).collect().sort("n_samples")
    for metric in ("exact_match", "edit_similarity", "middle_nats_per_token"):
        of_metric = compared.filter(pl.col("slice") == "all", pl.col("metric") == metric)
        own = of_metric.filter(pl.col("role") == "candidate", pl.col("versus").is_null()).row(0, named=True)
        gain = of_metric.filter(pl.col("role") == "candidate", pl.col("versus") == "base").row(0, named=True)
        found = table.filter(pl.col("slice") == "all", pl.col("metric") == metric).row(-1, named=True)
        assert (found["value"], found["difference"]) == (own["value"], gain["value"])
        assert (found["difference_low"], found["difference_high"]) == (gain["low"], gain["high"])
        assert found["n_held_out"] == own["n_samples"] and found["by_seed"] == [own["value"]]


def test_a_study_that_runs_again_goes_on_with_what_is_done_and_leaves_what_serves(trained, scaled):
    house, days = trained
    told, left, candidate, *_ = scaled
    baseline = Path(row(house, "static_baseline", days[2])["path"])
    assert len(left) == 3 and {candidate, baseline} < set(left)
    assert {path for path in left if path.exists()} == {candidate, baseline}
    latency = "latency_s_per_completion"  # the machine's, not the model's
    before = [row for row in json.loads(told.stdout)["scaling"] if row["metric"] != latency]
    after = house.lake.read("scaling", [days[2]]).filter(pl.col("metric") != latency).collect()
    assert sorted(before, key=str) == sorted(after.drop("day").to_dicts(), key=str)
    assert (candidate / "history.json").stat().st_mtime_ns == left[candidate]
    assert row(house, "checkpoint", days[2])["path"] == str(candidate)


def test_the_run_of_a_study_shows_plot_table_and_words(scaled):
    *_, config, metadata = scaled
    assert "data:image/png;base64," in metadata["scaling_plot"].value
    assert config.with_name("plot.png").read_bytes().startswith(b"\x89PNG")
    assert len(metadata["fits"].records) >= 3 and metadata["doubling_edit_similarity"].value
    assert "0.01" in metadata["shares_left_out"].value
    json.dumps(metadata["record"].value, allow_nan=False)


def test_every_table_but_the_one_that_says_what_serves_can_have_a_retention(trained, scaled):
    house, _ = trained
    others = {"champions", "reports", "versions", "stopped_trainings"}
    assert set(Retention.model_fields) - others == set(house.lake.tables()) - {"champion", *RECORDS}


def test_forgetting_a_person_names_the_model_that_learnt_from_them(trained):
    # the last test here: it changes the house
    house, days = trained
    made_of = house.lake.read("training_set", [days[2]]).collect()
    person, samples = made_of.group_by("user_id").len().sort("len", "user_id").row(-1)
    record, serving = row(house, "checkpoint", days[2]), row(house, "champion", days[2])["model_digest"]
    removed = runs.forget(house.defs, house.settings, person, instance=house.instance)
    models_of = removed.models.drop("forgotten_at")
    baseline = pl.col("path") == row(house, "static_baseline", days[2])["path"]
    (noted,) = models_of.filter(baseline).to_dicts()
    assert noted["evidence"] == "its_training_set" and noted["n_samples"] == removed.rows["static_set"] > 0
    (listed,) = models_of.filter(~baseline).to_dicts()
    assert listed == {
        "day": days[2],
        "pseudonym": person,
        "path": record["path"],
        "model_digest": record["model_digest"],
        "n_samples": samples,
        "evidence": "its_training_set",
        "is_serving": serving == record["model_digest"],
    }
    assert house.lake.read("predictions").filter(pl.col("user_id") == person).collect().is_empty()
    # what it learnt cannot be taken back, but it is not compared again as if nothing had happened
    failed = house.run("evaluated_model", first=days[2], fails=True)
    assert "samples.digest" in str([event.event_specific_data for event in failed.get_step_failure_events()])
    house.run("report", first=days[2])
    page = (house.settings.data_dir / "reports" / f"{days[2]}.html").read_text(encoding="utf-8")
    assert "1 person who was forgotten since" in page and person not in page
