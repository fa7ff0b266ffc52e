"""Pairs of C_N and C_1, and real trainings on them by trl and DeepSpeed, of the tiny model, in one process."""

import json
import math
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_train import variables

from echo_dagster import models
from echo_dagster.fim import encode, fim_format
from echo_dagster.optimization import job, preference
from echo_dagster.optimization.job import Job
from echo_dagster.settings import Preference

SCENARIO = Path(__file__).with_name("preference_scenario.py")


@pytest.fixture(scope="session")
def encoding(settings):
    path = Path(settings.base_model.source.path)
    tokenizer = models.load_tokenizer(path)
    return fim_format(models.fim_tokens(settings.base_model.fim, path), tokenizer), tokenizer


@pytest.fixture(scope="session")
def rows(samples) -> pl.DataFrame:
    """The samples, with proposals that differ from their middles as much as these are long."""
    wrong = [f"max(count / {index % 5} for count in self)" for index in range(samples.height)]
    return samples.with_columns(proposal=pl.Series(wrong), origin=pl.lit("window"))


def made(rows: pl.DataFrame, encoding, max_tokens: int = 512, **asked: float) -> preference.Pairs:
    return preference.pairs(rows, *encoding, Preference(**asked), middle_tokens=64, max_tokens=max_tokens)


MIDDLE = "value = sum(prices)"


@pytest.mark.parametrize(
    ("proposal", "origin", "reason"),
    [
        ("total = max(costs)", "plain", "plain_code"),
        (None, "window", "no_proposal"),
        (" \n", "window", "no_proposal"),
        (MIDDLE, "window", "equal"),
        (MIDDLE + "\n    ", "earlier", "equal"),  # truncation took the blank end off C_N
        ("value = sum(pricez)", "window", "too_alike"),
        ("total = max(costs)\n" * 40, "window", "too_long"),
        ("total = max(costs) or " * 4, "window", "lengths_differ"),
        ("total = max(costs)", "window", None),
    ],
)
def test_every_row_that_is_no_pair_has_its_reason(encoding, proposal, origin, reason):
    row = {"sample_id": "s", "prefix": "a = 1\n", "suffix": "\n", "middle": MIDDLE}
    found = made(pl.DataFrame([{**row, "proposal": proposal, "origin": origin}]), encoding)
    assert found.left_out == ({} if reason is None else {reason: 1})
    assert found.frame.height == (reason is None)


def test_a_pair_that_does_not_fit_in_the_window_is_left_out(encoding, rows):
    assert made(rows, encoding, max_tokens=12).left_out == {"does_not_fit": rows.height}


@given(data=st.data())
def test_rows_are_conserved_and_both_answers_stand_behind_one_prompt(encoding, data):
    text = st.text("ab= (\n", max_size=30)
    drawn = data.draw(
        st.lists(st.tuples(text, text, st.none() | text, st.none() | text, st.integers(0, 1)), max_size=6)
    )
    rows = pl.DataFrame(
        [
            {"sample_id": f"{index}", "prefix": prefix, "suffix": suffix, "middle": middle}
            | {"proposal": proposal, "origin": ("window", "plain")[plain]}
            for index, (prefix, middle, suffix, proposal, plain) in enumerate(drawn)
        ],
        schema=dict.fromkeys(("sample_id", "prefix", "suffix", "middle", "proposal", "origin"), pl.String()),
    )
    found = made(rows, encoding, max_tokens=40)
    assert found.frame.height + sum(found.left_out.values()) == rows.height
    by_id = {row["sample_id"]: row for row in rows.iter_rows(named=True)}
    fmt, tokenizer = encoding
    for pair in found.frame.iter_rows(named=True):
        row = by_id[pair["sample_id"]]
        asked = (fmt, tokenizer, row["prefix"], row["suffix"])
        assert pair["chosen_ids"] == encode(*asked, row["middle"]).target_ids
        assert pair["chosen_ids"][-1] == pair["rejected_ids"][-1] == fmt.end_id
        lengths = sorted((len(pair["chosen_ids"]), len(pair["rejected_ids"])))
        assert lengths[1] <= 2 * lengths[0] and len(pair["prompt_ids"]) + lengths[1] <= 40


