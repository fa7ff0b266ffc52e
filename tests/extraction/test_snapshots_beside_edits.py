"""Snapshot tracking held against exact tracking: the figures of `benchmarks/snapshots.py`, on less, with floors."""

import asyncio
from pathlib import Path

import polars as pl
import pytest
from small_log import Log

from benchmarks import snapshots
from echo_dagster.acquisition import landing
from echo_dagster.extraction.policies import PRESETS

ECHO = PRESETS["echo"]


@pytest.fixture(scope="module")
def simulated():
    return snapshots.simulated(Path(asyncio.__file__).parent, users=2, days=1, gaps_per_user_day=60)


@pytest.fixture(scope="module")
def recorded(shared_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("recorded") / "events.parquet"
    path = shared_data / "recordings" / "vscode-ts-customized.recording.w.json"
    landing.import_files("vscode_recording", [path], out, consent=True, data_dir=out.parent)
    return pl.read_parquet(out)


def shares(log, cut):
    """Found again of those a request shows; the same C_N of those, where a request shows it; and where it is sure."""
    counts = snapshots.figures(snapshots.compare(log, ECHO, cut))
    return (
        counts["found"] / counts["shown_again"],
        counts["final_found_same"] / counts["final_found"],
        counts["uncensored_same"] / counts["uncensored"],
    )


@pytest.mark.parametrize("cut", [None, snapshots.CUT])
def test_gaps_of_simulated_days_are_found_again_with_the_same_text(simulated, cut):
    found, same, sure = shares(simulated, cut)
    assert found >= 0.98
    assert same >= 0.95
    assert sure >= 0.95


@pytest.mark.parametrize("cut", [None, snapshots.CUT])
def test_gaps_of_the_recording_are_found_again_with_the_same_text(recorded, cut):
    found, same, sure = shares(recorded, cut)
    assert found >= 0.98
    assert same >= 0.87
    assert sure >= 0.80


def test_what_is_counted():
    """The second gap loses the line it stood behind, the text of the third is not shown, and the fourth never is."""
    log = Log("def alpha(first, second):\n    x = \n    return x\n")
    log.add(0, "snapshot", prefix="", suffix=log.document)
    log.shown(1, 34, "first").edited(2, 34, 0, "second").edited(3, 0, 0, "# one\n").shown(4, 6, "", name="c2")
    log.edited(5, 0, 6, "").shown(6, 40, "()", name="c3").edited(7, 40, 0, "[").shown(8, 41, "", name="c4")
    log.edited(9, 41, 0, "]")
    rows = {row["completion_id"]: row for row in snapshots.compare(log.frame(), ECHO).iter_rows(named=True)}
    told = {name: (row["is_shown_again"], row["is_final_shown"]) for name, row in rows.items()}
    assert told == {"c1": (True, True), "c2": (False, False), "c3": (True, False), "c4": (False, False)}
    assert [rows[name]["is_found"] for name in rows] == [True, True, True, False]
    assert [rows[name]["final_seen"] for name in ("c1", "c3")] == ["second", "["]
    assert (rows["c1"]["is_same"], rows["c3"]["is_same"], rows["c3"]["final"]) == (True, False, "[]")
    counts = snapshots.figures(snapshots.compare(log.frame(), ECHO))
    assert (counts["proposals"], counts["shown_again"], counts["found"], counts["found_same"]) == (4, 2, 2, 1)
