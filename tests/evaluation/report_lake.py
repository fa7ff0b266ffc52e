"""A small lake with every table the report reads: invented gaps in one file of the standard library."""

from __future__ import annotations

import json
import random
import textwrap
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from echo_dagster import events
from echo_dagster.evaluation.schema import (
    CHAMPION_SCHEMA,
    CHANGE_SCHEMA,
    DELIVERY_SCHEMA,
    EVALUATED_SCHEMA,
    ONLINE_SCHEMA,
    ONLINE_USER_SCHEMA,
    OVERRIDE_SCHEMA,
    PERSISTENCE_SECONDS,
    PREDICTION_SCHEMA,
    RATES,
    SUMS,
    TREND_SCHEMA,
    USER_FIT_SCHEMA,
)
from echo_dagster.extraction.schema import GAP_SCHEMA
from echo_dagster.lake import Lake
from echo_dagster.optimization.schema import CHECKPOINT_SCHEMA
from echo_dagster.refinery.schema import (
    BALANCED_SCHEMA,
    DENOISING_SCHEMA,
    REJECTED_SCHEMA,
    SAMPLE_SCHEMA,
    SCORED_SCHEMA,
    TRAINING_SCHEMA,
)

Row = dict[str, Any]

DAY = date(2026, 1, 9)
DAY_BEFORE = DAY - timedelta(days=1)
#: Why the filters reject, in turn.
REASONS = ("unchanged", "blank", "too_short", "secret", "duplicate")
OUTCOMES = ("accepted", "accepted_then_edited", "rejected_then_written", "typed_through", "ignored")
DIGESTS = {"base": "b4se", "champion": "c4amp", "candidate": "ca4d1da7e"}
SCHEMAS = {
    "raw_events": events.SCHEMA,
    "quarantined_events": events.QUARANTINE_SCHEMA,
    "gap_sessions": GAP_SCHEMA,
    "filtered_samples": SAMPLE_SCHEMA,
    "balanced_samples": BALANCED_SCHEMA,
    "scored_samples": SCORED_SCHEMA,
    "rejected_samples": REJECTED_SCHEMA,
    "training_set": TRAINING_SCHEMA,
    "denoising": DENOISING_SCHEMA,
    "checkpoint": CHECKPOINT_SCHEMA,
    "predictions": PREDICTION_SCHEMA,
    "online_metrics": ONLINE_SCHEMA,
    "online_users": ONLINE_USER_SCHEMA,
    "trends": TREND_SCHEMA,
    "user_fit": USER_FIT_SCHEMA,
    "evaluated_model": EVALUATED_SCHEMA,
    "champion": CHAMPION_SCHEMA,
    "champion_overrides": OVERRIDE_SCHEMA,
    "champion_changes": CHANGE_SCHEMA,
    "champion_deliveries": DELIVERY_SCHEMA,
}


def put(lake: Lake, table: str, rows: Iterable[Row], day: date = DAY) -> None:
    """Replace a table's days by rows; a row may name its own `day`, and what it does not name is null."""
    schema = {"day": pl.Date(), **SCHEMAS[table]}
    told = [{name: row.get(name) for name in schema} | {"day": row.get("day", day)} for row in rows]
    lake.replace(table, pl.DataFrame(told, schema=schema), sorted({day, *(row["day"] for row in told)}))


