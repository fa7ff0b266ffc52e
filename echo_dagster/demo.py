"""`make demo`: simulated developers, the whole pipeline on what they did, and tables of what came of it.

Run as `python -m echo_dagster.demo`, with `ECHO_CONFIG` naming configs/demo.yaml and `DAGSTER_HOME` a
folder for Dagster's history. A second run does only what is not done yet. What does not live here: the
tables (`demo_tables.py`), and every stage, which the demo runs as any user would.
"""

from __future__ import annotations

import importlib.util
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from echo_dagster import configuration, demo_tables, models, terminal
from echo_dagster.lake import Lake
from echo_dagster.models import ResolvedModel
from echo_dagster.settings import Settings

#: A code base that nobody here wrote and that is installed wherever this runs.
CODE_BASE = "dagster"
#: Three days to learn from and one to be tried on; sizes that two CPU cores finish in minutes.
N_DAYS = 4
N_USERS = 7
GAPS_PER_USER_DAY = 14
SEED = 17


def main() -> int:
    """Run the demo and print what came of it."""
    configured = configuration.load()
    first, last = configured.start_day, configured.start_day + timedelta(days=N_DAYS - 1)
    terminal.console.rule("Echo for Dagster, on simulated developers")
    with terminal.bar("the base model, converted once") as progress:
        base = models.resolve(configured.base_model, configured.data_dir)
        progress(1, 1)
    counts = simulate(configured, base)
    materialize(first, last)
    demo_tables.show(Lake(configured.lake_dir), configured, first, last, landed=counts)
    return 0


def simulate(configured: Settings, base: ResolvedModel) -> dict[str, Any]:
    """Write the landing files of simulated developers, unless they are there already; return the counts."""
    from echo_dagster.simulation import agent, workday

    source, out = _code_base(), _landing_folder(configured)
    size: dict[str, Any] = {"users": N_USERS, "gaps_per_user_day": GAPS_PER_USER_DAY, "seed": SEED}
    start = configured.start_day
    counts = workday.counts_if_simulated(source, N_DAYS, start, out, model_digest=base.digest, **size)
    if counts is not None:
        terminal.console.print(f"the simulated log is there already: {out}", highlight=False)
        return counts
    what = f"simulating {N_USERS} developers over {N_DAYS} days"
    with terminal.bar(what) as progress:
        beside = agent.from_settings(configured)
        made = workday.simulate(source, N_DAYS, start, out, agent=beside, progress=progress, **size)
    return made.counts()


def materialize(first: date, last: date) -> None:
    """Materialize the days through Dagster, all but what it has done before with the same inputs."""
    from echo_dagster import definitions

    with terminal.asset_bars() as on_step:
        definitions.materialize(first, last, on_step=on_step, skip_done=True)


def _code_base() -> Path:
    """Return the directory of the installed code base, without importing it."""
    spec = importlib.util.find_spec(CODE_BASE)
    if spec is None or spec.origin is None:
        raise LookupError(
            f"the demo writes the sources of {CODE_BASE!r}, which is not installed; run: make setup"
        )
    return Path(spec.origin).parent


def _landing_folder(configured: Settings) -> Path:
    """Return the folder in which the configured source named `simulated` looks for its files."""
    for source in configured.sources:
        if source.name == "simulated":
            return Path(source.path).parent
    raise LookupError("the demo needs a source named 'simulated'; set ECHO_CONFIG to configs/demo.yaml")


if __name__ == "__main__":
    sys.exit(main())
