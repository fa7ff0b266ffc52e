"""A model directory as one GGUF file, for llama.cpp and what is built on it.

Weights are read, converted and written one at a time; the file takes its name when it is whole. What does not live
here: keys and the order of rows (`families.py`), the tokenizer (`vocabulary.py`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import gguf
import numpy as np

from echo_dagster import models
from echo_dagster.export.families import (
    ExportError,
    Family,
    family,
    refused,
    reordered,
    rope_factors,
    write_hyperparameters,
)
from echo_dagster.export.vocabulary import write_vocabulary
from echo_dagster.fim import fim_format
from echo_dagster.models import ResolvedModel
from echo_dagster.settings import FimTokens

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig

Dtype = Literal["f16", "f32", "bf16", "q8_0"]
_Kind = gguf.GGMLQuantizationType
#: The type of matrices, and llama.cpp's name for a file of them. Vectors are always f32.
_TYPES = {
    "f16": (_Kind.F16, gguf.LlamaFileType.MOSTLY_F16),
    "f32": (_Kind.F32, gguf.LlamaFileType.ALL_F32),
    "bf16": (_Kind.BF16, gguf.LlamaFileType.MOSTLY_BF16),
    "q8_0": (_Kind.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
}
#: Numbers converted at a time, in fp32: 64 MB.
_AT_ONCE = 1 << 24


@dataclass(frozen=True)
class Exported:
    """A GGUF file that was written. `digest` is that of the model directory."""

    path: Path
    name: str
    digest: str
    context_length: int
    n_tensors: int
    n_bytes: int


@dataclass(frozen=True)
class _Weight:
    """A weight of the model directory, and what it becomes. `n_heads`: its rows are reordered head by head."""

    name: str
    file: Path
    shape: tuple[int, ...]
    target: str
    kind: _Kind
    n_heads: int | None


def write(model: ResolvedModel, out: Path, fim: FimTokens, dtype: Dtype = "f16") -> Exported:
    """Write the model directory `model.path` as the GGUF file `out`, in place of what was there.

    Args:
        model: its digest goes into the file, and so does its provenance.json, where training left one.
        out: the file.
        fim: the markers that the model was trained with.
        dtype: of the matrices; one whose rows q8_0 cannot hold (blocks of 32) is f16.

    Raises:
        ExportError: the model is of another family, a weight is missing, unknown, not finite or too large for f16.
        FimError: a marker is not one token of the tokenizer.
    """
    from transformers import AutoConfig

    fmt = fim_format(fim, models.load_tokenizer(model.path))
    config = AutoConfig.from_pretrained(model.path, local_files_only=True)
    found = family(model.path, config)
    weights = _weights(model.path, config, found, dtype)
    factors = rope_factors(config)
    name = _name(model)
    out.parent.mkdir(parents=True, exist_ok=True)
    making = out.with_name(f".{out.name}.{os.getpid()}")
    writer = gguf.GGUFWriter(making, gguf.MODEL_ARCH_NAMES[found.architecture])
    try:
        _write_origin(writer, model, name)
        writer.add_size_label(_size_label(weights))
        write_hyperparameters(writer, config)
        writer.add_file_type(_TYPES[dtype][1])
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        write_vocabulary(writer, model.path, config.vocab_size, fmt)
        if factors is not None:
            writer.add_tensor_info("rope_freqs.weight", factors.shape, factors.dtype, factors.nbytes)
        for weight in weights:
            shape, stored = _stored(weight.shape, weight.kind)
            n_bytes = prod(shape) * stored.itemsize
            writer.add_tensor_info(weight.target, shape, stored, n_bytes, raw_dtype=weight.kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        if factors is not None:
            writer.write_tensor_data(factors)
        for weight in weights:
            writer.write_tensor_data(_converted(weight))
        writer.close()
        making.replace(out)
    finally:
        writer.close()
        making.unlink(missing_ok=True)
    n_tensors = len(weights) + (factors is not None)
    return Exported(out, name, model.digest, config.max_position_embeddings, n_tensors, out.stat().st_size)


def _write_origin(writer: gguf.GGUFWriter, model: ResolvedModel, name: str) -> None:
    """Write what the model is and where it comes from."""
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(name)
    writer.add_version(model.digest)
    writer.add_string("echo_dagster.model_digest", model.digest)
    if (record := provenance(model.path)) is not None:
        start = record["started_from"]
        writer.add_finetune("echo")
        writer.add_base_model_count(1)
        writer.add_base_model_name(0, start["name"])
        writer.add_base_model_version(0, start["digest"])
        writer.add_string("echo_dagster.provenance", json.dumps(record, sort_keys=True))


def provenance(path: Path) -> dict[str, Any] | None:
    """Return the record that training left in a model directory, None where there is none."""
    file = path / "provenance.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def _name(model: ResolvedModel) -> str:
    record = provenance(model.path)
    return model.name if record is None else f"{record['started_from']['name']} echo {model.digest}"


def _size_label(weights: list[_Weight]) -> str:
    return gguf.size_label(sum(prod(weight.shape) for weight in weights), 0, 0, 0)


def _weights(path: Path, config: PretrainedConfig, found: Family, dtype: Dtype) -> list[_Weight]:
    """Return the weights in the order in which they are written.

    Raises:
        ExportError: the files do not hold exactly the weights, in the shapes, of the configured model.
    """
    shapes, files = _expected(config), _stored_weights(path)
    if config.tie_word_embeddings:  # llama.cpp takes the embeddings where there is no head
        shapes.pop("lm_head.weight", None)
        files.pop("lm_head.weight", None)
    missing, unknown = sorted(shapes.keys() - files.keys()), sorted(files.keys() - shapes.keys())
    if missing or unknown:
        raise ExportError(
            f"{path} does not hold the weights of its config.json: {len(missing)} missing "
            f"({', '.join(missing[:3])}), {len(unknown)} unknown ({', '.join(unknown[:3])})"
        )
    names = gguf.get_tensor_name_map(found.architecture, config.num_hidden_layers)
    weights = []
    for name, shape in shapes.items():
        file, stored = files[name]
        if stored != shape:
            raise ExportError(f"{path}: {name} has the shape {stored}, its config.json says {shape}")
        target = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if target is None:
            raise refused(path, f"llama.cpp's name of {name} is not known here")
        kind = _TYPES[dtype][0]
        if len(shape) == 1:
            kind = _Kind.F32
        elif kind is _Kind.Q8_0 and shape[-1] % gguf.GGML_QUANT_SIZES[kind][0]:
            kind = _Kind.F16
        weights.append(_Weight(name, file, shape, target, kind, _heads(name, config, found)))
    return weights


def _expected(config: PretrainedConfig) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every weight that transformers would make of this configuration."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config)
    return {name: tuple(weight.shape) for name, weight in model.state_dict().items()}


def _stored_weights(path: Path) -> dict[str, tuple[Path, tuple[int, ...]]]:
    """Return file and shape of every weight of a model directory."""
    from safetensors import safe_open

    found = {}
    for file in sorted(path.glob("*.safetensors")):
        with safe_open(file, framework="pt") as stored:
            for name in stored.keys():  # noqa: SIM118 - it is no mapping
                found[name] = (file, tuple(stored.get_slice(name).get_shape()))
    return found


def _heads(name: str, config: PretrainedConfig, found: Family) -> int | None:
    if not found.is_interleaved:
        return None
    heads: Mapping[str, int] = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    return heads.get(name.split(".")[-2])


def _stored(shape: tuple[int, ...], kind: _Kind) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and type of the array that holds a weight in the file; packed numbers are bytes."""
    if kind in (_Kind.F32, _Kind.F16):
        return shape, np.dtype(np.float32 if kind is _Kind.F32 else np.float16)
    return tuple(gguf.quant_shape_to_byte_shape(shape, kind)), np.dtype(np.uint8)


