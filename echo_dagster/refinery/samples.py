"""From gaps to samples: truncate, filter, mask secrets, drop duplicates. Every gap ends in one of two tables.

What does not live here: where C_N is cut (`truncate.py`), what rejects a gap (`quality.py`), what only the whole day
tells of it (`habits.py`), what a secret is (`secrets.py`). Here they are put in order and run over a day in batches, so
that a day may be larger than memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import polars as pl
from tokenizers import Tokenizer

from echo_dagster import secrets
from echo_dagster.extraction.schema import GAP_SCHEMA
from echo_dagster.lake import Lake, TableOutdated
from echo_dagster.parsing import syntax
from echo_dagster.refinery import budget, facts, habits, quality, truncate
from echo_dagster.refinery.schema import REJECTED_SCHEMA, SAMPLE_SCHEMA
from echo_dagster.refinery.staging import LostRows, Stage, stage
from echo_dagster.refinery.tally import TALLY_SCHEMA, Tally, tally
from echo_dagster.resources import sql
from echo_dagster.settings import Settings
from echo_dagster.workers import spread

Progress = Callable[[int, int], None]

#: Gaps in memory at a time, in each process. Each can bring 200 KB of the file around it.
_BATCH = 256
#: A process takes about two seconds to begin, and as many gaps twice that.
_GAPS_WORTH_A_PROCESS = 700
#: Gaps in memory at a time where only narrow columns of them are asked.
_ACTS = 65_536
#: Characters at the head of a file in which a generator leaves its mark.
_HEAD_CHARS = 1000
#: A budget in tokens never reaches farther than this many characters a token.
_CHARS_PER_TOKEN = 32

_FACTS = pl.Schema(
    {
        "middle": pl.String(),
        "middle_tokens": pl.Int64(),
        "scope": pl.String(),
        "final_tokens": pl.Int64(),
        "suffix_copy_chars": pl.Int64(),
        "suffix_copy_share": pl.Float64(),
        "repeated_line_share": pl.Float64(),
        "repeated_gram_share": pl.Float64(),
        "errors_added": pl.Int64(),
        "secrets": pl.Int64(),
    }
)
#: What `_facts` reads of a row.
_ASKED = ("language", "prefix", "suffix", "replaced", "proposal", "final")
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
    dated = gaps.lazy().with_columns(day.alias("sample_day"))
    with stage(Path(gettempdir()), settings.memory_limit) as staged:
        acts = dated.select(habits.acts()).collect()
        known = habits.measure(staged, [acts], settings.quality.min_bot_proposals)
        for batch in dated.select(_view(settings)).collect().iter_slices(_BATCH):
            _refined(habits.with_habits(batch, known), tokenizer, settings).add_to(staged)
        _decide(staged, len(gaps))
        samples = staged.connection.sql("from kept").pl().cast(SAMPLE_SCHEMA)
        rejected = staged.connection.sql("from dropped").pl().cast(REJECTED_SCHEMA)
    return samples.sort("opened_at", "sample_id"), rejected.sort("sample_id")


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
        TableOutdated: an earlier version extracted them, and they lack columns.
        LostRows: a defect; nothing of the day is written.
    """
    begin = partial(_refiner, tokenizer, settings)
    gaps = lake.read("gap_sessions", days).with_columns(sample_day="day")
    if missing := sorted(GAP_SCHEMA.keys() - set(gaps.collect_schema().names())):
        raise TableOutdated(
            f"gap_sessions was written without {', '.join(missing)} by an earlier version; remove "
            f"{lake.path('gap_sessions')} and materialize it again"
        )
    counted = dict(gaps.group_by("day").len().collect().iter_rows())
    came_in = {day: counted.get(day, 0) for day in sorted(set(days))}
    done, counts = 0, []
    for day, n_gaps in came_in.items():
        with stage(lake.root, settings.memory_limit) as staged:
            of_day = gaps.filter(pl.col("day") == day)
            acts = of_day.select(habits.acts()).collect_batches(chunk_size=_ACTS, maintain_order=False)
            known = habits.measure(staged, acts, settings.quality.min_bot_proposals)
            viewed = of_day.select(_view(settings))
            batches = viewed.collect_batches(chunk_size=_BATCH, maintain_order=True)
            judged = (habits.with_habits(batch, known) for batch in batches)
            for refined in spread(begin, judged, most=n_gaps // _GAPS_WORTH_A_PROCESS):
                refined.add_to(staged)
                done += refined.n_gaps
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
        pl.col("gap_id").alias("sample_id"),
        pl.col(name for name in GAP_SCHEMA if name not in ("gap_id", "prefix", "suffix")),
        pl.col("sample_day"),
        pl.col("prefix").str.head(_HEAD_CHARS).alias("file_head"),
        pl.col("prefix").str.tail(before),
        pl.col("suffix").str.head(after),
    ]


