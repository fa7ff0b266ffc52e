"""How likely a model finds a text: negative log-likelihoods of gaps' targets, in batches.

All figures are nats per token: the mean of -ln p over a target's tokens, that is the carried text and the
middle, without the end token, whose likelihood says more about where a gap was cut than about its text.

What does not live here: which texts are scored and what follows from it (`refinery/perplexity.py`,
`evaluation/`), the prompt's form (`fim.py`), the model (`models.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from echo_dagster.fim import Encoded

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

#: Padding in a forward pass, of its tokens. Where lengths differ more, a smaller pass costs less than a padded one.
_MOST_PADDING = 0.05
#: A row shorter than this many tokens takes more targets of its prompt.
_FULL_ROW = 256
#: Predictions that are made exact (fp32) at a time: a vocabulary wide, they fit in a CPU's cache in small numbers only.
_LOGITS_AT_A_TIME = 128


@dataclass
class _Row:
    """A prompt and every target that is scored behind it, as one sequence of a forward pass."""

    prompt: list[int]
    length: int  # of `ids`
    targets: list[list[int]] = field(default_factory=list)  # without the end token
    places: list[int] = field(default_factory=list)  # where each target's value goes

    def take(self, target: list[int], place: int) -> None:
        """Add a target whose value goes to `place`."""
        self.targets.append(target)
        self.places.append(place)
        self.length += len(target) - 1

    def ids(self) -> list[int]:
        """Return what the model reads: a target's last token predicts nothing and is left out."""
        return self.prompt + [token for target in self.targets for token in target[:-1]]

    def spans(self) -> Iterator[tuple[int, int]]:
        """Yield where in `ids` each target stands."""
        start = len(self.prompt)
        for target in self.targets:
            yield start, start + len(target) - 1
            start += len(target) - 1


def nats_per_token(
    model: PreTrainedModel,
    batch: Sequence[Encoded],
    batch_tokens: int,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[float]:
    """Return the mean -ln p of each target's tokens given its prompt, in nats, in the order given.

    Targets of the same prompt share one reading of it. Forward passes hold sequences of like length, at most
    `batch_tokens` with padding (a longer sequence has one of its own), and need up to batch_tokens x vocabulary
    numbers for what they predict.

    Raises:
        ValueError: a target has no token but its end, or a likelihood is not a number.
    """
    import torch

    rows = sorted(_share_prompts(batch), key=lambda row: row.length)
    nats = [math.nan] * len(batch)
    done = 0
    for chosen in _batches([row.length for row in rows], batch_tokens):
        together = rows[chosen.start : chosen.stop]
        with torch.inference_mode():
            values = _forward(model, together)
        for place, value in zip((place for row in together for place in row.places), values, strict=True):
            if not math.isfinite(value):
                raise ValueError("the model gives a likelihood that is not a number; its weights are damaged")
            nats[place] = value
        done += len(values)
        if progress is not None:
            progress(done, len(batch))
    return nats


def _share_prompts(batch: Sequence[Encoded]) -> list[_Row]:
    """Gather the targets of each prompt: what was proposed and what was written answer the same one.

    A row takes targets until they are as long as its prompt: beyond that, sharing saves less than it pads.
    A short row is filled up in any case: many sequences of a few tokens cost several times as much per token,
    on a CPU in bf16, as one sequence that holds them side by side.
    """
    rows: list[_Row] = []
    last: dict[tuple[int, ...], _Row] = {}
    for place, sample in enumerate(batch):
        if len(sample.target_ids) < 2:
            raise ValueError("a target of no token has no likelihood; score only gaps that hold text")
        row = last.get(tuple(sample.prompt_ids))
        if row is None or row.length + len(sample.target_ids) > max(2 * len(row.prompt), _FULL_ROW):
            row = last[tuple(sample.prompt_ids)] = _Row(sample.prompt_ids, len(sample.prompt_ids))
            rows.append(row)
        row.take(sample.target_ids[:-1], place)
    return rows


def _batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[range]:
    """Cut sorted lengths into runs that are at most `batch_tokens` when padded, and padded little.

    A run holds at least one.
    """
    start, tokens = 0, 0
    for end, length in enumerate(lengths):
        padded = (end + 1 - start) * length
        if end > start and padded > min(batch_tokens, (tokens + length) * (1 + _MOST_PADDING)):
            yield range(start, end)
            start, tokens = end, 0
        tokens += length
    if start < len(lengths):
        yield range(start, len(lengths))


def _forward(model: PreTrainedModel, rows: Sequence[_Row]) -> list[float]:
    """Score the targets of some rows, in order. Padding stands at the end, where no target sees it."""
    import torch

    longest = max(row.length for row in rows)
    ids = torch.tensor([row.ids() + [0] * (longest - row.length) for row in rows], device=model.device)
    predicted = [
        (number, place, token)
        for number, row in enumerate(rows)
        for (start, end), target in zip(row.spans(), row.targets, strict=True)
        for place, token in zip((len(row.prompt) - 1, *range(start, end)), target, strict=True)
    ]
    numbers, places, tokens = torch.tensor(predicted, device=model.device).unbind(1)
    with _logits_at(model, numbers, places):
        logits = model(
            input_ids=ids,
            use_cache=False,
            **(_side_by_side(model, rows, longest) if any(len(row.targets) > 1 for row in rows) else {}),
        ).logits
    nats = [
        torch.nn.functional.cross_entropy(some.float(), token, reduction="none")
        for some, token in zip(logits.split(_LOGITS_AT_A_TIME), tokens.split(_LOGITS_AT_A_TIME), strict=True)
    ]
    by_target = torch.cat(nats).cpu().split([len(target) for row in rows for target in row.targets])
    return [float(of_target.mean()) for of_target in by_target]


@contextmanager
def _logits_at(model: PreTrainedModel, rows: torch.Tensor, places: torch.Tensor) -> Iterator[None]:
    """Let a model give the logits of some places of some rows alone: a vocabulary wide, all of them would fill memory
    and cost as much as the model. Whatever it does to logits after its head (a scale, a cap) it does to these.
    """
    head = model.get_output_embeddings()
    hook = head.register_forward_pre_hook(lambda _, states: (states[0][rows, places], *states[1:]))
    try:
        yield
    finally:
        hook.remove()


def _side_by_side(model: PreTrainedModel, rows: Sequence[_Row], longest: int) -> dict[str, torch.Tensor]:
    """Return mask and positions by which each target of a row follows its prompt and sees no other target."""
    import torch

    visible = torch.ones(longest, longest, dtype=torch.bool).tril().repeat(len(rows), 1, 1, 1)
    positions = torch.arange(longest).repeat(len(rows), 1)
    for place, row in enumerate(rows):
        for start, end in row.spans():
            visible[place, 0, start:end, len(row.prompt) : start] = False
            positions[place, start:end] = torch.arange(len(row.prompt), len(row.prompt) + end - start)
        positions[place, row.length :] = 0
    mask = torch.zeros(visible.shape, dtype=model.dtype).masked_fill(~visible, torch.finfo(model.dtype).min)
    return {"attention_mask": mask.to(model.device), "position_ids": positions.to(model.device)}
