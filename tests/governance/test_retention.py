import os
import time
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from installation import ANN, BEN, NOW, TODAY, ago, promote, rows, settings, train, training_set

from echo_dagster.evaluation.schema import CHANGE_SCHEMA, RECORDS
from echo_dagster.forgotten import TABLE
from echo_dagster.governance import leftovers
from echo_dagster.governance.forget import forget
from echo_dagster.governance.retention import InputGone, check_inputs, retain
from echo_dagster.lake import Lake


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path / "lake")


def fill(lake: Lake, table: str, *days: date) -> None:
    for day in days:
        lake.replace(table, rows(day, {ANN: 1, BEN: 1}), [day])


class TestDays:
    def test_a_table_keeps_today_and_so_many_days_before(self, lake, tmp_path):
        fill(lake, "raw_events", *(ago(back) for back in (5, 3, 2, 1, 0)))
        fill(lake, "gap_sessions", ago(50))
        done = retain(lake, settings(tmp_path, raw_events=2), NOW)
        assert lake.days("raw_events") == [ago(2), ago(1), ago(0)]
        assert lake.days("gap_sessions") == [ago(50)]
        assert [(kept.table, kept.first_day, kept.rows_removed) for kept in done.tables] == [
            ("gap_sessions", None, 0),
            ("raw_events", ago(2), 4),
        ]
        assert lake.read("raw_events").collect().height == 6

    def test_nothing_said_keeps_everything(self, lake, tmp_path):
        fill(lake, "raw_events", date(2020, 1, 1))
        done = retain(lake, settings(tmp_path), NOW)
        assert lake.days("raw_events") == [date(2020, 1, 1)] and done.paths == ()

    def test_a_day_is_a_utc_day_whatever_the_clock_of_the_machine(self, lake, tmp_path):
        fill(lake, "raw_events", ago(3), ago(2))
        zone = datetime.fromisoformat(f"{TODAY}T20:00:00-11:00").astimezone(UTC)
        assert zone.date() == TODAY + timedelta(days=1)
        retain(lake, settings(tmp_path, raw_events=2), datetime.fromisoformat(f"{TODAY}T20:00:00-11:00"))
        assert lake.days("raw_events") == []

    def test_what_was_removed_leaves_the_disk_when_no_version_needs_it(self, lake, tmp_path):
        fill(lake, "raw_events", ago(9), ago(1))
        retain(lake, settings(tmp_path, raw_events=2), NOW)
        folder = lake.path("raw_events") / f"day={ago(9)}"
        assert len(list(folder.iterdir())) == 1  # read a moment ago, it may be read still
        assert lake.vacuum("raw_events", timedelta(0)) > 0
        assert list(folder.iterdir()) == []


class TestModelsAndPages:
    @pytest.fixture
    def paths(self, lake, tmp_path):
        """Five models, of which three were promoted, each in place of the one before."""
        paths = {}
        for back in (50, 40, 30, 20, 1):
            training_set(lake, ago(back), {BEN: 1})
            paths[back] = train(lake, tmp_path, ago(back), f"m{back}")
        for back in (50, 40, 30):
            promote(lake, ago(back), f"m{back}", paths[back])
        return paths

    @pytest.mark.parametrize(("champions", "former"), [(0, []), (1, [40]), (5, [50, 40])])
    def test_models_go_with_their_days_but_what_serves_and_some_that_served_stay(
        self, lake, tmp_path, paths, champions, former
    ):
        retain(lake, settings(tmp_path, checkpoint=10, champions=champions), NOW)
        assert lake.days("checkpoint") == [ago(back) for back in (*former, 30, 1)]
        assert [back for back, path in paths.items() if path.is_dir()] == [*former, 30, 1]
        assert lake.days("champion") == [ago(50), ago(40), ago(30)]

    def test_what_was_rolled_back_to_stays_and_so_does_what_it_replaced(self, lake, tmp_path, paths):
        promote(lake, ago(30), "m50", paths[50])  # the day's row now names another model
        changes = [
            {"day": ago(back), **dict.fromkeys(CHANGE_SCHEMA), "path": str(paths[named]), "since": ago(back)}
            for back, named in ((50, 50), (40, 40), (30, 30), (30, 50))
        ]
        lake.append("champion_changes", pl.DataFrame(changes, schema={"day": pl.Date(), **CHANGE_SCHEMA}))
        retain(lake, settings(tmp_path, checkpoint=10, champions=1), NOW)
        assert [back for back, path in paths.items() if path.is_dir()] == [50, 30, 1]

    def test_the_base_model_that_serves_has_no_day_to_keep(self, lake, tmp_path, paths):
        row = lake.read("champion").sort("day").collect().tail(1)
        back_to_base = row.with_columns(since=pl.lit(None, pl.Date), path=pl.lit("models/base"))
        lake.replace("champion", back_to_base, [ago(30)])
        retain(lake, settings(tmp_path, checkpoint=10, champions=0), NOW)
        assert [back for back, path in paths.items() if path.is_dir()] == [1]

    def test_the_records_of_what_served_and_who_decided_are_left_alone(self, lake, tmp_path):
        for table in RECORDS:
            lake.append(table, pl.DataFrame({"day": [ago(50)], "reason": ["x"]}))
        done = retain(lake, settings(tmp_path, checkpoint=1), NOW)
        assert done.tables == ()
        assert all(lake.read(table).collect().height == 1 for table in RECORDS)

    def test_old_pages_go(self, lake, tmp_path):
        (tmp_path / "reports").mkdir()
        for name in (f"{ago(9)}.html", f"{ago(1)}.html", "mine.html"):
            (tmp_path / "reports" / name).touch()
        done = retain(lake, settings(tmp_path, reports=5), NOW)
        assert done.paths == (tmp_path / "reports" / f"{ago(9)}.html",)
        assert len(list((tmp_path / "reports").iterdir())) == 2


