from datetime import UTC, date, datetime

import polars as pl

from echo_dagster.holdout import is_held_out, leaks, lots, marked
from echo_dagster.settings import Window

USERS = pl.Series("user_id", [f"user{index}" for index in range(2000)])


def test_the_share_is_about_the_one_asked_for():
    assert 0.08 < is_held_out(USERS, 0.1, 17).mean() < 0.12
    assert not is_held_out(USERS, 0.0, 17).any() and is_held_out(USERS, 1.0, 17).all()


def test_a_user_is_held_out_by_name_and_seed_alone():
    whole = dict(zip(USERS, is_held_out(USERS, 0.1, 17), strict=True))
    few = USERS.sample(50, seed=1)
    assert dict(zip(few, is_held_out(few, 0.1, 17), strict=True)).items() <= whole.items()
    assert not is_held_out(USERS, 0.1, 17).equals(is_held_out(USERS, 0.1, 18))


def test_a_larger_share_holds_out_the_same_users_and_more():
    assert (is_held_out(USERS, 0.2, 17) | ~is_held_out(USERS, 0.1, 17)).all()


def test_the_lots_are_fixed_for_ever():
    assert lots(pl.Series(["ann", "ann", "bob"]), 17).round(6).to_list() == [0.09525, 0.09525, 0.955755]


def test_a_row_without_a_repository_is_in_no_held_out_one():
    rows = pl.DataFrame({"user_id": ["ann", "ben"], "repository": ["shop", None]})
    told = marked(rows, Window(held_out_user_share=0.0, held_out_repository_share=1.0))
    assert told["is_held_out_repository"].to_list() == [True, False]
    assert not told["is_held_out_user"].any()


def test_each_leak_is_counted_by_its_split():
    day = date(2026, 1, 5)
    rows = pl.DataFrame(
        {
            "user_id": ["ann", "ben"],
            "repository": ["shop", None],
            "sample_day": [date(2026, 1, 4), day],
            "closed_at": [datetime(2026, 1, 4, tzinfo=UTC)] * 2,
        }
    )
    clean = Window(held_out_user_share=0.0)
    assert leaks(rows[:1], day, clean) == dict.fromkeys(leaks(rows, day, clean), 0)
    assert leaks(rows, day, Window(held_out_user_share=1.0, held_out_repository_share=1.0)) == {
        "held_out_user_samples": 2,
        "held_out_repository_samples": 1,
        "held_out_day_samples": 1,
    }
