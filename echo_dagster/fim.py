"""Fill-in-the-middle: how a gap becomes token ids, for training, scoring and generation alike.

What does not live here: the formats of known families (`fim_formats.py`), weights and where they come from
(`models.py`), decoding (`generation.py`).

The prompt never ends inside a token. A language model has only seen text cut where its tokenizer cuts, so a
prompt that ends in a newline, in blanks or in half a word asks for a continuation that it never saw. What
stands behind the last stable boundary of the prefix is *carried*: it moves from the prompt into the target,
and generation is held to begin with it (`generation.py`). The figures are in
docs/decisions/0002-fim-layout.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tokenizers import AddedToken, Tokenizer

from echo_dagster.fim_formats import CONTROL_TOKENS, FAMILIES
from echo_dagster.settings import FimTokens

#: Each layout as the order of its parts; a middle is written behind the last. In `spm`, as Bavarian et al.
#: (arXiv 2207.14255), StarCoder and Code Llama have it, no marker stands between the prefix and the middle.
_PARTS: dict[str, tuple[str, ...]] = {
    "psm": ("prefix_id", "prefix", "suffix_id", "suffix", "middle_id"),
    "spm": ("prefix_id", "suffix_id", "suffix", "middle_id", "prefix"),
    "spm_marked": ("suffix_id", "suffix", "prefix_id", "prefix", "middle_id"),
    "spm_bare": ("suffix_id", "suffix", "prefix_id", "prefix"),
}
#: What is carried: blanks and newlines, and the word or the punctuation behind them.
_CARRIED = re.compile(r"\s*(?:\w+|[^\w\s]+)?\Z")
#: No more than this many characters are carried, should somebody's code hold one endless word.
_MOST_CARRIED = 128
#: The three markers at most, and the start token.
_MOST_MARKERS = 4
#: Put before a text that stands inside a line, and taken off again, so that SentencePiece's blank goes with it. Code
#: Llama and Codestral were trained on ids made so: this very character begins no longer piece of their vocabularies.
_GUARD = "\u263a"
#: Share of the room in a model's window that a prefix is given where prefix and suffix do not both fit.
_PREFIX_SHARE = 0.75


class FimError(ValueError):
    """A model or a gap that does not go with the fill-in-the-middle format. The message says what to do."""


@dataclass(frozen=True)
class FimFormat:
    """A layout and the ids of its markers in one tokenizer."""

    layout: str
    prefix_id: int
    suffix_id: int
    middle_id: int | None  # None in a layout that has no marker for it
    end_id: int
    start_id: int | None = None  # what every prompt begins with, where the model was trained so
    n_guard: int = 0  # tokens of `_GUARD` where the tokenizer sets a blank before a text; else 0

    @property
    def blank_prompt(self) -> list[int]:
        """The prompt that tells nothing: what stands before a document in training text."""
        return [self.end_id if self.start_id is None else self.start_id]


@dataclass(frozen=True)
class Encoded:
    """A gap as token ids. `target_ids` covers the carried text and the middle, and ends in the end token."""

    prompt_ids: list[int]
    target_ids: list[int]


def find(tokenizer: Tokenizer) -> FimTokens:
    """Return the format of the one family whose tokens, and none of whose rivals' tokens, `tokenizer` has.

    Of families with the same markers, the one that accounts for more of the vocabulary is taken. Families that differ
    in nothing that matters here (StarCoder and Granite Code) count as one.

    Raises:
        FimError: no known family, or several that differ. The message says which, and what each of them wants.
    """
    vocabulary = tokenizer.get_vocab()
    alike = {name: family for name, family in FAMILIES.items() if set(family.markers) <= vocabulary.keys()}
    if not alike:
        raise FimError(
            f"the model's tokenizer has the markers of none of the families known here ({', '.join(FAMILIES)}); "
            "name the markers that the model was trained with under fim; if it was trained with none, "
            "let fim.repurpose give them the ids of tokens that it never uses (docs/models.md)"
        )
    doubts = {
        name: [f"lacks {text}" for text in family.tokens if text not in vocabulary]
        + [f"has {text}" for text in family.lacks if text in vocabulary]
        for name, family in alike.items()
    }
    fitting = [name for name, found in doubts.items() if not found]
    best = [
        name
        for name in fitting
        if not any(set(alike[name].tokens) < set(alike[other].tokens) for other in fitting)
    ]
    formats = [FimTokens.model_validate(alike[name].settings()) for name in best]
    if formats and all(found == formats[0] for found in formats):
        return formats[0]
    choices = best or list(alike)
    told = "; ".join(f"{name}: it {', '.join(doubts[name])}" for name in choices if doubts[name])
    raise FimError(
        f"the model's tokenizer has the markers of {', '.join(choices)}, and does not tell which order and end "
        f"token the model was trained with{f' ({told})' if told else ''}; set fim to one of these names, or "
        "spell the format out (docs/models.md)"
    )


def fim_format(tokens: FimTokens | None, tokenizer: Tokenizer) -> FimFormat:
    """Return the format with the ids that `tokenizer` gives its markers; without `tokens`, that which `find` finds.

    From here on `tokenizer` encodes text that spells a marker as the characters it is.

    Raises:
        FimError: with every marker that is not one token of this tokenizer, is ordinary text to it, or is the
            same token as another; or nothing was found.
    """
    tokens = tokens or find(tokenizer)
    named = {name: getattr(tokens, name) for name in ("prefix", "suffix", "middle", "end", "start")}
    markers = {name: text for name, text in named.items() if text is not None}
    found = {name: tokenizer.token_to_id(text) for name, text in markers.items()}
    ids = {name: token_id for name, token_id in found.items() if token_id is not None}
    _take_as_text(tokenizer, list(ids.values()))
    missing = [f"fim.{name} {text!r}" for name, text in markers.items() if name not in ids]
    ordinary = [
        f"fim.{name} {markers[name]!r}"
        for name, token_id in ids.items()
        if token_id in tokenizer.encode(markers[name], add_special_tokens=False).ids
    ]
    others = {token_id for name, token_id in ids.items() if name != "start"}
    mistakes = []
    if missing:
        mistakes.append(
            f"not one token of the model's tokenizer: {', '.join(missing)}; name the markers that the model "
            "was trained with, or let fim.repurpose give them the ids of tokens that it never uses"
        )
    if ordinary:
        mistakes.append(f"ordinary text to the model's tokenizer, no marker: {', '.join(ordinary)}")
    if len(others) < len(ids.keys() - {"start"}):
        mistakes.append("fim.prefix, suffix, middle and end must be different tokens")
    if mistakes:
        raise FimError("; ".join(mistakes))
    return FimFormat(
        tokens.layout,
        ids["prefix"],
        ids["suffix"],
        ids.get("middle"),
        ids["end"],
        start_id=ids.get("start"),
        n_guard=_guard_tokens(tokenizer),
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
    prefix_ids = list(tokenizer.encode(stable, add_special_tokens=False).ids)
    suffix_ids = _inner_ids(fmt, tokenizer, suffix or "")
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
    target_ids = [*_inner_ids(fmt, tokenizer, carried + middle), fmt.end_id]
    room = None if max_tokens is None else max_tokens - len(target_ids)
    if room is not None and room < _MOST_MARKERS:
        raise FimError(
            f"a middle of {len(target_ids)} tokens does not fit in {max_tokens}; truncate it first"
        )
    prompt_ids, _ = encode_prompt(fmt, tokenizer, prefix, suffix, max_tokens=room)
    return Encoded(prompt_ids, target_ids)


def _inner_ids(fmt: FimFormat, tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the ids of a text that has something before it: without the blank that SentencePiece sets at a beginning.

    As `encode_infilling` in facebookresearch/codellama and mistralai/mistral-common does it.
    """
    guarded = _GUARD + text if fmt.n_guard else text
    return list(tokenizer.encode(guarded, add_special_tokens=False).ids[fmt.n_guard :])


def _guard_tokens(tokenizer: Tokenizer) -> int:
    """Return how many tokens `_GUARD` is where `tokenizer` sets a blank before it, else 0."""
    guard = tokenizer.encode(_GUARD, add_special_tokens=False)
    return len(guard.ids) if guard.tokens and guard.tokens[0].startswith("\u2581") else 0


def _take_as_text(tokenizer: Tokenizer, ids: list[int]) -> None:
    """Make a tokenizer encode text that spells a marker, or another control token, as characters.

    `encode_special_tokens` does so for special tokens alone, and not every family declares its own so.
    """
    tokenizer.encode_special_tokens = True
    added = tokenizer.get_added_tokens_decoder()
    plain = [
        token
        for token_id, token in added.items()
        if not token.special and (token_id in ids or token.content in CONTROL_TOKENS)
    ]
    tokenizer.add_special_tokens(
        [
            AddedToken(
                token.content,
                single_word=token.single_word,
                lstrip=token.lstrip,
                rstrip=token.rstrip,
                normalized=token.normalized,
                special=True,
            )
            for token in plain
        ]
    )
