"""Gaps, samples and settings for the refinery's tests: each a plain one, with what a test wants different."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache

import polars as pl
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from echo_dagster.extraction.schema import GAP_SCHEMA
from echo_dagster.refinery.schema import SAMPLE_SCHEMA, SCORED_SCHEMA
from echo_dagster.settings import FimTokens, ModelSettings, ModelSource, Settings

DAY = date(2026, 1, 5)
MORNING = datetime(2026, 1, 5, 8, tzinfo=UTC)
PREFIX = "import math\n\n\ndef area(radius):\n    "
SUFFIX = "\n\n\nprint(area(2))\n"

_LINES = (
    "def total(prices, tax=0.2):",
    "    return sum(price * (1 + tax) for price in prices)",
    "        for index, line in enumerate(self.lines):",
    "const total = (prices) => prices.reduce((sum, price) => sum + price, 0);",
)


@cache
def tokenizer() -> Tokenizer:
    """A byte-level BPE like those of the models in use, trained on four lines."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(["\n".join(_LINES)] * 4, trainer)
    return made


def tokens(text: str) -> int:
    return len(tokenizer().encode(text).ids)


def settings(**sections: dict) -> Settings:
    fim = FimTokens(layout="spm", prefix="<p>", suffix="<s>", middle="<m>", end="<e>")
    model = ModelSettings(name="none", source=ModelSource(path="none"), fim=fim)
    return Settings.model_validate({"start_day": DAY, "base_model": model, **sections})


def gaps(*changes: dict) -> pl.DataFrame:
    """One gap per change, a minute apart; ids are g0, g1, ..."""
    rows = []
    for index, change in enumerate(changes):
        opened = MORNING + timedelta(minutes=index)
        plain = {
            **dict.fromkeys(GAP_SCHEMA),
            "gap_id": f"g{index}",
            "completion_id": f"c{index}",
            "region_id": f"r{index}",
            "user_id": "ann",
            "session_id": "s",
            "document": "geometry.py",
            "language": "python",
            "consent": True,
            "opened_at": opened,
            "closed_at": opened + timedelta(seconds=20),
            "break_reason": "edited_elsewhere",
            "offset": len(PREFIX),
            "prefix": PREFIX,
            "suffix": SUFFIX,
            "replaced": "",
            "proposal": "return radius",
            "final": "return math.pi * radius**2",
            "outcome": "rejected_then_written",
            "accepted_chars": 0,
            "typed_chars": 26,
            "pasted_chars": 0,
            "agent_chars": 0,
            "n_edits": 26,
            "tracking": "edits",
            "censored": False,
        }
        rows.append({**plain, **change})
    return pl.DataFrame(rows, schema=GAP_SCHEMA)


def samples(*changes: dict, schema: pl.Schema = SAMPLE_SCHEMA) -> pl.DataFrame:
    """One sample per change, a minute apart; ids are s0000, s0001, ..."""
    rows = []
    for index, change in enumerate(changes):
        opened = MORNING + timedelta(minutes=index)
        plain = {
            **dict.fromkeys(schema),
            "sample_id": f"s{index:04d}",
            "user_id": f"user{index}",
            "session_id": "s",
            "document": f"file{index}.py",
            "language": "python",
            "opened_at": opened,
            "closed_at": opened + timedelta(seconds=20),
            "outcome": "accepted",
            "prefix": PREFIX,
            "suffix": SUFFIX,
            "proposal": "return radius",
            "middle": "return math.pi * radius**2",
            "middle_tokens": 12,
            "content_hash": f"hash{index}",
        }
        rows.append({**plain, **change})
    return pl.DataFrame(rows, schema=schema)


def scored(*changes: dict) -> pl.DataFrame:
    likely = {"middle_nats_per_token": 1.0, "ifd": 0.5, "scorer": "none", "stratum": "python/9-24/accepted"}
    return samples(*({**likely, **change} for change in changes), schema=SCORED_SCHEMA)
