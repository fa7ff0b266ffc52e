"""A process killed with SIGKILL while it materializes leaves every day of every table old or new, and nothing for ever.

Eight kills; two hundred with ECHO_SLOW_TESTS=1. `pytest -s` shows when they hit.
"""

import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import psutil
import pytest
from logs import write_day
from materializing import materialize, settings

from echo_dagster.governance.retention import retain
from echo_dagster.lake import Lake

KILLS = 200 if os.environ.get("ECHO_SLOW_TESTS") == "1" else 8
SEED = 17
DAYS = [date(2022, 9, 5) + timedelta(days=ahead) for ahead in range(3)]
TABLES = ("raw_events", "quarantined_events", "gap_sessions")  # in the order in which they are committed

Contents = dict[str, dict[date, pl.DataFrame]]


def contents(lake: Lake) -> Contents:
    """Every day of every table, in an order that does not depend on files."""
    found: Contents = {}
    for table in TABLES:
        whole = lake.read(table).collect()
        in_order = whole.sort(whole.columns, nulls_last=True)
        found[table] = {day: in_order.filter(pl.col("day") == day) for day in DAYS}
    return found


def state(lake: Lake, old: Contents, new: Contents) -> tuple[str, ...]:
    """Say of each table whether its days are old or new. A mix is neither."""
    states = []
    for table, days in contents(lake).items():
        by_day = {
            name
            for name, known in (("old", old[table]), ("new", new[table]))
            if all(days[day].equals(known[day]) for day in DAYS)
        }
        assert len(by_day) == 1, f"{table} is neither what it was nor what it should become"
        states.append(by_day.pop())
    return tuple(states)


def unnamed(lake: Lake) -> set[Path]:
    """The files below the tables that no commit names, read off the logs."""
    found = set()
    for table in TABLES:
        home = lake.path(table)
        named = set()
        for commit in (home / "_delta_log").glob("*.json"):
            for action in map(json.loads, commit.read_text(encoding="utf-8").splitlines()):
                named |= {home / action[kind]["path"] for kind in ("add", "remove") if kind in action}
        found |= {file for file in home.glob("day=*/*") if file not in named}
        found |= set((home / "_delta_log").glob("*.tmp"))
    return found


def scratch(data_dir: Path) -> list[Path]:
    return [*data_dir.glob("landing-*"), *data_dir.glob("spill/gaps-*")]


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


@pytest.fixture
def processes():
    """Where processes come from that begin at once: a server that has imported all and used nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "echo_dagster.acquisition.landing",
            "echo_dagster.acquisition.ndjson",
            "echo_dagster.extraction.days",
        ]
    )
    return context


def test_every_table_is_old_or_new_and_the_next_run_mends_it(tmp_path, processes):
    configured = settings(tmp_path, DAYS[0])
    lake = Lake(configured.lake_dir)
    versions: list[Contents] = []
    for name, users in (("a", 2), ("b", 3)):  # what landed first, and what lands instead
        land(tmp_path, name, users)
        materialize(configured, DAYS)
        versions.append(contents(lake))
    with pytest.raises(AssertionError, match="neither"):
        state(lake, versions[0], versions[0])
    one_run = size(configured.lake_dir)

    choose = random.Random(SEED)
    takes_s = seconds(processes, configured)
    hits: Counter[tuple[str, ...]] = Counter()
    torn = left_scratch = 0
    for n in range(KILLS):
        old, new = versions[(n + 1) % 2], versions[n % 2]
        copy(tmp_path, "ab"[n % 2])
        before = unnamed(lake)
        process = processes.Process(target=materialize, args=(configured, DAYS))
        process.start()
        if n % 2:
            time.sleep(choose.uniform(0, 1.2 * takes_s))
        else:  # about the time when it writes and commits
            wait_for_a_file(lake, choose.choice(TABLES), process)
            time.sleep(choose.uniform(0, 0.03))
        process.kill()
        process.join()
        hits[state(lake, old, new)] += 1
        torn += bool(unnamed(lake) - before)
        left_scratch += bool(scratch(configured.data_dir))
        materialize(configured, DAYS)
        assert state(lake, old, new) == ("new",) * len(TABLES)
        assert scratch(configured.data_dir) == []

    orphans, before_bytes = unnamed(lake), size(configured.lake_dir)
    for file in orphans:
        os.utime(file, (0, 0))  # as if it had been left long ago
    retain(lake, configured, datetime.now(UTC))
    assert unnamed(lake) == set()
    for table in TABLES:
        lake.vacuum(table, timedelta(0))
        active = {Path(file) for file in lake._open(table).file_uris()}
        assert set(lake.path(table).glob("day=*/*")) == active
    assert state(lake, versions[KILLS % 2], versions[(KILLS + 1) % 2]) == ("new",) * len(TABLES)
    print(
        f"\n{KILLS} kills, a run takes {takes_s:.2f} s\n"
        + "".join(
            f"  {' '.join(map('='.join, zip(TABLES, states, strict=True)))}: {n}\n"
            for states, n in hits.items()
        )
        + f"  a file left that no commit names: {torn}; a scratch folder left: {left_scratch}\n"
        f"  tables: {one_run} bytes after two runs, {before_bytes} after all, "
        f"{size(configured.lake_dir)} after retention; {len(orphans)} files of killed writers removed"
    )


WAITING = """
import multiprocessing, time
from concurrent.futures import ProcessPoolExecutor
from echo_dagster.workers import end_with_parent

if __name__ == "__main__":
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh, initializer=end_with_parent) as pool:
        pool.submit(time.sleep, 0).result()
        print("at work", flush=True)
        pool.submit(time.sleep, 60).result()
"""


def test_the_processes_of_a_pool_end_with_the_one_that_began_them(tmp_path):
    program = tmp_path / "waiting.py"
    program.write_text(WAITING, encoding="utf-8")
    parent = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE)
    assert parent.stdout.readline() == b"at work\n"
    workers = psutil.Process(parent.pid).children(recursive=True)
    assert workers
    parent.kill()
    parent.wait()
    parent.stdout.close()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert alive == []


def land(root: Path, name: str, users: int) -> None:
    """Write what lands, and let it land."""
    folder = root / name
    folder.mkdir()
    for day in DAYS:
        write_day(folder, day, users=users, gaps=3 + users)
        with (folder / f"{day}.ndjson").open("a", encoding="utf-8") as file:
            file.write("not an event\n" * users)
    copy(root, name)


def wait_for_a_file(lake: Lake, table: str, process) -> None:
    """Wait until a process begins to write a table."""
    before = set(lake.path(table).glob("*/*"))
    while process.is_alive() and set(lake.path(table).glob("*/*")) == before:
        time.sleep(0.001)


def copy(root: Path, name: str) -> None:
    shutil.copytree(root / name, root / "landing", dirs_exist_ok=True)


def seconds(processes, configured) -> float:
    """How long a process takes that is not killed."""
    process = processes.Process(target=materialize, args=(configured, DAYS))
    process.start()  # the first one starts the server
    process.join()
    assert process.exitcode == 0
    start = time.monotonic()
    process = processes.Process(target=materialize, args=(configured, DAYS))
    process.start()
    process.join()
    assert process.exitcode == 0
    return time.monotonic() - start
