from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from refinery_rows import DAY, samples, settings

from echo_dagster.lake import Lake, TableMissing
from echo_dagster.refinery import balance, strata
from echo_dagster.refinery.schema import BALANCED_SCHEMA, REJECTED_SCHEMA
from echo_dagster.refinery.staging import LostRows
from echo_dagster.settings import Balance


def counts(decided):
    """Return (samples in, samples kept) per stratum."""
    return {row["stratum"]: (row["n_before"], row["n_after"]) for row in balance.mix(decided).to_dicts()}


def by_reason(decided):
    return dict(decided.drop_nulls("reason").group_by("reason").len().iter_rows())


def spread(n, **change):
    """n samples of n users in n documents, so that no cap decides."""
    return [dict(change) for _ in range(n)]


@pytest.mark.parametrize(
    ("tokens", "bucket"), [(1, "1-8"), (8, "1-8"), (9, "9-24"), (64, "25-64"), (65, ">64")]
)
def test_length_buckets(tokens, bucket):
    frame = samples({"middle_tokens": tokens}).select(strata.stratum(), scored=strata.scored_stratum())
    assert frame.row(0) == (f"python/{bucket}/accepted", f"python/{bucket}")


def test_shares_are_tempered_and_renormalised():
    frame = samples(*spread(900), *spread(100, language="go"))
    decided = balance.decide(frame, Balance(temperature=0.7))
    # 900 ** 0.7 = 116.96 and 100 ** 0.7 = 25.12: 823.2 and 176.8 of 1000, of which there are 900 and 100.
    assert counts(decided) == {"python/9-24/accepted": (900, 824), "go/9-24/accepted": (100, 100)}
    assert by_reason(decided) == {"over_stratum_share": 76}
    assert decided.filter(pl.col("reason").is_not_null())["value"].min() == 825


def test_temperature_one_keeps_the_mix_and_zero_gives_equal_shares():
    frame = samples(*spread(90), *spread(30, language="go"))
    assert by_reason(balance.decide(frame, Balance(temperature=1))) == {}
    flat = balance.decide(frame, Balance(temperature=0, max_samples=40))
    assert counts(flat) == {"python/9-24/accepted": (90, 20), "go/9-24/accepted": (30, 20)}


def test_a_small_stratum_is_kept_whole_though_the_day_is_cut_short():
    frame = samples(*spread(500), *spread(6, outcome="typed_through"))
    decided = balance.decide(frame, Balance(max_samples=50, min_stratum=8))
    assert counts(decided)["python/9-24/typed_through"] == (6, 6)
    assert counts(decided)["python/9-24/accepted"][1] <= 50


def test_one_of_many_users_is_held_to_the_share():
    frame = samples(*({"user_id": "eager" if index < 60 else f"u{index % 10}"} for index in range(100)))
    decided = balance.decide(frame, Balance(temperature=1))
    assert by_reason(decided) == {"over_user_cap": 30}
    dropped = decided.filter(pl.col("reason") == "over_user_cap")
    assert set(frame.join(dropped, on="sample_id")["user_id"]) == {"eager"}
    assert sorted(dropped["value"]) == list(range(31, 61))


def test_one_of_many_documents_is_held_to_the_share_whoever_edits_it():
    hot = {"document": "hot.py", "repository": "shop"}
    frame = samples(*(hot if index < 40 else {} for index in range(100)))
    decided = balance.decide(frame, Balance(temperature=1))
    assert by_reason(decided) == {"over_document_cap": 30}


def test_the_same_path_of_two_users_is_two_documents_where_no_repository_is_known():
    frame = samples(*({"document": "main.py"} for _ in range(40)))
    assert (
        by_reason(balance.decide(frame, Balance(temperature=1, max_document_share=0.05, min_stratum=0))) == {}
    )


@pytest.mark.parametrize("users", [1, 2, 3])
def test_a_day_of_few_users_and_documents_is_not_cut_down(users):
    frame = samples(
        *({"user_id": f"u{i % users}", "document": f"d{i % users}", "repository": "r"} for i in range(60))
    )
    assert by_reason(balance.decide(frame, Balance(temperature=1))) == {}


def test_no_cap_goes_below_the_smallest_stratum():
    changes = [{"user_id": "a"} for _ in range(8)] + [{"user_id": f"u{index}"} for index in range(8)]
    assert by_reason(balance.decide(samples(*changes), Balance(temperature=1, min_stratum=8))) == {}


