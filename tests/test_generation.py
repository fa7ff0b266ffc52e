from __future__ import annotations

import codecs
from dataclasses import replace
from pathlib import Path

import pytest
import torch  # noqa: TID253 - the reference these tests compare with
from family_tokenizers import of_family
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import FIM, MAX_TOKENS
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM  # noqa: TID253 - likewise

from echo_dagster.fim import FimError, encode_prompt, fim_format, split_boundary
from echo_dagster.generation import _vocabulary, complete
from echo_dagster.models import load_causal_lm, load_tokenizer

CODE = st.text(alphabet="abr_1 .()=:\n\u00e9\U0001f600", max_size=24)
CONTEXTS = [
    ("def total(prices):\n    ret", "\n"),
    ("class Order:\n", None),
    ("const total = pri", ";\nexport"),
    ("", ""),
    ("for index, line in enumerate(self.lines):\n            if line.st", ":\n                raise"),
]


@pytest.fixture(scope="module")
def tokenizer(tiny_model_dir: Path):
    return load_tokenizer(tiny_model_dir)


@pytest.fixture(scope="module")
def fmt(tokenizer):
    return fim_format(FIM, tokenizer)


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path):
    return load_causal_lm(tiny_model_dir).float()  # fp32, so that a tie in bf16 decides nothing


def test_every_token_has_its_bytes(tokenizer, fmt):
    vocabulary = _vocabulary(tokenizer, fmt.end_id)
    text = "d\u00e9f \U0001f600\n\t total(prices)"
    assert b"".join(vocabulary.by_id[i] or b"" for i in tokenizer.encode(text).ids) == text.encode()
    assert [i for i, token in enumerate(vocabulary.by_id) if token is None] == [0, 1, 2, 3]


@given(CODE.filter(bool))
def test_tokens_that_keep_to_a_text_are_all_of_them_and_no_other(tokenizer, fmt, text):
    vocabulary = _vocabulary(tokenizer, fmt.end_id)
    owed = text.encode()
    slow = {
        i
        for i, token in enumerate(vocabulary.by_id)
        if token and (token.startswith(owed) or owed.startswith(token))
    }
    found = list(vocabulary.keeping_to(owed))
    assert set(found) == slow
    assert len(found) == len(slow) > 0


@given(prefix=CODE)
@settings(max_examples=25)
def test_what_is_written_begins_with_the_carried_text(model, tokenizer, fmt, prefix):
    """Decoding by hand, token by token, gives the carried text and then the very same completion."""
    [written] = complete(model, tokenizer, fmt, [(prefix, "x")], max_new_tokens=4, batch_size=1)
    carried = split_boundary(prefix)[1].encode()
    by_hand = decoded_by_hand(model, tokenizer, fmt, prefix, suffix="x", n_free=4)
    assert by_hand.startswith(carried)
    # half a character at the very end is no text, and is left out
    whole = codecs.getincrementaldecoder("utf-8")("replace").decode(by_hand[len(carried) :])
    assert written == whole


def decoded_by_hand(model, tokenizer, fmt, prefix, *, suffix, n_free):
    vocabulary = _vocabulary(tokenizer, fmt.end_id)
    ids, carried = encode_prompt(fmt, tokenizer, prefix, suffix)
    owed, text = carried.encode(), b""
    while n_free:
        with torch.inference_mode():
            logits = model(torch.tensor([ids])).logits[0, -1]
        for chosen in logits.argsort(descending=True).tolist():
            token = vocabulary.by_id[chosen]
            rest = owed[len(text) :]
            if not rest or (token is not None and (rest.startswith(token) or token.startswith(rest))):
                if rest and vocabulary.by_bytes[token] != chosen:
                    continue  # SentencePiece has some bytes twice
                break
        if token is None:
            break
        n_free -= not rest
        text += token
        ids = [*ids, chosen]
    assert text.startswith(owed)
    return text


def test_a_batch_writes_what_its_rows_write_alone(model, tokenizer, fmt):
    alone = [
        complete(model, tokenizer, fmt, [context], max_new_tokens=12, batch_size=1)[0] for context in CONTEXTS
    ]
    for batch_size in (2, 5):
        assert complete(model, tokenizer, fmt, CONTEXTS, max_new_tokens=12, batch_size=batch_size) == alone
    assert any(alone)


