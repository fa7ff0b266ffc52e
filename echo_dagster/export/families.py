"""What a family of models is called in a GGUF file: its hyperparameters, and which of its weights are reordered.

Names, keys and the order of rows follow llama.cpp's converter (conversion/llama.py, granite.py, qwen.py). What does
not live here: the bytes of the weights (`gguf_file.py`), the tokenizer (`vocabulary.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig


class ExportError(ValueError):
    """A model that cannot be exported. The message says what to do."""


@dataclass(frozen=True)
class Family:
    """An architecture of llama.cpp. `is_interleaved`: its rotary embedding turns neighbouring dimensions.

    transformers turns dimension i with i + d/2 of a head instead, so that rows of query and key change places.
    """

    architecture: gguf.MODEL_ARCH
    is_interleaved: bool


FAMILIES = {
    "LlamaForCausalLM": Family(gguf.MODEL_ARCH.LLAMA, is_interleaved=True),
    "MistralForCausalLM": Family(gguf.MODEL_ARCH.LLAMA, is_interleaved=True),
    "GraniteForCausalLM": Family(gguf.MODEL_ARCH.GRANITE, is_interleaved=True),
    "Qwen2ForCausalLM": Family(gguf.MODEL_ARCH.QWEN2, is_interleaved=False),
}
#: Granite's factors: its configuration's names and the writer's methods.
_FACTORS = {
    "attention_multiplier": "add_attention_scale",
    "embedding_multiplier": "add_embedding_scale",
    "residual_multiplier": "add_residual_scale",
    "logits_scaling": "add_logit_scale",
}


def refused(path: Path, reason: str) -> ExportError:
    """Return the error that names llama.cpp's own converter, which knows more models and tokenizers."""
    return ExportError(
        f"{reason}; try llama.cpp's own converter: "
        f"python convert_hf_to_gguf.py {path} --outfile MODEL.gguf --outtype f16"
    )


def family(path: Path, config: PretrainedConfig) -> Family:
    """Return the family of a model directory.

    Raises:
        ExportError: llama.cpp's form of this model is not known here, or would compute something else.
    """
    name = (config.architectures or ["an unnamed architecture"])[0]
    if name not in FAMILIES:
        raise refused(path, f"{name} is none of {', '.join(FAMILIES)}")
    wrong = {
        "is quantised": getattr(config, "quantization_config", None) is not None,
        f"has the activation {config.hidden_act}": config.hidden_act != "silu",
        "attends in a sliding window": _slides(config),
        "turns a part of each head only": _rope(config).get("partial_rotary_factor", 1.0) != 1.0,
        f"has the rope type {_rope(config)['rope_type']}": _rope(config)["rope_type"]
        not in ("default", "linear", "llama3"),
    }
    for reason, is_so in wrong.items():
        if is_so:
            raise refused(path, f"the model {reason}")
    return FAMILIES[name]


def write_hyperparameters(writer: gguf.GGUFWriter, config: PretrainedConfig) -> None:
    """Write what llama.cpp must know of the network beside its weights."""
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    width = head_width(config)
    writer.add_rope_dimension_count(width)
    if width * config.num_attention_heads != config.hidden_size:  # else llama.cpp takes it for granted
        writer.add_key_length(width)
        writer.add_value_length(width)
    rope = _rope(config)
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    if config.model_type == "granite":
        for name, add in _FACTORS.items():
            getattr(writer, add)(getattr(config, name))


def rope_factors(config: PretrainedConfig) -> np.ndarray | None:
    """Return what llama.cpp divides each rotary frequency by, float32 of shape (head width / 2), for `llama3` only."""
    if _rope(config)["rope_type"] != "llama3":
        return None
    import torch
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    width = head_width(config)
    plain = 1.0 / _rope(config)["rope_theta"] ** (torch.arange(0, width, 2, dtype=torch.float32) / width)
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    return (plain / scaled).numpy()


def reordered(weight: torch.Tensor, n_heads: int) -> torch.Tensor:
    """Return the rows of a query's or key's weight or bias as an interleaved rotary embedding wants them.

    Row (half, i) of a head becomes row (i, half). Shape and type stay.
    """
    halves = weight.reshape(n_heads, 2, weight.shape[0] // n_heads // 2, *weight.shape[1:])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def head_width(config: PretrainedConfig) -> int:
    """Return the dimensions of an attention head."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def _rope(config: PretrainedConfig) -> dict[str, Any]:
    return {"rope_type": "default", **config.rope_parameters}


def _slides(config: PretrainedConfig) -> bool:
    """Say whether some tokens are out of sight. Qwen2 names a window also where it does not use it."""
    if "sliding_attention" in (getattr(config, "layer_types", None) or []):
        return True
    window = getattr(config, "sliding_window", None)
    is_used = getattr(config, "use_sliding_window", True)
    return bool(window) and is_used and window < config.max_position_embeddings
