from datetime import UTC, date, datetime

import pytest

from echo_dagster.evaluation import champion
from echo_dagster.evaluation.gate import Decision, keep
from echo_dagster.evaluation.schema import CHAMPION_SCHEMA
from echo_dagster.lake import Lake
from echo_dagster.models import ResolvedModel

FIRST, SECOND, THIRD = date(2026, 1, 5), date(2026, 1, 6), date(2026, 1, 7)
PROMOTE = Decision("promoted", "better")


@pytest.fixture
def model(tmp_path):
    def make(name):
        (tmp_path / name).mkdir(exist_ok=True)
        return ResolvedModel(name, tmp_path / name, f"digest of {name}")

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
    assert (told.digest, told.path, told.since) == ("digest of base", base.path, None)
    record(lake, FIRST, keep("a tie"), base, model("one"))
    assert champion.current(lake, SECOND, base).digest == "digest of base"


def test_a_promoted_candidate_serves_from_the_next_day_on(lake, model):
    base, one = model("base"), model("one")
    record(lake, FIRST, PROMOTE, base, one)
    assert (
        champion.current(lake, FIRST, base).digest == base.digest
    )  # judged against what served during the day
    record(lake, SECOND, keep("a tie"), base, model("two"))
    for day in (SECOND, THIRD):
        told = champion.current(lake, day, base)
        assert (told.digest, told.path, told.since, told.reason) == (one.digest, one.path, FIRST, "better")


def test_a_day_kept_is_on_record_with_the_candidate_it_refused(lake, model):
    base = model("base")
    rows = record(lake, FIRST, keep("a tie"), base, model("one"))
    assert rows.drop("day").schema == CHAMPION_SCHEMA
    assert rows.row(0, named=True) == {
        "day": FIRST,
        "model_digest": base.digest,
        "path": str(base.path),
        "decision": "kept",
        "reason": "a tie",
        "candidate_digest": "digest of one",
        "decided_at": datetime(2026, 1, 6, tzinfo=UTC),
    }
    assert lake.read("champion").collect().equals(rows)


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
    one.path.rmdir()
    with pytest.raises(champion.ChampionMissing, match="was promoted on 2026-01-05 and is gone"):
        champion.current(lake, SECOND, base)


def test_a_new_base_model_serves_where_nothing_was_ever_promoted(lake, model):
    record(lake, FIRST, keep("a tie"), model("base"), None)
    assert champion.current(lake, SECOND, model("other base")).digest == "digest of other base"
