"""From gaps to samples: truncate, filter, mask secrets, drop duplicates. Every gap ends in one of two tables.

What does not live here: where C_N is cut (`truncate.py`), what rejects a gap (`quality.py`), what a secret is
(`secrets.py`). Here they are put in order and run over a day in batches, so that a day may be larger than
memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import polars as pl
from tokenizers import Tokenizer

from echo_dagster import secrets
from echo_dagster.extraction.schema import GAP_SCHEMA
from echo_dagster.lake import Lake
from echo_dagster.refinery import budget, facts, quality, syntax, truncate
from echo_dagster.refinery.schema import REJECTED_SCHEMA, SAMPLE_SCHEMA
from echo_dagster.refinery.staging import LostRows, Stage, stage
from echo_dagster.refinery.tally import TALLY_SCHEMA, Tally, tally
from echo_dagster.resources import sql
from echo_dagster.settings import Settings, Truncation

Progress = Callable[[int, int], None]

#: Gaps in memory at a time. Each can bring 100 KB of the file around it.
_BATCH = 512
#: Characters at the head of a file in which a generator leaves its mark.
_HEAD_CHARS = 1000
#: A budget in tokens never reaches farther than this many characters a token.
_CHARS_PER_TOKEN = 32
#: A private key that begins before the context is masked with it; no PEM block is longer.
_KEY_CHARS = 8192

_FACTS = pl.Schema(
    {
        "middle": pl.String(),
        "middle_tokens": pl.Int64(),
        "scope": pl.String(),
        "final_tokens": pl.Int64(),
        "suffix_copy_chars": pl.Int64(),
        "suffix_copy_share": pl.Float64(),
        "repeated_line_share": pl.Float64(),
        "errors_added": pl.Int64(),
        "secrets": pl.Int64(),
    }
)
_CANDIDATE_SCHEMA = pl.Schema({**SAMPLE_SCHEMA, "unit_hash": pl.String(), "sample_day": pl.Date()})


def refine(gaps: pl.DataFrame, tokenizer: Tokenizer, settings: Settings) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Refine gaps that fit in memory.

    Args:
        gaps: GAP_SCHEMA; where there is a `day` column it is the samples' day, else the day on which the gap
        closed. tokenizer: the base model's own. settings: truncation and quality are used.

    Returns:
        samples (SAMPLE_SCHEMA) by time, and rejected (REJECTED_SCHEMA, stage `filter`) by sample. Every gap
        is in exactly one of the two. Duplicates are looked for within a day.
    """
    day = pl.col("day") if "day" in gaps.columns else pl.col("closed_at").dt.date()
    viewed = gaps.lazy().with_columns(day.alias("sample_day")).select(_view(settings)).collect()
    with stage(Path(gettempdir()), settings.memory_limit) as staged:
        for batch in viewed.iter_slices(_BATCH):
            _refine_batch(batch, tokenizer, settings, staged)
        _decide(staged, len(gaps))
        samples = staged.connection.sql("from kept").pl().cast(SAMPLE_SCHEMA)
        rejected = staged.connection.sql("from dropped").pl().cast(REJECTED_SCHEMA)
    return samples, rejected


def refine_days(
    lake: Lake,
    days: Sequence[date],
    tokenizer: Tokenizer,
    settings: Settings,
    progress: Progress | None = None,
) -> Tally:
    """Refine `days` of gap_sessions into filtered_samples and rejected_samples, and return the counts.

    `progress` is told after every batch how many gaps of how many are done.

    Raises:
        TableMissing: no gaps were ever extracted. A day without gaps is written empty.
        LostRows: a defect; nothing of the day is written.
    """
    gaps = lake.read("gap_sessions", days).with_columns(sample_day="day")
    counted = dict(gaps.group_by("day").len().collect().iter_rows())
    came_in = {day: counted.get(day, 0) for day in sorted(set(days))}
    done, counts = 0, []
    for day, n_gaps in came_in.items():
        with stage(lake.root, settings.memory_limit) as staged:
            viewed = gaps.filter(pl.col("day") == day).select(_view(settings))
            for batch in viewed.collect_batches(chunk_size=_BATCH, maintain_order=False):
                _refine_batch(batch, tokenizer, settings, staged)
                done += len(batch)
                if progress:
                    progress(done, sum(came_in.values()))
            found = _decide(staged, n_gaps)
            staged.write("from kept", lake, "filtered_samples", day)
            staged.write("from dropped", lake, "rejected_samples", day, where={"stage": "filter"})
            counts.append(found.select(day=pl.lit(day), reason="reason", n="n").cast(TALLY_SCHEMA))
    return tally(counts, came_in)


