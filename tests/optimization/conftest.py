"""A training set that can be learnt, and jobs on it."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from echo_dagster import models
from echo_dagster.optimization import job
from echo_dagster.settings import ModelSettings, Settings, Training

N_SAMPLES = 44


@pytest.fixture(scope="session")
def samples() -> pl.DataFrame:
    """44 gaps whose middles follow from their prefixes; a third of them without a known suffix."""
    rows = [
        {
            "sample_id": f"s{index:03}",
            "language": "python",
            "prefix": f"def total_{index % 7}(self):\n" + "    line = 1\n" * (index % 5) + "    value = ",
            "suffix": "\n    return value\n" if index % 3 else None,
            "middle": f"sum(price * {index % 7} for price in prices)",
        }
        for index in range(N_SAMPLES)
    ]
    return pl.DataFrame(rows)


@pytest.fixture(scope="session")
def settings(tiny_settings: ModelSettings) -> Settings:
    training = Training(epochs=2, learning_rate=5e-3, batch_size=8)
    return Settings(start_day=date(2026, 1, 1), base_model=tiny_settings, training=training)


@pytest.fixture(scope="session")
def make_job(samples: pl.DataFrame, settings: Settings, tmp_path_factory: pytest.TempPathFactory):
    """Return a function that prepares a job in `out`, with other training settings, and gives its file."""
    assert settings.base_model.source.path is not None
    path = Path(settings.base_model.source.path)
    model = models.ResolvedModel("tiny", path, models.digest(path))

    def prepare(out: Path, rows: pl.DataFrame = samples, **training: object) -> Path:
        changed = settings.model_copy(update={"training": settings.training.model_copy(update=training)})
        lineage = {"day": "2026-01-01", "tables": {"training_set": 3}}
        return job.prepare(rows, model, changed.base_model.fim, changed, out, lineage)

    return prepare