class TestForgottenPeople:
    def test_rows_that_a_run_under_way_wrote_after_go(self, lake, tmp_path):
        fill(lake, "gap_sessions", ago(1))
        forget(lake, tmp_path, ANN, NOW - timedelta(days=1))
        fill(lake, "gap_sessions", ago(2))  # it had read her before
        done = retain(lake, settings(tmp_path), NOW)
        assert done.rows_of_forgotten == 1
        assert set(lake.read("gap_sessions").collect()["user_id"]) == {BEN}
        assert lake.read(TABLE).drop_nulls("table").collect()["rows"].to_list() == [1, 1]
        assert retain(lake, settings(tmp_path), NOW).rows_of_forgotten == 0


class TestLeftovers:
    def test_what_killed_processes_left_goes_a_day_later(self, tmp_path):
        old = [
            tmp_path / "landing-abc" / "part.arrows",
            tmp_path / "spill" / "gaps-abc" / "gaps.parquet",
            tmp_path / "lake" / ".staging-abc" / "kept.parquet",
            tmp_path / "lake" / ".spill" / "duckdb_temp_storage_DEFAULT-0.tmp",
            tmp_path / "models" / ".smollm2-135m.a1b2c3d4" / "model.safetensors",
            tmp_path / "reports" / ".2026-01-05.html.xyz",
            tmp_path / ".pseudonym-xyz",
        ]
        kept = [
            tmp_path / "pseudonym.key",
            tmp_path / "models" / "smollm2-135m" / "model.safetensors",
            tmp_path / "models" / ".abc.lock",
            tmp_path / "models" / ".digests" / "0123456789abcdef.json",
            tmp_path / "reports" / "2026-01-05.html",
            tmp_path / "lake" / "t" / "day=2026-01-05" / "part-0.parquet",
        ]
        for file in (*old, *kept):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        now = datetime.now(UTC)
        assert leftovers.remove(tmp_path, now) == []
        for path in tmp_path.rglob("*"):
            os.utime(path, (time.time() - 90_000,) * 2)
        removed = leftovers.remove(tmp_path, now)
        assert len(removed) == len(old)
        assert not any(file.exists() for file in old) and all(file.exists() for file in kept)

    def test_the_work_of_a_training_that_nobody_goes_on_with_goes(self, lake, tmp_path):
        training_set(lake, ago(1), {BEN: 1})
        stopped = train(lake, tmp_path, ago(1), "m1", is_finished=False).parent
        running = train(lake, tmp_path, ago(1), "m2", is_finished=False).parent
        finished = train(lake, tmp_path, ago(1), "m3").parent
        (finished / "work").mkdir()
        for path in (*stopped.rglob("*"), stopped, *finished.rglob("*"), finished):
            os.utime(path, (time.time() - 8 * 86_400,) * 2)
        now = datetime.now(UTC)
        assert leftovers.remove_stopped_trainings(tmp_path, now - timedelta(days=9)) == []
        done = retain(lake, settings(tmp_path, stopped_trainings=7), now)
        assert set(done.paths) == {stopped, finished}
        assert not stopped.exists() and (running / "work").is_dir()
        assert (finished / "model" / "provenance.json").is_file() and not (finished / "work").exists()


class TestInputs:
    def check(self, lake, tmp_path, *days: date) -> None:
        configured = settings(tmp_path, raw_events=5)
        check_inputs(lake, configured, "gap_sessions", "raw_events", days, NOW, days_before=1)

    def test_a_day_whose_input_retention_removed_is_not_made_empty(self, lake, tmp_path):
        fill(lake, "raw_events", ago(5), ago(4))
        fill(lake, "gap_sessions", ago(7), ago(5), ago(4))
        self.check(lake, tmp_path, ago(4))
        with pytest.raises(InputGone, match=f"raw_events keeps 5 days, .* {ago(7)} were"):
            self.check(lake, tmp_path, ago(7))
        # what was open at its first midnight began on a day that is gone
        with pytest.raises(InputGone, match=f"{ago(5)} were"):
            self.check(lake, tmp_path, ago(5), ago(4))

    def test_a_day_that_holds_nothing_can_be_made_and_so_can_one_whose_input_is_back(self, lake, tmp_path):
        fill(lake, "gap_sessions", ago(20))
        fill(lake, "raw_events", ago(1))
        self.check(lake, tmp_path, ago(30))
        fill(lake, "raw_events", ago(21), ago(20))
        self.check(lake, tmp_path, ago(20))

    def test_a_table_that_keeps_all_is_never_asked(self, lake, tmp_path):
        fill(lake, "gap_sessions", ago(20))
        check_inputs(lake, settings(tmp_path), "gap_sessions", "raw_events", [ago(20)], NOW)
