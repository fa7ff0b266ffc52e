"""What the report says of the calibrated user: how well it foretells decisions, and whether it is trusted.

What lives here: reading `user_fit` into a plain mapping. What does not: the fit (`user.py`) and how it looks.
"""

from __future__ import annotations

from datetime import date

from echo_dagster.evaluation.report_facts import Facts, read
from echo_dagster.lake import Lake


def user(lake: Lake, day: date) -> Facts:
    """Return the day's row of `user_fit`; `fit` is the same as a frame, for the plot."""
    rows = read(lake, "user_fit", [day])
    if rows is None:
        return {"missing": f"No calibrated user is recorded for {day}."}
    return {**rows.row(0, named=True), "fit": rows}
