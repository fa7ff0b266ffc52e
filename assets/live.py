"""Live figures of a training: messages of its process, made into observations of the asset while it runs.

Dagster plots the numbers of observations over time. What does not live here: which figures, and how often
(`echo_dagster/optimization/train_report.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
from dagster._core.pipes.context import PipesMessageHandler

from echo_dagster.optimization.job import FIGURES_MESSAGE


class LiveFigures(dg.PipesTempFileMessageReader):
    """A message reader that logs an `AssetObservation` for each message of figures; all others go their usual way.

    Dagster itself keeps custom messages until the process has ended.
    """

    @contextmanager
    def read_messages(self, handler: PipesMessageHandler) -> Iterator[Any]:
        """Read messages of a process; yield where it is to write them."""
        hand_on = handler.handle_message

        def handle(message: Any) -> None:
            payload = (message["params"] or {}).get("payload")
            if isinstance(payload, dict) and FIGURES_MESSAGE in payload:
                _observe(handler._context, payload[FIGURES_MESSAGE])  # Dagster hands it out nowhere else
            else:
                hand_on(message)

        handler.handle_message = handle  # type: ignore[method-assign]
        with super().read_messages(handler) as params:
            yield params


def _observe(
    context: dg.AssetExecutionContext | dg.OpExecutionContext, figures: dict[str, float | None]
) -> None:
    context.log_event(
        dg.AssetObservation(
            asset_key=context.asset_key,
            partition=context.partition_key if context.has_partition_key else None,
            metadata={name: value for name, value in figures.items() if value is not None},
        )
    )
