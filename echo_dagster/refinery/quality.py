"""The quality filters: what makes a gap no training sample, one small function for each reason.

A filter returns two expressions: the value it judges, and whether that value rejects the row. The function's
name is the reason code. The first filter that rejects a row names its reason; docs/refinery.md has a line for
each.

What does not live here: measuring what takes a parser or a Python loop (`facts.py`), duplicates, which are
seen across rows (sql/exact_duplicates.sql), and who calls the filters (`samples.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import polars as pl

from echo_dagster.settings import Quality

#: LSP ids that say that the editor knows no language.
_NO_LANGUAGE = ("", "plaintext", "unknown")
#: A shorter file is not judged by its letters: a new JSON file is all brackets.
_JUDGED_CHARS = 200
#: What a generator writes at the head of its output.
_GENERATED = (
    r"(?i)@generated|auto-?generated|(?:automatically|machine)[ -]generated|code generated|"
    r"generated (?:by|from|with|using) |do not edit|do not modify this file"
)
_BASE64_RUN = r"[A-Za-z0-9+/=]{60,}(?:\r?\n[A-Za-z0-9+/=]{16,})*"
_HEX_RUN = r"(?:(?:0[xX]|\\x)?[0-9a-fA-F]{2}[,;\s]*){64,}"


class Verdict(NamedTuple):
    """The value that decides (null where there is none to tell) and whether it rejects."""

    value: pl.Expr
    rejects: pl.Expr


Filter = Callable[[Quality], Verdict]

_NO_VALUE = pl.lit(None, pl.Float64)


# --- of the gap, before truncation ---


def no_consent(_: Quality) -> Verdict:
    """The user did not say that their code may be trained on; silence is no consent."""
    return Verdict(_NO_VALUE, pl.col("consent").fill_null(False).not_())


def censored(_: Quality) -> Verdict:
    """The log ends inside the gap: what was seen last is not the user's final code."""
    return Verdict(_NO_VALUE, pl.col("censored").fill_null(False))


def language_unknown(_: Quality) -> Verdict:
    """The editor knew no language."""
    return Verdict(_NO_VALUE, pl.col("language").fill_null("").is_in(_NO_LANGUAGE))


def language_excluded(quality: Quality) -> Verdict:
    """The language is none of those that the settings keep."""
    return Verdict(
        _NO_VALUE, ~pl.col("language").is_in(quality.languages) if quality.languages else pl.lit(False)
    )


def reverted(_: Quality) -> Verdict:
    """The user accepted, then took everything back: the text is what it was before the proposal."""
    same = pl.col("final").str.strip_chars() == pl.col("replaced").fill_null("").str.strip_chars()
    return Verdict(_NO_VALUE, (pl.col("outcome") == "accepted_then_removed") & same)


def blank(_: Quality) -> Verdict:
    """Nothing was written, or only white space."""
    return Verdict(_NO_VALUE, pl.col("final").fill_null("").str.strip_chars() == "")


def unchanged(_: Quality) -> Verdict:
    """What stood in the gap still stands there."""
    return Verdict(_NO_VALUE, pl.col("final") == pl.col("replaced").fill_null(""))


def paste_dominated(quality: Quality) -> Verdict:
    """Most of C_N was pasted: copied code, not written here."""
    share = _share_of_final("pasted_chars")
    return Verdict(share, share > quality.max_pasted_share)


def agent_dominated(quality: Quality) -> Verdict:
    """Most of C_N was written by an agent: not the user's answer."""
    share = _share_of_final("agent_chars")
    return Verdict(share, share > quality.max_agent_share)


# --- of the file around the gap ---


def generated(_: Quality) -> Verdict:
    """The file says at its head that a program wrote it."""
    return Verdict(_NO_VALUE, pl.col("file_head").str.contains(_GENERATED))


def long_lines(quality: Quality) -> Verdict:
    """The file has a line too long for code, or lines too long in the mean: data or minified code.

    The value is the longest line, or the mean where that decided.
    """
    lengths = pl.col("file").str.split("\n").list.eval(pl.element().str.len_chars())
    longest, mean = lengths.list.max().cast(pl.Float64), lengths.list.mean()
    is_long = longest > quality.max_line_chars
    return Verdict(
        pl.when(is_long).then(longest).otherwise(mean), is_long | (mean > quality.max_mean_line_chars)
    )


