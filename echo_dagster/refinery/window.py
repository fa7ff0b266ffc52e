"""The training set of a day: scored days before it, without held-out users, deduplicated, denoised, frozen; and, where
the settings ask for it, samples of earlier days and gaps in plain code, against forgetting.

What does not live here: who is held out (`holdout.py`), what a near duplicate is (`near_duplicates.py`; both above this
package), the likelihood bands (`denoise.py`), the training itself.

Decisions are made on narrow columns, but for near duplicates; the text of a sample is read once it is known to stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import sha256

import polars as pl
from tokenizers import Tokenizer

from echo_dagster import holdout
from echo_dagster.forgotten import forgotten
from echo_dagster.holdout import lots
from echo_dagster.lake import Lake
from echo_dagster.near_duplicates import COMPARED, near_duplicates, near_duplicates_of
from echo_dagster.refinery import denoise, plain
from echo_dagster.refinery.schema import REJECTED_SCHEMA, TRAINING_SCHEMA
from echo_dagster.refinery.staging import LostRows
from echo_dagster.settings import Settings

_ASKED = (
    "sample_id",
    "user_id",
    "repository",
    "language",
    "outcome",
    "middle_tokens",
    "content_hash",
    "opened_at",
)
_LIKELIHOODS = ("middle_nats_per_token", "ifd", "scorer")


@dataclass(frozen=True)
class TrainingSet:
    """A frozen training set.

    `frame` is TRAINING_SCHEMA by day and sample, whatever their `origin`; `rejected` is REJECTED_SCHEMA (stage
    `denoise`) of the window. `digest` is the content's address. `days` are the days of the window, `by_day` how many
    samples each of them gave,
    `considered` how many scored samples the window holds. `denoising` is DENOISING_SCHEMA: what the likelihood bands
    did to the mix.
    """

    day: date
    frame: pl.DataFrame
    rejected: pl.DataFrame
    denoising: pl.DataFrame
    digest: str
    days: tuple[date, ...]
    by_day: dict[date, int]
    considered: int

    @property
    def kept(self) -> int:
        """Return how many samples of the window are trained on."""
        return sum(self.by_day.values())

    def by_origin(self) -> list[dict[str, str | int | date]]:
        """Return `{"day", "origin", "n"}`: the samples of the window, and those trained on beside them."""
        counted = self.frame.group_by("origin").agg(n=pl.len()).sort("n", "origin", descending=[True, False])
        return counted.select(pl.lit(self.day).alias("day"), "origin", "n").to_dicts()

    @property
    def dropped(self) -> int:
        """Return how many samples of the window are not trained on."""
        return len(self.rejected)

    def by_reason(self) -> list[dict[str, str | int | date]]:
        """Return `{"day", "reason", "n"}` for every reason, the most frequent first."""
        counted = self.rejected.group_by("reason").agg(n=pl.len())
        named = counted.sort("n", "reason", descending=[True, False]).select(
            pl.lit(self.day).alias("day"), "reason", "n"
        )
        return named.to_dicts()


def _no_tokenizer() -> Tokenizer:
    raise ValueError("window.plain_share needs a tokenizer; say which")


def training_window(
    lake: Lake,
    day: date,
    settings: Settings,
    days: Sequence[date] | None = None,
    tokenizer: Callable[[], Tokenizer] = _no_tokenizer,
) -> TrainingSet:
    """Build the training set of `day` from the scored samples of `days`, by default the configured window.

    A day of the window without samples is no error, and neither is a window without any: the frame is empty
    then. `tokenizer` loads the base model's, which only gaps cut out of plain code need.

    Raises:
        ValueError: a day of the window is not before `day`, or a likelihood is not a number.
        LostRows: a defect.
    """
    window = settings.window
    days = (
        tuple(days)
        if days is not None
        else tuple(day - timedelta(days=back) for back in range(window.days, 0, -1))
    )
    if any(one >= day for one in days):
        raise ValueError(f"the training set of {day} must not hold {max(days)}: only days before it")
    scored = _scored(lake, days)
    asked, decided, denoising = _judged(lake, scored, settings)
    kept = decided.filter(pl.col("reason").is_null())
    own = _whole(scored, kept, "window")
    frame = pl.concat([own, _earlier(lake, days, kept, settings), _plain(lake, own, settings, tokenizer)])
    frame = frame.sort("sample_day", "sample_id")
    rejected = (
        decided.filter(pl.col("reason").is_not_null())
        .with_columns(stage=pl.lit("denoise"))
        .select(REJECTED_SCHEMA.names())
        .cast(REJECTED_SCHEMA)
        .sort("sample_day", "sample_id")
    )
    if len(own) + len(rejected) != asked:
        raise LostRows(f"{asked} scored samples became {len(own)} kept and {len(rejected)} rejected")
    by_day = dict.fromkeys(days, 0) | dict(own.group_by("sample_day").len().iter_rows())
    return TrainingSet(day, frame, rejected, denoising, content_digest(frame), days, by_day, asked)


def write_training_set(
    lake: Lake,
    day: date,
    days: Sequence[date] | None,
    settings: Settings,
    tokenizer: Callable[[], Tokenizer] = _no_tokenizer,
) -> TrainingSet:
    """Build the training set of `day` and write it: training_set, denoising, and rejected_samples of that stage."""
    built = training_window(lake, day, settings, days, tokenizer)
    today = pl.lit(day).alias("day")
    lake.replace("denoising", built.denoising.select(today, pl.all()), [day])
    lake.replace("training_set", built.frame.select(today, pl.all()), [day])
    lake.replace(
        "rejected_samples", built.rejected.select(today, pl.all()), [day], where={"stage": "denoise"}
    )
    return built


def leaks(lake: Lake, day: date, settings: Settings, table: str = "training_set") -> dict[str, int]:
    """Count what must not be in the training set of `day`: what is held out (`holdout.leaks`), and forgotten users."""
    columns = ("user_id", "repository", "sample_day", "closed_at")
    rows = lake.read(table, [day]).select(columns).collect()
    return {
        **holdout.leaks(rows, day, settings.window),
        "forgotten_user_samples": int(rows["user_id"].is_in(forgotten(lake)).sum()),
    }


def content_digest(frame: pl.DataFrame) -> str:
    """Return the content's address: SHA-256 over sample_id, prefix, suffix and middle, sorted by id.

    A text is told by its length and its bytes, so that no two contents are told alike; an unknown suffix is
    not "".
    """
    told = sha256()
    for row in frame.select("sample_id", "prefix", "suffix", "middle").sort(pl.all()).iter_rows():
        for text in row:
            data = b"" if text is None else text.encode()
            told.update((2**64 - 1 if text is None else len(data)).to_bytes(8, "big") + data)
    return told.hexdigest()


def _scored(lake: Lake, days: Iterable[date]) -> pl.LazyFrame:
    if not lake.exists("scored_samples"):  # the first days of a project: nothing was ever scored
        return TRAINING_SCHEMA.to_frame().lazy()
    return lake.read("scored_samples", list(days)).rename({"day": "sample_day"})


def _judged(lake: Lake, scored: pl.LazyFrame, settings: Settings) -> tuple[int, pl.DataFrame, pl.DataFrame]:
    """Return how many scored samples there are, what `_decide` says of them, and DENOISING_SCHEMA."""
    asked = scored.select("sample_day", *_ASKED, *_LIKELIHOODS).collect()
    in_order = asked.sort("sample_day", "opened_at", "sample_id")
    decided, denoising = _decide(
        in_order,
        settings,
        forgotten(lake),
        lambda left, similarity: near_duplicates(_texts(scored, left), similarity, lake.root),
    )
    return len(asked), decided, denoising


def _earlier(lake: Lake, days: Sequence[date], kept: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Return TRAINING_SCHEMA of the days before the window, as many: what they would have given, so many of them by
    lot as the settings say, without what the window has already or nearly.
    """
    window = settings.window
    wanted = round(window.replay_share * len(kept))
    if not wanted:
        return TRAINING_SCHEMA.to_frame()
    span = max(days) - min(days) + timedelta(days=1)
    scored = _scored(lake, [day - span for day in days])
    _, decided, _ = _judged(lake, scored, settings)
    there = decided.filter(pl.col("reason").is_null()).join(kept, on="content_hash", how="anti")
    drawn = there.with_columns(lots(there["sample_id"], window.seed)).sort("lot", "sample_id").head(wanted)
    if window.near_duplicate_similarity is not None:
        of_window = _texts(_scored(lake, days), kept.sort("sample_day", "opened_at", "sample_id"))
        alike = near_duplicates_of(
            of_window,
            _texts(scored, drawn.sort("sample_day", "opened_at", "sample_id")),
            window.near_duplicate_similarity,
            lake.root,
        )
        drawn = drawn.join(alike, on="sample_id", how="anti")
    return _whole(scored, drawn, "earlier")


