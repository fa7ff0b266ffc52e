"""Gaps followed by later requests alone, beside the same gaps followed edit by edit.

A log with edits is made into what a server would have kept of it: the requests whose proposals were shown, and the
decisions. Both are extracted, and the rows of the same gap compared. What a request can show is read off the edits by
a replay of the document that knows nothing of the extraction: a gap's place stands as long as the two characters
beside it do. `docs/benchmarks.md` says what each figure means.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
from rich.table import Table

from echo_dagster import events, utf16
from echo_dagster.acquisition import landing
from echo_dagster.extraction.gaps import extract_frame
from echo_dagster.extraction.policies import PRESETS, Policy
from echo_dagster.simulation import workday
from echo_dagster.simulation.agent import Request

STREAM = ("user_id", "session_id", "document")

#: Real sessions from public repositories, beside the checkout; absent from most machines.
RECORDING = (
    Path(__file__).resolve().parents[2] / "shared/data/recordings/vscode-ts-customized.recording.w.json"
)

#: Characters that a server keeps on either side of the cursor in the variants that cut.
CUT = 2_000


def server_log(log: pl.DataFrame, cut: int | None = None) -> pl.DataFrame:
    """Return what a server would have kept of a log: no edit, no cursor, no snapshot, nothing when a file is closed.

    Args:
        log: a frame of `events.SCHEMA`.
        cut: keep so many characters on either side of the cursor, and not where in the document they stand.
    """
    kept = log.filter(pl.col("kind").is_in(["shown", "accepted", "rejected"]))
    if cut is None:
        return kept
    return kept.with_columns(
        offset=pl.lit(None, pl.Int64()),
        prefix=pl.col("prefix").str.tail(cut),
        suffix=pl.col("suffix").str.head(cut),
    )


def compare(log: pl.DataFrame, policy: Policy, cut: int | None = None) -> pl.DataFrame:
    """Return one row per proposal of a log with edits.

    Columns: `gap_id`, `document`, `opened_at`, `final`, `break_reason`, `proposal`; the same found by snapshots as
    `final_seen` and `break_reason_seen`, with `n_edits_seen` and `censored_seen`; `is_shown_again` and
    `is_final_shown`: whether a later request shows the gap's place, and C_N in it; `is_found` and `is_same`.
    """
    kept = server_log(log, cut)
    exact = extract_frame(log, policy).filter(pl.col("tracking") == "edits")
    seen = extract_frame(kept, policy).select(
        "gap_id",
        pl.col("final", "break_reason", "n_edits", "censored", "tracking").name.suffix("_seen"),
    )
    told = pl.DataFrame(
        list(_shown_again(log, kept, exact, policy)),
        schema={"gap_id": pl.String(), "is_shown_again": pl.Boolean(), "is_final_shown": pl.Boolean()},
        orient="row",
    )
    compared = exact.join(seen, on="gap_id", validate="1:1").join(told, on="gap_id", validate="1:1")
    if compared.height != exact.height or (compared["tracking_seen"] != "snapshots").any():
        raise ValueError("the two extractions are not of the same gaps")
    return compared.with_columns(
        is_found=pl.col("n_edits_seen").is_not_null() & (pl.col("break_reason_seen") != "anchor_lost"),
        is_same=pl.col("final_seen") == pl.col("final"),
    )


def figures(compared: pl.DataFrame) -> dict[str, int]:
    """Count the rows of `compare`. Each figure is a part of an earlier one, as `docs/benchmarks.md` says."""
    shown = compared.filter("is_shown_again")
    final = compared.filter("is_final_shown")
    sure = compared.filter(~pl.col("censored_seen"))
    return {
        "proposals": compared.height,
        "shown_again": shown.height,
        "found": shown["is_found"].sum(),
        "found_same": (shown["is_found"] & shown["is_same"]).sum(),
        "final_shown": final.height,
        "final_found": final["is_found"].sum(),
        "final_found_same": (final["is_found"] & final["is_same"]).sum(),
        "uncensored": sure.height,
        "uncensored_same": sure["is_same"].sum(),
    }


def measure(folder: Path, recording: Path | None = None) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield (what, figures): simulated days, and a recording where there is one, each whole and cut.

    Args:
        folder: for files made on the way.
        recording: a VS Code workspace recording.
    """
    logs = {"simulated days": simulated(library())}
    if recording is not None:
        imported = folder / "recording.parquet"
        landing.import_files("vscode_recording", [recording], imported, consent=True, data_dir=folder)
        logs["recording"] = pl.read_parquet(imported)
    for name, log in logs.items():
        yield name, figures(compare(log, PRESETS["echo"]))
        yield f"{name}, cut", figures(compare(log, PRESETS["echo"], CUT))


def table(measured: Iterable[tuple[str, Mapping[str, int]]]) -> Table:
    """Return what `measure` yields as the table of `docs/benchmarks.md`."""
    made = Table(title="snapshot tracking beside exact tracking")
    parts = ("shown again", "found", "same", "C_N shown", "found", "same", "not censored", "same")
    for heading in ("", "proposals", *parts):
        made.add_column(heading, justify="right" if heading else "left")
    for what, n in measured:
        shares = (
            (n["found"], n["shown_again"]),
            (n["found_same"], n["found"]),
            (n["final_found"], n["final_shown"]),
            (n["final_found_same"], n["final_found"]),
            (n["uncensored_same"], n["uncensored"]),
        )
        found, same, final_found, final_same, sure = (f"{part / whole:.1%}" for part, whole in shares)
        counts = (f"{n[name]:,}" for name in ("proposals", "shown_again", "final_shown", "uncensored"))
        proposals, again, final, uncensored = counts
        made.add_row(what, proposals, again, found, same, final, final_found, final_same, uncensored, sure)
    return made