def gap(index: int, **changed: Any) -> Row:
    """Return one gap of `DAY`; `index` decides everything about it."""
    pick = random.Random(index)
    lines = Path(textwrap.__file__).read_text(encoding="utf-8").split("\n")
    at = pick.randrange(60, len(lines) - 60)
    final = "\n".join(lines[at : at + pick.choice((1, 1, 2, 4))])
    words = final.split(" ")
    words[pick.randrange(len(words))] = pick.choice(("value", "text", "None", "len(chunks)"))
    opened = datetime(DAY.year, DAY.month, DAY.day, 9, tzinfo=UTC) + timedelta(seconds=17 * index)
    return {
        "gap_id": f"gap-{index:05d}",
        "completion_id": f"completion-{index:05d}",
        "region_id": f"region-{index:05d}",
        "user_id": f"user-{index % 3}",
        "session_id": "session-1",
        "document": "src/textwrap.py",
        "repository": "cpython",
        "language": "python" if index % 4 else "typescript",
        "model": "smollm2-135m",
        "source": "native",
        "cohort": "internal",
        "consent": True,
        "opened_at": opened,
        "closed_at": opened + timedelta(seconds=12.5),
        "break_reason": "edited_elsewhere" if index % 3 else "idle",
        "offset": 1000,
        "prefix": "\n".join(lines[:at]) + "\n",
        "suffix": "\n" + "\n".join(lines[at + 4 :]),
        "replaced": "",
        "proposal": " ".join(words),
        "final": final,
        "outcome": OUTCOMES[index % len(OUTCOMES)],
        "accepted_chars": len(final),
        "typed_chars": 4,
        "pasted_chars": 0,
        "agent_chars": 0,
        "kept_rate": 0.75,
        "n_edits": 3,
        "tracking": "edits",
        "censored": False,
        **changed,
    }


def build(
    lake: Lake, *, n_gaps: int = 40, n_kept: int = 24, history: Path | None = None, **changed: Any
) -> dict[str, int]:
    """Fill every table for `DAY` and return the figures that the report must show.

    The first `n_kept` gaps pass the filters, of which the last four fall to the balance. `history` is the
    directory that gets a training history. `changed` goes into every gap.
    """
    pick = random.Random(7)
    gaps = [gap(index, **changed) for index in range(n_gaps)]
    samples = [_sample(row) for row in gaps[:n_kept]]
    scored = [_scored(row, abs(pick.gauss(2, 1))) for row in samples[:-4]]
    window = [
        {**_scored(samples[index % n_kept], abs(pick.gauss(2.1, 1.1))), "sample_id": f"old-{index:03d}"}
        for index in range(300)
    ]
    reasons = {row["sample_id"]: _band(row["middle_nats_per_token"]) for row in window}
    trained = [
        {**row, "sample_day": DAY_BEFORE, "origin": "window"}
        for row in window
        if reasons[row["sample_id"]] is None
    ]
    put(lake, "raw_events", _events(gaps))
    put(
        lake,
        "quarantined_events",
        [{"source": "native", "file": "a.ndjson", "line": 3, "reason": "unknown_kind"}],
    )
    put(lake, "gap_sessions", gaps)
    put(lake, "filtered_samples", samples)
    put(lake, "balanced_samples", scored)
    put(lake, "scored_samples", [*scored, *({**row, "day": DAY_BEFORE} for row in window)])
    put(
        lake,
        "rejected_samples",
        [
            *(
                {
                    "sample_id": row["gap_id"],
                    "stage": "filter",
                    "reason": REASONS[index % 5],
                    "sample_day": DAY,
                }
                for index, row in enumerate(gaps[n_kept:])
            ),
            *(
                {
                    "sample_id": row["sample_id"],
                    "stage": "balance",
                    "reason": "over_user_cap",
                    "sample_day": DAY,
                }
                for row in samples[-4:]
            ),
            *(
                {"sample_id": name, "stage": "denoise", "reason": reason, "sample_day": DAY_BEFORE}
                for name, reason in reasons.items()
                if reason is not None
            ),
        ],
    )
    put(lake, "training_set", trained)
    put(lake, "denoising", _denoising(window, reasons))
    put(lake, "checkpoint", [_checkpoint(len(trained), history)])
    put(lake, "predictions", [row for sample in scored for row in _predictions(sample)])
    days = [(DAY - timedelta(days=back), back) for back in range(6)]
    put(lake, "online_metrics", [row for day, back in days for row in _online(day, back, gaps[0]["cohort"])])
    put(lake, "trends", [row for day, back in days for row in trends(day, back, (gaps[0]["cohort"],))])
    put(lake, "online_users", [row for day, back in days for row in users(day, back, gaps[0]["cohort"])])
    put(lake, "evaluated_model", [row for day, back in days for row in _evaluated(day, back)])
    put(lake, "champion", [_champion()])
    return {
        "n_events": 3 * n_gaps,
        "n_gaps": n_gaps,
        "n_balanced": n_kept - 4,
        "n_training": len(trained),
        "n_high": sum(reason == "ppl_high" for reason in reasons.values()),
        "n_low": sum(reason == "ppl_low" for reason in reasons.values()),
    }


