"""A configuration is loaded whole and checked whole: every mistake at once, each with what was expected."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from echo_dagster import configuration
from echo_dagster.acquisition import importers
from echo_dagster.configuration import SettingsError
from echo_dagster.settings import Settings, Source, Window

MODEL = {
    "name": "tiny",
    "source": {"path": "somewhere"},
    "fim": {"layout": "spm", "prefix": "<p>", "suffix": "<s>", "middle": "<m>", "end": "<e>"},
}
ZERO2 = {"optimizer": {"type": "AdamW"}, "zero_optimization": {"stage": 2}}
SOURCE = {"name": "a", "importer": "native", "path": "in/{day}*", "consent": True}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of configurations that lacks nothing."""
    write(tmp_path / "models" / "tiny.yaml", MODEL)
    (tmp_path / "deepspeed").mkdir()
    (tmp_path / "deepspeed" / "zero2.json").write_text(json.dumps(ZERO2), encoding="utf-8")
    write(tmp_path / "pipeline.yaml", {"start_day": date(2026, 1, 1), "model": "tiny"})
    return tmp_path


def write(path: Path, content: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def load(folder: Path, **changes: Any) -> Settings:
    return configuration.load(write(folder / "mine.yaml", {"extends": "pipeline.yaml", **changes}))


def mistakes(folder: Path, **changes: Any) -> list[str]:
    with pytest.raises(SettingsError) as error:
        load(folder, **changes)
    first, *rest = str(error.value).splitlines()
    assert first.endswith("mine.yaml cannot be used:")
    return [line.removeprefix("  - ") for line in rest]


def test_what_is_not_said_has_its_default(folder):
    loaded = load(folder)
    assert loaded.start_day == date(2026, 1, 1)
    assert loaded.base_model.name == "tiny"
    assert loaded.window == Window()
    assert loaded.data_dir.is_absolute()
    assert loaded.lake_dir == loaded.data_dir / "lake"


def test_a_file_extends_another_section_by_section(folder):
    write(
        folder / "middle.yaml",
        {"extends": "pipeline.yaml", "window": {"days": 3, "seed": 1}, "sources": [SOURCE]},
    )
    loaded = load(folder, extends="middle.yaml", window={"days": 5}, sources=[])
    assert (loaded.window.days, loaded.window.seed, loaded.window.max_samples) == (5, 1, 200_000)
    assert loaded.sources == ()
    assert load(folder, extends="middle.yaml").sources == (Source.model_validate(SOURCE),)


def test_every_mistake_is_told_at_once(folder):
    told = mistakes(
        folder,
        start_day="soon",
        unheard_of=1,
        window={"days": 0, "length": 3},
        training={"learning_rate": "fast"},
        sources=[{**SOURCE, "importer": "tabbie"}, {"name": "b", "importer": "native", "consent": True}],
        extraction={"policy": "patient"},
    )
    assert len(told) == 8
    beginnings = (
        "start_day: ",
        "unheard_of: there is no such setting",
        "window.days: ",
        "window.length: there is no such setting",
        "training.learning_rate: ",
        f"sources.0.importer: 'tabbie' is unknown; expected one of {', '.join(importers.NAMES)}",
        "sources.1.path: missing",
        "extraction.policy: 'patient' is unknown; expected one of ",
    )
    for beginning in beginnings:
        assert [line for line in told if line.startswith(beginning)], beginning


def test_mistakes_between_settings(folder):
    told = mistakes(
        folder,
        perplexity={"low_quantile": 0.9, "high_quantile": 0.1},
        sources=[SOURCE, SOURCE],
        training={"deepspeed": "zero9.json"},
    )
    assert sorted(line.split(":")[0] for line in told) == [
        "perplexity.low_quantile",
        "sources",
        "training.deepspeed",
    ]


def test_adapters_and_last_blocks_exclude_each_other(folder):
    (told,) = mistakes(folder, training={"lora_rank": 16, "last_layers": 8})
    assert told.startswith("training: value error, lora_rank and last_layers exclude each other")
    assert "set last_layers: null to train adapters, or lora_rank: null to train the last blocks" in told
    (told,) = mistakes(folder, training={"lora_alpha": 16, "lora_targets": ["q_proj"]})
    assert told.startswith(
        "training: value error, lora_alpha, lora_targets: without effect while lora_rank is null"
    )
    assert load(folder, training={"lora_rank": 16, "lora_dropout": 0.1}).training.lora_alpha == 32


def test_every_mistake_of_the_filters_is_told_beside_the_others(folder):
    told = mistakes(
        folder,
        start_day="soon",
        quality={"filters": ["no_consent", "too_long", "blank", "blnk", 7], "min_middle_chars": 0},
    )
    assert sorted(line.split(": ")[0] for line in told) == [
        *["quality.filters"] * 3,
        "quality.filters.4",
        "quality.min_middle_chars",
        "start_day",
    ]
    assert any("'blnk' is no filter; expected names of no_consent" in line for line in told)
    assert any("'secret' cannot be left out: no secret may reach" in line for line in told)
    assert any("put 'blank' before 'too_long'" in line for line in told)
    told = mistakes(folder, quality={"min_comment_share": 0.5, "max_comment_share": 0.4})
    assert told == ["quality.min_comment_share: expected at most quality.max_comment_share"]


def test_every_mistake_of_a_retention_is_told(folder):
    told = mistakes(folder, retention={"raw_event": 30, "gap_session": 3, "raw_events": 1, "versions": 8})
    assert sorted(line.split(": ")[0] for line in told) == [
        "retention.gap_session",
        "retention.raw_event",
        "retention.raw_events",
        "retention.versions",
    ]
    told = mistakes(folder, window={"days": 5}, retention={"gap_sessions": 5, "scored_samples": 1})
    assert told == [
        f"retention.{table}: expected more than 5: so many days before it are read every day"
        for table in ("gap_sessions", "scored_samples")
    ]
    replayed = {"days": 5, "replay_share": 0.1}
    assert mistakes(folder, window=replayed, retention={"gap_sessions": 6, "scored_samples": 10}) == [
        "retention.scored_samples: expected more than 10: so many days before it are read every day"
    ]
    kept = load(folder, window={"days": 5}, retention={"gap_sessions": 6, "reports": 90, "raw_events": None})
    assert kept.retention.tables() == {"gap_sessions": 6} and kept.retention.reports == 90


def test_a_model_without_a_file_is_one_mistake(folder):
    assert mistakes(folder, model="gpt-9") == [
        "model: 'gpt-9' is no file of configs/models/; add gpt-9.yaml there"
    ]


@pytest.mark.parametrize("source", [{}, {"path": "a", "hub": "b"}])
def test_a_model_comes_from_exactly_one_place(folder, source):
    write(folder / "models" / "odd.yaml", {**MODEL, "source": source})
    (told,) = mistakes(folder, model="odd")
    assert "exactly one of package, hub and path" in told


def test_files_that_are_no_configuration(folder, monkeypatch):
    with pytest.raises(SettingsError, match="is no file"):
        configuration.load(folder / "none.yaml")
    with pytest.raises(SettingsError, match="is no file"):
        load(folder, extends="none.yaml")
    (folder / "list.yaml").write_text("- 1\n")
    with pytest.raises(SettingsError, match="holds a list"):
        configuration.load(folder / "list.yaml")
    (folder / "torn.yaml").write_text("a: [\n")
    with pytest.raises(SettingsError, match="is not YAML"):
        configuration.load(folder / "torn.yaml")


def test_the_environment_names_the_file(folder, monkeypatch):
    monkeypatch.setenv("ECHO_CONFIG", str(folder / "pipeline.yaml"))
    assert configuration.load().base_model.name == "tiny"


class TestDigest:
    def test_it_is_stable_and_knows_nothing_of_places(self, folder):
        assert load(folder).digest == load(folder, data_dir="elsewhere", memory_limit="1GB").digest
        assert load(folder).digest == load(folder, sources=[SOURCE], schedule_hour_utc=5).digest
        assert load(folder).digest == load(folder, retention={"raw_events": 30}).digest

    @pytest.mark.parametrize(
        "change", [{"window": {"days": 3}}, {"start_day": date(2026, 1, 2)}, {"training": {"seed": 18}}]
    )
    def test_it_changes_with_what_can_change_a_result(self, folder, change):
        assert load(folder).digest != load(folder, **change).digest


def test_settings_are_frozen(folder):
    with pytest.raises(ValueError, match="frozen"):
        load(folder).window.days = 3


@pytest.mark.parametrize("name", ["pipeline.yaml", "demo.yaml"])
def test_the_shipped_configurations_load(name):
    loaded = configuration.load(configuration.resource("configs", name))
    assert {source.importer for source in loaded.sources} <= set(importers.NAMES)


def test_every_mistake_of_the_files_of_training_is_told(folder):
    mistaken = json.dumps({"optimizer": {"type": "AdamW"}, "zero_optimization": {"stag": 3}})
    (folder / "deepspeed" / "zero2.json").write_text(mistaken, encoding="utf-8")
    (folder / "hosts").write_text("a slots=2\n")
    told = "\n".join(mistakes(folder, training={"hostfile": str(folder / "hosts"), "ranks": 3}))
    assert "training.ranks" in told and "has 2 slots (got 3)" in told
    assert "zero_optimization.stag: training knows no such name" in told
    assert "zero_optimization.stage: missing; add it" in told


def test_the_hostfile_says_how_many_ranks_there_are(folder):
    (folder / "hosts").write_text("a slots=2\nb slots=1\n")
    assert load(folder, training={"hostfile": str(folder / "hosts")}).training.ranks == 3


def test_a_models_format_may_be_a_familys_name_or_left_out(folder):
    spelled = load(folder).base_model.fim
    write(folder / "models" / "named.yaml", {**MODEL, "fim": "codestral"})
    write(folder / "models" / "unsaid.yaml", {"name": "unsaid", "source": {"path": "somewhere"}})
    named = load(folder, model="named").base_model.fim
    assert spelled is not None
    assert named is not None
    assert (spelled.layout, spelled.middle) == ("spm", "<m>")
    assert (named.layout, named.prefix, named.suffix, named.middle) == (
        "spm_bare",
        "[PREFIX]",
        "[SUFFIX]",
        None,
    )
    assert load(folder, model="unsaid").base_model.fim is None


@pytest.mark.parametrize(
    ("fim", "told"),
    [
        ("qwen", "base_model.fim: value error, expected one of qwen2.5-coder, starcoder, "),
        (
            {**MODEL["fim"], "layout": "spm_bare"},
            "base_model.fim: value error, spm_bare has no marker for the middle; remove it",
        ),
        (
            {name: text for name, text in MODEL["fim"].items() if name != "middle"},
            "base_model.fim: value error, spm has a marker for the middle; name it",
        ),
        (
            {**MODEL["fim"], "layout": "mps"},
            "base_model.fim.layout: input should be 'psm', 'spm', 'spm_marked'",
        ),
    ],
)
def test_a_mistake_in_a_format_is_told(folder, fim, told):
    write(folder / "models" / "mine.yaml", {**MODEL, "fim": fim})
    [mistake] = mistakes(folder, model="mine")
    assert mistake.startswith(told)
