"""What became of a proposal. Pure functions; every definition stands here and, in prose, in docs/gaps.md.

What does not live here: how the final text was found (`stream.py`).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from rapidfuzz.distance import LCSseq

from echo_dagster import utf16

#: Words, line breaks, other white space, and single signs: the tokens of `kept_rate`.
_TOKEN = re.compile(r"\w+|\n|[^\S\n]+|[^\w\s]")

#: Below this kept rate an accepted proposal counts as removed: what survives is a bracket or a blank.
REMOVED_BELOW = 0.1


class Facts(NamedTuple):
    """What is known of a gap at its end.

    Attributes:
        replaced: what stood in the gap when the proposal was shown.
        proposal: C_1.
        final: C_N.
        is_taken_whole, is_taken_in_part: the user accepted the proposal, or a part of it.
        is_rejected: the user dismissed it by an act of their own. A timeout is none.
        is_superseded: a newer proposal was shown inside the gap before the user had decided, or done more
            than type.
        is_other_taken: the user accepted another proposal inside the gap.
    """

    replaced: str
    proposal: str
    final: str
    is_taken_whole: bool
    is_taken_in_part: bool
    is_rejected: bool
    is_superseded: bool
    is_other_taken: bool


def outcome(facts: Facts, kept: float | None) -> str:
    """Return one of `schema.OUTCOMES`; the first that fits, in this order.

    * `accepted`: taken whole, and `final` holds the proposal in one piece.
    * `accepted_then_removed`: taken whole, but `final` is what stood there before, or keeps almost nothing.
    * `accepted_then_edited`: taken whole, and anything else.
    * `partially_accepted`: taken in part.
    * `superseded`: the user took the proposal's text from a newer proposal.
    * `typed_through`: not taken, but `final` begins with the proposal: the user wrote it out.
    * `superseded`: a newer proposal took its place before the user decided.
    * `rejected`: the user dismissed it and wrote nothing.
    * `ignored`: the user neither dismissed it nor wrote anything.
    * `rejected_then_written`: the user wrote something else.

    White space around the proposal is not compared: editors re-indent, and some logs strip it.

    Args:
        facts: what is known of the gap.
        kept: its `kept_rate`.
    """
    wanted = facts.proposal.strip()
    is_unchanged = facts.final == facts.replaced
    if facts.is_taken_whole:
        is_undone = is_unchanged and wanted != facts.replaced.strip()
        is_removed = is_undone or (kept is not None and kept < REMOVED_BELOW)
        if wanted in facts.final and not is_undone:
            found = "accepted"
        else:
            found = "accepted_then_removed" if is_removed else "accepted_then_edited"
    elif facts.is_taken_in_part:
        found = "partially_accepted"
    elif wanted and not is_unchanged and facts.final.lstrip().startswith(wanted):
        found = "superseded" if facts.is_other_taken else "typed_through"
    elif facts.is_superseded and not facts.is_rejected:
        found = "superseded"
    elif is_unchanged:
        found = "rejected" if facts.is_rejected else "ignored"
    else:
        found = "rejected_then_written"
    return found


def kept_rate(replaced: str, proposal: str, final: str) -> float | None:
    """Return the share of the proposal's new characters that survive in `final`; null where none were new.

    Tokens are words, line breaks, other white space and single signs. A token of the proposal is new where a
    longest common subsequence of the proposal and `replaced` leaves it out. It survives where one of the
    proposal and `final` holds it, and wherever `final` holds the whole proposal in one piece. Both counts
    weigh a token by its UTF-16 units.
    """
    tokens = _TOKEN.findall(proposal)
    units = list(map(len if proposal.isascii() else utf16.length, tokens))
    for block in _shared(tokens, replaced):
        units[block] = [0] * len(units[block])  # not new
    proposed = sum(units)
    if not proposed:
        return None
    if proposal in final:
        return 1.0
    return sum([sum(units[block]) for block in _shared(tokens, final)]) / proposed


def _shared(tokens: list[str], text: str) -> list[slice]:
    """Return the places of the tokens that a longest common subsequence with those of `text` holds."""
    if not text:
        return []
    blocks = LCSseq.editops(tokens, _TOKEN.findall(text)).as_matching_blocks()
    return [slice(block.a, block.a + block.size) for block in blocks]