def simulated(
    source: Path, *, users: int = 6, days: int = 2, gaps_per_user_day: int = 40, seed: int = 3
) -> pl.DataFrame:
    """Return the log of simulated developers beside an agent that knows what they write, more or less."""
    agent = _Knowing([path.read_text(encoding="utf-8") for path in sorted(source.rglob("*.py"))])
    start = date(2026, 1, 5)
    sessions = workday.plan(
        source, days, start, users=users, gaps_per_user_day=gaps_per_user_day, seed=seed, model=agent.model
    )
    workday.run(sessions, agent)
    return events.frame([events.to_row(event) for session in sessions for event in session.editor.events])


def library() -> Path:
    """Return a folder of real code that is on every machine that runs this."""
    import dagster

    return Path(dagster.__file__).parent / "_core"


@dataclass(frozen=True)
class _Knowing:
    """Proposes the code that follows in the file, in two of three cases spoilt at its end."""

    texts: Sequence[str]
    model: str = "knowing"
    digest: str = "0" * 16

    def propose(self, requests: Sequence[Request]) -> list[str]:
        return [self._propose(request) for request in requests]

    def _propose(self, request: Request) -> str:
        tail = request.prefix[-60:]
        text = next((text for text in self.texts if tail in text), tail)
        following = text[text.index(tail) + len(tail) :]
        true = "\n".join(following.split("\n")[: request.max_lines]).rstrip()
        words = true.split(" ")
        spoilt = (true, " ".join([*words[:-1], "other"]), words[0] + " or something else()")
        return random.Random(request.prefix[-200:]).choice(spoilt)


@dataclass
class _Place:
    """Where a gap is: between two characters of the document, null at its ends."""

    gap_id: str
    final: str
    opened_at: int
    before: object | None
    after: object | None
    is_shown_again: bool = False
    is_final_shown: bool = False


@dataclass
class _Document:
    """A document as one object for each UTF-16 unit, so that a place can be found again."""

    cells: list[object] = field(default_factory=list)
    text: str = ""  # one character for each unit

    def splice(self, start: int, stop: int, text: str) -> None:
        text = utf16.to_units(text)
        self.cells[start:stop] = [object() for _ in text]
        self.text = self.text[:start] + text + self.text[stop:]


def _shown_again(
    log: pl.DataFrame, kept: pl.DataFrame, exact: pl.DataFrame, policy: Policy
) -> Iterator[tuple[str, bool, bool]]:
    """Yield (gap_id, whether a later request shows the gap's place, whether it shows C_N there).

    A request counts while it comes in time: within the policy's lifetime of the proposal, with no pause between two
    requests as long as its idle time.
    """
    windows = {row["event_id"]: row for row in kept.filter(pl.col("kind") == "shown").iter_rows(named=True)}
    gaps = {row["completion_id"]: row for row in exact.iter_rows(named=True)}
    for stream in log.sort(events.STREAM_ORDER).partition_by(STREAM, maintain_order=True):
        document, places, last_at = _Document(), [], 0
        times = stream["ts"].to_physical().to_list()
        for ts, event in zip(times, stream.iter_rows(named=True), strict=True):
            start = event["offset"] or 0
            if event["kind"] == "snapshot":
                text = event["prefix"] + (event["suffix"] or "")
                if utf16.to_units(text) != document.text:
                    document.splice(0, len(document.text), text)
            elif event["kind"] == "edited":
                document.splice(start, start + event["length"], event["text"])
            elif event["kind"] == "shown":
                if ts - last_at >= policy.idle_s * 1e6:
                    yield from map(_told, places)
                    places = []
                last_at = ts
                _look(document, places, windows[event["event_id"]], start, ts - policy.lifetime_s * 1e6)
                gap = gaps[event["completion_id"]]
                beside = [None, *document.cells, None]
                stop = start + (event["length"] or 0)
                places.append(_Place(gap["gap_id"], gap["final"], ts, beside[start], beside[stop + 1]))
        yield from map(_told, places)


def _look(
    document: _Document, places: Sequence[_Place], window: Mapping[str, Any], cursor: int, oldest: float
) -> None:
    """Note which places a request shows."""
    first = cursor - utf16.length(window["prefix"])
    last = cursor + utf16.length(window["suffix"] or "")
    at = {cell: number for number, cell in enumerate(document.cells)}
    for place in places:
        start = 0 if place.before is None else at.get(place.before, -2) + 1
        stop = len(document.cells) if place.after is None else at.get(place.after, -1)
        if place.opened_at > oldest and first <= start <= stop <= last and start >= 0:
            place.is_shown_again = True
            place.is_final_shown |= document.text[start:stop] == utf16.to_units(place.final)


def _told(place: _Place) -> tuple[str, bool, bool]:
    return place.gap_id, place.is_shown_again, place.is_final_shown
