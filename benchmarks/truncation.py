"""How a file parses after C_N was cut, on real sources.

    python -m benchmarks.truncation LANGUAGE=FOLDER... [--cuts 5000] [--seed 7]

Gaps are made of files: the cursor at a random place (the start of a statement, of a line, or inside a line), C_N
what follows it up to the end of a line, ten lines on in the mean, the proposal its first line or its first lines,
the budget 64, 128 or 256 tokens. Three C_N of four end where the block of the cursor goes on, the others at any
line, also one in the midst of a statement or outside the block. The original file is the one with C_N whole; the
shares are those of cut middles after which the file parses no worse than that. By default: Python, on the
packages installed here.
"""

from __future__ import annotations

import argparse
import random
import sysconfig
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer

from benchmarks.own_parsers import own_parser
from echo_dagster import models
from echo_dagster.parsing import syntax
from echo_dagster.refinery import truncate
from echo_dagster.resources import resource
from echo_dagster.settings import ModelSettings

INSTALLED = sysconfig.get_path("purelib")
ENDINGS = {
    "python": ["py"],
    "typescript": ["ts"],
    "typescriptreact": ["tsx"],
    "javascript": ["js", "mjs", "cjs"],
    "java": ["java"],
    "go": ["go"],
    "rust": ["rs"],
    "c": ["c", "h"],
    "cpp": ["cc", "cpp", "hpp", "hxx", "h"],
    "csharp": ["cs"],
    "ruby": ["rb"],
    "php": ["php"],
    "kotlin": ["kt"],
    "shellscript": ["sh"],
    "sql": ["sql"],
    "html": ["html"],
    "css": ["css"],
    "json": ["json"],
}
_CHARS = (400, 200_000)
_LONGEST_LINE = 400  # of code: a longer one is data, or minified
_FILES = 2000
_CODE_IN_STRINGS = ("template_substitution", "interpolation", "command_substitution")
_NOT_ONE_STRING = (
    "concatenated_string",
    "chained_string",
    "string_array",
)  # pieces, with line breaks between
_GAPS_PER_CUT = 20  # no more are made; the table says how many cuts there were
_IN_BLOCK = 0.75  # of the gaps end where the cursor's block goes on, as in an editor; the others anywhere
_BATCH = 250  # what a parser is given at a time


@dataclass(frozen=True)
class Gap:
    """A place in a file and what is asked for there."""

    prefix: str
    final: str
    suffix: str
    proposal: str
    budget: int


@dataclass
class Found:
    """What became of the gaps of a language. `own_*`: of the cuts that its own parser could judge."""

    language: str
    gaps: int = 0
    whole: int = 0
    nothing: int = 0
    cut: int = 0
    no_worse: int = 0
    in_string: int = 0
    own_cut: int = 0
    own_no_worse: int = 0
    seconds: float = 0.0


def sources(language: str, folders: Sequence[Path], rng: random.Random) -> list[str]:
    """Return source files of a language below the folders, at most `_FILES`, as they were drawn."""
    paths = sorted(
        path
        for folder in folders
        for ending in ENDINGS[language]
        for path in folder.rglob(f"*.{ending}")
        if path.is_file() and not path.name.endswith((".d.ts", f".min.{ending}"))
    )
    rng.shuffle(paths)
    found = []
    for path in paths:
        try:
            text = path.read_bytes().decode()
        except UnicodeDecodeError:
            continue
        is_code = max(map(len, text.split("\n"))) <= _LONGEST_LINE
        if _CHARS[0] <= len(text) <= _CHARS[1] and is_code:
            found.append(text)
        if len(found) == _FILES:
            break
    return found


def gaps(texts: Sequence[str], rng: random.Random) -> Iterator[Gap]:
    """Yield gaps in randomly drawn files, without end."""
    while True:
        lines = rng.choice(texts).splitlines(keepends=True)
        first = rng.randrange(len(lines))
        if not lines[first].strip():
            continue
        indentation = _indentation(lines[first])
        column = rng.choice([0, indentation, indentation, rng.randrange(len(lines[first].rstrip("\r\n")))])
        last = min(first + int(rng.expovariate(1 / 10)), len(lines) - 1)
        if rng.random() < _IN_BLOCK:
            last = _last_of_block(lines, first, last)
        before, text = "".join(lines[:first]), "".join(lines[first : last + 1])
        final = text[column:].rstrip("\r\n")
        suffix = text[column + len(final) :] + "".join(lines[last + 1 :])
        if not final.strip():
            continue
        n_lines = rng.choice([1, rng.randrange(2, 9)])
        proposal = "\n".join(final.strip().split("\n")[:n_lines])
        yield Gap(before + text[:column], final, suffix, proposal, rng.choice([64, 128, 256]))


def _last_of_block(lines: Sequence[str], first: int, last: int) -> int:
    """Return the last line, at most `last`, at which no line has left the block of `first` or opened another."""
    base, found = _indentation(lines[first]), first
    for at in range(first, last + 1):
        if lines[at].strip() and _indentation(lines[at]) < base:
            break
        following = next((line for line in lines[at + 1 :] if line.strip()), "")
        if _indentation(following) <= base:
            found = at
    return found


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip())


