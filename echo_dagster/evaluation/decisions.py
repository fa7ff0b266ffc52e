"""Logged decisions: which proposals users took, beside what they ended with.

What lives here: running `sql/user_decisions.sql` and counting what it leaves out. What does not: the fit
(`user.py`).

A decision is one completion, however often it was shown. Left out, each with its count:

* `no_consent`: the user's code may be counted, but nothing may be learned from it;
* `censored`: the end was not seen, so that C_N is a guess;
* `superseded`: the next key stroke replaced the proposal, so that the user may never have seen it;
* `blank_proposal`: nothing was proposed;
* `blank_final`: nothing stands in the gap at the end. Held-out gaps always hold something, so such decisions
  would teach the fit about gaps that it is never asked about.

Everything else that was shown and not accepted is not accepted: ignored proposals, and proposals typed out by
hand too.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import polars as pl

from echo_dagster.extraction.schema import ACCEPTED_OUTCOMES
from echo_dagster.lake import Lake, connect
from echo_dagster.resources import sql

DECISION_SCHEMA = pl.Schema(
    {
        "completion_id": pl.String(),
        "user_id": pl.String(),
        "language": pl.String(),
        "proposal": pl.String(),
        "final": pl.String(),
        "is_accepted": pl.Boolean(),
        # Characters of an accepted proposal that stayed: after five minutes where the log has the edits, else in C_N.
        "retained_chars": pl.Float64(),
    }
)


@dataclass(frozen=True)
class Decisions:
    """Decisions in the order of `completion_id`.

    `n_decided` is how many there were before the cap, `left_out` how many are none, by reason.
    """

    rows: pl.DataFrame
    n_decided: int
    left_out: dict[str, int]


def read(
    lake: Lake, first_day: date, last_day: date, *, max_decisions: int, seed: int, memory_limit: str = "2GB"
) -> Decisions:
    """Return the decisions on gaps that closed from `first_day` to `last_day`.

    Of more than `max_decisions`, a seeded sample.

    Raises:
        TableMissing: `gap_sessions` was never written.
    """
    with connect(memory_limit, lake.root / ".spill") as connection:
        lake.register(connection, "gap_sessions")
        found = connection.sql(
            sql("user_decisions"),
            params={
                "first_day": first_day,
                "last_day": last_day,
                "accepted_outcomes": list(ACCEPTED_OUTCOMES),
                "max_decisions": max_decisions,
                "seed": str(seed),
            },
        ).pl()
    counts = dict(found.select("verdict", "n_verdict").unique().sort("verdict").iter_rows())
    n_decided = counts.pop("decided", 0)
    rows = found.filter(pl.col("verdict") == "decided").select(
        pl.col(name).cast(kind) for name, kind in DECISION_SCHEMA.items()
    )
    return Decisions(rows, n_decided, counts)
