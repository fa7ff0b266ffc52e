"""What people decide over the gate, as jobs, and telling the server what serves, as a check of `champion` and a sensor.

The gate itself is the asset `champion`, in `evaluation.py`.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import dagster as dg
from pydantic import Field

from assets.conventions import table
from assets.optimization import reference_model
from echo_dagster.evaluation import champion as champions
from echo_dagster.evaluation import overrides, serving, webhook
from echo_dagster.lake import Lake
from echo_dagster.settings import Settings

CHECK = dg.AssetCheckKey(dg.AssetKey("champion"), "server_knows")


class Override(Enum):
    """What a person can decide besides a rollback."""

    promote = "promote"
    keep = "keep"
    hold = "hold"
    lift = "lift"


class Rollback(dg.Config):
    """What to roll back to. Run configurations are kept: no secrets here."""

    to: str = Field(
        description="a former champion's digest; a day, YYYY-MM-DD, for what served after it; or base"
    )
    reason: str = Field(description="why; stands in the record and in the report")
    by: str = Field(description="who decides; kept as given")


class Decided(dg.Config):
    """What a person decides over the gate."""

    action: Override = Field(
        description="promote a candidate that was kept; keep what served before the last promotion; "
        "hold: promote nothing until lift"
    )
    day: str | None = Field(
        default=None, description="promote: whose candidate, YYYY-MM-DD; by default the last day decided"
    )
    reason: str = Field(description="why; stands in the record and in the report")
    by: str = Field(description="who decides; kept as given")


@dg.op(out=dg.Out(dg.Nothing))
def roll_champion_back(
    context: dg.OpExecutionContext,
    config: Rollback,
    settings: dg.ResourceParam[Settings],
    lake: dg.ResourceParam[Lake],
) -> Iterator[dg.Output]:
    """Let a former champion, or the base model, serve from now on."""
    yield _decide(context, settings, lake, "rollback", config.to, config.by, config.reason)


@dg.op(out=dg.Out(dg.Nothing))
def override_gate(
    context: dg.OpExecutionContext,
    config: Decided,
    settings: dg.ResourceParam[Settings],
    lake: dg.ResourceParam[Lake],
) -> Iterator[dg.Output]:
    """Decide over the gate, and record who did and why."""
    yield _decide(context, settings, lake, config.action.value, config.day, config.by, config.reason)


@dg.op(ins={"decided": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing))
def tell_server(settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]) -> Iterator[Any]:
    """Tell the server what serves, where it does not know. What was decided stands whatever comes of it."""
    result = _told(settings, lake)
    yield dg.AssetCheckEvaluation(
        asset_key=CHECK.asset_key,
        check_name=CHECK.name,
        passed=result.passed,
        severity=result.severity,
        metadata=result.metadata,
        description=result.description,
    )
    yield dg.Output(None)


@dg.job(
    description="Let a former champion, or the base model, serve from now on; `echo-dagster champion rollback`."
)
def rollback() -> None:
    """See `roll_champion_back`."""
    tell_server(decided=roll_champion_back())


@dg.job(
    description="Promote, keep, hold or lift a hold, whatever the gate says; `echo-dagster champion promote`, ..."
)
def override() -> None:
    """See `override_gate`."""
    tell_server(decided=override_gate())


@dg.asset_check(
    asset=CHECK.asset_key,
    name=CHECK.name,
    description="The webhook has heard of the last change of what serves. Running this check tells it.",
)
def server_knows(settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """Tell the server of a change that it has not heard of; what was promoted stays promoted if that fails."""
    return _told(settings, lake)


tell = dg.define_asset_job(
    "tell_server_again",
    selection=dg.AssetSelection.checks(CHECK),
    description="Tell the webhook of the last change, if it does not know.",
)


@dg.sensor(job=tell, minimum_interval_seconds=60, default_status=dg.DefaultSensorStatus.RUNNING)
def untold_champion(
    settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]
) -> dg.RunRequest | dg.SkipReason:
    """Tell the webhook again of a change that it has not heard of: after 5 minutes, then ever more rarely."""
    change = webhook.pending(lake, settings.serving)
    if change is None:
        return dg.SkipReason("no change is untold")
    attempt = webhook.due(lake, settings.serving, datetime.now(UTC))
    if attempt is None:
        return dg.SkipReason(f"{change['change_id']} is untold; the next attempt is not due")
    return dg.RunRequest(run_key=attempt)


def _told(settings: Settings, lake: Lake) -> dg.AssetCheckResult:
    """Tell the server what it does not know, and return the check that it knows."""
    done = webhook.tell(lake, settings.serving, datetime.now(UTC))
    return dg.AssetCheckResult(
        asset_key=CHECK.asset_key,
        check_name=CHECK.name,
        passed=done.is_known,
        severity=dg.AssetCheckSeverity.WARN,
        description=done.in_words,
        metadata={"attempts": done.attempts},
    )


def decided(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of `champion` as metadata: the decision in words, and the numbers that it rests on."""
    words = {name: str(value) for name, value in row.items() if value is not None and name != "demands"}
    return {**words, "numbers": table(json.loads(row["demands"]))}


def _decide(
    context: dg.OpExecutionContext,
    settings: Settings,
    lake: Lake,
    action: overrides.Action,
    asked: str | None,
    by: str,
    reason: str,
) -> dg.Output:
    now, base = datetime.now(UTC), reference_model(settings)
    try:
        row = champions.override(lake, action, asked, base, by=by, reason=reason, at=now)
        serving.publish(lake, settings.data_dir, base, now)
    except overrides.OverrideRefused as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    metadata = decided(row)
    event = dg.AssetObservation if action in ("hold", "lift") else dg.AssetMaterialization
    context.log_event(event(asset_key=CHECK.asset_key, partition=str(row["day"]), metadata=metadata))
    return dg.Output(None, metadata=metadata)
