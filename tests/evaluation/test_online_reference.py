"""The tables agree with the reference, which is written apart from the SQL."""

import random
from datetime import timedelta

import duckdb
import online_reference as reference
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logged import DAY, gap, lake_of

from echo_dagster.evaluation import online
from echo_dagster.evaluation.schema import GRAINS, RATES, SUMS
from echo_dagster.extraction.schema import GAP_SCHEMA, OUTCOMES
from echo_dagster.resources import sql
from echo_dagster.settings import Evaluation

RULES = Evaluation(shadowed_shown=3, bootstrap_samples=50)


def some_gap(rng: random.Random, number: int, earlier: list[dict]) -> dict:
    """One gap; ids are few, so that proposals are shown again, by id and by `reshown_of`, and regions nest."""
    user = rng.choice("abcd")
    others = [row for row in earlier if row["user_id"] == user]
    outcome = rng.choice(OUTCOMES)
    if user == "d":  # hardly accepts
        outcome = rng.choice(("ignored", "rejected_then_written", "ignored", "superseded", outcome))
    is_taken = outcome in reference.ACCEPTED
    proposal = "".join(rng.choice("ab😀é\U0001d4b3") for _ in range(rng.randint(0, 6)))
    return gap(
        f"g{number:03}",
        at_s=rng.randint(0, 30),
        user_id=user,
        completion_id=rng.choice([f"c{number}", f"c{number}", f"c{rng.randint(0, 9)}"]),
        reshown_of=rng.choice(
            [None, None, "yesterday", *[row["reshown_of"] or row["gap_id"] for row in others]]
        ),
        region_id=rng.choice([None, f"g{number:03}", *[row["region_id"] for row in others]]),
        model=rng.choice(("m1", "m1", "m2", None)),
        language=rng.choice(("python", "go", None)),
        cohort=rng.choice(("internal", "external", None)),
        proposal=proposal,
        outcome=outcome,
        accepted_chars=rng.randint(0, 12) if is_taken else 0,
        typed_chars=rng.choice((None, 0, 3, 40)),
        kept_rate=rng.choice((None, 0.0, 0.25, 1.0)),
        latency_ms=rng.choice((None, 0, 120, 900)),
        **{f"retained_{s}s": rng.choice((None, 0, 4, 9)) if is_taken else None for s in reference.SECONDS},
    )


def some_gaps(rng: random.Random, most: int) -> list[dict]:
    rows: list[dict] = []
    for number in range(rng.randint(1, most)):
        rows.append(some_gap(rng, number, rows))
    return rows


def measured(rows: list[dict], rules: Evaluation = RULES) -> pl.DataFrame:
    schema = {"day": pl.Date(), **GAP_SCHEMA}
    frame = pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)
    with duckdb.connect() as connection:
        connection.execute(sql("native_macros"))
        connection.register("gap_sessions", frame.to_arrow())
        return online.measure_day(connection, DAY, rules)[1]


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False))
def test_every_figure_of_every_group_is_that_of_the_reference(rng):
    rows = some_gaps(rng, 40)
    found = measured(rows)
    for grain, by in {None: reference.COLUMNS, **GRAINS}.items():
        groups = found.filter(pl.col("grain").eq_missing(pl.lit(grain, pl.String())))
        expected = reference.measure(rows, by, RULES.shadowed_shown)
        assert {tuple(row[name] for name in by) for row in groups.to_dicts()} == set(expected)
        for row in groups.to_dicts():
            told = expected[tuple(row[name] for name in by)]
            assert {name: row[name] for name in told} == pytest.approx(told, abs=1e-9), (grain, by)


@settings(max_examples=10, deadline=None)
@given(st.randoms(use_true_random=False))
def test_rates_are_shares_and_lie_in_their_intervals_and_sums_add_up(rng):
    found = measured(some_gaps(rng, 40))
    total = found.filter(pl.col("grain") == "all")
    for grain in (None, "model_cohort", "model", "cohort"):
        parts = found.filter(pl.col("grain").eq_missing(pl.lit(grain, pl.String())))
        for name in (*SUMS, "n_shadowed_shown"):
            assert parts[name].sum() == pytest.approx(total[name].item()), (grain, name)
    for rate in ("acceptance_rate", "weighted_acceptance_rate", "generation_rate", "kept_rate"):
        assert found[rate].drop_nulls().is_between(0, 1).all()
    for rate in RATES:
        known = found.drop_nulls([rate, f"{rate}_low"])
        assert (known[f"{rate}_low"] <= known[f"{rate}_high"]).all()


def test_a_day_of_thousands_from_the_lake_is_that_of_the_reference(tmp_path):
    rows = some_gaps(random.Random(5), 3_000)
    tomorrow = [row | {"day": DAY + timedelta(days=1)} for row in rows[:50]]
    lake = lake_of(tmp_path, rows + tomorrow)
    found = online.measure_days(lake, [DAY], RULES)
    expected = reference.measure(rows, least=RULES.shadowed_shown)
    assert found.height == len(expected)
    for row in found.to_dicts():
        told = expected[tuple(row[name] for name in reference.COLUMNS)]
        assert {name: row[name] for name in told} == pytest.approx(told, abs=1e-9)
    assert lake.days("online_metrics") == lake.days("trends") == lake.days("online_users") == [DAY]
