"""Perplexity: how likely the reference model finds what the user wrote, what was proposed, and either without context.

What does not live here: what is dropped for it (`denoise.py`), the prompt's form (`fim.py`), the model (`models.py`).

All figures are nats per token: the mean of -ln p over a target's tokens, that is the carried text and the middle,
without the end token, whose likelihood says more about where a gap was cut than about its text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from tokenizers import Tokenizer

from echo_dagster.fim import Encoded, FimFormat, encode, fim_format
from echo_dagster.models import load_causal_lm, load_tokenizer
from echo_dagster.refinery.schema import SCORED_SCHEMA
from echo_dagster.settings import FimTokens, Perplexity

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


@dataclass
class _Row:
    """A prompt and every target that is scored behind it, as one sequence of a forward pass."""

    prompt: list[int]
    targets: list[list[int]] = field(default_factory=list)  # without the end token
    places: list[int] = field(default_factory=list)  # where each target's value goes

    def ids(self) -> list[int]:
        """Return what the model reads: a target's last token predicts nothing and is left out."""
        return self.prompt + [token for target in self.targets for token in target[:-1]]

    def spans(self) -> Iterator[tuple[int, int]]:
        """Yield where in `ids` each target stands."""
        start = len(self.prompt)
        for target in self.targets:
            yield start, start + len(target) - 1
            start += len(target) - 1


def score(
    samples: pl.DataFrame,
    model_path: Path,
    fim: FimTokens,
    settings: Perplexity,
    *,
    scorer: str,
    progress: Callable[[int, int], None] | None = None,
) -> pl.DataFrame:
    """Score samples under the reference model, in their order.

    `middle_nats_per_token` is C_N given C_0; `proposal_nats_per_token` is C_1 given C_0 (null where nothing was
    proposed); `middle_alone_nats_per_token` is the same target behind nothing but the token with which training text
    begins a document. `ifd`, instruction-following difficulty (Li et al., arXiv 2308.12032), is the first over the
    third: above 1, the context does not help.

    A context that does not fit in the model's window loses what stands farthest from the gap; a middle is never cut;
    of a proposal longer than half the window, that half is scored.

    Args:
        samples: of `BALANCED_SCHEMA`.
        model_path: the reference model's directory.
        fim: its fill-in-the-middle format.
        settings: how much goes into one forward pass.
        scorer: the reference model's digest, kept beside the figures.
        progress: called with sequences done and in all.

    Returns:
        a frame of `SCORED_SCHEMA`. An empty frame stays empty, and no model is loaded for it.

    Raises:
        FimError: a middle does not fit in the model's window.
        ValueError: a middle is empty, or a likelihood is not a number.
    """
    if samples.is_empty():
        return samples.match_to_schema(SCORED_SCHEMA, missing_columns="insert")
    model = load_causal_lm(model_path)
    tokenizer = load_tokenizer(model_path)
    fmt = fim_format(fim, tokenizer)
    window = model.config.max_position_embeddings
    contexts = samples.select("prefix", "suffix", "middle", "proposal").rows()
    middles = [
        encode(fmt, tokenizer, prefix, suffix, middle, max_tokens=window)
        for prefix, suffix, middle, _ in contexts
    ]
    alone = [Encoded(fmt.blank_prompt, sample.target_ids) for sample in middles]
    proposed = [place for place, (_, _, _, proposal) in enumerate(contexts) if proposal]
    proposals = [_encode_proposal(fmt, tokenizer, *contexts[place], window) for place in proposed]
    nats = nats_per_token(model, [*middles, *alone, *proposals], settings.batch_tokens, progress=progress)
    by_proposal = dict(zip(proposed, nats[2 * len(contexts) :], strict=True))
    return (
        samples.with_columns(
            pl.Series("middle_nats_per_token", nats[: len(contexts)], pl.Float64),
            pl.Series(
                "proposal_nats_per_token", [by_proposal.get(i) for i in range(len(contexts))], pl.Float64
            ),
            pl.Series("middle_alone_nats_per_token", nats[len(contexts) : 2 * len(contexts)], pl.Float64),
        )
        .with_columns(
            (pl.col("middle_nats_per_token") / pl.col("middle_alone_nats_per_token")).alias("ifd"),
            pl.lit(scorer).alias("scorer"),
        )
        .match_to_schema(SCORED_SCHEMA)
        .select(SCORED_SCHEMA.names())
    )


