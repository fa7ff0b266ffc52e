"""Materializing from a terminal."""

from datetime import date, timedelta

import pytest
from logs import write_day

from assets import runs
from echo_dagster.terminal import Step

FIRST = date(2022, 9, 5)
LAST = FIRST + timedelta(days=1)


def materialize(
    house, *names: str, first: date = FIRST, last: date = LAST, **options
) -> tuple[int, list[Step]]:
    steps: list[Step] = []
    ran = runs.materialize(
        house.defs,
        house.settings,
        first,
        last,
        select=names,
        on_step=steps.append,
        instance=house.instance,
        **options,
    )
    return ran, steps


def test_a_range_of_data_is_one_run_and_what_is_done_is_left_alone(house):
    for day in (FIRST, LAST):
        write_day(house.landing, day, users=1, gaps=2)
    ran, steps = materialize(house, "raw_events", "gap_sessions")
    assert ran == 1
    assert [step.asset for step in steps if step.state == "finished"] == ["raw_events", "gap_sessions"]
    assert {step.days for step in steps} == {f"{FIRST} to {LAST}"}
    assert materialize(house, "raw_events", "gap_sessions", skip_done=True)[0] == 0
    write_day(house.landing, LAST, users=2, gaps=2)
    assert materialize(house, "raw_events", "gap_sessions", skip_done=True)[0] == 1


def test_a_failure_names_its_asset_and_says_what_to_do(house):
    with pytest.raises(runs.MaterializeFailed, match=r"(?s)gap_sessions: .*materialize the asset"):
        materialize(house, "gap_sessions")


def test_an_unknown_asset_names_those_that_exist(house):
    with pytest.raises(ValueError, match=r"unknown assets: raw; expected some of balanced_samples"):
        materialize(house, "raw")


def test_days_outside_the_partitions_are_refused(house):
    with pytest.raises(ValueError, match="2022-07-31"):
        materialize(house, "raw_events", first=date(2022, 7, 31))
    with pytest.raises(ValueError, match="no such days"):
        materialize(house, "raw_events", first=LAST, last=FIRST)
