"""Models by the names that people give on the command line: a directory, a hub id, or what the lake has on record.

What does not live here: fetching and loading (`models.py`), and what a model learnt from (`leaks.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from types import MappingProxyType

from echo_dagster import models
from echo_dagster.evaluation import candidate as candidates
from echo_dagster.evaluation import champion as champions
from echo_dagster.evaluation import provenance
from echo_dagster.evaluation.candidate import NoCandidate
from echo_dagster.lake import Lake
from echo_dagster.models import ResolvedModel
from echo_dagster.settings import FimTokens, ModelSettings, ModelSource, Settings

_TABLES = {"candidate": "checkpoint", "static": "static_baseline"}
#: How a model is given.
FORMS = "NAME=WHERE, or WHERE alone; WHERE is a model directory, a hub id, or candidate@DAY, static@DAY or champion@DAY"


def named(
    told: list[str],
    base: ResolvedModel,
    lake: Lake,
    settings: Settings,
    before: Mapping[str, ResolvedModel] = MappingProxyType({}),
) -> dict[str, ResolvedModel]:
    """Return models by name: those of `before`, then others in the order in which they are given (`FORMS`).

    Raises:
        ValueError: a name that stands twice, a model that is not there or not on record; the message says which.
    """
    found: dict[str, ResolvedModel] = dict(before)
    for one in told:
        name, is_named, where = one.partition("=")
        where = where if is_named else one
        model = _find(where, base, lake, settings)
        name = name if is_named else where if "@" in where else model.name
        if name in found:
            raise ValueError(f"two models are called {name!r}; give them names: --model NAME={where}")
        found[name] = ResolvedModel(name, model.path, model.digest)
    return found


def fim_of(model: ResolvedModel, base: ResolvedModel, settings: Settings) -> FimTokens | None:
    """Return the fill-in-the-middle format to ask a model in; null: the one that its tokenizer tells.

    It is that of its training where that is on record; else the configured one for the tokenizer of the base model.
    """
    file = model.path / provenance.FILE
    if file.is_file() and (told := json.loads(file.read_text(encoding="utf-8")).get("fim")) is not None:
        return FimTokens.model_validate(told)
    return settings.base_model.fim if has_tokenizer_of(model, base) else None


def has_tokenizer_of(model: ResolvedModel, other: ResolvedModel) -> bool:
    """Say whether two models count tokens alike."""
    mine, theirs = (models.load_tokenizer(one.path).get_vocab() for one in (model, other))
    return mine == theirs


def _find(where: str, base: ResolvedModel, lake: Lake, settings: Settings) -> ResolvedModel:
    role, is_recorded, day = where.partition("@")
    if Path(where).is_dir():
        return ResolvedModel(Path(where).resolve().name, Path(where), models.digest(Path(where)))
    if is_recorded and role in (*_TABLES, "champion"):
        return _of_day(role, day, base, lake)
    if where.startswith((".", "/", "~")) or where.count("/") != 1:
        raise ValueError(f"{where!r} is no model: there is no such directory; expected {FORMS}")
    source = ModelSource(hub=role if is_recorded else where, revision=day or None)
    return models.resolve(ModelSettings(name=where, source=source), settings.data_dir)


def _of_day(role: str, day: str, base: ResolvedModel, lake: Lake) -> ResolvedModel:
    try:
        of = date.fromisoformat(day)
    except ValueError:
        raise ValueError(f"{role}@{day}: expected a day, as in {role}@2026-01-31") from None
    if role == "champion":
        serving = champions.current(lake, of, base)
        return ResolvedModel(role, serving.path, serving.digest)
    model = candidates.of_day(lake, of, base, _TABLES[role])
    if isinstance(model, NoCandidate):
        raise ValueError(f"{role}@{day}: {model.reason}")
    if not model.path.is_dir():
        raise ValueError(f"{role}@{day}: its directory is gone; materialize `{_TABLES[role]}` of {day} again")
    return ResolvedModel(role, model.path, model.digest)
