"""False alarms and speed of the secret finder, on sources that hold next to no secrets: installed Python code.

A sample is cut as a gap would be: C_N is one to ten lines, the context what stands around them. Its file is drawn by
size, so that every line is as likely as any other. What is found in C_N would drop the sample, what is found in the
context is masked. Whether a finding is true a person must say: `--show` prints the lines.

    python -m benchmarks.secret_finding [--samples 20000] [--show]

The peer in speed are detect-secrets' own plugins, called line by line as its scan does, without its filters and
without verification.
"""

from __future__ import annotations

import argparse
import random
import sysconfig
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from echo_dagster import secrets

#: Context before and after C_N, in characters: about the budgets of tokens.
_BEFORE, _AFTER = 3000, 1000


class Cut(NamedTuple):
    """A sample: the file before C_N, C_N, and the file after it."""

    prefix: str
    middle: str
    suffix: str


@dataclass(frozen=True)
class Alarms:
    """What was found in samples: shares of all, and how many findings of each kind stand in a C_N."""

    samples: int
    dropped: int
    dropped_but_for_addresses: int
    masked: int
    kinds: Counter[str]
    lines: tuple[str, ...]


def standard_library() -> list[Path]:
    """Return the sources of the running Python's standard library, its tests included."""
    root = Path(sysconfig.get_path("stdlib"))
    return sorted(file for file in root.rglob("*.py") if "site-packages" not in file.parts)


def installed_packages() -> list[Path]:
    """Return the sources of the installed packages."""
    return sorted(Path(sysconfig.get_path("purelib")).rglob("*.py"))


def cuts(files: Sequence[Path], n: int, seed: int = 17) -> Iterator[Cut]:
    """Yield `n` samples cut from `files`."""
    chance = random.Random(seed)
    sizes = [file.stat().st_size for file in files]
    read: tuple[Path | None, list[str]] = (None, [])
    for file in sorted(chance.choices(files, sizes, k=n)):
        if read[0] != file:
            read = (file, file.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True))
        lines = read[1]
        at = chance.randrange(len(lines))
        end = at + chance.randint(1, 10)
        # farther away nothing decides about a sample
        yield Cut(
            "".join(lines[max(0, at - 600) : at]), "".join(lines[at:end]), "".join(lines[end : end + 600])
        )


def alarms(samples: Iterator[Cut]) -> Alarms:
    """Count what is found in samples."""
    n = dropped = others = masked = 0
    kinds: Counter[str] = Counter()
    seen: dict[str, None] = {}
    for prefix, middle, suffix in samples:
        n += 1
        text, start, end = prefix + middle + suffix, len(prefix), len(prefix) + len(middle)
        found = secrets.find(text, start, end)
        kinds.update(finding.type for finding in found)
        dropped += bool(found)
        others += any(finding.type not in ("email", "ip_address") for finding in found)
        context = secrets.find(text, max(0, start - _BEFORE), start) + secrets.find(text, end, end + _AFTER)
        masked += bool(context)
        for finding in found:
            line = text[text.rfind("\n", 0, finding.start) + 1 : finding.end + 20].split("\n")[0].strip()
            seen.setdefault(f"{finding.type}: {line[:160]}")
    return Alarms(n, dropped, others, masked, kinds, tuple(seen))


def seconds_per_character(samples: Sequence[Cut]) -> tuple[float, float]:
    """Return the seconds a character takes to search: here, and with detect-secrets' plugins."""
    texts = [cut.prefix[-_BEFORE:] + cut.middle + cut.suffix[:_AFTER] for cut in samples]
    secrets.find(texts[0])  # patterns are compiled once
    begun = time.perf_counter()
    for text in texts:
        secrets.find(text)
    ours = time.perf_counter() - begun
    plugins = list(_plugins())
    begun = time.perf_counter()
    for text in texts:
        for line in text.splitlines():
            for plugin in plugins:
                for _ in plugin.analyze_string(line):
                    pass
    theirs = time.perf_counter() - begun
    n = sum(map(len, texts))
    return ours / n, theirs / n


def _plugins() -> Iterator:
    """Yield every plugin of detect-secrets as it is by default."""
    package = import_module("detect_secrets.plugins")
    base = import_module("detect_secrets.plugins.base").BasePlugin
    for module in iter_modules(package.__path__):
        loaded = import_module(f"detect_secrets.plugins.{module.name}")
        for value in vars(loaded).values():
            is_own = (
                isinstance(value, type) and value.__module__ == loaded.__name__ and issubclass(value, base)
            )
            if is_own and not getattr(value, "__abstractmethods__", None):
                yield value()


def table(samples: int) -> Table:
    """Measure and return a table."""
    told = Table(title=f"Secrets: {samples:,} samples of each")
    for column in (
        "sources",
        "dropped",
        "of these not for an address",
        "context masked",
        "Mchar/s",
        "detect-secrets",
    ):
        told.add_column(column)
    for name, files in (
        ("standard library", standard_library()),
        ("installed packages", installed_packages()),
    ):
        found = alarms(cuts(files, samples))
        ours, theirs = seconds_per_character(list(cuts(files, 300)))
        shares = (found.dropped, found.dropped_but_for_addresses, found.masked)
        told.add_row(
            name,
            *(f"{share / found.samples:.2%}" for share in shares),
            f"{1e-6 / ours:.1f}",
            f"{1e-6 / theirs:.2f} ({theirs / ours:.0f} times slower)",
        )
    return told


def main() -> None:
    """Print the table and, asked for it, the lines in which something was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--show", action="store_true", help="the lines of C_N in which something was found")
    asked = parser.parse_args()
    Console(width=160).print(table(asked.samples))
    if asked.show:
        for files in (standard_library(), installed_packages()):
            found = alarms(cuts(files, asked.samples))
            print(found.kinds, *found.lines, sep="\n")


if __name__ == "__main__":
    main()
