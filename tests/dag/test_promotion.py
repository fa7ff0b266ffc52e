"""The gate, people and the server through the DAG, on comparisons by hand: no model is trained here."""

import json
from datetime import date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import dagster as dg
import polars as pl
import pytest
from house import build_house
from typer.testing import CliRunner

from assets import promotion
from echo_dagster import definitions, models
from echo_dagster.cli import app
from echo_dagster.evaluation import champion
from echo_dagster.evaluation.schema import EVALUATED_SCHEMA
from echo_dagster.optimization.schema import CHECKPOINT_SCHEMA

FIRST = date(2022, 9, 5)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


class Gate:
    """A house whose candidates are directories, compared by hand: enough for the real gate."""

    def __init__(self, house):
        self.house, self.lake = house, house.lake
        self.base = models.resolve(house.settings.base_model, house.settings.data_dir)

    def compare(self, number: int, gain: float, name: str | None = None) -> str:
        """Leave a candidate of a day and its comparison with what serves on that day; return its digest."""
        path = self.house.settings.data_dir / "checkpoints" / str(day(number)) / "job" / "model"
        path.mkdir(parents=True, exist_ok=True)
        for file in ("config.json", "tokenizer.json"):
            (path / file).write_text(name or f"model of {number}")
        digest = models.digest(path)
        trained = {
            **dict.fromkeys(CHECKPOINT_SCHEMA),
            "status": "trained",
            "path": str(path),
            "model_digest": digest,
        }
        self.put("checkpoint", number, [trained], CHECKPOINT_SCHEMA)
        serving = champion.current(self.lake, day(number), self.base).digest
        digests = {"base": self.base.digest, "champion": serving, "candidate": digest}
        own = [(role, None, "edit_similarity", "all", 0.5, 0.4, 0.6, 90, of) for role, of in digests.items()]
        gained = [
            ("candidate", "champion", "edit_similarity", "all", gain, gain - 0.01, gain + 0.01, 90, digest),
            ("candidate", "champion", "middle_nats_per_token", "all", -0.1, -0.2, 0.0, 90, digest),
        ]
        self.put("evaluated_model", number, own + gained, EVALUATED_SCHEMA)
        return digest

    def put(self, table, number, rows, schema):
        made = pl.DataFrame(rows, schema=schema, orient=None if isinstance(rows[0], dict) else "row")
        self.lake.replace(table, made.select(pl.lit(day(number)).alias("day"), pl.all()), [day(number)])

    def decide(self, number: int, **options):
        return self.house.run("champion", first=day(number), **options)

    def row(self, number: int) -> dict:
        return self.lake.read("champion", [day(number)]).collect().row(0, named=True)

    def shown(self) -> dict:
        """What the record beside the link says; the link must say the same."""
        told = json.loads((self.house.settings.data_dir / "champion.json").read_text())
        assert (self.house.settings.data_dir / "champion").resolve() == type(self.base.path)(
            told["path"]
        ).resolve()
        return told

    def run(self, job: str, config: dict | None = None, *, fails: bool = False):
        result = self.house.defs.resolve_job_def(job).execute_in_process(
            instance=self.house.instance,
            run_config={**QUIET, **({} if config is None else {"ops": config})},
            raise_on_error=False,
        )
        assert result.success is not fails, [event.message for event in result.all_events if event.is_failure]
        return result

    def roll_back(self, to: str, **options):
        config = {"to": to, "reason": "users complain", "by": "Ann"}
        return self.run("rollback", {"roll_champion_back": {"config": config}}, **options)


@pytest.fixture
def gate(house):
    return Gate(house)


@pytest.fixture
def three(gate):
    """Three days: two promotions, then a tie."""
    digests = []
    for number, gain in enumerate((0.05, 0.05, 0.0)):
        digests.append(gate.compare(number, gain))
        gate.decide(number)
    assert [gate.row(number)["decision"] for number in range(3)] == ["promoted", "promoted", "kept"]
    return digests


def materialized(gate):
    (event,) = gate.house.instance.fetch_materializations(dg.AssetKey("champion"), limit=1).records
    return event.asset_materialization


