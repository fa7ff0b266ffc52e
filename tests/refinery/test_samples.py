import os
from datetime import date, timedelta

import polars as pl
import pytest
from refinery_rows import DAY, PREFIX, SUFFIX, gaps, settings, tokenizer, tokens

from echo_dagster.lake import Lake, TableMissing, TableOutdated
from echo_dagster.refinery import samples
from echo_dagster.refinery.schema import REJECTED_SCHEMA, SAMPLE_SCHEMA
from echo_dagster.refinery.staging import LostRows

AWS = "AKIA" + "Q3EGRZ7TMWX2PLKD"


def refined(*changes, **sections):
    return samples.refine(gaps(*changes), tokenizer(), settings(**sections))


def test_a_sample_carries_what_the_gap_told():
    kept, rejected = refined(
        {"final": "return math.pi * radius**2\n\n\nx = 1", "accepted_chars": 3, "kept_rate": 0.25}
    )
    assert kept.schema == SAMPLE_SCHEMA and rejected.schema == REJECTED_SCHEMA and rejected.is_empty()
    row = kept.row(0, named=True)
    assert row["sample_id"] == "g0" and row["kept_rate"] == 0.25 and row["accepted_chars"] == 3
    assert row["middle"] == "return math.pi * radius**2" and row["scope"] == "line"
    assert row["prefix"] == PREFIX and row["suffix"] == SUFFIX
    for column in ("prefix", "suffix", "middle", "proposal"):
        assert row[f"{column}_tokens"] == tokens(row[column])


def test_the_context_is_cut_to_its_budget_from_line_to_line():
    lines = "".join(f"value_{index} = {index}\n" for index in range(100))
    kept, _ = refined(
        {"prefix": lines + PREFIX, "suffix": SUFFIX + lines},
        truncation={"prefix_tokens": 60, "suffix_tokens": 30},
    )
    row = kept.row(0, named=True)
    assert (lines + PREFIX).endswith("\n" + row["prefix"]) and row["prefix_tokens"] <= 60
    assert (
        (SUFFIX + lines).startswith(row["suffix"])
        and row["suffix"].endswith("\n")
        and row["suffix_tokens"] <= 30
    )


def test_an_unknown_suffix_stays_unknown_and_an_empty_one_empty():
    kept, _ = refined({"suffix": None}, {"suffix": "", "final": "return 2"})
    assert kept["suffix"].to_list() == [None, ""]
    assert kept["suffix_tokens"].to_list() == [0, 0]


def test_a_secret_of_the_context_is_masked_in_its_place():
    kept, _ = refined({"prefix": f"key = '{AWS}'\n{PREFIX}", "suffix": f"{SUFFIX}# jane.roe@corp.com\n"})
    row = kept.row(0, named=True)
    assert row["prefix"] == f"key = '<secret:aws_access_key>'\n{PREFIX}"
    assert row["suffix"] == f"{SUFFIX}# <secret:email>\n"
    assert row["prefix_tokens"] == tokens(row["prefix"])


def test_a_key_that_begins_before_the_context_is_masked_too():
    body = "".join(f"MIIEpAIBAAKCAQEA{index:048d}\n" for index in range(30))
    pem = f"K = '''-----BEGIN RSA {'PRIVATE'} KEY-----\n{body}-----END RSA {'PRIVATE'} KEY-----'''\n"
    kept, _ = refined(
        {"prefix": pem + PREFIX}, truncation={"prefix_tokens": 80}, quality={"max_encoded_chars": 9999}
    )
    assert kept["prefix"].item() == f"<secret:private_key>'''\n{PREFIX}"


def test_of_exact_duplicates_the_first_shown_stays():
    kept, rejected = refined(
        {"session_id": "b"}, {"session_id": "c"}, {"final": "return 2", "session_id": "d"}
    )
    assert kept["sample_id"].to_list() == ["g0", "g2"]
    assert rejected.select("sample_id", "reason", "value").rows() == [("g1", "duplicate", 2.0)]


def test_of_a_proposal_shown_at_every_keystroke_the_first_showing_stays():
    shown = [
        {"region_id": "r", "prefix": PREFIX + typed, "final": "return math.pi * radius"[len(typed) :]}
        for typed in ("", "re", "return m")
    ]
    kept, rejected = refined(*shown, {**shown[1], "region_id": "other", "final": "turn 2"})
    assert kept["sample_id"].to_list() == ["g0", "g3"]
    assert rejected.select("sample_id", "reason", "value").rows() == [
        ("g1", "reshown", 2.0),
        ("g2", "reshown", 3.0),
    ]


def test_of_a_proposal_shown_often_the_showing_that_the_user_decided_on_stays():
    shown = {"region_id": "r", "outcome": "superseded"}
    kept, rejected = refined(
        {**shown},
        {**shown, "prefix": PREFIX + "ret", "final": "urn math.pi * radius**2"},
        {**shown, "prefix": PREFIX + "return ", "final": "math.pi * radius**2", "outcome": "accepted"},
        {**shown, "prefix": PREFIX + "return ", "final": "math.pi * radius**2"},
    )
    assert kept.select("sample_id", "outcome").rows() == [("g2", "accepted")]
    assert rejected["reason"].to_list() == ["reshown", "reshown", "duplicate"]


