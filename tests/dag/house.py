"""A code location on a folder of its own, with the tiny model, for tests that run assets.

The partitions of `assets/` begin where the configuration says, so it must be named before `assets` is imported.
"""

import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import yaml

CONFIG = Path(__file__).with_name("pipeline.yaml")
os.environ["ECHO_CONFIG"] = str(CONFIG)

import dagster as dg

from echo_dagster import configuration, definitions
from echo_dagster.lake import Lake
from echo_dagster.settings import ModelSettings, Settings

#: The assets of data up to the samples, in the order in which they are made.
DATA = (
    "raw_events",
    "gap_sessions",
    "online_metrics",
    "filtered_samples",
    "balanced_samples",
    "scored_samples",
)


@dataclass(frozen=True)
class House:
    """One installation: settings, lake, landing folder, definitions and an instance that forgets."""

    settings: Settings
    lake: Lake
    landing: Path
    defs: dg.Definitions
    instance: dg.DagsterInstance

    def run(
        self, *names: str, first: date, last: date | None = None, fails: bool = False
    ) -> dg.ExecuteInProcessResult:
        """Materialize assets for a day or, in one run, for a range of days."""
        tags = {}
        if last is not None:
            tags = {
                "dagster/asset_partition_range_start": first.isoformat(),
                "dagster/asset_partition_range_end": last.isoformat(),
            }
        result = self.defs.resolve_job_def("daily").execute_in_process(
            instance=self.instance,
            partition_key=first.isoformat() if last is None else None,
            asset_selection=[dg.AssetKey(name) for name in names],
            tags=tags,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )
        assert result.success is not fails, [event.message for event in result.all_events if event.is_failure]
        return result


def build_house(root: Path, model: ModelSettings, **config: object) -> House:
    """Write a configuration below `root` and return the installation it describes."""
    landing = root / "landing"
    landing.mkdir(parents=True, exist_ok=True)
    raw = {
        "extends": str(CONFIG),
        "data_dir": str(root / "data"),
        "base_model": model.model_dump(mode="json"),
        "sources": [{"name": "native", "importer": "native", "path": f"{landing}/{{day}}*", "consent": True}],
        **config,
    }
    file = root / "pipeline.yaml"
    file.write_text(yaml.safe_dump(raw), encoding="utf-8")
    loaded = configuration.load(file)
    lake = Lake(loaded.lake_dir)
    return House(
        settings=loaded,
        lake=lake,
        landing=landing,
        defs=definitions.build_defs({"settings": loaded}),
        instance=dg.DagsterInstance.ephemeral(),
    )
