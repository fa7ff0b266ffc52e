"""How an inspection is told: rows of a table for people, JSON for machines.

What does not live here: what is counted (`inspection.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from echo_dagster.acquisition.importers import file_name
from echo_dagster.acquisition.inspection import Found, Inspection
from echo_dagster.acquisition.source_patterns import lines_of_yaml

#: So few days are told one by one.
_FEW_DAYS = 7
_FEW_VALUES = 8
_FEW_FILES = 20

_TRACKING = {
    "edits": "edits: gaps are followed exactly",
    "snapshots": "snapshots: gaps are found again in them",
    "later proposals": "neither edits nor snapshots: gaps are found again in later proposals",
}


def rows(found: Found) -> dict[str, str]:
    """Return what to tell people of the files of one importer, by name; what there is none of is left out."""
    shown = found.kinds.get("shown", 0)
    told = {
        "because": "; ".join(
            why if files == len(found.files) else f"{why} ({files:,} of the files)"
            for why, files in found.why.items()
        ),
        "files": f"{len(found.files):,}",
        "lines": f"{found.lines:,}" + (" (not all: --limit)" if found.is_partial else ""),
        "days": _days(found),
        "users": "none is named: set user" if found.names_no_user else f"{found.users:,}",
        "sessions": f"{found.sessions:,}",
        "documents": f"{found.documents:,}",
        "repositories": f"{found.repositories:,}",
        "kinds": _counted(found.kinds),
        "rejected": _counted(found.rejected),
        "shown, by language": _counted(found.languages),
        "shown, by model": _counted(found.models),
        "shown, with a suffix": _share(found.with_suffix, shown),
        "shown, at a known offset": _share(found.with_offset, shown),
        "followed by": _TRACKING[found.tracking] if shown else "",
        "cohorts": _counted(found.cohorts),
        "consent": _counted(found.consent),
    }
    for reason, lines in found.quarantined.items():
        told[f"quarantined: {reason}"] = f"{lines.lines:,} ({', '.join(lines.examples)})"
    return {name: text for name, text in told.items() if text}


def unknown_rows(inspection: Inspection) -> dict[str, str]:
    """Return why files are not read, by file; of many the first."""
    told = {file_name(path): why for path, why in list(inspection.unknown.items())[:_FEW_FILES]}
    more = len(inspection.unknown) - len(told)
    return told | ({"...": f"{more:,} more"} if more else {})


def as_json(inspection: Inspection) -> str:
    """Return an inspection as one JSON object: `found`, a list, `unknown`, why by file, and `yaml`."""
    found = [
        {
            **asdict(one),
            "files": [_plain(asdict(file)) for file in one.files],
            "days": {day.isoformat(): events for day, events in one.days.items()},
            "tracking": one.tracking,
        }
        for one in inspection.found
    ]
    unknown = {file_name(path): why for path, why in inspection.unknown.items()}
    told = {"found": found, "unknown": unknown, "yaml": lines_of_yaml(inspection)}
    return json.dumps(told, indent=2, ensure_ascii=False)


def _plain(values: Mapping[str, Any]) -> dict[str, str | None]:
    return {
        name: file_name(value) if isinstance(value, Path) else value and value.isoformat()
        for name, value in values.items()
    }


def _days(found: Found) -> str:
    days = list(found.days)
    if not days:
        return ""
    if len(days) <= _FEW_DAYS:
        return _counted({day.isoformat(): events for day, events in found.days.items()})
    return f"{days[0]} to {days[-1]}: {len(days):,}"


def _counted(values: Mapping[str, int]) -> str:
    told = [f"{name} {count:,}" for name, count in list(values.items())[:_FEW_VALUES]]
    more = len(values) - len(told)
    return ", ".join([*told, *([f"{more:,} more"] if more else [])])


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else ""
