"""Runs from a terminal: the same that the UI would launch, in this process, with their progress.

Used by `echo-dagster materialize`, `forget` and `champion`, and by the demo. The runs stand in the instance's history
like any other.
"""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import sha256
from typing import Any

import dagster as dg
import polars as pl
from dagster import DagsterEventType, DagsterInstance, DagsterRunStatus, RunsFilter

from assets.automation import DATA_ASSETS, ON_DEMAND
from assets.conventions import DAYS
from echo_dagster import __version__
from echo_dagster.acquisition import landing
from echo_dagster.acquisition.privacy import pseudonymiser
from echo_dagster.evaluation import champion as champions
from echo_dagster.evaluation.overrides import Action
from echo_dagster.governance.forget import models_of
from echo_dagster.lake import Lake
from echo_dagster.settings import Settings
from echo_dagster.terminal import Step

_COUNTED = re.compile(r"^(?P<what>.+): (?P<done>\d+) of (?P<total>\d+)$")
_INPUTS_TAG = "echo/inputs"
#: What Dagster puts around the error that an asset raised.
_WRAPPERS = ("Dagster", "RetryRequested")


class MaterializeFailed(RuntimeError):
    """A run failed; its history is in the UI."""


@dataclass(frozen=True)
class ForgottenPerson:
    """What a run of `forget` removed, and the models that learnt (`day` and `forgotten.CHECKPOINTS_SCHEMA`).

    Runs under way may have read the person before: what they write goes with the next run of `retention`.
    """

    pseudonym: str
    rows: dict[str, int]
    pages: tuple[str, ...]
    trainings: tuple[str, ...]
    runs_under_way: tuple[str, ...]
    models: pl.DataFrame


def materialize(
    defs: dg.Definitions,
    settings: Settings,
    first: date,
    last: date,
    *,
    select: Sequence[str] | None = None,
    on_step: Callable[[Step], None] = lambda step: None,
    skip_done: bool = False,
    instance: DagsterInstance | None = None,
) -> int:
    """Materialize days `first` to `last`: the data in one run over the range, then model and report day by day.

    `select` names assets; None is all but those on demand. With `skip_done`, what a run has already done with the same
    landing files, settings and code is left alone. Returns the number of runs.

    Raises:
        ValueError: an unknown asset, or days outside the partitions.
        MaterializeFailed: a run failed; the message names its asset.
    """
    known = {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}
    chosen = list(known - set(ON_DEMAND) if select is None else select)
    if unknown := sorted(set(chosen) - known):
        raise ValueError(f"unknown assets: {', '.join(unknown)}; expected some of {', '.join(sorted(known))}")
    keys = [(first + timedelta(days=ahead)).isoformat() for ahead in range((last - first).days + 1)]
    if outside := [key for key in keys if not DAYS.has_partition_key(key)] or not keys:
        raise ValueError(
            f"no such days: {outside or f'{first} to {last}'}; the partitions end yesterday (UTC)"
        )
    data = [name for name in chosen if name in (*DATA_ASSETS, "base_model")]
    model = [name for name in chosen if name not in (*data, *ON_DEMAND)]
    plan = [("daily", keys, data)] if data else []
    plan += [("daily", [key], model) for key in keys] if model else []
    plan += [(job, [key], [name]) for name, job in ON_DEMAND.items() if name in chosen for key in keys]
    ran = 0
    with DagsterInstance.get() if instance is None else nullcontext(instance) as live:
        for job, days, names in plan:
            inputs = _inputs(settings, days)
            if skip_done and _is_done(live, days, names, inputs):
                continue
            _run(defs.resolve_job_def(job), live, days, names, inputs, on_step)
            ran += 1
    return ran


def forget(
    defs: dg.Definitions,
    settings: Settings,
    user: str,
    *,
    on_step: Callable[[Step], None] = lambda step: None,
    instance: DagsterInstance | None = None,
) -> ForgottenPerson:
    """Run the job `forget` for a person, given by the name in the logs or by pseudonym. Dagster sees the pseudonym.

    Raises:
        MaterializeFailed: the run failed. To run it again goes on where it stopped.
    """
    pseudonym = pseudonymiser(settings.data_dir)(user)
    config = {"ops": {"forget_person": {"config": {"pseudonym": pseudonym}}}}
    with DagsterInstance.get() if instance is None else nullcontext(instance) as live:
        result = _execute(defs.resolve_job_def("forget"), live, pseudonym, on_step, config)
    (output,) = (event.step_output_data for event in result.all_events if event.is_successful_output)
    told: dict[str, Any] = {name: value.value for name, value in output.metadata.items()}
    return ForgottenPerson(
        pseudonym=pseudonym,
        rows=told["rows"],
        pages=tuple(told["pages"]),
        trainings=tuple(told["trainings"]),
        runs_under_way=tuple(told["runs_under_way"]),
        models=models_of(Lake(settings.lake_dir), pseudonym),
    )


@dataclass(frozen=True)
class DecidedByHand:
    """What a run of `rollback` or `override` left: the last row of `champion`, and whether the server knows of it."""

    row: dict[str, Any]
    server: str