def low_alphanumeric(quality: Quality) -> Verdict:
    """The file has few letters and digits: tables, art, data."""
    size = pl.col("file").str.len_chars()
    share = pl.col("file").str.count_matches(r"[\p{L}\p{N}]") / size
    return Verdict(share, (size >= _JUDGED_CHARS) & (share < quality.min_alphanumeric_share))


def encoded(quality: Quality) -> Verdict:
    """The file holds a long run of base64 or hex: a binary in disguise."""
    longest = pl.max_horizontal(_longest_run(_BASE64_RUN), _longest_run(_HEX_RUN)).fill_null(0)
    return Verdict(longest, longest > quality.max_encoded_chars)


# --- of the sample, after truncation ---


def too_long(_: Quality) -> Verdict:
    """No complete statement of C_N fits in the token budget. The value is the tokens of C_N whole."""
    return Verdict(pl.col("final_tokens"), pl.col("middle").is_null())


def too_short(quality: Quality) -> Verdict:
    """C_N has too few characters to teach anything. White space does not count."""
    size = pl.col("middle").str.replace_all(r"\s", "").str.len_chars()
    return Verdict(size, size < quality.min_middle_chars)


def copy_of_suffix(quality: Quality) -> Verdict:
    """C_N repeats the code that follows it. The value is the share of C_N that does."""
    share, size = pl.col("suffix_copy_share"), pl.col("suffix_copy_chars")
    return Verdict(share, (share > quality.max_suffix_copy_share) & (size >= quality.min_suffix_copy_chars))


def repetition(quality: Quality) -> Verdict:
    """C_N repeats its own lines."""
    share = pl.col("repeated_line_share")
    return Verdict(share, share > quality.max_repeated_line_share)


def syntax_errors_increased(_: Quality) -> Verdict:
    """The file parses worse with C_N than it did before. The value is the number of errors added."""
    added = pl.col("errors_added")
    return Verdict(added, added > 0)


def secret(_: Quality) -> Verdict:
    """C_N or C_1 holds a secret or a personal address. The value is how many."""
    found = pl.col("secrets")
    return Verdict(found, found > 0)


#: In the order in which they are asked: the cheap and the plain come first.
GAP_FILTERS: tuple[Filter, ...] = (
    *(no_consent, censored, language_unknown, language_excluded, reverted, blank, unchanged),
    *(paste_dominated, agent_dominated),
)
FILE_FILTERS: tuple[Filter, ...] = (generated, long_lines, low_alphanumeric, encoded)
SAMPLE_FILTERS: tuple[Filter, ...] = (
    *(too_long, too_short, copy_of_suffix, repetition, syntax_errors_increased, secret),
)


def judge(frame: pl.DataFrame, filters: Sequence[Filter], quality: Quality) -> pl.DataFrame:
    """Return `frame` with the columns `reason` (null for the rows that pass) and `value` (what decided)."""
    verdicts = [(each.__name__, each(quality)) for each in filters]
    reason = pl.coalesce(pl.when(verdict.rejects).then(pl.lit(name)) for name, verdict in verdicts)
    judged = frame.with_columns(reason.cast(pl.String).alias("reason"))
    # Chained, not coalesced: a filter that decided without a value must not borrow that of a later one.
    value = _NO_VALUE
    for name, verdict in verdicts:
        value = pl.when(pl.col("reason") == name).then(verdict.value.cast(pl.Float64)).otherwise(value)
    return judged.with_columns(value.cast(pl.Float64).alias("value"))


def _share_of_final(column: str) -> pl.Expr:
    """Return counted characters / characters of C_N, both in UTF-16 units, at most 1."""
    final = pl.col("final")
    units = final.str.len_chars() + final.str.count_matches(r"[\x{10000}-\x{10FFFF}]")
    return (pl.col(column).fill_null(0) / units).fill_nan(0.0).clip(0, 1)


def _longest_run(pattern: str) -> pl.Expr:
    return pl.col("file").str.extract_all(pattern).list.eval(pl.element().str.len_chars()).list.max()
