"""The code location: joins assets, jobs, the schedule, the sensor and resources.

This is the only module of the library that knows Dagster and the only one that imports `assets`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg

from assets import (
    acquisition,
    automation,
    evaluation,
    extraction,
    governance,
    live,
    optimization,
    promotion,
    refinery,
    runs,
    scaling,
)
from assets.runs import DecidedByHand, ForgottenPerson, MaterializeFailed
from echo_dagster import configuration
from echo_dagster.evaluation.overrides import Action
from echo_dagster.lake import Lake
from echo_dagster.terminal import Step

__all__ = [
    "DecidedByHand",
    "ForgottenPerson",
    "MaterializeFailed",
    "build_defs",
    "defs",
    "forget",
    "materialize",
    "override",
]


def build_defs(resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Return the definitions, with some resources replaced: the one seam that tests use.

    The resources are `settings` (a `Settings`), `lake` (a `Lake`) and `training` (a `PipesSubprocessClient`).

    Raises:
        SettingsError: the configuration cannot be used; the message lists every mistake.
    """
    overrides = dict(resource_overrides or {})
    settings = overrides.pop("settings", None) or configuration.load()
    stages = [acquisition, extraction, refinery, optimization, evaluation, scaling]
    found = dg.load_assets_from_modules(stages)
    assets = [asset for asset in found if isinstance(asset, dg.AssetsDefinition)]
    return dg.Definitions(
        assets=dg.map_asset_specs(_with_freshness, assets),
        jobs=[
            automation.daily,
            automation.refresh,
            automation.scale,
            governance.forget,
            governance.retention,
            promotion.override,
            promotion.rollback,
            promotion.tell,
        ],
        asset_checks=[promotion.server_knows],
        schedules=[automation.nightly, automation.nightly_retention],
        sensors=[automation.late_landing_files, promotion.untold_champion],
        resources={
            "settings": settings,
            "lake": Lake(settings.lake_dir),
            "training": dg.PipesSubprocessClient(
                message_reader=live.LiveFigures(), termination_timeout_seconds=60
            ),
            **overrides,
        },
        executor=dg.multiprocess_executor.configured({"max_concurrent": 2}),
    )


def materialize(
    first: date,
    last: date,
    *,
    select: Sequence[str] | None = None,
    on_step: Callable[[Step], None] = lambda step: None,
    skip_done: bool = False,
) -> int:
    """Materialize a range of days with the configured settings; see `assets.runs.materialize`."""
    return runs.materialize(
        defs, configuration.load(), first, last, select=select, on_step=on_step, skip_done=skip_done
    )


def forget(user: str, *, on_step: Callable[[Step], None] = lambda step: None) -> ForgottenPerson:
    """Forget a person with the configured settings; see `assets.runs.forget`."""
    return runs.forget(defs, configuration.load(), user, on_step=on_step)


def override(
    action: Action,
    asked: str | None,
    *,
    by: str,
    reason: str,
    on_step: Callable[[Step], None] = lambda step: None,
) -> DecidedByHand:
    """Decide over the gate with the configured settings; see `assets.runs.override`."""
    return runs.override(defs, configuration.load(), action, asked, by=by, reason=reason, on_step=on_step)


def _with_freshness(spec: dg.AssetSpec) -> dg.AssetSpec:
    is_daily = spec.partitions_def is not None and spec.key.to_user_string() not in automation.ON_DEMAND
    return spec if not is_daily else dg.apply_freshness_policy(spec, automation.FRESHNESS)


defs = build_defs()