def _converted(weight: _Weight) -> np.ndarray:
    """Read a weight and return it as it is stored in the file.

    Raises:
        ExportError: a number is not finite, or too large for f16.
    """
    shape, stored = _stored(weight.shape, weight.kind)
    made, at = np.empty(shape, stored), 0
    for rows in _rows(weight):
        if not np.isfinite(rows).all():
            raise ExportError(f"{weight.name} holds numbers that are not finite")
        with np.errstate(over="ignore"):  # told below
            block = gguf.quants.quantize(rows, weight.kind)
        if weight.kind is _Kind.F16 and not np.isfinite(block).all():
            raise ExportError(f"{weight.name} holds numbers too large for f16; export with --dtype bf16")
        made[at : at + len(block)] = block
        at += len(block)
    return made


def _rows(weight: _Weight) -> Iterator[np.ndarray]:
    """Yield a weight's rows in the order of the file, float32, some at a time."""
    from safetensors import safe_open

    with safe_open(weight.file, framework="pt") as stored:
        whole: torch.Tensor = stored.get_tensor(weight.name)
    if weight.n_heads is not None:
        whole = reordered(whole, weight.n_heads)
    n_rows = max(1, _AT_ONCE // prod(weight.shape[1:]))
    for start in range(0, len(whole), n_rows):
        yield whole[start : start + n_rows].float().numpy()