@pytest.fixture(scope="module")
def ran(make_job, settings, rows, tmp_path_factory):
    """A fine-tune, and behind it: pairs trained on, the same stopped and gone on with, and diverging."""
    home = tmp_path_factory.mktemp("preference")
    rows.write_parquet(home / "rows.parquet")

    def asked(**preferred: object) -> dict:
        preferred = {"enabled": True, "learning_rate": 2e-3, "epochs": 2, "sft_weight": 0, **preferred}
        return settings.model_copy(update={"preference": Preference(**preferred)}).model_dump(mode="json")

    runs = {
        "whole": {"settings": asked(), "turns": [None, None]},
        "stopped": {"settings": asked(), "turns": [4, None]},
        "beside": {"settings": asked(sft_weight=1.0), "turns": [None]},
        "diverged": {"settings": asked(learning_rate=1e30), "turns": [None]},
    }
    plan = {
        "sft": str(make_job(home / "sft", epochs=1)),
        "rows": str(home / "rows.parquet"),
        "runs": {name: {**run, "out": str(home / name)} for name, run in runs.items()},
        "told": str(home / "told.json"),
    }
    (home / "plan.json").write_text(json.dumps(plan))
    command = [sys.executable, str(SCENARIO), str(home / "plan.json")]
    ended = subprocess.run(command, env=variables(), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return (
        json.loads((home / "told.json").read_text()),
        ended.stdout + ended.stderr,
        Job.read(Path(plan["sft"])),
    )


def job_of(ran, name: str) -> Job:
    return Job.read(Path(ran[0][name]["file"]))


def history(ran, name: str) -> list[dict]:
    return json.loads((job_of(ran, name).result / "preference.json").read_text())


def test_the_model_reads_the_very_ids_of_the_pairs(ran, rows, encoding):
    pairs = made(rows, encoding).frame
    expected = {
        (tuple(pair["prompt_ids"] + pair[side]), len(pair["prompt_ids"]))
        for pair in pairs.iter_rows(named=True)
        for side in ("chosen_ids", "rejected_ids")
    }
    read = set()
    for call in ran[0]["whole"]["seen"]:
        for ids, mask, labels in zip(*call.values(), strict=True):
            n = sum(mask)
            n_prompt = next(place for place, label in enumerate(labels) if label != -100)
            assert mask[:n] == [1] * n and labels[n_prompt:n] == ids[n_prompt:n]
            assert set(labels[n:]) <= {-100}
            read.add((tuple(ids[:n]), n_prompt))
    assert read == expected


def test_the_first_loss_is_that_of_a_model_that_is_its_own_reference(ran):
    first = history(ran, "whole")[0]
    assert first["loss"] == pytest.approx(
        math.log(2), abs=0.01
    )  # -log sigmoid(0); bf16 sums, padded otherwise
    assert first["reward_margin"] == pytest.approx(0, abs=0.02)
    assert history(ran, "beside")[0]["loss"] > 1  # the loss of C_N beside it


def test_c_n_becomes_likelier_than_c_1(ran):
    steps = history(ran, "whole")
    assert len(steps) == 12 and [step["step"] for step in steps] == list(range(1, 13))
    assert steps[-1]["reward_margin"] > 0.3 and steps[-1]["reward_accuracy"] == 1
    assert steps[-1]["loss"] < steps[0]["loss"]


def test_a_stopped_training_goes_on_to_the_very_same_weights(ran):
    assert "STOPPED told to stop after step 5 of 12" in ran[1]
    stopped, whole = (job.result(job_of(ran, name).out) for name in ("stopped", "whole"))
    assert stopped["preference"]["metrics"]["resumed_at_step"] == 5
    assert stopped["model_digest"] == whole["model_digest"]
    assert history(ran, "stopped") == history(ran, "whole")


def test_a_training_that_is_done_is_not_done_again(ran):
    assert "this job is done already, with the same pairs, settings and code" in ran[1]
    assert not job_of(ran, "whole").work.exists()


def test_a_diverging_training_stops_and_leaves_the_fine_tune(ran):
    assert "FAILED the " in ran[1] and "lower preference.learning_rate" in ran[1]
    with pytest.raises(job.TrainingMissing):
        job.result(job_of(ran, "diverged").out)
    assert job.result(ran[2].out)["model_digest"] == models.digest(ran[2].result)


def test_the_record_is_that_of_the_fine_tune_with_what_the_pairs_did(ran, rows):
    done = job_of(ran, "whole")
    told, before = job.result(done.out), job.result(ran[2].out)
    assert told["model_digest"] == models.digest(done.result) != before["model_digest"]
    assert {k: v for k, v in told.items() if k not in ("model_digest", "job_digest", "preference")} == {
        k: v for k, v in before.items() if k not in ("model_digest", "job_digest", "preference")
    }
    preferred = told["preference"]
    assert preferred["status"] == "trained" and preferred["pairs"] == rows.height
    assert preferred["started_from"] == {"job_digest": ran[2].digest, "digest": before["model_digest"]}
    assert preferred["metrics"]["steps"] == 12 and preferred["left_out"] == {}
    assert str(done.out.parent) not in json.dumps(told)
    config, start = (json.loads((path / "config.json").read_text()) for path in (done.result, ran[2].result))
    assert config == start


def test_too_few_pairs_train_nothing_and_the_record_says_so(ran, settings, rows):
    sft = ran[2]

    def prepared(**asked: object):
        return preference.prepare(rows, sft, settings.model_copy(update={"preference": Preference(**asked)}))

    skipped = prepared(enabled=True, min_pairs=45)
    assert isinstance(skipped, preference.NoPairs)
    assert skipped.reason.startswith("44 pairs of C_N and C_1, fewer than preference.min_pairs (45)")
    told = job.result(sft.out)["preference"]
    assert told == {"status": "skipped", "reason": skipped.reason, "left_out": {}}
    assert prepared(enabled=False) is None
    assert "preference" not in job.result(sft.out)


def test_the_digest_names_pairs_settings_and_start(ran, settings, rows):
    def digest(rows: pl.DataFrame = rows, **asked: object) -> str:
        asked_ = settings.model_copy(update={"preference": Preference(enabled=True, **asked)})
        prepared = preference.prepare(rows, ran[2], asked_)
        assert isinstance(prepared, job.Prepared) and Job.read(prepared.file) == prepared.job
        return prepared.job.digest

    others = {digest(), digest(beta=0.2), digest(rows.head(40)), digest(sft_weight=0)}
    assert len(others) == 4 and digest() in others