@dataclass(frozen=True)
class _Refined:
    """What became of a batch of gaps: parts of candidates and of rejected."""

    n_gaps: int
    candidates: pl.DataFrame
    rejected: tuple[pl.DataFrame, ...]

    def add_to(self, staged: Stage) -> None:
        staged.add("candidates", self.candidates)
        for part in self.rejected:
            staged.add("rejected", part)


def _refiner(tokenizer: Tokenizer, settings: Settings) -> Callable[[pl.DataFrame], _Refined]:
    return partial(_refined, tokenizer=tokenizer, settings=settings)


def _refined(gaps: pl.DataFrame, tokenizer: Tokenizer, settings: Settings) -> _Refined:
    """Make every gap of a batch a candidate or rejected."""
    left = gaps
    rejected: list[pl.DataFrame] = []
    # What a stage judges is measured for the rows that the stages before it left.
    for name, filters in quality.chosen(settings.quality.filters).items():
        if name == "file":
            left = left.with_columns(pl.col("language").fill_null("plaintext"), file=_file())
        if name == "sample":
            left = _with_facts(_with_context(left.drop("file"), tokenizer, settings), tokenizer, settings)
        judged = quality.judge(left, filters, settings.quality)
        rejected.append(_rejected(judged.filter(pl.col("reason").is_not_null())))
        left = judged.filter(pl.col("reason").is_null()).drop("reason", "value")
    candidates = _masked(left, tokenizer, settings).select(_CANDIDATE_SCHEMA.names())
    return _Refined(len(gaps), candidates, tuple(rejected))


def _file() -> pl.Expr:
    """Return the file around the gap, as the proposal found it."""
    return pl.concat_str([pl.col(name).fill_null("") for name in ("prefix", "replaced", "suffix")])


def _with_context(frame: pl.DataFrame, tokenizer: Tokenizer, settings: Settings) -> pl.DataFrame:
    """Return gaps with their context cut to its budget, how many tokens it has, and how long these are."""
    limits = settings.truncation
    prefixes = budget.tails(tokenizer, frame["prefix"].to_list(), limits.prefix_tokens)
    suffixes = budget.heads(tokenizer, frame["suffix"].fill_null("").to_list(), limits.suffix_tokens)
    chars = pl.sum_horizontal(pl.col("prefix_context", "suffix_context").str.len_chars())
    tokens = pl.sum_horizontal("prefix_tokens", "suffix_tokens")
    return frame.with_columns(
        pl.Series("prefix_context", [fitted.text for fitted in prefixes], pl.String),
        pl.Series("prefix_tokens", [fitted.tokens for fitted in prefixes], pl.Int64),
        pl.Series("suffix_context", [fitted.text for fitted in suffixes], pl.String),
        pl.Series("suffix_tokens", [fitted.tokens for fitted in suffixes], pl.Int64),
    ).with_columns(context_chars=chars, chars_per_token=chars / tokens)


