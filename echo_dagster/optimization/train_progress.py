"""What is done of a training, and the figures of a finished one."""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Progress:
    """What is done, over all runs of a job; saved with every checkpoint."""

    steps: int = 0
    tokens: int = 0  # prompts and targets
    target_tokens: int = 0
    idle_tokens: int = 0  # read for nothing, by ranks that wait for others
    seconds: float = 0.0
    resumed_at: list[int] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    #: `step` and `nats_per_token` of each measuring, the first of them before any step
    validations: list[dict[str, Any]] = field(default_factory=list)
    validation_seconds: float = 0.0

    @property
    def tried(self) -> list[float]:
        """What was measured after steps, in nats per token. The model that training began with is not among them."""
        return [one["nats_per_token"] for one in self.validations if one["step"]]

    @property
    def best_step(self) -> int | None:
        """The step with the best of them, the earliest if there are several; None without any."""
        trained = [one for one in self.validations if one["step"]]
        return min(trained, key=lambda one: one["nats_per_token"])["step"] if trained else None


def metrics(progress: Progress, counted: str) -> dict[str, Any]:
    """Return the figures of a finished training.

    First and final loss are means over a tenth of the steps, where a step counts as many times as its `counted` in the
    history says: the target tokens or the samples of it.
    """
    tenth = max(1, progress.steps // 10)

    def mean(rows: list[dict[str, Any]]) -> float:
        total = sum(row["loss_nats_per_token"] * row[counted] for row in rows)
        return float(total / sum(row[counted] for row in rows))

    return {
        "steps": progress.steps,
        "tokens": progress.tokens,
        "target_tokens": progress.target_tokens,
        "padding_share": round(progress.idle_tokens / (progress.tokens + progress.idle_tokens), 5),
        "first_loss_nats_per_token": mean(progress.history[:tenth]),
        "final_loss_nats_per_token": mean(progress.history[-tenth:]),
        "seconds": round(progress.seconds, 3),
        "tokens_per_second": round(progress.tokens / progress.seconds, 1),
        **peak_memory(),
        **_validated(progress),
        "resumed_at_steps": ", ".join(str(step) for step in progress.resumed_at) or None,
    }


def peak_memory() -> dict[str, int | None]:
    """Return the most bytes that this rank has held so far, of the machine's memory and of its GPU's."""
    import torch

    kilobyte = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes
    return {
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilobyte,
        "peak_gpu_memory_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
    }


def _validated(progress: Progress) -> dict[str, Any]:
    """Return what the samples that were not trained on said; nothing where there are none."""
    if not progress.tried:
        return {}
    return {
        "best_step": progress.best_step,
        "validation_start_nats_per_token": progress.validations[0]["nats_per_token"],
        "validation_best_nats_per_token": min(progress.tried),
        "validation_last_nats_per_token": progress.tried[-1],
        "validation_seconds": round(progress.validation_seconds, 3),
    }


def machine(engine: Any) -> dict[str, Any]:
    """Return what the training ran on."""
    import torch

    return {
        "accelerator": torch.cuda.get_device_name() if engine.device.type == "cuda" else engine.device.type,
        "ranks": engine.world_size,
        "threads_per_rank": torch.get_num_threads(),
    }
