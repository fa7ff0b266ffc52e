"""Whether a checkpoint is the one that today's lineage asks for: its record against what is expected.

What lives here: the comparison. What does not: making the record (`optimization/`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE = "provenance.json"


class ProvenanceMismatch(RuntimeError):
    """A checkpoint made from something else than today's lineage. The message lists every difference."""


def verify_provenance(
    checkpoint_dir: Path, expected: Mapping[str, Any], asset: str = "checkpoint"
) -> dict[str, Any]:
    """Return the record beside a checkpoint after checking that it says all that is `expected`.

    Each expected name is a key of the record; `a.b` is key `b` of the object under `a`. Keys that are not
    expected are not looked at. `asset` is the one that trains the checkpoint.

    Raises:
        ProvenanceMismatch: the record is missing, unreadable, or differs.
    """
    file, remedy = checkpoint_dir / FILE, f"materialize `{asset}` for this day again, then evaluate it"
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ProvenanceMismatch(
            f"{file} is missing, so nobody can say what was trained there; {remedy}"
        ) from error
    except ValueError as error:
        raise ProvenanceMismatch(f"{file} is not JSON: {error}; {remedy}") from error
    differences = [
        f"  - {name}: the checkpoint was made with {_shown(found)}, expected {_shown(wanted)}"
        for name, wanted in expected.items()
        if (found := _lookup(record, name)) != json.loads(json.dumps(wanted, default=str))
    ]
    if differences:
        raise ProvenanceMismatch(
            f"{checkpoint_dir} is not the checkpoint of today's lineage:\n"
            + "\n".join(differences)
            + f"\n{remedy}"
        )
    return dict(record)


class _Missing:
    """What stands for a key that the record does not have; equal to nothing."""


def _lookup(record: Any, name: str) -> Any:
    for key in name.split("."):
        if not isinstance(record, dict) or key not in record:
            return _Missing
        record = record[key]
    return record


def _shown(value: Any) -> str:
    return "nothing (the record does not say)" if value is _Missing else json.dumps(value, default=str)
