"""Which prompt suits a model: quality by layout and by what is carried over the cursor, on installed code.

    python benchmarks/fim_layout.py [--gaps 48] [--model smollm2-135m] [--source dagster]

Gaps are the rest of a line, from its beginning, behind its indentation, inside a word or between two tokens,
a quarter each. The model sees 160 tokens of prefix and 48 of suffix and writes greedily. NLL, in nats per
token, is that of the rest of the line and what is carried. Results: docs/decisions/0002-fim-layout.md.
"""

from __future__ import annotations

import argparse
import random
import re
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

import yaml
from rapidfuzz.distance import Levenshtein

from echo_dagster import fim, generation, models
from echo_dagster.likelihood import nats_per_token
from echo_dagster.resources import resource
from echo_dagster.settings import ModelSettings

#: What the library offers, but for `spm_bare`, which is Codestral's own.
LAYOUTS = {
    "prefix only": None,
    "psm": fim._PARTS["psm"],
    "spm": fim._PARTS["spm"],
    "spm_marked": fim._PARTS["spm_marked"],
}
CARRIED = {
    "nothing": r"\Z",
    "blanks": r"\s*\Z",
    "blanks, word": r"\s*\w*\Z",
    "blanks, word or punctuation": r"\s*(?:\w+|[^\w\s]+)?\Z",
    "blanks, punctuation and word": r"\s*[^\w\s]*\w*\Z",
}


def main() -> None:
    """Print a table of layouts and a table of what is carried."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gaps", type=int, default=48)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--source", default="dagster", help="an installed package")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    args = parser.parse_args()
    raw = yaml.safe_load(resource("configs", "models", f"{args.model}.yaml").read_text(encoding="utf-8"))
    settings = ModelSettings.model_validate(raw)
    path = models.resolve(settings, args.data_dir).path
    tokenizer = models.load_tokenizer(path)
    gaps = cut_gaps(args.source, args.gaps, tokenizer)
    subject = (models.load_causal_lm(path), tokenizer, fim.fim_format(settings.fim, tokenizer))
    print("| layout | exact match | edit similarity | NLL |\n|---|---|---|---|", flush=True)
    for name in LAYOUTS:
        exact, similar, _, nats = measure(subject, gaps, name, fim._CARRIED.pattern)
        print(f"| {name} | {exact} of {len(gaps)} | {similar:.3f} | {nats:.3f} |", flush=True)
    print("\n| carried | exact match | edit similarity | inside a word |\n|---|---|---|---|", flush=True)
    for name, pattern in CARRIED.items():
        exact, similar, inside, _ = measure(subject, gaps, "spm", pattern, is_scored=False)
        print(f"| {name} | {exact} of {len(gaps)} | {similar:.3f} | {inside:.3f} |", flush=True)


def measure(subject, gaps, layout, carried, *, is_scored=True):
    """Return exact matches, mean edit similarity, the same over gaps inside a word, and mean NLL.

    NLL depends on what is carried, so that it compares layouts and not what they carry.
    """
    model, tokenizer, fmt = subject
    has_suffix = LAYOUTS[layout] is not None
    contexts = [(gap["prefix"], gap["suffix"] if has_suffix else None) for gap in gaps]
    parts = {fmt.layout: LAYOUTS[layout] or fim._PARTS[fmt.layout]}
    with patch.dict(fim._PARTS, parts), patch.object(fim, "_CARRIED", re.compile(carried)):
        written = generation.complete(
            model, tokenizer, fmt, contexts, max_new_tokens=16, batch_size=20, stop=lambda text: "\n" in text
        )
        encoded = [
            fim.encode(fmt, tokenizer, *context, gap["middle"])
            for context, gap in zip(contexts, gaps, strict=True)
        ]
    nats = nats_per_token(model, encoded, batch_tokens=4096) if is_scored else []
    lines = [text.split("\n")[0].rstrip() for text in written]
    similar = [
        Levenshtein.normalized_similarity(line, gap["middle"]) for line, gap in zip(lines, gaps, strict=True)
    ]
    inside = [value for value, gap in zip(similar, gaps, strict=True) if gap["is_inside_word"]]
    exact = sum(line == gap["middle"] for line, gap in zip(lines, gaps, strict=True))
    return exact, sum(similar) / len(gaps), sum(inside) / len(inside), sum(nats) / len(gaps)


def cut_gaps(source, n, tokenizer):
    """Return the rests of random lines of a package's sources, with the context around them."""
    spec = find_spec(source)
    root = Path(spec.submodule_search_locations[0])
    files = sorted(file for file in root.rglob("*.py") if file.stat().st_size > 3000)
    chance = random.Random(5)
    gaps = []
    while len(gaps) < n:
        lines = chance.choice(files).read_text(encoding="utf-8").splitlines(keepends=True)
        if len(lines) < 40:
            continue
        at = chance.randrange(15, len(lines) - 5)
        line = lines[at].rstrip()
        if len(line.strip()) < 12 or line.strip().startswith(("#", '"')):
            continue
        where = len(gaps) % 4
        cursor = chance.choice(cursors(line)[where] or [0])
        prefix, suffix = "".join(lines[:at]) + line[:cursor], "".join(["\n", *lines[at + 1 :]])
        prefix_ids = tokenizer.encode(prefix[-2000:]).ids
        gaps.append(
            {
                "prefix": tokenizer.decode(prefix_ids[-160:]),
                "suffix": tokenizer.decode(tokenizer.encode(suffix[:800]).ids[:48]),
                "middle": line[cursor:],
                "is_inside_word": where == 2,
            }
        )
    return gaps


def cursors(line):
    """Return where a cursor can stand: at the start, behind the indentation, inside words, between tokens."""
    indent = len(line) - len(line.lstrip())
    words = [m.start() + n for m in re.finditer(r"[A-Za-z]{4,}", line) for n in range(1, len(m.group()))]
    between = [m.end() for m in re.finditer(r"[^\w\s]+|\w+ ?", line)]
    return [0], [indent], [n for n in words if n < len(line) - 3], [n for n in between if n < len(line) - 3]


if __name__ == "__main__":
    main()
