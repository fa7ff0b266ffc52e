from datetime import timedelta

import polars as pl
import pytest
from logged import DAY, gap, lake_of, not_accepted

from echo_dagster.evaluation import online
from echo_dagster.lake import TableMissing
from echo_dagster.settings import Evaluation

RULES = Evaluation()
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
    row = only(online.measure_days(lake, [DAY], RULES))
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
    row = only(online.measure_days(lake, [DAY], RULES))
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
    row = only(online.measure_days(lake, [DAY], RULES))
    assert (row["n_shown"], row["n_accepted"], row["n_superseded"]) == (3, 1, 0)
    assert row["acceptance_rate"] == 1 / 3
    assert row["weighted_acceptance_rate"] == 6 / 30
    assert (row["retained_0s_share"], row["retained_30s_share"]) == (6 / 6, 4 / 6)


def test_parts_taken_at_several_showings_add_up_and_the_same_part_counts_once(tmp_path):
    parts = [
        gap("a", outcome="partially_accepted", accepted_chars=4, retained_0s=4, retained_30s=4),
        gap("b", at_s=1, reshown_of="a", proposal="+ two!", accepted_chars=6, retained_0s=6, retained_30s=3),
    ]
    row = only(online.measure_days(lake_of(tmp_path / "parts", parts), [DAY], RULES))
    assert (row["n_accepted"], row["weighted_acceptance_rate"]) == (1, 10 / 10)
    assert (row["retained_0s_share"], row["retained_30s_share"]) == (10 / 10, 7 / 10)
    twice = [
        gap("a", outcome="accepted_then_removed", retained_30s=0),
        gap("b", at_s=1, reshown_of="a", retained_0s=10, retained_30s=10),
    ]
    row = only(online.measure_days(lake_of(tmp_path / "twice", twice), [DAY], RULES))
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
    assert only(online.measure_days(lake, [DAY], RULES))["generation_rate"] == 10 / (30 + 10)


def test_proposed_characters_are_utf16_units(tmp_path):
    lake = lake_of(tmp_path, [gap("a", proposal="é😀🐍", accepted_chars=5)])  # 1 + 2 + 2 units
    assert only(online.measure_days(lake, [DAY], RULES))["weighted_acceptance_rate"] == 1.0


def test_the_same_completion_id_of_two_users_is_two_proposals(tmp_path):
    rows = [gap("a", completion_id="7"), not_accepted("b", completion_id="7", user_id="bob")]
    row = only(online.measure_days(lake_of(tmp_path, rows), [DAY], RULES))
    assert (row["n_shown"], row["n_accepted"], row["n_users"]) == (2, 1, 2)


def test_more_acceptances_than_showings_are_not_more_than_was_shown(tmp_path):
    rows = [gap(name, completion_id="c", at_s=at, accepted_chars=10) for at, name in enumerate("abc")]
    row = only(online.measure_days(lake_of(tmp_path, rows), [DAY], RULES))
    assert (row["n_shown"], row["n_accepted"]) == (1, 1)
    assert (row["acceptance_rate"], row["weighted_acceptance_rate"]) == (1.0, 1.0)


def test_what_is_typed_where_no_edits_are_logged_is_unknown_and_leaves_the_other_gaps_their_rate(tmp_path):
    rows = [gap("a", typed_chars=10), gap("b", user_id="bob", typed_chars=None, tracking="snapshots")]
    row = only(online.measure_days(lake_of(tmp_path / "mixed", rows), [DAY], RULES))
    assert (row["generation_rate"], row["accepted_chars"], row["tracked_chars"]) == (10 / 20, 20, 10)
    row = only(online.measure_days(lake_of(tmp_path / "unknown", rows[1:]), [DAY], RULES))
    assert row["generation_rate"] is None and row["acceptance_rate"] == 1.0


def test_latency_is_that_of_first_showings_and_null_where_no_tool_tells_it(tmp_path):
    rows = [gap(f"g{ms}", at_s=ms, latency_ms=ms) for ms in (100, 200, 300, 400, 500)]
    rows += [gap("again", at_s=600, reshown_of="g100", latency_ms=90_000), gap("silent", at_s=700)]
    rows += [gap("other", language="go")]
    go, python = online.measure_days(lake_of(tmp_path, rows), [DAY], RULES).iter_rows(named=True)
    assert (python["latency_p50_ms"], python["latency_p95_ms"]) == (300, pytest.approx(480))
    assert (go["latency_p50_ms"], go["latency_p95_ms"]) == (None, None)


