"""Gaps cut out of plain code: of what stands around samples, beside what users came to write. Against forgetting.

The code is that of the samples' own contexts, secrets masked: the files people work in. A gap begins where a line does
(or, if asked, inside one), and is cut as C_N is (`truncate.py`), for a user who was shown what the sample's user wrote.
What does not live here: which samples' files are taken, and how many (`window.py`, and `static.py` for the static
baseline).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import sha256
from itertools import islice
from random import Random
from typing import Any

import polars as pl
from tokenizers import Tokenizer

from echo_dagster import secrets
from echo_dagster.refinery import budget, facts, truncate
from echo_dagster.refinery.schema import TRAINING_SCHEMA
from echo_dagster.settings import Settings

#: What a gap takes over from the sample in whose file it is cut. Nothing was proposed there, and nobody decided.
_OF_FILE = (
    *("user_id", "session_id", "document", "repository", "language", "source", "cohort"),
    *("opened_at", "closed_at", "sample_day"),
)
_LINE_START = re.compile(r"(?:\A|\n)[ \t]*(?=\S)")
#: So much of the file behind the cursor is looked at for C_N.
_SEEN_CHARS = 8_000
_MASK = "<secret:"
_WORD_EDGE = re.compile(r"\b")


def cut(
    samples: pl.DataFrame,
    count: int | None,
    tokenizer: Tokenizer,
    settings: Settings,
    *,
    turn: int = 0,
    is_inside_lines: bool = False,
) -> pl.DataFrame:
    """Return at most `count` gaps (TRAINING_SCHEMA, `origin` plain), one of a file's view, in the order of `samples`.

    Where no whole statement can be cut, the next sample's file is taken. The same samples, settings and tokenizer give
    the same gaps. Each further `turn` cuts at another line of the same files; a null `count` cuts as many as there are.
    With `is_inside_lines` a gap begins at a word inside its line where the sample's own gap begins inside one.
    """
    rows = samples.select("sample_id", "prefix", "middle", "suffix", *_OF_FILE).iter_rows(named=True)
    cuts = (_cut(row, tokenizer, settings, turn, is_inside_lines) for row in rows)
    found: Iterator[dict[str, Any]] = filter(None, cuts)
    return pl.DataFrame(list(islice(found, count)), schema=TRAINING_SCHEMA, orient="row")


def _cut(
    row: dict[str, Any], tokenizer: Tokenizer, settings: Settings, turn: int, is_inside_lines: bool
) -> dict[str, Any] | None:
    own = len(row["prefix"]), len(row["prefix"]) + len(row["middle"])
    text = row["prefix"] + row["middle"] + (row["suffix"] or "")
    starts = [line.end() for line in _LINE_START.finditer(text) if not own[0] <= line.end() < own[1]]
    if turn >= len(starts):
        return None
    # all of them, so that each turn has another one, and the first has the same however many follow
    start = Random(f"{settings.window.seed}:{row['sample_id']}").sample(starts, len(starts))[turn]
    name = f"{row['sample_id']}:{turn}" if turn else row["sample_id"]
    if is_inside_lines and row["prefix"].rpartition("\n")[2].strip():
        start = _inside(text, start, Random(f"{settings.window.seed}:{name}:inside"))
    before, final, after = text[:start], text[start : start + _SEEN_CHARS], text[start + _SEEN_CHARS :]
    limits = settings.truncation
    middle = truncate.middle(
        row["language"],
        before,
        final,
        after,
        proposal=row["middle"],
        tokenizer=tokenizer,
        budget=limits.middle_tokens,
    )
    if middle is None or len("".join(middle.text.split())) < settings.quality.min_middle_chars:
        return None
    end = start + len(middle.text)
    is_own = start < own[1] and own[0] < end
    if is_own or _MASK in middle.text or secrets.count(before, middle.text, text[end:]):
        return None
    (prefix,) = budget.tails(tokenizer, [before], limits.prefix_tokens)
    (suffix,) = budget.heads(tokenizer, [text[end:]], limits.suffix_tokens)
    # Where the log shows nothing behind the gap, nobody knows whether the file ends there.
    known = None if row["suffix"] is None else suffix.text
    return {
        **dict.fromkeys(TRAINING_SCHEMA),
        **{name: row[name] for name in _OF_FILE},
        "sample_id": "plain_" + sha256(name.encode()).hexdigest()[:24],
        "prefix": prefix.text,
        "prefix_tokens": prefix.tokens,
        "suffix": known,
        "suffix_tokens": suffix.tokens if known is not None else 0,
        "middle": middle.text,
        "middle_tokens": middle.tokens,
        "scope": middle.scope,
        "content_hash": facts.content_hash(row["language"], prefix.text, middle.text, known),
        "origin": "plain",
    }


def _inside(text: str, start: int, random: Random) -> int:
    """Return where a word begins or ends inside the line that has its first sign at `start`; there, if nowhere."""
    end = text.find("\n", start)
    line = text[: end if end >= 0 else len(text)].rstrip()
    edges = [edge.start() for edge in _WORD_EDGE.finditer(line, start + 1)]
    return random.choice([edge for edge in edges if edge < len(line)] or [start])
