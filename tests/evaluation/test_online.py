from datetime import timedelta

import pytest
from logged import DAY, gap, lake_of, not_accepted

from echo_dagster.evaluation import online
from echo_dagster.lake import TableMissing

TOMORROW = DAY + timedelta(days=1)


def only(rows):
    assert rows.height == 1
    return rows.row(0, named=True)


def test_the_rates_of_a_day_counted_by_hand(tmp_path):
    lake = lake_of(
        tmp_path,
        [
            # 10 proposed, 10 accepted, 8 left at once, gone from watch before 30 s
            gap("a", typed_chars=2, kept_rate=0.8, retained_0s=8, retained_30s=None),
            # 4 of 20 proposed accepted, 1 of 4 left after 30 s
            gap(
                "b",
                at_s=100,
                user_id="bob",
                proposal="x" * 20,
                outcome="partially_accepted",
                accepted_chars=4,
                typed_chars=6,
                kept_rate=0.1,
                retained_0s=4,
                retained_30s=1,
            ),
            not_accepted("c", at_s=200, typed_chars=18, outcome="typed_through"),
            not_accepted("d", at_s=300, outcome="superseded"),
        ],
    )
    row = only(online.measure_days(lake, [DAY]))
    assert (row["n_users"], row["n_shown"], row["n_accepted"], row["n_superseded"]) == (2, 4, 2, 1)
    assert row["acceptance_rate"] == 2 / 4
    assert row["weighted_acceptance_rate"] == 14 / 50
    assert row["generation_rate"] == 14 / (26 + 14)
    assert row["kept_rate"] == pytest.approx(0.45)
    assert row["typed_through_share"] == 1 / 4
    assert row["retained_0s_share"] == 12 / 14
    assert row["retained_30s_share"] == 1 / 4  # only b was still watched
    assert row["retained_900s_share"] is None  # nobody was


def test_a_completion_shown_again_or_accepted_in_parts_counts_once(tmp_path):
    lake = lake_of(
        tmp_path,
        [
            not_accepted("first", completion_id="c", outcome="ignored"),
            gap("second", at_s=5, completion_id="c", outcome="partially_accepted", accepted_chars=3),
            gap("third", at_s=9, completion_id="c", accepted_chars=10),
        ],
    )
    row = only(online.measure_days(lake, [DAY]))
    assert (row["n_shown"], row["n_accepted"]) == (1, 1)
    assert row["acceptance_rate"] == 1.0
    assert row["weighted_acceptance_rate"] == 1.0


def test_a_proposal_shown_again_at_every_keystroke_counts_once_whatever_its_id(tmp_path):
    lake = lake_of(
        tmp_path,
        [
            not_accepted("first", outcome="superseded"),  # ten characters
            not_accepted("second", at_s=1, reshown_of="first", proposal="e + two!", outcome="superseded"),
            gap(
                "third",
                at_s=2,
                reshown_of="first",
                proposal="+ two!",
                accepted_chars=6,
                retained_0s=6,
                retained_30s=4,
            ),
            not_accepted("other", at_s=3),
            # the first showing closed on the day before
            not_accepted("late", at_s=4, reshown_of="yesterday", outcome="superseded"),
            not_accepted("later", at_s=5, reshown_of="yesterday"),
        ],
    )
    row = only(online.measure_days(lake, [DAY]))
    assert (row["n_shown"], row["n_accepted"], row["n_superseded"]) == (3, 1, 0)
    assert row["acceptance_rate"] == 1 / 3
    assert row["weighted_acceptance_rate"] == 6 / 30
    assert (row["retained_0s_share"], row["retained_30s_share"]) == (6 / 6, 4 / 6)


def test_parts_taken_at_several_showings_add_up_and_the_same_part_counts_once(tmp_path):
    parts = [
        gap("a", outcome="partially_accepted", accepted_chars=4, retained_0s=4, retained_30s=4),
        gap("b", at_s=1, reshown_of="a", proposal="+ two!", accepted_chars=6, retained_0s=6, retained_30s=3),
    ]
    row = only(online.measure_days(lake_of(tmp_path / "parts", parts), [DAY]))
    assert (row["n_accepted"], row["weighted_acceptance_rate"]) == (1, 10 / 10)
    assert (row["retained_0s_share"], row["retained_30s_share"]) == (10 / 10, 7 / 10)
    twice = [
        gap("a", outcome="accepted_then_removed", retained_30s=0),
        gap("b", at_s=1, reshown_of="a", retained_0s=10, retained_30s=10),
    ]
    row = only(online.measure_days(lake_of(tmp_path / "twice", twice), [DAY]))
    assert (row["n_accepted"], row["weighted_acceptance_rate"]) == (1, 10 / 10)
    assert (row["retained_0s_share"], row["retained_30s_share"]) == (10 / 10, 10 / 10)


def test_typing_seen_by_nested_gaps_counts_once(tmp_path):
    lake = lake_of(
        tmp_path,
        [
            not_accepted("outer", region_id="region", typed_chars=30),
            gap("inner", at_s=5, region_id="region", typed_chars=12),
        ],
    )
    assert only(online.measure_days(lake, [DAY]))["generation_rate"] == 10 / (30 + 10)


def test_proposed_characters_are_utf16_units(tmp_path):
    lake = lake_of(tmp_path, [gap("a", proposal="é😀🐍", accepted_chars=5)])  # 1 + 2 + 2 units
    assert only(online.measure_days(lake, [DAY]))["weighted_acceptance_rate"] == 1.0


def test_a_group_is_model_by_language_by_cohort_with_nulls_kept(tmp_path):
    lake = lake_of(
        tmp_path,
        [
            gap("a"),
            gap("b", model=None, cohort=None, typed_chars=10),
            gap("c", language="typescript"),
            not_accepted("d", day=TOMORROW),
        ],
    )
    rows = online.measure_days(lake, [DAY, TOMORROW])
    groups = rows.select("day", "model", "language", "cohort", "generation_rate").rows()
    assert groups == [
        (DAY, None, "python", None, 0.5),
        (DAY, "m1", "python", "internal", 1.0),
        (DAY, "m1", "typescript", "internal", 1.0),
        (TOMORROW, "m1", "python", "internal", None),  # nothing typed and nothing accepted is no rate
    ]
    assert rows.row(3, named=True)["kept_rate"] is None


def test_a_day_without_gaps_has_no_rows_and_loses_old_ones(tmp_path):
    lake = lake_of(tmp_path, [gap("a"), gap("b", day=TOMORROW)])
    assert online.measure_days(lake, [DAY, TOMORROW]).height == 2
    lake_of(tmp_path, [], days=[TOMORROW])
    assert online.measure_days(lake, [TOMORROW]).height == 0
    assert lake.read("online_metrics").collect()["day"].to_list() == [DAY]


def test_a_range_gives_the_rows_of_single_days(tmp_path):
    rows = [gap("a"), not_accepted("b", at_s=1), gap("c", day=TOMORROW, language="go")]
    one, many = lake_of(tmp_path / "one", rows), lake_of(tmp_path / "many", rows)
    online.measure_days(many, [DAY, TOMORROW])
    for day in (DAY, TOMORROW):
        online.measure_days(one, [day])
    order = ["day", "language"]
    assert (
        one.read("online_metrics")
        .sort(order)
        .collect()
        .equals(many.read("online_metrics").sort(order).collect())
    )


def test_without_gap_sessions_it_says_which_table_is_missing(tmp_path):
    from echo_dagster.lake import Lake

    with pytest.raises(TableMissing, match="gap_sessions"):
        online.measure_days(Lake(tmp_path), [DAY])
