"""Low-rank adapters (LoRA, arXiv 2106.09685) through peft: where they go, and how they become plain weights again.

An adapted layer computes W x + (alpha / rank) B A x, and of it A and B alone learn. B begins at zero, so that the first
step starts from the model as it is. What does not live here: which other weights learn (`train_model.py`), files of
models and checkpoints (`train_checkpoint.py`).
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import deepspeed
import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file
from transformers import PreTrainedModel

from echo_dagster.optimization.job import Job
from echo_dagster.settings import Training

#: Beside the weights that hold it already, a model directory keeps the adapter itself. In a folder of its own it is no
#: part of what transformers, llama.cpp and vLLM load, nor of `models.digest`.
FOLDER = "adapter"
_NAME = "default"  # peft's own
_WEIGHTS = "adapter_model.safetensors"  # by which peft finds them
_ALL = "all-linear"  # peft's name for all linear layers but the head


class UnknownTargets(ValueError):
    """Layers that the model does not have."""


def config(model: PreTrainedModel, job: Job) -> LoraConfig:
    """Return what adapters a model is to have.

    Raises:
        UnknownTargets: `training.lora_targets` names a layer that is not there.
    """
    training = job.training
    assert training.lora_rank is not None
    return LoraConfig(
        r=training.lora_rank,
        lora_alpha=cast(int, training.lora_alpha),  # peft takes any number
        lora_dropout=training.lora_dropout,
        target_modules=_targets(model, training),
        task_type="CAUSAL_LM",
    )


def add(model: PreTrainedModel, job: Job) -> PeftModel:
    """Give a model adapters, and let nothing else of it learn. Raises as `config` does."""
    wanted = config(model, job)
    torch.manual_seed(job.training.seed)  # A is drawn, whatever was drawn while the model was loaded
    return cast(PeftModel, get_peft_model(model, wanted))


def plain(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """Return the model that transformers knows, which may hold adapters."""
    return cast(PreTrainedModel, model.get_base_model()) if isinstance(model, PeftModel) else model


def plain_name(name: str) -> str | None:
    """Return how a weight is called in the model without adapters; None for a part of an adapter."""
    return None if ".lora_" in name else name.replace(".base_layer.", ".")


def layers(model: PreTrainedModel | PeftModel) -> dict[int, LoraLayer]:
    """Return the adapted layers by the `id` of the weight that they add to; none without adapters."""
    return {
        id(layer.get_base_layer().weight): layer for layer in model.modules() if isinstance(layer, LoraLayer)
    }


def matrices(layer: LoraLayer | None) -> list[torch.Tensor]:
    """Return A and B of a layer, nothing for none."""
    return (
        [] if layer is None else [cast(torch.Tensor, ab[_NAME].weight) for ab in (layer.lora_A, layer.lora_B)]
    )


def merged(weight: torch.Tensor, layer: LoraLayer | None) -> torch.Tensor:
    """Return a weight with what its layer's adapter adds. All of them must be here whole."""
    if layer is None:
        return weight.detach()
    added: torch.Tensor = cast(Any, layer).get_delta_weight(
        _NAME
    )  # of each kind of layer, not of their base class
    return weight.detach() + added.detach()


def save(model: PreTrainedModel | PeftModel, folder: Path, base: str, *, is_first: bool) -> str | None:
    """Write the adapter as peft loads it, in fp32, into `folder/adapter`; return 16 hex digits of its contents.

    `base` is the name of the model that it goes with.
    Every rank calls this, and all but the first write nothing. Without adapters nothing is written, and None returned.
    """
    if not isinstance(model, PeftModel):
        return None
    learnt: dict[str, torch.Tensor] = {}
    for name, weight in model.named_parameters():
        if plain_name(name) is None:
            with deepspeed.zero.GatheredParameters([weight]):
                if is_first:
                    learnt[name] = weight.detach().to("cpu", copy=True)
    if not is_first:
        return None
    target = folder / FOLDER
    target.mkdir()
    state: dict[str, Any] = get_peft_model_state_dict(model, state_dict=learnt, save_embedding_layers=False)
    save_file(state, target / _WEIGHTS, metadata={"format": "pt"})
    told = model.peft_config[_NAME]
    told.base_model_name_or_path = base  # peft writes the path, which is true on this machine alone
    told.save_pretrained(str(target), inference_mode=True)
    return sha256((target / _WEIGHTS).read_bytes()).hexdigest()[:16]


def _targets(model: PreTrainedModel, training: Training) -> str | list[str]:
    """Return what peft looks for, once each name is known to be there: peft passes over those that are not."""
    if not training.lora_targets:
        return _ALL
    there = {
        name.rsplit(".")[-1] for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)
    }
    unknown = sorted(set(training.lora_targets) - there)
    if unknown:
        raise UnknownTargets(
            f"training.lora_targets: the model has no linear layer called {', '.join(unknown)}; "
            f"it has {', '.join(sorted(there))}"
        )
    return list(training.lora_targets)
