"""A developer's mind: how demanding, how fast, and what is done about a proposal. No text is changed here.

Whether a proposal is taken depends on what it is worth against the code that the developer has in mind, and
on the developer's own threshold: P(accept) = attention / (1 + exp(-(worth - threshold) / spread)). The
thresholds are set so that about a quarter of what is shown is taken, as in the public aggregate over
Copilot users.
"""

from __future__ import annotations

import math
import random
import re
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

#: Everything a developer may do about a proposal; `docs/simulation.md` describes each.
BEHAVIOURS = (
    "accept",
    "accept_then_edit",
    "accept_then_remove",
    "accept_words",
    "type_through",
    "dismiss",
    "dismiss_and_leave",
    "ignore",
    "supersede",
    "idle",
    "time_out",
)

#: A spread of 0.07: at 0.15 above the threshold nine proposals in ten are taken, at 0.15 below it one in ten.
_SPREAD = 0.07
#: The share of proposals that are looked at; fast typists are past the others before they have read them.
_ATTENTION = 0.92
#: The middle of the thresholds.
_DEMAND = 0.62
#: Taken all the same, a proposal of this worth is thrown out again on second reading every second time.
_REGRET = 0.55
_WORD = re.compile(r"\s*(?:\w+|[^\w\s]+)")


@dataclass(frozen=True)
class Developer:
    """What distinguishes one developer from another."""

    user_id: str
    consent: bool
    threshold: float  # the worth of a proposal that is taken every second time
    seconds_per_char: float
    burst: int  # characters that the editor reports as one change, at most
    typo_share: float  # of words
    paste_share: float  # of regions whose last lines are pasted
    is_late: bool  # works over midnight UTC


def developer(index: int, user_id: str, consent: bool, rng: random.Random) -> Developer:
    """Return the developer number `index`; the second one works late."""
    return Developer(
        user_id=user_id,
        consent=consent,
        threshold=_DEMAND + rng.uniform(-0.12, 0.12),
        seconds_per_char=rng.uniform(0.12, 0.26),
        burst=rng.randint(3, 7),
        typo_share=rng.uniform(0.01, 0.05),
        paste_share=rng.uniform(0.03, 0.10),
        is_late=index == 1,
    )


def worth(proposal: str, intended: str) -> float:
    """Return what a proposal is worth, in [0, 1], to somebody who wants to write `intended`.

    It is the edit similarity (1 - Levenshtein distance / longer length), or 0.9 where the proposal is a
    correct beginning of at least four characters: nothing in it is wrong, and it saves typing.
    """
    proposal, intended = proposal.rstrip(), intended.rstrip()
    similarity = Levenshtein.normalized_similarity(proposal, intended)
    is_beginning = len(proposal.strip()) >= 4 and intended.startswith(proposal)
    return max(similarity, 0.9) if is_beginning else similarity


def acceptance(person: Developer, value: float) -> float:
    """Return P(accept) for a proposal worth `value`."""
    return _ATTENTION / (1 + math.exp(-(value - person.threshold) / _SPREAD))


def good_words(proposal: str, intended: str) -> list[str]:
    """Return the leading words of a proposal, with the space before them, that agree with `intended`."""
    words: list[str] = []
    at = 0
    for match in _WORD.finditer(proposal):
        goes_on = re.match(r"\w\w", intended[match.end() - 1 : match.end() + 1])
        if intended[at : match.end()] != match[0] or goes_on:
            break
        words.append(match[0])
        at = match.end()
    return words


def decide(
    person: Developer, proposal: str, intended: str, rng: random.Random, *, may_supersede: bool
) -> str:
    """Return what the developer does: one of `BEHAVIOURS`."""
    value = worth(proposal, intended)
    if rng.random() < acceptance(person, value):
        if intended.startswith(proposal):
            return "accept"
        regret = 1 / (1 + math.exp((value - _REGRET) / _SPREAD))
        return "accept_then_remove" if rng.random() < regret else "accept_then_edit"
    if intended.startswith(proposal) and rng.random() < 0.7:
        return "type_through"
    words = good_words(proposal, intended)
    if words and len("".join(words)) >= 6 and rng.random() < 0.4:
        return "accept_words"
    others = {
        "dismiss": 6.0,
        "ignore": 5.0,
        "time_out": 2.0,
        "supersede": 1.5 if may_supersede else 0.0,
        "dismiss_and_leave": 1.0,
        "idle": 0.6,
    }
    return rng.choices(list(others), list(others.values()))[0]
