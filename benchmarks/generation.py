"""Batched generation beside transformers' `generate`, one prompt at a time: tokens a second, and is it the same text?

    python -m benchmarks.generation [--prompts 48] [--rounds 2]

Both write greedily behind the same prompts (gaps cut out of installed code), begin with the text that is carried over
the cursor, and stop at the same place: after a line, as a tool shows most completions, or at the end of a block. On the
clock counts what passes, in seconds of a core what all cores spent on it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.table import Table

from benchmarks import simulated
from benchmarks.fim_layout import cut_gaps
from echo_dagster import generation, models
from echo_dagster.evaluation import shown
from echo_dagster.fim import FimFormat, encode_prompt, fim_format, split_boundary
from echo_dagster.settings import Evaluation

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

Arithmetic = Literal["fp32", "bf16"]
Contexts = Sequence[tuple[str, str | None]]


@dataclass(frozen=True)
class Round:
    """One turn of both ways, on the same prompts."""

    arithmetic: Arithmetic
    rule: str
    n_prompts: int
    n_tokens: int  # that `generate` wrote
    n_same: int  # texts that are equal
    seconds: dict[str, float]
    cpu_s: dict[str, float]

    def speedup(self, clock: dict[str, float]) -> float:
        """Return the batched way's tokens a second over those of one at a time."""
        return clock["one at a time"] / clock["batched"]


def measure(folder: Path, n_prompts: int, rounds: int, max_new_tokens: int) -> Iterator[Round]:
    """Yield a round of each arithmetic and rule, `rounds` times, each on `n_prompts` other prompts."""
    import torch

    asked = simulated.settings(folder)
    base = models.resolve(asked.base_model, folder)
    tokenizer = models.load_tokenizer(base.path)
    fmt = fim_format(asked.base_model.fim, tokenizer)
    model = models.load_causal_lm(base.path).float()
    contexts = [(gap["prefix"], gap["suffix"]) for gap in cut_gaps("dagster", n_prompts * rounds, tokenizer)]
    options: dict[str, Any] = {"max_new_tokens": max_new_tokens}
    kinds: dict[Arithmetic, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}
    for arithmetic, kind in kinds.items():
        model.to(kind)
        generation.complete(model, tokenizer, fmt, contexts[:2], batch_size=2, **options)  # to warm up
        for rule in (shown.line, shown.block):
            for number in range(rounds):
                some = contexts[number * n_prompts : (number + 1) * n_prompts]
                yield _round(model, tokenizer, fmt, some, rule, arithmetic, max_new_tokens)


def _round(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    fmt: FimFormat,
    contexts: Contexts,
    rule: shown.Rule,
    arithmetic: Arithmetic,
    max_new_tokens: int,
) -> Round:
    stop = partial(shown.is_over, rule)
    ways: dict[str, Callable[[], tuple[list[str], int]]] = {
        "one at a time": lambda: _one_at_a_time(model, tokenizer, fmt, contexts, max_new_tokens, stop),
        "batched": lambda: (
            generation.complete(
                model,
                tokenizer,
                fmt,
                contexts,
                max_new_tokens=max_new_tokens,
                batch_size=Evaluation().batch_size,
                stop=stop,
            ),
            0,
        ),
    }
    seconds, cpu_s, texts, n_tokens = {}, {}, {}, 0
    for name, way in ways.items():
        began, cpu_began = time.perf_counter(), time.process_time()
        texts[name], counted = way()
        seconds[name], cpu_s[name] = time.perf_counter() - began, time.process_time() - cpu_began
        n_tokens += counted
    n_same = sum(one == other for one, other in zip(*texts.values(), strict=True))
    return Round(arithmetic, rule.__name__, len(contexts), n_tokens, n_same, seconds, cpu_s)


def _one_at_a_time(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    fmt: FimFormat,
    contexts: Contexts,
    max_new_tokens: int,
    stop: Callable[[str], bool],
) -> tuple[list[str], int]:
    """Return the texts that `generate` writes, and how many tokens they took."""
    import torch

    vocabulary = generation._vocabulary(tokenizer, fmt.end_id)
    no_text = [token_id for token_id, token in enumerate(vocabulary.by_id) if token is None]
    texts, n_tokens = [], 0
    for index, (prefix, suffix) in enumerate(contexts):
        row = generation._Row(index, split_boundary(prefix)[1].encode())
        prompt = encode_prompt(fmt, tokenizer, prefix, suffix)[0]

        def keep_to_carried(ids: torch.Tensor, scores: torch.Tensor, row: Any = row) -> torch.Tensor:
            if not row.owed:
                return scores
            kept = torch.full_like(scores, -torch.inf)
            allowed = list(vocabulary.keeping_to(row.owed))
            kept[:, allowed] = scores[:, allowed]
            return kept

        def is_over(ids: torch.Tensor, scores: object, row: Any = row, **_: object) -> torch.Tensor:
            goes_on = generation._write(row, vocabulary.by_id[int(ids[0, -1])], max_new_tokens, stop)
            return torch.tensor([not goes_on])

        ids = torch.tensor([prompt])
        written = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=max_new_tokens + len(row.carried),
            eos_token_id=no_text,
            pad_token_id=fmt.end_id,
            logits_processor=[keep_to_carried],
            stopping_criteria=[is_over],
        )
        n_tokens += written.shape[1] - len(prompt)
        texts.append(row.text())
    return texts, n_tokens


def table(rounds: Sequence[Round]) -> Table:
    """Return the ratios and how many texts are the same, for people."""
    shown_table = Table(title="Batched generation beside one-at-a-time `generate`")
    for column in ("arithmetic", "until", "prompts", "tokens", "times, clock", "times, core", "same text"):
        shown_table.add_column(column)
    for one in rounds:
        shown_table.add_row(
            one.arithmetic,
            one.rule,
            str(one.n_prompts),
            str(one.n_tokens),
            f"{one.speedup(one.seconds):.2f}",
            f"{one.speedup(one.cpu_s):.2f}",
            f"{one.n_same / one.n_prompts:.0%}",
        )
    return shown_table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=48, help="in a round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=Evaluation().max_new_tokens, help="the most to write")
    asked = parser.parse_args()
    done: list[Round] = []
    with tempfile.TemporaryDirectory() as folder:
        for one in measure(Path(folder), asked.prompts, asked.rounds, asked.tokens):
            done.append(one)
            print(one, flush=True)
    Console(width=120).print(table(done))


if __name__ == "__main__":
    main()