def nats_per_token(
    model: PreTrainedModel,
    batch: Sequence[Encoded],
    batch_tokens: int,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[float]:
    """Return the mean negative log-likelihood of each target given its prompt, in nats per token, in the order given.

    Targets of the same prompt share one reading of it. Forward passes hold sequences of like length, at most
    `batch_tokens` with padding, and need up to batch_tokens x vocabulary x 2 bytes for what they predict.

    Raises:
        ValueError: a target has no token but its end, or a likelihood is not a number.
    """
    import torch

    rows = sorted(_share_prompts(batch), key=lambda row: len(row.ids()))
    nats = [math.nan] * len(batch)
    done = 0
    for chosen in _batches([len(row.ids()) for row in rows], batch_tokens):
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


def _encode_proposal(
    fmt: FimFormat,
    tokenizer: Tokenizer,
    prefix: str,
    suffix: str | None,
    _middle: str,
    proposal: str,
    window: int,
) -> Encoded:
    ids = tokenizer.encode(proposal, add_special_tokens=False).ids
    if len(ids) > window // 2:
        proposal = tokenizer.decode(ids[: window // 2])
    return encode(fmt, tokenizer, prefix, suffix, proposal, max_tokens=window)


def _share_prompts(batch: Sequence[Encoded]) -> list[_Row]:
    """Gather the targets of each prompt: what was proposed and what was written answer the same one."""
    by_prompt: dict[tuple[int, ...], _Row] = {}
    for place, sample in enumerate(batch):
        if len(sample.target_ids) < 2:
            raise ValueError("a target of no token has no likelihood; score only gaps that hold text")
        # Behind a short prompt there is nothing to share: a row per target then pads less.
        alone = (place,) if len(sample.prompt_ids) < len(sample.target_ids) else ()
        row = by_prompt.setdefault((*sample.prompt_ids, -1, *alone), _Row(sample.prompt_ids))
        row.targets.append(sample.target_ids[:-1])
        row.places.append(place)
    return list(by_prompt.values())


def _batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[range]:
    """Cut a sorted list of lengths into runs whose padded size keeps to `batch_tokens`; a run holds at least one."""
    start = 0
    for end in range(1, len(lengths) + 1):
        if end == len(lengths) or (end + 1 - start) * lengths[end] > batch_tokens:
            yield range(start, end)
            start = end


def _forward(model: PreTrainedModel, rows: Sequence[_Row]) -> list[float]:
    """Score the targets of some rows, in order. Padding stands at the end, where no token that counts can see it."""
    import torch

    sequences = [row.ids() for row in rows]
    longest = max(len(sequence) for sequence in sequences)
    ids = torch.tensor(
        [sequence + [0] * (longest - len(sequence)) for sequence in sequences], device=model.device
    )
    # Only places that predict a target need logits: a vocabulary wide, they would fill memory.
    first = min(len(row.prompt) for row in rows) - 1
    logits = model(
        input_ids=ids,
        use_cache=False,
        logits_to_keep=torch.arange(first, longest, device=model.device),
        **(_side_by_side(model, rows, longest) if any(len(row.targets) > 1 for row in rows) else {}),
    ).logits
    values = []
    for row_logits, row in zip(logits, rows, strict=True):
        for (start, end), target in zip(row.spans(), row.targets, strict=True):
            predicting = [len(row.prompt) - 1 - first, *range(start - first, end - first)]
            loss = torch.nn.functional.cross_entropy(
                row_logits[predicting].float(), torch.tensor(target, device=model.device)
            )
            values.append(loss.item())
    return values


def _side_by_side(model: PreTrainedModel, rows: Sequence[_Row], longest: int) -> dict[str, torch.Tensor]:
    """Return the mask and the positions under which the targets of a row stand behind its prompt, each unseen by others."""
    import torch

    visible = torch.ones(longest, longest, dtype=torch.bool).tril().repeat(len(rows), 1, 1, 1)
    positions = torch.arange(longest).repeat(len(rows), 1)
    for place, row in enumerate(rows):
        for start, end in row.spans():
            visible[place, 0, start:end, len(row.prompt) : start] = False
            positions[place, start:end] = torch.arange(len(row.prompt), len(row.prompt) + end - start)
        positions[place, len(row.ids()) :] = 0
    mask = torch.zeros(visible.shape, dtype=model.dtype).masked_fill(~visible, torch.finfo(model.dtype).min)
    return {"attention_mask": mask.to(model.device), "position_ids": positions.to(model.device)}
