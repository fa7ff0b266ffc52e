"""The collector over HTTP, on a real socket: what it takes, what it refuses, and what then stands in the tables."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from test_landing import configured
from test_native import line, ndjson
from typer.testing import CliRunner

from echo_dagster.acquisition import collector_files, landing
from echo_dagster.acquisition.collector import Limits, application
from echo_dagster.acquisition.collector_limits import tokens
from echo_dagster.cli import app as command_line
from echo_dagster.lake import Lake
from echo_dagster.settings import Source

ONE, TWO = "0123456789abcdef", "fedcba9876543210"
NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)  # the day of `line`
FREE = Limits(rate=1e9, total_rate=1e9)


def pseudonym(user: str) -> str:
    return user if user.startswith("u_") else f"u_{user:0>16}"


@contextmanager
def serving(folder: Path, limits: Limits = FREE, now: Any = lambda: NOW, **days: Any) -> Iterator[int]:
    """Serve on a free port and yield it."""
    app = application(
        folder,
        tokens(f"kim:{ONE} {TWO}"),
        pseudonym,
        limits=limits,
        now=now,
        **{"first": date(2026, 1, 1), **days},
    )
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="on", log_level="critical"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with serving(tmp_path / "landing") as found:
        yield found


def send(
    port: int,
    body: Any,
    *,
    path: str = "/events",
    token: str | None = ONE,
    method: str = "POST",
    **headers: str,
) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Return the status, the answer and its headers; `content_type` stands for Content-Type."""
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    told = {name.replace("_", "-").title(): value for name, value in headers.items()}
    if token is not None:
        told["Authorization"] = f"Bearer {token}"
    try:
        connection.request(method, path, body, told)
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    is_json = answer.headers.get_content_type() == "application/json"
    return (
        answer.status,
        json.loads(content) if is_json else {},
        {k.lower(): v for k, v in answer.getheaders()},
    )


def stored(tmp_path: Path) -> list[dict[str, Any]]:
    return [
        json.loads(item)
        for file in sorted((tmp_path / "landing").glob("*.ndjson"))
        for item in file.read_bytes().splitlines()
    ]


def ids(tmp_path: Path) -> list[str]:
    return [item["event_id"] for item in stored(tmp_path) if item["kind"] != "refused"]


def test_what_is_acknowledged_is_in_the_tables_and_what_is_refused_in_quarantine(tmp_path, port, monkeypatch):
    monkeypatch.setattr("echo_dagster.acquisition.landing.pseudonymiser", lambda _: pseudonym)
    body = ndjson(line(1), b"{SECRET\n", line(2, ts="2026-01-04T23:00:00Z"), line(1), line(3, text=None))
    status, answer, _ = send(port, body)
    assert status == 200
    assert answer["accepted"] == 3 and answer["ignored"] == 0
    assert [(bad["line"], bad["reason"]) for bad in answer["refused"]] == [
        (2, "malformed_json"),
        (5, "missing_field"),
    ]
    assert "SECRET" not in json.dumps(answer)

    source = Source(
        name="posted", importer="native", path=f"{tmp_path}/landing/{{day}}*.ndjson", consent=False
    )
    settings = configured(tmp_path, source)
    lake = Lake(settings.lake_dir)
    done = landing.ingest(settings, lake, [date(2026, 1, 4), date(2026, 1, 5)])
    assert [(day.lines, day.events, day.duplicates) for day in done.days] == [(1, 1, 0), (4, 1, 1)]
    assert done.days[1].quarantined == {"malformed_json": 1, "missing_field": 1}
    raw = lake.read(landing.RAW).collect()
    assert raw.select("event_id", "user_id", "source", "consent").sort("event_id").rows() == [
        ("e1", pseudonym("alex"), "posted", False),
        ("e2", pseudonym("alex"), "posted", False),
    ]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (ndjson(line(1), line(2)), {}),
        (json.dumps([line(1), line(2)]), {"content_type": "application/json; charset=utf-8"}),
        (gzip.compress(ndjson(line(1), line(2))), {"content_encoding": "gzip"}),
        (
            gzip.compress(ndjson(line(1))) + gzip.compress(b"") + gzip.compress(ndjson(line(2))),
            {"content_encoding": "gzip"},
        ),
        (iter([ndjson(line(1))[:20], ndjson(line(1))[20:], ndjson(line(2))]), {}),  # chunked
    ],
)
def test_forms_of_a_body(tmp_path, port, body, headers):
    assert send(port, body, **headers)[:2] == (200, {"accepted": 2, "ignored": 0, "refused": []})
    assert ids(tmp_path) == ["e1", "e2"]


