"""Consent, cohort, forgetting and retention, through Dagster, on whole days."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from deltalake import DeltaTable
from house import DATA, build_house
from logs import write_day
from typer.testing import CliRunner

from assets import runs
from echo_dagster import definitions
from echo_dagster.acquisition.privacy import pseudonymiser
from echo_dagster.cli import app
from echo_dagster.forgotten import forgotten
from echo_dagster.lake import VersionGone

FIRST = date(2022, 9, 5)
DAYS = [FIRST + timedelta(days=ahead) for ahead in range(3)]


def change(landing: Path, day: date, user: str, **fields: object) -> None:
    """Change fields of every event of a user."""
    file = landing / f"{day}.ndjson"
    events = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    changed = [event | fields if event["user_id"] == user else event for event in events]
    file.write_text("".join(json.dumps(event) + "\n" for event in changed), encoding="utf-8")


def pseudonym(house, user: str) -> str:
    return pseudonymiser(house.settings.data_dir)(user)


def rows(house, table: str, user: str) -> pl.DataFrame:
    return house.lake.read(table).filter(pl.col("user_id") == pseudonym(house, user)).collect()


class TestConsentAndCohort:
    @pytest.fixture(scope="class")
    @staticmethod
    def house(tmp_path_factory, tiny_settings):
        house = build_house(
            tmp_path_factory.mktemp("consent"),
            tiny_settings,
            window={"days": 3, "held_out_user_share": 0.0},
        )
        for day in DAYS[:2]:
            write_day(house.landing, day)
            change(house.landing, day, "user-0", consent=False)
            change(house.landing, day, "user-1", cohort="external")
        house.run(*DATA, first=DAYS[0], last=DAYS[1])
        house.run("training_set", first=DAYS[2])
        return house

    def test_who_withholds_consent_is_counted_and_never_trained_on(self, house):
        for table in ("raw_events", "gap_sessions"):
            assert (
                rows(house, table, "user-0")["consent"].to_list()
                == [False] * rows(house, table, "user-0").height
            )
        gaps = rows(house, "gap_sessions", "user-0")
        assert gaps.height == 16
        for table in ("filtered_samples", "balanced_samples", "scored_samples", "training_set"):
            assert rows(house, table, "user-0").is_empty() and rows(house, table, "user-2").height, table
        dropped = house.lake.read("rejected_samples").filter(
            pl.col("sample_id").is_in(gaps["gap_id"].implode())
        )
        assert dropped.select("stage", "reason").unique().collect().rows() == [("filter", "no_consent")]
        assert dropped.collect().height == 16
        measured = house.lake.read("online_metrics").select(pl.col("n_shown").sum()).collect().item()
        assert measured == house.lake.read("gap_sessions").collect().height

    def test_the_cohort_stands_in_every_table_of_events_gaps_and_samples(self, house):
        for table in ("raw_events", "gap_sessions", "filtered_samples", "scored_samples", "training_set"):
            assert set(rows(house, table, "user-1")["cohort"]) == {"external"}, table
            assert set(rows(house, table, "user-2")["cohort"]) == {None}, table
        assert set(house.lake.read("online_metrics").collect()["cohort"]) == {None, "external"}


def everything_below(folder: Path, without: tuple[str, ...]) -> dict[str, str]:
    """What all files say, as text; of Parquet files, their rows."""
    found = {}
    for file in folder.rglob("*"):
        if file.is_file() and not set(without) & set(file.parts):
            if file.suffix == ".parquet":
                found[str(file)] = json.dumps(pl.read_parquet(file).to_dicts(), default=str)
            else:
                found[str(file)] = file.read_text(encoding="utf-8", errors="replace")
    return found


class TestForgetting:
    SECRET = "zqxj_"  # as long as what it replaces, so that offsets stay right

    @pytest.fixture(scope="class")
    @staticmethod
    def house(tmp_path_factory, tiny_settings):
        house = build_house(
            tmp_path_factory.mktemp("forget"),
            tiny_settings,
            window={"days": 3, "held_out_user_share": 0.0},
        )
        for day in DAYS[:2]:
            write_day(house.landing, day)
            file = house.landing / f"{day}.ndjson"
            text = file.read_text(encoding="utf-8").splitlines(keepends=True)
            secret = [
                line.replace("part_", TestForgetting.SECRET) if '"user-1"' in line else line for line in text
            ]
            file.write_text("".join(secret), encoding="utf-8")
        house.run(*DATA, first=DAYS[0], last=DAYS[1])
        house.run(*DATA[:2], first=DAYS[0], last=DAYS[1])  # so that older versions hold the person as well
        house.run("training_set", first=DAYS[2])
        house.run("report", first=DAYS[0])
        return house

    @pytest.fixture(scope="class")
    @staticmethod
    def done(house):
        before = {
            table: (house.lake.version(table), house.lake.read(table).collect())
            for table in house.lake.tables()
        }
        config = "".join(everything_below(house.settings.data_dir, ("models",)).values())
        assert TestForgetting.SECRET in config and pseudonym(house, "user-1") in config
        removed = runs.forget(house.defs, house.settings, "user-1", instance=house.instance)
        return before, removed

    def test_the_person_is_in_no_table_no_page_and_no_file(self, house, done):
        _, removed = done
        person = pseudonym(house, "user-1")
        left = everything_below(house.settings.data_dir, ("forgotten", "models"))
        assert [name for name, text in left.items() if person in text and "_delta_log" not in name] == []
        assert [name for name, text in left.items() if self.SECRET in text] == []
        assert [Path(page).name for page in removed.pages] == [f"{DAYS[0]}.html"]
        assert removed.pseudonym == person and removed.runs_under_way == ()

    def test_every_other_row_is_still_there(self, house, done):
        before, removed = done
        person = pseudonym(house, "user-1")
        gaps = before["gap_sessions"][1].filter(pl.col("user_id") == person)["gap_id"]
        for table, (_, whole) in before.items():
            now = house.lake.read(table).collect()
            others = whole
            if "user_id" in whole.columns:
                others = whole.filter(pl.col("user_id") != person)
            elif table == "rejected_samples":
                others = whole.filter(~pl.col("sample_id").is_in(gaps.implode()))
            in_order = sorted(whole.columns)
            assert now.sort(in_order).equals(others.sort(in_order)), table
            assert removed.rows.get(table, 0) == whole.height - others.height, table
        assert {"raw_events", "gap_sessions", "rejected_samples", "training_set"} <= set(removed.rows)
        assert all(
            removed.rows[table] for table in ("raw_events", "gap_sessions", "training_set", "scored_samples")
        )

    def test_the_events_that_stay_keep_their_order_on_disk(self, house, done):
        for day in DAYS[:2]:
            now = house.lake.read("raw_events", [day]).collect()
            assert now.equals(
                now.sort("bucket", "user_id", "session_id", "document", "ts", "seq", "event_id")
            )

    def test_a_version_from_before_cannot_be_read(self, house, done):
        before, removed = done
        for table, rows in removed.rows.items():
            if rows:
                day = before[table][1]["day"][0]
                with pytest.raises(VersionGone):
                    house.lake.read_version(table, before[table][0], day)
                then = DeltaTable(str(house.lake.path(table)), version=before[table][0])
                with pytest.raises(FileNotFoundError):
                    pl.scan_delta(then).collect()

    def test_the_list_says_when_and_how_many_and_no_name(self, house, done):
        _, removed = done
        listed = house.lake.read("forgotten").collect()
        assert forgotten(house.lake) == {pseudonym(house, "user-1")}
        assert dict(listed.drop_nulls("table").select("table", "rows").iter_rows()) == {
            table: n for table, n in removed.rows.items() if n
        }
        assert listed["forgotten_at"].max() <= datetime.now(UTC)

    def test_dagster_never_hears_the_name(self, house, done):
        run = house.instance.get_runs(dg.RunsFilter(job_name="forget"))[0]
        told = json.dumps([dict(run.run_config), run.tags]) + "".join(
            str(record) for record in house.instance.all_logs(run.run_id)
        )
        assert pseudonym(house, "user-1") in told and "user-1" not in told

    def test_the_person_stays_forgotten_when_old_days_are_made_again(self, house, done):
        before, _ = done
        result = house.run(*DATA, first=DAYS[0], last=DAYS[1])
        assert all(check.passed for check in result.get_asset_check_evaluations())
        for table in (*DATA, "training_set"):
            if table != "online_metrics":
                assert rows(house, table, "user-1").is_empty() and rows(house, table, "user-2").height, table
        refused = house.lake.read("quarantined_events").filter(pl.col("reason") == "forgotten").collect()
        were = before["raw_events"][1].filter(pl.col("user_id") == pseudonym(house, "user-1"))
        assert refused.height == were.height
        assert (
            refused.group_by("day").len().sort("day").rows() == were.group_by("day").len().sort("day").rows()
        )
        assert self.SECRET not in json.dumps(refused.to_dicts(), default=str)


def test_forgetting_nobody_says_so(house):
    removed = runs.forget(house.defs, house.settings, "nobody", instance=house.instance)
    assert removed.rows == {} and removed.models.is_empty()


def test_a_name_in_place_of_a_pseudonym_is_refused(house):
    result = house.defs.resolve_job_def("forget").execute_in_process(
        instance=house.instance,
        run_config={
            "ops": {"forget_person": {"config": {"pseudonym": "user-1"}}},
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        },
        raise_on_error=False,
    )
    assert not result.success and forgotten(house.lake) == frozenset()


class TestRetention:
    def run(self, house) -> dict:
        result = house.defs.resolve_job_def("retention").execute_in_process(
            instance=house.instance,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        (output,) = (event.step_output_data for event in result.all_events if event.is_successful_output)
        return {record.data["table"]: record.data for record in output.metadata["tables"].records}

    @pytest.fixture
    def house(self, tmp_path, tiny_settings):
        """Five days ending yesterday, of which raw events keep two and gaps four."""
        return build_house(
            tmp_path,
            tiny_settings,
            start_day=(datetime.now(UTC).date() - timedelta(days=10)).isoformat(),
            retention={"raw_events": 2, "gap_sessions": 4, "versions": 1},
        )

    def test_it_removes_old_days_and_leaves_the_rest(self, house):
        today = datetime.now(UTC).date()
        days = [today - timedelta(days=back) for back in range(6, 0, -1)]
        for day in days:
            write_day(house.landing, day, users=1, gaps=2)
        house.run("raw_events", "gap_sessions", first=days[0], last=days[-1])
        told = self.run(house)
        assert house.lake.days("raw_events") == days[-2:]
        assert house.lake.days("gap_sessions") == days[-4:]
        assert told["raw_events"]["rows_removed"] > 0 and told["gap_sessions"]["rows_removed"] == 4
        assert told["raw_events"]["first_day"] == str(days[-2])
        assert house.lake.read("gap_sessions").collect().height == 8
        # a day whose events are gone keeps its gaps, though somebody asks for them again
        failed = house.run("gap_sessions", first=days[-4], fails=True)
        assert "raw_events keeps 2 days" in str(failed.get_step_failure_events()[0])
        assert house.lake.days("gap_sessions") == days[-4:]
        house.run("gap_sessions", first=days[-1])
        house.run("raw_events", first=days[-5], last=days[-4])
        house.run("gap_sessions", first=days[-4])
        assert house.lake.days("gap_sessions") == days[-4:]


def test_retention_is_a_schedule(house):
    schedule = house.defs.resolve_schedule_def("nightly_retention")
    assert (schedule.job_name, schedule.execution_timezone) == ("retention", "UTC")


def test_the_command_forgets_and_prints_the_models_as_data(house, tmp_path, monkeypatch):
    write_day(house.landing, FIRST, users=2, gaps=2)
    house.run("raw_events", "gap_sessions", first=FIRST)
    (tmp_path / "dagster").mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    monkeypatch.setenv("ECHO_CONFIG", str(tmp_path / "pipeline.yaml"))
    monkeypatch.setattr(definitions, "defs", house.defs)
    done = CliRunner().invoke(app, ["forget", "user-1"])
    assert done.exit_code == 0, done.output
    assert done.stdout == ""  # no model learnt from anybody
    assert pseudonym(house, "user-1") in done.stderr and "gap_sessions" in done.stderr
    assert (
        rows(house, "gap_sessions", "user-1").is_empty() and rows(house, "gap_sessions", "user-0").height == 2
    )
    again = CliRunner().invoke(app, ["forget", pseudonym(house, "user-1")])
    assert again.exit_code == 0 and "No table held this person" in again.stderr