def override(
    defs: dg.Definitions,
    settings: Settings,
    action: Action,
    asked: str | None,
    *,
    by: str,
    reason: str,
    on_step: Callable[[Step], None] = lambda step: None,
    instance: DagsterInstance | None = None,
) -> DecidedByHand:
    """Run the job `rollback`, or `override` for any other action; `asked` is the model or the day that is meant.

    Raises:
        MaterializeFailed: the run failed; where it was refused, nothing was recorded.
    """
    signed: dict[str, Any] = {"by": by, "reason": reason}
    if action == "rollback":
        job, ops = "rollback", {"roll_champion_back": {"config": {"to": asked or "", **signed}}}
    else:
        job, ops = "override", {"override_gate": {"config": {"action": action, "day": asked, **signed}}}
    with DagsterInstance.get() if instance is None else nullcontext(instance) as live:
        result = _execute(defs.resolve_job_def(job), live, action, on_step, {"ops": ops})
    (check,) = result.get_asset_check_evaluations()
    row = champions.last_row(Lake(settings.lake_dir))
    assert row is not None  # the run would have failed
    return DecidedByHand(row, check.description or "")


def _run(
    job: dg.JobDefinition,
    instance: DagsterInstance,
    days: Sequence[str],
    names: Sequence[str],
    inputs: str,
    on_step: Callable[[Step], None],
) -> None:
    label = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    tags = {_INPUTS_TAG: inputs}
    if len(days) > 1:
        tags |= {
            "dagster/asset_partition_range_start": days[0],
            "dagster/asset_partition_range_end": days[-1],
        }
    _execute(
        job,
        instance,
        label,
        on_step,
        {},
        partition_key=days[0] if len(days) == 1 else None,
        asset_selection=[dg.AssetKey(name) for name in names],
        tags=tags,
    )


def _execute(
    job: dg.JobDefinition,
    instance: DagsterInstance,
    label: str,
    on_step: Callable[[Step], None],
    config: Mapping[str, Any],
    **options: Any,
) -> dg.ExecuteInProcessResult:
    """Run a job in this process, telling `on_step` of it."""
    run_id = str(uuid.uuid4())
    with _followed(instance, run_id, label, on_step):
        result = job.execute_in_process(
            instance=instance,
            run_id=run_id,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}, **config},
            raise_on_error=False,
            **options,
        )
    if not result.success:
        failures = [event for event in result.all_events if event.is_failure and event.step_key]
        raise MaterializeFailed(_explain(label, run_id, failures))
    return result


def _explain(label: str, run_id: str, failures: Sequence[dg.DagsterEvent]) -> str:
    lines = [f"{label}: the run {run_id} failed"]
    for event in failures:
        error = getattr(event.event_specific_data, "error", None)
        while error is not None and error.cause is not None and (error.cls_name or "").startswith(_WRAPPERS):
            error = error.cause
        lines.append(f"  {event.step_key}: {error.message.strip() if error is not None else event.message}")
    return "\n".join(lines)


def _inputs(settings: Settings, days: Sequence[str]) -> str:
    """Return a mark of all that a run reads from outside: landing files of the days, settings and code."""
    files = landing.fingerprint(settings)
    return sha256(f"{files}|{settings.digest}|{__version__}|{days}".encode()).hexdigest()[:16]


def _is_done(instance: DagsterInstance, days: Sequence[str], names: Sequence[str], inputs: str) -> bool:
    runs = instance.get_runs(RunsFilter(tags={_INPUTS_TAG: inputs}, statuses=[DagsterRunStatus.SUCCESS]))
    wanted = {dg.AssetKey(name) for name in names}
    return any(run.asset_selection is not None and wanted <= run.asset_selection for run in runs)


@contextmanager
def _followed(
    instance: DagsterInstance, run_id: str, label: str, on_step: Callable[[Step], None]
) -> Iterator[None]:
    """Read the run's events while it goes on in this thread, and tell `on_step` of them."""
    stop = threading.Event()

    def follow() -> None:
        cursor = None
        last_round = False
        while not last_round:
            last_round = stop.wait(0.25)  # once more after the run has ended, for its last events
            page = instance.get_records_for_run(run_id, cursor=cursor)
            cursor = page.cursor
            for entry in (record.event_log_entry for record in page.records):
                if (step := _step(entry, label)) is not None:
                    on_step(step)

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    try:
        yield
    finally:
        stop.set()
        follower.join()


_STATES = {
    DagsterEventType.STEP_START: "started",
    DagsterEventType.STEP_SUCCESS: "finished",
    DagsterEventType.STEP_FAILURE: "failed",
}


def _step(entry: dg.EventLogEntry, label: str) -> Step | None:
    if entry.step_key is None:
        return None
    if entry.is_dagster_event:
        state = _STATES.get(entry.get_dagster_event().event_type)
        return None if state is None else Step(label, entry.step_key, state)
    counted = _COUNTED.match(entry.user_message)
    if counted is None:
        return None
    return Step(label, entry.step_key, "running", int(counted["done"]), int(counted["total"]))
