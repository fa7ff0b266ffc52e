"""The scorer as a setting: days scored without a model, then with one, in the same window."""

from datetime import date, timedelta

import polars as pl
from house import DATA, build_house
from logs import write_day

from echo_dagster import models

FIRST = date(2022, 9, 5)


def test_days_of_two_scorers_stand_in_one_window_and_are_never_held_against_each_other(
    tmp_path, tiny_settings
):
    quickly = build_house(tmp_path, tiny_settings, perplexity={"scorer": "token_prior", "max_ifd": 10})
    digest = models.resolve(tiny_settings, quickly.settings.data_dir).digest
    days = [FIRST + timedelta(days=ahead) for ahead in range(2)]
    for day in days:
        write_day(quickly.landing, day)
    quickly.run(*DATA, first=days[0])
    by_model = build_house(tmp_path, tiny_settings)
    assert by_model.settings.digest != quickly.settings.digest
    by_model.run(*DATA, first=days[1])
    by_model.run("training_set", first=FIRST + timedelta(days=2))

    scored = by_model.lake.read("scored_samples").collect()
    assert dict(scored.select("day", "scorer").unique().iter_rows()) == {
        days[0]: f"token_prior:{digest}",
        days[1]: digest,
    }
    asked = ("middle_nats_per_token", "middle_alone_nats_per_token", "ifd")
    assert scored.select(pl.col(asked).is_finite().all()).row(0) == (True, True, True)
    denoising = by_model.lake.read("denoising").collect()
    assert set(denoising["scorer"]) == {f"token_prior:{digest}", digest}
    bands = denoising.filter(pl.col("band_of") == "all").select("scorer", "low_nats", "high_nats").unique()
    assert bands["scorer"].is_unique().all()
