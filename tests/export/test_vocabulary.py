from __future__ import annotations

import json
import shutil
from pathlib import Path

import gguf
import pytest
from tiny import END, FIM, MIDDLE, PREFIX, SUFFIX

from echo_dagster import models
from echo_dagster.export.families import ExportError
from echo_dagster.export.vocabulary import _REST, _WORDS, write_vocabulary
from echo_dagster.fim import fim_format

BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
GPT2 = {**BYTES, "use_regex": True}
DIGITS = {"type": "Digits", "individual_digits": True}


def split(pattern: str) -> dict:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def steps(*inner: dict) -> dict:
    return {"type": "Sequence", "pretokenizers": list(inner)}


def alone(pattern: str) -> dict:
    return steps(split(pattern), {**BYTES, "use_regex": False})


@pytest.fixture
def own_copy(tiny_model_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model_dir, tmp_path / "copy"))


def changed(path: Path, change) -> None:
    file = path / "tokenizer.json"
    raw = json.loads(file.read_text())
    change(raw)
    file.write_text(json.dumps(raw))


def written(path: Path, fim=FIM, n_more: int = 0) -> dict:
    """Return the keys that a tokenizer becomes."""
    tokenizer = models.load_tokenizer(path)
    out = path / "vocabulary.gguf"
    writer = gguf.GGUFWriter(out, "llama")
    n_tokens = tokenizer.get_vocab_size() + n_more
    write_vocabulary(writer, path, n_tokens, fim_format(fim, tokenizer))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    fields = gguf.GGUFReader(out).fields
    prefix = "tokenizer.ggml."
    return {key.removeprefix(prefix): fields[key].contents() for key in fields if key.startswith(prefix)}


def test_tokens_types_and_merges(own_copy):
    tokenizer = models.load_tokenizer(own_copy)
    keys = written(own_copy, n_more=2)
    n_tokens = tokenizer.get_vocab_size()
    assert keys["model"] == "gpt2"
    assert keys["tokens"] == [tokenizer.id_to_token(n) for n in range(n_tokens)] + [
        f"[PAD{n_tokens}]",
        f"[PAD{n_tokens + 1}]",
    ]
    control, normal, unused = (
        gguf.TokenType.CONTROL,
        gguf.TokenType.NORMAL,
        gguf.TokenType.UNUSED,
    )
    assert keys["token_type"] == [control] * 4 + [normal] * (n_tokens - 4) + [unused] * 2
    raw = json.loads((own_copy / "tokenizer.json").read_text())
    assert keys["merges"] == [" ".join(pair) for pair in raw["model"]["merges"]]


def test_ids_of_markers_and_ends(own_copy):
    tokenizer = models.load_tokenizer(own_copy)
    keys = written(own_copy)
    names = {"eos": END, "padding": END, "fim_pre": PREFIX, "fim_suf": SUFFIX, "fim_mid": MIDDLE}
    assert {name: keys[f"{name}_token_id"] for name in names} == {
        name: tokenizer.token_to_id(text) for name, text in names.items()
    }
    assert "eot_token_id" not in keys
    assert (keys["add_bos_token"], keys["add_eos_token"], keys["add_space_prefix"]) == (False, False, False)


def test_a_tokenizer_that_ends_otherwise_keeps_its_own_end_as_eot(own_copy):
    other = FIM.model_copy(update={"end": MIDDLE, "middle": END})
    tokenizer = models.load_tokenizer(own_copy)
    keys = written(own_copy, other)
    assert keys["eos_token_id"] == tokenizer.token_to_id(MIDDLE)
    assert keys["eot_token_id"] == tokenizer.token_to_id(END)


def test_what_every_prompt_begins_with_is_bos(own_copy):
    changed(
        own_copy,
        lambda raw: raw["added_tokens"].append({**raw["added_tokens"][0], "id": 416, "content": "<s>"}),
    )
    keys = written(own_copy, FIM.model_copy(update={"start": "<s>"}))
    assert (keys["bos_token_id"], keys["add_bos_token"]) == (416, True)


def test_markers_are_control_tokens_though_the_tokenizer_does_not_say_so(own_copy):
    def ordinary(raw: dict) -> None:
        for token in raw["added_tokens"]:
            token["special"] = False
        raw["added_tokens"] += [
            {**raw["added_tokens"][0], "id": 416, "content": "<|tool|>"},
            {**raw["added_tokens"][0], "id": 417, "content": "tool"},
        ]

    changed(own_copy, ordinary)
    types = written(own_copy)["token_type"]
    control, users = gguf.TokenType.CONTROL, gguf.TokenType.USER_DEFINED
    assert types[:4] == [control] * 4 and types[416:] == [control, users]


@pytest.mark.parametrize(
    ("pre_tokenizer", "name"),
    [
        (GPT2, "gpt-2"),
        (steps(DIGITS, GPT2), "smollm"),
        (alone(_WORDS + r"\p{N}" + _REST), "qwen2"),
        (
            alone(_WORDS + "\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\r\n]+|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"),
            "seed-coder",
        ),
        (
            steps(
                split("[\r\n]"),
                split(r"\s?\p{L}+"),
                split(r"\s?\p{P}+"),
                split("[一-龥ࠀ-一가-퟿]+"),
                DIGITS,
                {**BYTES, "use_regex": False},
            ),
            "deepseek-coder",
        ),
    ],
)
def test_how_text_is_split_has_llama_cpps_name(own_copy, pre_tokenizer, name):
    changed(own_copy, lambda raw: raw.update(pre_tokenizer=pre_tokenizer))
    assert written(own_copy)["pre"] == name


def test_llama3_looks_whole_words_up_before_it_merges(own_copy):
    changed(own_copy, lambda raw: raw.update(pre_tokenizer=alone(_WORDS + r"\p{N}{1,3}" + _REST)))
    with pytest.raises(ExportError, match="splits as llama-bpe and merges otherwise"):
        written(own_copy)
    changed(own_copy, lambda raw: raw["model"].update(ignore_merges=True))
    assert written(own_copy)["pre"] == "llama-bpe"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda raw: raw["model"].update(byte_fallback=True), "no byte-level BPE"),
        (lambda raw: raw.update(normalizer={"type": "Lowercase"}), "changes text before it splits it"),
        (lambda raw: raw.update(pre_tokenizer=alone(r"\w+")), "name for how the tokenizer splits text"),
        (lambda raw: raw.update(pre_tokenizer={"type": "Whitespace"}), "splits text by Whitespace"),
        (lambda raw: raw.update(pre_tokenizer=None), "splits text by nothing"),
        (
            lambda raw: raw.update(pre_tokenizer={**GPT2, "add_prefix_space": True}),
            "splits text by ByteLevel",
        ),
    ],
)
def test_what_llama_cpp_would_split_otherwise_is_refused_with_its_converter(own_copy, change, reason):
    changed(own_copy, change)
    with pytest.raises(ExportError, match=f"{reason}.*convert_hf_to_gguf.py"):
        written(own_copy)


def test_more_tokens_than_embeddings_are_refused(own_copy):
    with pytest.raises(ExportError, match="the tokenizer has the id 415, the model embeds 414 tokens"):
        written(own_copy, n_more=-2)
