"""`echo-dagster export`: a model for other programs to serve. A thin shell over `export/`."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from echo_dagster.cli_parts import CONFIG, failing_plainly, model_of, tell

if TYPE_CHECKING:
    from echo_dagster.models import ResolvedModel
    from echo_dagster.settings import Settings

#: What stands for the model that serves, in place of a directory.
_CHAMPION = "champion"


def export(
    model: Annotated[str, typer.Argument(help=f"a model directory, or {_CHAMPION}: the model that serves")],
    gguf: Annotated[Path, typer.Option("--gguf", help="the file to write")],
    dtype: Annotated[
        Literal["f16", "f32", "bf16", "q8_0"], typer.Option(help="of the matrices; vectors are f32")
    ] = "f16",
    ollama: Annotated[bool, typer.Option("--ollama", help="write a Modelfile beside it")] = False,
    config: Annotated[Path | None, CONFIG] = None,
) -> None:
    """Write a model as a GGUF file, for llama.cpp, Ollama and what is built on them."""
    from echo_dagster import configuration, models
    from echo_dagster.export import gguf_file, modelfile
    from echo_dagster.settings import FimTokens

    with failing_plainly():
        configured = configuration.load(config)
        chosen = _serving(configured) if model == _CHAMPION else model_of(configured, Path(model))
        record = gguf_file.provenance(chosen.path) or {}
        base = configured.base_model
        # a model knows the markers that it was trained with, whatever is configured today
        fim = FimTokens.model_validate(record["fim"]) if record else models.fim_tokens(base.fim, chosen.path)
        done = gguf_file.write(chosen, gguf, fim, dtype)
        told = {"model": done.name, "digest": done.digest, "tensors": done.n_tensors, "bytes": done.n_bytes}
        if ollama:
            max_tokens = record.get("max_tokens", base.max_tokens)
            told["Modelfile"] = str(modelfile.write(done, chosen.path, fim, max_tokens))
    tell("exported", told)
    typer.echo(done.path)


def _serving(configured: Settings) -> ResolvedModel:
    """Return the model last promoted, or the base model.

    Raises:
        ValueError: its directory holds other weights than those that were promoted.
    """
    from echo_dagster import models
    from echo_dagster.evaluation import champion
    from echo_dagster.lake import Lake

    base = models.resolve(configured.base_model, configured.data_dir)
    serving = champion.current(Lake(configured.lake_dir), date.max, base)
    if serving.path == base.path:
        return base
    digest = models.digest(serving.path)
    if digest != serving.digest:
        raise ValueError(
            f"{serving.path} holds {digest}, promoted was {serving.digest}; materialize it again"
        )
    return models.ResolvedModel(_CHAMPION, serving.path, digest)
