"""Which settings leave out a step of the refinery, or a single rule of one; and which may never be left out.

A step is left out by settings alone, so that an ablation runs the very code that a day runs. What does not live here:
the steps themselves (`refinery/`). Nothing heavy is imported: the command line's help lists these names.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

from echo_dagster.settings import Quality, Settings

#: Settings, by section.
Overrides = Mapping[str, Mapping[str, Any]]
Override = Callable[[Settings], Overrides]

#: More samples than any day has, and a ratio that no likelihoods reach.
_NO_LIMIT = 1_000_000_000
_NO_RATIO = sys.float_info.max


class Step(NamedTuple):
    """What goes when a step is dropped, in words and as settings."""

    what: str
    override: Override


class StepStays(ValueError):
    """A step that cannot be dropped. The message says why."""


def _set(section: str, **values: Any) -> Override:
    return lambda _: {section: values}


def _no_budget(settings: Settings) -> Overrides:
    window = settings.base_model.max_tokens
    return {"truncation": {"prefix_tokens": window, "suffix_tokens": window, "middle_tokens": window // 2}}


def _filters_without(*names: str) -> Override:
    def override(settings: Settings) -> Overrides:
        left = tuple(name for name in settings.quality.filters if name not in names)
        return {"quality": {"filters": left}}

    return override


_PRIVATE = "it keeps people's secrets out of a model, whatever it costs"
_CONSENT = "nobody's code is learnt from without their consent"
_NO_SAMPLE = "without C_N there is no sample"
_HELD_OUT = "what models are compared on must not be learnt from"
_ONE_SAMPLE = "a proposal shown again, or the same code again, is one sample; near_duplicates can be dropped"
#: What is never left out, and why.
NEVER: Mapping[str, str] = {
    "no_consent": _CONSENT,
    "consent": _CONSENT,
    "secret": _PRIVATE,
    "secrets": _PRIVATE,
    "blank": _NO_SAMPLE,
    "too_long": _NO_SAMPLE,
    "duplicate": _ONE_SAMPLE,
    "duplicates": _ONE_SAMPLE,
    "reshown": _ONE_SAMPLE,
    "held_out_user": _HELD_OUT,
    "held_out_users": _HELD_OUT,
    "held_out_repository": _HELD_OUT,
    "held_out_repositories": _HELD_OUT,
    "forgotten": "nobody is learnt from who was forgotten",
}

_FILTERS = tuple(name for name in Quality.model_fields["filters"].default if name not in NEVER)

#: Whole steps, in the order in which they are taken.
STEPS: Mapping[str, Step] = {
    "truncation": Step(
        "the token budgets: context as long as the model's window, C_N up to half of it", _no_budget
    ),
    "quality": Step("the quality filters, but for consent and secrets", _filters_without(*_FILTERS)),
    "balance": Step(
        "caps and tempered shares: every sample of a day stays",
        _set(
            "balance",
            temperature=1.0,
            max_samples=_NO_LIMIT,
            max_user_share=1.0,
            max_document_share=1.0,
            max_repository_share=1.0,
        ),
    ),
    "near_duplicates": Step(
        "MinHash over the window: only exact duplicates go", _set("window", near_duplicate_similarity=None)
    ),
    "denoise": Step(
        "likelihood bands and the limit of IFD",
        _set("perplexity", low_quantile=0.0, high_quantile=1.0, max_ifd=_NO_RATIO),
    ),
}

#: Single rules, by their reason code.
RULES: Mapping[str, Override] = {
    **{name: _filters_without(name) for name in _FILTERS},
    "over_document_cap": _set("balance", max_document_share=1.0),
    "over_user_cap": _set("balance", max_user_share=1.0),
    "over_repository_cap": _set("balance", max_repository_share=1.0),
    "over_stratum_share": _set("balance", temperature=1.0, max_samples=_NO_LIMIT),
    "ifd_above_one": _set("perplexity", max_ifd=_NO_RATIO),
    "ppl_low": _set("perplexity", low_quantile=0.0),
    "ppl_high": _set("perplexity", high_quantile=1.0),
}


def without(settings: Settings, name: str) -> Settings:
    """Return the settings in which a step or rule is left out, and all else stays.

    Raises:
        StepStays: there is no such step, it is never left out, or the settings leave it out already.
    """
    if name in NEVER:
        raise StepStays(f"{name} is never dropped: {NEVER[name]}")
    known = {**{step: STEPS[step].override for step in STEPS}, **RULES}
    if name not in known:
        near = get_close_matches(name, known, n=1)
        meant = f"; did you mean {near[0]}?" if near else "."
        raise StepStays(
            f"there is no step {name!r}{meant} Steps: {', '.join(STEPS)}. Single rules: {', '.join(RULES)}."
        )
    told = settings.model_dump()
    for section, values in known[name](settings).items():
        told[section] |= values
    made = Settings.model_validate(told)
    if made == settings:
        raise StepStays(f"the configuration leaves {name} out already")
    return made
