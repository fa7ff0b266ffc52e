"""A tokenizer in a GGUF file: tokens and their types, merges, special ids, and how text is split before merging.

Only byte-level BPE, as GPT-2 has it, which is what generation knows (`generation.py`). What does not live here:
prompts (`fim.py`, `modelfile.py`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
from tokenizers import Tokenizer

from echo_dagster.export.families import ExportError, refused
from echo_dagster.fim import FimFormat
from echo_dagster.models import load_tokenizer

_DIGITS = "individual digits"
_GPT2 = "the regular expression of GPT-2"  # it is built into the tokenizers library
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
#: llama.cpp's name for each way to split text (src/llama-vocab.cpp). Names that mean the same splits are left out:
#: `smollm` is also that of StarCoder and Granite, `gpt-2` that of Mellum.
_SPLITS: dict[tuple[str, ...], str] = {
    (_GPT2,): "gpt-2",
    (_DIGITS, _GPT2): "smollm",
    (_WORDS + r"\p{N}" + _REST,): "qwen2",
    (_WORDS + r"\p{N}{1,3}" + _REST,): "llama-bpe",
    (_WORDS + r"\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+",): "seed-coder",
    (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", _DIGITS): "deepseek-coder",
}
#: What markers look like; the second is DeepSeek's.
_BRACKETS = (("<|", "|>"), ("<｜", "｜>"))  # noqa: RUF001
#: Names under which llama.cpp looks a whole word up before it merges.
_WHOLE_WORDS = {"llama-bpe"}


def write_vocabulary(writer: gguf.GGUFWriter, path: Path, n_tokens: int, fmt: FimFormat) -> None:
    """Write the tokenizer of the model directory `path`, with `n_tokens` rows of embeddings.

    A text ends where a middle ends: the format's end token is `eos`, the tokenizer's own, where it is another, is
    `eot`, at which llama.cpp stops as well. Nothing is put before a prompt but what the format begins with.

    Raises:
        ExportError: the tokenizer is not a byte-level one, or splits text in a way that llama.cpp has no name for.
    """
    raw: dict[str, Any] = json.loads((path / "tokenizer.json").read_text(encoding="utf-8"))
    tokens, types = _tokens(load_tokenizer(path), n_tokens, fmt)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_split_name(raw, path))
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    special = gguf.SpecialVocab(path, load_merges=True, n_vocab=n_tokens)
    own_end = special.special_token_ids.get("eos", fmt.end_id)
    special.special_token_ids["eos"] = fmt.end_id
    if own_end != fmt.end_id:
        special.special_token_ids["eot"] = own_end
    if fmt.start_id is not None:
        special.special_token_ids["bos"] = fmt.start_id
    special.add_special_token = {"bos": fmt.start_id is not None, "eos": False}
    special.add_to_gguf(writer, quiet=True)
    writer.add_add_space_prefix(False)
    for key, token_id in (
        (gguf.Keys.Tokenizer.FIM_PRE_ID, fmt.prefix_id),
        (gguf.Keys.Tokenizer.FIM_SUF_ID, fmt.suffix_id),
        (gguf.Keys.Tokenizer.FIM_MID_ID, fmt.middle_id),
    ):
        if token_id is not None:  # some layouts have no marker for the middle
            writer.add_uint32(key, token_id)


def _tokens(tokenizer: Tokenizer, n_tokens: int, fmt: FimFormat) -> tuple[list[str], list[int]]:
    """Return text and type of each id. A marker that the tokenizer calls ordinary is a control token for all that."""
    texts = {token_id: text for text, token_id in tokenizer.get_vocab(with_added_tokens=False).items()}
    kinds = dict.fromkeys(texts, gguf.TokenType.NORMAL)
    markers = {fmt.prefix_id, fmt.suffix_id, fmt.middle_id, fmt.end_id, fmt.start_id}
    for token_id, token in tokenizer.get_added_tokens_decoder().items():
        is_control = token.special or token_id in markers or _looks_special(token.content)
        texts[token_id] = token.content
        kinds[token_id] = gguf.TokenType.CONTROL if is_control else gguf.TokenType.USER_DEFINED
    if max(texts) >= n_tokens:
        raise ExportError(f"the tokenizer has the id {max(texts)}, the model embeds {n_tokens} tokens")
    return (
        [texts.get(token_id, f"[PAD{token_id}]") for token_id in range(n_tokens)],
        [int(kinds.get(token_id, gguf.TokenType.UNUSED)) for token_id in range(n_tokens)],
    )


def _looks_special(text: str) -> bool:
    """Say whether a token is a marker by its spelling, as llama.cpp's converter does: some tokenizers do not say."""
    return any(text.startswith(left) and text.endswith(right) for left, right in _BRACKETS)


def _split_name(raw: dict[str, Any], path: Path) -> str:
    """Return llama.cpp's name for how this tokenizer splits text.

    llama.cpp's converter goes by a hash over the ids of one text, and so knows no vocabulary but those on its list.
    What a name stands for is the splits alone, and these stand in tokenizer.json.
    """
    model = raw["model"]
    if model["type"] != "BPE" or model.get("byte_fallback"):
        raise refused(path, "the tokenizer is no byte-level BPE")
    if raw.get("normalizer") not in (None, {"type": "NFC"}, {"type": "Sequence", "normalizers": []}):
        raise refused(path, "the tokenizer changes text before it splits it")
    name = _SPLITS.get(_splits(raw.get("pre_tokenizer") or {}, path))
    if name is None:
        raise refused(path, "llama.cpp's name for how the tokenizer splits text is not known here")
    if bool(model.get("ignore_merges")) != (name in _WHOLE_WORDS):
        raise refused(path, f"the tokenizer splits as {name} and merges otherwise (ignore_merges)")
    return name


def _splits(step: dict[str, Any], path: Path) -> tuple[str, ...]:
    """Return the splits of a pre-tokenizer, in their order."""
    match step:
        case {"type": "Sequence", "pretokenizers": steps}:
            return tuple(split for inner in steps for split in _splits(inner, path))
        case {"type": "ByteLevel", "add_prefix_space": False}:
            return (_GPT2,) if step.get("use_regex", True) else ()
        case {"type": "Digits", "individual_digits": True}:
            return (_DIGITS,)
        case {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}:
            return (
                pattern.replace("\r", "\\r").replace("\n", "\\n"),
            )  # some spell the characters themselves
    raise refused(path, f"the tokenizer splits text by {step.get('type', 'nothing')}")
