"""How much of a GPU training uses: model FLOPs utilisation, and the peak of its memory. Without a GPU it says so.

The training loop of the program itself on packed rows of full sequences with random tokens: bf16 autocast, fp32 weights
and AdamW, ZeRO 2, one rank. Two models: the default one, and a Llama of 1.5 billion parameters with random weights.

Utilisation is that of PaLM (arXiv 2204.02311, appendix B): observed tokens/s over those at which the model's own matrix
products would fill the GPU. A token costs 6 FLOPs for each weight that multiplies it and 12 * layers * width * T for
attention in a sequence of T tokens (the causal half is not taken off, recomputed activations do not count). The head
multiplies only where a target is predicted, and is counted there alone.

    python -m benchmarks.gpu
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks import simulated
from echo_dagster import models
from echo_dagster.optimization import job as jobs

#: Dense bf16 FLOPs per second, from NVIDIA's data sheets, by what the name of a GPU holds.
PEAKS = {"H200": 989e12, "H100 PCIe": 756e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12}
#: A Llama of 1.5 billion parameters; None is the default model as it is.
SHAPES: dict[str, dict[str, int] | None] = {
    "default": None,
    "1.5B": {
        "hidden_size": 2048,
        "intermediate_size": 7168,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "head_dim": 128,
    },
}


@dataclass(frozen=True)
class Ran:
    """What a model's training did in its measured steps."""

    weights: int
    tokens_per_second: float
    flops_per_token: float
    peak_bytes: int


def flops_per_token(model: Any, length: int, n_target: int) -> float:
    """Return FLOPs of forward and backward pass per token of sequences of `length` tokens, see above.

    Args:
        model: of transformers, with its weights or on torch's meta device.
        length: tokens that the model reads of each sequence.
        n_target: of them, those at which logits are made.
    """
    config = model.config
    head = model.get_output_embeddings().weight
    looked_up = {id(model.get_input_embeddings().weight), id(head)}
    multiplied = sum(
        weight.numel() for weight in model.parameters() if weight.ndim > 1 and id(weight) not in looked_up
    )
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    width = config.num_attention_heads * size
    return (
        6 * multiplied + 6 * head.numel() * n_target / length + 12 * config.num_hidden_layers * width * length
    )


def run(folder: Path, name: str, length: int, n_target: int, rows: int, n_steps: int) -> None:
    """Train a model in this process, and print what came of it as JSON."""
    import torch

    from echo_dagster.optimization import train
    from echo_dagster.optimization.train_pack import Sample
    from echo_dagster.optimization.train_progress import Progress
    from echo_dagster.optimization.train_report import Reporter
    from echo_dagster.optimization.train_watch import Stop

    told = {"batch_size": rows, "micro_batch_tokens": rows * length, "checkpoint_minutes": 1e6}
    settings = simulated.settings(folder, training=told)
    model = _model(models.resolve(settings.base_model, folder), SHAPES[name], folder / name)
    one = pl.DataFrame(
        {"sample_id": "s", "language": "python", "prefix": "a = ", "suffix": "\n", "middle": "1"}
    )
    job = jobs.Job.read(jobs.prepare(one, model, settings.base_model.fim, settings, folder / "job", {}))
    engine, *_ = train.prepare(job)
    draw = random.Random(17)
    vocabulary = engine.module.config.vocab_size

    def samples(steps: int) -> list[Sample]:
        return [
            Sample(array("i", (draw.randrange(vocabulary) for _ in range(length + 1))), n_target)
            for _ in range(rows * steps)
        ]

    train.train(
        job, engine, samples(3), [], Progress(), Reporter(is_silent=True), Stop()
    )  # allocates, and warms up
    is_gpu = engine.device.type == "cuda"
    if is_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    progress = Progress()
    train.train(job, engine, samples(n_steps), [], progress, Reporter(is_silent=True), Stop())
    ran = Ran(
        weights=sum(weight.numel() for weight in engine.module.parameters()),
        # the loss of each step is read, which waits for the GPU
        tokens_per_second=progress.tokens / progress.seconds,
        flops_per_token=flops_per_token(engine.module, length, n_target),
        peak_bytes=torch.cuda.max_memory_allocated() if is_gpu else 0,
    )
    print(json.dumps(vars(ran)))


def _model(base: models.ResolvedModel, shape: dict[str, int] | None, path: Path) -> models.ResolvedModel:
    """Return the default model, or one of another shape with random weights and its tokenizer."""
    if shape is None:
        return base
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(base.path)
    config.update(shape)
    torch.manual_seed(17)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(path)
    for file in base.path.glob("*token*"):
        shutil.copyfile(file, path / file.name)
    return models.ResolvedModel(path.name, path, models.digest(path))


def measure(folder: Path, name: str, asked: argparse.Namespace) -> Ran:
    """Train a model in a process of its own, so that nothing of another stands in memory."""
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    there = {"MASTER_PORT": str(jobs.free_port())}
    counts = (asked.length, asked.targets, asked.rows, asked.steps)
    command = [sys.executable, "-m", "benchmarks.gpu", "--child", str(folder), name, *map(str, counts)]
    ended = subprocess.run(
        command, env={**os.environ, **alone, **there}, stdout=subprocess.PIPE, text=True, check=True
    )
    return Ran(**json.loads(ended.stdout.splitlines()[-1]))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--length", type=int, default=2048, help="tokens of a sequence")
    parser.add_argument("--targets", type=int, default=2048, help="of them, those that carry loss")
    parser.add_argument("--rows", type=int, default=8, help="sequences of a step, in one packed row")
    parser.add_argument("--steps", type=int, default=20, help="measured steps")
    parser.add_argument("--peak", type=float, help="bf16 FLOPs per second of a GPU that is not known here")
    parser.add_argument("--child", nargs=6, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        folder, name, *counts = asked.child
        run(Path(folder), name, *map(int, counts))
        return
    import torch

    if not torch.cuda.is_available():
        print("no GPU on this machine: nothing to measure")
        return
    device = torch.cuda.get_device_name()
    peak = asked.peak or next((flops for known, flops in PEAKS.items() if known in device), None)
    if peak is None:
        parser.error(f"the peak of {device} is not known; say it with --peak")
    shown = Table(
        title=f"{device}, {peak / 1e12:.0f} TFLOP/s in bf16, {asked.rows} x {asked.length} tokens a step"
    )
    for heading in ("model", "weights", "tokens/s", "MFU", "peak GiB"):
        shown.add_column(heading, justify="right")
    for name in SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            ran = measure(Path(folder), name, asked)
        used = ran.tokens_per_second * ran.flops_per_token / peak
        weights, speed, memory = f"{ran.weights:,}", f"{ran.tokens_per_second:,.0f}", ran.peak_bytes / 2**30
        shown.add_row(name, weights, speed, f"{used:.1%}", f"{memory:.1f}")
    Console().print(shown)


if __name__ == "__main__":
    main()