def _view(settings: Settings) -> list[pl.Expr]:
    """Return the columns of a gap as they are refined: the file as far as anyone looks at it."""
    limits = settings.truncation
    before = max(syntax.PREFIX_CHARS + 1, limits.prefix_tokens * _CHARS_PER_TOKEN)
    after = max(syntax.SUFFIX_CHARS + 1, limits.suffix_tokens * _CHARS_PER_TOKEN)
    return [
        pl.col(name for name in GAP_SCHEMA if name not in ("prefix", "suffix")),
        pl.col("sample_day"),
        pl.col("prefix").str.head(_HEAD_CHARS).alias("file_head"),
        pl.col("prefix").str.tail(before),
        pl.col("suffix").str.head(after),
    ]


def _refine_batch(gaps: pl.DataFrame, tokenizer: Tokenizer, settings: Settings, staged: Stage) -> None:
    """Stage every gap of a batch as a candidate or as rejected."""
    limits, thresholds = settings.truncation, settings.quality
    left = gaps.rename({"gap_id": "sample_id"})
    for filters in (quality.GAP_FILTERS, quality.FILE_FILTERS, quality.SAMPLE_FILTERS):
        if filters is quality.FILE_FILTERS:
            parts = ("prefix", "replaced", "suffix")
            left = left.with_columns(file=pl.concat_str([pl.col(name).fill_null("") for name in parts]))
        if filters is quality.SAMPLE_FILTERS:
            rows = [_facts(row, tokenizer, limits.middle_tokens) for row in left.iter_rows(named=True)]
            left = left.drop("file").hstack(pl.DataFrame(rows, schema=_FACTS, orient="row"))
        judged = quality.judge(left, filters, thresholds)
        staged.add("rejected", _rejected(judged.filter(pl.col("reason").is_not_null())))
        left = judged.filter(pl.col("reason").is_null()).drop("reason", "value")
    staged.add("candidates", _with_context(left, tokenizer, limits).select(_CANDIDATE_SCHEMA.names()))


def _facts(row: dict[str, Any], tokenizer: Tokenizer, middle_tokens: int) -> tuple[Any, ...]:
    """Truncate C_N and measure what the sample filters ask for, in the order of `_FACTS`."""
    language, prefix, suffix, proposal = row["language"], row["prefix"], row["suffix"], row["proposal"] or ""
    cut = truncate.middle(
        language, prefix, row["final"], suffix, proposal=proposal, tokenizer=tokenizer, budget=middle_tokens
    )
    if cut is None:
        return (None, None, None, budget.counts(tokenizer, [row["final"]])[0], None, None, None, None, None)
    copied = facts.suffix_copy(cut.text, suffix)
    added = cut.errors
    if cut.errors:  # a file that parses with C_N in it needs no comparison
        added = cut.errors - (facts.errors_before(language, prefix, row["replaced"] or "", suffix) or 0)
    found = sum(secrets.count(prefix, text, suffix or "") for text in (cut.text, proposal))
    repeated = facts.repeated_line_share(cut.text)
    return (cut.text, cut.tokens, cut.scope, None, copied.chars, copied.share, repeated, added, found)


