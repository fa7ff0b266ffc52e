"""Growing shares of a training set, each within the next.

What does not live here: which samples a training set holds (`refinery/window.py`), and the lot by which they are drawn
(`holdout.py`): `compare.sample` takes those with the lowest lots, so a smaller share is part of every larger one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

from pydantic import ValidationError

from echo_dagster.settings import Scaling, Settings


@dataclass(frozen=True)
class Size:
    """A share of a training set, and how many samples that is."""

    share: float
    n_samples: int


def asked(settings: Settings, shares: Sequence[float] | None, seeds: int | None) -> Settings:
    """Return the settings with other shares and seeds, where they are given.

    Raises:
        ValueError: shares that are not two or more, rising, above 0 and at most 1; or no seed.
    """
    wanted: dict[str, object] = {} if shares is None else {"shares": tuple(shares)}
    wanted |= {} if seeds is None else {"seeds": seeds}
    try:
        scaling = Scaling.model_validate(settings.scaling.model_dump() | wanted)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise ValueError(f"scaling.{told}") from error
    return settings.model_copy(update={"scaling": scaling})


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
