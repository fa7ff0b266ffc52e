"""Samples of simulated developers, for measurements on a real model: real code, refined by the project's own stages.

The developers write beside an agent that knows more or less what they write (`snapshots.py`), so that no model has to
run for it; their gaps are extracted and refined as on any day.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import yaml

from benchmarks import snapshots
from echo_dagster import models
from echo_dagster.extraction.gaps import extract_frame
from echo_dagster.extraction.policies import PRESETS
from echo_dagster.refinery import samples, strata
from echo_dagster.resources import resource
from echo_dagster.settings import ModelSettings, Settings

#: The model that ships with the project.
MODEL = "smollm2-135m"


def settings(folder: Path, **sections: object) -> Settings:
    """Return settings with the model that ships, whose converted weights go below `folder`."""
    raw = yaml.safe_load(resource("configs", "models", f"{MODEL}.yaml").read_text(encoding="utf-8"))
    base = ModelSettings.model_validate(raw)
    return Settings.model_validate(
        {"data_dir": folder, "start_day": date(2026, 1, 5), "base_model": base, **sections}
    )


def refined(asked: Settings, *, users: int, days: int) -> pl.DataFrame:
    """Return BALANCED_SCHEMA: what the refinery keeps of simulated days, in the order of `sample_id`."""
    log = snapshots.simulated(snapshots.library(), users=users, days=days)
    gaps = extract_frame(log, PRESETS[asked.extraction.policy])
    base = models.resolve(asked.base_model, asked.data_dir)
    kept, _ = samples.refine(gaps, models.load_tokenizer(base.path), asked)
    return kept.with_columns(strata.stratum()).sort("sample_id")
