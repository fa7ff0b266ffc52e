"""Training steps beside trl's SFTTrainer, on the same samples, model and precision in the same run.

One epoch each, all weights learning, in a process of its own: fp32 weights, bf16 autocast, loss on the targets alone.
What counts is the training loop, without loading. Useful tokens are those of prompts and targets; padding is none.
trl takes its defaults, its packing mode, and both once more without recomputing activations, which is its default and
not ours. It lives in an environment of its own (recipes/trl.txt).

    python -m benchmarks.training --trl /tmp/trl
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import simulated
from benchmarks.watched import watch
from echo_dagster import models
from echo_dagster.optimization import job as jobs

RECIPE = Path(__file__).parent / "recipes" / "trl_sft.py"
#: What trl is asked for, over its defaults.
WAYS = {
    "trl, its defaults": {},
    "trl, packing": {"packing": True},
    "trl, its defaults, nothing recomputed": {"gradient_checkpointing": False},
    "trl, packing, a row a step, nothing recomputed": {
        "packing": True,
        "per_device_train_batch_size": 1,
        "gradient_checkpointing": False,
    },
}
#: trl cuts longer samples off by default.
_LONGEST = 1024


@dataclass(frozen=True)
class Ran:
    """A training loop: what it read, took and held. The loss is in nats per target token, the mean of its steps."""

    name: str
    tokens: int
    steps: int
    seconds: float
    core_seconds: float
    peak_bytes: int
    loss: float


def measure(
    folder: Path, n_samples: int, trl: Path | None, ways: Sequence[str] = tuple(WAYS)
) -> Iterator[Ran]:
    """Train ours, then trl's in the given ways, on the same samples; without an environment of trl only ours."""
    asked = simulated.settings(folder)
    base = models.resolve(asked.base_model, folder)
    rows = simulated.refined(asked, users=12, days=2).sample(fraction=1, shuffle=True, seed=17)
    tokenizer = models.load_tokenizer(base.path)
    lengths = [
        len(ids)
        for ids in tokenizer.encode_batch(
            ["".join(filter(None, row)) for row in rows.select("prefix", "suffix", "middle").iter_rows()]
        )
    ]
    rows = rows.filter([length <= _LONGEST - 8 for length in lengths]).head(n_samples)  # with the markers
    file = jobs.prepare(rows, base, asked.base_model.fim, asked, folder / "job", {})
    command = [
        sys.executable,
        "-m",
        "benchmarks.training",
        "--job",
        str(file),
        "--tokens",
        str(folder / "tokens.json"),
    ]
    alone = {
        "RANK": "0",
        "WORLD_SIZE": "1",
        "LOCAL_RANK": "0",
        "LOCAL_SIZE": "1",
    }  # as the launcher tells a rank
    there = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    done = watch(command, {**os.environ, **jobs.environment(asked.training), **alone, **there})
    tokens = sum(len(ids) for ids, _ in json.loads((folder / "tokens.json").read_text()))
    yield Ran("echo-dagster", tokens, **_told(done.output), peak_bytes=done.peak_bytes)
    for name in ways if trl else ():
        command = [
            str(trl / "bin" / "python"),
            str(RECIPE),
            str(folder),
            str(base.path),
            json.dumps(WAYS[name]),
        ]
        done = watch(
            command, {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"}, is_quiet=True
        )
        yield Ran(name, tokens, **_told(done.output), peak_bytes=done.peak_bytes)


def _told(output: str) -> dict:
    return json.loads(output.splitlines()[-1])


def ours(file: Path, tokens: Path) -> None:
    """Run the training loop of a job as a single rank; write its samples as tokens, and print what it took."""
    from echo_dagster.optimization import train
    from echo_dagster.optimization.train_progress import Progress
    from echo_dagster.optimization.train_report import Reporter
    from echo_dagster.optimization.train_watch import Stop

    job = jobs.Job.read(file)
    engine, samples, _ = train.prepare(job)
    tokens.write_text(json.dumps([[list(sample.ids), sample.n_target] for sample in samples]))
    progress = Progress()
    clock, core = time.perf_counter(), time.process_time()
    train.train(job, engine, samples, [], progress, Reporter(is_silent=True), Stop())
    told = {"seconds": time.perf_counter() - clock, "core_seconds": time.process_time() - core}
    losses = [row["loss_nats_per_token"] for row in progress.history]
    print(json.dumps({**told, "steps": progress.steps, "loss": sum(losses) / len(losses)}))


def table(ran: Sequence[Ran]) -> Table:
    """Return how fast each was. A ratio of seconds of a core does not depend on who else works."""
    shown = Table(title=f"one epoch of {ran[0].tokens:,} useful tokens")
    for heading in (
        "",
        "steps",
        "tokens / s",
        "tokens / s of a core",
        "Echo, times",
        "of a core",
        "peak GiB",
        "loss",
    ):
        shown.add_column(heading, justify="right" if heading else "left")
    for one in ran:
        shown.add_row(
            one.name,
            str(one.steps),
            f"{one.tokens / one.seconds:,.0f}",
            f"{one.tokens / one.core_seconds:,.0f}",
            f"{one.seconds / ran[0].seconds:.2f}",
            f"{one.core_seconds / ran[0].core_seconds:.2f}",
            f"{one.peak_bytes / 2**30:.1f}",
            f"{one.loss:.3f}",
        )
    return shown


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=64, help="samples of the epoch")
    parser.add_argument("--trl", type=Path, help="an environment made of recipes/trl.txt")
    parser.add_argument("--ways", nargs="*", choices=list(WAYS), default=list(WAYS), help="of trl")
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--tokens", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.job:
        ours(asked.job, asked.tokens)
        return
    with tempfile.TemporaryDirectory() as folder:
        ran = []
        for one in measure(Path(folder), asked.samples, asked.trl, asked.ways):
            print(one, file=sys.stderr)
            ran.append(one)
        Console(width=140).print(table(ran))


if __name__ == "__main__":
    main()
