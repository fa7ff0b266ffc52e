"""The model under training: its weights, which of them learn, and the loss of a micro-batch.

The loss is taken on the target alone (carried text, middle, end token), and every target token of an optimizer
step weighs the same, however it is cut into ranks and micro-batches.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, PreTrainedModel

from echo_dagster.fim import FimError, encode, fim_format
from echo_dagster.models import load_tokenizer
from echo_dagster.optimization.job import Job

IGNORED = -100


class TrainingError(RuntimeError):
    """A training that cannot go on. The message says what to change."""


@dataclass(frozen=True)
class Sample:
    """A gap as token ids: the prompt, then `n_target` tokens to predict. Kept at four bytes a token."""

    ids: array[int]
    n_target: int


@dataclass(frozen=True)
class Batch:
    """A micro-batch, left-padded, so that all targets end in the last column.

    `inputs` holds input_ids, attention_mask and position_ids, int64 of shape (samples, tokens); `labels`, of
    shape (samples, longest target), holds what the last columns predict, `IGNORED` where a target is shorter.
    """

    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor


def encode_samples(job: Job) -> list[Sample]:
    """Read the job's samples as token ids, in the order of their ids.

    Raises:
        TrainingError: a sample does not fit in the model's window.
    """
    tokenizer = load_tokenizer(job.model.path)
    fmt = fim_format(job.fim, tokenizer)
    encoded, too_long = [], 0
    for row in pl.read_parquet(job.samples).iter_rows(named=True):
        try:
            gap = encode(
                fmt, tokenizer, row["prefix"], row["suffix"], row["middle"], max_tokens=job.max_tokens
            )
        except FimError:
            too_long += 1
            continue
        encoded.append(Sample(array("i", gap.prompt_ids + gap.target_ids), len(gap.target_ids)))
    if too_long:
        raise TrainingError(
            f"{too_long} of {job.n_samples} samples have a middle that does not fit in max_tokens "
            f"({job.max_tokens}); lower truncation.middle_tokens or raise max_tokens in the model's configuration"
        )
    return encoded


def load(job: Job) -> PreTrainedModel:
    """Load the model to train: fp32 weights, gradients only where they are wanted."""
    model = AutoModelForCausalLM.from_pretrained(
        job.model.path,
        dtype=torch.float32,
        local_files_only=True,
        # On a CPU the plain attention beats the fused one by a fifth, as soon as a batch is padded.
        attn_implementation="sdpa" if torch.cuda.is_available() else "eager",
    )
    model.config.use_cache = False
    if job.training.recompute_activations:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if job.training.last_layers is not None:
        freeze_all_but_last(model, job.training.last_layers)
    return model.train()


def freeze_all_but_last(model: PreTrainedModel, n_blocks: int) -> None:
    """Let only the last `n_blocks` transformer blocks, and the norm behind them, learn. Embeddings stay.

    Raises:
        TrainingError: the model has no list of blocks where it could be cut.
    """
    body = model.base_model
    blocks = next(
        (
            child
            for child in body.modules()
            if isinstance(child, torch.nn.ModuleList) and len(child) == model.config.num_hidden_layers
        ),
        None,
    )
    if blocks is None:
        raise TrainingError(
            f"{type(model).__name__} keeps its blocks where last_layers cannot find them; "
            "set training.last_layers: null"
        )
    model.requires_grad_(False)
    for block in list(blocks)[-n_blocks:]:
        block.requires_grad_(True)
    embedded = {id(parameter) for parameter in model.get_input_embeddings().parameters()}
    if (head := model.get_output_embeddings()) is not None:
        embedded |= {id(parameter) for parameter in head.parameters()}
    inside = {id(parameter) for parameter in blocks.parameters()}
    # What is left is the norm behind the blocks and, in old models, position embeddings before them.
    for name, parameter in body.named_parameters():
        if id(parameter) not in embedded | inside and "emb" not in name and "wpe" not in name:
            parameter.requires_grad_(True)


def parameter_groups(model: PreTrainedModel) -> list[dict[str, Any]]:
    """Return the weights that learn, for the optimizer: matrices decay, norms and biases do not."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in learning if _dimensions(parameter) > 1]
    others = [parameter for parameter in learning if _dimensions(parameter) <= 1]
    return [{"params": matrices}, {"params": others, "weight_decay": 0.0}]


def _dimensions(parameter: torch.nn.Parameter) -> int:
    return len(
        getattr(parameter, "ds_shape", parameter.shape)
    )  # under ZeRO 3 a rank holds a part, and the shape aside


def collate(samples: Sequence[Sample], device: torch.device | str) -> Batch:
    """Make a micro-batch. The last token of a sample is only predicted, so it is no input."""
    width = max(len(sample.ids) for sample in samples) - 1
    longest = max(sample.n_target for sample in samples)
    ids = torch.zeros((len(samples), width), dtype=torch.long)
    mask = torch.zeros_like(ids)
    labels = torch.full((len(samples), longest), IGNORED, dtype=torch.long)
    for row, sample in enumerate(samples):
        tokens = torch.tensor(sample.ids, dtype=torch.long)
        ids[row, width - len(tokens) + 1 :] = tokens[:-1]
        mask[row, width - len(tokens) + 1 :] = 1
        labels[row, longest - sample.n_target :] = tokens[-sample.n_target :]
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
    return Batch({name: tensor.to(device) for name, tensor in inputs.items()}, labels.to(device))


def nats(model: Any, batch: Batch) -> torch.Tensor:
    """Return the sum of -log p over the target tokens of a micro-batch, in nats: a scalar with a gradient."""
    logits = model(**batch.inputs, logits_to_keep=batch.labels.shape[1], use_cache=False).logits
    return functional.cross_entropy(
        logits.float().flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )
