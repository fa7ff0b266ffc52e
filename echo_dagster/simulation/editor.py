"""An editor that records: the documents of one session, its clock, and every event of the experience log it
causes.

What lives here: keeping text, time and the log in step. What does not: deciding what to type (`keyboard.py`,
`workday.py`). Callers speak of positions in code points; the log speaks of UTF-16 code units.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from echo_dagster import utf16

#: A client sends the model's surroundings of the cursor, not the file: characters kept before and after.
_CONTEXT_CHARS = (6_000, 3_000)


class Editor:
    """One session: several documents, one clock, one log.

    `constant` holds the columns that are the same in every event of the session, such as `user_id` and
    `consent`.
    """

    def __init__(self, session_id: str, start: datetime, constant: Mapping[str, Any], model: str) -> None:
        self.session_id = session_id
        self.now = start
        self.events: list[dict[str, Any]] = []
        self._constant = dict(constant)
        self._model = model
        self._texts: dict[str, str] = {}
        self._n_shown = 0

    def wait(self, seconds: float) -> None:
        """Let time pass, in whole milliseconds."""
        self.now += timedelta(milliseconds=round(seconds * 1000))

    def text(self, document: str) -> str:
        """Return what stands in an open document."""
        return self._texts[document]

    def open(self, document: str, text: str) -> None:
        """Open a document, the cursor at its start."""
        self._texts[document] = text
        self._record("snapshot", document, prefix="", suffix=text)

    def close(self, document: str) -> None:
        """Close a document."""
        del self._texts[document]
        self._record("closed", document)

    def edit(self, document: str, position: int, removed: int, inserted: str, reason: str) -> None:
        """Replace `removed` characters at `position`."""
        text = self._texts[document]
        self._record(
            "edited",
            document,
            offset=utf16.length(text[:position]),
            length=utf16.length(text[position : position + removed]),
            text=inserted,
            reason=reason,
        )
        self._texts[document] = text[:position] + inserted + text[position + removed :]

    def move(self, document: str, position: int) -> None:
        """Put the cursor somewhere else."""
        self._record("cursor", document, offset=utf16.length(self._texts[document][:position]))

    def show(self, document: str, position: int, proposal: str) -> str:
        """Show a proposal at the cursor and return its id."""
        text = self._texts[document]
        before, after = _CONTEXT_CHARS
        completion_id = f"{self.session_id}-c{self._n_shown:04d}"
        self._n_shown += 1
        self._record(
            "shown",
            document,
            completion_id=completion_id,
            model=self._model,
            offset=utf16.length(text[:position]),
            length=0,
            text=proposal,
            prefix=text[max(0, position - before) : position],
            suffix=text[position : position + after],
        )
        return completion_id

    def accept(
        self, document: str, position: int, completion_id: str, text: str, *, partial: bool = False
    ) -> None:
        """Take a proposal, or the next part of it: the decision, then the edit that it makes."""
        offset = utf16.length(self._texts[document][:position])
        decision = {"completion_id": completion_id, "model": self._model, "offset": offset}
        self._record("accepted", document, **decision, **({"text": text} if partial else {}))
        self.edit(document, position, 0, text, "accept")

    def reject(self, document: str, completion_id: str, reason: str) -> None:
        """Let a proposal go away."""
        self._record("rejected", document, completion_id=completion_id, model=self._model, reason=reason)

    def _record(self, kind: str, document: str, **columns: Any) -> None:
        seq = len(self.events)
        self.events.append(
            {
                "event_id": f"{self.session_id}-{seq:06d}",
                "ts": self.now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "seq": seq,
                "session_id": self.session_id,
                "document": document,
                "kind": kind,
                **columns,
                **self._constant,
            }
        )
