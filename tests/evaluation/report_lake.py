"""A small lake with every table the report reads, made of invented gaps in one source file of the standard library."""

from __future__ import annotations

import json
import random
import textwrap
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from echo_dagster import events
from echo_dagster.evaluation.schema import CHAMPION_SCHEMA, EVALUATED_SCHEMA, ONLINE_SCHEMA, PREDICTION_SCHEMA
from echo_dagster.extraction.schema import GAP_SCHEMA
from echo_dagster.lake import Lake
from echo_dagster.refinery.schema import BALANCED_SCHEMA, REJECTED_SCHEMA, SAMPLE_SCHEMA, SCORED_SCHEMA

DAY = date(2026, 1, 9)
REASONS = ("unchanged", "rejected_by_user", "too_short", "secret", "duplicate")
OUTCOMES = ("accepted", "accepted_then_edited", "rejected_then_written", "typed_through", "ignored")
CHECKPOINT_SCHEMA = pl.Schema(
    {
        "status": pl.String(),
        "reason": pl.String(),
        "path": pl.String(),
        "model_digest": pl.String(),
        "training_set_digest": pl.String(),
        "training_set_version": pl.Int64(),
        "n_samples": pl.Int64(),
        "steps": pl.Int64(),
        "final_loss_nats_per_token": pl.Float64(),
        "provenance": pl.String(),
    }
)


def put(lake: Lake, table: str, schema: pl.Schema, day: date, rows: list[dict[str, Any]]) -> None:
    """Write rows of one day, columns that a row does not name being null."""
    frame = pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)
    lake.replace(table, frame.select(pl.lit(day).alias("day"), pl.all()), [day])


