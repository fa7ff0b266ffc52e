"""Filters and deduplication beside data-juicer's operators that ask the same, on the same samples in the same run.

Each runs in a process of its own, from a Parquet file to a Parquet file. What is compared is what both have: filters of
lines, letters, length and repetition, exact duplicates and near duplicates. What else the refinery does (it parses,
counts tokens, looks for secrets) has no counterpart: `refine` is measured apart.

data-juicer lives in an environment of its own (recipes/data_juicer.txt); recipes/data_juicer.yaml has its operators.

What does not live here: the samples (`gaps.py`), and how a process is watched (`watched.py`).
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import polars as pl
from rich.table import Table

from benchmarks.gaps import write_samples
from benchmarks.watched import Watched, watch
from echo_dagster.ahead import ahead
from echo_dagster.extraction.schema import GAP_SCHEMA
from echo_dagster.near_duplicates import COMPARED, near_duplicates
from echo_dagster.refinery import facts, quality
from echo_dagster.refinery.staging import stage
from echo_dagster.resources import sql
from echo_dagster.settings import Quality
from echo_dagster.workers import spread

RECIPE = Path(__file__).parent / "recipes" / "data_juicer.yaml"
#: What is asked, by our reason codes and by data-juicer's operators, each in the order of its run.
ASKED = (
    (("long_lines",), ("maximum_line_length_filter", "average_line_length_filter")),
    (("low_alphanumeric",), ("alphanumeric_filter",)),
    (("too_short",), ("text_length_filter",)),
    (("repetition", "degenerate"), ("character_repetition_filter",)),
    (("duplicate",), ("document_deduplicator",)),
    (("near_duplicate",), ("document_minhash_deduplicator",)),
)
_FILE_FILTERS = (quality.long_lines, quality.low_alphanumeric)
_SAMPLE_FILTERS = (quality.too_short, quality.repetition, quality.degenerate)
_SIMILARITY = 0.7
_TOKEN = re.compile(r"\w+|[^\w\s]")
_BATCH = 5_000
_START = datetime(2026, 1, 5, tzinfo=UTC)


def ours(folder: Path) -> None:
    """Filter and deduplicate samples.parquet into ours.parquet; dropped.parquet says what went and why."""
    with stage(folder, "1GB") as staged:
        file = folder / "samples.parquet"
        n_samples = pl.scan_parquet(file).select(pl.len()).collect().item()
        begin = partial(_filters, file, staged.folder)
        for dropped in spread(begin, range(0, n_samples, _BATCH), most=n_samples // _BATCH):
            staged.add("dropped", dropped)
        staged.open("passed")
        staged.connection.execute(f"create view candidates as {_CANDIDATES}")
        copies = staged.connection.sql(f"from ({sql('exact_duplicates')}) where reason is not null").pl()
        staged.add("dropped", copies.select("sample_id", "reason", like=pl.lit(None, pl.String)))
        left = pl.scan_parquet(staged.folder / "passed-*.parquet")
        left = left.filter(~pl.col("sample_id").is_in(copies["sample_id"].implode()))
        compared = left.select("sample_id", *COMPARED).collect_batches(chunk_size=4_000, maintain_order=True)
        found = near_duplicates(ahead(compared), _SIMILARITY, staged.folder)
        staged.add("dropped", found.select("sample_id", pl.lit("near_duplicate").alias("reason"), "like"))
        staged.open("dropped")
        staged.connection.execute(
            f"copy ({_KEPT}) to '{folder}/ours.parquet' (compression lz4, row_group_size 16384)"
        )
        staged.connection.execute(f"copy dropped to '{folder}/dropped.parquet'")


#: What exact duplicates are told by, of samples that one user was shown once each.
_CANDIDATES = """
    select
        sample_id,
        content_hash,
        date '2026-01-05' as sample_day,
        place as opened_at,
        'accepted' as outcome,
        'user' as user_id,
        'session' as session_id,
        'document' as document,
        null as region_id,
        sample_id as unit_hash
    from passed
"""


_KEPT = """
    select sample_id, language, prefix, middle, suffix
    from passed
    where sample_id not in (select sample_id from dropped)
"""


def _filters(file: Path, folder: Path) -> Callable[[int], pl.DataFrame]:
    samples = pl.scan_parquet(file).with_row_index("place")

    def filtered(start: int) -> pl.DataFrame:
        """Write the samples of a batch that pass; return what was dropped."""
        passed, dropped = _filtered(samples.slice(start, _BATCH).collect())
        passed.write_parquet(folder / f"passed-{start:09d}.parquet", compression="lz4")
        return dropped

    return filtered


def _filtered(batch: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the samples of a batch that pass, and what was dropped."""
    with_file = batch.with_columns(file=pl.concat_str("prefix", "middle", "suffix"))
    of_file, dropped = _judged(with_file, _FILE_FILTERS)
    middles = of_file["middle"].to_list()
    measured = of_file.drop("file").with_columns(
        repeated_line_share=pl.Series(list(map(facts.repeated_line_share, middles))),
        repeated_gram_share=pl.Series(list(map(facts.repeated_gram_share, middles))),
    )
    left, of_sample = _judged(measured, _SAMPLE_FILTERS)
    told = left.select("language", "prefix", "middle", "suffix").iter_rows()
    hashes = pl.Series([facts.content_hash(*row) for row in told], dtype=pl.String)
    passed = left.select("place", "sample_id", "language", "prefix", "middle", "suffix", content_hash=hashes)
    return passed, dropped.vstack(of_sample)