def _events(gaps: list[Row]) -> list[Row]:
    told = ("user_id", "session_id", "document", "source", "cohort")
    return [
        {"event_id": f"{kind}-{row['gap_id']}", "ts": row["opened_at"], "seq": 0, "kind": kind}
        | {name: row[name] for name in told}
        for row in gaps
        for kind in ("shown", "accepted" if row["outcome"].startswith("accepted") else "rejected", "edited")
    ]


def _sample(row: Row) -> Row:
    cut = {"prefix": row["prefix"][-800:], "suffix": row["suffix"][:400], "middle": row["final"]}
    return {**row, **cut, "sample_id": row["gap_id"], "scope": "block", "middle_tokens": 9}


def _scored(row: Row, nats: float) -> Row:
    stratum = f"{row['language']}/9-24/{row['outcome']}"
    likelihoods = {"middle_nats_per_token": nats, "proposal_nats_per_token": 1.5, "ifd": 0.5}
    return {**row, **likelihoods, "stratum": stratum, "scorer": "base"}


LOW, HIGH = 0.3, 3.5


def _band(nats: float) -> str | None:
    return "ppl_high" if nats > HIGH else "ppl_low" if nats < LOW else None


def _denoising(window: list[Row], reasons: dict[str, str | None]) -> list[Row]:
    rows = []
    for stratum in sorted({row["stratum"].rpartition("/")[0] for row in window}):
        found = [reasons[row["sample_id"]] for row in window if row["stratum"].startswith(f"{stratum}/")]
        told = {"n_before": len(found), "n_after": found.count(None), "n_ifd_above_one": 0}
        cut = {f"n_{reason}": found.count(reason) for reason in ("ppl_low", "ppl_high")}
        band = {"low_nats": LOW, "high_nats": HIGH, "band_of": "stratum", "max_ifd": 1.0}
        rows.append({"scorer": "base", "stratum": stratum, **told, **cut, **band})
    return rows


def _checkpoint(n_samples: int, history: Path | None) -> Row:
    if history is not None:
        history.mkdir(parents=True, exist_ok=True)
        steps = [
            {"step": n, "loss_nats_per_token": 1.5 + 2 * 0.93**n, "learning_rate": 5e-5 * (1 - n / 50)}
            for n in range(1, 49)
        ]
        (history / "history.json").write_text(json.dumps(steps), encoding="utf-8")
    return {
        "status": "trained",
        "path": None if history is None else str(history),
        "model_digest": DIGESTS["candidate"],
        "training_set_digest": "d1gest",
        "training_set_version": 3,
        "n_samples": n_samples,
        "steps": 48,
        "final_loss_nats_per_token": 1.625,
        "provenance": json.dumps({"config": "c0ffee", "training_set": {"digest": "d1gest", "version": 3}}),
    }


def _predictions(sample: Row) -> list[Row]:
    return [
        {
            "sample_id": sample["sample_id"],
            "user_id": sample["user_id"],
            "language": sample["language"],
            "is_held_out_user": False,
            "role": role,
            "model_digest": digest,
            "prediction": sample["proposal"] if role == "base" else sample["middle"],
            "is_exact_match": role != "base",
            "edit_similarity": 0.5 if role == "base" else 1.0,
            "middle_nats_per_token": 1.9,
        }
        for role, digest in DIGESTS.items()
    ]


def _online(day: date, back: int, cohort: str) -> list[Row]:
    n_shown, n_accepted = 200 - 10 * back, 60 - 4 * back
    return [
        {
            "day": day,
            "model": _served(back),
            "language": language,
            "cohort": cohort,
            "n_users": 3,
            "n_shown": n_shown,
            "n_accepted": n_accepted,
            "acceptance_rate": n_accepted / n_shown,
            "weighted_acceptance_rate": 0.31,
            "generation_rate": 0.42,
            "kept_rate": 0.7 - back / 50,
            "typed_through_share": 0.05,
            "retained_30s_share": 0.81,
            "retained_300s_share": 0.64,
            "is_suppressed": False,
        }
        for language in ("python", "typescript")
    ]


