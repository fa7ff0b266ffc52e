"""Late landing files."""

from datetime import date, timedelta

import dagster as dg
from logs import write_day

FIRST = date(2022, 9, 5)


def tick(house, cursor: str | None):
    sensor = house.defs.resolve_sensor_def("late_landing_files")
    with dg.build_sensor_context(
        instance=house.instance, cursor=cursor, resources={"settings": house.settings}, definitions=house.defs
    ) as context:
        found = sensor.evaluate_tick(context)
    return found.cursor, sorted({request.partition_key for request in found.run_requests or []}), found


def test_the_first_tick_only_remembers_what_is_there(house):
    write_day(house.landing, FIRST, users=1)
    cursor, days, found = tick(house, None)
    assert days == [] and "remembered 1" in found.skip_message and cursor


def test_a_changed_file_asks_for_its_day_and_the_day_after(house):
    write_day(house.landing, FIRST, users=1)
    cursor, _, _ = tick(house, None)
    with (house.landing / f"{FIRST}.ndjson").open("a", encoding="utf-8") as file:
        file.write("\n")
    cursor, days, found = tick(house, cursor)
    assert {FIRST.isoformat(), (FIRST + timedelta(days=1)).isoformat()} <= set(days)
    assert len({request.run_key for request in found.run_requests}) == len(found.run_requests)
    assert tick(house, cursor)[1] == []


def test_a_new_file_is_late_too(house):
    cursor, _, _ = tick(house, None)
    write_day(house.landing, FIRST, users=1)
    assert FIRST.isoformat() in tick(house, cursor)[1]