def measure(
    language: str, folders: Sequence[Path], n_cuts: int, tokenizer: Tokenizer, seed: int = 7
) -> tuple[Found, list[Gap]]:
    """Make gaps until `n_cuts` of them were cut; return the counts, and the cuts that made a file worse."""
    rng = random.Random(f"{seed} {language}")
    texts = sources(language, folders, rng)
    if not texts:
        raise ValueError(f"no {language} sources of a fit size below {', '.join(map(str, folders))}")
    found, worse, cuts = Found(language), [], []
    for gap in islice(gaps(texts, rng), _GAPS_PER_CUT * n_cuts):
        start = time.perf_counter()
        middle = truncate.middle(
            *(language, gap.prefix, gap.final, gap.suffix),
            proposal=gap.proposal,
            tokenizer=tokenizer,
            budget=gap.budget,
        )
        found.seconds += time.perf_counter() - start
        found.gaps += 1
        if middle is None:
            found.nothing += 1
        elif middle.text.rstrip() == gap.final.rstrip():
            found.whole += 1
        else:
            found.cut += 1
            # Not `syntax.window`: the whole file.
            parsed = syntax.parse(language, gap.prefix, gap.final, gap.suffix)
            after = syntax.parse(language, gap.prefix, middle.text, gap.suffix)
            in_string = _is_in_string(parsed, len(middle.text.encode()))
            found.in_string += in_string
            found.no_worse += after.errors <= parsed.errors
            cuts.append((gap, middle.text))
            if after.errors > parsed.errors or in_string:
                worse.append(Gap(gap.prefix, middle.text, gap.suffix, gap.final, gap.budget))
            if found.cut == n_cuts:
                break
    parses = own_parser(language)
    for at in range(0, len(cuts) if parses else 0, _BATCH):
        batch = cuts[at : at + _BATCH]
        before = parses([gap.prefix + gap.final + gap.suffix for gap, _ in batch])
        after = parses([gap.prefix + text + gap.suffix for gap, text in batch])
        for (gap, text), was, now in zip(batch, before, after, strict=True):
            found.own_cut += was
            found.own_no_worse += was and now
            if was and not now:
                worse.append(Gap(gap.prefix, text, gap.suffix, gap.final, gap.budget))
    return found, worse


def _is_in_string(parsed: syntax.Parsed, length: int) -> bool:
    """Say whether the original file has a string, a comment or a heredoc going on behind the cut."""
    at = parsed.start + length
    node = parsed.tree.root_node.descendant_for_byte_range(at, at + 1)
    while node is not None and node.type not in _CODE_IN_STRINGS:
        kind = node.type
        if kind.startswith("heredoc") or ("string" in kind and kind not in _NOT_ONE_STRING):
            return node.start_byte < at < node.end_byte - 1
        node = node.parent
    return False


def table(results: Sequence[Found]) -> Table:
    """Return one row a language."""
    titles = [
        "gaps",
        "kept whole",
        "nothing fits",
        "cut",
        "no worse",
        "by its own parser",
        "in a string",
        "ms",
    ]
    made = Table("language", *titles, title="Truncation")
    for each in results:
        own = f"{each.own_no_worse / each.own_cut:.2%} of {each.own_cut:,}" if each.own_cut else ""
        shares = f"{each.no_worse / each.cut:.2%}" if each.cut else ""
        numbers = [f"{n:,}" for n in (each.gaps, each.whole, each.nothing, each.cut)]
        per_gap = f"{1000 * each.seconds / each.gaps:.1f}"
        made.add_row(each.language, *numbers, shares, own, str(each.in_string), per_gap)
    return made


def load_tokenizer(name: str, data_dir: Path) -> Tokenizer:
    """Return the tokenizer of a base model that ships with the project."""
    raw = yaml.safe_load(resource("configs", "models", f"{name}.yaml").read_text(encoding="utf-8"))
    return models.load_tokenizer(models.resolve(ModelSettings.model_validate(raw), data_dir).path)


def main() -> None:
    """Print a row for each language."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="*", metavar="LANGUAGE=FOLDER", default=[f"python={INSTALLED}"])
    parser.add_argument("--cuts", type=int, default=5000, help="of each language")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--show", type=int, default=0, help="print so many cuts that made a file worse")
    asked = parser.parse_args()
    tokenizer = load_tokenizer(asked.model, asked.data_dir)
    folders: dict[str, list[Path]] = {}
    for each in asked.sources:
        language, folder = each.split("=", 1)
        folders.setdefault(language, []).append(Path(folder))
    results = []
    for language, below in folders.items():
        found, worse = measure(language, below, asked.cuts, tokenizer, asked.seed)
        results.append(found)
        for gap in worse[: asked.show]:
            tail, head = gap.prefix[-300:], gap.suffix[:200]
            print(f"--- {language}\n{tail}⟦{gap.final}⟧{head}\n... C_N was\n{gap.proposal[:900]}")
    Console(width=160).print(table(results))


if __name__ == "__main__":
    main()
