"""What only a whole day tells of a gap: how its user worked, and whether C_N takes an earlier edit back.

Gaps are refined in batches, so both are found first, from narrow columns of the whole day: no text, but hashes of it.
What does not live here: thresholds and verdicts (`quality.py`), and the queries (sql/user_days.sql, sql/reversals.sql).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import polars as pl

from echo_dagster.refinery.staging import Stage
from echo_dagster.resources import sql

_ACTS = pl.Schema(
    {
        "sample_day": pl.Date(),
        "sample_id": pl.String(),
        "user_id": pl.String(),
        "session_id": pl.String(),
        "document": pl.String(),
        "opened_at": pl.Datetime("us", "UTC"),
        "seconds": pl.Float64(),
        "is_new": pl.Boolean(),
        "typed_chars": pl.Int64(),
        "is_untouched": pl.Boolean(),
        "window_start": pl.Int64(),
        "found": pl.UInt64(),
        "left_behind": pl.UInt64(),
    }
)


class Habits(NamedTuple):
    """Facts of some days: `users` by sample_day and user_id, `reversals` by sample_id, where there is one."""

    users: pl.DataFrame
    reversals: pl.DataFrame


def acts() -> list[pl.Expr]:
    """Return what is asked of a gap (GAP_SCHEMA with `sample_day`): who did what, and hashes of the document.

    A document is compared where the log shows it on both sides of the gap and says where its window begins: there
    equal texts are the same place. `window_start` is in UTF-16 units, as `offset` is.
    """
    # A text without signs beyond the Basic Multilingual Plane has as many units as characters. Most have none but
    # ASCII, and are not searched: null costs nothing.
    wide = pl.when(pl.col("prefix").str.len_bytes() > pl.col("prefix").str.len_chars()).then("prefix")
    pairs = wide.str.count_matches(r"[\x{10000}-\x{10FFFF}]").fill_null(0).cast(pl.Int64)
    own = {
        "sample_id": pl.col("gap_id"),
        "seconds": (pl.col("closed_at") - pl.col("opened_at")).dt.total_microseconds() / 1e6,
        "is_new": pl.col("reshown_of").is_null(),
        # Null where the tool does not tell what was typed: nothing is known of such a user.
        "is_untouched": pl.when(pl.col("typed_chars").is_not_null()).then(
            (pl.col("outcome") == "accepted") & (pl.col("typed_chars") == 0)
        ),
        "window_start": pl.col("offset") - pl.col("prefix").str.len_chars().cast(pl.Int64) - pairs,
        "found": _document("replaced"),
        "left_behind": _document("final"),
    }
    return [own.get(name, pl.col(name)).alias(name) for name in _ACTS.names()]


def measure(staged: Stage, batches: Iterable[pl.DataFrame], min_proposals: int) -> Habits:
    """Find the habits of users and the reversals of the days that `batches` (columns of `acts`) hold."""
    staged.add("acts", _ACTS.to_frame())
    for batch in batches:
        staged.add("acts", batch)
    staged.open("acts")
    asked = {"min_proposals": min_proposals}
    return Habits(
        staged.connection.sql(sql("user_days"), params=asked).pl(),
        staged.connection.sql(sql("reversals")).pl(),
    )


def with_habits(gaps: pl.DataFrame, habits: Habits) -> pl.DataFrame:
    """Return gaps (`sample_day`, `user_id`, `sample_id`) with what is known of their user's day and of a reversal."""
    by_user = gaps.join(habits.users, on=["sample_day", "user_id"], how="left", maintain_order="left")
    return by_user.join(habits.reversals, on="sample_id", how="left", maintain_order="left")


def _document(inside: str) -> pl.Expr:
    """Return a hash of the document with a column's text in the gap; null where its place or end is not known."""
    whole = pl.concat_str("prefix", pl.col(inside).fill_null(""), "suffix")
    return pl.when(pl.col("offset").is_not_null() & whole.is_not_null()).then(whole.hash())
