"""Rows that were held out, planted into a training set: does the graph stop before a model is trained on them?"""

from datetime import date, timedelta

import dagster as dg
import polars as pl
from house import DATA
from logs import write_day

from echo_dagster.holdout import is_held_out
from echo_dagster.refinery import window

DAY = date(2022, 9, 5)
NEXT = DAY + timedelta(days=1)


def test_a_planted_leak_blocks_the_training(house, monkeypatch):
    write_day(house.landing, DAY, users=6, gaps=3)
    write_day(house.landing, NEXT, users=6, gaps=3)
    house.run("base_model", first=DAY)
    house.run(*DATA, first=DAY, last=NEXT)
    scored = house.lake.read("scored_samples").collect()
    share = house.settings.window
    is_out = is_held_out(scored["user_id"], share.held_out_user_share, share.seed)
    of_user = scored.filter(is_out & (scored["day"] == DAY))
    of_day = scored.filter(~is_out & (scored["day"] == NEXT))
    assert of_user.height and of_day.height
    planted = pl.concat([of_user, of_day])
    build = window.write_training_set

    def leaking(lake, day, *arguments):
        built = build(lake, day, *arguments)
        rows = lake.read("training_set", [day]).collect()
        more = planted.rename({"day": "sample_day"}).with_columns(day=pl.lit(day), origin=pl.lit("window"))
        lake.replace("training_set", pl.concat([rows, more.select(rows.columns)]), [day])
        return built

    monkeypatch.setattr(window, "write_training_set", leaking)
    result = house.run("training_set", "checkpoint", first=NEXT, fails=True)
    (check,) = [one for one in result.get_asset_check_evaluations() if one.check_name == "no_held_out_data"]
    assert not check.passed and check.blocking
    assert check.metadata["leaks"].value == {
        f"{NEXT} held_out_user_samples": of_user.height,
        f"{NEXT} held_out_day_samples": of_day.height,
    }
    made = {event.asset_key for event in result.get_asset_materialization_events()}
    assert dg.AssetKey("checkpoint") not in made
    assert not house.lake.exists("checkpoint")
