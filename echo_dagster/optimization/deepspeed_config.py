"""A DeepSpeed configuration file made complete by the settings, as transformers' Trainer does with `"auto"`.

The files of configs/deepspeed/ say how memory is shared among ranks; the settings say what is learnt. A value
that the settings own is `"auto"` in the file, or not there.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from echo_dagster.optimization.plan import Batching
from echo_dagster.settings import Training

AUTO = "auto"


def complete(config: dict[str, Any], training: Training) -> dict[str, Any]:
    """Return `config` with every value that the settings own.

    Raises:
        ValueError: the file states a value that the settings own; all such values are named.
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
    stated = []
    for name, (value, setting) in owned.items():
        *parents, last = name.split(".")
        section = completed
        for parent in parents:
            section = section.setdefault(parent, {})
        if section.get(last, AUTO) != AUTO:
            stated.append(f"{name}: write {json.dumps(AUTO)}; the value is the setting training.{setting}")
        section[last] = value
    if "train_batch_size" in completed:
        stated.append("train_batch_size: remove it; the value is the setting training.batch_size")
    if "scheduler" in completed:
        stated.append("scheduler: remove it; see the settings training.warmup_share and training.decay")
    if stated:
        raise ValueError(
            "the DeepSpeed configuration states what the settings own:\n  - " + "\n  - ".join(stated)
        )
    return completed


def read(path: Path, training: Training) -> dict[str, Any]:
    """Read a configuration file and complete it.

    Raises:
        ValueError: the file is not a JSON object, or states a value that the settings own; it is named.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("expected a JSON object")
        return complete(config, training)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
