import json
from datetime import UTC, date, datetime

import polars as pl
import pytest
from reigns import write_model

from echo_dagster import models
from echo_dagster.evaluation import champion
from echo_dagster.evaluation.gate import Decision, Demand, keep
from echo_dagster.evaluation.schema import CHAMPION_SCHEMA
from echo_dagster.lake import Lake
from echo_dagster.models import ResolvedModel

FIRST, SECOND, THIRD = date(2026, 1, 5), date(2026, 1, 6), date(2026, 1, 7)
PROMOTE = Decision("promoted", "better")


@pytest.fixture
def model(tmp_path):
    def make(name):
        write_model(tmp_path / name, name)
        return ResolvedModel(name, tmp_path / name, models.digest(tmp_path / name))

    return make


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


def record(lake, day, decision, base, candidate):
    serving = champion.current(lake, day, base)
    return champion.record(lake, day, decision, serving=serving, candidate=candidate)


def test_before_any_promotion_the_base_model_serves(lake, model):
    base = model("base")
    told = champion.current(lake, FIRST, base)
    assert (told.digest, told.path, told.since) == (base.digest, base.path, None)
    record(lake, FIRST, keep("a tie"), base, model("one"))
    assert champion.current(lake, SECOND, base).digest == base.digest


def test_a_promoted_candidate_serves_from_the_next_day_on(lake, model):
    base, one = model("base"), model("one")
    record(lake, FIRST, PROMOTE, base, one)
    # judged against what served during the day
    assert champion.current(lake, FIRST, base).digest == base.digest
    record(lake, SECOND, keep("a tie"), base, model("two"))
    for day in (SECOND, THIRD):
        told = champion.current(lake, day, base)
        assert (told.digest, told.path, told.since, told.reason) == (one.digest, one.path, FIRST, "better")


def test_a_day_kept_is_on_record_with_the_candidate_it_refused_and_the_numbers(lake, model):
    base, one = model("base"), model("one")
    demand = Demand("edit_similarity", "all", 0.01, -0.01, 0.03, 50, "lower bound above 0", "a tie")
    rows = record(lake, FIRST, Decision("kept", "a tie", (demand,)), base, one)
    assert rows.drop("day").schema == CHAMPION_SCHEMA
    row = rows.row(0, named=True)
    assert json.loads(row.pop("demands")) == [vars(demand)]
    assert row == {
        "day": FIRST,
        "model_digest": base.digest,
        "path": str(base.path),
        "decision": "kept",
        "reason": "a tie",
        "candidate_digest": one.digest,
        "decided_at": datetime(2026, 1, 6, tzinfo=UTC),
        "decided_by": "gate",
        "since": None,
        "previous_digest": base.digest,
    }
    assert lake.read("champion").collect().equals(rows)


def test_a_promotion_says_what_served_before(lake, model):
    base, one, two = model("base"), model("one"), model("two")
    record(lake, FIRST, PROMOTE, base, one)
    row = record(lake, SECOND, PROMOTE, base, two).row(0, named=True)
    assert (row["previous_digest"], row["model_digest"], row["since"]) == (one.digest, two.digest, SECOND)


def test_a_day_run_again_leaves_one_row_and_the_same_one(lake, model):
    base = model("base")
    once = record(lake, FIRST, PROMOTE, base, model("one"))
    assert record(lake, FIRST, PROMOTE, base, model("one")).equals(once)
    assert lake.read("champion").collect().equals(once)


def test_a_day_without_a_candidate_has_a_row_too(lake, model):
    rows = record(lake, FIRST, keep("no candidate was trained"), model("base"), None)
    assert rows["candidate_digest"].to_list() == [None]


def test_a_promotion_of_nothing_is_refused(lake, model):
    with pytest.raises(ValueError, match="needs a candidate"):
        record(lake, FIRST, PROMOTE, model("base"), None)


def test_a_champion_that_is_gone_is_an_error_and_not_the_base_model(lake, model):
    base, one = model("base"), model("one")
    record(lake, FIRST, PROMOTE, base, one)
    one.path.rename(one.path.with_name("elsewhere"))
    with pytest.raises(champion.ChampionMissing, match="serves since 2026-01-05 and is gone"):
        champion.current(lake, SECOND, base)


def test_a_new_base_model_serves_where_nothing_was_ever_promoted(lake, model):
    record(lake, FIRST, keep("a tie"), model("base"), None)
    other = model("other base")
    assert champion.current(lake, SECOND, other).digest == other.digest


def test_an_older_day_decided_again_changes_nothing_after_it(lake, model):
    base, one, two = model("base"), model("one"), model("two")
    record(lake, FIRST, keep("a tie"), base, one)
    record(lake, THIRD, keep("a tie"), base, two)
    record(lake, FIRST, PROMOTE, base, one)
    assert champion.current(lake, SECOND, base).digest == one.digest
    assert champion.current(lake, date.max, base).digest == base.digest
    record(lake, THIRD, keep("a tie"), base, two)  # now that day has seen it, too
    assert champion.current(lake, date.max, base).digest == one.digest


def test_a_table_of_an_earlier_version_is_read_and_gone_on_with(lake, model):
    base, one, two = model("base"), model("one"), model("two")
    told = {"decision": ["kept", "promoted", "kept"], "model_digest": [base.digest, one.digest, one.digest]}
    old = pl.DataFrame({"day": [FIRST, SECOND, THIRD], **told}).with_columns(
        path=pl.when(pl.col("model_digest") == one.digest).then(pl.lit(str(one.path))).otherwise(pl.lit("b")),
        reason=pl.lit("as it was"),
        candidate_digest=pl.lit(None, pl.String),
        decided_at=pl.lit(datetime(2026, 1, 6, tzinfo=UTC)).cast(CHAMPION_SCHEMA["decided_at"]),
    )
    lake.replace("champion", old, [FIRST, SECOND, THIRD])
    assert champion.current(lake, SECOND, base).digest == base.digest
    told = champion.current(lake, date.max, base)
    assert (told.digest, told.path, told.since) == (one.digest, one.path, SECOND)
    fourth = date(2026, 1, 8)
    record(lake, fourth, keep("a tie"), base, two)
    row = champion.last_row(lake)
    assert (row["since"], row["previous_digest"], row["decided_by"]) == (SECOND, one.digest, "gate")
    assert lake.read("champion").collect().height == 4
    assert champion.current(lake, fourth, base).since == SECOND


@pytest.mark.parametrize(
    ("fit", "why"),
    [
        (None, "no calibrated user is on record for 2026-01-05"),
        ({"is_trusted": False, "distrust": "predicted 0.4, logged 0.2"}, "predicted 0.4, logged 0.2"),
        ({"is_trusted": True, "distrust": None}, None),
    ],
)
def test_the_user_is_trusted_as_its_own_record_says(lake, fit, why):
    if fit is not None:
        lake.replace(
            "user_fit",
            pl.DataFrame([{"day": FIRST, **fit}], schema_overrides={"distrust": pl.String}),
            [FIRST],
        )
    assert champion._distrust(lake, FIRST) == why
