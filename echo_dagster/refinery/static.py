"""The static set of a day: for the samples of its training set as many gaps in plain code, cut in the same files.

A model trained on it is what Echo's is held against: the same start and as many samples, of code as it stands and not
of what users came to write (the paper's static human data). What does not live here: how a gap is cut (`plain.py`), and
the training (`optimization/`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

import polars as pl
from tokenizers import Tokenizer

from echo_dagster.lake import Lake
from echo_dagster.near_duplicates import COMPARED, near_duplicates, near_duplicates_of
from echo_dagster.refinery import plain, static_files, strata, window
from echo_dagster.refinery.schema import TRAINING_SCHEMA
from echo_dagster.settings import Settings
from echo_dagster.workers import spread

#: So many lines of a file are tried for gaps as long as the samples, and so many for gaps of any length.
_TURNS_FOR_LENGTH, _TURNS = 4, 12
#: A process takes about two seconds to begin, and as many files as long to be cut.
_FILES_WORTH_A_PROCESS = 1_000
#: On either side of a sample so much of its file is looked at, for each token of the prefix: several times the context
#: that a gap needs, so that nearly all have the whole of it.
_CHARS_PER_TOKEN = 24
#: What of a held-out gap is compared.
_ASKED = ("sample_id", "content_hash", "prefix", "middle", "suffix")


@dataclass(frozen=True)
class StaticSet:
    """A static set. `frame` is TRAINING_SCHEMA, `origin` plain; `n_wanted` the samples of the day's training set.

    `left_out` counts gaps that were cut and not taken, by reason; `mix` has a row per language and length of C_N with
    the samples of either set. `shortfall` says why there are fewer gaps than samples; it is null where there are as
    many.
    """

    day: date
    frame: pl.DataFrame
    n_wanted: int
    left_out: dict[str, int]
    mix: pl.DataFrame
    shortfall: str | None


def static_set(
    training_set: pl.DataFrame,
    held_out: pl.DataFrame,
    day: date,
    lake: Lake,
    tokenizer: Tokenizer,
    settings: Settings,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> StaticSet:
    """Cut as many gaps as the training set of `day` has samples, by language and length as far as the files allow.

    Args:
        training_set: TRAINING_SCHEMA. Its samples' files are cut, so nobody who is not in it gets in.
        held_out: what models will be compared on, as far as `_ASKED`; nothing like it is taken.
        day: whose set it is.
        lake: `gap_sessions` shows more of the files than the samples do.
        tokenizer: the base model's.
        settings: `window`, `truncation` and `quality` are used.
        progress: told how many gaps of how many there are.

    Returns:
        the set, by `sample_id`. The same arguments give the same set.
    """
    files = training_set.filter(pl.col("origin") != "plain")
    files = files.sort("sample_day", "sample_id")
    wanted, found = _strata(training_set), TRAINING_SCHEMA.to_frame()
    left_out = dict.fromkeys(("like_a_held_out_gap", "duplicate", "near_duplicate"), 0)
    for turn in range(_TURNS):
        by = ["language", "length"] if turn < _TURNS_FOR_LENGTH else ["language"]
        lacking = _lacking(wanted, _strata(found), by)
        if lacking.is_empty():
            break
        some = files.filter(pl.col("language").is_in(lacking["language"].unique().to_list()))
        cut = pl.concat([TRAINING_SCHEMA.to_frame(), *_cut(lake, some, turn, tokenizer, settings)])
        # ids are digests: the order is the same for any number of processes, and has nothing of the files' own
        found = _without_likes(found, cut.sort("sample_id"), held_out, settings, left_out, lake.root)
        progress(min(found.height, training_set.height), training_set.height)
    chosen = _chosen(found, wanted, training_set.height)
    left_out["not_needed"] = found.height - chosen.height
    return StaticSet(
        *(day, chosen, training_set.height, left_out, _mix(wanted, _strata(chosen))),
        _shortfall(chosen.height, training_set.height, files.height, left_out),
    )


def write_static_set(
    lake: Lake,
    day: date,
    tokenizer: Tokenizer,
    settings: Settings,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> StaticSet:
    """Cut the static set of `day` and replace the day's rows of the table `static_set`.

    Raises:
        TableMissing: the training set or the scored samples were never made.
        ValueError: it holds what must not be learnt from, because the training set does: it is older than the settings.
    """
    training_set = lake.read("training_set", [day]).select(TRAINING_SCHEMA.names()).collect()
    held_out = lake.read("scored_samples", [day]).select(_ASKED).collect()
    made = static_set(training_set, held_out, day, lake, tokenizer, settings, progress)
    lake.replace("static_set", made.frame.select(pl.lit(day).alias("day"), pl.all()), [day])
    if any((leaked := window.leaks(lake, day, settings, "static_set")).values()):
        raise ValueError(f"the static set of {day} must not hold {leaked}; materialize `training_set` again")
    return made


def write_none(lake: Lake, day: date) -> None:
    """Leave the day without a static set."""
    lake.replace("static_set", pl.DataFrame(schema={"day": pl.Date(), **TRAINING_SCHEMA}), [day])


def _cut(
    lake: Lake, files: pl.DataFrame, turn: int, tokenizer: Tokenizer, settings: Settings
) -> Iterator[pl.DataFrame]:
    """Yield a gap of each file, where one can be cut."""
    begin = partial(_cutter, turn, tokenizer, settings)
    return spread(begin, static_files.batches(lake, files), most=files.height // _FILES_WORTH_A_PROCESS)


def _cutter(turn: int, tokenizer: Tokenizer, settings: Settings) -> Callable[[pl.DataFrame], pl.DataFrame]:
    chars = settings.truncation.prefix_tokens * _CHARS_PER_TOKEN

    def cut(batch: pl.DataFrame) -> pl.DataFrame:
        wide = static_files.widened(batch, chars)
        return plain.cut(wide, None, tokenizer, settings, turn=turn, is_inside_lines=True)

    return cut


def _without_likes(
    found: pl.DataFrame,
    cut: pl.DataFrame,
    held_out: pl.DataFrame,
    settings: Settings,
    left_out: dict[str, int],
    folder: Path | None,
) -> pl.DataFrame:
    """Return what was found with what was cut since, without what is like a held-out gap or like another gap.

    `left_out` counts the latter.
    """
    similarity = settings.window.near_duplicate_similarity
    new = cut.join(held_out, on="content_hash", how="anti", maintain_order="left")
    if similarity is not None and not new.is_empty():
        known, asked = (frame.select("sample_id", *COMPARED) for frame in (held_out, new))
        alike = near_duplicates_of([known], [asked], similarity, folder)
        new = new.join(alike, on="sample_id", how="anti", maintain_order="left")
    left_out["like_a_held_out_gap"] += cut.height - new.height
    once = pl.concat([found, new]).unique("content_hash", keep="first", maintain_order=True)
    left_out["duplicate"] += found.height + new.height - once.height
    if similarity is None:
        return once
    alike = near_duplicates([once.select("sample_id", *COMPARED)], similarity, folder)
    left_out["near_duplicate"] += alike.height
    return once.join(alike, on="sample_id", how="anti", maintain_order="left")


def _strata(samples: pl.DataFrame) -> pl.DataFrame:
    """Return `language`, `length` (of C_N) and `n`."""
    length = strata.length_bucket().alias("length")
    return samples.group_by("language", length).agg(n=pl.len().cast(pl.Int64)).sort("language", "length")


def _lacking(wanted: pl.DataFrame, found: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """Return of which strata fewer were found than are wanted."""
    asked, have = (frame.group_by(by).agg(pl.col("n").sum()) for frame in (wanted, found))
    both = asked.join(have, on=by, how="left", suffix="_found", nulls_equal=True)
    return both.filter(pl.col("n") > pl.col("n_found").fill_null(0))


def _chosen(found: pl.DataFrame, wanted: pl.DataFrame, count: int) -> pl.DataFrame:
    """Return at most `count` gaps: first those of each language and length, then of each language, then any."""
    length = strata.length_bucket()
    of_language = wanted.group_by("language").agg(n_language=pl.col("n").sum())
    ranked = (
        found.with_columns(length=length, order=pl.int_range(pl.len()))
        .join(wanted, on=["language", "length"], how="left", nulls_equal=True, maintain_order="left")
        .join(of_language, on="language", how="left", nulls_equal=True, maintain_order="left")
        .with_columns(
            is_of_stratum=pl.int_range(pl.len()).over("language", "length") < pl.col("n").fill_null(0)
        )
        .sort(~pl.col("is_of_stratum"), "order")
        .with_columns(
            is_of_language=pl.int_range(pl.len()).over("language") < pl.col("n_language").fill_null(0)
        )
        .sort(~pl.col("is_of_stratum"), ~pl.col("is_of_language"), "order")
    )
    return ranked.head(count).select(TRAINING_SCHEMA.names()).sort("sample_id")


def _mix(wanted: pl.DataFrame, chosen: pl.DataFrame) -> pl.DataFrame:
    """Return `language`, `length`, `n_training_set` and `n_static_set`."""
    by = ["language", "length"]
    both = wanted.rename({"n": "n_training_set"}).join(
        chosen.rename({"n": "n_static_set"}), on=by, how="full", coalesce=True, nulls_equal=True
    )
    return both.with_columns(pl.col("n_training_set", "n_static_set").fill_null(0)).sort(by)


def _shortfall(n_chosen: int, n_wanted: int, n_files: int, left_out: dict[str, int]) -> str | None:
    if n_chosen == n_wanted:
        return None
    told = ", ".join(f"{reason} {count}" for reason, count in left_out.items() if count)
    return (
        f"{n_chosen} gaps for {n_wanted} samples: {_TURNS} lines of each of {n_files} files were tried, and the files "
        f"hold no more that can be cut (left out: {told or 'none'})"
    )
