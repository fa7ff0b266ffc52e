"""Each family of models, tiny, against the network that transformers makes of the same file."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from tiny import FIM

from echo_dagster import models
from echo_dagster.export import families, gguf_file
from echo_dagster.models import ResolvedModel

SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 5e5,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LINEAR = {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e5}
GRANITE = {
    "attention_multiplier": 0.25,
    "embedding_multiplier": 3.0,
    "residual_multiplier": 0.5,
    "logits_scaling": 2.0,
}


def built(kind: str, tokenizer_of: Path, path: Path, **settings):
    """Write a model with random weights, norms and biases among them, beside the tiny model's tokenizer."""
    import torch
    import transformers

    n_tokens = models.load_tokenizer(tokenizer_of).get_vocab_size()
    config = getattr(transformers, f"{kind}Config")(vocab_size=n_tokens, **{**SHAPE, **settings})
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
        for weight in model.parameters():
            if weight.ndim == 1:
                torch.nn.init.normal_(weight, 1.0, 0.3)
    model.save_pretrained(path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (path / name).write_bytes((tokenizer_of / name).read_bytes())
    return model


def exported(path: Path, out: Path) -> gguf.GGUFReader:
    done = gguf_file.write(ResolvedModel("model", path, models.digest(path)), out, FIM, "f32")
    return gguf.GGUFReader(done.path)


def of(read: gguf.GGUFReader, key: str):
    return read.fields[key].contents() if key in read.fields else None


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("Llama", {"tie_word_embeddings": False}),
        ("Llama", {"head_dim": 16, "tie_word_embeddings": False}),
        ("Mistral", {"sliding_window": None, "tie_word_embeddings": False}),
        ("Qwen2", {"tie_word_embeddings": True}),
        ("Qwen2", {"tie_word_embeddings": False}),
    ],
)
def test_transformers_computes_the_same_from_the_file(kind, settings, tiny_model_dir, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    ours = built(kind, tiny_model_dir, tmp_path / "model", **settings)
    exported(tmp_path / "model", tmp_path / "out.gguf")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="out.gguf", dtype=torch.float32).eval()
    ids = torch.arange(3, 60)[None]
    with torch.inference_mode():
        assert torch.allclose(ours(ids).logits, theirs(ids).logits, atol=1e-5)


def test_qwen2_keeps_its_rows_and_its_biases(tiny_model_dir, tmp_path):
    ours = built("Qwen2", tiny_model_dir, tmp_path / "model")
    read = exported(tmp_path / "model", tmp_path / "out.gguf")
    stored = {tensor.name: tensor.data for tensor in read.tensors}
    attention = ours.model.layers[1].self_attn
    assert of(read, "general.architecture") == "qwen2"
    assert np.array_equal(stored["blk.1.attn_q.weight"], attention.q_proj.weight.detach().numpy())
    assert np.array_equal(stored["blk.1.attn_k.bias"], attention.k_proj.bias.detach().numpy())
    assert "output.weight" in stored


def test_granite_takes_its_factors_along(tiny_model_dir, tmp_path):
    built("Granite", tiny_model_dir, tmp_path / "model", **GRANITE)
    read = exported(tmp_path / "model", tmp_path / "out.gguf")
    keys = ("attention.scale", "embedding_scale", "residual_scale", "logit_scale")
    assert [of(read, f"granite.{key}") for key in keys] == [0.25, 3.0, 0.5, 2.0]


def test_a_bias_of_a_query_is_reordered_with_its_weight(tiny_model_dir, tmp_path):
    ours = built("Llama", tiny_model_dir, tmp_path / "model", attention_bias=True)
    read = exported(tmp_path / "model", tmp_path / "out.gguf")
    stored = {tensor.name: tensor.data for tensor in read.tensors}
    bias = ours.model.layers[0].self_attn.q_proj.bias.detach()
    assert stored["blk.0.attn_q.bias"].tolist() == families.reordered(bias, 4).tolist() != bias.tolist()


def test_stretched_rotations(tiny_model_dir, tmp_path):
    built("Llama", tiny_model_dir, tmp_path / "linear", rope_parameters=LINEAR)
    read = exported(tmp_path / "linear", tmp_path / "linear.gguf")
    assert of(read, "llama.rope.scaling.type") == "linear"
    assert of(read, "llama.rope.scaling.factor") == 4.0
    assert of(read, "llama.rope.freq_base") == 1e5
    assert not any(tensor.name.startswith("rope") for tensor in read.tensors)


def test_llama3_rotations_are_divided_by_what_transformers_divides_by(tiny_model_dir, tmp_path):
    """The formula once more, as arXiv 2407.21783's code has it: fast ones stay, slow ones by 8, between in between."""
    ours = built("Llama", tiny_model_dir, tmp_path / "model", rope_parameters=LLAMA3)
    read = exported(tmp_path / "model", tmp_path / "out.gguf")
    (factors,) = (tensor.data for tensor in read.tensors if tensor.name == "rope_freqs.weight")
    plain = 5e5 ** -(np.arange(0, 8, 2) / 8)
    assert ours.model.rotary_emb.inv_freq.numpy() == pytest.approx(plain / factors, rel=1e-6)
    assert factors[0] == 1 and factors[-1] == pytest.approx(8)
