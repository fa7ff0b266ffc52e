"""The Modelfile from which Ollama makes a model of a GGUF file: the prompt's layout, and how it answers.

What does not live here: the layouts themselves (`fim.py`).
"""

from __future__ import annotations

import os
from pathlib import Path

from tokenizers import Tokenizer

from echo_dagster import models
from echo_dagster.export.families import ExportError
from echo_dagster.export.gguf_file import Exported
from echo_dagster.fim import encode_prompt, fim_format
from echo_dagster.settings import FimTokens

#: A prefix of which all but the last word stays in the prompt, and a suffix; each becomes one token.
_PREFIX, _SUFFIX = "a b", "c"
_SLOTS = {"a": "{{ .Prompt }}", "c": "{{ .Suffix }}"}


def write(exported: Exported, model: Path, fim: FimTokens, max_tokens: int) -> Path:
    """Write the Modelfile of a GGUF file beside it, under its name, and return its path.

    It answers greedily, in a window of `max_tokens` or the model's own where that is smaller.
    """
    path = exported.path.with_suffix(".Modelfile")
    text = modelfile(
        exported.path.name, models.load_tokenizer(model), fim, min(max_tokens, exported.context_length)
    )
    making = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        making.write_text(text, encoding="utf-8")
        making.replace(path)
    finally:
        making.unlink(missing_ok=True)
    return path


def modelfile(gguf_name: str, tokenizer: Tokenizer, fim: FimTokens, window: int) -> str:
    """Return the text of a Modelfile. A request with a suffix is a gap; one without is continued as it is."""
    gap = template(tokenizer, fim)
    stops = [marker for marker in (fim.end, fim.prefix, fim.suffix, fim.middle) if marker is not None]
    lines = [
        f"FROM ./{gguf_name}",
        'TEMPLATE """{{ if .Suffix }}' + gap + '{{ else }}{{ .Prompt }}{{ end }}"""',
        "PARAMETER temperature 0",
        "PARAMETER repeat_penalty 1",  # code repeats itself, and training knew no penalty
        f"PARAMETER num_ctx {window}",
        *(f'PARAMETER stop "{stop}"' for stop in stops),
    ]
    return "\n".join(lines) + "\n"


def template(tokenizer: Tokenizer, fim: FimTokens) -> str:
    """Return the prompt of a gap with Ollama's names for prefix and suffix.

    It is read off a prompt that `fim.py` made, so that there is one place for layouts. What every prompt begins
    with is left out: it is the file's `bos`, and llama.cpp puts it there.

    Raises:
        ExportError: the tokenizer has no token for a single letter.
    """
    fmt = fim_format(fim, tokenizer)
    ids, _ = encode_prompt(fmt, tokenizer, _PREFIX, _SUFFIX)
    if fmt.start_id is not None:
        ids = ids[1:]
    parts = [tokenizer.id_to_token(token_id) or "" for token_id in ids]
    if not set(_SLOTS) <= set(parts):
        raise ExportError("the tokenizer has no tokens for single letters; write the Modelfile by hand")
    return "".join(_SLOTS.get(part, part) for part in parts)
