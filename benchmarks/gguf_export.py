"""A GGUF export in llama.cpp beside its model directory in transformers: the same prompts, the same greedy text?

    python -m benchmarks.gguf_export --llama-cpp ENVIRONMENT [--model DIR] [--prompts 50] [--tokens 48] [--dtype f16]

Prompts are gaps cut out of installed code (`fim_layout.py`), put in the layout of the exported Modelfile and given to
llama.cpp as text, so that its tokenizer is measured as well. transformers is given the ids that training would use,
computes in fp32 and stops at the tokens at which the file says that a text ends. llama.cpp lives in an environment
of its own (recipes/llama_cpp.txt).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
from rich.console import Console
from rich.table import Table

from benchmarks.fim_layout import cut_gaps
from echo_dagster import configuration, models
from echo_dagster.cli_parts import model_of
from echo_dagster.export import gguf_file, modelfile
from echo_dagster.fim import encode_prompt, fim_format, split_boundary
from echo_dagster.models import ResolvedModel
from echo_dagster.settings import FimTokens

RECIPE = Path(__file__).parent / "recipes" / "greedy_llama_cpp.py"


@dataclass(frozen=True)
class Compared:
    """A prompt in both. `gap_nats`: how far apart the two likeliest tokens are where the texts part."""

    is_same_prompt: bool
    is_same_text: bool
    n_tokens: int
    gap_nats: float | None


def measure(
    folder: Path,
    llama_cpp: Path,
    model: ResolvedModel,
    fim: FimTokens,
    *,
    n_prompts: int = 50,
    n_tokens: int = 48,
    dtype: gguf_file.Dtype = "f16",
) -> list[Compared]:
    """Export `model` into `folder` and complete the same prompts in both programs."""
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = models.load_tokenizer(model.path)
    fmt = fim_format(fim, tokenizer)
    layout = modelfile.template(tokenizer, fim)
    gaps = cut_gaps("dagster", n_prompts, tokenizer)
    prompts = [encode_prompt(fmt, tokenizer, gap["prefix"], gap["suffix"])[0] for gap in gaps]
    texts = [_rendered(layout, split_boundary(gap["prefix"])[0], gap["suffix"]) for gap in gaps]
    exported = gguf_file.write(model, folder / "model.gguf", fim, dtype)
    done = subprocess.run(
        [str(llama_cpp / "bin" / "python"), str(RECIPE), str(exported.path), str(n_tokens)],
        input=json.dumps(texts),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    ends = _ends(exported.path)
    loaded = AutoModelForCausalLM.from_pretrained(
        model.path, dtype=torch.float32, local_files_only=True
    ).eval()
    return [
        _compared(loaded, tokenizer, prompt, theirs, n_tokens, ends)
        for prompt, theirs in zip(prompts, json.loads(done.stdout), strict=True)
    ]


def _rendered(layout: str, prefix: str, suffix: str) -> str:
    """Return the prompt as Ollama makes it of the Modelfile's template."""
    before, between, after = layout.replace("{{ .Suffix }}", "{{ .Prompt }}").split("{{ .Prompt }}")
    is_prefix_first = layout.index("{{ .Prompt }}") < layout.index("{{ .Suffix }}")
    first, second = (prefix, suffix) if is_prefix_first else (suffix, prefix)
    return before + first + between + second + after


def _ends(file: Path) -> list[int]:
    """Return the tokens at which the file says that a text ends: that of a middle, and the tokenizer's own."""
    fields = gguf.GGUFReader(file).fields
    keys = (gguf.Keys.Tokenizer.EOS_ID, gguf.Keys.Tokenizer.EOT_ID)
    return [int(fields[key].contents()) for key in keys if key in fields]


def _compared(model, tokenizer, prompt, theirs, n_tokens, ends) -> Compared:
    import torch

    ids = torch.tensor([prompt])
    with torch.inference_mode():
        written = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=n_tokens,
            eos_token_id=ends,
        )[0, len(prompt) :].tolist()
        text = tokenizer.decode(written, skip_special_tokens=True)
        is_same = text == theirs["text"]
        gap = None if is_same else _gap(model, prompt, written, theirs["ids"])
    return Compared(prompt == theirs["prompt_ids"], is_same, len(theirs["ids"]), gap)


def _gap(model, prompt, ours, theirs) -> float:
    """Return how much likelier, in nats, our token is than the second where the two first differ."""
    import torch

    same = 0
    while same < min(len(ours), len(theirs)) and ours[same] == theirs[same]:
        same += 1
    logits = model(torch.tensor([prompt + ours[:same]]), logits_to_keep=1).logits[0, -1]
    first, second = logits.topk(2).values.tolist()
    return first - second


def table(compared: Sequence[Compared], name: str) -> Table:
    """Return what was the same, for people."""
    shown = Table(title=f"GGUF in llama.cpp beside transformers: {name}", show_header=False)
    n = len(compared)
    gaps = sorted(one.gap_nats for one in compared if one.gap_nats is not None)
    shown.add_row("prompts", f"{n}")
    shown.add_row("tokenized alike", f"{sum(one.is_same_prompt for one in compared) / n:.0%}")
    shown.add_row("same greedy text", f"{sum(one.is_same_text for one in compared) / n:.0%}")
    shown.add_row("tokens written, mean", f"{sum(one.n_tokens for one in compared) / n:.1f}")
    shown.add_row("nats between the likeliest two where texts part", ", ".join(f"{gap:.3f}" for gap in gaps))
    return shown


def show(llama_cpp: Path, model: Path | None = None, **asked: Any) -> None:
    """Measure a model directory, or the configured base model, and print what came of it."""
    configured = configuration.load()
    chosen = model_of(configured, model)
    fim = models.fim_tokens(configured.base_model.fim, chosen.path)
    with tempfile.TemporaryDirectory() as folder:
        compared = measure(Path(folder), llama_cpp, chosen, fim, **asked)
    Console().print(table(compared, " ".join([chosen.name, asked.get("dtype", "f16")])))


def main() -> None:
    """Measure one model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--llama-cpp", type=Path, required=True, help="made of recipes/llama_cpp.txt")
    parser.add_argument("--model", type=Path, help="a model directory; by default the configured base model")
    parser.add_argument("--prompts", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=48, help="the most to write for a prompt")
    parser.add_argument("--dtype", default="f16", choices=["f16", "f32", "bf16", "q8_0"])
    asked = parser.parse_args()
    show(asked.llama_cpp, asked.model, n_prompts=asked.prompts, n_tokens=asked.tokens, dtype=asked.dtype)


if __name__ == "__main__":
    main()
