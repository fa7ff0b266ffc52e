import math
from datetime import timedelta
from itertools import permutations

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

#: Caps that hold for a few samples already, and a mix that stays as it is.
NO_FLOOR = Balance(temperature=1, min_cap=0, min_stratum=0)


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
    assert counts(decided) == {"python/9-24/accepted": (900, 823), "go/9-24/accepted": (100, 100)}
    assert by_reason(decided) == {"over_stratum_share": 77}
    assert decided.drop_nulls("reason")["value"].min() == 824


def test_room_that_a_stratum_leaves_goes_to_the_others():
    frame = samples(*spread(400), *spread(400, language="go"), *spread(10, language="rust"))
    decided = balance.decide(frame, Balance(temperature=0, max_samples=300))
    # An equal share of 300 would be 100 each; rust has 10, so the others get 145.
    assert counts(decided) == {
        "python/9-24/accepted": (400, 145),
        "go/9-24/accepted": (400, 145),
        "rust/9-24/accepted": (10, 10),
    }
    # 270 are an equal third of all samples: what is beyond is over the share of the stratum whatever the day may hold.
    assert by_reason(decided) == {"over_stratum_share": 260, "over_max_samples": 250}


def test_a_day_that_is_cut_short_holds_as_many_samples_as_it_may():
    frame = samples(*spread(70), *spread(31, language="go"), *spread(9, language="rust"))
    for most in range(20, 110, 7):
        decided = balance.decide(frame, Balance(temperature=1, max_samples=most, min_stratum=0))
        assert decided["reason"].null_count() == most
        assert by_reason(decided) == {"over_max_samples": 110 - most}
        assert decided.drop_nulls("reason")["value"].sort().to_list() == list(range(most + 1, 111))


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
    decided = balance.decide(frame, NO_FLOOR)
    assert by_reason(decided) == {"over_user_cap": 30}
    dropped = decided.filter(pl.col("reason") == "over_user_cap")
    assert set(frame.join(dropped, on="sample_id")["user_id"]) == {"eager"}
    assert sorted(dropped["value"]) == list(range(31, 61))


def test_one_of_many_documents_is_held_to_the_share_whoever_edits_it():
    hot = {"document": "hot.py", "repository": "shop"}
    frame = samples(*(hot if index < 40 else {} for index in range(100)))
    decided = balance.decide(frame, NO_FLOOR)
    assert by_reason(decided) == {"over_document_cap": 30}


def test_one_of_many_repositories_is_held_to_the_share():
    frame = samples(*({"repository": "mono" if index < 80 else f"r{index % 5}"} for index in range(100)))
    decided = balance.decide(frame, NO_FLOOR)
    assert by_reason(decided) == {"over_repository_cap": 30}
    dropped = decided.drop_nulls("reason")
    assert set(frame.join(dropped, on="sample_id")["repository"]) == {"mono"}
    assert sorted(dropped["value"]) == list(range(51, 81))


def test_an_unknown_repository_is_none_and_is_not_capped():
    known = [{"repository": f"r{index % 2}"} for index in range(10)]
    frame = samples(*spread(90), *known)
    assert by_reason(balance.decide(frame, NO_FLOOR)) == {}


def test_caps_are_shares_of_the_samples_that_are_wanted():
    frame = samples(*({"user_id": "eager" if index < 60 else f"u{index}"} for index in range(100)))
    decided = balance.decide(frame, NO_FLOOR.model_copy(update={"max_samples": 50}))
    assert by_reason(decided) == {"over_user_cap": 45, "over_max_samples": 5}


def test_few_samples_of_one_document_drown_nothing():
    # A day of one user: 83 and 58 samples of two documents, nine of three others.
    sizes = {"a": 83, "b": 58, "c": 6, "d": 2, "e": 1}
    frame = samples(
        *(
            {"user_id": "ann", "document": name, "repository": "r"}
            for name in sizes
            for _ in range(sizes[name])
        )
    )
    assert by_reason(balance.decide(frame, Balance(temperature=1))) == {}
    cut = balance.decide(frame, Balance(temperature=1, min_cap=64))
    assert by_reason(cut) == {"over_document_cap": 19}
    assert by_reason(balance.decide(frame, NO_FLOOR)) == {"over_document_cap": 53 + 28}


