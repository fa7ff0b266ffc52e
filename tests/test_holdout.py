import polars as pl

from echo_dagster.holdout import is_held_out, lots

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