def test_a_request_of_which_every_object_is_refused_is_no_success(tmp_path, port):
    status, answer, _ = send(port, b"7\n[]\n")
    assert (status, [bad["line"] for bad in answer["refused"]]) == (422, [1, 2])
    assert [item["kind"] for item in stored(tmp_path)] == ["refused", "refused"]
    assert send(port, b"")[:2] == (200, {"accepted": 0, "ignored": 0, "refused": []})


def test_a_personal_token_says_whose_event_it_is(tmp_path, port):
    assert send(port, ndjson(line(1, user_id=None)))[0] == 200
    status, answer, _ = send(port, ndjson(line(2, user_id=None)), token=TWO)
    assert (status, answer["refused"][0]["detail"]) == (422, "user_id")
    assert [item.get("user_id") for item in stored(tmp_path)] == [pseudonym("kim"), None]


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """A collector for bodies of 100,000 bytes at the most."""
    folder = tmp_path_factory.mktemp("narrow")
    with serving(folder / "landing", Limits(100_000, 1e9, 1e9)) as found:
        yield folder, found


@pytest.mark.parametrize("token", [None, "", "wrong", ONE.upper(), f"kim:{ONE}"])
def test_without_a_known_token_nothing_is_taken(narrow, token):
    folder, port = narrow
    before = len(stored(folder))
    status, answer, headers = send(port, ndjson(line(1)), token=token)
    assert (status, answer["reason"], headers["www-authenticate"]) == (401, "unknown_token", "Bearer")
    assert len(stored(folder)) == before


@pytest.mark.parametrize(
    ("body", "headers", "status", "reason"),
    [
        (b"x" * 200_000, {}, 413, "body_too_large"),  # by its length
        (iter([b"x" * 60_000] * 3), {}, 413, "body_too_large"),  # chunked
        (gzip.compress(b"\n" * 100_001), {"content_encoding": "gzip"}, 413, "body_too_large"),
        (gzip.compress(b"\n" * 50_000) * 2 + gzip.compress(b"\n"), {"content_encoding": "gzip"}, 413, "body_too_large"),
        (gzip.compress(bytes(80_000_000)), {"content_encoding": "gzip"}, 413, "body_too_large"),  # a bomb
        (b"\n" * 10_001, {}, 413, "too_many_events"),
        (b"{}", {"content_encoding": "br"}, 415, "unknown_encoding"),
        (b"{}", {"content_encoding": "gzip"}, 400, "damaged_body"),
        (gzip.compress(ndjson(line(1)))[:-4], {"content_encoding": "gzip"}, 400, "damaged_body"),
        (gzip.compress(ndjson(line(1))) + b"junk", {"content_encoding": "gzip"}, 400, "damaged_body"),
        (b"{", {"content_type": "application/json"}, 400, "malformed_json"),
        (b'["\xff"]', {"content_type": "application/json"}, 400, "bad_encoding"),
    ],
)  # fmt: skip
def test_a_request_that_is_refused_whole(narrow, body, headers, status, reason):
    folder, port = narrow
    before = len(stored(folder))
    found, answer, _ = send(port, body, **headers)
    assert (found, answer["reason"]) == (status, reason)
    assert len(stored(folder)) == before
    assert send(port, ndjson(line(1)))[0] == 200
    assert len(stored(folder)) == before + 1


