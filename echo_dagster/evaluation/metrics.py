"""How near a prediction is to what the user kept: one number per pair, over whole columns.

What lives here: the text metrics. What does not: likelihoods (they need a model), means and intervals
(`bootstrap.py`), and whether a user would have accepted (`user.py`).

White space at the end of either text is ignored throughout: where a completion stops after its last visible
character is the tool's doing, not the model's. White space at the beginning is indentation and counts.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cpdist

from echo_dagster.parsing import syntax

#: Of chrF: the longest n-gram, and how many times more recall weighs than precision (Popovic 2015).
_CHRF_ORDER = 6
_CHRF_BETA = 2


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


def chrf(predictions: pl.Series, references: pl.Series) -> pl.Series:
    """Return, per pair, the F-score of character n-grams (Popovic 2015: n up to 6, beta 2): 1 is equal.

    As in sacrebleu, white space is left out, and precision and recall are means over the lengths of n-gram
    that both texts have. Two texts without n-grams give 1, one without gives 0.
    """
    left, right = _pair(predictions, references)
    values = [_chrf("".join(a.split()), "".join(b.split())) for a, b in zip(left, right, strict=True)]
    return pl.Series("chrf", values, dtype=pl.Float64)


def reversal(predictions: pl.Series, references: pl.Series, proposals: pl.Series) -> pl.Series:
    """Return, per pair, whether the answer takes the user's edit back: it is the C_1 that they replaced by C_N.

    `proposals` are the C_1 that were shown. Null where the user took nothing away: no C_1 (null or blank), or
    a C_1 that they kept as it was.
    """
    left, right = _pair(predictions, references)
    shown = proposals.cast(pl.String).fill_null("").str.strip_chars_end()
    frame = pl.DataFrame({"left": left, "right": right, "shown": shown})
    refused = (pl.col("shown") != "") & (pl.col("shown") != pl.col("right"))
    told = frame.select(is_reversal=pl.when(refused).then(pl.col("left") == pl.col("shown")))
    return told["is_reversal"]


def is_syntax_valid(
    language: str | None, prefix: str, suffix: str | None, prediction: str, reference: str
) -> bool | None:
    """Say whether a file has no more parse errors with the answer in its gap than with C_N; None without a grammar.

    Files on the way are often broken elsewhere: errors that C_N leaves do not count against the answer.
    """
    if language is None or not syntax.has_grammar(language):
        return None
    before, after = syntax.window(prefix, suffix)
    written, wanted = (syntax.parse(language, before, text, after).errors for text in (prediction, reference))
    return written <= wanted


def first_line_match(predictions: pl.Series, references: pl.Series) -> pl.Series:
    """Return, per pair, whether the first lines that are not blank are equal. Two blank texts match."""
    left, right = _pair(predictions, references)
    return (first_line(left) == first_line(right)).rename("is_first_line_match")


def first_line(texts: pl.Series) -> pl.Series:
    """Return the first line of each text that is not blank, right-stripped; `""` where all are blank."""
    return texts.str.extract(r"(?m)^(.*\S)", 1).fill_null("")


def _chrf(prediction: str, reference: str) -> float:
    if prediction == reference:
        return 1.0
    precisions, recalls = [], []
    for n in range(1, min(_CHRF_ORDER, len(prediction), len(reference)) + 1):
        written, wanted = _grams(prediction, n), _grams(reference, n)
        shared = (written & wanted).total()
        precisions.append(shared / written.total())
        recalls.append(shared / wanted.total())
    if not any(precisions):
        return 0.0
    precision, recall = sum(precisions) / len(precisions), sum(recalls) / len(recalls)
    return (1 + _CHRF_BETA**2) * precision * recall / (_CHRF_BETA**2 * precision + recall)


def _grams(text: str, n: int) -> Counter[str]:
    return Counter(text[at : at + n] for at in range(len(text) - n + 1))


def _pair(predictions: pl.Series, references: pl.Series) -> tuple[pl.Series, pl.Series]:
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions cannot be paired with {len(references)} references")
    if predictions.null_count() or references.null_count():
        raise ValueError("a prediction or a reference is null; an empty prediction is an empty text")
    left, right = predictions.cast(pl.String), references.cast(pl.String)
    return left.str.strip_chars_end(), right.str.strip_chars_end()
