"""How near a prediction is to what the user kept: one number per pair, over whole columns.

What lives here: the text metrics. What does not: likelihoods (they need a model), means and intervals
(`bootstrap.py`), and whether a user would have accepted (`user.py`).

White space at the end of either text is ignored throughout: where a completion stops after its last visible
character is the tool's doing, not the model's. White space at the beginning is indentation and counts.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cpdist


def exact_match(predictions: pl.Series, references: pl.Series) -> pl.Series:
    """Return, per pair, whether the texts are equal. Two empty texts are."""
    left, right = _pair(predictions, references)
    return (left == right).rename("is_exact_match")


def edit_similarity(predictions: pl.Series, references: pl.Series) -> pl.Series:
    """Return, per pair, 1 - Levenshtein distance / longer length, in code points: 1 is equal.

    Two empty texts give 1, so that an exact match and a similarity of 1 are the same thing.
    """
    left, right = _pair(predictions, references)
    values = cpdist(
        left.to_list(), right.to_list(), scorer=Levenshtein.normalized_similarity, dtype=np.float64
    )
    return pl.Series("edit_similarity", values, dtype=pl.Float64)


def first_line_match(predictions: pl.Series, references: pl.Series) -> pl.Series:
    """Return, per pair, whether the first lines that are not blank are equal. Two blank texts match."""
    left, right = _pair(predictions, references)
    return (first_line(left) == first_line(right)).rename("is_first_line_match")


def first_line(texts: pl.Series) -> pl.Series:
    """Return the first line of each text that is not blank, right-stripped; `""` where all are blank."""
    return texts.str.extract(r"(?m)^(.*\S)", 1).fill_null("")


def _pair(predictions: pl.Series, references: pl.Series) -> tuple[pl.Series, pl.Series]:
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions cannot be paired with {len(references)} references")
    if predictions.null_count() or references.null_count():
        raise ValueError("a prediction or a reference is null; an empty prediction is an empty text")
    left, right = predictions.cast(pl.String), references.cast(pl.String)
    return left.str.strip_chars_end(), right.str.strip_chars_end()