def test_the_asset_tells_decision_reason_numbers_and_what_served_before(gate, three):
    made = materialized(gate)
    told = {name: value.value for name, value in made.metadata.items()}
    assert (told["decision"], told["decided_by"], told["model_digest"]) == ("kept", "gate", three[1])
    assert told["previous_digest"] == three[1] and "the lower bound is 0.010 below zero" in told["reason"]
    numbers = [record.data for record in made.metadata["numbers"].records]
    assert [(row["metric"], row["needed"]) for row in numbers] == [
        ("edit_similarity", "lower bound above 0"),
        ("middle_nats_per_token", "upper bound at most 0.05"),
    ]
    assert (numbers[0]["low"], numbers[0]["n_samples"]) == (-0.01, 90) and numbers[0]["failure"]
    assert gate.shown()["digest"] == three[1] and gate.shown()["day"] == str(day(2))


def test_a_rollback_from_the_launchpad_and_the_days_after_it(gate, three):
    result = gate.roll_back(three[0])
    row = gate.row(2)
    assert (row["decision"], row["model_digest"], row["decided_by"]) == ("rolled_back", three[0], "Ann")
    assert (
        gate.shown()["digest"] == three[0] and gate.shown()["reason"] == "rolled back by Ann: users complain"
    )
    assert materialized(gate).partition == str(day(2))
    assert [check.passed for check in result.get_asset_check_evaluations()] == [True]
    # the next day is compared with what the rollback brought back, and starts a reign of its own
    four = gate.compare(3, 0.05)
    compared = gate.lake.read("evaluated_model", [day(3)]).collect()
    assert set(compared.filter(pl.col("role") == "champion")["model_digest"]) == {three[0]}
    gate.decide(3)
    assert (gate.row(3)["previous_digest"], gate.row(3)["model_digest"]) == (three[0], four)
    assert gate.shown()["digest"] == four


def test_a_backfill_after_a_rollback_does_not_undo_it(gate, three):
    gate.roll_back("base")
    for number, name in enumerate(("late data", "later data")):
        gate.compare(number, 0.2, name)
        gate.decide(number)
        assert gate.row(number)["decision"] == "promoted"
        assert gate.shown()["is_base"] and gate.shown()["day"] == str(day(2))
    before = gate.row(2)
    gate.compare(
        2, 0.2, "the latest data"
    )  # and the day of the rollback itself, whatever the gate would say now
    gate.decide(2)
    after = gate.row(2)
    for name in ("decision", "model_digest", "path", "since", "reason", "decided_by", "decided_at"):
        assert after[name] == before[name], name
    assert gate.shown()["is_base"]


def test_a_comparison_made_before_a_rollback_decides_nothing_after_it(gate, three):
    gate.compare(3, 0.2)
    gate.roll_back(three[0])
    failed = gate.decide(3, fails=True)
    told = str([event.event_specific_data for event in failed.get_step_failure_events()])
    assert "materialize `evaluated_model` of 2022-09-08 again" in told
    assert gate.shown()["digest"] == three[0]


def test_overrides_are_honoured_when_their_day_runs_again(gate, three):
    gate.run(
        "override", {"override_gate": {"config": {"action": "promote", "reason": "a demo", "by": "Ben"}}}
    )
    before = gate.row(2)
    assert (before["decision"], before["model_digest"], before["decided_by"]) == ("promoted", three[2], "Ben")
    gate.decide(2)
    assert gate.row(2) == before
    hold = {"override_gate": {"config": {"action": "hold", "reason": "release", "by": "Ben"}}}
    gate.run("override", hold)
    gate.compare(3, 0.2)
    for _ in range(2):
        gate.decide(3)
        assert gate.row(3)["reason"].startswith("held by Ben: release; the gate would have promoted: against")
        assert gate.row(3)["model_digest"] == gate.shown()["digest"] == three[2]