def test_the_same_path_of_two_users_is_two_documents_where_no_repository_is_known():
    frame = samples(*({"document": "main.py"} for _ in range(40)))
    assert by_reason(balance.decide(frame, NO_FLOOR.model_copy(update={"max_document_share": 0.05}))) == {}


@pytest.mark.parametrize("users", [1, 2, 3])
def test_a_day_of_few_users_and_documents_is_not_cut_down(users):
    frame = samples(
        *(
            {"user_id": f"u{i % users}", "document": f"d{i % users}", "repository": f"r{i % users}"}
            for i in range(60)
        )
    )
    assert by_reason(balance.decide(frame, NO_FLOOR)) == {}


def test_a_cap_takes_from_the_large_strata_first():
    rare = [{"user_id": "eager", "outcome": "typed_through"} for _ in range(8)]
    frame = samples(
        *rare, *({"user_id": "eager"} for _ in range(52)), *({"user_id": f"u{i}"} for i in range(40))
    )
    decided = balance.decide(frame, NO_FLOOR.model_copy(update={"min_stratum": 8}))
    assert by_reason(decided) == {"over_user_cap": 30}
    assert counts(decided)["python/9-24/typed_through"] == (8, 8)


def test_what_the_caps_did_is_told_without_names():
    changes = [{"user_id": "eager", "document": f"d{i % 12}", "repository": "shop"} for i in range(60)]
    changes += [{"user_id": f"u{i % 10}", "repository": None} for i in range(40)]
    frame = samples(*changes)
    told = balance.capped(frame, balance.decide(frame, NO_FLOOR))
    assert told.rows() == [
        ("document", 52, 0, 0, 0.05, pytest.approx(5 / 70, abs=0.02)),
        ("user", 11, 1, 30, 0.6, 30 / 70),
        ("repository", 1, 0, 0, 0.6, 30 / 70),
    ]
    assert balance.capped(frame.clear(), balance.decide(frame.clear(), NO_FLOOR))["n"].to_list() == [0, 0, 0]


def test_the_seed_draws_the_lots():
    frame = samples(*spread(100))
    first, again, other = (balance.decide(frame, Balance(max_samples=50, seed=seed)) for seed in (1, 1, 2))
    assert first.equals(again) and not first.equals(other)
    assert by_reason(first) == by_reason(other) == {"over_max_samples": 50}


SAMPLE = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from("abc"),
        "document": st.sampled_from("xyz"),
        "repository": st.sampled_from([None, "shop", "bank"]),
        "language": st.sampled_from(["python", "go"]),
        "middle_tokens": st.integers(1, 90),
    }
)
SHARE = st.floats(0, 1)
BALANCE = st.builds(
    Balance,
    temperature=SHARE,
    max_samples=st.integers(1, 80),
    max_user_share=SHARE,
    max_document_share=SHARE,
    max_repository_share=SHARE,
    min_cap=st.integers(0, 9),
    min_stratum=st.integers(0, 9),
    seed=st.integers(0, 3),
)


