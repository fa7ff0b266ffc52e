"""What the training process tells: lines on standard error, and the same to Dagster where that started it.

Only rank 0 reports, through Dagster Pipes. Messages are few and small: the whole loss curve is in history.json, and
in the files of TensorBoard (`train_board.py`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster_pipes import PipesContext, PipesEnvVarParamsLoader, open_dagster_pipes

from echo_dagster.optimization.job import FIGURES_MESSAGE, FINISHED_CHECK
from echo_dagster.optimization.train_progress import peak_memory

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

#: A line at most this often, and about this many in all: a day's training must not fill the event log.
_EVERY_SECONDS = 5.0
_MOST_LINES = 200
_CURVE_ROWS = 12


class Reporter:
    """The voice of rank 0; the other ranks hold a silent one."""

    def __init__(self, *, is_silent: bool, pipes: PipesContext | None = None) -> None:
        self._is_silent = is_silent
        self._pipes = pipes
        self._last: tuple[float, int, int] | None = None  # when, at which step, after how many tokens
        self._losses: list[float] = []
        self._step: tuple[float, int] = (0.0, 0)  # when the step before was done, and after how many tokens
        self._board: SummaryWriter | None = None

    def line(self, text: str) -> None:
        """Tell one thing."""
        if self._is_silent:
            return
        if self._pipes is None:
            print(text, file=sys.stderr, flush=True)
        else:  # the run's log, and whoever follows it; twice in a terminal would be once too often
            self._pipes.log.info(text)

    def begin(self, step: int, tokens: int, out: Path | None = None) -> None:
        """Start the clock, before the first step of this process; open TensorBoard's files of the job in `out`."""
        now = time.monotonic()
        self._last, self._step = (now, step, tokens), (now, tokens)
        if out is not None and not self._is_silent:
            from echo_dagster.optimization.train_board import open_board

            self._board = open_board(out, step)

    def scalars(self, step: int, figures: Mapping[str, float | None]) -> None:
        """Write figures of a step for TensorBoard, by names such as `validation/loss_nats_per_token`."""
        from echo_dagster.optimization.train_board import write_scalars

        self._on_board(lambda board: write_scalars(board, step, figures))

    def flush(self) -> None:
        """Write out what TensorBoard shows: steps behind a checkpoint are not taken again."""
        self._on_board(lambda board: board.flush())

    def _on_board(self, write: Callable[[SummaryWriter], None]) -> None:
        if self._board is None:
            return
        try:
            write(self._board)
        except (
            OSError
        ) as error:  # a full disk shows here first; a checkpoint will say whether it stops training
            self._board = None
            self.line(f"nothing more can be written for TensorBoard: {error}")

    def progress(
        self,
        step: int,
        total: int,
        *,
        loss: float,
        learning_rate: float,
        tokens: int,
        gradient_norm: float | None = None,
    ) -> None:
        """Tell that `step` of `total` is done: to TensorBoard always, else if the last line is long enough ago.

        `tokens`: those of prompts and targets since step 0.
        """
        assert self._last is not None
        if self._is_silent:
            return
        self._losses.append(loss)
        now = time.monotonic()
        before, tokens_before = self._step
        self._step = (now, tokens)
        memory = peak_memory()
        self.scalars(
            step,
            {
                "train/loss_nats_per_token": loss,
                "train/learning_rate": learning_rate,
                "train/gradient_norm": gradient_norm,
                "speed/tokens_per_second": (tokens - tokens_before) / max(now - before, 1e-9),
                **{f"memory/{name}": value for name, value in memory.items()},
            },
        )
        then, last_step, last_tokens = self._last
        is_time = now - then >= _EVERY_SECONDS and step - last_step >= total / _MOST_LINES
        if not (is_time or step == total):
            return
        seconds_per_step = (now - then) / (step - last_step)
        mean = sum(self._losses) / len(self._losses)
        self._last, self._losses = (now, step, tokens), []
        speed = (tokens - last_tokens) / (now - then)
        left = duration(seconds_per_step * (total - step))
        self.line(  # what shows bars reads the count at the end
            f"loss {mean:.3f} nats/token, learning rate {learning_rate:.2e}, {speed:,.0f} tokens/s, {left} left, "
            f"optimizer steps: {step} of {total}"
        )
        if self._pipes is not None:  # numbers that the asset makes into observations, which Dagster plots
            figures = {
                "loss_nats_per_token": mean,
                "learning_rate": learning_rate,
                "tokens_per_second": round(speed, 1),
                **memory,
                "optimizer_step": step,
                "done_share": round(step / total, 4),
            }
            self._pipes.report_custom_message({FIGURES_MESSAGE: figures})
        self.flush()

    def finished(
        self, record: Mapping[str, Any], history: Sequence[Mapping[str, Any]], *, is_reused: bool
    ) -> None:
        """Tell what came of it: the materialization and the check that Dagster requires."""
        metrics = record["metrics"]
        self.line(
            f"trained {metrics['steps']} steps: loss {metrics['first_loss_nats_per_token']:.3f} to "
            f"{metrics['final_loss_nats_per_token']:.3f} nats/token, model {record['model_digest']}"
        )
        if self._pipes is None:
            return
        self._pipes.report_asset_materialization(
            metadata={
                "samples": record["samples"]["count"],
                **{name: value for name, value in metrics.items() if value is not None},
                "is_reused": is_reused,
                "loss_curve": {"raw_value": curve_table(history), "type": "md"},
            },
            data_version=record["model_digest"],
        )
        self._pipes.report_asset_check(
            FINISHED_CHECK,
            passed=True,
            metadata={
                "steps": metrics["steps"],
                "final_loss_nats_per_token": metrics["final_loss_nats_per_token"],
            },
        )

    def preferred(self, record: Mapping[str, Any], *, is_reused: bool) -> None:
        """Tell what came of training on pairs: the materialization and the check that Dagster requires."""
        told = record["preference"]
        metrics = told["metrics"]
        self.line(
            f"trained {metrics['steps']} steps on {told['pairs']} pairs: reward accuracy "
            f"{metrics['first_reward_accuracy']:.2f} to {metrics['final_reward_accuracy']:.2f}, "
            f"model {record['model_digest']}"
        )
        if self._pipes is None:
            return
        figures = {"pairs": told["pairs"], **metrics, "is_reused": is_reused}
        self._pipes.report_asset_materialization(
            metadata={f"preference_{name}": value for name, value in figures.items() if value is not None},
            data_version=record["model_digest"],
        )
        self._pipes.report_asset_check(FINISHED_CHECK, passed=True, metadata={"steps": metrics["steps"]})

    def failed(self, reason: str) -> None:
        """Tell why training did not get to its end."""
        if self._is_silent:
            return
        self.flush()
        print(f"training stopped: {reason}", file=sys.stderr, flush=True)
        if self._pipes is not None:
            self._pipes.log.error(f"training stopped: {reason}")
            self._pipes.report_asset_check(FINISHED_CHECK, passed=False, metadata={"reason": reason})


@contextmanager
def reporter(rank: int) -> Iterator[Reporter]:
    """Yield the reporter of a rank. Without Dagster it writes to standard error alone."""
    if rank != 0 or not PipesEnvVarParamsLoader().is_dagster_pipes_process():
        yield Reporter(is_silent=rank != 0)
        return
    with open_dagster_pipes() as pipes:
        yield Reporter(is_silent=False, pipes=pipes)


def curve_table(history: Sequence[Mapping[str, Any]]) -> str:
    """Return the loss curve as a Markdown table: means over equal stretches of steps, a dozen at most."""
    n_rows = min(_CURVE_ROWS, len(history))
    bounds = [len(history) * row // n_rows for row in range(n_rows + 1)]
    lines = ["| steps | loss (nats/token) | learning rate |", "|---|---|---|"]
    for low, high in pairwise(bounds):
        part = history[low:high]
        mean = sum(row["loss_nats_per_token"] for row in part) / len(part)
        lines.append(
            f"| {part[0]['step']}-{part[-1]['step']} | {mean:.4f} | {part[-1]['learning_rate']:.2e} |"
        )
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Return a duration as people say it.

    >>> duration(75), duration(7200)
    ('1 min 15 s', '2 h 0 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
