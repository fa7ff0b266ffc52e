"""Several samples as one row of tokens, without padding, and the loss on it.

A row holds samples end to end. Everything but attention works on tokens one by one, so it runs on the row as a whole;
positions start anew with each sample, and `attend` lets a token see its own sample alone. Nothing is padded or masked,
and logits are made where a target token is predicted, nowhere else.

What does not live here: which samples share a row (`plan.py`), the model (`train_model.py`).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, cast

import torch
from torch.nn import functional
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

#: The name by which a model asks for `attend`. transformers makes no mask for a name that it does not know.
ATTENTION = "echo_packed"

Weighting = Literal["token", "sample"]


@dataclass(frozen=True)
class Sample:
    """A gap as token ids: the prompt, then `n_target` tokens to predict. Kept at four bytes a token."""

    ids: array[int]
    n_target: int

    @property
    def n_inputs(self) -> int:
        """Tokens that the model reads: the last is only predicted."""
        return len(self.ids) - 1


@dataclass(frozen=True)
class Pack:
    """A micro-batch.

    `inputs` holds what the model is called with: input_ids and position_ids, int64 of shape (1, tokens), where each
    sample starts and ends (cu_seq_lens, int32 of shape (samples + 1,)), and at which places logits are wanted. `labels`
    and `weights`, of shape (targets,), say which token is predicted at each of them, and what its nats count.
    """

    inputs: dict[str, Any]
    labels: torch.Tensor
    weights: torch.Tensor


def pack(samples: Sequence[Sample], weighting: Weighting, device: torch.device | str) -> Pack:
    """Put samples end to end. Of a sample's target tokens each counts 1, or all together do."""
    ends = [0]
    for sample in samples:
        ends.append(ends[-1] + sample.n_inputs)
    bounds = torch.tensor(ends, dtype=torch.int32).to(device)
    longest = max(sample.n_inputs for sample in samples)
    inputs = {
        "input_ids": _row(sample.ids[:-1] for sample in samples).unsqueeze(0).to(device),
        "position_ids": _row(range(sample.n_inputs) for sample in samples).unsqueeze(0).to(device),
        # the names under which transformers hands them on to attention, flash attention included
        **dict.fromkeys(("cu_seq_lens_q", "cu_seq_lens_k"), bounds),
        **dict.fromkeys(("max_length_q", "max_length_k"), longest),
        "logits_to_keep": _row(
            range(end - sample.n_target, end) for sample, end in zip(samples, ends[1:], strict=True)
        ).to(device),
    }
    labels = _row(sample.ids[-sample.n_target :] for sample in samples).to(device)
    counts = torch.tensor([sample.n_target for sample in samples])
    each = torch.ones(len(samples)) if weighting == "token" else 1 / counts
    return Pack(inputs, labels, each.repeat_interleave(counts).to(device))


def nats(model: Any, packed: Pack) -> torch.Tensor:
    """Return the weighted sum of -log p over the target tokens, in nats: a scalar with a gradient."""
    logits = model(**packed.inputs, use_cache=False).logits[0]
    return functional.cross_entropy(logits.float(), packed.labels, reduction="none") @ packed.weights


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    cu_seq_lens_q: torch.Tensor,
    max_length_q: int,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each sample of a row, as a function of transformers' `AttentionInterface`.

    A GPU in half precision takes one kernel for the row (flash attention of variable length, which comes with torch).
    Elsewhere samples take turns: their attention costs the sum of their squared lengths either way, where a
    block-diagonal mask would cost the square of the row's.

    Args:
        module: the layer that asks.
        query: shape (1, heads, tokens, head size); `key` and `value` may have fewer heads.
        key: see `query`.
        value: see `query`.
        attention_mask: none; transformers makes none for this function.
        cu_seq_lens_q: where samples start and end.
        max_length_q: tokens of the longest.
        dropout: of attention weights.
        scaling: of products; 1 / sqrt(head size) if none is given.
        sliding_window: how many tokens are seen, the token itself included; all if none is given.
        others: passed on, so that what the plain function refuses is refused.

    Returns:
        Shape (1, tokens, heads, head size), and no attention weights.
    """
    if (
        value.is_cuda
        and value.dtype in (torch.float16, torch.bfloat16)
        and dropout == 0
        and not others.get("softcap")
    ):
        return in_one_kernel(query, key, value, cu_seq_lens_q, max_length_q, scaling, sliding_window), None
    attended = []
    for start, end in pairwise(cu_seq_lens_q.tolist()):
        q, k, v = (some[:, :, start:end] for some in (query, key, value))
        mask = _window(end - start, sliding_window, query.device)
        attended.append(sdpa_attention_forward(module, q, k, v, mask, dropout, scaling, **others)[0])
    return torch.cat(attended, dim=1), None


def in_one_kernel(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bounds: torch.Tensor,
    longest: int,
    scaling: float | None,
    sliding_window: int | None,
) -> torch.Tensor:
    """Attend within each sample by torch's flash attention of variable length. See `attend`."""
    from torch.nn.attention.varlen import varlen_attn

    # positions are applied in fp32 under autocast; the kernel wants one type
    dtype = value.dtype
    query, key, value = (some[0].transpose(0, 1).to(dtype) for some in (query, key, value))
    attended = varlen_attn(
        query,
        key,
        value,
        bounds,
        bounds,
        longest,
        longest,
        scale=scaling,
        window_size=(-1 if sliding_window is None else sliding_window - 1, 0),
        enable_gqa=True,
    )
    return cast(torch.Tensor, attended).unsqueeze(0)


def _window(length: int, sliding_window: int | None, device: torch.device) -> torch.Tensor | None:
    """Return which tokens of a sample see which, where that is not simply all before them."""
    if sliding_window is None or length <= sliding_window:
        return None
    seen = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    return seen.triu(1 - sliding_window)[None, None]


def _row(parts: Iterator[Sequence[int]]) -> torch.Tensor:
    return torch.cat([torch.tensor(part, dtype=torch.long) for part in parts])


AttentionInterface.register(ATTENTION, attend)
