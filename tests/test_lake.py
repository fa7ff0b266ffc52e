import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from functools import partial
from typing import ClassVar

import polars as pl
import pytest
from deltalake import DeltaTable

from echo_dagster import table_files
from echo_dagster.lake import Lake, TableMissing, TableOutdated, VersionGone, connect

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


PEOPLE = {"day": pl.Date, "place": pl.Int64, "user_id": pl.String, "text": pl.String}


def people(day: date, *users: str | None) -> pl.DataFrame:
    rows = [(day, place, user, f"secret of {user}") for place, user in enumerate(users)]
    return pl.DataFrame(rows, schema=PEOPLE, orient="row")


def log_of(lake: Lake, table: str) -> str:
    return "".join(file.read_text() for file in (lake.path(table) / "_delta_log").glob("*.json"))


class TestRemoving:
    def test_the_rows_go_and_the_others_keep_their_order_and_their_days(self, lake):
        lake.replace("t", people(MONDAY, "c", "a", None, "b", "a"), [MONDAY])
        lake.replace("t", people(TUESDAY, "b", "b"), [TUESDAY])
        version = lake.version("t")
        assert lake.remove("t", "user_id", ["a"]) == 2
        rows = lake.read("t", [MONDAY]).select("place", "user_id").collect().rows()
        assert rows == [(0, "c"), (2, None), (3, "b")]
        assert lake.read("t", [TUESDAY]).collect().height == 2
        assert lake.version("t") == version + 1

    def test_nothing_to_remove_is_no_commit(self, lake):
        lake.replace("t", people(MONDAY, "a"), [MONDAY])
        version = lake.version("t")
        assert lake.remove("t", "user_id", ["x"]) == lake.remove("t", "user_id", []) == 0
        assert lake.version("t") == version

    def test_a_day_can_become_empty_and_be_written_again(self, lake):
        lake.replace("t", people(MONDAY, "a", "a"), [MONDAY])
        assert lake.remove("t", "user_id", {"a"}) == 2
        assert lake.days("t") == [] and lake.columns("t") == list(PEOPLE)
        lake.replace("t", people(MONDAY, "b"), [MONDAY])
        assert lake.read("t").collect()["user_id"].to_list() == ["b"]

    def test_old_days_go_but_for_some(self, lake):
        for day in (MONDAY, TUESDAY, WEDNESDAY):
            lake.replace("t", people(day, "a", "b"), [day])
        assert lake.drop_days("t", WEDNESDAY, but=[MONDAY]) == 2
        assert lake.days("t") == [MONDAY, WEDNESDAY]
        version = lake.version("t")
        assert lake.drop_days("t", WEDNESDAY, but=[MONDAY]) == 0
        assert lake.version("t") == version

    def test_a_day_that_another_writer_replaces_meanwhile_is_looked_at_again(self, lake, monkeypatch):
        lake.replace("t", people(MONDAY, "a", "b"), [MONDAY])
        rewrite = table_files.rewrite

        def late(*arguments):
            monkeypatch.undo()
            made = rewrite(*arguments)
            lake.replace("t", people(MONDAY, "a", "b", "c", "a"), [MONDAY])
            return made

        monkeypatch.setattr(table_files, "rewrite", late)
        assert lake.remove("t", "user_id", ["a"]) == 2
        assert lake.read("t").collect()["user_id"].to_list() == ["b", "c"]


class TestTheLog:
    def test_it_holds_no_text_of_the_rows(self, lake):
        lake.replace("t", people(MONDAY, "a", "b"), [MONDAY])
        lake.append("t", people(TUESDAY, "c"))
        lake.remove("t", "user_id", ["a"])
        lake.replace("strings", people(MONDAY, "d").select("day", "text"), [MONDAY])
        for table in ("t", "strings"):
            assert "secret" not in log_of(lake, table) and "numRecords" in log_of(lake, table)
        assert '\\"place\\":1' in log_of(lake, "t")