def _with_context(frame: pl.DataFrame, tokenizer: Tokenizer, limits: Truncation) -> pl.DataFrame:
    """Return samples with the context cut to its budget, secrets masked, tokens counted and hashes taken."""
    before, after = frame["prefix"].to_list(), frame["suffix"].fill_null("").to_list()
    prefixes = budget.tails(tokenizer, before, limits.prefix_tokens)
    masked = [_masked_tail(text, fitted.text) for text, fitted in zip(before, prefixes, strict=True)]
    prefixes = _refit(prefixes, masked, lambda texts: budget.tails(tokenizer, texts, limits.prefix_tokens))
    suffixes = budget.heads(tokenizer, after, limits.suffix_tokens)
    masked = [secrets.mask(fitted.text) for fitted in suffixes]
    suffixes = _refit(suffixes, masked, lambda texts: budget.heads(tokenizer, texts, limits.suffix_tokens))
    proposals = frame["proposal"].fill_null("").to_list()
    context = frame.with_columns(
        pl.Series("prefix", [fitted.text for fitted in prefixes], pl.String),
        pl.Series("prefix_tokens", [fitted.tokens for fitted in prefixes], pl.Int64),
        # An unknown suffix stays unknown.
        pl.Series("suffix", [fitted.text for fitted in suffixes], pl.String).set(
            frame["suffix"].is_null(), None
        ),
        pl.Series("suffix_tokens", [fitted.tokens for fitted in suffixes], pl.Int64),
        pl.Series("proposal_tokens", budget.counts(tokenizer, proposals), pl.Int64),
    )
    told = list(context.select("language", "prefix", "middle", "suffix").iter_rows())
    return context.with_columns(
        pl.Series("content_hash", [facts.content_hash(*row) for row in told], pl.String),
        pl.Series("unit_hash", [facts.unit_hash(prefix, middle) for _, prefix, middle, _ in told], pl.String),
    )


def _refit(
    fitted: list[budget.Fitted], masked: list[str], fit: Callable[[list[str]], list[budget.Fitted]]
) -> list[budget.Fitted]:
    """Return `fitted`, with the texts that a mask changed cut anew: a placeholder may be longer."""
    changed = [i for i, (old, new) in enumerate(zip(fitted, masked, strict=True)) if old.text != new]
    anew = dict(zip(changed, fit([masked[i] for i in changed]), strict=True))
    return [anew.get(i, old) for i, old in enumerate(fitted)]


def _masked_tail(prefix: str, tail: str) -> str:
    """Return the tail of a prefix with its secrets masked, also those that begin before it."""
    cut = len(prefix) - len(tail)
    start = prefix.rfind("\n", 0, cut) + 1
    key = prefix.find("PRIVATE KEY", max(0, start - _KEY_CHARS), start)
    if key >= 0:
        start = prefix.rfind("\n", 0, key) + 1
    masked = secrets.mask(prefix[start:])
    return tail if masked == prefix[start:] else masked


def _rejected(judged: pl.DataFrame) -> pl.DataFrame:
    return judged.with_columns(stage=pl.lit("filter")).select(REJECTED_SCHEMA.names()).cast(REJECTED_SCHEMA)


def _decide(staged: Stage, n_gaps: int) -> pl.DataFrame:
    """Find the duplicates among what is staged; return the counts, by reason.

    Raises:
        LostRows: what is kept and what is rejected do not add up to `n_gaps`.
    """
    staged.add("candidates", _CANDIDATE_SCHEMA.to_frame())
    staged.add("rejected", REJECTED_SCHEMA.to_frame())
    staged.open("candidates")
    staged.open("rejected")
    for table, query in (
        ("repeats", "exact_duplicates"),
        ("kept", "refined_samples"),
        ("dropped", "refined_rejected"),
    ):
        kind = "table" if table == "repeats" else "view"
        staged.connection.execute(f"create temp {kind} {table} as {sql(query)}")
    counts = staged.connection.sql(
        "select null as reason, count(*) as n from kept "
        "union all select reason, count(*) from dropped group by reason order by n desc, reason"
    ).pl()
    if counts["n"].sum() != n_gaps:
        raise LostRows(
            f"{n_gaps} gaps became {counts['n'].sum()} rows: gap ids are not unique, or a filter is wrong"
        )
    return counts
