"""Days through the DAG: ranges, repeats, bad input, empty days."""

import json
from datetime import date, timedelta

import polars as pl
import pytest
from house import DATA, build_house
from logs import write_day

from echo_dagster.lake import Lake

FIRST = date(2022, 9, 5)
DAYS = [FIRST + timedelta(days=ahead) for ahead in range(3)]
TABLES = (*DATA, "quarantined_events", "rejected_samples")


def contents(lake: Lake) -> dict[str, pl.DataFrame]:
    """Every table whole, in an order that does not depend on files."""
    found = {}
    for table in TABLES:
        frame = lake.read(table).collect()
        found[table] = frame.sort(sorted(frame.columns), nulls_last=True)
    return found


def assert_same(left: dict[str, pl.DataFrame], right: dict[str, pl.DataFrame]) -> None:
    for table in TABLES:
        assert left[table].height == right[table].height, table
        assert left[table].equals(right[table]), table


@pytest.fixture(scope="module")
def range_house(tmp_path_factory, tiny_settings):
    house = build_house(tmp_path_factory.mktemp("range"), tiny_settings)
    for day in DAYS:
        write_day(house.landing, day)
    house.run(*DATA, first=DAYS[0], last=DAYS[-1])
    return house


def test_a_range_gives_the_same_rows_as_its_days_one_by_one(range_house, tmp_path, tiny_settings):
    single = build_house(tmp_path, tiny_settings)
    for day in DAYS:
        write_day(single.landing, day)
    for day in DAYS:
        single.run(*DATA, first=day)
    left, right = contents(range_house.lake), contents(single.lake)
    assert left["scored_samples"].height > 20
    assert_same(left, right)


def test_running_a_range_again_gives_the_same_rows(range_house):
    before = contents(range_house.lake)
    range_house.run(*DATA, first=DAYS[0], last=DAYS[-1])
    assert_same(before, contents(range_house.lake))


def told(result, asset: str) -> dict:
    """What the run says of an asset."""
    (made,) = (
        event for event in result.get_asset_materialization_events() if event.asset_key.path == [asset]
    )
    return made.materialization.metadata


def test_a_run_tells_what_the_balance_and_the_denoising_did_and_shows_nobodys_code(range_house):
    lake, day = range_house.lake, DAYS[-1] + timedelta(days=1)
    balanced = told(range_house.run("balanced_samples", first=DAYS[0]), "balanced_samples")
    assert balanced["mix_plot"].value.startswith("![plot](data:image/png;base64,")
    caps = {record.data["cap"]: record.data for record in balanced["caps"].records}
    samples = lake.read("filtered_samples", [DAYS[0]]).collect()
    assert caps["user"]["n"] == samples["user_id"].n_unique()
    assert caps["document"]["n"] == samples.select("user_id", "document").n_unique()

    denoised = told(range_house.run("training_set", first=day), "training_set")
    assert denoised["denoising_plot"].value.startswith("![plot](data:image/png;base64,")
    told_of = [record.data for record in denoised["denoising"].records]
    kept = lake.read("training_set", [day]).collect()
    assert sum(row["n_after"] for row in told_of) == kept.height > 0
    assert lake.read("denoising", [day]).select(pl.col("n_before").sum()).collect().item() == sum(
        row["n_before"] for row in told_of
    )
    assert denoised["just_in_and_out"].value.endswith(f"reports/{day}.html#denoising")
    range_house.run("report", first=day)
    page = (range_house.settings.data_dir / "reports" / f"{day}.html").read_text(encoding="utf-8")
    assert '<section id="denoising"' in page and "Just out" in page
    metadata = str({**balanced, **denoised})
    assert not [user for user in samples["user_id"].unique() if user in metadata]
    assert not [middle for middle in kept["middle"].unique() if middle.strip() in metadata]


def test_every_gap_is_a_sample_or_a_rejection_with_a_reason(range_house):
    lake = range_house.lake
    for day in DAYS:
        gaps = set(lake.read("gap_sessions", [day]).select("gap_id").collect().to_series())
        kept = set(lake.read("filtered_samples", [day]).select("sample_id").collect().to_series())
        dropped = lake.read("rejected_samples", [day]).filter(pl.col("stage") == "filter").collect()
        assert gaps == kept | set(dropped["sample_id"]) and not kept & set(dropped["sample_id"])
        assert dropped["reason"].null_count() == 0


def test_bad_lines_are_quarantined_and_the_rest_of_the_day_goes_on(house):
    shown = write_day(house.landing, FIRST, users=2)
    file = house.landing / f"{FIRST}.ndjson"
    good = file.read_text(encoding="utf-8").splitlines()
    stream = {"ts": f"{FIRST}T09:00:00Z", "user_id": "u", "session_id": "s", "document": "d"}
    bad = [
        '{"event_id": "x", "kind": ',
        json.dumps({**stream, "event_id": "y", "kind": "guessed"}),
        json.dumps(
            {**stream, "event_id": "z", "kind": "edited", "offset": "three", "length": 0, "text": "a"}
        ),
        json.dumps(
            {
                **stream,
                "event_id": "w",
                "kind": "shown",
                "completion_id": "c",
                "offset": 2,
                "text": "a",
                "prefix": "longer",
            }
        ),
    ]
    delivered_twice, torn = good[-1], good[5][:40]  # the writer died in the middle of a line
    file.write_text("\n".join([good[0], *bad, *good[1:], delivered_twice, torn]), encoding="utf-8")
    (house.landing / f"{FIRST}.empty.ndjson").touch()
    house.run("raw_events", "gap_sessions", first=FIRST)
    bad = house.lake.read("quarantined_events", [FIRST]).sort("line").collect()
    assert bad.select("line", "reason").rows() == [
        (2, "malformed_json"),
        (3, "unknown_kind"),
        (4, "wrong_type"),
        (5, "impossible_offset"),
        (len(good) + 6, bad["reason"][-1]),
    ]
    assert bad["reason"][-1] in {"truncated_file", "malformed_json"}
    assert all(str(FIRST) in name for name in bad["file"])
    assert house.lake.read("raw_events", [FIRST]).collect().height == len(good)
    assert house.lake.read("gap_sessions", [FIRST]).collect().height == shown


def test_a_day_without_files_is_an_empty_day_everywhere(house):
    house.run(*DATA, first=FIRST)
    for table in DATA:
        assert house.lake.read(table).collect().height == 0, table