def _judged(batch: pl.DataFrame, filters: Sequence[quality.Filter]) -> tuple[pl.DataFrame, pl.DataFrame]:
    judged = quality.judge(batch, filters, Quality())
    is_kept = pl.col("reason").is_null()
    dropped = judged.filter(~is_kept).select("sample_id", "reason", like=pl.lit(None, pl.String))
    return judged.filter(is_kept).drop("reason", "value"), dropped


def refine(folder: Path) -> None:
    """Run the whole filter stage of the refinery, parser, tokenizer and secrets included."""
    from echo_dagster import models
    from echo_dagster.configuration import load
    from echo_dagster.refinery import samples

    settings = load()
    tokenizer = models.load_tokenizer(models.resolve(settings.base_model, folder).path)
    gaps = _gaps(pl.read_parquet(folder / "refined.parquet"))
    began = time.process_time()
    kept, rejected = samples.refine(gaps, tokenizer, settings)
    used = time.process_time() - began
    print(json.dumps({"core_seconds": used, "kept": len(kept), "rejected": len(rejected)}))


def _gaps(samples: pl.DataFrame) -> pl.DataFrame:
    """Return samples as gaps: C_N was proposed, and taken as it was."""
    told = samples.with_row_index("place").with_columns(
        gap_id="sample_id",
        completion_id="sample_id",
        region_id="sample_id",
        user_id=pl.format("user-{}", pl.col("place") % 50),
        session_id=pl.lit("session"),
        document=pl.format("document-{}", pl.col("place") % 500),
        consent=True,
        opened_at=_START + pl.col("place") * timedelta(milliseconds=100),
        closed_at=_START + pl.col("place") * timedelta(milliseconds=100),
        break_reason=pl.lit("cursor_left"),
        replaced=pl.lit(""),
        proposal="middle",
        final="middle",
        outcome=pl.lit("accepted"),
        accepted_chars=pl.col("middle").str.len_chars(),
        typed_chars=pl.lit(1),
        pasted_chars=pl.lit(0),
        tracking=pl.lit("edits"),
        censored=False,
    )
    missing = [name for name in GAP_SCHEMA if name not in told.columns]
    return (
        told.with_columns(pl.lit(None).alias(name) for name in missing)
        .select(GAP_SCHEMA.names())
        .cast(GAP_SCHEMA)
    )


@dataclass(frozen=True)
class Side:
    """One of the two: how it ran, how many samples it dropped by reason or operator, and which stayed."""

    name: str
    watched: Watched
    dropped: Mapping[str, int]
    kept: frozenset[str]


def measure(folder: Path, n_samples: int, data_juicer: Path | None) -> list[Side]:
    """Make samples in `folder` and run both on them; without an environment of data-juicer only ours."""
    write_samples(folder / "samples.parquet", n_samples)
    done = watch([sys.executable, "-m", "benchmarks.refinery", "ours", str(folder)])
    dropped = dict(pl.read_parquet(folder / "dropped.parquet").group_by("reason").len().iter_rows())
    sides = [Side("echo-dagster", done, dropped, _ids(folder / "ours.parquet"))]
    if data_juicer:
        sides.append(_data_juicer(folder, data_juicer, n_samples))
    return sides


def measure_refine(folder: Path, n_samples: int) -> str:
    """Run the whole filter stage on the first of the samples that `measure` made; return what it took, in words."""
    pl.scan_parquet(folder / "samples.parquet").head(n_samples).sink_parquet(folder / "refined.parquet")
    done = watch([sys.executable, "-m", "benchmarks.refinery", "refine", str(folder)])
    told = json.loads(done.output.splitlines()[-1])
    n_refined = told["kept"] + told["rejected"]
    each = told["core_seconds"] / n_refined * 1e6
    return f"refine, whole: {each:,.0f} microseconds of a core / sample ({n_refined:,} samples, {told['kept']:,} kept)"


def _data_juicer(folder: Path, environment: Path, n_samples: int) -> Side:
    pl.scan_parquet(folder / "samples.parquet").select(
        "sample_id",
        "middle",
        file=pl.concat_str("prefix", "middle", "suffix"),
        compared=pl.concat_str(*COMPARED),
    ).sink_parquet(folder / "texts.parquet")
    theirs = folder / "theirs"
    theirs.mkdir()
    command = [
        *(str(environment / "bin" / "dj-process"), "--config", str(RECIPE), "--np", str(os.cpu_count())),
        *("--dataset_path", str(folder / "texts.parquet"), "--export_path", str(theirs / "kept.parquet")),
        *("--work_dir", str(theirs), "--ds_cache_dir", str(theirs / "cache")),
    ]
    done = watch(command, {**os.environ, "TMPDIR": str(theirs), "HF_HUB_OFFLINE": "1"}, is_quiet=True)
    dropped, before = {}, n_samples
    for operator, left in re.findall(r"OP \[(\w+)\] Done in .*? Left (\d+) samples", done.output):
        dropped[operator], before = before - int(left), int(left)
    return Side("data-juicer", done, dropped, _ids(theirs / "kept.parquet"))


