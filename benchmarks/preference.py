"""Is preference training worth it on these logs? The fine-tune alone against the fine-tune with DPO behind it.

Both learn from the training set of one day, by the training programs as everyone starts them, and are compared on the
gaps of that day and of all later ones, less those that the training set holds or nearly holds.

    python -m benchmarks.preference --config configs/demo.yaml --day 2026-01-09
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console

from benchmarks.tuning import Told, answers, table
from echo_dagster import configuration, models
from echo_dagster.evaluation.compare import sample
from echo_dagster.evaluation.day import unseen
from echo_dagster.experiments.training import train
from echo_dagster.lake import Lake
from echo_dagster.optimization import job, preference
from echo_dagster.optimization.job import Job
from echo_dagster.settings import Preference, Settings

#: What is tried, over the defaults: sections `preference` and `training`.
WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "DPO, 1e-6": ({}, {}),
    "DPO, 1e-5": ({"learning_rate": 1e-5}, {}),
    "DPO, 1e-5, no loss of C_N": ({"learning_rate": 1e-5, "sft_weight": 0.0}, {}),
    "adapters, 5e-4": ({"enabled": False}, {"lora_rank": 16, "learning_rate": 5e-4}),
    "adapters, 5e-4, DPO, 1e-4": ({"learning_rate": 1e-4}, {"lora_rank": 16, "learning_rate": 5e-4}),
    "DPO, 1e-5, two ranks, ZeRO 3": (
        {"learning_rate": 1e-5},
        {"ranks": 2, "deepspeed": "zero3", "batch_size": 8},
    ),
}

_FIGURES = {
    "steps": "{:,}",
    "first_reward_margin": "{:.3f}",
    "final_reward_margin": "{:.3f}",
    "final_reward_accuracy": "{:.2f}",
    "seconds": "{:,.0f}",
}


def measure(
    lake: Lake, day: date, asked: Settings, folder: Path, n_held_out: int, ways: Sequence[str]
) -> Iterator[tuple[Told, Sequence[str]]]:
    """Yield what the fine-tune says to the held-out gaps, then each way with DPO behind it, with the gaps' regions.

    Raises:
        ValueError: the training set has too few pairs, and why rows are none.
    """
    samples = lake.read("training_set", [day]).collect()
    later = [other for other in lake.days("scored_samples") if other >= day]
    held_out = unseen(lake, day, lake.read("scored_samples", later).collect(), asked)
    held_out = sample(held_out, n_held_out, asked.evaluation.seed)
    gaps = list(held_out.select("prefix", "suffix", "middle").iter_rows())
    regions = held_out.select(pl.coalesce("region_id", "sample_id")).to_series().to_list()
    base = models.resolve(asked.base_model, asked.data_dir)
    tuned: dict[str, tuple[Job, Told]] = {}
    for way in ("fine-tune", *ways):
        preferring, training = WAYS.get(way, ({"enabled": False}, {}))
        changed = asked.model_copy(
            update={
                "training": asked.training.model_copy(update=training),
                "preference": Preference.model_validate({"enabled": True, **preferring}),
            }
        )
        prepared = Job.read(job.prepare(samples, base, asked.base_model.fim, changed, folder, {}))
        if prepared.digest not in tuned:
            record = train(prepared, way, lambda done, total: None)
            found = Told(way, *answers(prepared.result, gaps, asked), record["metrics"])
            tuned[prepared.digest] = prepared, found
        if not changed.preference.enabled:
            yield tuned[prepared.digest][1], regions
            continue
        pairs = preference.prepare(samples, tuned[prepared.digest][0], changed)
        if not isinstance(pairs, job.Prepared):
            raise ValueError(f"{way}: {pairs}")
        record = train(pairs.job, way, lambda done, total: None, "train_preference")["preference"]
        told = record["metrics"]
        yield Told(way, *answers(pairs.job.result, gaps, asked), told), regions


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, required=True, help="the pipeline whose lake is read")
    parser.add_argument("--day", type=date.fromisoformat, required=True, help="of the training set")
    parser.add_argument("--held-out", type=int, default=200, help="gaps that models are compared on")
    parser.add_argument("--ways", nargs="*", choices=list(WAYS), default=list(WAYS)[:3])
    asked = parser.parse_args()
    settings = configuration.load(asked.config)
    done: list[Told] = []
    with tempfile.TemporaryDirectory() as folder:
        told = measure(Lake(settings.lake_dir), asked.day, settings, Path(folder), asked.held_out, asked.ways)
        for one, regions in told:
            done.append(one)
            Console(width=170).print(table(done, regions, _FIGURES))


if __name__ == "__main__":
    main()
