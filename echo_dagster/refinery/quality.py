"""Which quality filters judge a gap, in which order, and which of them named the reason.

Filters are asked in three stages, as what they judge becomes known: the gap, the file around it, the sample it would
be. Within a stage their order is that of the setting `quality.filters`, and the first that rejects a row names its
reason.

What does not live here: the filters (`gap_filters.py`, `file_filters.py`, `sample_filters.py`); duplicates, which are
seen across rows (sql/exact_duplicates.sql); who asks (`samples.py`); and which filters run by default (`settings.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from echo_dagster.refinery.file_filters import comment_share, encoded, generated, long_lines, low_alphanumeric
from echo_dagster.refinery.gap_filters import (
    agent_dominated,
    blank,
    bot_acceptance,
    bot_rhythm,
    bot_speed,
    bot_volume,
    censored,
    language_excluded,
    language_unknown,
    no_consent,
    paste_dominated,
    reversal,
    reverted,
    unchanged,
)
from echo_dagster.refinery.sample_filters import (
    copy_of_suffix,
    degenerate,
    low_chars_per_token,
    repetition,
    secret,
    syntax_errors_increased,
    too_long,
    too_short,
)
from echo_dagster.refinery.verdict import NO_VALUE, Filter
from echo_dagster.settings import Quality

#: What each stage judges, and its filters. The settings choose among them and order them.
STAGES: Mapping[str, tuple[Filter, ...]] = {
    "gap": (
        *(no_consent, censored, language_unknown, language_excluded),
        *(bot_volume, bot_rhythm, bot_acceptance, bot_speed),
        *(reverted, blank, unchanged, reversal, paste_dominated, agent_dominated),
    ),
    "file": (generated, long_lines, low_alphanumeric, encoded, comment_share),
    "sample": (
        *(too_long, too_short, low_chars_per_token, copy_of_suffix, repetition, degenerate),
        *(syntax_errors_increased, secret),
    ),
}
_STAGE_OF = {each.__name__: stage for stage, filters in STAGES.items() for each in filters}
#: What every later step relies on, and why.
_ALWAYS = {
    "no_consent": "nobody is trained on who did not agree",
    "blank": "without C_N there is no sample",
    "too_long": "without C_N there is no sample",
    "secret": "no secret may reach a training set or a report",
}


def chosen(names: Sequence[str]) -> Mapping[str, tuple[Filter, ...]]:
    """Return the filters of each stage that `names` (the setting `quality.filters`) chooses, in its order.

    Raises:
        ValueError: with every mistake in the names.
    """
    if found := mistakes(names):
        raise ValueError("; ".join(found))
    by_name = {each.__name__: each for filters in STAGES.values() for each in filters}
    return {stage: tuple(by_name[name] for name in names if _STAGE_OF[name] == stage) for stage in STAGES}


def mistakes(names: Sequence[str]) -> list[str]:
    """Return what is wrong with the setting `quality.filters`, one sentence each; nothing where it can be used."""
    known = [name for name in names if name in _STAGE_OF]
    stages = list(STAGES)
    found = [
        f"{name!r} is no filter; expected names of {', '.join(_STAGE_OF)}"
        for name in dict.fromkeys(names)
        if name not in _STAGE_OF
    ]
    found += [
        f"{name!r} is named twice; name it once" for name in dict.fromkeys(known) if known.count(name) > 1
    ]
    found += [
        f"{name!r} cannot be left out: {why}; add it" for name, why in _ALWAYS.items() if name not in known
    ]
    if "no_consent" in known and known[0] != "no_consent":
        found.append("'no_consent' is asked before anything else; put it first")
    for at, name in enumerate(known):
        stage = _STAGE_OF[name]
        later = next((one for one in known[:at] if stages.index(_STAGE_OF[one]) > stages.index(stage)), None)
        if later is not None and name != "no_consent":
            found.append(
                f"{name!r} judges the {stage} and {later!r} the {_STAGE_OF[later]}, which is known later; "
                f"put {name!r} before {later!r}"
            )
    return [f"quality.filters: {sentence}" for sentence in found]


def judge(frame: pl.DataFrame, filters: Sequence[Filter], quality: Quality) -> pl.DataFrame:
    """Return `frame` with the columns `reason` (null for the rows that pass) and `value` (what decided)."""
    verdicts = {each.__name__: each(quality) for each in filters}
    measured = {name: column for verdict in verdicts.values() for name, column in verdict.measured.items()}
    reason, value = pl.lit(None, pl.String), NO_VALUE
    for name, verdict in reversed(verdicts.items()):  # the first that rejects is written last
        reason = pl.when(verdict.rejects).then(pl.lit(name)).otherwise(reason)
        # By the same condition: a filter that decided without a value must not borrow that of a later one.
        value = pl.when(verdict.rejects).then(verdict.value.cast(pl.Float64)).otherwise(value)
    judged = frame.lazy().with_columns(**measured).with_columns(reason=reason, value=value)
    return judged.drop(*measured).collect()
