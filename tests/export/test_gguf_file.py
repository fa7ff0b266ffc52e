"""GGUF files of tiny models, read back by the gguf library and by transformers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import gguf
import numpy as np
import pytest
from tiny import END, FIM, MAX_TOKENS

from echo_dagster import models
from echo_dagster.export import gguf_file
from echo_dagster.export.families import ExportError, reordered
from echo_dagster.models import ResolvedModel

RECORD = {
    "started_from": {"name": "small", "digest": "0123456789abcdef"},
    "fim": FIM.model_dump(mode="json"),
    "max_tokens": 256,
}


def resolved(path: Path) -> ResolvedModel:
    return ResolvedModel(path.name, path, models.digest(path))


@pytest.fixture
def own_copy(tiny_model_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model_dir, tmp_path / "copy"))


@pytest.fixture(scope="module")
def exported(tiny_model_dir, tmp_path_factory) -> dict[str, gguf.GGUFReader]:
    folder = tmp_path_factory.mktemp("gguf")
    for dtype in ("f16", "f32", "bf16", "q8_0"):
        gguf_file.write(resolved(tiny_model_dir), folder / f"{dtype}.gguf", FIM, dtype)
    return {file.stem: gguf.GGUFReader(file) for file in folder.glob("*.gguf")}


def value(read: gguf.GGUFReader, key: str):
    return read.fields[key].contents()


def originals(path: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(path / "model.safetensors")


#: Every weight of a block: llama.cpp's name and transformers'.
BLOCK = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    **{
        f"blk.{n}.{short}.weight": f"model.layers.{n}.{long}.weight"
        for n in range(2)
        for short, long in BLOCK.items()
    },
}
HEADS = {"attn_q": 4, "attn_k": 2}


def restored(name: str, rows: np.ndarray) -> np.ndarray:
    """Undo the order of rows: of a head, row (i, half) goes back to (half, i)."""
    n_heads = HEADS.get(name.split(".")[-2])
    if n_heads is None:
        return rows
    width = len(rows) // n_heads
    return np.concatenate(
        [rows[head * width : (head + 1) * width][half::2] for head in range(n_heads) for half in range(2)]
    )


def test_every_weight_is_there_bit_for_bit(exported, tiny_model_dir):
    before = originals(tiny_model_dir)
    assert {tensor.name for tensor in exported["f32"].tensors} == NAMES.keys()
    assert sorted(NAMES.values()) == sorted(before)
    for tensor in exported["f32"].tensors:
        assert tensor.data.dtype == np.float32
        assert restored(tensor.name, tensor.data).tobytes() == before[NAMES[tensor.name]].tobytes()


@pytest.mark.parametrize(
    ("dtype", "kind", "most"), [("f16", "F16", 2**-11), ("bf16", "BF16", 2**-8), ("q8_0", "Q8_0", 2**-6)]
)
def test_matrices_are_rounded_and_vectors_are_not(exported, tiny_model_dir, dtype, kind, most):
    before = originals(tiny_model_dir)
    for tensor in exported[dtype].tensors:
        expected = before[NAMES[tensor.name]]
        found = restored(tensor.name, gguf.dequantize(tensor.data, tensor.tensor_type))
        if expected.ndim == 1:
            assert tensor.tensor_type == gguf.GGMLQuantizationType.F32
            assert found.tobytes() == expected.tobytes()
        else:
            assert tensor.tensor_type.name == kind
            assert 0 < np.abs(found - expected).max() <= most * np.abs(expected).max()
    assert value(exported[dtype], "general.file_type") == {"f16": 1, "bf16": 32, "q8_0": 7}[dtype]


def test_transformers_reads_the_same_network_from_it(exported, tiny_model_dir):
    import torch
    from transformers import AutoModelForCausalLM

    folder = Path(exported["f32"].data.filename).parent
    ids = torch.arange(3, 60)[None]
    ours = AutoModelForCausalLM.from_pretrained(tiny_model_dir).eval()
    theirs = AutoModelForCausalLM.from_pretrained(folder, gguf_file="f32.gguf", dtype=torch.float32).eval()
    with torch.inference_mode():
        assert torch.equal(ours(ids).logits, theirs(ids).logits)


def test_hyperparameters(exported):
    read = exported["f16"]
    keys = {
        "block_count": 2,
        "context_length": MAX_TOKENS,
        "embedding_length": 64,
        "feed_forward_length": 128,
        "attention.head_count": 4,
        "attention.head_count_kv": 2,
        "rope.dimension_count": 16,
        "rope.freq_base": 10000.0,
    }
    assert value(read, "general.architecture") == "llama"
    assert {key: value(read, f"llama.{key}") for key in keys} == keys
    assert value(read, "llama.attention.layer_norm_rms_epsilon") == pytest.approx(1e-6)
    assert "llama.rope.scaling.type" not in read.fields


def test_where_it_comes_from_stands_in_the_file(exported, own_copy, tmp_path):
    read = exported["f16"]
    assert value(read, "echo_dagster.model_digest") == value(read, "general.version")
    assert "echo_dagster.provenance" not in read.fields
    (own_copy / "provenance.json").write_text(json.dumps(RECORD))
    done = gguf_file.write(resolved(own_copy), tmp_path / "out" / "tuned.gguf", FIM)
    tuned = gguf.GGUFReader(done.path)
    assert value(tuned, "echo_dagster.model_digest") == done.digest == models.digest(own_copy)
    assert value(tuned, "general.name") == done.name == f"small echo {done.digest}"
    assert value(tuned, "general.base_model.0.version") == "0123456789abcdef"
    assert json.loads(value(tuned, "echo_dagster.provenance")) == RECORD
    assert (done.n_tensors, done.n_bytes) == (20, done.path.stat().st_size)


def test_the_same_model_gives_the_same_bytes(own_copy, tmp_path):
    for name in ("one", "two"):
        gguf_file.write(resolved(own_copy), tmp_path / name, FIM)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def weights_changed(path: Path, change) -> None:
    from safetensors.numpy import save_file

    weights = originals(path)
    change(weights)
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})


def configured(path: Path, **settings) -> None:
    file = path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))


NORM = "model.norm.weight"
DOWN = "model.layers.0.mlp.down_proj.weight"


def poisoned(name: str, number: float):
    return lambda weights: weights[name].__setitem__(0, number)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop(NORM), r"1 missing \(model\.norm\.weight\), 0 unknown"),
        (lambda weights: weights.update(extra=np.zeros(3, np.float32)), r"0 missing \(\), 1 unknown \(extra"),
        (
            lambda weights: weights.update({NORM: np.zeros(3, np.float32)}),
            r"norm\.weight has the shape \(3,\)",
        ),
        (poisoned(DOWN, np.nan), "down_proj.weight holds numbers that are not finite"),
        (poisoned(DOWN, 1e5), "too large for f16; export with --dtype bf16"),
    ],
)
def test_broken_weights_are_refused_and_what_was_there_stays(own_copy, tmp_path, change, message):
    out = tmp_path / "out.gguf"
    out.write_text("before")
    weights_changed(own_copy, change)
    with pytest.raises(ExportError, match=message):
        gguf_file.write(resolved(own_copy), out, FIM)
    assert out.read_text() == "before"
    assert {file.name for file in tmp_path.iterdir()} == {"copy", "out.gguf"}


def test_what_is_too_large_for_f16_fits_bf16(own_copy, tmp_path):
    weights_changed(own_copy, poisoned(DOWN, 1e5))
    gguf_file.write(resolved(own_copy), tmp_path / "out.gguf", FIM, "bf16")


def test_a_head_beside_tied_embeddings_is_left_out(own_copy, tmp_path):
    weights_changed(
        own_copy, lambda weights: weights.update({"lm_head.weight": weights["model.embed_tokens.weight"]})
    )
    assert gguf_file.write(resolved(own_copy), tmp_path / "out.gguf", FIM).n_tensors == 20


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"architectures": ["Starcoder2ForCausalLM"]}, "Starcoder2ForCausalLM is none of LlamaForCausalLM"),
        ({"hidden_act": "gelu"}, "the model has the activation gelu"),
        (
            {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}},
            "rope type dynamic",
        ),
        ({"architectures": ["MistralForCausalLM"], "sliding_window": 64}, "attends in a sliding window"),
    ],
)
def test_what_llama_cpp_would_compute_otherwise_is_refused_with_its_converter(
    own_copy, tmp_path, settings, reason
):
    configured(own_copy, **settings)
    with pytest.raises(ExportError, match=f"{reason}.*python convert_hf_to_gguf.py {own_copy}"):
        gguf_file.write(resolved(own_copy), tmp_path / "out.gguf", FIM)
    assert not (tmp_path / "out.gguf").exists()


def test_reordering_pairs_the_halves_of_each_head():
    import torch

    rows = torch.arange(8)[:, None]  # two heads of four rows
    assert reordered(rows, 2).flatten().tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    assert reordered(rows.flatten(), 2).tolist() == [0, 2, 1, 3, 4, 6, 5, 7]  # a bias


def test_the_end_of_a_middle_ends_a_text(exported):
    read = exported["f16"]
    tokens = value(read, "tokenizer.ggml.tokens")
    assert tokens[value(read, "tokenizer.ggml.eos_token_id")] == END