def test_duplicates_are_looked_for_within_a_day():
    both = gaps({}, {}).with_columns(day=pl.Series([DAY, DAY + timedelta(days=1)]))
    kept, _ = samples.refine(both, tokenizer(), settings())
    assert len(kept) == 2


def test_two_gaps_of_one_id_are_a_defect():
    with pytest.raises(LostRows, match="not unique"):
        refined({"gap_id": "g", "final": "return 1"}, {"gap_id": "g", "final": "return 2"})


def test_days_are_refined_as_a_frame_is_and_twice_alike(tmp_path, monkeypatch):
    monkeypatch.setattr(samples, "_BATCH", 2)
    days = [DAY, DAY + timedelta(days=1), DAY + timedelta(days=2)]
    found = gaps({}, {}, {"final": ""}, {"final": "return 3"}, {"consent": False}, {"final": "return 5"})
    lake = Lake(tmp_path)
    lake.replace("gap_sessions", found.with_columns(day=pl.Series([DAY] * 5 + [days[2]])), days)
    told = []
    for _ in range(2):
        done = samples.refine_days(lake, days, tokenizer(), settings(), lambda *at: told.append(at))
        assert (done.kept, done.dropped) == (3, 3)
        assert done.balances() == [(days[0], 5, 5), (days[1], 0, 0), (days[2], 1, 1)]
        assert {row["reason"]: row["n"] for row in done.by_reason()} == {
            "duplicate": 1,
            "blank": 1,
            "no_consent": 1,
        }
    assert told[-1] == (6, 6)
    kept, rejected = samples.refine(found, tokenizer(), settings())
    written = lake.read("filtered_samples").sort("opened_at").collect()
    assert written.drop("day").equals(kept)
    assert written["day"].to_list() == [DAY, DAY, days[2]]
    dropped = lake.read("rejected_samples").sort("sample_id").collect()
    assert dropped.drop("day", "sample_day").equals(rejected.sort("sample_id").drop("sample_day"))
    assert dropped["sample_day"].to_list() == [DAY] * 3
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_the_whole_day_tells_is_the_same_in_whatever_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(samples, "_BATCH", 2)
    monkeypatch.setattr(samples, "_ACTS", 3)
    cleared = {"prefix": PREFIX + "return 0", "offset": len(PREFIX) + 8, "final": "\n    # so far"}
    untouched = [{"user_id": "bot", "outcome": "accepted", "typed_chars": 0} for _ in range(5)]
    found = gaps(cleared, *untouched, {"final": "return 0"}, {})
    lake = Lake(tmp_path)
    lake.replace("gap_sessions", found.with_columns(day=pl.lit(DAY)), [DAY])
    asked = settings(quality={"min_bot_proposals": 5})
    done = samples.refine_days(lake, [DAY], tokenizer(), asked)
    assert done.by_reason() == [{"reason": "bot_acceptance", "n": 5}, {"reason": "reversal", "n": 1}]
    dropped = lake.read("rejected_samples").sort("sample_id").collect()
    assert dropped["value"].to_list() == [1.0] * 5 + [360.0]
    assert samples.refine(found, tokenizer(), asked)[1].equals(dropped.drop("day"))


def test_a_lake_without_gaps_says_what_is_missing(tmp_path):
    with pytest.raises(TableMissing, match="gap_sessions"):
        samples.refine_days(Lake(tmp_path), [date(2026, 1, 1)], tokenizer(), settings())


def test_gaps_of_an_earlier_version_are_refused_and_it_is_said_what_to_do(tmp_path):
    lake = Lake(tmp_path)
    lake.replace("gap_sessions", gaps({}).drop("reshown_of", "cohort").with_columns(day=pl.lit(DAY)), [DAY])
    with pytest.raises(TableOutdated, match=r"without cohort, reshown_of .*materialize it again"):
        samples.refine_days(lake, [DAY], tokenizer(), settings())


def test_a_day_refined_in_several_processes_is_the_same(tmp_path, monkeypatch):
    found = gaps(*({"final": f"return {number} * radius"} for number in range(12)), {"final": " "})
    lake = Lake(tmp_path)
    lake.replace("gap_sessions", found.with_columns(day=pl.lit(DAY)), [DAY])
    in_this = samples.refine_days(lake, [DAY], tokenizer(), settings())
    tables = ("filtered_samples", "rejected_samples")
    before = [lake.read(table).sort("sample_id").collect() for table in tables]
    monkeypatch.setattr(samples, "_BATCH", 3)
    monkeypatch.setattr(samples, "_GAPS_WORTH_A_PROCESS", 6)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    in_several = samples.refine_days(lake, [DAY], tokenizer(), settings())
    assert (
        (in_several.kept, in_several.balances())
        == (in_this.kept, in_this.balances())
        == (12, [(DAY, 13, 13)])
    )
    for table, rows in zip(tables, before, strict=True):
        assert lake.read(table).sort("sample_id").collect().equals(rows)
