"""Gaps that a tiny candidate is taught by heart, for tests that compare it with the tiny base model."""

import shutil
from pathlib import Path

import polars as pl
from tiny import FIM

from echo_dagster import fim, models
from echo_dagster.models import ResolvedModel
from echo_dagster.refinery.schema import SCORED_SCHEMA

MARKS = ("is_held_out_user", "is_held_out_repository")
MIDDLES = [
    "total(prices)",
    "sum(price * (1 + tax) for price in prices)",
    "call(\n        line,\n    )",
    "if line:\n        raise ValueError(line)",
]


def held_out(n: int) -> pl.DataFrame:
    rows = [
        {
            "sample_id": f"{index:03}",
            "region_id": f"r{index:03}",
            "user_id": f"u{index % 3}",
            "language": "python",
            "prefix": f"def f{index % 4}(lines):\n    return ",
            "suffix": "\n" if index % 2 else None,
            "middle": MIDDLES[index % 4],
            "repository": f"repository {index % 2}",
            "outcome": "rejected_then_written",
            "proposal": MIDDLES[(index + 1) % 4],
            "is_held_out_user": index % 3 == 0,
            "is_held_out_repository": index % 2 == 0,
        }
        for index in range(n)
    ]
    return pl.DataFrame(rows, schema={**SCORED_SCHEMA, **dict.fromkeys(MARKS, pl.Boolean())})


def taught(base: ResolvedModel, gaps: pl.DataFrame, path: Path, steps: int = 120) -> ResolvedModel:
    """Return a copy of `base` in `path` that was taught the middles of `gaps` by heart."""
    import torch
    from transformers import AutoModelForCausalLM

    shutil.copytree(base.path, path)
    tokenizer = models.load_tokenizer(path)
    fmt = fim.fim_format(FIM, tokenizer)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    samples = [
        fim.encode(fmt, tokenizer, row["prefix"], row["suffix"], row["middle"]) for row in gaps.to_dicts()
    ]
    pad = torch.nn.utils.rnn.pad_sequence
    ids = pad([torch.tensor(one.prompt_ids + one.target_ids) for one in samples], True, 0)
    labels = pad([torch.tensor([-100] * len(one.prompt_ids) + one.target_ids) for one in samples], True, -100)
    # For matrices this small, threads that wait for each other cost most of the time.
    torch.set_num_threads(1)
    for _ in range(steps):
        model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(path)
    return ResolvedModel("tiny", path, models.digest(path))
