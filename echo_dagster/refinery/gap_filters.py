"""Quality filters of the gap: what its user did, judged before anything of it is parsed or counted.

The function's name is the reason code; docs/refinery.md has a line for each. What does not live here: what the whole
day tells of a user (`habits.py`), and in which order filters are asked (`quality.py`).
"""

from __future__ import annotations

import polars as pl

from echo_dagster.refinery.verdict import NO_VALUE, Verdict
from echo_dagster.settings import Quality

#: LSP ids that say that the editor knows no language.
_NO_LANGUAGE = ("", "plaintext", "unknown")


def no_consent(_: Quality) -> Verdict:
    """The user did not say that their code may be trained on; silence is no consent."""
    return Verdict(NO_VALUE, pl.col("consent").fill_null(False).not_())


def censored(_: Quality) -> Verdict:
    """The log ends inside the gap: what was seen last is not the user's final code."""
    return Verdict(NO_VALUE, pl.col("censored").fill_null(False))


def language_unknown(_: Quality) -> Verdict:
    """The editor knew no language."""
    return Verdict(NO_VALUE, pl.col("language").fill_null("").is_in(_NO_LANGUAGE))


def language_excluded(quality: Quality) -> Verdict:
    """The language is none of those that the settings keep."""
    kept = pl.col("language").is_in(quality.languages, nulls_equal=True)
    return Verdict(NO_VALUE, ~kept if quality.languages else pl.lit(False))


def bot_volume(quality: Quality) -> Verdict:
    """The user was shown more proposals in a day than anyone asks for. The value is how many."""
    shown = pl.col("user_proposals")
    return Verdict(shown, shown > quality.max_user_proposals)


def bot_rhythm(quality: Quality) -> Verdict:
    """The user's proposals came like clockwork. The value is the quartile coefficient of dispersion of their pauses.

    (Q3 - Q1) / (Q3 + Q1), from 0 for a clock to 1.
    """
    dispersion = pl.col("pause_dispersion")
    return Verdict(dispersion, dispersion < quality.min_pause_dispersion)


def bot_acceptance(quality: Quality) -> Verdict:
    """The user took proposals as they came and never typed. The value is the share of such proposals in the day."""
    share = pl.col("untouched_share")
    return Verdict(share, share > quality.max_untouched_share)


def bot_speed(quality: Quality) -> Verdict:
    """The user typed faster than anyone types. The value is the day's median over gaps, in characters a second."""
    speed = pl.col("chars_per_second")
    return Verdict(speed, speed > quality.max_typing_speed)


def reverted(_: Quality) -> Verdict:
    """The user accepted, then took everything back: the text is what it was before the proposal."""
    same = pl.col("final").str.strip_chars() == pl.col("replaced").fill_null("").str.strip_chars()
    return Verdict(NO_VALUE, (pl.col("outcome") == "accepted_then_removed") & same)


def blank(_: Quality) -> Verdict:
    """Nothing was written, or only white space."""
    return Verdict(NO_VALUE, pl.col("final").fill_null("").str.strip_chars() == "")


def unchanged(_: Quality) -> Verdict:
    """What stood in the gap still stands there."""
    return Verdict(NO_VALUE, pl.col("final") == pl.col("replaced").fill_null(""))


def reversal(_: Quality) -> Verdict:
    """C_N brings the document back to how an earlier proposal found it: the user's edits since are taken back.

    The value is the seconds since then.
    """
    seconds = pl.col("reversed_after_s")
    return Verdict(seconds, seconds.is_not_null())


def paste_dominated(quality: Quality) -> Verdict:
    """Most of C_N was pasted: copied code, not written here."""
    share = _share_of_final("pasted_chars")
    return Verdict(share, share > quality.max_pasted_share)


def agent_dominated(quality: Quality) -> Verdict:
    """Most of C_N was written by an agent: not the user's answer."""
    share = _share_of_final("agent_chars")
    return Verdict(share, share > quality.max_agent_share)


def _share_of_final(column: str) -> pl.Expr:
    """Return counted characters / characters of C_N, both in UTF-16 units, at most 1."""
    final = pl.col("final")
    units = final.str.len_chars() + final.str.count_matches(r"[\x{10000}-\x{10FFFF}]")
    return (pl.col(column).fill_null(0) / units).fill_nan(0.0).clip(0, 1)
