"""What may learn: the last blocks or low-rank adapters, at several learning rates, on a machine without a GPU.

The model that ships is trained on the same samples of simulated developers in each way, in as many steps, by the
training program as everyone starts it. Each is compared on gaps of developers who are in none of the samples: how
likely the model finds C_N, and how near to it what it writes is. Memory is that of the training process.

    python -m benchmarks.tuning [--samples 200] [--ways "last 8 blocks, 1e-4" "LoRA, 5e-4"]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks import simulated
from echo_dagster import fim, likelihood, models
from echo_dagster.evaluation import bootstrap, metrics
from echo_dagster.experiments.training import train
from echo_dagster.generation import complete
from echo_dagster.optimization import job
from echo_dagster.settings import Settings, Training

#: What is tried, over the defaults.
WAYS: dict[str, dict[str, Any]] = {
    "last 8 blocks, 1e-4": {"last_layers": 8, "learning_rate": 1e-4},
    "LoRA, 5e-4": {"lora_rank": 16, "learning_rate": 5e-4},
    "LoRA, 5e-5": {"lora_rank": 16, "learning_rate": 5e-5},
    "LoRA, 2e-3": {"lora_rank": 16, "learning_rate": 2e-3},
    "all weights, 5e-5": {},
}
_SHORT = {"prefix_tokens": 128, "suffix_tokens": 32, "middle_tokens": 48}
_HELD_OUT_USERS = 3
_NEW_TOKENS = 32

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Told:
    """What a model finds of held-out gaps, gap by gap, and the figures of its training; none for the base model."""

    way: str
    nats: Floats
    similarity: Floats
    figures: Mapping[str, Any] | None


def measure(
    folder: Path, n_samples: int, n_written: int, ways: Sequence[str] = tuple(WAYS)
) -> Iterator[tuple[Told, Sequence[str]]]:
    """Yield the base model's answers, then those of each way, with the gaps' regions.

    Args:
        folder: where weights and trainings go.
        n_samples: samples that are trained on.
        n_written: held-out gaps; the models write into as many.
        ways: names of `WAYS`.
    """
    asked = simulated.settings(folder, truncation=_SHORT)
    samples = simulated.refined(asked, users=12, days=3)
    held_out_users = sorted(samples["user_id"].unique())[-_HELD_OUT_USERS:]
    is_out = samples["user_id"].is_in(held_out_users)
    trained_on = samples.filter(~is_out)
    trained_on = trained_on.sample(min(n_samples, trained_on.height), seed=17)
    held_out = samples.filter(is_out)
    held_out = held_out.sample(min(n_written, held_out.height), seed=17).sort("sample_id")
    base = models.resolve(asked.base_model, asked.data_dir)
    gaps = list(held_out.select("prefix", "suffix", "middle").iter_rows())
    regions = held_out["region_id"].to_list()
    yield Told("(base)", *answers(base.path, gaps, asked), None), regions
    for way in ways:
        changed = asked.model_copy(update={"training": Training.model_validate(WAYS[way])})
        file = job.prepare(trained_on, base, asked.base_model.fim, changed, folder / "jobs", {"way": way})
        prepared = job.Job.read(file)
        record = train(prepared, way, lambda done, total: None)
        yield Told(way, *answers(prepared.result, gaps, asked), record["metrics"]), regions


def answers(
    model: Path, gaps: Sequence[tuple[str, str | None, str]], asked: Settings
) -> tuple[Floats, Floats]:
    """Return nats per token of C_N and the edit similarity of what is written, gap by gap (prefix, suffix, C_N)."""
    tokenizer = models.load_tokenizer(model)
    fmt = fim.fim_format(asked.base_model.fim, tokenizer)
    loaded = models.load_causal_lm(model)
    encoded = [fim.encode(fmt, tokenizer, *gap) for gap in gaps]
    nats = likelihood.nats_per_token(loaded, encoded, asked.perplexity.batch_tokens)
    contexts = [(prefix, suffix) for prefix, suffix, _ in gaps]
    written = complete(
        loaded,
        tokenizer,
        fmt,
        contexts,
        max_new_tokens=_NEW_TOKENS,
        batch_size=asked.evaluation.batch_size,
    )
    wanted = pl.Series([middle for *_, middle in gaps])
    return np.array(nats), metrics.edit_similarity(pl.Series(written), wanted).to_numpy()


#: What is told of a training, and how: the name of a figure is that in its record.
FIGURES = {
    "steps": "{:,}",
    "tokens": "{:,}",
    "tokens_per_second": "{:,.0f}",
    "peak_memory_bytes": "{:.2e}",
}


def table(told: Sequence[Told], regions: Sequence[str], figures: Mapping[str, str] = FIGURES) -> Table:
    """Return the figures of each way, and how it differs from the first told."""
    base = told[0]
    shown = Table(
        title=f"{len(regions)} held-out gaps; differences to {base.way.strip('()')} with 95 % intervals"
    )
    for heading in (
        *("", "nats per token", "less the first's", "edit similarity", "less the first's"),
        *figures,
    ):
        shown.add_column(heading, justify="right" if heading else "left")
    for one in told:
        cells = []
        for values, theirs in ((one.nats, base.nats), (one.similarity, base.similarity)):
            gain = bootstrap.paired_difference(values, theirs, regions)
            cells += [f"{values.mean():.3f}", f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"]
        told_of = one.figures or {}
        found = (form.format(told_of[name]) if name in told_of else "" for name, form in figures.items())
        shown.add_row(one.way, *cells, *found)
    return shown


def show(n_samples: int, n_written: int, ways: Sequence[str] = tuple(WAYS)) -> None:
    """Measure and print: after every training, since each takes minutes."""
    with tempfile.TemporaryDirectory() as folder:
        done: list[Told] = []
        for one, regions in measure(Path(folder), n_samples, n_written, ways):
            done.append(one)
            if one.figures is not None:
                Console(width=170).print(table(done, regions))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=200, help="samples that are trained on")
    parser.add_argument("--held-out", type=int, default=120, help="gaps that models are compared on")
    parser.add_argument("--ways", nargs="*", choices=list(WAYS), default=list(WAYS))
    asked = parser.parse_args()
    show(asked.samples, asked.held_out, asked.ways)


if __name__ == "__main__":
    main()