def _with_facts(frame: pl.DataFrame, tokenizer: Tokenizer, settings: Settings) -> pl.DataFrame:
    """Return gaps with C_N truncated, and what the sample filters ask of it."""
    middle_tokens = settings.truncation.middle_tokens
    rows = [_facts(row, tokenizer, middle_tokens) for row in frame.select(_ASKED).iter_rows(named=True)]
    return frame.hstack(pl.DataFrame(rows, schema=_FACTS, orient="row"))


def _facts(row: dict[str, Any], tokenizer: Tokenizer, middle_tokens: int) -> tuple[Any, ...]:
    """Truncate C_N and measure what the sample filters ask for, in the order of `_FACTS`."""
    language, prefix, suffix, proposal = row["language"], row["prefix"], row["suffix"], row["proposal"] or ""
    cut = truncate.middle(
        language, prefix, row["final"], suffix, proposal=proposal, tokenizer=tokenizer, budget=middle_tokens
    )
    if cut is None:
        final_tokens = budget.counts(tokenizer, [row["final"]])[0]
        return (None, None, None, final_tokens, *[None] * (len(_FACTS) - 4))
    copied = facts.suffix_copy(cut.text, suffix)
    added = cut.errors
    if cut.errors:  # a file that parses with C_N in it needs no comparison
        added = cut.errors - (facts.errors_before(language, prefix, row["replaced"] or "", suffix) or 0)
    return (
        *(cut.text, cut.tokens, cut.scope, None),
        *(copied.chars, copied.share),
        *(facts.repeated_line_share(cut.text), facts.repeated_gram_share(cut.text)),
        added,
        # All of C_N: what the cut leaves of a secret can go on in the suffix.
        sum(secrets.count(prefix, text, suffix or "") for text in (row["final"], proposal)),
    )


def _masked(frame: pl.DataFrame, tokenizer: Tokenizer, settings: Settings) -> pl.DataFrame:
    """Return samples with the secrets of their context masked, C_1's tokens counted and hashes taken."""
    limits = settings.truncation
    prefixes, suffixes = _fitted(frame, "prefix"), _fitted(frame, "suffix")
    masked = [
        masked_sides(row)
        for row in frame.select(*_ASKED, "prefix_context", "suffix_context").iter_rows(named=True)
    ]
    prefixes = _refit(
        prefixes,
        [before for before, _ in masked],
        lambda texts: budget.tails(tokenizer, texts, limits.prefix_tokens),
    )
    suffixes = _refit(
        suffixes,
        [after for _, after in masked],
        lambda texts: budget.heads(tokenizer, texts, limits.suffix_tokens),
    )
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


def _fitted(frame: pl.DataFrame, side: str) -> list[budget.Fitted]:
    return [budget.Fitted(*row) for row in frame.select(f"{side}_context", f"{side}_tokens").iter_rows()]


def _refit(
    fitted: list[budget.Fitted], masked: list[str], fit: Callable[[list[str]], list[budget.Fitted]]
) -> list[budget.Fitted]:
    """Return `fitted`, with the texts that a mask changed cut anew: a placeholder may be longer."""
    changed = [i for i, (old, new) in enumerate(zip(fitted, masked, strict=True)) if old.text != new]
    anew = dict(zip(changed, fit([masked[i] for i in changed]), strict=True))
    return [anew.get(i, old) for i, old in enumerate(fitted)]


def masked_sides(row: dict[str, Any]) -> tuple[str, str]:
    """Return what is kept of a prefix and a suffix with their secrets masked.

    A secret can begin before what is kept, go on behind it, or stand across what C_1 was to replace: all of C_0
    tells. Or only what was written beside it does: then C_N or C_1 tells.
    """
    before, inside, after = row["prefix"], row["replaced"] or "", row["suffix"] or ""
    file, start, end = before + inside + after, len(before), len(before) + len(inside)
    prefix = secrets.mask(file, start - len(row["prefix_context"]), start)
    suffix = secrets.mask(file, end, end + len(row["suffix_context"]))
    for inside in (row["final"], row["proposal"] or ""):
        prefix, suffix = secrets.mask_beside(prefix, inside, suffix)
    return prefix, suffix


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
