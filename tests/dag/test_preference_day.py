"""A day whose candidate is trained on pairs of C_N and C_1 behind its fine-tune, by the assets."""

import json
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from house import DATA, build_house
from logs import write_day
from test_training import FIRST, row

from echo_dagster import models


@pytest.fixture(scope="module")
def preferred(tmp_path_factory, tiny_settings):
    asked = {"enabled": True, "min_pairs": 1, "min_difference": 0.05, "max_length_ratio": 20}
    house = build_house(tmp_path_factory.mktemp("preferred"), tiny_settings, preference=asked)
    days = [FIRST + timedelta(days=ahead) for ahead in range(3)]
    for day in days:
        write_day(house.landing, day)
    house.run("base_model", *DATA, first=days[0], last=days[-1])
    house.run("training_set", "checkpoint", first=days[2])
    (event,) = house.instance.fetch_materializations(dg.AssetKey("checkpoint"), limit=1).records
    return house, row(house, "checkpoint", days[2]), event.asset_materialization.metadata


def test_the_candidate_is_the_last_result_and_its_record_tells_both_trainings(preferred):
    house, record, _ = preferred
    told = json.loads(record["provenance"])
    assert record["status"] == "trained" and record["model_digest"] == models.digest(Path(record["path"]))
    before = told["preference"]["started_from"]
    assert before["digest"] != record["model_digest"] and before["job_digest"] != told["job_digest"]
    fine_tuned = Path(record["path"]).parents[1] / before["job_digest"] / "model"
    assert models.digest(fine_tuned) == before["digest"]
    pairs = told["preference"]["pairs"] + sum(told["preference"]["left_out"].values())
    assert pairs == told["samples"]["count"] == record["n_samples"]
    assert told["settings_digest"] == house.settings.digest


def test_the_run_shows_pairs_reasons_rewards_and_a_plot(preferred):
    _, record, metadata = preferred
    told = json.loads(record["provenance"])["preference"]
    assert metadata["pairs"].value == told["pairs"] and metadata["pairs_left_out"].value == told["left_out"]
    for name in ("first_loss", "final_loss", "first_reward_accuracy", "final_reward_margin"):
        assert metadata[f"preference_{name}"].value == pytest.approx(told["metrics"][name])
    assert "data:image/png;base64," in metadata["preference_plot"].value
    assert metadata["final_loss_nats_per_token"].value > 0  # the fine-tune's
