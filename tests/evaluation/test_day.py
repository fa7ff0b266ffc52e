import json
import shutil
from datetime import timedelta

import polars as pl
import pytest
from known import MARKS, held_out
from logged import DAY, gap, lake_of, not_accepted

from echo_dagster.evaluation import champion, gate
from echo_dagster.evaluation.champion import StaleEvaluation, decide_day
from echo_dagster.evaluation.day import evaluate_day, leaks
from echo_dagster.evaluation.provenance import ProvenanceMismatch
from echo_dagster.holdout import is_held_out
from echo_dagster.models import ResolvedModel
from echo_dagster.optimization import job, record
from echo_dagster.refinery.schema import SCORED_SCHEMA
from echo_dagster.settings import Evaluation, Settings, Training, Window

YESTERDAY = DAY - timedelta(days=1)
N_GAPS = 14


@pytest.fixture
def settings(tmp_path, tiny_settings):
    return Settings(
        data_dir=tmp_path,
        start_day=YESTERDAY,
        base_model=tiny_settings,
        training=Training(min_samples=2),
        window=Window(near_duplicate_similarity=None),  # these samples differ in little
        evaluation=Evaluation(max_new_tokens=24, bootstrap_samples=200, max_samples=12, min_samples=12),
    )


def scored(n, *, prefix="s"):
    rows = (
        held_out(n)
        .drop(MARKS)
        .with_columns(
            sample_id=prefix + pl.col("sample_id"),
            content_hash=prefix + pl.col("sample_id"),
            user_id=pl.Series([f"user {index % 12}" for index in range(n)], dtype=pl.String),
        )
    )
    return rows.select(SCORED_SCHEMA.names())


@pytest.fixture
def lake(tmp_path):
    """A lake up to `training_set`: yesterday's log with forty decisions, today's scored samples."""
    words = ["alpha", "beta", "gamma"]
    rows = []
    for index in range(40):
        word = words[index % 3]
        make = gap if index % 2 else not_accepted
        rows.append(
            make(
                f"{index:02}",
                day=YESTERDAY,
                user_id=f"u{index % 4}",
                final=word,
                proposal=word if index % 2 else "wrong",
            )
        )
    lake = lake_of(tmp_path / "lake", [*rows, not_accepted("today")])
    lake.replace("scored_samples", with_day(scored(N_GAPS)), [DAY])
    write_training_set(lake, scored(8, prefix="t"))
    return lake


def with_day(frame):
    return frame.select(pl.lit(DAY).alias("day"), pl.all())


def write_training_set(lake, rows):
    lake.replace("training_set", with_day(rows.with_columns(sample_day=pl.lit(YESTERDAY))), [DAY])


def train(lake, base, model, settings):
    """Record `model` as the day's checkpoint, the way the training program leaves one."""
    prepared = job.prepare_day(lake, DAY, base, champion.current(lake, DAY, base), settings)
    shutil.copytree(model.path, prepared.job.result, dirs_exist_ok=True)
    metrics = {
        "steps": 1,
        "first_loss_nats_per_token": 2.0,
        "last_loss_nats_per_token": 1.0,
        "final_loss_nats_per_token": 1.0,
    }
    told = job.provenance(prepared.job) | {"model_digest": model.digest, "metrics": metrics}
    (prepared.job.result / "provenance.json").write_text(json.dumps(told))
    (prepared.job.result / "history.json").write_text("[]")
    return record.write_trained(lake, DAY, prepared)


def table(lake, name):
    return lake.read(name, [DAY]).collect()


def test_a_better_candidate_is_compared_promoted_and_serves_tomorrow(
    lake, settings, tiny_base, tiny_candidate
):
    train(lake, tiny_base, tiny_candidate, settings)
    seen = []
    done = evaluate_day(lake, DAY, tiny_base, settings, progress=lambda *told: seen.append(told))
    assert (done.reason, done.n_held_out, done.n_seen) == (None, N_GAPS, 0)
    assert done.user["n_decisions"] == 40  # yesterday's log, not today's
    assert done.user["calibration"]["auc"] == 1.0
    assert json.loads(json.dumps(done.user)) is not None
    assert table(lake, "predictions").height == 3 * 12  # three roles, max_samples gaps
    assert table(lake, "predictions")["predicted_acceptance"].null_count() == 0
    assert table(lake, "evaluated_model").drop("day").sort(pl.all()).equals(done.evaluated.sort(pl.all()))
    answered = table(lake, "predictions")
    never_trained_on = is_held_out(
        answered["user_id"], settings.window.held_out_user_share, settings.window.seed
    )
    assert answered["is_held_out_user"].to_list() == never_trained_on.to_list()
    assert never_trained_on.any()
    assert seen[-1] == (2 * 3 * 12, 2 * 3 * 12)  # the base model serves, so two models ran

    row = decide_day(lake, DAY, tiny_base, settings)
    assert (row["decision"], row["model_digest"]) == ("promoted", tiny_candidate.digest)
    assert champion.current(lake, DAY, tiny_base).digest == tiny_base.digest
    assert champion.current(lake, DAY + timedelta(days=1), tiny_base).digest == tiny_candidate.digest
    assert decide_day(lake, DAY, tiny_base, settings) == row


