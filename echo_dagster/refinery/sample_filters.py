"""Quality filters of the sample that a gap would be: of C_N as it was truncated, and of its context in tokens.

The function's name is the reason code; docs/refinery.md has a line for each. What does not live here: measuring what
they judge (`facts.py`, `truncate.py`, `budget.py`), and in which order filters are asked (`quality.py`).
"""

from __future__ import annotations

import polars as pl

from echo_dagster.refinery.verdict import Verdict
from echo_dagster.settings import Quality

#: A shorter context is not judged by its tokens: those of a few words say nothing.
_JUDGED_CHARS = 200


def too_long(_: Quality) -> Verdict:
    """No complete statement of C_N fits in the token budget. The value is the tokens of C_N whole."""
    return Verdict(pl.col("final_tokens"), pl.col("middle").is_null())


def too_short(quality: Quality) -> Verdict:
    """C_N has too few characters to teach anything. White space does not count."""
    size = pl.col("middle").str.replace_all(r"\s", "").str.len_chars()
    return Verdict(size, size < quality.min_middle_chars)


def low_chars_per_token(quality: Quality) -> Verdict:
    """The tokens of the context are short: numbers, minified names, text that the tokenizer does not know."""
    ratio = pl.col("chars_per_token")
    is_judged = pl.col("context_chars") >= _JUDGED_CHARS
    return Verdict(ratio, is_judged & (ratio < quality.min_chars_per_token))


def copy_of_suffix(quality: Quality) -> Verdict:
    """C_N repeats the code that follows it. The value is the share of C_N that does."""
    share, size = pl.col("suffix_copy_share"), pl.col("suffix_copy_chars")
    return Verdict(share, (share > quality.max_suffix_copy_share) & (size >= quality.min_suffix_copy_chars))


def repetition(quality: Quality) -> Verdict:
    """C_N repeats its own lines."""
    share = pl.col("repeated_line_share")
    return Verdict(share, share > quality.max_repeated_line_share)


def degenerate(quality: Quality) -> Verdict:
    """A line of C_N repeats itself. The value is the share of 8-grams of characters seen in their line before."""
    share = pl.col("repeated_gram_share")
    return Verdict(share, share > quality.max_repeated_gram_share)


def syntax_errors_increased(_: Quality) -> Verdict:
    """The file parses worse with C_N than it did before. The value is the number of errors added."""
    added = pl.col("errors_added")
    return Verdict(added, added > 0)


def secret(_: Quality) -> Verdict:
    """C_N or C_1 holds a secret or a personal address. The value is how many."""
    found = pl.col("secrets")
    return Verdict(found, found > 0)
