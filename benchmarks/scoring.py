"""Likelihoods beside the loop that one would write first, and beside what the model can read at most on this machine.

The work is that of a day's scoring: C_N given C_0, C_N alone, C_1 given C_0. Three ways of it take turns:

- *loop*: transformers, a pass for each of the three, 8 sequences at a time in the order in which they come, padded to
  the longest, logits at every place.
- *scorer*: `nats_per_token`.
- *limit*: forward passes of the shapes that the scorer runs, full of tokens, without padding and masks, and with logits
  at as many places as are predicted; no likelihood is taken.

Tokens are counted without padding. Beside the loop, all three sequences of every sample count; beside the limit, what
the scorer reads counts: a prompt that two targets share once, and in the limit every token.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Literal

from rich.table import Table

from benchmarks import simulated
from echo_dagster import likelihood, models
from echo_dagster.fim import Encoded, encode, fim_format

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_LOOP_BATCH = 8
Arithmetic = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Round:
    """One turn of the three. Seconds pass on the clock; `cpu_s` are those that all cores spent on it."""

    arithmetic: Arithmetic
    tokens: int  # of all sequences, as the loop reads them, without padding
    tokens_read: int  # by the scorer
    tokens_of_limit: int
    seconds: dict[str, float]
    cpu_s: dict[str, float]
    largest_difference: float  # of any likelihood between loop and scorer, in nats per token
    mean_difference: float

    def speedup(self, clock: dict[str, float]) -> float:
        """Return the scorer's tokens a second over the loop's."""
        return clock["loop"] / clock["scorer"]

    def share_of_limit(self, clock: dict[str, float]) -> float:
        """Return the scorer's tokens a second over the limit's."""
        return (self.tokens_read / clock["scorer"]) / (self.tokens_of_limit / clock["limit"])


def measure(folder: Path, n_samples: int, rounds: int, batch_tokens: int | None = None) -> Iterator[Round]:
    """Yield a round in fp32 and one in bf16, `rounds` times, each on `n_samples` other samples.

    Args:
        folder: for the converted model.
        n_samples: what is scored in a round.
        rounds: how often.
        batch_tokens: by default that of the settings.
    """
    import torch

    asked = simulated.settings(folder)
    base = models.resolve(asked.base_model, folder)
    tokenizer = models.load_tokenizer(base.path)
    fmt = fim_format(asked.base_model.fim, tokenizer)
    model = models.load_causal_lm(base.path)
    arithmetics: dict[Arithmetic, PreTrainedModel] = {
        "fp32": models.load_causal_lm(base.path).float(),
        "bf16": model.to(torch.bfloat16),
    }
    samples = simulated.refined(asked, users=12, days=3).sample(fraction=1, shuffle=True, seed=17)
    for number in range(rounds):
        some = samples.slice(number * n_samples, n_samples)
        contexts = list(some.select("prefix", "suffix").iter_rows())
        middles, proposals = (
            [
                encode(fmt, tokenizer, *context, text)
                for context, text in zip(contexts, some[name], strict=True)
            ]
            for name in ("middle", "proposal")
        )
        alone = [Encoded(fmt.blank_prompt, sample.target_ids) for sample in middles]
        for arithmetic, loaded in arithmetics.items():
            yield _round(
                arithmetic, loaded, [middles, alone, proposals], batch_tokens or asked.perplexity.batch_tokens
            )


def table(measured: Sequence[Round]) -> Table:
    """Return the ratios of all rounds: median, least and most."""
    shown = Table(title="scoring beside the plain loop and the forward pass alone")
    for heading in ("arithmetic", "tokens/s", "times the loop", "of the limit", "largest difference", "mean"):
        shown.add_column(heading, justify="left" if heading == "arithmetic" else "right")
    for arithmetic in dict.fromkeys(one.arithmetic for one in measured):
        rounds = [one for one in measured if one.arithmetic == arithmetic]
        for clock in ("seconds", "cpu_s"):
            shown.add_row(
                arithmetic if clock == "seconds" else f"{arithmetic}, a second of a core",
                f"{median(one.tokens / getattr(one, clock)['scorer'] for one in rounds):,.0f}",
                _spread([one.speedup(getattr(one, clock)) for one in rounds], ".2f"),
                _spread([one.share_of_limit(getattr(one, clock)) for one in rounds], ".0%"),
                f"{max(one.largest_difference for one in rounds):.1e}",
                f"{max(one.mean_difference for one in rounds):.1e}",
            )
    return shown


def _spread(ratios: Sequence[float], form: str) -> str:
    return f"{median(ratios):{form}} ({min(ratios):{form}} - {max(ratios):{form}})"


def _round(
    arithmetic: Arithmetic, model: PreTrainedModel, parts: Sequence[Sequence[Encoded]], batch_tokens: int
) -> Round:
    """Run the three, each after the others had their turn, and compare what came of them."""
    together = [sample for part in parts for sample in part]
    shapes, tokens_read = _shapes(together, batch_tokens)
    _plain(model, together[:2])  # the first pass of all prepares what later ones use
    seconds, cpu_s, found = {}, {}, {}
    ways: dict[str, Callable[[], list[float]]] = {
        "loop": lambda: [nats for part in parts for nats in _plain(model, part)],
        "scorer": lambda: likelihood.nats_per_token(model, together, batch_tokens),
        "limit": lambda: _forward_only(model, shapes),
    }
    for name, run in ways.items():
        clock, core = time.perf_counter(), time.process_time()
        found[name] = run()
        seconds[name], cpu_s[name] = time.perf_counter() - clock, time.process_time() - core
    differences = [abs(left - right) for left, right in zip(found["loop"], found["scorer"], strict=True)]
    return Round(
        arithmetic,
        tokens=sum(len(sample.prompt_ids) + len(sample.target_ids) - 1 for sample in together),
        tokens_read=tokens_read,
        tokens_of_limit=sum(rows * length for rows, length, _ in shapes),
        seconds=seconds,
        cpu_s=cpu_s,
        largest_difference=max(differences),
        mean_difference=sum(differences) / len(differences),
    )


def _plain(model: PreTrainedModel, samples: Sequence[Encoded]) -> list[float]:
    """Return nats per token by the loop that everybody writes: eight at a time, as they come."""
    import torch

    nats: list[float] = []
    for start in range(0, len(samples), _LOOP_BATCH):
        some = samples[start : start + _LOOP_BATCH]
        texts = [sample.prompt_ids + sample.target_ids[:-1] for sample in some]
        longest = max(map(len, texts))
        ids = torch.tensor([text + [0] * (longest - len(text)) for text in texts])
        attended = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts])
        labels = ids.clone()
        for row, (sample, text) in enumerate(zip(some, texts, strict=True)):
            labels[row, : len(sample.prompt_ids)] = -100
            labels[row, len(text) :] = -100
        with torch.inference_mode():
            logits = model(
                input_ids=ids.to(model.device), attention_mask=attended.to(model.device), use_cache=False
            ).logits
            following = labels[:, 1:].to(model.device)
            losses = torch.nn.functional.cross_entropy(
                logits[:, :-1].flatten(0, 1).float(), following.flatten(), reduction="none"
            ).view_as(following)
        nats += (losses.sum(1) / (following != -100).sum(1)).tolist()
    return nats


def _shapes(samples: Sequence[Encoded], batch_tokens: int) -> tuple[list[tuple[int, int, int]], int]:
    """Return (rows, length, predicted places) of every pass of the scorer, and the tokens in them without padding."""
    rows = sorted(likelihood._share_prompts(samples), key=lambda row: row.length)
    shapes = []
    for chosen in likelihood._batches([row.length for row in rows], batch_tokens):
        some = rows[chosen.start : chosen.stop]
        predicted = sum(len(target) for row in some for target in row.targets)
        shapes.append((len(some), some[-1].length, predicted))
    return shapes, sum(row.length for row in rows)


def _forward_only(model: PreTrainedModel, shapes: Sequence[tuple[int, int, int]]) -> list[float]:
    """Run the passes alone: the model's body, and its head at `predicted` places."""
    import torch

    body, head = model.base_model, model.get_output_embeddings()
    with torch.inference_mode():
        for rows, length, predicted in shapes:
            ids = torch.randint(100, 10_000, (rows, length), device=model.device)
            hidden = body(input_ids=ids, use_cache=False).last_hidden_state
            head(hidden.flatten(0, 1)[:predicted])[0, 0].item()
    return []
