from itertools import combinations

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_dagster.evaluation.schema import GRAINS
from echo_dagster.evaluation.suppression import CELL, suppressed

NAMES = ("model", "language", "cohort")


def groups_of(users):
    """The groups of a day as `online.py` has them, and of which cells each is made."""
    rows, made_of = [], []
    cells = sorted({row[:3] for row in users})
    for by in (NAMES, *GRAINS.values()):
        at = [NAMES.index(name) for name in by]
        for key in sorted({tuple(cell[place] for place in at) for cell in cells}):
            inside = [tuple(cell[place] for place in at) == key for cell in cells]
            members = {row[3] for row in users if inside[cells.index(row[:3])]}
            named = dict.fromkeys(NAMES) | dict(zip(by, key, strict=True))
            rows.append({"by": list(by), **named, "n_users": len(members)})
            made_of.append(inside)
    schema = {"by": pl.List(pl.String), **dict.fromkeys(CELL, pl.String), "n_users": pl.Int64}
    return pl.DataFrame(rows, schema=schema), np.array(made_of, dtype=float), cells


def untold(users, least):
    groups, made_of, cells = groups_of(users)
    frame = pl.DataFrame(users, schema=[*CELL, "user_id"], orient="row")
    return groups, made_of, cells, np.array(suppressed(groups, frame, least))


def can_be_had(secret, told):
    if not len(told):
        return False
    return np.linalg.matrix_rank(np.vstack([told, secret])) == np.linalg.matrix_rank(told)


def test_with_one_everything_is_told():
    assert not any(untold([("m", "py", "in", "ann")], 1)[3])


def test_the_only_small_cohort_takes_another_with_it():
    users = [("m", "py", "in", user) for user in "abc"] + [("m", "py", "out", "z")]
    groups, _, _, hidden = untold(users, 2)
    told = groups.filter(pl.Series(~hidden))
    assert told["by"].to_list() == [["model"], []]  # which are the same four users


def test_the_smallest_of_the_others_goes():
    users = [("m", "go", "in", "z")]
    users += [
        ("m", language, "in", f"{language}{n}")
        for language, most in (("py", 9), ("ts", 4))
        for n in range(most)
    ]
    groups, _, _, hidden = untold(users, 2)
    gone = groups.filter(pl.Series(hidden))
    assert gone["language"].to_list() == ["go", "ts"]


def test_small_cells_of_the_same_user_are_not_told_together():
    # go and rust are both ann's alone: what is left beside python would be her record
    users = [("m", "py", "in", f"u{n}") for n in range(5)] + [
        ("m", language, "in", "ann") for language in ("go", "rust")
    ]
    groups, made_of, cells, hidden = untold(users, 2)
    secret = np.array([cell[1] in ("go", "rust") for cell in cells], dtype=float)
    assert not can_be_had(secret, made_of[~hidden])
    assert groups.filter(pl.Series(~hidden))["n_users"].to_list() == [6, 6, 6, 6]


_CELLS = st.tuples(
    st.sampled_from(["m1", "m2"]), st.sampled_from(["py", "go", "ts"]), st.sampled_from(["in", "out"])
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_CELLS, st.sampled_from("abcdefgh")), min_size=1, max_size=40), st.integers(2, 4))
def test_no_small_group_can_be_had_by_adding_and_subtracting(rows, least):
    users = sorted({(*cell, user) for cell, user in rows})
    groups, made_of, cells, hidden = untold(users, least)
    told = made_of[~hidden]
    assert (groups["n_users"].to_numpy()[~hidden] >= least).all()
    for row, is_small in zip(made_of, groups["n_users"].to_numpy() < least, strict=True):
        assert not (is_small and can_be_had(row, told))
    by_cell = [{row[3] for row in users if row[:3] == cell} for cell in cells]
    for row in made_of:  # small cells of one group, all of them together
        small = [at for at in np.flatnonzero(row) if len(by_cell[at]) < least]
        if small and len(set().union(*(by_cell[at] for at in small))) < least:
            secret = np.zeros(len(cells))
            secret[small] = 1
            assert not can_be_had(secret, told)


def test_some_cells_stay_told_where_enough_are_large():
    users = [(model, language, "in", f"{n}") for model, language in combinations("abc", 2) for n in range(5)]
    assert not any(untold(users, 5)[3])