class TestShadowedUsers:
    """Ann and Bob accept; Cy is shown as much and does nothing that shows that he sees it."""

    rules = Evaluation(shadowed_shown=3)

    def measured(self, tmp_path, *cys, others=("ann", "bob"), rules=rules):
        rows = [gap(user, user_id=user) for user in others]
        rows += [
            not_accepted(f"cy{number}", user_id="cy", at_s=number, **{"outcome": "ignored", **differs})
            for number, differs in enumerate(cys)
        ]
        return only(online.measure_days(lake_of(tmp_path, rows), [DAY], rules))

    def test_are_counted_and_left_out_of_every_rate(self, tmp_path):
        row = self.measured(tmp_path, {"typed_chars": 90}, {}, {"outcome": "rejected_then_written"})
        assert (row["n_users"], row["n_shown"], row["acceptance_rate"]) == (2, 2, 1.0)
        assert (row["n_shadowed_users"], row["n_shadowed_shown"]) == (1, 3)
        assert row["generation_rate"] == 1.0

    @pytest.mark.parametrize(
        "cys",
        [
            ({}, {}),  # too few to tell
            ({}, {}, {"outcome": "superseded"}),  # nobody could decide on the third
            ({}, {}, {"outcome": "rejected"}),  # who dismisses sees
        ],
    )
    def test_are_not_those_who_may_have_seen_it(self, tmp_path, cys):
        row = self.measured(tmp_path, *cys)
        assert (row["n_users"], row["n_shadowed_users"]) == (3, 0)
        assert row["acceptance_rate"] == 2 / (2 + len(cys))

    def test_are_none_where_nobody_accepts_the_model(self, tmp_path):
        row = self.measured(tmp_path, {}, {}, {}, others=("ann",))  # half of its users is not most of them
        assert (row["n_users"], row["n_shadowed_users"], row["acceptance_rate"]) == (2, 0, 1 / 4)

    def test_are_judged_by_their_whole_day(self, tmp_path):
        go = [gap("taken", user_id="cy", language="go", at_s=9)]
        rows = [gap("a"), gap("b", user_id="bob"), *go]
        rows += [not_accepted(f"cy{n}", user_id="cy", at_s=n, outcome="ignored") for n in range(5)]
        found = online.measure_days(lake_of(tmp_path, rows), [DAY], self.rules)
        assert found["n_shadowed_users"].to_list() == [0, 0]

    def test_the_default_is_25(self, tmp_path):
        assert self.measured(tmp_path / "a", *[{}] * 24, rules=RULES)["n_shadowed_users"] == 0
        assert self.measured(tmp_path / "b", *[{}] * 25, rules=RULES)["n_shadowed_users"] == 1


def test_intervals_are_of_users_and_null_with_fewer_than_two(tmp_path):
    # ann accepts 30 of 30, bob 0 of 30, cy 15 of 30: sixty proposals more make no user more
    rows = []
    for user, n_accepted in (("ann", 30), ("bob", 0), ("cy", 15)):
        for number in range(30):
            make = gap if number < n_accepted else not_accepted
            rows.append(make(f"{user}{number}", at_s=number, user_id=user))
    row = only(online.measure_days(lake_of(tmp_path / "three", rows), [DAY], RULES))
    assert row["acceptance_rate"] == 0.5
    assert row["acceptance_rate_low"] < 0.1 and row["acceptance_rate_high"] > 0.9
    row = only(online.measure_days(lake_of(tmp_path / "one", rows[:30]), [DAY], RULES))
    assert (row["acceptance_rate"], row["acceptance_rate_low"], row["acceptance_rate_high"]) == (
        1,
        None,
        None,
    )
    # kept rate is known of two users, so its interval stands on two
    rows = [row | {"kept_rate": None} if row["user_id"] == "ann" else row for row in rows]
    row = only(online.measure_days(lake_of(tmp_path / "kept", rows), [DAY], RULES))
    assert (row["kept_rate"], row["kept_rate_low"]) == (1.0, None)


def test_a_small_group_tells_no_rates_and_counts_in_the_totals(tmp_path):
    rows = [gap(f"{user}-{n}", user_id=user, at_s=n) for user in "abc" for n in range(2)]
    rows += [not_accepted("d", user_id="d", cohort="external")]
    rows += [not_accepted(f"more-{user}", user_id=user, language="go", at_s=50) for user in "abc"]
    rows += [gap(f"rust-{user}", user_id=user, language="rust", at_s=90) for user in "ab"]
    lake = lake_of(tmp_path, rows)
    found = online.measure_days(lake, [DAY], Evaluation(min_group_users=3))
    told = {(row["language"], row["cohort"]): row for row in found.to_dicts()}
    rust = told["rust", "internal"]
    assert rust["is_suppressed"] and (rust["n_users"], rust["n_shown"]) == (2, 2)
    hidden = set(rust) - {"day", "model", "language", "cohort", "n_users", "n_shown", "is_suppressed"}
    assert {rust[name] for name in hidden} == {None}
    # all less python and go is rust and the external user together, who are three users and may be had
    assert [key for key, row in told.items() if row["is_suppressed"]] == [
        ("python", "external"),
        ("rust", "internal"),
    ]
    trends = lake.read("trends").collect()
    total = trends.filter(pl.col("grain") == "all").row(0, named=True)
    by_cohort = trends.filter(pl.col("grain") == "cohort")
    # the one external user is all that the total has beside the internal cohort
    assert by_cohort.sort("cohort")["is_suppressed"].to_list() == [True, True]
    assert not total["is_suppressed"] and (total["n_shown"], total["n_accepted"]) == (12, 8)


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
    rows = online.measure_days(lake, [DAY, TOMORROW], RULES)
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
    assert online.measure_days(lake, [DAY, TOMORROW], RULES).height == 2
    lake_of(tmp_path, [], days=[TOMORROW])
    assert online.measure_days(lake, [TOMORROW], RULES).height == 0
    assert lake.read("online_metrics").collect()["day"].to_list() == [DAY]


def test_a_range_gives_the_rows_of_single_days(tmp_path):
    rows = [gap("a"), not_accepted("b", at_s=1), gap("c", day=TOMORROW, language="go")]
    one, many = lake_of(tmp_path / "one", rows), lake_of(tmp_path / "many", rows)
    online.measure_days(many, [DAY, TOMORROW], RULES)
    for day in (DAY, TOMORROW):
        online.measure_days(one, [day], RULES)
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
        online.measure_days(Lake(tmp_path), [DAY], RULES)