def test_a_body_of_exactly_the_limit_is_taken(tmp_path):
    body = ndjson(line(1))
    with serving(tmp_path / "landing", Limits(len(body), 1e9, 1e9)) as port:
        assert send(port, body)[0] == 200
        assert send(port, gzip.compress(body), content_encoding="gzip")[0] in (200, 413)
        assert send(port, body + b" ")[0] == 413


def test_too_many_events_with_one_token_are_put_off_and_other_tokens_go_on(tmp_path):
    with serving(tmp_path / "landing", Limits(rate=0.5, total_rate=1e9)) as port:
        assert send(port, ndjson(*map(line, range(20))))[0] == 200  # five are free, the rest is paid for
        status, answer, headers = send(port, ndjson(line(20)))
        assert (status, answer["reason"]) == (429, "too_fast")
        assert 29 <= int(headers["retry-after"]) <= 32  # 15 owed and one more, two seconds each
        assert send(port, ndjson(line(21)), token=TWO)[0] == 200
    assert len(ids(tmp_path)) == 21


def test_too_many_events_in_all_are_put_off(tmp_path):
    with serving(tmp_path / "landing", Limits(rate=1e9, total_rate=0.2)) as port:
        assert [send(port, b"", token=token)[0] for token in (ONE, TWO, ONE)] == [200, 200, 429]


def test_a_refused_request_costs_too(tmp_path):
    with serving(tmp_path / "landing", Limits(rate=0.2, total_rate=1e9)) as port:
        wrong = {"content_type": "application/json"}
        assert [send(port, b"{", **wrong)[0] for _ in range(3)] == [400, 400, 429]


def test_a_slow_client_is_cut_off_and_holds_nobody_up(tmp_path):
    with (
        serving(tmp_path / "landing", Limits(body_s=0.5)) as port,
        socket.create_connection(("127.0.0.1", port), timeout=10) as slow,
    ):
        head = (
            f"POST /events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {ONE}\r\nContent-Length: 100\r\n\r\n"
        )
        slow.sendall(head.encode() + b'{"event_id"')
        assert send(port, ndjson(line(1)))[0] == 200
        answer = b""
        while piece := slow.recv(4096):
            answer += piece  # until the other side closes
        assert answer.startswith(b"HTTP/1.1 408") and b"too_slow" in answer
    assert ids(tmp_path) == ["e1"]


def test_a_client_that_leaves_in_the_middle_leaves_nothing(tmp_path, port):
    with socket.create_connection(("127.0.0.1", port)) as leaving:
        head = (
            f"POST /events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {ONE}\r\nContent-Length: 1000\r\n\r\n"
        )
        leaving.sendall(head.encode() + ndjson(line(1)))
    assert send(port, ndjson(line(2)))[0] == 200
    assert ids(tmp_path) == ["e2"]


def test_bodies_in_memory_are_bounded_and_given_back(tmp_path):
    with serving(tmp_path / "landing", Limits(1_000, 1e9, 1e9)) as port:
        head = (
            f"POST /events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {ONE}\r\nContent-Length: 1000\r\n\r\n"
        )
        holding = [socket.create_connection(("127.0.0.1", port)) for _ in range(4)]
        for one in holding:
            one.sendall(head.encode() + b" " * 999)
        until = time.monotonic() + 10
        while (found := send(port, ndjson(line(1))))[0] == 200 and time.monotonic() < until:
            time.sleep(0.01)  # the four are still being read
        assert (found[0], found[1]["reason"], found[2]["retry-after"]) == (503, "busy", "1")
        for one in holding:
            one.close()
        while (found := send(port, ndjson(line(2))))[0] == 503 and time.monotonic() < until:
            time.sleep(0.01)
        assert found[0] == 200


