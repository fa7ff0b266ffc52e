"""The columns of `gap_sessions`: one row per completion shown whose gap has closed.

Lengths and offsets are UTF-16 code units. The formulae of the counted columns are in `docs/gaps.md`.
"""

import polars as pl

from echo_dagster.events import TIMESTAMP

#: Seconds after acceptance at which VS Code and Cody measure what is left of a proposal.
RETENTION_SECONDS = (0, 30, 120, 300, 600, 900)

BREAK_REASONS = (
    "anchor_edited",  # an edit crossed a boundary of the gap
    "edited_elsewhere",  # the user went on to other code
    "idle",  # nothing happened inside the gap for as long as the policy waits
    "cursor_left",  # the cursor jumped away
    "document_closed",
    "lifetime",  # the policy's longest gap
    "outgrown",  # the text inside grew past the policy's largest gap
    "anchor_lost",  # a later snapshot of the document does not contain the anchors
    "stream_end",  # the log ends here
)

OUTCOMES = (
    "accepted",
    "accepted_then_edited",
    "accepted_then_removed",
    "partially_accepted",
    "typed_through",
    "rejected_then_written",
    "rejected",
    "ignored",
    "superseded",
)

#: Outcomes in which the user took the proposal, whole or in part.
ACCEPTED_OUTCOMES = ("accepted", "accepted_then_edited", "accepted_then_removed", "partially_accepted")

GAP_SCHEMA = pl.Schema(
    {
        "gap_id": pl.String(),
        "completion_id": pl.String(),
        "region_id": pl.String(),
        "reshown_of": pl.String(),  # the gap in which the same proposal was shown first; null for a new proposal
        "user_id": pl.String(),
        "session_id": pl.String(),
        "document": pl.String(),
        "repository": pl.String(),
        "language": pl.String(),
        "model": pl.String(),
        "source": pl.String(),
        "cohort": pl.String(),
        "consent": pl.Boolean(),
        "latency_ms": pl.Int64(),  # from the request to this showing; null where the tool does not say
        "opened_at": TIMESTAMP,
        "closed_at": TIMESTAMP,
        "break_reason": pl.String(),
        "offset": pl.Int64(),  # null where the tool does not say how much precedes the prefix
        "prefix": pl.String(),  # C_0 before the gap
        "suffix": pl.String(),  # C_0 after the gap, without what the proposal replaces; null where not kept
        "replaced": pl.String(),  # what stood in the gap when the proposal was shown
        "proposal": pl.String(),  # C_1
        "final": pl.String(),  # C_N
        "outcome": pl.String(),
        "accepted_chars": pl.Int64(),
        "typed_chars": pl.Int64(),
        "pasted_chars": pl.Int64(),
        "agent_chars": pl.Int64(),
        "kept_rate": pl.Float64(),
        **{f"retained_{seconds}s": pl.Int64() for seconds in RETENTION_SECONDS},
        "n_edits": pl.Int64(),  # null where no view showed the gap again
        "tracking": pl.String(),  # "edits" or "snapshots"
        "censored": pl.Boolean(),
    }
)
