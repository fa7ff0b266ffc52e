"""A DeepSpeed configuration file, checked, and completed by the settings as transformers' Trainer does.

The files of configs/deepspeed/ say how memory is shared among ranks; the settings say what is learnt. A value
that the settings own is `"auto"` in the file, or not there. DeepSpeed passes over most names that it does not know,
so a name that is not below is refused here. Not taken: what training does not use (schedulers, compression, pipelines,
MoE), `fp16` and `bf16` (weights stay fp32; `torch_autocast` says the arithmetic), and NVMe offload.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from echo_dagster.optimization.plan import Batching
from echo_dagster.settings import Training

AUTO = "auto"

Elements = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    """A section as DeepSpeed 0.19 reads it; what is left out keeps DeepSpeed's own default."""

    model_config = ConfigDict(extra="forbid", strict=True)


class _AdamW(_Section):
    lr: float
    weight_decay: float
    betas: tuple[float, float] = Field((0.9, 0.999), strict=False)  # JSON has lists alone
    eps: float = 1e-8
    torch_adam: bool = False


class _Optimizer(_Section):
    type: Literal["AdamW"]
    params: _AdamW


class _Autocast(_Section):
    enabled: bool
    dtype: Literal["bfloat16", "torch.bfloat16"]


class _Offload(_Section):
    device: Literal["none", "cpu"]
    pin_memory: bool = True


class Zero(_Section):
    """What of `zero_optimization` can be stated."""

    stage: Literal[0, 1, 2, 3]
    contiguous_gradients: bool = True
    overlap_comm: bool | None = None
    reduce_scatter: bool = True
    reduce_bucket_size: Elements = 500_000_000
    allgather_partitions: bool = True
    allgather_bucket_size: Elements = 500_000_000
    round_robin_gradients: bool = False
    sub_group_size: Elements = 1_000_000_000
    offload_optimizer: _Offload | None = None
    offload_param: _Offload | None = None
    stage3_prefetch_bucket_size: Annotated[int, Field(ge=0)] = 50_000_000
    stage3_param_persistence_threshold: Annotated[int, Field(ge=0)] = 100_000
    stage3_max_live_parameters: Elements = 1_000_000_000
    stage3_max_reuse_distance: Annotated[int, Field(ge=0)] = 1_000_000_000


class _File(_Section):
    train_micro_batch_size_per_gpu: int
    gradient_accumulation_steps: int
    gradient_clipping: float
    optimizer: _Optimizer
    zero_optimization: Zero
    torch_autocast: _Autocast | None = None
    communication_data_type: Literal["fp32", "bf16"] | None = None
    wall_clock_breakdown: bool = False
    memory_breakdown: bool = False


#: Sections that others know from elsewhere, and what to write instead.
_INSTEAD = {
    "train_batch_size": "remove it; the value is the setting training.batch_size",
    "scheduler": "remove it; see the settings training.warmup_share and training.decay",
    "activation_checkpointing": "remove it; see the setting training.recompute_activations",
    "bf16": 'remove it; weights stay fp32, and "torch_autocast" says that arithmetic is bf16',
    "fp16": 'remove it; weights stay fp32, and "torch_autocast" says that arithmetic is bf16',
    "aio": "remove it; nothing is offloaded to NVMe",
}


def complete(config: dict[str, Any], training: Training) -> dict[str, Any]:
    """Return `config` with every value that the settings own.

    Raises:
        ValueError: the file states a value that the settings own, or what training does not know; with every mistake.
    """
    batches = Batching(training.batch_size, training.ranks, training.micro_batch_tokens)
    owned: dict[str, tuple[Any, str]] = {
        # DeepSpeed knows only steps that are all cut alike, so it is told of uncut ones; `train.py` tells it which
        # forward pass is the last of a step
        "train_micro_batch_size_per_gpu": (math.ceil(batches.batch_size / batches.ranks), "batch_size"),
        "gradient_accumulation_steps": (1, "micro_batch_tokens"),
        "gradient_clipping": (training.max_grad_norm, "max_grad_norm"),
        "optimizer.params.lr": (training.learning_rate, "learning_rate"),
        "optimizer.params.weight_decay": (training.weight_decay, "weight_decay"),
    }
    completed: dict[str, Any] = json.loads(json.dumps(config))
    mistakes = [f"{name}: {told}" for name, told in _INSTEAD.items() if completed.pop(name, None) is not None]
    for name, (value, setting) in owned.items():
        *parents, last = name.split(".")
        section: Any = completed
        for parent in parents:
            section = section.setdefault(parent, {}) if isinstance(section, dict) else None
        if not isinstance(section, dict):
            continue  # told below
        if section.get(last, AUTO) != AUTO:
            mistakes.append(f"{name}: write {json.dumps(AUTO)}; the value is the setting training.{setting}")
        section[last] = value
    try:
        mistakes += _conflicts(_File.model_validate(completed).zero_optimization)
    except ValidationError as error:
        mistakes += [_sentence(item) for item in error.errors()]
    if mistakes:
        raise ValueError("the DeepSpeed configuration cannot be used:\n  - " + "\n  - ".join(mistakes))
    return completed


def read(path: Path, training: Training) -> dict[str, Any]:
    """Read a configuration file and complete it.

    Raises:
        ValueError: the file is not a JSON object, states a value that the settings own, or what training does not
            know; it is named, with every mistake.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("expected a JSON object")
        return complete(config, training)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _conflicts(zero: Zero) -> list[str]:
    """Return what does not go together."""
    wanted = {"offload_optimizer": (zero.offload_optimizer, 1), "offload_param": (zero.offload_param, 3)}
    return [
        f"zero_optimization.{name}: expected stage {least} or more (got stage {zero.stage})"
        for name, (offload, least) in wanted.items()
        if offload is not None and offload.device != "none" and zero.stage < least
    ]


def _sentence(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"{where}: training knows no such name; remove it or mend it"
    if item["type"] == "missing":
        return f"{where}: missing; add it"
    got = "" if isinstance(item["input"], dict | list) else f" (got {json.dumps(item['input'])})"
    return f"{where}: {item['msg'][0].lower()}{item['msg'][1:]}{got}"
