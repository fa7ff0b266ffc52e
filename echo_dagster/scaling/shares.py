"""Growing shares of a training set, each within the next.

What does not live here: which samples a training set holds (`refinery/window.py`), and the lot by which they are drawn
(`holdout.py`): `compare.sample` takes those with the lowest lots, so a smaller share is part of every larger one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor


@dataclass(frozen=True)
class Size:
    """A share of a training set, and how many samples that is."""

    share: float
    n_samples: int


def sizes(n_samples: int, shares: Sequence[float], least: int) -> tuple[list[Size], list[Size]]:
    """Return the shares to train on, in order, and those that are left out: fewer samples than `least`.

    A share is rounded to whole samples, half a sample up. Of shares that round to as many, the first stays: the same
    samples are no second point.
    """
    taken: list[Size] = []
    left_out: list[Size] = []
    for share in sorted(shares):
        size = Size(share, floor(share * n_samples + 0.5))
        is_repeated = bool(taken) and taken[-1].n_samples == size.n_samples
        (left_out if size.n_samples < least or is_repeated else taken).append(size)
    return taken, left_out
