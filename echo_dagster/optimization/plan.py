"""Which samples make up which optimizer step, and at which learning rate. Pure functions of settings and seed.

A step's samples are drawn at random. They are dealt to ranks and forward passes so that all have about as many tokens.
What does not live here: tokens and weights (`train_model.py`).
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Batching:
    """How a step is cut: each of `ranks` reads at most `micro_batch_tokens` in a forward pass, or one longer sample.

    Raises:
        ValueError: there are more ranks than samples in a step.
    """

    batch_size: int
    ranks: int
    micro_batch_tokens: int

    def __post_init__(self) -> None:
        if self.batch_size < self.ranks:
            raise ValueError(
                f"training.batch_size is {self.batch_size}, less than training.ranks ({self.ranks}): some ranks would "
                "never see a sample; raise batch_size or lower ranks"
            )


@dataclass(frozen=True)
class Step:
    """One optimizer step, counted from 0.

    `micro_batches[i][r]` holds the samples of rank r's i-th forward pass; it is empty where the step has fewer samples
    than passes, and that rank reads `stand_in`, the shortest sample of the step, for nothing.
    """

    number: int
    epoch: int
    micro_batches: tuple[tuple[tuple[int, ...], ...], ...]
    stand_in: int

    @property
    def n_empty(self) -> int:
        """Forward passes that count for nothing."""
        return sum(not samples for ranks in self.micro_batches for samples in ranks)

    @property
    def samples(self) -> tuple[int, ...]:
        """All samples of the step, over all ranks."""
        return tuple(sample for ranks in self.micro_batches for samples in ranks for sample in samples)


def count_steps(n_samples: int, epochs: int, batch_size: int) -> int:
    """Return the number of optimizer steps; the last of an epoch may be smaller than the others."""
    return epochs * math.ceil(n_samples / batch_size)


def steps(lengths: Sequence[int], batches: Batching, *, epochs: int, seed: int) -> Iterator[Step]:
    """Yield every step of every epoch; each sample stands in exactly one step of an epoch.

    Args:
        lengths: tokens that the model reads of each sample.
        batches: how a step is cut.
        epochs: passes over the samples.
        seed: the same seed gives the same steps, whatever was yielded before.
    """
    number = 0
    for epoch in range(epochs):
        order = list(range(len(lengths)))
        random.Random(f"{seed}:{epoch}").shuffle(order)
        for start in range(0, len(order), batches.batch_size):
            samples = sorted(
                order[start : start + batches.batch_size], key=lambda sample: (-lengths[sample], sample)
            )
            yield Step(number, epoch, _cut(samples, lengths, batches), stand_in=samples[-1])
            number += 1


def reading(lengths: Sequence[int], batches: Batching) -> Step:
    """Return how all samples are read once, to be measured: the passes of one step, in which nothing is drawn."""
    samples = sorted(range(len(lengths)), key=lambda sample: (-lengths[sample], sample))
    return Step(0, 0, _cut(samples, lengths, batches), stand_in=samples[-1])


def validated_after(n_samples: int, *, epochs: int, batch_size: int, times: int) -> frozenset[int]:
    """Return the numbers of steps done after which a training is measured: `times` an epoch, evenly, the last of them
    at its end; after every step where an epoch has fewer.
    """
    per_epoch = math.ceil(n_samples / batch_size)
    within = {math.ceil(per_epoch * time / times) for time in range(1, times + 1)}
    return frozenset(epoch * per_epoch + steps for epoch in range(epochs) for steps in within)


def is_patience_spent(nats: Sequence[float], patience: int) -> bool:
    """Say whether the last `patience` values, or more, are no better than the best before them. Lower is better."""
    return bool(nats) and len(nats) - 1 - nats.index(min(nats)) >= patience


def learning_rate(
    step: int, total: int, *, peak: float, warmup_share: float, decay: Literal["linear", "cosine"]
) -> float:
    """Return the rate of a step: a linear rise to `peak`, then a fall that would reach 0 after the last."""
    warmup = math.ceil(total * warmup_share)
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / (total - warmup)
    return peak * (1 - done if decay == "linear" else 0.5 * (1 + math.cos(math.pi * done)))


def _cut(
    samples: Sequence[int], lengths: Sequence[int], batches: Batching
) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """Deal a step's samples, longest first, into the fewest turns that hold them when dealt evenly.

    The fullest passes come first, and ranks that work at the same time get passes that are about as full.
    """
    most = batches.micro_batch_tokens
    n_turns = math.ceil(sum(min(lengths[sample], most) for sample in samples) / (most * batches.ranks))
    n_turns = min(n_turns, math.ceil(len(samples) / batches.ranks))
    while True:
        passes = _deal(samples, lengths, n_turns * batches.ranks)
        if all(len(some) < 2 or tokens <= most for tokens, some in passes):
            break
        n_turns += 1
    fullest = [tuple(some) for _, some in sorted(passes, key=lambda dealt: (-dealt[0], dealt[1]))]
    return tuple(
        tuple(fullest[start : start + batches.ranks]) for start in range(0, len(fullest), batches.ranks)
    )


def _deal(samples: Sequence[int], lengths: Sequence[int], n_passes: int) -> list[tuple[int, list[int]]]:
    """Give each sample to the emptiest pass so far; return the tokens and the samples of every pass."""
    passes: list[tuple[int, int, list[int]]] = [(0, number, []) for number in range(n_passes)]
    for sample in samples:
        tokens, number, some = passes[0]
        heapq.heapreplace(passes, (tokens + lengths[sample], number, [*some, sample]))
    return [(tokens, some) for tokens, _, some in passes]
