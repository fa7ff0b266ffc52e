"""The model that serves, where a server finds it: a path that stays, a record beside it, and the list of changes.

`<data_dir>/champion` is a symbolic link to the model directory, `<data_dir>/champion.json` says which model that is
and since when. What lives here: keeping both as the last row of `champion` says, whatever day was decided last; and
noting each change. What does not: deciding (`champion.py`), and telling a server over the network (`webhook.py`).
"""

from __future__ import annotations

import json
import os
import tempfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from echo_dagster import __version__
from echo_dagster.evaluation import champion as champions
from echo_dagster.evaluation.schema import CHANGE_SCHEMA
from echo_dagster.lake import Lake, TableMissing
from echo_dagster.models import ResolvedModel

CHANGES = "champion_changes"
#: The link and the record, in the data directory.
LINK, RECORD = "champion", "champion.json"


def publish(lake: Lake, data_dir: Path, base: ResolvedModel, now: datetime) -> dict[str, Any] | None:
    """Make link and record say what serves, and return the change that this is; null where it is none.

    Each is replaced atomically, the link first: who reads the record finds the link in place. Whoever was killed in
    between is made up for by the next call.

    Raises:
        ChampionMissing: the directory of what serves is gone; link and record stay as they are.
        TableMissing: no day was decided yet.
    """
    with champions.deciding(lake):
        row = champions.last_row(lake)
        if row is None:
            raise TableMissing("no day was decided yet: materialize `champion` first")
        serving = champions.current(lake, date.max, base)
        _point(data_dir / LINK, serving.path)
        told = {
            "digest": serving.digest,
            "path": str(serving.path.absolute()),
            "is_base": serving.since is None,
            "since": serving.since,
            "day": row["day"],
            "decision": row["decision"],
            "decided_by": row["decided_by"],
            "reason": row["reason"],
            "versions": {"champion": lake.version("champion"), "echo_dagster": __version__},
        }
        _write(data_dir / RECORD, json.dumps(told, indent=2, default=str) + "\n")
        return _note(lake, row, serving, now)


def changes(lake: Lake) -> pl.DataFrame:
    """Return every change of what serves, in order: `day` and `CHANGE_SCHEMA`."""
    if not lake.exists(CHANGES):
        return pl.DataFrame(schema={"day": pl.Date(), **CHANGE_SCHEMA})
    return lake.read(CHANGES).sort("change_id").collect()


def _note(
    lake: Lake, row: dict[str, Any], serving: champions.Champion, now: datetime
) -> dict[str, Any] | None:
    known = changes(lake)
    before = None if known.is_empty() else known.item(-1, "model_digest")
    if before == serving.digest:
        return None
    change = {
        "day": row["day"],
        "change_id": f"{known.height + 1:06d}-{serving.digest[:12]}",
        "changed_at": now.astimezone(UTC),
        "model_digest": serving.digest,
        "path": str(serving.path),
        "since": serving.since,
        "previous_digest": before,
        "decision": row["decision"],
        "reason": row["reason"],
        "decided_by": row["decided_by"],
    }
    lake.append(CHANGES, pl.DataFrame([change], schema={"day": pl.Date(), **CHANGE_SCHEMA}))
    return change


def _point(link: Path, target: Path) -> None:
    """Make `link` lead to a directory: relative where that lies in the same data directory, which may be moved."""
    home, there = link.parent.resolve(), target.resolve()
    wanted = there.relative_to(home) if there.is_relative_to(home) else there
    if link.is_symlink() and link.readlink() == wanted:
        return
    with tempfile.TemporaryDirectory(dir=home, prefix=f".{link.name}-") as scratch:
        made = Path(scratch) / link.name
        made.symlink_to(wanted, target_is_directory=True)
        made.replace(link)


def _write(file: Path, text: str) -> None:
    """Replace a file as a whole."""
    making = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        making.write_text(text, encoding="utf-8")
        making.replace(file)
    finally:
        making.unlink(missing_ok=True)
