"""Fill-in-the-middle: how a gap becomes token ids, for training, scoring and generation alike.

What does not live here: weights and where they come from (`models.py`), decoding (`generation.py`).

The prompt never ends inside a token. A language model has only seen text cut where its tokenizer cuts, so a
prompt that ends in a newline, in blanks or in half a word asks for a continuation that it never saw. What
stands behind the last stable boundary of the prefix is *carried*: it moves from the prompt into the target,
and generation is held to begin with it (`generation.py`). The figures are in
docs/decisions/0002-fim-layout.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tokenizers import Tokenizer

from echo_dagster.settings import FimTokens

#: Each layout as the order of its parts; a middle is written behind the last. In `spm`, as Bavarian et al.
#: (arXiv 2207.14255), StarCoder and Code Llama have it, no marker stands between the prefix and the middle.
_PARTS: dict[str, tuple[str, ...]] = {
    "psm": ("prefix_id", "prefix", "suffix_id", "suffix", "middle_id"),
    "spm": ("prefix_id", "suffix_id", "suffix", "middle_id", "prefix"),
}
#: What is carried: blanks and newlines, and the word or the punctuation behind them.
_CARRIED = re.compile(r"\s*(?:\w+|[^\w\s]+)?\Z")
#: No more than this many characters are carried, should somebody's code hold one endless word.
_MOST_CARRIED = 128
#: The three markers, and the start token.
_MOST_MARKERS = 4
#: Share of the room in a model's window that a prefix is given where prefix and suffix do not both fit.
_PREFIX_SHARE = 0.75


class FimError(ValueError):
    """A model or a gap that does not go with the fill-in-the-middle format. The message says what to do."""


@dataclass(frozen=True)
class FimFormat:
    """A layout and the ids of its markers in one tokenizer."""

    layout: Literal["psm", "spm"]
    prefix_id: int
    suffix_id: int
    middle_id: int
    end_id: int
    start_id: int | None = None  # what every prompt begins with, where the model was trained so

    @property
    def blank_prompt(self) -> list[int]:
        """The prompt that tells nothing: what stands before a document in training text."""
        return [self.end_id if self.start_id is None else self.start_id]


@dataclass(frozen=True)
class Encoded:
    """A gap as token ids. `target_ids` covers the carried text and the middle, and ends in the end token."""

    prompt_ids: list[int]
    target_ids: list[int]


def fim_format(tokens: FimTokens, tokenizer: Tokenizer) -> FimFormat:
    """Return the format with the ids that `tokenizer` gives its markers.

    Raises:
        FimError: a marker is not one token of this tokenizer, or two markers are the same token.
    """
    names = ["prefix", "suffix", "middle", "end"] + ["start"] * (tokens.start is not None)
    found = {name: tokenizer.token_to_id(getattr(tokens, name)) for name in names}
    ids = {name: token_id for name, token_id in found.items() if token_id is not None}
    missing = [f"fim.{name} {getattr(tokens, name)!r}" for name in names if name not in ids]
    if missing:
        raise FimError(
            f"not one token of the model's tokenizer: {', '.join(missing)}; name the markers that the model "
            "was trained with, or let fim.repurpose give them the ids of tokens that it never uses"
        )
    if len({ids[name] for name in names[:4]}) < 4:
        raise FimError("fim.prefix, suffix, middle and end must be four different tokens")
    return FimFormat(
        tokens.layout, ids["prefix"], ids["suffix"], ids["middle"], ids["end"], start_id=ids.get("start")
    )


def split_boundary(prefix: str) -> tuple[str, str]:
    """Split a prefix into what a prompt may end with and the text carried into the target.

    >>> split_boundary("def f():\\n    ret")
    ('def f():', '\\n    ret')
    """
    tail = prefix[-_MOST_CARRIED:]
    match = _CARRIED.search(tail)
    assert match is not None  # the pattern matches the empty string
    carried = match.group()
    return prefix[: len(prefix) - len(carried)], carried


def encode_prompt(
    fmt: FimFormat, tokenizer: Tokenizer, prefix: str, suffix: str | None, *, max_tokens: int | None = None
) -> tuple[list[int], str]:
    """Return the ids of the prompt for a gap, and the carried text with which its target begins.

    An unknown suffix (null) makes a plain left-to-right prompt. A context longer than `max_tokens` loses the
    head of its prefix and the tail of its suffix, which stand farthest from the gap.
    """
    stable, carried = split_boundary(prefix)
    prefix_ids = _ids(tokenizer, stable)
    suffix_ids = _ids(tokenizer, suffix or "")
    order = ("prefix",) if suffix is None else _PARTS[fmt.layout]
    prompt = [] if fmt.start_id is None else [fmt.start_id]
    if max_tokens is not None:
        room = max_tokens - len(prompt) - sum(part.endswith("_id") for part in order)
        if room < 0:
            raise FimError(f"{max_tokens} tokens leave no room for a prompt")
        for_prefix = max(min(len(prefix_ids), int(room * _PREFIX_SHARE)), room - len(suffix_ids))
        prefix_ids = prefix_ids[max(len(prefix_ids) - for_prefix, 0) :]
        suffix_ids = suffix_ids[: room - len(prefix_ids)]
    parts = {"prefix": prefix_ids, "suffix": suffix_ids}
    for part in order:
        prompt += parts[part] if part in parts else [getattr(fmt, part)]
    return prompt or fmt.blank_prompt, carried


def encode(
    fmt: FimFormat,
    tokenizer: Tokenizer,
    prefix: str,
    suffix: str | None,
    middle: str,
    *,
    max_tokens: int | None = None,
) -> Encoded:
    """Encode a gap for training or scoring. Of prompt and target together, `max_tokens` cuts only the prompt.

    Raises:
        FimError: the target alone does not fit in `max_tokens`.
    """
    carried = split_boundary(prefix)[1]
    target_ids = [*_ids(tokenizer, carried + middle), fmt.end_id]
    room = None if max_tokens is None else max_tokens - len(target_ids)
    if room is not None and room < _MOST_MARKERS:
        raise FimError(
            f"a middle of {len(target_ids)} tokens does not fit in {max_tokens}; truncate it first"
        )
    prompt_ids, _ = encode_prompt(fmt, tokenizer, prefix, suffix, max_tokens=room)
    return Encoded(prompt_ids, target_ids)


def _ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False).ids)
