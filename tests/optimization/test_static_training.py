"""When a static baseline is trained, and what its job says."""

from datetime import date, timedelta

import polars as pl
import pytest

from echo_dagster import models
from echo_dagster.lake import Lake
from echo_dagster.optimization import job, record, static
from echo_dagster.optimization.schema import n_trained
from echo_dagster.settings import Evaluation, Settings, Training

START = date(2026, 1, 5)
DAY = START + timedelta(days=7)


@pytest.fixture
def settings(tmp_path, tiny_settings) -> Settings:
    return Settings(
        data_dir=tmp_path,
        start_day=START,
        base_model=tiny_settings,
        training=Training(min_samples=8, start_from="champion"),
    )


def rows(n: int, prefix: str) -> pl.DataFrame:
    told = [
        {
            "day": DAY,
            "sample_id": f"{prefix}{index}",
            "language": "python",
            "repository": "r",
            "document": f"{index % 8}.py",
            "prefix": "x = ",
            "suffix": "\n",
            "middle": f"{prefix} + {index}",
            "sample_day": START,
            "cohort": "internal",
            "origin": "plain" if prefix == "plain" else "window",
        }
        for index in range(n)
    ]
    return pl.DataFrame(told)


@pytest.fixture
def lake(tmp_path) -> Lake:
    lake = Lake(tmp_path / "lake")
    lake.replace("training_set", rows(16, "echo"), [DAY])
    lake.replace("static_set", rows(16, "plain"), [DAY])
    return lake


@pytest.fixture
def base(settings) -> models.ResolvedModel:
    return models.resolve(settings.base_model, settings.data_dir)


@pytest.mark.parametrize(
    ("every", "day", "reason"),
    [
        (None, DAY, "evaluation.static_baseline_days is null"),
        (7, DAY, None),
        (
            7,
            DAY + timedelta(days=1),
            "one is trained every 7 days (evaluation.static_baseline_days), the next for 2026-01-19",
        ),
        (1, DAY + timedelta(days=3), None),
        (
            2,
            START + timedelta(days=1),
            "one is trained every 2 days (evaluation.static_baseline_days), the next for 2026-01-07",
        ),
    ],
)
def test_it_is_due_every_so_many_days(settings, every, day, reason):
    asked = settings.model_copy(update={"evaluation": Evaluation(static_baseline_days=every)})
    told = static.not_due(day, asked)
    assert (told and told.reason) == reason


def test_without_a_candidate_there_is_nothing_to_hold_it_against(lake):
    assert static.no_candidate(lake, DAY).reason == f"no checkpoint is recorded for {DAY}"
    record.write_skipped(lake, DAY, "3 samples")
    assert static.no_candidate(lake, DAY).reason == "no candidate: 3 samples"


def test_a_job_starts_from_the_base_model_and_names_what_it_is_equal_to(lake, base, settings):
    prepared = static.prepare_day(lake, DAY, base, settings, "a reason")
    told = prepared.job.lineage
    assert prepared.job.model.digest == base.digest and prepared.job.training.start_from == "base"
    assert told["tables"] == {"static_set": lake.version("static_set")} and told["start_from"] == "base"
    candidate = job.prepare_day(lake, DAY, base, base, settings)
    assert told["equal_to"] == {
        "n_wanted": 16,
        "digest": candidate.job.samples_digest,
        "shortfall": "a reason",
    }
    assert prepared.job.out.parent == candidate.job.out.parent != prepared.job.out


def test_too_few_gaps_train_nothing_and_say_why(lake, base, settings):
    lake.replace("static_set", rows(5, "plain"), [DAY])
    told = static.prepare_day(lake, DAY, base, settings, "the files hold no more")
    assert told.reason == (
        f"the static set of {DAY} has 5 samples, fewer than training.min_samples (8): the files hold no more"
    )


def test_what_says_when_to_stop_is_plain_code_too_and_does_not_count_as_trained_on(lake, base, settings):
    training = Training(min_samples=8, validation_share=0.25, min_validation_samples=2)
    asked = settings.model_copy(update={"training": training})
    made, candidate = (
        static.prepare_day(lake, DAY, base, asked, None).job,
        job.prepare_day(lake, DAY, base, base, asked).job,
    )
    assert made.validation["samples"] == candidate.validation["samples"] == 4
    assert n_trained(job.provenance(made)) == n_trained(job.provenance(candidate)) == 12
    measured = pl.read_parquet(made.validation_samples)["sample_id"]
    assert measured.str.starts_with("plain").all()