def test_a_cap_takes_from_the_large_strata_first():
    rare = [{"user_id": "eager", "outcome": "typed_through"} for _ in range(8)]
    frame = samples(
        *rare, *({"user_id": "eager"} for _ in range(52)), *({"user_id": f"u{i}"} for i in range(40))
    )
    decided = balance.decide(frame, Balance(temperature=1))
    assert by_reason(decided) == {"over_user_cap": 30}
    assert counts(decided)["python/9-24/typed_through"] == (8, 8)


def test_the_seed_draws_the_lots():
    frame = samples(*spread(100))
    first, again, other = (balance.decide(frame, Balance(max_samples=50, seed=seed)) for seed in (1, 1, 2))
    assert first.equals(again) and not first.equals(other)
    assert by_reason(first) == by_reason(other) == {"over_stratum_share": 50}


SAMPLE = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from("abc"),
        "document": st.sampled_from("xyz"),
        "language": st.sampled_from(["python", "go"]),
        "middle_tokens": st.integers(1, 90),
    }
)


@hypothesis_settings(max_examples=10, deadline=None)
@given(st.lists(SAMPLE, max_size=60), st.integers(0, 9), st.floats(0, 1), st.integers(1, 60))
def test_every_sample_is_decided_once_and_no_small_stratum_starves(changes, smallest, share, most):
    frame = samples(*changes)
    asked = Balance(min_stratum=smallest, max_user_share=share, max_document_share=share, max_samples=most)
    decided = balance.decide(frame, asked)
    assert sorted(decided["sample_id"]) == sorted(frame["sample_id"])
    assert balance.decide(frame.reverse(), asked).equals(decided)
    capped = decided.filter(~pl.col("reason").is_in(["over_user_cap", "over_document_cap"]).fill_null(False))
    for before, after in counts(capped).values():
        assert after >= min(before, smallest)
    strata_kept = len(counts(capped))
    assert decided["reason"].null_count() <= most + strata_kept * (smallest + 1)


def test_days_are_balanced_each_by_itself_and_written(tmp_path):
    lake, days = Lake(tmp_path), [DAY, DAY + timedelta(days=1)]
    frame = samples(*spread(30), *spread(4, outcome="rejected_then_written"))
    lake.replace("filtered_samples", frame.select(pl.lit(DAY).alias("day"), pl.all()), [DAY])
    asked = settings(balance={"max_samples": 20, "min_stratum": 4})
    for _ in range(2):
        done = balance.balance_days(lake, days, asked)
        assert done.balances() == [(days[0], 34, 34), (days[1], 0, 0)]
        assert done.mix["n_before"].to_list() == [30, 4] and done.mix["n_after"].sum() == done.kept
        assert done.by_reason() == [{"reason": "over_stratum_share", "n": 34 - done.kept}]
    kept = lake.read("balanced_samples").sort("opened_at").collect()
    rejected = lake.read("rejected_samples").collect()
    assert dict(kept.drop("day").schema) == dict(BALANCED_SCHEMA)
    assert dict(rejected.drop("day").schema) == dict(REJECTED_SCHEMA)
    assert sorted([*kept["sample_id"], *rejected["sample_id"]]) == frame["sample_id"].to_list()
    decided = balance.decide(frame, asked.balance)
    expected = decided.filter(pl.col("reason").is_null()).select("sample_id", "stratum")
    assert kept.select("sample_id", "stratum").equals(expected)
    assert rejected.select("stage", "sample_day").unique().rows() == [("balance", DAY)]


def test_the_balance_leaves_the_rejects_of_other_stages_alone(tmp_path):
    lake = Lake(tmp_path)
    other = pl.DataFrame(
        [{"sample_id": "x", "stage": "filter", "reason": "blank", "sample_day": DAY}], REJECTED_SCHEMA
    )
    lake.replace("rejected_samples", other.select(pl.lit(DAY).alias("day"), pl.all()), [DAY])
    frame = samples(*spread(3))
    lake.replace("filtered_samples", frame.select(pl.lit(DAY).alias("day"), pl.all()), [DAY])
    balance.balance_days(lake, [DAY], settings(balance={"max_samples": 1, "min_stratum": 1}))
    assert sorted(lake.read("rejected_samples").collect()["stage"]) == ["balance", "balance", "filter"]


def test_ids_that_are_not_unique_are_a_defect(tmp_path):
    lake = Lake(tmp_path)
    frame = samples({"sample_id": "same"}, {"sample_id": "same"})
    lake.replace("filtered_samples", frame.select(pl.lit(DAY).alias("day"), pl.all()), [DAY])
    with pytest.raises(LostRows):
        balance.balance_days(lake, [DAY], settings())


def test_a_lake_without_samples_says_what_is_missing(tmp_path):
    with pytest.raises(TableMissing, match="filtered_samples"):
        balance.balance_days(Lake(tmp_path), [DAY], settings())
