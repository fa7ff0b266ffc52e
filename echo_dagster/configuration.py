"""Loading configs/*.yaml into `Settings`, or saying at once everything that is wrong with them.

A configuration file states what differs from the defaults; `extends: other.yaml` starts from another file beside it.
What does not live here: the settings and their defaults (`settings.py`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from echo_dagster.resources import resource
from echo_dagster.settings import Settings, Training


class SettingsError(ValueError):
    """A configuration file that cannot be used. The message lists every mistake."""


def load(path: str | Path | None = None) -> Settings:
    """Load a configuration file: `path`, else the one that `ECHO_CONFIG` names, else the shipped pipeline.yaml.

    Raises:
        SettingsError: with every mistake, what was expected and how to mend it.
    """
    from echo_dagster.acquisition import importers
    from echo_dagster.extraction import policies
    from echo_dagster.refinery import quality

    file = _find(path or os.environ.get("ECHO_CONFIG") or resource("configs", "pipeline.yaml"))
    raw = _read(file)
    mistakes: list[str] = []
    model_name = raw.get("model", Settings.model_fields["model"].default)
    model_file = _sibling(file, "models", f"{model_name}.yaml")
    if "base_model" not in raw:
        if model_file is None:
            mistakes.append(
                f"model: {model_name!r} is no file of configs/models/; add {model_name}.yaml there"
            )
        else:
            raw["base_model"] = _read(model_file)
    settings = None
    try:
        settings = Settings.model_validate(raw)
    except ValidationError as error:
        mistakes += [
            _sentence(item)
            for item in error.errors()
            if not (model_file is None and item["loc"] == ("base_model",))  # said above
        ]
    mistakes += _unknown_names(raw, "sources", "importer", importers.NAMES)
    policy = (
        (raw.get("extraction") or {}).get("policy", "echo")
        if isinstance(raw.get("extraction"), dict)
        else "echo"
    )
    if policy not in policies.PRESETS:
        mistakes.append(
            f"extraction.policy: {policy!r} is unknown; expected one of {', '.join(policies.PRESETS)}"
        )
    named = (raw.get("quality") or {}).get("filters") if isinstance(raw.get("quality"), dict) else None
    if isinstance(named, list):
        mistakes += quality.mistakes([name for name in named if isinstance(name, str)])
    if settings is not None:
        training, told = _training(settings.training, file)
        settings = settings.model_copy(update={"training": training})
        mistakes += told
        names = [source.name for source in settings.sources]
        mistakes += [
            f"sources: the name {name!r} is used twice"
            for name in sorted(set(names))
            if names.count(name) > 1
        ]
        if settings.quality.min_comment_share > settings.quality.max_comment_share:
            mistakes.append("quality.min_comment_share: expected at most quality.max_comment_share")
        if settings.perplexity.low_quantile >= settings.perplexity.high_quantile:
            mistakes.append("perplexity.low_quantile: expected less than perplexity.high_quantile")
        mistakes += [
            f"retention.{table}: expected more than {days}: so many days before it are read every day"
            for table, days in (
                ("gap_sessions", settings.window.days),
                ("scored_samples", settings.window.days_read),
            )
            if (settings.retention.tables().get(table) or days + 1) <= days
        ]
    if mistakes or settings is None:
        raise SettingsError(f"{file} cannot be used:\n" + "\n".join(f"  - {mistake}" for mistake in mistakes))
    return settings.model_copy(update={"data_dir": settings.data_dir.absolute()})


def deepspeed_file(name: str) -> Path:
    """Return the path of a DeepSpeed configuration: a file of the working directory's configs/, else a shipped one."""
    local = Path("configs", "deepspeed", name)
    return local.absolute() if local.is_file() else resource("configs", "deepspeed", name)


def _training(training: Training, file: Path) -> tuple[Training, list[str]]:
    """Return the settings of training with the ranks of their hostfile, and what is wrong with the files they name."""
    from echo_dagster.optimization import deepspeed_config, hosts

    mistakes = []
    try:
        training = hosts.with_ranks(training)
    except ValueError as error:
        mistakes.append(str(error))
    deepspeed = _sibling(file, "deepspeed", training.deepspeed)
    if deepspeed is None:
        mistakes.append(
            f"training.deepspeed: {training.deepspeed!r} is no file of configs/deepspeed/; add it there"
        )
        return training, mistakes
    try:
        deepspeed_config.read(deepspeed, training)
    except ValueError as error:
        mistakes.append(str(error))
    return training, mistakes


def _find(path: str | Path) -> Path:
    file = Path(path)
    if not file.is_file():
        raise SettingsError(
            f"{file} is no file; set ECHO_CONFIG to a configuration such as configs/pipeline.yaml"
        )
    return file


def _read(file: Path, below: tuple[Path, ...] = ()) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise SettingsError(f"{file} is not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise SettingsError(f"{file} holds a {type(raw).__name__}, expected names with values")
    parent = raw.pop("extends", None)
    if parent is None:
        return raw
    if file.resolve() in below:
        raise SettingsError(f"{file} extends itself, through {parent}")
    return _merge(_read(_find(file.parent / parent), (*below, file.resolve())), raw)


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        merged[name] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _sibling(file: Path, folder: str, name: str) -> Path | None:
    """Return a file of a folder beside the configuration, else a shipped one, else None."""
    if (local := file.parent / folder / name).is_file():
        return local
    try:
        return resource("configs", folder, name)
    except FileNotFoundError:
        return None


def _sentence(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"]) or "the file"
    if item["type"] == "extra_forbidden":
        return f"{where}: there is no such setting; remove it or mend its name"
    if item["type"] == "missing":
        return f"{where}: missing; add it"
    got = "" if isinstance(item["input"], dict | list) else f" (got {item['input']!r})"
    return f"{where}: {item['msg'][0].lower()}{item['msg'][1:]}{got}"


def _unknown_names(raw: dict[str, Any], section: str, key: str, known: tuple[str, ...]) -> list[str]:
    items = raw.get(section)
    return [
        f"{section}.{index}.{key}: {item[key]!r} is unknown; expected one of {', '.join(known)}"
        for index, item in enumerate(items if isinstance(items, list) else [])
        if isinstance(item, dict) and isinstance(item.get(key), str) and item[key] not in known
    ]
