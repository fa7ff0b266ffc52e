"""A collector that is killed at any moment has lost nothing that it acknowledged, and harmed nothing that follows.

Fifteen kills; two hundred with ECHO_SLOW_TESTS=1. There are always several processes on the folder: the next ones start
while the old one still serves.
"""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest
from test_landing import BASE
from test_native import line, ndjson

from echo_dagster.acquisition import landing
from echo_dagster.lake import Lake
from echo_dagster.settings import Settings, Source

KILLS = 200 if os.environ.get("ECHO_SLOW_TESTS") == "1" else 15
CLIENTS = 4
TOKEN = "0123456789abcdef"

#: The command line, but that writing is slow: so a kill often comes in the middle of a line.
TEARING = """
import os, time
whole = os.write
os.write = lambda handle, data: time.sleep(0.00005) or whole(handle, data[:256])
from echo_dagster.cli import app
app()
"""


@dataclass
class Shared:
    """What the clients know: where to post, and what was acknowledged (event id to a hash of its text)."""

    port: int = 0
    is_over: bool = False
    sent: Counter[str] = field(default_factory=Counter)
    acknowledged: dict[str, str] = field(default_factory=dict)


def digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest()


def free_port() -> int:
    """Return a port that no client is given: one that calls before the collector listens could call itself there."""
    for port in random.sample(range(20_000, 30_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("no port is free")


def start(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    port = free_port()
    config = folder / "config.yaml"
    if not config.exists():  # another collector may be reading it
        config.write_text("start_day: 2020-01-01\n", encoding="utf-8")
    unlimited = ["--rate", 1e9, "--total-rate", 1e9]
    arguments = ["collect", "--landing", folder / "landing", "--port", port, "--config", config, *unlimited]
    with (folder / "collector.err").open("ab") as errors:  # told where a collector ends by itself
        process = subprocess.Popen(
            [sys.executable, "-c", TEARING, *map(str, arguments)],
            env={**os.environ, "ECHO_COLLECTOR_TOKENS": TOKEN, "ECHO_PSEUDONYM_KEY": "test"},
            stderr=errors,
        )
    return process, port


def wait_until_it_serves(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert process.poll() is None, (folder / "collector.err").read_text(encoding="utf-8")[-2000:]
        try:
            connection = HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.02)
        finally:
            connection.close()
    raise AssertionError("the collector does not serve")


def client(number: int, shared: Shared) -> None:
    """Post batches of random size, some of them large, to whichever collector serves, until it is over."""
    draw = random.Random(number)
    batch = 0
    connection, connected = None, 0
    while not shared.is_over:
        batch += 1
        repeats = [draw.choice((5, 20, 100)) for _ in range(draw.randint(1, 30))]
        repeats[0] = 20_000 if draw.random() < 0.1 else repeats[0]
        texts = {f"{number}-{batch}-{i}": "é😀x\n" * times for i, times in enumerate(repeats)}
        now = datetime.now(UTC)
        events = [
            line(0, event_id=name, text=text, ts=(now - timedelta(days=draw.choice((0, 0, 1)))).isoformat())
            for name, text in texts.items()
        ]
        try:
            if connection is None or connected != shared.port:
                connected = shared.port
                connection = HTTPConnection("127.0.0.1", connected, timeout=20)
            connection.request("POST", "/events", ndjson(*events), {"Authorization": f"Bearer {TOKEN}"})
            answer = connection.getresponse()
            content = json.loads(answer.read())
        except (OSError, HTTPException):  # killed: nothing is known of this batch
            shared.sent["unanswered"] += len(events)
            connection = None
            time.sleep(0.005)
            continue
        assert answer.status == 200 and content["accepted"] == len(events), content
        shared.acknowledged.update({name: digest(text) for name, text in texts.items()})
        time.sleep(0.02)


def test_what_was_acknowledged_before_a_kill_is_in_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ECHO_PSEUDONYM_KEY", "test")
    draw, shared = random.Random(7), Shared()
    errors: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", errors.append)
    first_day = datetime.now(UTC).date() - timedelta(days=1)
    clients = [threading.Thread(target=client, args=(number, shared)) for number in range(CLIENTS)]
    serving, *coming = (start(tmp_path) for _ in range(3))
    try:
        wait_until_it_serves(*serving, tmp_path)
        shared.port = serving[1]
        for one in clients:
            one.start()
        for _ in range(KILLS):
            following = coming[0]
            wait_until_it_serves(*following, tmp_path)
            time.sleep(draw.uniform(0, 0.1))
            serving[0].kill()
            serving[0].wait()
            serving, shared.port = following, following[1]
            coming = [*coming[1:], start(tmp_path)]
        time.sleep(0.2)
    finally:
        shared.is_over = True
        for one in clients:
            if one.ident is not None:
                one.join()
        for process, _ in (serving, *coming):
            process.kill()
            process.wait()
    assert not errors, errors[0].exc_value

    days = [first_day + timedelta(days=n) for n in range((datetime.now(UTC).date() - first_day).days + 1)]
    settings = Settings(
        data_dir=tmp_path / "data",
        start_day=first_day,
        base_model=BASE,
        sources=(
            Source(
                name="posted", importer="native", path=f"{tmp_path}/landing/{{day}}*.ndjson", consent=True
            ),
        ),
    )
    lake = Lake(settings.lake_dir)
    done = landing.ingest(settings, lake, days)
    assert [day.lines for day in done.days] == [day.accounted_for for day in done.days]
    raw = lake.read(landing.RAW).select("event_id", "text").collect()
    found = dict(raw.iter_rows())
    assert len(found) == raw.height
    assert len(shared.acknowledged) > 20 * KILLS
    lost = [
        name for name, text in shared.acknowledged.items() if name not in found or digest(found[name]) != text
    ]
    assert lost == []

    torn = lake.read(landing.QUARANTINED).collect()
    assert set(torn["reason"]) <= {"truncated_file", "bad_encoding"}
    files = {file.as_posix(): file.read_bytes() for file in (tmp_path / "landing").glob("*.ndjson")}
    assert len(files) <= 2 * (KILLS + 1) + 2  # a day each, and perhaps one more at midnight
    ends = {name for name, data in files.items() if not data.endswith(b"\n")}
    assert set(torn["file"]) <= ends and torn.height == torn["file"].n_unique()
    print(
        f"{KILLS} kills: {len(shared.acknowledged)} events acknowledged, {len(lost)} lost; {len(found)} found; "
        f"{shared.sent['unanswered']} without an answer; {torn.height} torn lines in {len(files)} files"
    )
