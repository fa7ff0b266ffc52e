"""Small groups: which rows of a day tell nothing but how many users they have, so that no few users' record is told.

What holds: of the sums of one day, none of a group with too few users is told, nor can it be had by adding and
subtracting those that are told. The same holds for all cells of a row that are too small, taken together, while they
have too few users together. What does not: what somebody knows besides, or learns from another day.

What does not live here: what the rows say (`rates.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

CELL = ("model", "language", "cohort")

_Vector = npt.NDArray[np.float64]


def suppressed(groups: pl.DataFrame, users: pl.DataFrame, least: int) -> list[bool]:
    """Say of each group whether it is not told.

    Beside those with fewer than `least` users this takes further ones, those with the fewest users first, until nothing
    that is to stay untold is a sum or difference of what is told.

    Args:
        groups: of one day: `by` (list of the columns of CELL that it is a group of), those columns, and `n_users`.
        users: the day's users in each cell: CELL and `user_id`.
        least: 1 tells everything.
    """
    if least <= 1 or users.is_empty():
        return [False] * groups.height
    cells = users.select(CELL).unique().sort(CELL, nulls_last=True)
    numbered = users.join(cells.with_row_index("cell"), on=CELL, nulls_equal=True).unique(["cell", "user_id"])
    by_cell = [set(found) for found in numbered.group_by("cell").agg("user_id").sort("cell")["user_id"]]
    made_of = np.array([_cells(group, cells) for group in groups.iter_rows(named=True)], dtype=np.float64)
    n_users = groups["n_users"].to_list()
    is_untold = np.array([n < least for n in n_users])
    secrets = _secrets(made_of, is_untold, by_cell, least)
    while (betrayed := _betrayed(secrets, made_of, is_untold)) is not None:
        is_untold[min(betrayed, key=lambda number: (n_users[number], number))] = True
    return [bool(untold) for untold in is_untold]


def _cells(group: dict[str, object], cells: pl.DataFrame) -> list[bool]:
    """Say of each cell whether it is in a group."""
    by = group["by"]
    assert isinstance(by, Sequence)
    is_in = [pl.lit(value=True)] + [pl.col(name).eq_missing(pl.lit(group[name], pl.String())) for name in by]
    return cells.select(*CELL, is_in=pl.all_horizontal(is_in)).get_column("is_in").to_list()


def _secrets(
    made_of: _Vector, is_untold: npt.NDArray[np.bool_], by_cell: Sequence[set[str]], least: int
) -> _Vector:
    """Return what must not be had, as cells added up: the small groups, and small cells of a group taken together."""
    small_cells = np.array([len(users) < least for users in by_cell])
    together = [
        row * small_cells
        for row in made_of[~is_untold]
        if 0
        < len(set().union(*(by_cell[cell] for cell in np.flatnonzero(row * small_cells).tolist())))
        < least
    ]
    return np.array([*made_of[is_untold], *together])


def _betrayed(secrets: _Vector, made_of: _Vector, is_untold: npt.NDArray[np.bool_]) -> list[int] | None:
    """Return the told groups that a secret is a combination of, or None where none is."""
    told = np.flatnonzero(~is_untold)
    if not len(told) or not len(secrets):
        return None
    weights, *_ = np.linalg.lstsq(made_of[told].T, secrets.T, rcond=None)
    misses = np.abs(made_of[told].T @ weights - secrets.T).max(axis=0)
    for number in np.flatnonzero(misses < 1e-6):
        return [int(told[at]) for at in np.flatnonzero(np.abs(weights[:, number]) > 1e-6)]
    return None
