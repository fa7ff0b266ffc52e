"""Which rows are about a person, read off the columns of whatever tables there are, and their removal.

A row is about a person if it says whose it is (`user_id`), or names a gap or sample of theirs. No list of tables is
kept here: one that is added later is found by its columns. What does not live here: the list of the forgotten
(`forgotten.py`), and what else a person leaves (`forget.py`).
"""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from echo_dagster.lake import Lake

USER = "user_id"
#: A sample has the id of its gap.
SAMPLES = ("gap_id", "sample_id")


def tables(lake: Lake) -> dict[str, str]:
    """Return the tables with rows about single people, each with the column that says about whom.

    Those that only name samples come first: whose the samples are is known from the others.
    """
    found = {}
    for table in lake.tables():
        columns = lake.columns(table)
        key = next((name for name in (USER, *SAMPLES) if name in columns), None)
        if key is not None:
            found[table] = key
    return dict(sorted(found.items(), key=lambda item: (item[1] == USER, item[0])))


def samples(lake: Lake, people: Collection[str]) -> set[str]:
    """Return the ids of all gaps and samples of some people (pseudonyms), as far as a table tells whose they are."""
    found: set[str] = set()
    for table, key in tables(lake).items():
        for name in set(SAMPLES) & set(lake.columns(table)) if key == USER else ():
            theirs = lake.read(table).filter(pl.col(USER).is_in(list(people)))
            found |= set(theirs.select(pl.col(name).unique()).collect().to_series())
    return found


def remove(lake: Lake, people: Collection[str]) -> dict[str, int]:
    """Remove all rows about some people (pseudonyms), a commit for each table, and return how many by table.

    If it is killed between two tables, doing it again removes the rest.
    """
    ids = samples(lake, people)
    return {
        table: lake.remove(table, key, people if key == USER else ids) for table, key in tables(lake).items()
    }
