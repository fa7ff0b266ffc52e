"""What processes leave below the data directory when they are killed, or stopped and never started again.

What does not live here: files of tables that no version needs (`Lake.vacuum`).
"""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path

from echo_dagster.scratch import remove_abandoned

#: Where scratch folders are made, and how their names begin.
_SCRATCH = ((".", "landing-"), ("spill", "gaps-"), ("spill", "ablation-"), ("lake", ".staging-"))

#: Other work in progress. None of it takes a day.
_UNFINISHED = (
    ".pseudonym-*",
    ".champion-*",
    ".champion.json.*",
    "lake/.spill/*",
    "models/.*.????????/",
    "reports/.*.html.*",
)
_LONGEST = timedelta(days=1)


def remove(data_dir: Path, now: datetime) -> list[Path]:
    """Remove what killed processes left, and return it. What a living process uses stays."""
    found = [path for parent, prefix in _SCRATCH for path in remove_abandoned(data_dir / parent, prefix)]
    for pattern in _UNFINISHED:
        old = [path for path in sorted(data_dir.glob(pattern)) if _last_touched(path) < now - _LONGEST]
        for path in old:
            _remove(path)
        found += old
    return found


def remove_stopped_trainings(data_dir: Path, before: datetime) -> list[Path]:
    """Remove the work of trainings that nothing has touched since `before`, and return their directories.

    A training that is not finished goes with everything: its settings may have changed, so that nobody goes on with it.
    """
    stopped = []
    for file in sorted(data_dir.glob("checkpoints/*/*/job.json")):
        training = file.parent
        is_finished = (training / "model" / "provenance.json").is_file()
        unfinished = [training / "work", training / ".model.unfinished"] if is_finished else [training]
        present = [path for path in unfinished if path.exists()]
        if present and max(map(_last_touched, present)) < before:
            for path in present:
                _remove(path)
            stopped.append(training)
    return stopped


def _last_touched(path: Path) -> datetime:
    """Return when a file, or anything in a directory, was last changed; of one that is gone meanwhile, now."""
    now = datetime.now().astimezone()
    try:
        latest = max(inner.stat().st_mtime for inner in (path, *path.rglob("*")))
    except FileNotFoundError:
        return now
    return datetime.fromtimestamp(latest, now.tzinfo)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
