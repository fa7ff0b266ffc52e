"""Which samples make up which optimizer step, and at which learning rate. Pure functions of settings and seed.

A step's samples are of like length, so that little of a padded batch is padding; which step comes when is
random.
What does not live here: tokens and weights (`train_model.py`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

#: Steps whose samples are sorted by length together: enough for even batches, few enough to stay random.
_POOL_STEPS = 64


@dataclass(frozen=True)
class Batching:
    """How a step is cut: into `ranks` x `accumulation` micro-batches of at most `micro_batch_size` samples."""

    batch_size: int
    ranks: int
    accumulation: int
    micro_batch_size: int


@dataclass(frozen=True)
class Step:
    """One optimizer step, counted from 0.

    `micro_batches[i][r]` holds the samples of rank r's i-th forward pass; it is empty where the step has fewer samples
    than micro-batches.
    """

    number: int
    epoch: int
    micro_batches: tuple[tuple[tuple[int, ...], ...], ...]

    @property
    def samples(self) -> tuple[int, ...]:
        """All samples of the step, over all ranks."""
        return tuple(sample for ranks in self.micro_batches for samples in ranks for sample in samples)


def batching(batch_size: int, micro_batch_size: int, ranks: int) -> Batching:
    """Return how a step of `batch_size` samples is cut.

    Raises:
        ValueError: there are more ranks than samples in a step.
    """
    if batch_size < ranks:
        raise ValueError(
            f"training.batch_size is {batch_size}, less than training.ranks ({ranks}): some ranks would never see "
            "a sample; raise batch_size or lower ranks"
        )
    accumulation = math.ceil(batch_size / (micro_batch_size * ranks))
    return Batching(batch_size, ranks, accumulation, math.ceil(batch_size / (accumulation * ranks)))


def count_steps(n_samples: int, epochs: int, batch_size: int) -> int:
    """Return the number of optimizer steps; the last of an epoch may be smaller than the others."""
    return epochs * math.ceil(n_samples / batch_size)


def steps(lengths: Sequence[int], batches: Batching, *, epochs: int, seed: int) -> Iterator[Step]:
    """Yield every step of every epoch; each sample stands in exactly one step of an epoch.

    Args:
        lengths: tokens of each sample, prompt and target together.
        batches: how a step is cut.
        epochs: passes over the samples.
        seed: the same seed gives the same steps, whatever was yielded before.
    """
    number = 0
    for epoch in range(epochs):
        for samples in _epoch(lengths, batches.batch_size, random.Random(f"{seed}:{epoch}")):
            yield Step(number, epoch, _cut(samples, batches))
            number += 1


def learning_rate(
    step: int, total: int, *, peak: float, warmup_share: float, decay: Literal["linear", "cosine"]
) -> float:
    """Return the rate of a step: a linear rise to `peak`, then a fall that would reach 0 after the last."""
    warmup = math.ceil(total * warmup_share)
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / (total - warmup)
    return peak * (1 - done if decay == "linear" else 0.5 * (1 + math.cos(math.pi * done)))


def _epoch(lengths: Sequence[int], batch_size: int, random_: random.Random) -> list[list[int]]:
    order = list(range(len(lengths)))
    random_.shuffle(order)
    batches: list[list[int]] = []
    for start in range(0, len(order), batch_size * _POOL_STEPS):
        pool = sorted(
            order[start : start + batch_size * _POOL_STEPS], key=lambda sample: (lengths[sample], sample)
        )
        batches += [pool[at : at + batch_size] for at in range(0, len(pool), batch_size)]
    random_.shuffle(batches)
    return batches


def _cut(samples: Sequence[int], batches: Batching) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """Deal a step's samples, sorted by length, so that ranks that work at the same time get like lengths."""
    n_slots = batches.ranks * batches.accumulation
    bounds = [len(samples) * slot // n_slots for slot in range(n_slots + 1)]
    slots = [tuple(samples[low:high]) for low, high in pairwise(bounds)]
    return tuple(
        tuple(slots[turn * batches.ranks : (turn + 1) * batches.ranks])
        for turn in range(batches.accumulation)
    )