def _plain(
    lake: Lake, own: pl.DataFrame, settings: Settings, tokenizer: Callable[[], Tokenizer]
) -> pl.DataFrame:
    """Return gaps cut out of the code around the window's samples (TRAINING_SCHEMA): at most as many of them as the
    settings say, without what nearly repeats a sample or another one of them.
    """
    window = settings.window
    wanted = round(window.plain_share * len(own))
    if not wanted:
        return TRAINING_SCHEMA.to_frame()
    drawn = own.with_columns(lots(own["sample_id"], window.seed)).sort("lot", "sample_id")
    found = plain.cut(drawn, wanted, tokenizer(), settings).unique(
        "content_hash", keep="first", maintain_order=True
    )
    found = found.join(own, on="content_hash", how="anti", maintain_order="left")
    if window.near_duplicate_similarity is not None:
        texts = (frame.select("sample_id", *COMPARED) for frame in (own, found))
        alike = near_duplicates(texts, window.near_duplicate_similarity, lake.root)
        found = found.join(alike, on="sample_id", how="anti")
    return found


def _whole(scored: pl.LazyFrame, chosen: pl.DataFrame, origin: str) -> pl.DataFrame:
    """Return the chosen samples with all of their columns."""
    names = chosen.lazy().select("sample_day", "sample_id")
    whole = scored.join(names, on=["sample_day", "sample_id"], how="semi")
    return whole.with_columns(origin=pl.lit(origin)).select(TRAINING_SCHEMA.names()).collect()