def test_a_candidate_that_learned_nothing_ties_and_the_base_stays(lake, settings, tiny_base):
    train(lake, tiny_base, tiny_base, settings)
    evaluate_day(lake, DAY, tiny_base, settings)
    row = decide_day(lake, DAY, tiny_base, settings)
    assert (row["decision"], row["model_digest"]) == ("kept", tiny_base.digest)
    assert "no difference that can be told from chance" in row["reason"]


def test_a_day_that_trained_nothing_compares_nothing_and_says_why(lake, settings, tiny_base):
    record.write_skipped(lake, DAY, "too few samples")
    done = evaluate_day(lake, DAY, tiny_base, settings)
    assert done.reason == "no candidate was trained: too few samples"
    assert table(lake, "evaluated_model").is_empty()
    row = decide_day(lake, DAY, tiny_base, settings)
    assert (row["decision"], row["reason"]) == ("kept", "no candidate was trained: too few samples")
    assert (row["model_digest"], row["candidate_digest"]) == (tiny_base.digest, None)


def test_a_day_without_gaps_keeps_and_loses_old_rows(lake, settings, tiny_base):
    train(lake, tiny_base, tiny_base, settings)
    evaluate_day(lake, DAY, tiny_base, settings)
    lake.replace("scored_samples", with_day(scored(0)), [DAY])
    assert evaluate_day(lake, DAY, tiny_base, settings).reason == f"no gap of {DAY} is held out"
    assert table(lake, "predictions").is_empty()
    assert (
        decide_day(lake, DAY, tiny_base, settings)["reason"]
        == f"nothing was compared on {DAY}: no gap of it is held out"
    )


def test_exact_duplicates_of_training_samples_are_left_out_and_counted(lake, settings, tiny_base):
    write_training_set(lake, scored(8))
    train(lake, tiny_base, tiny_base, settings)
    done = evaluate_day(lake, DAY, tiny_base, settings)
    assert (done.n_held_out, done.n_seen) == (N_GAPS - 8, 8)
    assert set(done.predictions["sample_id"]).isdisjoint(scored(8)["sample_id"])


def test_near_duplicates_of_training_samples_are_left_out_counted_and_checked(lake, settings, tiny_base):
    write_training_set(lake, scored(2, prefix="t"))  # the texts of two gaps, under other names
    train(lake, tiny_base, tiny_base, settings)
    everything = evaluate_day(lake, DAY, tiny_base, settings)
    assert (everything.n_held_out, everything.n_seen) == (N_GAPS, 0)
    strict = settings.model_copy(update={"window": Window(near_duplicate_similarity=0.95)})
    assert not any(leaks(lake, DAY, settings).values())
    n_alike = leaks(lake, DAY, strict)["near_duplicates"]
    assert n_alike >= 2
    compared = evaluate_day(lake, DAY, tiny_base, strict)
    assert compared.n_seen >= n_alike and compared.n_held_out + compared.n_seen == N_GAPS
    assert leaks(lake, DAY, strict)["near_duplicates"] == 0
    assert set(compared.predictions["sample_id"]).isdisjoint(scored(2)["sample_id"])


def test_a_checkpoint_of_another_training_set_or_training_is_refused(lake, settings, tiny_base):
    train(lake, tiny_base, tiny_base, settings)
    write_training_set(lake, scored(9, prefix="t"))
    changed = settings.model_copy(update={"training": settings.training.model_copy(update={"epochs": 3})})
    with pytest.raises(ProvenanceMismatch) as refused:
        evaluate_day(lake, DAY, tiny_base, changed)
    named = [line.split(":")[0].strip(" -") for line in str(refused.value).splitlines()[1:-1]]
    assert named == ["samples.count", "samples.digest", "training"]


def test_weights_changed_after_training_are_refused(lake, settings, tiny_base, tiny_candidate):
    trained = train(lake, tiny_base, tiny_base, settings)
    shutil.copy(tiny_candidate.path / "model.safetensors", trained.path / "model.safetensors")
    with pytest.raises(ProvenanceMismatch, match="model_digest"):
        evaluate_day(lake, DAY, tiny_base, settings)


def test_a_decision_on_a_comparison_with_another_champion_is_refused(
    lake, settings, tiny_base, tiny_candidate
):
    train(lake, tiny_base, tiny_base, settings)
    evaluate_day(lake, DAY, tiny_base, settings)
    before = ResolvedModel("tiny", tiny_candidate.path, tiny_candidate.digest)
    promoted = gate.Decision("promoted", "late data changed yesterday's decision")
    serving = champion.current(lake, YESTERDAY, tiny_base)
    champion.record(lake, YESTERDAY, promoted, serving=serving, candidate=before)
    with pytest.raises(StaleEvaluation, match="materialize `evaluated_model` of 2026-01-05 again"):
        decide_day(lake, DAY, tiny_base, settings)
