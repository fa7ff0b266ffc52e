"""A day whose candidate is trained on pairs of C_N and C_1 behind its fine-tune, by the assets."""

import json
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from house import build_house

from echo_dagster import models
from echo_dagster.refinery.schema import TRAINING_SCHEMA

DAY = date(2022, 9, 7)


@pytest.fixture(scope="module")
def preferred(tmp_path_factory, tiny_settings):
    """A day of 16 pairs and one row without a proposal, trained by the launcher as Dagster runs it."""
    asked = {"enabled": True, "min_pairs": 16, "learning_rate": 1e-4}
    house = build_house(tmp_path_factory.mktemp("preferred"), tiny_settings, preference=asked)
    rows = [
        {
            "sample_id": f"s{index:02}",
            "language": "python",
            "prefix": f"def total_{index}(self):\n    value = ",
            "suffix": "\n    return value\n",
            "middle": f"sum(price * {index} for price in prices)",
            "proposal": f"max(count / {index} for count in self)" if index else None,
            "user_id": "u",
            "sample_day": DAY - timedelta(days=1),
            "origin": "window",
        }
        for index in range(17)
    ]
    schema = pl.Schema({"day": pl.Date(), **TRAINING_SCHEMA})
    house.lake.replace(
        "training_set", pl.DataFrame([{"day": DAY, **row} for row in rows], schema=schema), [DAY]
    )
    house.run("checkpoint", first=DAY)
    (record,) = house.lake.read("checkpoint", [DAY]).collect().to_dicts()
    (event,) = house.instance.fetch_materializations(dg.AssetKey("checkpoint"), limit=1).records
    return house, record, event.asset_materialization.metadata


def test_the_candidate_is_the_last_result_and_its_record_tells_both_trainings(preferred):
    house, record, _ = preferred
    told = json.loads(record["provenance"])
    assert record["status"] == "trained" and record["model_digest"] == models.digest(Path(record["path"]))
    before = told["preference"]["started_from"]
    assert before["digest"] != record["model_digest"] and before["job_digest"] != told["job_digest"]
    fine_tuned = Path(record["path"]).parents[1] / before["job_digest"] / "model"
    assert models.digest(fine_tuned) == before["digest"]
    assert told["preference"]["pairs"] == 16 and told["preference"]["left_out"] == {"no_proposal": 1}
    assert told["samples"]["count"] == record["n_samples"] == 17
    assert told["settings_digest"] == house.settings.digest


def test_the_run_shows_pairs_reasons_rewards_and_a_plot(preferred):
    _, record, metadata = preferred
    told = json.loads(record["provenance"])["preference"]
    assert metadata["pairs"].value == told["pairs"] and metadata["pairs_left_out"].value == told["left_out"]
    for name in ("first_loss", "final_loss", "first_reward_accuracy", "final_reward_margin"):
        assert metadata[f"preference_{name}"].value == pytest.approx(told["metrics"][name])
    assert "data:image/png;base64," in metadata["preference_plot"].value
    assert metadata["final_loss_nats_per_token"].value > 0  # the fine-tune's
