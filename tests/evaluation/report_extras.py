"""The tables that a lake of `report_lake.build` lacks: what a day with the static baseline, people and cohorts has."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from report_lake import DAY, DIGESTS, put, trends, users

from echo_dagster.lake import Lake

CURVE = [
    {
        "predicted": (n + 0.5) / 5,
        "observed": n / 5 + 0.08,
        "low": n / 5,
        "high": n / 5 + 0.17,
        "n": 40 + 10 * n,
    }
    for n in range(5)
]
FIT = {
    "is_trusted": False,
    "distrust": "it foretells 41.0 % for the model that was logged, whose interval is 28.0 to 33.0 %",
    "n_decisions": 812,
    "n_users": 23,
    "logged_acceptance_rate": 0.305,
    "logged_low": 0.28,
    "logged_high": 0.33,
    "predicted_acceptance_rate": 0.41,
    "auc": 0.781,
    "brier": 0.162,
    "constant_brier": 0.212,
    "length_auc": 0.602,
    "length_brier": 0.207,
    "ece": 0.041,
    "curve": json.dumps(CURVE),
}
AT = datetime(DAY.year, DAY.month, DAY.day, 15, 30, tzinfo=UTC)


def add(lake: Lake) -> None:
    """Add the calibrated user, a second cohort, a person's decision, the static baseline and more slices to `lake`."""
    put(lake, "user_fit", [FIT])
    days = [(DAY - timedelta(days=back), back) for back in range(6)]
    cohorts = ("internal", "external")
    put(lake, "trends", [row for day, back in days for row in trends(day, back, cohorts)])
    shown = [(cohort, 3 - place) for place, cohort in enumerate(cohorts)]
    put(lake, "online_users", [row for day, back in days for one in shown for row in users(day, back, *one)])
    row = lake.read("champion", [DAY]).collect().row(0, named=True)
    put(lake, "champion", [{**row, "decided_by": "Ada Lovelace"}])
    told = {"decided_by": "Ada Lovelace", "decided_at": AT, "path": None, "model_digest": "c4amp"}
    why = {"action": "rollback", "reason": "broken Go completions", "overruled": "promoted"}
    put(lake, "champion_overrides", [{**told, **why}])
    change = {"change_id": "1", "model_digest": "c4amp", "changed_at": AT, "decision": "rolled_back"}
    put(lake, "champion_changes", [change])
    attempt = {"change_id": "1", "attempted_at": AT, "attempts": 3}
    put(lake, "champion_deliveries", [{**attempt, "is_delivered": False, "outcome": "status 503"}])
    rows = lake.read("evaluated_model").collect().to_dicts()
    put(lake, "evaluated_model", rows + _evaluated())


def _evaluated() -> list[dict[str, Any]]:
    """The static baseline, which the candidate beats, retained characters, where it cannot be told, and more slices."""
    rows = []

    def tell(part: str, metric: str, role: str, versus: str | None, value: float, around: float) -> None:
        of = {"slice": part, "metric": metric, "role": role, "versus": versus, "n_samples": 90}
        rows.append(
            {**of, "value": value, "low": value - around, "high": value + around, "model_digest": role[:4]}
        )

    for part in (
        "all",
        "length=9-24",
        "length=25-64",
        "outcome=accepted",
        "cohort=internal",
        "held_out_repositories",
    ):
        tell(part, "edit_similarity", "static", None, 0.43, 0.02)
        tell(part, "edit_similarity", "candidate", "static", 0.04, 0.01)
        for role, value in zip(
            ("base", "static", "champion", "candidate"), (9.1, 9.4, 9.9, 10.2), strict=True
        ):
            tell(part, "predicted_retained_chars", role, None, value, 0.8)
        tell(part, "predicted_retained_chars", "candidate", "champion", 0.3, 0.9)
    assert set(DIGESTS) == {"base", "champion", "candidate"}
    return rows