def _texts(scored: pl.LazyFrame, asked: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield what near duplicates are told by, day by day, in the order in which it is asked for."""
    for (day,), some in asked.group_by("sample_day", maintain_order=True):
        of_day = scored.filter(pl.col("sample_day") == day).select("sample_id", *COMPARED).collect()
        yield some.select("sample_id").join(of_day, on="sample_id", maintain_order="left")


def _decide(
    asked: pl.DataFrame,
    settings: Settings,
    gone: frozenset[str],
    alike: Callable[[pl.DataFrame, float], pl.DataFrame],
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Add `reason` (null: kept) and `value`, one rule after another, each on what is left; with DENOISING_SCHEMA."""
    window = settings.window
    # a run that began before somebody was forgotten can write their samples after: what is learnt cannot be removed
    is_gone = asked["user_id"].is_in(gone)
    left, dropped = asked.filter(~is_gone), [_dropped(asked.filter(is_gone), "forgotten")]

    left = holdout.marked(left, window)
    for reason in ("held_out_user", "held_out_repository"):
        dropped.append(_dropped(left.filter(f"is_{reason}").select(asked.columns), reason))
        left = left.filter(~pl.col(f"is_{reason}"))
    left = left.select(asked.columns)

    nth = left.with_columns(value=pl.int_range(1, pl.len() + 1).over("content_hash").cast(pl.Float64))
    dropped.append(_dropped(nth.filter(pl.col("value") > 1), "duplicate"))
    left = nth.filter(pl.col("value") == 1).drop("value")

    if window.near_duplicate_similarity is not None:
        found = alike(left, window.near_duplicate_similarity)
        like = found.select("sample_id", value="similarity")
        compared = left.join(like, on="sample_id", how="left", maintain_order="left")
        dropped.append(_dropped(compared.filter(pl.col("value").is_not_null()), "near_duplicate"))
        left = compared.filter(pl.col("value").is_null()).drop("value")

    decided = denoise.decide(left, settings.perplexity)
    denoising = denoise.cut(decided, settings.perplexity)
    judged = left.hstack(decided.select("reason", "value"))
    dropped.append(judged.filter(pl.col("reason").is_not_null()))
    left = judged.filter(pl.col("reason").is_null())

    drawn = left.with_columns(lots(left["sample_id"], window.seed)).sort("lot", "sample_id").drop("lot")
    dropped.append(_dropped(drawn.slice(window.max_samples), "over_max_samples"))
    return pl.concat([drawn.head(window.max_samples), *dropped], how="vertical"), denoising


def _dropped(rows: pl.DataFrame, reason: str) -> pl.DataFrame:
    value = pl.col("value") if "value" in rows.columns else pl.lit(None)
    return rows.with_columns(reason=pl.lit(reason), value=value.cast(pl.Float64)).select(
        *(name for name in rows.columns if name not in ("reason", "value")), "reason", "value"
    )