def test_events_are_parted_at_utc_midnight_and_days_out_of_reach_are_refused(tmp_path):
    clock = [datetime(2026, 1, 5, 23, 59, 59, tzinfo=UTC)]
    times = (
        "2026-01-05T23:59:59.999999Z",
        "2026-01-06T00:00:00Z",
        "2026-01-06T01:30:00+02:00",
        "2026-01-07T00:00:00Z",
    )
    body = ndjson(*(line(n, ts=ts) for n, ts in enumerate(times)))
    with serving(tmp_path / "landing", now=lambda: clock[0], last=date(2026, 1, 8)) as port:
        assert [bad["line"] for bad in send(port, body)[1]["refused"]] == [4]
        clock[0] = datetime(2026, 1, 6, 0, 0, 0, tzinfo=UTC)
        assert send(port, body)[1]["refused"] == []
        clock[0] = datetime(2026, 1, 9, tzinfo=UTC)  # the pipeline ends on the eighth
        assert (
            send(port, ndjson(line(5, ts="2026-01-09T00:00:00Z")))[1]["refused"][0]["reason"] == "wrong_day"
        )
        clock[0] = datetime(2026, 1, 13, tzinfo=UTC)
        assert [bad["line"] for bad in send(port, body)[1]["refused"]] == [1, 3]  # over seven days late
    days = [
        (file.name[:10], file.read_bytes().count(b'"event_id"'))
        for file in sorted((tmp_path / "landing").iterdir())
    ]
    assert {day: count for day, count in days if count} == {"2026-01-05": 4, "2026-01-06": 3, "2026-01-07": 2}


def test_a_day_before_the_pipeline_begins_is_refused(tmp_path):
    with serving(tmp_path / "landing", first=date(2026, 1, 5)) as port:
        status, answer, _ = send(port, ndjson(line(1, ts="2026-01-04T23:59:59Z")))
    assert (status, answer["refused"][0]["reason"]) == (422, "wrong_day")


def test_a_full_disk_is_not_acknowledged_and_health_says_so(tmp_path, port, monkeypatch):
    def full(handle, data):
        raise OSError(28, "No space left on device")

    assert send(port, None, path="/healthz", method="GET", token=None)[:2] == (200, {"status": "ok"})
    with monkeypatch.context() as patch:
        patch.setattr(collector_files.os, "write", full)
        status, answer, headers = send(port, ndjson(line(1)))
        assert (status, answer["reason"], headers["retry-after"]) == (503, "not_stored", "5")
        assert send(port, None, path="/healthz", method="GET", token=None)[0] == 503
    assert send(port, None, path="/healthz", method="GET", token=None)[0] == 200
    assert send(port, ndjson(line(2)))[0] == 200
    assert ids(tmp_path) == ["e2"]


def test_many_clients_at_once_lose_nothing(tmp_path, port):
    def client(number: int) -> list[str]:
        sent = []
        for batch in range(10):
            events = [line(0, event_id=f"{number}-{batch}-{i}", text="x" * 500) for i in range(20)]
            status, answer, _ = send(port, ndjson(*events))
            assert (status, answer["accepted"]) == (200, 20)
            sent += [event["event_id"] for event in events]
        return sent

    with ThreadPoolExecutor(8) as pool:
        sent = [name for names in pool.map(client, range(8)) for name in names]
    assert sorted(ids(tmp_path)) == sorted(sent)


def test_requests_that_run_are_finished_when_it_is_told_to_stop(tmp_path, monkeypatch):
    append = collector_files.Folder.append
    entered = threading.Event()

    def slowly(self, lines):
        entered.set()
        time.sleep(0.3)
        append(self, lines)

    monkeypatch.setattr(collector_files.Folder, "append", slowly)
    with ThreadPoolExecutor(1) as pool:
        with serving(tmp_path / "landing") as port:
            answer = pool.submit(send, port, ndjson(line(1)))
            assert entered.wait(10)
        assert answer.result()[0] == 200
    assert ids(tmp_path) == ["e1"]


