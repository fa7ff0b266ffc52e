"""Figures of a training for TensorBoard: event files in `tensorboard/` of the job's directory, written by rank 0.

They stay beside the result and go with it. What does not live here: what a step's figures are (`train.py`), lines and
messages (`train_report.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"


def open_board(out: Path, steps_done: int) -> SummaryWriter:
    """Return a writer for the job in `out` that goes on after `steps_done`.

    What a killed process wrote of later steps does not show again: they are taken once more.
    """
    return SummaryWriter(str(out / FOLDER), purge_step=steps_done + 1, flush_secs=10)


def write_scalars(board: SummaryWriter, step: int, figures: Mapping[str, float | None]) -> None:
    """Write figures of one step, by names such as `train/loss_nats_per_token`; those that are None are left out."""
    for name, value in figures.items():
        if value is not None:
            board.add_scalar(name, value, step)
