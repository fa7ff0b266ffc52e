"""A process that materializes days and can be killed: what `test_killed.py` starts."""

from datetime import date
from pathlib import Path

from echo_dagster.acquisition import landing
from echo_dagster.extraction import days as extraction
from echo_dagster.extraction.policies import PRESETS
from echo_dagster.lake import Lake
from echo_dagster.settings import FimTokens, ModelSettings, ModelSource, Retention, Settings, Source


def settings(root: Path, start_day: date) -> Settings:
    """Settings of an installation below `root`, which reads what lands in `root/landing`."""
    fim = FimTokens(layout="spm", prefix="<p>", suffix="<s>", middle="<m>", end="<e>")
    return Settings(
        data_dir=root / "data",
        start_day=start_day,
        sources=(
            Source(name="native", importer="native", path=f"{root}/landing/{{day}}.ndjson", consent=True),
        ),
        retention=Retention(versions=1),
        base_model=ModelSettings(name="none", source=ModelSource(path="none"), fim=fim),
    )


def materialize(configured: Settings, days: list[date]) -> None:
    """Ingest and extract days, as the assets `raw_events` and `gap_sessions` do."""
    lake = Lake(configured.lake_dir)
    landing.ingest(configured, lake, days)
    extraction.extract_days(
        lake,
        days,
        PRESETS["echo"],
        spill=configured.data_dir / "spill",
    )
