"""Quality filters of the file around the gap, as far as the log shows it: column `file`, and its head, `file_head`.

The function's name is the reason code; docs/refinery.md has a line for each, and where its threshold comes from. What
does not live here: in which order filters are asked (`quality.py`).
"""

from __future__ import annotations

import polars as pl

from echo_dagster.refinery.verdict import NO_VALUE, Verdict
from echo_dagster.settings import Quality

#: A shorter file is not judged by its letters: a new JSON file is all brackets.
_JUDGED_CHARS = 200
#: A shorter file is not judged by its comments: a new one is all licence.
_COMMENTED_CHARS = 2000
#: What a generator writes at the head of its output.
_GENERATED = (
    r"(?i)@generated|auto-?generated|(?:automatically|machine)[ -]generated|code generated|"
    r"generated (?:by|from|with|using) |do not edit|do not modify this file"
)
_BASE64_RUN = r"[A-Za-z0-9+/=]{60,}(?:\r?\n[A-Za-z0-9+/=]{16,})*"
_HEX_RUN = r"(?:(?:0[xX]|\\x)?[0-9a-fA-F]{2}[,;\s]*){64,}"
#: Comments that fill a line, by how a language writes them. Docstrings are strings: where the log begins inside of one
#: nothing tells which quotes open. A language that is not named here is not judged.
_COMMENTS = {
    r"(?:^|\n)[ \t]*#[^\n]*": (
        "python ruby shellscript perl r yaml toml dockerfile makefile powershell elixir julia coffeescript"
    ),
    r"(?:^|\n)[ \t]*//[^\n]*|(?s:/\*.*?\*/)": (
        "c cpp csharp cuda-cpp css dart go groovy java javascript javascriptreact jsx kotlin less objective-c php rust "
        "scala scss swift tsx typescript typescriptreact zig"
    ),
    r"(?:^|\n)[ \t]*--[^\n]*|(?s:/\*.*?\*/)": "sql",
    r"(?:^|\n)[ \t]*--[^\n]*": "haskell lua",
}
_COMMENTED = [language for languages in _COMMENTS.values() for language in languages.split()]


def generated(_: Quality) -> Verdict:
    """The file says at its head that a program wrote it."""
    return Verdict(NO_VALUE, pl.col("file_head").str.contains(_GENERATED))


def long_lines(quality: Quality) -> Verdict:
    """The file has a line too long for code, or lines too long in the mean: data or minified code.

    The value is the longest line, or the mean where that decided.
    """
    lengths = pl.col("file").str.split("\n").list.eval(pl.element().str.len_chars())
    longest, mean = pl.col("line_chars").list.max().cast(pl.Float64), pl.col("line_chars").list.mean()
    is_long = longest > quality.max_line_chars
    return Verdict(
        pl.when(is_long).then(longest).otherwise(mean),
        is_long | (mean > quality.max_mean_line_chars),
        {"line_chars": lengths},
    )


def low_alphanumeric(quality: Quality) -> Verdict:
    """The file has few letters and digits: tables, art, data. The value is their share."""
    size = pl.col("file").str.len_chars()
    # Runs of four count a part of them in a third of the time. Where that part is enough the rest is not counted.
    at_least = 4 * pl.col("file").str.count_matches(r"[A-Za-z0-9]{4}") / size
    uncertain = pl.when((size >= _JUDGED_CHARS) & (at_least < quality.min_alphanumeric_share)).then("file")
    share = pl.col("alphanumeric_share")
    return Verdict(
        share,
        share < quality.min_alphanumeric_share,
        {"alphanumeric_share": uncertain.str.count_matches(r"[\p{L}\p{N}]") / size},
    )


def encoded(quality: Quality) -> Verdict:
    """The file holds a long run of base64 or hex: a binary in disguise. The value is its length."""
    longest = pl.max_horizontal(_longest_run(_BASE64_RUN), _longest_run(_HEX_RUN))
    return Verdict(
        pl.col("encoded_chars"),
        pl.col("encoded_chars") > quality.max_encoded_chars,
        {"encoded_chars": longest},
    )


def comment_share(quality: Quality) -> Verdict:
    """The file is nearly all comment, or has too little of it. The value is the share of its characters."""
    size = pl.col("file").str.len_chars()
    chars = pl.sum_horizontal(
        pl.when((size >= _COMMENTED_CHARS) & pl.col("language").is_in(languages.split()))
        .then("file")
        .str.extract_all(comment)
        .list.eval(pl.element().str.len_chars())
        .list.sum()
        for comment, languages in _COMMENTS.items()
    )
    share = pl.col("comments")
    is_judged = (size >= _COMMENTED_CHARS) & pl.col("language").is_in(_COMMENTED)
    return Verdict(
        share,
        is_judged & ((share < quality.min_comment_share) | (share > quality.max_comment_share)),
        {"comments": chars / size},
    )


def _longest_run(pattern: str) -> pl.Expr:
    return pl.col("file").str.extract_all(pattern).list.eval(pl.element().str.len_chars()).list.max()
