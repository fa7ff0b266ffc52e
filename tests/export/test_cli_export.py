"""`echo-dagster export`, as its user would type it."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path

import gguf
import pytest
import yaml
from tiny import FIM
from typer.testing import CliRunner

from echo_dagster import models
from echo_dagster.cli import app
from echo_dagster.evaluation import champion
from echo_dagster.evaluation.champion import Champion
from echo_dagster.evaluation.gate import Decision
from echo_dagster.lake import Lake
from echo_dagster.models import ResolvedModel


@pytest.fixture
def config(tmp_path, tiny_settings) -> Path:
    file = tmp_path / "config.yaml"
    told = {
        "data_dir": str(tmp_path / "data"),
        "start_day": "2022-08-01",
        "base_model": tiny_settings.model_dump(mode="json"),
    }
    file.write_text(yaml.safe_dump(told), encoding="utf-8")
    return file


def run(config: Path, *arguments: object, fails: bool = False):
    command = ["export", *map(str, arguments), "--config", str(config)]
    found = CliRunner().invoke(app, command)
    assert (found.exit_code != 0) is fails, found.output
    return found


def digest_in(file: Path) -> str:
    return gguf.GGUFReader(file).fields["echo_dagster.model_digest"].contents()


@pytest.fixture
def promoted(tmp_path, tiny_model_dir) -> Path:
    """A model that was trained with other markers than are configured, and promoted."""
    path = Path(shutil.copytree(tiny_model_dir, tmp_path / "trained"))
    record = {
        "started_from": {"name": "tiny", "digest": models.digest(tiny_model_dir)},
        "fim": FIM.model_copy(update={"layout": "psm"}).model_dump(mode="json"),
        "max_tokens": 128,
    }
    (path / "provenance.json").write_text(json.dumps(record))
    (path / "tokenizer.json").write_text((path / "tokenizer.json").read_text() + " ")  # another digest
    base = Champion(tiny_model_dir, models.digest(tiny_model_dir), None, "the base model")
    candidate = ResolvedModel("trained", path, models.digest(path))
    champion.record(
        Lake(tmp_path / "data" / "lake"),
        date(2026, 1, 5),
        Decision("promoted", "better"),
        serving=base,
        candidate=candidate,
    )
    return path


def test_a_directory_becomes_a_file(config, tiny_model_dir, tmp_path):
    out = tmp_path / "out" / "tiny.gguf"
    found = run(config, tiny_model_dir, "--gguf", out, "--dtype", "q8_0")
    assert found.stdout.strip() == str(out)
    assert digest_in(out) == models.digest(tiny_model_dir)
    assert not out.with_suffix(".Modelfile").exists()


def test_the_champion_is_what_was_promoted_with_the_markers_it_was_trained_with(config, promoted, tmp_path):
    run(config, "champion", "--gguf", tmp_path / "served.gguf", "--ollama")
    assert digest_in(tmp_path / "served.gguf") == models.digest(promoted)
    told = (tmp_path / "served.Modelfile").read_text()
    assert "{{ if .Suffix }}<|fim_prefix|>{{ .Prompt }}<|fim_suffix|>" in told
    assert "PARAMETER num_ctx 128\n" in told


def test_before_a_promotion_the_base_model_serves(config, tiny_model_dir, tmp_path):
    run(config, "champion", "--gguf", tmp_path / "served.gguf")
    assert digest_in(tmp_path / "served.gguf") == models.digest(tiny_model_dir)


def test_a_champion_with_other_weights_than_were_promoted_is_refused(config, promoted, tmp_path):
    (promoted / "tokenizer.json").write_text((promoted / "tokenizer.json").read_text() + " ")
    found = run(config, "champion", "--gguf", tmp_path / "served.gguf", fails=True)
    assert "promoted was" in found.stderr and "materialize it again" in found.stderr
    assert not (tmp_path / "served.gguf").exists()


def test_a_model_of_another_family_is_refused_in_one_message(config, tiny_model_dir, tmp_path):
    other = Path(shutil.copytree(tiny_model_dir, tmp_path / "other"))
    settings = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**settings, "architectures": ["PhiForCausalLM"]}))
    found = run(config, other, "--gguf", tmp_path / "out.gguf", fails=True)
    assert "PhiForCausalLM is none of" in found.stderr
    assert f"python convert_hf_to_gguf.py {other} --outfile" in found.stderr.replace("\n", " ")
