"""`make bench`: run every measurement and print ratios."""

import argparse
import tempfile
from pathlib import Path

from rich.console import Console

from benchmarks import (
    backfill,
    coverage,
    events,
    gate,
    generation,
    gguf_export,
    noise,
    online,
    refinery,
    scoring,
    secret_finding,
    snapshots,
    truncation,
    tuning,
    user,
)
from echo_dagster.settings import Evaluation


def main() -> None:
    """Run the measurements that need no accelerator."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=5_000_000, help="lines in the landing file")
    parser.add_argument("--rounds", type=int, default=5, help="how often to measure them")
    parser.add_argument("--days", type=int, default=90, help="days of the backfill")
    parser.add_argument("--events-per-day", type=int, default=50_000, help="lines of each of them")
    parser.add_argument(
        "--recording", type=Path, default=snapshots.RECORDING, help="a VS Code workspace recording"
    )
    parser.add_argument("--samples", type=int, default=50_000, help="samples that are filtered")
    parser.add_argument("--data-juicer", type=Path, help="an environment made of recipes/data_juicer.txt")
    parser.add_argument("--llama-cpp", type=Path, help="an environment made of recipes/llama_cpp.txt")
    parser.add_argument("--scored", type=int, default=16, help="samples that are scored in a round")
    parser.add_argument("--noisy", type=int, default=600, help="samples among which noise is planted")
    parser.add_argument("--cuts", type=int, default=1000, help="cuts of C_N in installed Python packages")
    parser.add_argument("--tuned", type=int, default=32, help="samples that each way of training is tried on")
    parser.add_argument("--prompts", type=int, default=32, help="gaps that are completed in a round")
    parser.add_argument("--experiments", type=int, default=500, help="simulated days of each comparison")
    parser.add_argument(
        "--decisions", type=Path, help="an experience log that the calibrated user is fitted to"
    )
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Console().print(events.table(events.measure(Path(folder), asked.events, asked.rounds), asked.events))
    with tempfile.TemporaryDirectory() as folder:
        told = backfill.measure(Path(folder), asked.days, asked.events_per_day)
        Console().print(backfill.table(told, asked.days, asked.events_per_day))
    with tempfile.TemporaryDirectory() as folder:
        Console().print(online.table(Path(folder), asked.days, 1_000_000, 300, min(asked.rounds, 2)))
    with tempfile.TemporaryDirectory() as folder:
        recording = asked.recording if asked.recording.exists() else None
        Console().print(snapshots.table(snapshots.measure(Path(folder), recording)))
    with tempfile.TemporaryDirectory() as folder:
        sides = refinery.measure(Path(folder), asked.samples, asked.data_juicer)
        Console().print(refinery.speed_table(sides, asked.samples))
        Console().print(refinery.dropped_table(sides), refinery.alike_table(Path(folder), sides))
        Console().print(refinery.measure_refine(Path(folder), 2_000))
    Console(width=160).print(secret_finding.table(20_000))
    with tempfile.TemporaryDirectory() as folder:
        scored = list(scoring.measure(Path(folder), asked.scored, min(asked.rounds, 2)))
        Console().print(scoring.table(scored))
        for told in noise.measure(Path(folder), asked.noisy):
            Console().print(told)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = truncation.load_tokenizer("smollm2-135m", Path(folder))
        found, _ = truncation.measure("python", [Path(truncation.INSTALLED)], asked.cuts, tokenizer)
        Console(width=160).print(truncation.table([found]))
    _evaluation(asked)
    tuning.show(asked.tuned, 30, ("last 8 blocks, 1e-4", "LoRA, 5e-4"))
    if asked.llama_cpp:
        gguf_export.show(asked.llama_cpp)


def _evaluation(asked: argparse.Namespace) -> None:
    """Measure what comparisons of models rest on."""
    with tempfile.TemporaryDirectory() as folder:
        completed = list(generation.measure(Path(folder), asked.prompts, 1, Evaluation().max_new_tokens))
        Console(width=120).print(generation.table(completed))
    Console(width=110).print(coverage.table(coverage.measure(asked.experiments, 2000)))
    Console(width=140).print(gate.table(asked.experiments))
    if asked.decisions:
        user.show(asked.decisions)


if __name__ == "__main__":
    main()
