"""Greedy completion of gaps, in batches.

What does not live here: the prompt's form (`fim.py`), the model (`models.py`), judging a completion
(`evaluation/`).

A gap's carried text (see `fim.py`) is the beginning of every right answer. Until it is written, only tokens
that keep to it are allowed; then decoding is free. So the model chooses the tokens that cross the cursor as
its training text had them ("token healing"), and the carried text is taken off the result.
"""

from __future__ import annotations

import codecs
import re
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tokenizers import Tokenizer

from echo_dagster.fim import FimError, FimFormat, encode_prompt, split_boundary
from echo_dagster.fim_formats import CONTROL_TOKENS

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

#: How SentencePiece spells a token that is a single byte.
_BYTE_TOKEN = re.compile(r"<0x[0-9A-Fa-f]{2}>")


@dataclass(frozen=True)
class _Vocabulary:
    """The bytes of each token, for asking which tokens keep to a text."""

    by_id: list[bytes | None]  # None: a special token, which is no text
    by_bytes: dict[bytes, int]
    ordered: list[bytes] = field(repr=False)

    def keeping_to(self, text: bytes) -> Iterator[int]:
        """Yield the tokens that are a beginning of `text`, and those that begin with all of it."""
        for end in range(1, len(text)):
            if (token_id := self.by_bytes.get(text[:end])) is not None:
                yield token_id
        place = bisect_left(self.ordered, text)
        while place < len(self.ordered) and self.ordered[place].startswith(text):
            yield self.by_bytes[self.ordered[place]]
            place += 1


@dataclass(frozen=True)
class Completion:
    """What a model wrote in one gap, and what it cost.

    `n_tokens` counts what was written, the carried text included and the end token not; `latency_s` is this
    completion's even share of the seconds that its batch took.
    """

    text: str
    n_tokens: int
    latency_s: float


@dataclass
class _Row:
    """A completion under way."""

    index: int
    carried: bytes
    written: bytearray = field(default_factory=bytearray)
    n_free: int = 0  # tokens written behind the carried text
    n_tokens: int = 0  # all that were written
    latency_s: float = 0.0

    @property
    def owed(self) -> bytes:
        """What of the carried text is still to be written."""
        return self.carried[len(self.written) :]

    def text(self) -> str:
        """Return what is written behind the carried text; a character cut in half at the end is left out."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        return decoder.decode(bytes(self.written[len(self.carried) :]))


def complete(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    fmt: FimFormat,
    contexts: Sequence[tuple[str, str | None]],
    *,
    max_new_tokens: int,
    batch_size: int,
    stop: Callable[[str], bool] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Write the middle of each (prefix, suffix), greedily, and return the texts of `completions`."""
    written = completions(
        model,
        tokenizer,
        fmt,
        contexts,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        stop=stop,
        progress=progress,
    )
    return [one.text for one in written]


def completions(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    fmt: FimFormat,
    contexts: Sequence[tuple[str, str | None]],
    *,
    max_new_tokens: int,
    batch_size: int,
    stop: Callable[[str], bool] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Completion]:
    """Write the middle of each (prefix, suffix), greedily, and return them in the order given.

    A completion ends at the end token or any other token that is no text, when `stop` is true of its text so
    far (which is kept), or after `max_new_tokens` behind the carried text. Batches hold prompts of like
    length. The same call gives the same result; another `batch_size` can change a completion where two tokens
    nearly tie in bf16.

    Raises:
        FimError: the tokenizer is neither a byte-level one nor SentencePiece with byte fallback.
    """
    import torch

    vocabulary = _vocabulary(tokenizer, fmt.end_id)
    window = model.config.max_position_embeddings
    prompts, rows = [], []
    for index, (prefix, suffix) in enumerate(contexts):
        carried = split_boundary(prefix)[1].encode()
        room = window - max_new_tokens - len(carried)  # at worst, each byte is a token
        prompts.append(encode_prompt(fmt, tokenizer, prefix, suffix, max_tokens=room)[0])
        rows.append(_Row(index, carried))
    order = sorted(rows, key=lambda row: len(prompts[row.index]), reverse=True)
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        began = time.perf_counter()
        with torch.inference_mode():
            _decode(model, vocabulary, [(prompts[row.index], row) for row in batch], max_new_tokens, stop)
        share = (time.perf_counter() - began) / len(batch)
        for row in batch:
            row.latency_s = share
        if progress is not None:
            progress(start + len(batch), len(order))
    return [Completion(row.text(), row.n_tokens, row.latency_s) for row in rows]


