from datetime import timedelta

import polars as pl
import pytest
from logged import DAY, gap, lake_of, not_accepted

from echo_dagster.evaluation import longitudinal, online, pictures, plots_online
from echo_dagster.evaluation.pictures import PlotError
from echo_dagster.settings import Evaluation

RULES = Evaluation(bootstrap_samples=200)
DAYS = [DAY + timedelta(days=ahead) for ahead in range(4)]
MODELS = ("m1", "m1", "m2", "m2")


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Four days, two models; internal users accept 1 of 2 of the first, all of the second; external 1 of 2."""
    rows = []
    for day, model in zip(DAYS, MODELS, strict=True):
        for user in ("ann", "bob", "cy", "dan"):
            cohort = "internal" if user in ("ann", "bob") else "external"
            for number in range(2):
                is_taken = number == 0 or (model == "m2" and cohort == "internal")
                make = gap if is_taken else not_accepted
                name = f"{day}-{user}-{number}"
                rows.append(make(name, day=day, user_id=user, model=model, cohort=cohort, at_s=number))
        rows.append(
            gap(f"{day}-late", day=day, user_id="ann", model="m1", language="go", at_s=99, latency_ms=40)
        )
    lake = lake_of(tmp_path_factory.mktemp("lake"), rows)
    online.measure_days(lake, DAYS, RULES)
    return {table: lake.read(table).collect().sort("day") for table in ("trends", "online_users")}


def test_models_are_marked_on_the_day_on_which_they_come_to_serve_most(tables):
    assert longitudinal.served(tables["trends"]).rows() == [(DAYS[0], "m1"), (DAYS[2], "m2")]


def test_points_of_all_and_of_cohorts(tables):
    found = longitudinal.points(tables["trends"], metrics=["acceptance_rate", "latency_p50_ms"])
    told = {(row["day"], row["metric"]): row for row in found.to_dicts()}
    assert told[DAYS[0], "acceptance_rate"]["value"] == 5 / 9
    assert told[DAYS[3], "acceptance_rate"]["value"] == 7 / 9
    first = told[DAYS[0], "acceptance_rate"]
    assert first["low"] <= first["value"] <= first["high"]
    assert (told[DAYS[3], "latency_p50_ms"]["value"], told[DAYS[3], "latency_p50_ms"]["low"]) == (40, None)
    by_cohort = longitudinal.points(tables["trends"], "cohort", ["acceptance_rate"])
    assert by_cohort["series"].unique().sort().to_list() == ["external", "internal"]
    both = longitudinal.points(tables["trends"], "model_cohort", ["acceptance_rate"])
    assert "internal, m2" in both["series"]


def test_cohorts_stand_beside_each_other_with_users_resampled_over_all_days(tables):
    found = longitudinal.by_cohort(tables["online_users"], RULES)
    told = found.select(
        "cohort", "model", "first_day", "last_day", "n_users", "n_shown", "acceptance_rate"
    ).rows()
    assert told == [
        ("external", "m1", DAYS[0], DAYS[1], 2, 8, 0.5),
        ("external", "m2", DAYS[2], DAYS[3], 2, 8, 0.5),
        ("internal", "m1", DAYS[0], DAYS[3], 2, 12, 8 / 12),
        ("internal", "m2", DAYS[2], DAYS[3], 2, 8, 1.0),
    ]
    # days of one user are alike: both external users accept half, so nothing is left to vary
    assert found.select("acceptance_rate_low", "acceptance_rate_high").row(0) == (0.5, 0.5)
    suppressed = longitudinal.by_cohort(tables["online_users"], Evaluation(min_group_users=3))
    assert suppressed["is_suppressed"].all() and suppressed["acceptance_rate"].null_count() == 4
    assert suppressed["n_shown"].to_list() == [8, 8, 12, 8]


def test_persistence_is_read_off_any_summary(tables):
    curve = longitudinal.persistence(longitudinal.by_model(tables["online_users"], RULES))
    assert curve.filter(pl.col("series") == "m2").select("seconds", "value").rows() == [(0, 1.0), (30, 1.0)]


def test_every_plot_is_drawn_and_small_enough(tables):
    trends, users = tables["trends"], tables["online_users"]
    for chart in (
        plots_online.headlines(longitudinal.told(trends)),
        plots_online.persistence(longitudinal.persistence(longitudinal.by_model(users, RULES))),
        plots_online.cohorts(longitudinal.by_cohort(users, RULES)),
    ):
        assert len(pictures.png_markdown(chart)) < pictures.MAX_PNG_BYTES
    drawn = pictures.svg(plots_online.metric_trends(trends, "cohort"))
    for text in ("Acceptance rate", "Latency, median, ms", "internal", "external", "m1", "m2"):
        assert text in drawn
    assert "Left after 5 min" not in drawn  # nobody was watched for so long


def test_where_nothing_is_told_nothing_is_drawn(tables):
    hidden = tables["trends"].with_columns(
        pl.lit(None, pl.Float64()).alias(name)
        for name in tables["trends"].columns
        if "rate" in name or "_ms" in name
    )
    assert longitudinal.told(hidden).is_empty()
    with pytest.raises(PlotError, match="no rate was measured"):
        plots_online.headlines(hidden)
    with pytest.raises(PlotError, match="may be told"):
        plots_online.cohorts(longitudinal.by_cohort(tables["online_users"], Evaluation(min_group_users=9)))


def test_nothing_measured_is_no_error(tables):
    none = tables["online_users"].clear()
    assert longitudinal.by_cohort(none, RULES).is_empty()
    assert longitudinal.persistence(longitudinal.by_model(none, RULES)).is_empty()