def _served(back: int) -> str:
    return "smollm2-135m" if back > 2 else "c4amp"


def trends(day: date, back: int, cohorts: tuple[str, ...]) -> list[Row]:
    """Return the rows of `trends` of one day: all, the model that served, and each cohort, the second one lower."""
    grains: list[Row] = [{"grain": "all"}, {"grain": "model", "model": _served(back)}]
    grains += [{"grain": "cohort", "cohort": cohort} for cohort in cohorts]
    n_shown, n_accepted = 2 * (200 - 10 * back), 2 * (60 - 4 * back)
    rows = []
    for grain in grains:
        shift = 0.06 if grain.get("cohort") in cohorts[1:] else 0.0
        values = {
            "acceptance_rate": n_accepted / n_shown - shift,
            "weighted_acceptance_rate": 0.31 - shift - back / 100,
            "generation_rate": 0.42 - shift - back / 100,
            "kept_rate": 0.7 - shift - back / 50,
            "typed_through_share": 0.05 + back / 200,
            **{f"retained_{s}s_share": 0.9 - shift - s / 3000 for s in PERSISTENCE_SECONDS},
        }
        assert values.keys() == RATES.keys()
        ends = {f"{rate}{end}": value + by for rate, value in values.items() for end, by in _ENDS.items()}
        of = {"day": day, "n_users": 3, "n_shown": n_shown, "n_accepted": n_accepted, "is_suppressed": False}
        rows.append(
            {**grain, **of, **ends, "latency_p50_ms": 90.0 + back, "latency_p95_ms": 240.0 + 9 * back}
        )
    return rows


_ENDS = {"": 0.0, "_low": -0.03, "_high": 0.03}


def users(day: date, back: int, cohort: str, n_users: int = 3) -> list[Row]:
    """Return rows of `online_users` of one day: users of one cohort, who accept more and less."""
    sums = dict.fromkeys(SUMS, 0) | {"n_shown": 130, "proposed_chars": 2600, "typed_chars": 1500}
    rows = []
    for index in range(n_users):
        n_accepted = 30 + 5 * index - back
        taken = {
            "n_accepted": n_accepted,
            "accepted_chars": 20 * n_accepted,
            "tracked_chars": 20 * n_accepted,
        }
        kept = {"n_kept": n_accepted, "kept_rates": 0.7 * n_accepted}
        of = {"day": day, "user_id": f"{cohort}-{index}", "model": _served(back), "language": "python"}
        rows.append({**of, "cohort": cohort, "is_shadowed": False, **sums, **taken, **kept})
    return rows


def _evaluated(day: date, back: int) -> list[Row]:
    own = {
        "exact_match": (0.160, 0.168, 0.184),
        "edit_similarity": (0.413 - back / 200, 0.425 - back / 250, 0.470 - back / 150),
        "middle_nats_per_token": (2.214, 2.101, 1.873),
        "predicted_acceptance_rate": (0.231, 0.240, 0.262),
    }
    rows = []
    for part, n in (("all", 211), ("held_out_users", 64), ("language=python", 150)):
        for metric, values in own.items():
            told = {"day": day, "metric": metric, "slice": part, "n_samples": n}
            for (role, digest), value in zip(DIGESTS.items(), values, strict=True):
                around = {"value": value, "low": value * 0.94, "high": value * 1.05}
                rows.append({**told, **around, "role": role, "model_digest": digest})
            for versus, value in zip(("base", "champion"), values, strict=False):
                by = values[2] - value
                around = {"value": by, "low": by - 0.03, "high": by + 0.03}
                rows.append({**told, **around, "role": "candidate", "versus": versus})
    return rows


def _champion() -> Row:
    return {
        "model_digest": DIGESTS["candidate"],
        "path": "models/ca4d1da7e",
        "decision": "promoted",
        "reason": "edit similarity is 0.045 above the champion's, and no metric is worse",
        "candidate_digest": DIGESTS["candidate"],
        "decided_at": datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC) + timedelta(days=1),
        "decided_by": "gate",
        "since": DAY,
        "previous_digest": DIGESTS["champion"],
        "demands": "[]",
    }