def post_of_continue(name: str = "autocomplete", level: str = "all", **changes: Any) -> bytes:
    """A post as Continue's core/data/log.ts makes it, with private matter in every place that may hold some."""
    data = {
        "eventName": name,
        "schema": "0.2.0",
        "timestamp": "2026-01-05T08:00:00.000Z",
        "userId": "",
        "userAgent": "Visual Studio Code/1.96.0 (Continue/1.0.0) SECRET",
        "selectedProfileId": "SECRET",
        "disable": False,
        "accepted": True,
        "time": 300,
        "prefix": "import os\n\nprint(",
        "suffix": ")\n",
        "prompt": "<fim_prefix>SECRET clipboard<fim_suffix>",
        "completion": "os.getcwd()",
        "modelProvider": "ollama",
        "modelName": "qwen2.5-coder",
        "cacheHit": False,
        "filepath": "file:///home/SECRET/work/a.py",
        "gitRepo": "git@SECRET.example.com:SECRET/app.git",
        "completionId": "c1",
        "uniqueId": "SECRET",
        **changes,
    }
    if level == "noCode":
        data = {
            name: value
            for name, value in data.items()
            if name not in ("prefix", "suffix", "prompt", "completion")
        }
    return json.dumps(
        {"name": name, "data": data, "schema": "0.2.0", "level": level, "profileId": "SECRET"}
    ).encode()


def test_a_post_of_continue_is_reduced_to_events_before_it_is_written(tmp_path, port):
    as_json = {"path": "/continue", "content_type": "application/json"}
    assert send(port, post_of_continue(), **as_json)[:2] == (
        200,
        {"accepted": 2, "ignored": 0, "refused": []},
    )
    shown, accepted = stored(tmp_path)
    assert {
        name: shown[name] for name in ("kind", "prefix", "text", "suffix", "document", "model", "repository")
    } == {
        "kind": "shown",
        "prefix": "import os\n\nprint(",
        "text": "os.getcwd()",
        "suffix": ")\n",
        "document": "~/work/a.py",
        "model": "qwen2.5-coder",
        "repository": "app",
    }
    assert accepted["kind"] == "accepted"
    for event in (shown, accepted):
        assert (event["user_id"], event["source"], event["completion_id"]) == (
            pseudonym("kim"),
            "continue",
            "c1",
        )
    assert "SECRET" not in json.dumps([shown, accepted])
    assert send(port, post_of_continue(userId="alex"), token=TWO, **as_json)[0] == 200
    assert {event["user_id"] for event in stored(tmp_path)[2:]} == {pseudonym("alex")}


def test_posts_of_continue_without_code_are_refused_and_about_other_features_are_ignored(tmp_path, port):
    as_json = {"path": "/continue", "content_type": "application/json"}
    status, answer, _ = send(port, post_of_continue(level="noCode"), **as_json)
    assert (status, answer["refused"][0]["reason"]) == (422, "missing_field")
    chat = post_of_continue("chatInteraction", prompt="SECRET")
    assert send(port, chat, **as_json)[:2] == (200, {"accepted": 0, "ignored": 1, "refused": []})
    assert [event["kind"] for event in stored(tmp_path)] == ["refused"]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/events", 405), ("POST", "/", 404)])
def test_other_paths_and_methods(narrow, method, path, status):
    assert send(narrow[1], None, method=method, path=path)[0] == status


@pytest.mark.parametrize(
    ("told", "landing_name", "message"),
    [("", "new", "ECHO_COLLECTOR_TOKENS"), ("short", "new", "number 1 is none"), (ONE, "file", "file")],
)
def test_what_cannot_work_is_told_at_the_start(tmp_path, monkeypatch, told, landing_name, message):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("ECHO_COLLECTOR_TOKENS", told)
    monkeypatch.setenv("ECHO_PSEUDONYM_KEY", "test")
    monkeypatch.delenv("ECHO_CONFIG", raising=False)
    found = CliRunner().invoke(command_line, ["collect", "--landing", str(tmp_path / landing_name)])
    assert found.exit_code == 1
    assert message in found.output and "Traceback" not in found.output
