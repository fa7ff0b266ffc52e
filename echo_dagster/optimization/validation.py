"""The slice of a training set that is not trained on, and says when to stop: which samples, and what goes with them.

Whole files are drawn, so that nothing else that was written in a file of the slice is trained on either: no other gap
of it, none replayed from earlier days, none cut out of its plain code. Only samples of the window are measured on. What
does not live here: who is held out for the comparison of models (`holdout.py`), the measuring (`train_validation.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from echo_dagster.holdout import lots
from echo_dagster.settings import Training

#: What names a file, beside `TRAINED_COLUMNS`.
FILE_COLUMNS = ("repository", "document")


class TooFewSamples(ValueError):
    """A slice, or what is left beside it, is too small. The message says what to change."""


@dataclass(frozen=True)
class Parts:
    """A training set in three: what is trained on, what is measured on, and how many samples of the measured files
    are neither, because they were replayed or cut out of plain code.
    """

    trained: pl.DataFrame
    held_out: pl.DataFrame
    n_near: int


def split(training_set: pl.DataFrame, training: Training) -> Parts:
    """Draw the slice: files by seeded lot, each that still fits into `validation_share` of the window's samples.

    Args:
        training_set: one row per sample, with `FILE_COLUMNS`; where there is an `origin`, only samples of the `window`
            are measured on.
        training: the `validation_` settings, `seed` and `min_samples`.

    Raises:
        ValueError: a column that names the file is missing.
        TooFewSamples: the slice has fewer than `min_validation_samples`, or fewer than `min_samples` are left.
    """
    missing = [name for name in FILE_COLUMNS if name not in training_set.columns]
    if missing:
        raise ValueError(
            f"training.validation_share holds out whole files, but the samples have no {' and no '.join(missing)}; "
            "add what is missing, or set validation_share: 0"
        )
    is_of_window = pl.col("origin") == "window" if "origin" in training_set.columns else pl.lit(True)
    file = pl.concat_str(pl.col("repository").fill_null(""), pl.col("document").fill_null(""), separator="\0")
    rows = training_set.with_columns(is_measured=is_of_window.fill_null(False), file=file)
    by_file = rows.filter("is_measured").group_by("file").len().sort("file")
    by_file = by_file.with_columns(lots(by_file["file"], training.seed)).sort("lot", "file")
    wanted = round(training.validation_share * int(rows["is_measured"].sum()))
    drawn, n_drawn = [], 0
    for name, count in by_file.select("file", "len").iter_rows():
        if n_drawn + count <= wanted:
            drawn.append(name)
            n_drawn += count
    in_slice = pl.col("file").is_in(drawn)
    parts = Parts(
        trained=rows.filter(~in_slice).drop("is_measured", "file"),
        held_out=rows.filter(in_slice, "is_measured").drop("is_measured", "file"),
        n_near=rows.filter(in_slice, ~pl.col("is_measured")).height,
    )
    if parts.held_out.height < training.min_validation_samples:
        raise TooFewSamples(
            f"whole files that make up at most {training.validation_share:.0%} of the window have "
            f"{parts.held_out.height} samples, fewer than training.min_validation_samples "
            f"({training.min_validation_samples}); raise training.validation_share, lower that minimum, or set "
            "validation_share: 0 to train without"
        )
    if parts.trained.height < training.min_samples:
        raise TooFewSamples(
            f"beside the {parts.held_out.height} samples that say when to stop, {parts.trained.height} are left to "
            f"train on, fewer than training.min_samples ({training.min_samples}); lower training.validation_share"
        )
    return parts