def test_rows_that_end_early_leave_the_others_as_they_were(model, tokenizer, fmt):
    free = complete(model, tokenizer, fmt, CONTEXTS, max_new_tokens=12, batch_size=5)
    lengths = sorted(len(text) for text in free)
    short = complete(
        model,
        tokenizer,
        fmt,
        CONTEXTS,
        max_new_tokens=12,
        batch_size=5,
        stop=lambda text: len(text) >= lengths[2],
    )
    assert any(len(a) < len(b) for a, b in zip(short, free, strict=True))
    assert all(b.startswith(a) for a, b in zip(short, free, strict=True))
    assert all(len(a) >= min(lengths[2], len(b)) for a, b in zip(short, free, strict=True))


def test_the_end_token_ends_a_completion(model, tokenizer, fmt):
    prompt, _ = encode_prompt(fmt, tokenizer, "", "x")
    with torch.inference_mode():
        likeliest = int(model(torch.tensor([prompt])).logits[0, -1].argmax())
    [free] = complete(model, tokenizer, fmt, [("", "x")], max_new_tokens=8, batch_size=1)
    assert free.startswith(tokenizer.decode([likeliest]))
    # Call that very token the end token, and nothing is written.
    ended = replace(fmt, end_id=likeliest)
    assert complete(model, tokenizer, ended, [("", "x")], max_new_tokens=8, batch_size=1) == [""]


def test_progress_counts_every_gap(model, tokenizer, fmt):
    told: list[tuple[int, int]] = []
    complete(
        model,
        tokenizer,
        fmt,
        CONTEXTS,
        max_new_tokens=1,
        batch_size=2,
        progress=lambda *seen: told.append(seen),
    )
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_nothing_to_complete_is_nothing(model, tokenizer, fmt):
    assert complete(model, tokenizer, fmt, [], max_new_tokens=4, batch_size=2) == []


def test_a_context_longer_than_the_window_is_cut(model, tokenizer, fmt):
    context = ("line = order\n" * MAX_TOKENS, "\nprices" * MAX_TOKENS)
    assert len(complete(model, tokenizer, fmt, [context], max_new_tokens=4, batch_size=1)) == 1


def test_a_tokenizer_without_bytes_is_refused():
    tokenizer = Tokenizer(models.BPE(vocab={"\u2581a": 0, "b": 1}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    with pytest.raises(FimError, match="byte-level"):
        _vocabulary(tokenizer, 1)


def test_a_sentencepiece_vocabulary_is_read_as_bytes(tmp_path):
    tokenizer = of_family("codegemma", tmp_path)
    newlines = [AddedToken("\n\n", normalized=False), AddedToken("\u2581\u2581\u2581", normalized=False)]
    tokenizer.add_tokens(newlines)  # as Gemma has them: added, and text nevertheless
    vocabulary = _vocabulary(tokenizer, fim_format(None, tokenizer).end_id)
    of = {text: vocabulary.by_id[token_id] for text, token_id in tokenizer.get_vocab().items()}
    assert of["\u2581total"] == b" total"
    assert of["<0x0A>"] == b"\n"
    assert of["\n\n"] == b"\n\n"
    assert of["\u2581\u2581\u2581"] == b"   "
    assert of["<bos>"] is of["<|fim_prefix|>"] is of["<|file_separator|>"] is of["</s>"] is None
    assert vocabulary.by_bytes[b"A"] == tokenizer.token_to_id("A") != tokenizer.token_to_id("<0x41>")


@pytest.mark.parametrize("family", ["codellama", "codestral", "codegemma"])
def test_what_is_carried_begins_a_completion_of_a_sentencepiece_model_too(family, tmp_path):
    tokenizer = of_family(family, tmp_path)
    fmt = fim_format(None, tokenizer)
    torch.manual_seed(3)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    n_tokens = max(tokenizer.get_vocab().values()) + 1
    model = LlamaForCausalLM(LlamaConfig(vocab_size=n_tokens, max_position_embeddings=256, **sizes)).eval()
    for prefix, suffix in (("class Order:\n    de", "\n"), ("caf\u00e9 \u03c0", None), ("", "x")):
        [written] = complete(model, tokenizer, fmt, [(prefix, suffix)], max_new_tokens=6, batch_size=1)
        carried = split_boundary(prefix)[1].encode()
        by_hand = decoded_by_hand(model, tokenizer, fmt, prefix, suffix=suffix, n_free=6)
        whole = codecs.getincrementaldecoder("utf-8")("replace").decode(by_hand[len(carried) :])
        assert written == whole
