"""The two real logs, whole. Both are absent from most machines."""

import polars as pl
import pytest

from echo_dagster import files
from echo_dagster.acquisition import landing
from echo_dagster.extraction.gaps import extract_frame
from echo_dagster.extraction.policies import PRESETS
from echo_dagster.extraction.schema import ACCEPTED_OUTCOMES


@pytest.fixture(scope="module")
def recording(shared_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("recording") / "events.parquet"
    path = shared_data / "recordings" / "vscode-ts-customized.recording.w.json"
    landing.import_files("vscode_recording", [path], out, consent=True, data_dir=out.parent)
    return pl.read_parquet(out)


@pytest.mark.parametrize("policy", PRESETS.values(), ids=lambda policy: policy.name)
def test_the_recording_never_contradicts_the_edits_that_were_followed(recording, policy):
    gaps = extract_frame(recording, policy)
    assert gaps.height == 1_144
    assert "anchor_lost" not in gaps["break_reason"]
    assert (gaps["tracking"] == "edits").all()


def test_accepted_text_of_the_recording_is_found_whole(recording):
    taken = extract_frame(recording, PRESETS["echo"]).filter(pl.col("outcome").is_in(ACCEPTED_OUTCOMES))
    assert taken.height == 86  # of 87: one was taken after the user had gone on elsewhere
    assert (taken["retained_0s"] == taken["accepted_chars"]).all()
    untouched = taken.filter(pl.col("outcome") == "accepted", pl.col("proposal") != "")
    assert (untouched["kept_rate"] == 1.0).all()


def test_the_study_without_edits_is_followed_by_its_requests(shared_data):
    read = files.read_events(str(shared_data / "cups" / "events.ndjson.gz"))
    gaps = extract_frame(read.events, PRESETS["echo"])
    assert gaps.height == 657
    assert (gaps["tracking"] == "snapshots").all()
    assert gaps.filter(pl.col("outcome").is_in(ACCEPTED_OUTCOMES)).height == 224
    seen = gaps.filter(~pl.col("censored"))
    assert seen.height > 280  # the others' users were last seen writing in the gap
    assert seen.filter(pl.col("final") != pl.col("replaced")).height > 210