def test_a_model_that_is_gone_is_refused_with_what_to_do(gate, three):
    path = gate.house.settings.data_dir / "checkpoints" / str(day(0))
    path.rename(path.with_name("moved"))
    failed = gate.roll_back(three[0], fails=True)
    (event,) = failed.get_step_failure_events()
    told = event.event_specific_data.error.message
    assert f"{three[0]} is gone from disk" in told and "Restore that directory" in told
    assert not gate.lake.exists("champion_overrides") and gate.shown()["digest"] == three[1]


class Listener:
    """A server that answers with `status`."""

    def __init__(self):
        self.status, self.heard = 500, []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                listener.heard.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(listener.status)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


@pytest.fixture
def listener(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    made = Listener()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def listened(tmp_path, tiny_settings, listener):
    url = f"http://127.0.0.1:{listener.server.server_port}/"
    return Gate(build_house(tmp_path, tiny_settings, serving={"webhook_url": url, "webhook_retries": 0}))


def tick(gate):
    sensor = gate.house.defs.resolve_sensor_def("untold_champion")
    context = dg.build_sensor_context(
        instance=gate.house.instance,
        repository_def=gate.house.defs.get_repository_def(),
        resources={"settings": gate.house.settings, "lake": gate.lake},
    )
    return sensor.evaluate_tick(context)


def test_a_server_that_does_not_listen_costs_no_promotion_and_hears_later(listened, listener, monkeypatch):
    for number in range(2):
        digest = listened.compare(number, 0.05)
        result = listened.decide(number)
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed, check.severity.value) == ("server_knows", False, "WARN")
    assert check.description == f"the server does not know of {digest}: HTTP 500"
    assert listened.row(1)["decision"] == "promoted" and listened.shown()["digest"] == digest
    assert "not due" in tick(listened).skip_message
    listener.status = 200

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(minutes=6)

    monkeypatch.setattr(promotion, "datetime", Later)
    (request,) = tick(listened).run_requests
    assert request.run_key.endswith(f"{digest[:12]}:1")
    again = listened.run("tell_server_again")
    assert [check.passed for check in again.get_asset_check_evaluations()] == [True]
    assert [one["data"]["model_digest"] for one in listener.heard] == [digest, digest]
    assert tick(listened).skip_message == "no change is untold"


def test_a_rollback_stands_whether_the_server_hears_of_it_or_not(listened, listener):
    listener.status = 200
    for number in range(2):
        listened.compare(number, 0.05)
        listened.decide(number)
    listener.status = 404
    result = listened.roll_back("base")
    (check,) = result.get_asset_check_evaluations()
    assert not check.passed and listened.shown()["is_base"]
    assert listener.heard[-1]["data"]["decision"] == "rolled_back"


def test_the_command_shows_rolls_back_and_refuses(gate, three, tmp_path, monkeypatch):
    (tmp_path / "dagster").mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    monkeypatch.setenv("ECHO_CONFIG", str(tmp_path / "pipeline.yaml"))
    monkeypatch.setattr(definitions, "defs", gate.house.defs)
    monkeypatch.setenv("COLUMNS", "250")
    signed = ["--by", "Ann", "--reason", "users complain"]
    run = CliRunner().invoke

    shown = run(app, ["champion", "show"])
    assert shown.exit_code == 0 and three[1] in shown.stderr and "as the gate decides" in shown.stderr
    assert [json.loads(line)["model_digest"] for line in shown.stdout.splitlines()] == [three[0]]

    done = run(app, ["champion", "rollback", three[0][:8], *signed])
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == three[0] and "rolled back by Ann: users complain" in done.stderr
    assert gate.shown()["digest"] == three[0]

    refused = run(app, ["champion", "rollback", "0123456789", *signed])
    assert refused.exit_code == 1 and "no former champion begins with '0123456789'" in refused.stderr
    assert run(app, ["champion", "rollback", "base"]).exit_code == 2  # nobody signed


def test_a_terminal_told_of_no_decision_says_so(gate, tmp_path, monkeypatch):
    monkeypatch.setenv("ECHO_CONFIG", str(tmp_path / "pipeline.yaml"))
    shown = CliRunner().invoke(app, ["champion", "show"])
    assert shown.exit_code == 1 and "the base model serves" in shown.stderr
