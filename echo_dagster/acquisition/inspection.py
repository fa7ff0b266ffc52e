"""What log files hold, counted: which tool wrote them, whose and of which days they are, and what cannot be read.

Every file is read to its end as the pipeline would read it, and nothing is written. Users are counted under a key
that is thrown away. What does not live here: whose format a file is in (`guessing.py`), how the counts are told
(`inspection_rows.py`), and the configuration that points Echo at the files (`source_patterns.py`).
"""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from glob import glob
from pathlib import Path
from typing import Any

import polars as pl

from echo_dagster.acquisition import guessing, importers
from echo_dagster.acquisition.importers import Batch
from echo_dagster.acquisition.lines import CODECS
from echo_dagster.acquisition.privacy import with_key
from echo_dagster.settings import Source

#: Stands for the user in files that name none, so that what they hold can be counted.
_NOBODY = "nobody"
#: Reading more than this takes long enough to show that it goes on.
BIG_BYTES = 50_000_000

_EXAMPLES = 3
_BATCH_ROWS = 20_000
#: What a compressed log grows to.
_COMPRESSION = 8


@dataclass(frozen=True)
class Quarantined:
    """Lines that cannot be read for one reason, and where the first of them stand, as `file:line`."""

    lines: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class FileDays:
    """A file, and the first and last UTC day of its events; null where it has none."""

    path: Path
    first: date | None
    last: date | None


@dataclass(frozen=True)
class Found:
    """What the files of one importer hold.

    Attributes:
        importer: which reads them.
        why: what tells it, with the number of files it was seen in.
        files: each with its days, in the order of their names.
        lines: events and lines that cannot be read. One line of a file can be several events.
        is_partial: `limit` ended the reading of a file, or could have.
        kinds, days: events by kind and by UTC day.
        rejected: `rejected` events by reason; `unknown` where the tool gives none.
        users, sessions, documents, repositories: how many there are. A session is one of a user, a document one of a
            repository.
        languages, models: proposals shown, by what they name.
        cohorts, consent: events, by what they say themselves; consent is `given` or `withheld`.
        with_suffix, with_offset: proposals shown whose suffix, and whose place in the document, is known.
        names_no_user: in some files nothing says whose log it is.
        quarantined: what cannot be read, by reason.
    """

    importer: str
    why: Mapping[str, int]
    files: tuple[FileDays, ...]
    lines: int
    is_partial: bool
    kinds: Mapping[str, int]
    days: Mapping[date, int]
    rejected: Mapping[str, int]
    users: int
    sessions: int
    documents: int
    repositories: int
    languages: Mapping[str, int]
    models: Mapping[str, int]
    cohorts: Mapping[str, int]
    consent: Mapping[str, int]
    with_suffix: int
    with_offset: int
    names_no_user: bool
    quarantined: Mapping[str, Quarantined]

    @property
    def tracking(self) -> str:
        """How gaps can be followed: by `edits`, by `snapshots`, or by `later proposals` of the same document alone."""
        if self.kinds.get("edited"):
            return "edits"
        return "snapshots" if self.kinds.get("snapshot") else "later proposals"


@dataclass(frozen=True)
class Inspection:
    """What was found, one for each importer in the order of their names, and the files that none reads, with why."""

    found: tuple[Found, ...]
    unknown: Mapping[Path, str]


@dataclass
class _Tally:
    """Counts of one importer while its files are read. Memory grows with what is distinct, not with the events."""

    importer: str
    why: Counter[str] = field(default_factory=Counter)
    files: list[FileDays] = field(default_factory=list)
    lines: int = 0
    is_partial: bool = False
    counts: dict[str, Counter[Any]] = field(default_factory=dict)
    distinct: dict[str, set[int]] = field(default_factory=dict)
    with_suffix: int = 0
    with_offset: int = 0
    names_no_user: bool = False
    quarantined: dict[str, Quarantined] = field(default_factory=dict)


def files_of(paths: Sequence[str]) -> list[Path]:
    """Return the files that paths name, each once: a file, a folder with all below it, or a pattern.

    Hidden files are left out, as patterns leave them out.

    Raises:
        ValueError: a path names nothing.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if Path(path).is_dir():
            some = list(_below(Path(path)))
        else:
            # `Path.glob` takes no absolute pattern, hence the module
            names = [path] if Path(path).is_file() else sorted(glob(path, recursive=True))  # noqa: PTH207
            some = [Path(name) for name in names if Path(name).is_file()]
        if not some:
            raise ValueError(f"{path}: no such file, and no file below it")
        found.update(dict.fromkeys(some))
    return list(found)


def inspect(
    files: Iterable[Path], limit: int | None = None, progress: Callable[[int, int], None] | None = None
) -> Inspection:
    """Read files and count what they hold.

    Args:
        files: as `files_of` gives them.
        limit: of each file count no more than so many lines.
        progress: is told (megabytes read, megabytes of all files); of a file being read an estimate.
    """
    sizes = {file: file.stat().st_size for file in files}
    pseudonym = with_key(secrets.token_bytes(32))
    tallies: dict[str, _Tally] = {}
    unknown: dict[Path, str] = {}
    done, total = 0, sum(sizes.values())
    for file, size in sizes.items():
        try:
            guessed = guessing.guess(file)
        except PermissionError:
            guessed = guessing.Guess(None, "may not be read")
        if guessed.importer is None:
            unknown[file] = guessed.why
        else:
            tally = tallies.setdefault(guessed.importer, _Tally(guessed.importer))
            tally.why[guessed.why] += 1
            read = 0
            for n_bytes in _read(file, tally, pseudonym, limit):
                read += n_bytes
                if progress is not None:
                    progress((done + min(size, read)) // 10**6, total // 10**6)
        done += size
        if progress is not None:
            progress(done // 10**6, total // 10**6)
    return Inspection(tuple(_found(tallies[name]) for name in sorted(tallies)), unknown)


def _below(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder in the order of their names."""
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and (file := Path(root, name)).is_file():
                yield file