@hypothesis_settings(max_examples=25)
@given(st.lists(SAMPLE, max_size=60), BALANCE, st.randoms())
def test_every_sample_is_decided_once_whatever_their_order_and_every_cap_holds(changes, asked, order):
    frame = samples(*changes)
    decided = balance.decide(frame, asked)
    assert decided["sample_id"].to_list() == frame["sample_id"].to_list()
    assert balance.decide(frame[order.sample(range(len(frame)), len(frame))], asked).equals(decided)
    kept = frame.join(decided.filter(pl.col("reason").is_null()), on="sample_id")
    wanted = min(len(frame), asked.max_samples)
    known = frame.with_columns(
        document=pl.col("repository").fill_null(pl.col("user_id")) + "/" + pl.col("document")
    )
    for column, share, reason in (
        ("document", asked.max_document_share, "over_document_cap"),
        ("user_id", asked.max_user_share, "over_user_cap"),
        ("repository", asked.max_repository_share, "over_repository_cap"),
    ):
        groups = known.drop_nulls(column)
        if groups.is_empty():
            continue
        cap = max(asked.min_cap, math.ceil(wanted * max(share, 1 / groups[column].n_unique())))
        of_kept = groups.join(kept.select("sample_id"), on="sample_id").group_by(column).len()
        assert max(of_kept["len"], default=0) <= cap
        # Nobody loses a sample to a cap that they are within.
        lost = groups.join(decided.filter(pl.col("reason") == reason), on="sample_id")
        sizes = dict(groups.group_by(column).len().iter_rows())
        assert all(sizes[group] > cap for group in lost[column])


@hypothesis_settings(max_examples=30)
@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=6),
    st.floats(0, 1),
    st.integers(1, 250),
    st.integers(0, 9),
)
def test_strata_get_their_tempered_shares_to_the_nearest_sample(sizes, temperature, most, smallest):
    frame = samples(*(row for name, n in enumerate(sizes) for row in spread(n, language=f"l{name}")))
    asked = Balance(temperature=temperature, max_samples=most, min_stratum=smallest)
    decided = balance.decide(frame, asked)
    strata = [counts(decided)[f"l{name}/9-24/accepted"] for name in range(len(sizes))]
    weights = [n**temperature for n in sizes]
    level = sum(sizes) / sum(weights)
    tempered = [min(n, max(smallest, level * weight)) for n, weight in zip(sizes, weights, strict=True)]
    kept = [after for _, after in strata]
    total, floors = sum(kept), [min(n, smallest) for n in sizes]
    if temperature == 1 and most >= sum(sizes):
        assert kept == sizes
    assert all(after >= floor for after, floor in zip(kept, floors, strict=True))
    assert total <= max(most, sum(floors))
    if total < most:  # the day may hold more: the shares alone decide
        assert all(abs(after - share) <= 0.5 + 1e-9 for after, share in zip(kept, tempered, strict=True))
    else:
        assert all(after <= share + 0.5 + 1e-9 for after, share in zip(kept, tempered, strict=True))
    # No sample would stand better in another stratum: what makes an apportionment Webster's.
    for i, j in permutations(range(len(sizes)), 2):
        if kept[i] > floors[i] and kept[j] < sizes[j]:
            assert (kept[i] - 0.5) / weights[i] <= (kept[j] + 0.5) / weights[j] + 1e-9


def test_days_are_balanced_each_by_itself_and_written(tmp_path):
    lake, days = Lake(tmp_path), [DAY, DAY + timedelta(days=1)]
    frame = samples(*spread(30), *spread(4, outcome="rejected_then_written"))
    lake.replace("filtered_samples", frame.select(pl.lit(DAY).alias("day"), pl.all()), [DAY])
    asked = settings(balance={"max_samples": 20, "min_stratum": 4})
    for _ in range(2):
        done = balance.balance_days(lake, days, asked)
        assert done.balances() == [(days[0], 34, 34), (days[1], 0, 0)]
        assert done.mix["n_before"].to_list() == [30, 4] and done.mix["n_after"].sum() == done.kept
        # 30 ** 0.7 and 4 ** 0.7 share 34 as 27.3 and 6.7; the four stay, and 16 of the 27.
        assert done.by_reason() == [
            {"reason": "over_max_samples", "n": 11},
            {"reason": "over_stratum_share", "n": 3},
        ]
        assert done.caps.row(1, named=True) == {
            "cap": "user",
            "n": 34,
            "n_cut": 0,
            "n_dropped": 0,
            "largest_before": 1 / 34,
            "largest_after": 1 / 20,
        }
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
