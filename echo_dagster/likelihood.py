"""How likely a model finds a text: negative log-likelihoods of gaps' targets, in batches.

All figures are nats per token: the mean of -ln p over a target's tokens, that is the carried text and the
middle, without the end token, whose likelihood says more about where a gap was cut than about its text.

What does not live here: which texts are scored and what follows from it (`refinery/perplexity.py`,
`evaluation/`), the prompt's form (`fim.py`), the model (`models.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from echo_dagster.fim import Encoded

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def nats_per_token(
    model: PreTrainedModel,
    batch: Sequence[Encoded],
    batch_tokens: int,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[float]:
    """Return the mean negative log-likelihood of each target given its prompt, in nats per token, in the order given.

    Forward passes hold sequences of like length, at most `batch_tokens` of them with padding.

    Raises:
        ValueError: a target has no token but its end, or a likelihood is not a number.
    """
    import torch

    if any(len(sample.target_ids) < 2 for sample in batch):
        raise ValueError("a target of no token has no likelihood; score only gaps that hold text")
    order = sorted(
        range(len(batch)), key=lambda index: len(batch[index].prompt_ids) + len(batch[index].target_ids)
    )
    nats = [math.nan] * len(batch)
    done = 0
    for chosen in _batches(
        [len(batch[i].prompt_ids) + len(batch[i].target_ids) - 1 for i in order], batch_tokens
    ):
        rows = [order[place] for place in chosen]
        with torch.inference_mode():
            values = _forward(model, [batch[index] for index in rows])
        for index, value in zip(rows, values, strict=True):
            if not math.isfinite(value):
                raise ValueError("the model gives a likelihood that is not a number; its weights are damaged")
            nats[index] = value
        done += len(rows)
        if progress is not None:
            progress(done, len(batch))
    return nats


def _batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[range]:
    """Cut a sorted list of lengths into runs whose padded size keeps to `batch_tokens`; a run holds at least one."""
    start = 0
    for end in range(1, len(lengths) + 1):
        if end == len(lengths) or (end + 1 - start) * lengths[end] > batch_tokens:
            yield range(start, end)
            start = end


def _forward(model: PreTrainedModel, batch: Sequence[Encoded]) -> list[float]:
    """Score one batch. Padding stands behind the sequences, where no token that counts can see it."""
    import torch

    sequences = [sample.prompt_ids + sample.target_ids[:-1] for sample in batch]
    longest = max(len(sequence) for sequence in sequences)
    ids = torch.tensor(
        [sequence + [0] * (longest - len(sequence)) for sequence in sequences], device=model.device
    )
    # Only positions that predict a target token of some row need logits: a vocabulary wide, they would fill
    # memory.
    first = min(len(sample.prompt_ids) for sample in batch) - 1
    kept = torch.arange(first, longest - 1, device=model.device)
    logits = model(input_ids=ids[:, :-1], use_cache=False, logits_to_keep=kept).logits
    values = []
    for row, sample in enumerate(batch):
        start = len(sample.prompt_ids) - 1 - first
        target = torch.tensor(sample.target_ids[:-1], device=model.device)
        predicted = logits[row, start : start + len(target)].float()
        values.append(torch.nn.functional.cross_entropy(predicted, target).item())
    return values
