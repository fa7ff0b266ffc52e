"""The model under training, and what it is trained on: its weights, which of them learn, samples as tokens.

What does not live here: how samples share a row, and the loss (`train_pack.py`).
"""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

import polars as pl
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, PreTrainedModel

from echo_dagster.fim import FimError, encode, fim_format
from echo_dagster.models import load_tokenizer
from echo_dagster.optimization import train_lora as lora
from echo_dagster.optimization.job import Job
from echo_dagster.optimization.train_pack import ATTENTION, Sample


class TrainingError(RuntimeError):
    """A training that cannot go on. The message says what to change."""


def encode_samples(job: Job, file: Path) -> list[Sample]:
    """Read a file of the job's samples as token ids, in the order of their ids.

    Raises:
        TrainingError: a sample does not fit in the model's window.
    """
    tokenizer = load_tokenizer(job.model.path)
    fmt = fim_format(job.fim, tokenizer)
    encoded, too_long = [], 0
    rows = pl.read_parquet(file)
    for row in rows.iter_rows(named=True):
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
            f"{too_long} of {rows.height} samples have a middle that does not fit in max_tokens "
            f"({job.max_tokens}); lower truncation.middle_tokens or raise max_tokens in the model's configuration"
        )
    return encoded


def load(job: Job) -> PreTrainedModel | PeftModel:
    """Load the model to train: fp32 weights, attention sample by sample, gradients only where they are wanted.

    Raises:
        TrainingError: the model's attention cannot be replaced, or its blocks, or the layers to adapt, cannot be found.
    """
    model = AutoModelForCausalLM.from_pretrained(job.model.path, dtype=torch.float32, local_files_only=True)
    model.set_attn_implementation(ATTENTION)  # a model that cannot leaves it at a warning
    if model.config._attn_implementation != ATTENTION or not model._supports_sdpa:
        raise TrainingError(
            f"{type(model).__name__} computes attention by itself, so its samples cannot share a row; "
            "take a model that transformers can give another attention"
        )
    model.config.use_cache = False
    if job.training.recompute_activations:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if job.training.last_layers is not None:
        freeze_all_but_last(model, job.training.last_layers)
    if job.training.lora_rank is not None:
        try:
            return lora.add(model, job).train()
        except lora.UnknownTargets as error:
            raise TrainingError(str(error)) from error
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


def parameter_groups(model: torch.nn.Module) -> list[dict[str, Any]]:
    """Return the weights that learn, for the optimizer: matrices decay, norms and biases do not."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in learning if _dimensions(parameter) > 1]
    others = [parameter for parameter in learning if _dimensions(parameter) <= 1]
    return [{"params": matrices}, {"params": others, "weight_decay": 0.0}]


def _dimensions(parameter: torch.nn.Parameter) -> int:
    return len(
        getattr(parameter, "ds_shape", parameter.shape)
    )  # under ZeRO 3 a rank holds a part, and the shape aside