def gap(index: int, day: date = DAY, **changed: Any) -> dict[str, Any]:
    """Return one gap; `index` decides everything about it."""
    pick = random.Random(index)
    lines = Path(textwrap.__file__).read_text(encoding="utf-8").split("\n")
    at = pick.randrange(60, len(lines) - 60)
    final = "\n".join(lines[at : at + pick.choice((1, 1, 2, 4))])
    words = final.split(" ")
    words[pick.randrange(len(words))] = pick.choice(("value", "text", "None", "len(chunks)"))
    opened = datetime(day.year, day.month, day.day, 9, tzinfo=UTC) + timedelta(seconds=17 * index)
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
    lake: Lake,
    *,
    n_gaps: int = 40,
    n_kept: int = 24,
    day: date = DAY,
    checkpoint_dir: Path | None = None,
    **changed: Any,
) -> dict[str, Any]:
    """Fill every table for `day` and return the figures that the report must show.

    The first `n_kept` gaps are kept, of which the last four fall to balancing; each other one is rejected, reasons in
    turn. `changed` goes into every gap.
    """
    gaps = [gap(index, day, **changed) for index in range(n_gaps)]
    samples = [
        {**row, "sample_id": row["gap_id"], "middle": row["final"], "prefix": row["prefix"][-800:], "suffix": row["suffix"][:400], "scope": "block", "middle_tokens": 9}
        for row in gaps[:n_kept]
    ]  # fmt: skip
    balanced = [{**row, "stratum": f"{row['language']}/short"} for row in samples[:-4]]
    pick = random.Random(7)
    scored = [
        {**row, "middle_nats_per_token": abs(pick.gauss(2, 1)), "proposal_nats_per_token": 1.5, "middle_alone_nats_per_token": 4.0, "ifd": 0.5, "scorer": "base"}
        for row in balanced
    ]  # fmt: skip
    happened = [
        {"event_id": f"{kind}-{row['gap_id']}", "ts": row["opened_at"], "seq": 0, "kind": kind, **{name: row[name] for name in ("user_id", "session_id", "document", "source", "cohort")}}
        for row in gaps
        for kind in ("shown", "accepted" if row["outcome"].startswith("accepted") else "rejected", "edited")
    ]  # fmt: skip
    put(lake, "raw_events", events.SCHEMA, day, happened)
    put(
        lake,
        "quarantined_events",
        events.QUARANTINE_SCHEMA,
        day,
        [{"source": "native", "file": "a.ndjson", "line": 3, "reason": "unknown_kind", "detail": "kind"}],
    )
    put(lake, "gap_sessions", GAP_SCHEMA, day, gaps)
    put(lake, "filtered_samples", SAMPLE_SCHEMA, day, samples)
    put(lake, "balanced_samples", BALANCED_SCHEMA, day, balanced)
    put(lake, "scored_samples", SCORED_SCHEMA, day, scored)
    rejected = [
        {
            "sample_id": row["gap_id"],
            "stage": "filter",
            "reason": REASONS[index % len(REASONS)],
            "sample_day": day,
        }
        for index, row in enumerate(gaps[n_kept:])
    ] + [
        {"sample_id": row["sample_id"], "stage": "balance", "reason": "user_share", "sample_day": day}
        for row in samples[-4:]
    ]

    yesterday = day - timedelta(days=1)
    window = [
        {**row, "sample_id": f"old-{index:03d}", "middle_nats_per_token": abs(pick.gauss(2.1, 1.1))}
        for index, row in enumerate((scored * 20)[:300])
    ]
    high = {row["sample_id"] for row in window if row["middle_nats_per_token"] > 3.5}
    low = {row["sample_id"] for row in window if row["middle_nats_per_token"] < 0.3}
    put(lake, "scored_samples", SCORED_SCHEMA, yesterday, window)
    rejected += [
        {"sample_id": name, "stage": "denoise", "reason": reason, "sample_day": yesterday}
        for names, reason in ((sorted(high), "above_band"), (sorted(low), "below_band"))
        for name in names
    ]
    put(lake, "rejected_samples", REJECTED_SCHEMA, day, rejected)
    trained = [{**row, "sample_day": yesterday} for row in window if row["sample_id"] not in high | low]
    put(lake, "training_set", pl.Schema({**SCORED_SCHEMA, "sample_day": pl.Date()}), day, trained)

    provenance = {
        "base_model": "b4se",
        "config": "c0ffee",
        "training_set": {"digest": "d1gest", "version": 3},
        "days": [str(yesterday)],
    }
    put(lake, "checkpoint", CHECKPOINT_SCHEMA, day, [{
        "status": "trained", "path": None if checkpoint_dir is None else str(checkpoint_dir), "model_digest": "ca4d1da7e",
        "training_set_digest": "d1gest", "training_set_version": 3, "n_samples": len(trained), "steps": 48,
        "final_loss_nats_per_token": 1.625, "provenance": json.dumps(provenance),
    }])  # fmt: skip
    if checkpoint_dir is not None:
        checkpoint_dir.mkdir(parents=True, exist_ok=True)
        history = [
            {
                "step": step,
                "loss_nats_per_token": 1.5 + 2 * 0.93**step + pick.random() / 5,
                "learning_rate": 5e-5 * (1 - step / 50),
            }
            for step in range(1, 49)
        ]
        (checkpoint_dir / "history.json").write_text(json.dumps(history), encoding="utf-8")

    digests = {"base": "b4se", "champion": "c4amp", "candidate": "ca4d1da7e"}
    put(lake, "predictions", PREDICTION_SCHEMA, day, [
        {
            "sample_id": row["sample_id"], "user_id": row["user_id"], "language": row["language"], "is_held_out_user": False,
            "role": role, "model_digest": digest, "prediction": row["proposal"] if role == "base" else row["middle"],
            "is_exact_match": role != "base", "edit_similarity": 0.5 if role == "base" else 1.0, "middle_nats_per_token": 1.9,
        }
        for row in scored for role, digest in digests.items()
    ])  # fmt: skip
    for back in range(5, -1, -1):
        on = day - timedelta(days=back)
        put(lake, "online_metrics", ONLINE_SCHEMA, on, [
            {
                "model": "smollm2-135m" if back > 2 else "c4amp", "language": language, "cohort": gaps[0]["cohort"], "n_users": 3,
                "n_shown": 200 - 10 * back, "n_accepted": 60 - 4 * back, "acceptance_rate": (60 - 4 * back) / (200 - 10 * back),
                "weighted_acceptance_rate": 0.31, "generation_rate": 0.42, "kept_rate": 0.7 - back / 50,
                "typed_through_share": 0.05, "retained_30s_share": 0.81, "retained_300s_share": 0.64,
            }
            for language in ("python", "typescript")
        ])  # fmt: skip
        put(lake, "evaluated_model", EVALUATED_SCHEMA, on, _evaluated(digests, back))
    put(lake, "champion", CHAMPION_SCHEMA, day, [{
        "model_digest": "ca4d1da7e", "path": "models/ca4d1da7e", "decision": "promoted",
        "reason": "edit similarity is 0.045 above the champion's, interval 0.012 to 0.078, and no metric is worse",
        "candidate_digest": "ca4d1da7e", "decided_at": datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1),
    }])  # fmt: skip
    return {
        "n_events": 3 * n_gaps,
        "n_gaps": n_gaps,
        "n_filtered": n_kept,
        "n_balanced": n_kept - 4,
        "n_training": len(trained),
        "n_high": len(high),
        "n_low": len(low),
    }


def _evaluated(digests: dict[str, str], back: int) -> list[dict[str, Any]]:
    own = {
        "exact_match": (0.160, 0.168, 0.184),
        "edit_similarity": (0.413 - back / 200, 0.425 - back / 250, 0.470 - back / 150),
        "middle_nats_per_token": (2.214, 2.101, 1.873),
        "predicted_acceptance_rate": (0.231, 0.240, 0.262),
    }
    rows = []
    for part, n in (("all", 211), ("held_out_users", 64), ("language=python", 150)):
        for metric, values in own.items():
            for role, value in zip(digests, values, strict=True):
                rows.append({"role": role, "metric": metric, "slice": part, "value": value, "low": value * 0.94, "high": value * 1.05, "n_samples": n, "model_digest": digests[role]})  # fmt: skip
            for versus, value in zip(("base", "champion"), values, strict=False):
                difference = values[2] - value
                rows.append({"role": "candidate", "versus": versus, "metric": metric, "slice": part, "value": difference, "low": difference - 0.03, "high": difference + 0.03, "n_samples": n, "model_digest": digests["candidate"]})  # fmt: skip
    return rows