class TestVacuum:
    def test_what_was_replaced_goes_when_its_time_is_over(self, lake):
        lake.replace("t", people(MONDAY, "a"), [MONDAY])
        lake.replace("t", people(MONDAY, "b"), [MONDAY])
        assert lake.vacuum("t", timedelta(days=1)) == 0
        then = lake.read_version("t", 0, MONDAY).collect()
        assert then["user_id"].to_list() == ["a"]
        assert lake.vacuum("t", timedelta(0)) > 0
        assert lake.read("t").collect()["user_id"].to_list() == ["b"]

    def test_a_version_whose_files_are_gone_fails_and_never_lies(self, lake):
        lake.replace("t", people(MONDAY, "a"), [MONDAY])
        lake.replace("t", people(TUESDAY, "a"), [TUESDAY])
        lake.remove("t", "user_id", ["a"])
        lake.vacuum("t", timedelta(0))
        with pytest.raises(VersionGone, match="2026-01-05 in version 1"):
            lake.read_version("t", 1, MONDAY)
        with pytest.raises(VersionGone, match="version 99"):
            lake.read_version("t", 99, MONDAY)
        for version in (0, 1):
            with pytest.raises(FileNotFoundError):
                pl.scan_delta(DeltaTable(str(lake.path("t")), version=version)).collect()

    def test_what_a_killed_writer_left_goes_a_day_later(self, lake):
        lake.replace("t", people(MONDAY, "a"), [MONDAY])
        folder = lake.path("t") / f"day={MONDAY}"
        left = [
            folder / "part-9.parquet",
            folder / "part-9.parquet#1",
            lake.path("t") / "_delta_log" / "_c.tmp",
        ]
        for file in left:
            file.write_bytes(b"half a file")
        (lake.path("t") / "day=2026-01-01").mkdir()
        assert lake.vacuum("t", timedelta(days=1)) == 0 and all(file.exists() for file in left)
        for file in (*left, lake.path("t") / "day=2026-01-01"):
            os.utime(file, (0, 0))
        assert lake.vacuum("t", timedelta(days=1)) == 33
        assert not any(file.exists() for file in left)
        assert [path.name for path in lake.path("t").glob("day=*")] == [f"day={MONDAY}"]
        assert lake.read("t").collect().height == 1

    def test_it_commits_nothing_where_there_is_nothing_to_remove(self, lake):
        lake.replace("t", people(MONDAY, "a"), [MONDAY])
        version = lake.version("t")
        lake.vacuum("t", timedelta(0))
        assert lake.version("t") == version


def test_the_tables_are_those_that_were_written(lake):
    assert lake.tables() == []
    lake.replace("b", people(MONDAY, "a"), [MONDAY])
    lake.replace("a", people(MONDAY), [MONDAY])
    (lake.root / ".staging-1").mkdir()
    assert lake.tables() == ["a", "b"]


class TestInOrder:
    SCHEMA: ClassVar = {"day": pl.Date(), "a": pl.Int64(), "bucket": pl.Int32()}

    def frame(self, day, *values):
        rows = {"day": [day] * len(values), "a": list(values), "bucket": list(values)}
        return pl.DataFrame(rows, schema=self.SCHEMA)

    def write(self, lake, *frames, days):
        parts = [partial(self.after, 0.01 * (len(frames) - n), frame) for n, frame in enumerate(frames)]
        return lake.replace_in_order("ordered", parts, self.SCHEMA, days)

    def after(self, seconds, frame):
        time.sleep(seconds)  # the first part is the last that is made
        return frame

    def test_rows_stand_on_disk_as_they_came(self, lake):
        self.write(
            lake,
            self.frame(MONDAY, 3, 1),
            self.frame(TUESDAY, 5),
            self.frame(MONDAY, 2),
            days=[MONDAY, TUESDAY],
        )
        files = sorted(lake.path("ordered").glob(f"day={MONDAY}/*.parquet"))
        assert [pl.read_parquet(file)["a"].to_list() for file in files] == [[3, 1], [2]]
        assert lake.read("ordered").select(pl.col("a").sum()).collect().item() == 11

    def test_a_day_is_replaced_and_an_older_version_can_be_read(self, lake):
        self.write(lake, self.frame(MONDAY, 1), self.frame(TUESDAY, 2), days=[MONDAY, TUESDAY])
        before = lake.version("ordered")
        self.write(lake, self.frame(TUESDAY, 7), days=[TUESDAY])
        assert sorted(lake.read("ordered").collect()["a"]) == [1, 7]
        assert sorted(lake.read("ordered", [TUESDAY], before).collect()["a"]) == [2]
        self.write(lake, days=[TUESDAY])
        assert lake.days("ordered") == [MONDAY]

    def test_rows_of_another_day_are_refused_and_nothing_changes(self, lake):
        self.write(lake, self.frame(MONDAY, 1), days=[MONDAY])
        with pytest.raises(ValueError, match=r"rows of 2026-01-06, which are not to be replaced"):
            self.write(lake, self.frame(TUESDAY, 2), days=[MONDAY])
        assert lake.read("ordered").collect()["a"].to_list() == [1]

    def test_a_table_with_other_columns_says_what_to_do(self, lake):
        lake.replace("ordered", self.frame(MONDAY, 1).drop("bucket"), [MONDAY])
        with pytest.raises(
            TableOutdated, match=r"has the columns day, a, and this version writes day, a, bucket; remove"
        ):
            self.write(lake, self.frame(MONDAY, 1), days=[MONDAY])

    def test_of_writers_of_one_new_day_the_last_stands(self, lake):
        self.write(lake, self.frame(MONDAY, 1), days=[MONDAY])
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: self.write(lake, self.frame(TUESDAY, n), days=[TUESDAY]), range(4)))
        assert lake.read("ordered", [TUESDAY]).collect().height == 1

    def test_statistics_tell_buckets_and_no_text(self, lake):
        self.write(lake, self.frame(MONDAY, 4, 9), days=[MONDAY])
        (log,) = lake.path("ordered").glob("_delta_log/*1.json")
        (added,) = [json.loads(line)["add"] for line in log.read_text().splitlines() if '"add"' in line]
        assert json.loads(added["stats"]) == {
            "numRecords": 2,
            "minValues": {"bucket": 4},
            "maxValues": {"bucket": 9},
        }
