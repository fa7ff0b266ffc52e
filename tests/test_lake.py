import json
from datetime import date

import polars as pl
import pytest

from echo_dagster.lake import Lake, TableMissing, connect

MONDAY, TUESDAY, WEDNESDAY = date(2026, 1, 5), date(2026, 1, 6), date(2026, 1, 7)


def frame(day: date, *values: int, stage: str = "filter") -> pl.DataFrame:
    return pl.DataFrame(
        {"day": [day] * len(values), "value": list(values), "stage": [stage] * len(values)},
        schema={"day": pl.Date, "value": pl.Int64, "stage": pl.String},
    )


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path)


def values(lake: Lake, days: list[date] | None = None) -> list[int]:
    return lake.read("t", days).sort("day", "value").collect()["value"].to_list()


def test_a_table_that_nothing_wrote_is_an_error_that_says_what_to_do(lake):
    with pytest.raises(TableMissing, match="materialize the asset that writes it"):
        lake.read("t")


def test_replacing_a_day_leaves_other_days_alone(lake):
    lake.replace("t", frame(MONDAY, 1, 2), [MONDAY])
    lake.replace("t", frame(TUESDAY, 3), [TUESDAY])
    lake.replace("t", frame(MONDAY, 9), [MONDAY])
    assert values(lake) == [9, 3]
    assert lake.days("t") == [MONDAY, TUESDAY]


def test_replacing_a_range_removes_the_rows_of_days_that_have_none_now(lake):
    lake.replace("t", frame(TUESDAY, 3), [TUESDAY])
    lake.replace("t", frame(MONDAY, 1), [MONDAY, TUESDAY, WEDNESDAY])
    assert values(lake) == [1]


def test_an_empty_day_makes_the_table_with_its_columns(lake):
    lake.replace("t", frame(MONDAY), [MONDAY])
    assert lake.read("t").collect_schema().names() == ["day", "value", "stage"]
    assert values(lake, [MONDAY]) == []


def test_a_row_outside_the_days_is_refused_and_nothing_changes(lake):
    lake.replace("t", frame(MONDAY, 1), [MONDAY])
    with pytest.raises(Exception, match=r"predicate|Invalid data"):
        lake.replace("t", frame(TUESDAY, 2), [MONDAY])
    assert values(lake) == [1]


def test_a_shared_table_is_replaced_by_the_part_one_stage_wrote(lake):
    lake.replace("t", frame(MONDAY, 1, stage="filter"), [MONDAY], where={"stage": "filter"})
    lake.replace("t", frame(MONDAY, 2, stage="balance"), [MONDAY], where={"stage": "balance"})
    lake.replace("t", frame(MONDAY, 3, stage="filter"), [MONDAY], where={"stage": "filter"})
    assert values(lake) == [2, 3]


def test_duckdb_reads_a_table_without_an_extension(lake):
    lake.replace("t", frame(MONDAY, 1, 2), [MONDAY])
    with connect() as connection:
        lake.register(connection, "t")
        assert connection.execute("SELECT sum(value) FROM t WHERE day = ?", [MONDAY]).fetchone() == (3,)


def test_each_replacement_is_one_commit(lake):
    for _ in range(3):
        lake.replace("t", frame(MONDAY, 1), [MONDAY])
    commits = sorted((lake.path("t") / "_delta_log").glob("*.json"))
    first = json.loads(commits[0].read_text().splitlines()[0])
    assert first and len(commits) == lake.version("t") + 1 <= 4