def _ids(file: Path) -> frozenset[str]:
    return frozenset(pl.read_parquet(file, columns=["sample_id"])["sample_id"])


def speed_table(sides: Sequence[Side], n_samples: int) -> Table:
    """Return how fast each side was, for people. A ratio of seconds of a core does not depend on who else works."""
    shown = Table(title=f"filters and deduplication, {n_samples:,} samples")
    for heading in ("", "samples / s", "microseconds of a core / sample", "peak MiB", "kept"):
        shown.add_column(heading, justify="right" if heading else "left")
    for side in sides:
        ran = side.watched
        shown.add_row(
            side.name,
            f"{n_samples / ran.seconds:,.0f}",
            f"{ran.core_seconds / n_samples * 1e6:,.0f}",
            f"{ran.peak_bytes / 2**20:,.0f}",
            f"{len(side.kept):,}",
        )
    if len(sides) > 1:
        ours, theirs = (side.watched for side in sides)
        shown.add_row(
            "times",
            f"{theirs.seconds / ours.seconds:.1f}",
            f"{theirs.core_seconds / ours.core_seconds:.1f}",
            f"{theirs.peak_bytes / ours.peak_bytes:.1f}",
        )
    return shown


def dropped_table(sides: Sequence[Side]) -> Table:
    """Return what each side dropped for what, for people."""
    shown = Table(title="dropped, in this order")
    for heading in ("asked", *(side.name for side in sides)):
        shown.add_column(heading, justify="left" if heading == "asked" else "right")
    for names in ASKED:
        counts = (
            sum(side.dropped.get(name, 0) for name in some) for side, some in zip(sides, names, strict=False)
        )
        shown.add_row(" / ".join(", ".join(some) for some in names), *(f"{count:,}" for count in counts))
    return shown


def alike_table(folder: Path, sides: Sequence[Side]) -> Table:
    """Return what became of the planted near duplicates, and which other samples went as such, for people.

    Two samples are alike as they share 5-grams of tokens (the Jaccard index, counted here and not estimated). A planted
    pair is found if not both of its samples stay. What was dropped as like another one with less than 0.7 in common was
    dropped wrongly; data-juicer does not tell what a sample was like.
    """
    samples = pl.read_parquet(folder / "samples.parquet")
    texts = dict(samples.select("sample_id", pl.concat_str(*COMPARED)).iter_rows())
    dropped = pl.read_parquet(folder / "dropped.parquet")
    filtered = set(dropped.filter(~pl.col("reason").is_in(["duplicate", "near_duplicate"]))["sample_id"])
    edited = samples.filter(pl.col("planted") == "edited").select("sample_id", "origin").iter_rows()
    pairs = [(*pair, _jaccard(*(texts[one] for one in pair))) for pair in edited if not filtered & set(pair)]
    shown = Table(title="near duplicates")
    for heading in ("", *(side.name for side in sides)):
        shown.add_column(heading, justify="right" if heading else "left")
    for low, high in ((0.9, 1.01), (0.8, 0.9), (0.8, 1.01), (0.7, 0.8)):
        of = [pair for pair in pairs if low <= pair[2] < high]
        told = f"planted, {low} to {min(high, 1)} in common: {len(of):,}"
        found = (sum(not side.kept.issuperset(pair[:2]) for pair in of) for side in sides)
        shown.add_row(told, *(f"{n / len(of):.2%}" for n in found))
    planted = set(samples.filter(pl.col("planted").is_not_null())["sample_id"])
    others = dropped.filter(pl.col("reason") == "near_duplicate", ~pl.col("sample_id").is_in(planted))
    shares = [_jaccard(texts[name], texts[like]) for name, _, like in others.iter_rows()]
    shown.add_row(f"of {len(texts) - len(planted):,} others dropped", f"{len(shares):,}")
    for least in (0.7, 0.65, 0.6, 0.5):
        wrong = sum(share < least for share in shares)
        shown.add_row(
            f"with less than {least} in common", f"{wrong:,}, {wrong / (len(texts) - len(planted)):.3%}"
        )
    return shown


def _jaccard(one: str, other: str) -> float:
    """Return the share of 5-grams of tokens that two texts have in common."""
    first, second = (
        set(zip(*(tokens[at:] for at in range(5)), strict=False))
        for tokens in ([*_TOKEN.findall(text), *"____"] for text in (one, other))
    )
    return len(first & second) / len(first | second)


if __name__ == "__main__":
    {"ours": ours, "refine": refine}[sys.argv[1]](Path(sys.argv[2]))