def _read(file: Path, tally: _Tally, pseudonym: Callable[[str], str], limit: int | None) -> Iterator[int]:
    """Count what a file holds, and yield after each batch about how many of its bytes that was."""
    packed = _COMPRESSION if file.suffix.lower() in CODECS else 1
    first, last, lines = None, None, 0
    for batch in _batches(file, tally, pseudonym, limit):
        _count(tally, batch)
        lines += batch.events.height + batch.quarantined.height
        if batch.events.height:
            day = batch.events.get_column("ts").dt.date()
            low, high = day.min(), day.max()
            assert isinstance(low, date) and isinstance(high, date)
            first, last = min(first or low, low), max(last or high, high)
        text = batch.events.select(pl.col(pl.String).str.len_bytes().sum()).sum_horizontal().item()
        yield int(text) // packed
    tally.is_partial |= lines == limit
    tally.files.append(FileDays(file, first, last))


def _batches(
    file: Path, tally: _Tally, pseudonym: Callable[[str], str], limit: int | None
) -> Iterator[Batch]:
    """Yield what a file holds. Where it names no user, it is read as one user's.

    What an event does not say stays null, so that what it says can be told apart from what the configuration says.
    """
    source = Source(name="inspected", importer=tally.importer, path="", consent=False).model_copy(
        update={"consent": None}
    )
    parts = importers.batches(file, source, pseudonym, rows=_BATCH_ROWS, limit=limit)
    head = next(parts, None)
    if head is not None and _names_no_user(head):
        tally.names_no_user = True
        named = source.model_copy(update={"user": _NOBODY})
        yield from importers.batches(file, named, pseudonym, rows=_BATCH_ROWS, limit=limit)
    elif head is not None:
        yield head
        yield from parts


def _names_no_user(batch: Batch) -> bool:
    """Say whether all of a batch is refused, and some of it only because nothing says who the user is."""
    is_why = pl.col("reason").is_in(["missing_field", "missing_column"]) & (pl.col("detail") == "user_id")
    return not batch.events.height and batch.quarantined.filter(is_why).height > 0


def _count(tally: _Tally, batch: Batch) -> None:
    """Add a batch to the counts."""
    good, bad = batch
    tally.lines += good.height + bad.height
    shown = good.filter(pl.col("kind") == "shown")
    rejected = good.filter(pl.col("kind") == "rejected").get_column("reason").fill_null("unknown")
    given = good.get_column("consent").replace_strict({True: "given", False: "withheld"}, default=None)
    for name, values in (
        ("kinds", good.get_column("kind")),
        ("days", good.get_column("ts").dt.date()),
        ("rejected", rejected),
        ("languages", shown.get_column("language").fill_null("unknown")),
        ("models", shown.get_column("model").fill_null("unknown")),
        ("cohorts", good.get_column("cohort").drop_nulls()),
        ("consent", given.drop_nulls()),
    ):
        counted = values.alias("value").value_counts()
        tally.counts.setdefault(name, Counter()).update(dict(counted.iter_rows()))
    for name, columns in (
        ("users", ["user_id"]),
        ("sessions", ["user_id", "session_id"]),
        ("documents", ["repository", "document"]),
        ("repositories", ["repository"]),
    ):
        rows = good.select(columns).unique().filter(pl.col(columns[-1]).is_not_null()).iter_rows()
        tally.distinct.setdefault(name, set()).update(map(hash, rows))
    tally.with_suffix += shown.height - shown.get_column("suffix").null_count()
    tally.with_offset += shown.height - shown.get_column("offset").null_count()
    for reason, lines, examples in (
        bad.group_by("reason", maintain_order=True)
        .agg(pl.len(), pl.format("{}:{}", "file", "line").head(_EXAMPLES).alias("examples"))
        .iter_rows()
    ):
        known = tally.quarantined.get(reason, Quarantined(0, ()))
        tally.quarantined[reason] = Quarantined(known.lines + lines, (*known.examples, *examples)[:_EXAMPLES])


def _found(tally: _Tally) -> Found:
    counts = {
        name: dict(sorted(counter.items(), key=lambda item: (-item[1], item[0])))
        for name, counter in tally.counts.items()
    }
    n_distinct = {name: len(values) for name, values in tally.distinct.items()}
    return Found(
        importer=tally.importer,
        why=dict(tally.why.most_common()),
        files=tuple(tally.files),
        lines=tally.lines,
        is_partial=tally.is_partial,
        kinds=counts.get("kinds", {}),
        days=dict(sorted(counts.get("days", {}).items())),
        rejected=counts.get("rejected", {}),
        users=n_distinct.get("users", 0),
        sessions=n_distinct.get("sessions", 0),
        documents=n_distinct.get("documents", 0),
        repositories=n_distinct.get("repositories", 0),
        languages=counts.get("languages", {}),
        models=counts.get("models", {}),
        cohorts=counts.get("cohorts", {}),
        consent=counts.get("consent", {}),
        with_suffix=tally.with_suffix,
        with_offset=tally.with_offset,
        names_no_user=tally.names_no_user,
        quarantined=dict(sorted(tally.quarantined.items(), key=lambda item: (-item[1].lines, item[0]))),
    )