def _decode(
    model: PreTrainedModel,
    vocabulary: _Vocabulary,
    batch: list[tuple[list[int], _Row]],
    max_new_tokens: int,
    stop: Callable[[str], bool] | None,
) -> None:
    """Write one batch of rows. Prompts are padded on the left, so that all rows write at the same place."""
    import torch

    rows = [row for _, row in batch]
    longest = max(len(prompt) for prompt, _ in batch)
    padded = [[0] * (longest - len(prompt)) + prompt for prompt, _ in batch]
    present = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt, _ in batch]
    ids = torch.tensor(padded, device=model.device)
    mask = torch.tensor(present, device=model.device)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    past = None
    while True:
        output = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=past,
            use_cache=True,
            logits_to_keep=1,
        )
        past = output.past_key_values
        chosen = _choose(vocabulary, output.logits[:, -1], rows)
        going_on = [
            place
            for place, (row, token_id) in enumerate(zip(rows, chosen, strict=True))
            if _write(row, vocabulary.by_id[token_id], max_new_tokens, stop)
        ]
        if not going_on:
            return
        if len(going_on) < len(rows):  # finished rows cost as much as others
            rows = [rows[place] for place in going_on]
            kept = torch.tensor(going_on, device=model.device)
            past.batch_select_indices(kept)
            mask, positions = mask[kept], positions[kept]
        ids = torch.tensor([[chosen[place]] for place in going_on], device=model.device)
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        positions = positions[:, -1:] + 1


def _choose(vocabulary: _Vocabulary, logits: torch.Tensor, rows: list[_Row]) -> list[int]:
    """Return each row's likeliest token that keeps to its carried text. `logits`: rows x vocabulary."""
    chosen: list[int] = logits.argmax(dim=-1).tolist()
    for place, row in enumerate(rows):
        if row.owed:
            allowed = list(vocabulary.keeping_to(row.owed))
            chosen[place] = allowed[int(logits[place, allowed].argmax())]
    return chosen


def _write(row: _Row, token: bytes | None, max_new_tokens: int, stop: Callable[[str], bool] | None) -> bool:
    """Append a token to a row and say whether the row goes on."""
    if token is None:
        return False
    row.n_tokens += 1
    row.n_free += not row.owed
    row.written += token
    return bool(row.owed) or not (row.n_free >= max_new_tokens or (stop is not None and stop(row.text())))


def _vocabulary(tokenizer: Tokenizer, end_id: int) -> _Vocabulary:
    """Return the bytes of every token."""
    vocabulary = tokenizer.get_vocab()
    by_id: list[bytes | None] = [None] * (max(vocabulary.values()) + 1)
    is_sentencepiece = getattr(tokenizer.model, "byte_fallback", False)
    added = tokenizer.get_added_tokens_decoder()
    # Gemma adds runs of newlines and blanks, which are text; byte-level tokenizers add nothing that is
    no_text = {
        token_id
        for token_id, token in added.items()
        if not is_sentencepiece or token.special or token.content in CONTROL_TOKENS
    }
    spelled = _sentencepiece_bytes if is_sentencepiece else _byte_level_bytes()
    for text, token_id in vocabulary.items():
        if token_id not in no_text and token_id != end_id:
            by_id[token_id] = spelled(text)
    by_bytes = {token: token_id for token_id, token in enumerate(by_id) if token}
    if is_sentencepiece:  # where a character and its byte are two tokens, text is written with the character
        characters = (token_id for text, token_id in vocabulary.items() if not _BYTE_TOKEN.fullmatch(text))
        by_bytes |= {token: token_id for token_id in characters if (token := by_id[token_id])}
    return _Vocabulary(by_id, by_bytes, sorted(by_bytes))


def _sentencepiece_bytes(text: str) -> bytes:
    """Return what SentencePiece's spelling of a token stands for: `\u2581` is a blank, <0x0A> a byte."""
    if _BYTE_TOKEN.fullmatch(text):
        return bytes([int(text[3:5], 16)])
    return text.replace("\u2581", " ").encode()


def _byte_level_bytes() -> Callable[[str], bytes]:
    """Return how a byte-level vocabulary is read, which spells each byte as one printable character.

    The rule is that of GPT-2's encoder.py.
    """
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = [byte for byte in range(256) if byte not in printable]
    byte_of = {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}

    def spelled(text: str) -> bytes:
        if any(character not in byte_of for character in text):
            raise FimError(
                "the model's tokenizer is neither byte-level, as GPT-2's is, nor SentencePiece with byte fallback, "
                "as Llama's is; generation knows no other"
            )
        return bytes(byte_of[character] for character in text)

    return spelled
