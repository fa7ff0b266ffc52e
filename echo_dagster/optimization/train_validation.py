"""How likely the model under training finds the slice that it is not trained on.

What does not live here: which samples these are (`validation.py`), when they are measured on and when training stops
(`plan.py`), the keeping of the best weights (`train_checkpoint.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from echo_dagster.optimization import plan
from echo_dagster.optimization.train_pack import Sample, nats, pack


def nats_of_rank(engine: Any, samples: Sequence[Sample], batches: plan.Batching) -> float:
    """Return the sum of -log p over the target tokens of this rank's share of the samples, in nats.

    Every rank calls this. Nothing is drawn, dropped out or learnt: the model and its random numbers stay as they are.
    """
    reading = plan.reading([sample.n_inputs for sample in samples], batches)
    total = 0.0
    engine.eval()
    with torch.no_grad():
        for ranks in reading.micro_batches:
            mine = ranks[engine.global_rank]
            # a rank without a sample reads along: under ZeRO 3 the others wait for its part of the weights
            packed = pack([samples[sample] for sample in mine or (reading.stand_in,)], "token", engine.device)
            total += float(nats(engine, packed)) * bool(mine)
    engine.train()
    return total
