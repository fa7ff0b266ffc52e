"""Files damaged at random: every line ends as an event or in quarantine, nothing is raised, and no text gets out.

A few hundred mutations of each format; ten thousand with ECHO_SLOW_TESTS=1, which also tells what came of them. Each is
made of its number alone, so that one that fails can be looked at again: `mutation(importer, number)`.
"""

from __future__ import annotations

import gzip
import os
import random
import re
from collections import Counter
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import formats
import mutations
import polars as pl
import pyarrow as pa
import pytest
from due import due
from formats import File
from test_landing import configured

from echo_dagster import events
from echo_dagster.acquisition import importers, landing, privacy
from echo_dagster.acquisition.importers import Event
from echo_dagster.acquisition.records import Bad
from echo_dagster.lake import Lake
from echo_dagster.settings import Source

IS_SLOW = os.environ.get("ECHO_SLOW_TESTS") == "1"
MUTATIONS = 10_000 if IS_SLOW else 500
#: Both are read by DuckDB, which takes its time to begin.
FEWER = {} if IS_SLOW else {"native": 100, "code4me": 60}
#: So many are also landed, so many at a time.
LANDED, LANDED_AT_ONCE = (200, 20) if IS_SLOW else (10, 10)

DAYS = [date(2022, 8, 8), date(2024, 1, 31), *(date(2026, 1, day) for day in (4, 5, 6))]
PRIVATE = ("sentinel", "@example.org")
STRINGS = [number for number, kind in enumerate(events.SCHEMA.values()) if kind == pl.String()]

#: What is no JSON, or too much of it, and yet an event where DuckDB reads the native log in columns.
TAKEN_IN_COLUMNS = re.compile(rb"NaN|Infinity|1e999|9{999}|,\s*[}\]]|\[{99}|(\{.a.: ?){99}")

pseudonym = privacy.with_key(b"test")


@dataclass(frozen=True)
class Mutation:
    """A damaged file and the source that reads it.

    Attributes:
        done: what was done to it.
        plain: its content before it was compressed; null where the compressed data are damaged.
        is_inside: names and texts stayed whole.
    """

    file: File
    source: Source
    done: str
    plain: bytes | None
    is_inside: bool


def mutation(importer: str, number: int) -> Mutation:
    dice = random.Random(f"{importer} {number}")
    file = dice.choice([file for file in formats.files() if file.of == importer])
    user = dice.choice((None, formats.USER))
    source = Source(name="log", importer=importer, path="*", user=user, consent=True)
    codec = "" if file.name.endswith(".parquet") else dice.choice(("",) * 8 + (".gz", ".zst"))
    name = file.name + codec
    if codec and dice.random() < 0.3:
        damaged, _, done = mutations.mutated(File("", name, packed(file.content, codec)), dice)
        return Mutation(File(importer, name, damaged), source, f"{name}: {done}", None, is_inside=False)
    plain, is_inside, done = mutations.mutated(file, dice)
    return Mutation(File(importer, name, packed(plain, codec)), source, f"{name}: {done}", plain, is_inside)


def packed(content: bytes, codec: str) -> bytes:
    if codec == ".zst":
        return bytes(pa.compress(content, "zstd", asbytes=True))
    return gzip.compress(content, mtime=0) if codec else content


def read(one: Mutation, folder: Path) -> list[Event | Bad]:
    """Read a damaged file and look at all that comes of it."""
    path = folder / one.file.name
    path.write_bytes(one.file.content)
    found = list(importers.checked(path, one.source, pseudonym))
    good = [item for item in found if isinstance(item, Event)]
    bad = [item for item in found if isinstance(item, Bad)]
    assert len(good) + len(bad) == len(found)
    assert events.frame([item.row for item in good]).height == len(good)

    refused = b"refused" in (one.plain or b"refused")  # by the collector, which says why in its own words
    told = "" if refused else "\n".join(f"{item.reason} {item.detail}" for item in bad).lower()
    assert not [secret for secret in (*PRIVATE, formats.CODE) if secret in told], told
    if one.is_inside:
        kept = "\n".join(item.row[at] or "" for item in good for at in STRINGS).lower()
        assert not [secret for secret in PRIVATE if secret in kept]

    plain_name = one.file.name.removesuffix(".gz").removesuffix(".zst")
    missing = due(one.file.of, plain_name, one.plain or b"") - {item.line for item in found}
    assert not missing, f"lines {sorted(missing)} are lost"
    return found


def read_in_batches(one: Mutation, folder: Path, found: list[Event | Bad]) -> None:
    """Read a file as landing does: the same events, and as many lines in quarantine, for the same reasons."""
    parts = list(importers.batches(folder / one.file.name, one.source, pseudonym, rows=3))
    good = pl.concat([events.frame([]), *(part.events for part in parts)])
    reasons = Counter(reason for part in parts for reason in part.quarantined["reason"])
    assert good.height + reasons.total() == len(found)
    if one.file.of != "native" or not TAKEN_IN_COLUMNS.search(one.plain or b""):
        assert good.rows() == [item.row for item in found if isinstance(item, Event)]
        assert reasons == Counter(item.reason for item in found if isinstance(item, Bad))


class Landing:
    """Some damaged files of one source, each delivered twice; in a folder of their day if the source knows it."""

    def __init__(self, root: Path, importer: str, day: date | None) -> None:
        place = "{day}" if day else "all"
        self.root, self.day, self.files, self.lines = root, day, 0, 0
        self.source = Source(
            name="log",
            importer=importer,
            path=f"{root}/{place}/*/*",
            user=formats.USER,
            consent=True,
        )

    def add(self, file: File) -> None:
        for delivery in ("first", "again"):
            path = self.root / f"{self.day or 'all'}" / f"{delivery}-{self.files}" / file.name
            path.parent.mkdir(parents=True)
            path.write_bytes(file.content)
            self.lines += sum(1 for _ in importers.checked(path, self.source, pseudonym, self.day))
        self.files += 1

    def check(self) -> None:
        """Land them: every line is accounted for, and whatever is there twice is there once."""
        settings = configured(self.root, self.source)
        done = landing.ingest(settings, Lake(settings.lake_dir), DAYS)
        assert done.files == 2 * self.files
        assert [day.lines for day in done.days] == [day.accounted_for for day in done.days]
        assert sum(day.lines for day in done.days) + sum(done.outside.values()) == self.lines
        for day in done.days:
            assert day.duplicates >= day.events


@pytest.mark.filterwarnings("ignore::DeprecationWarning:pickletools")  # damaged texts in pickles
@pytest.mark.parametrize("importer", importers.NAMES)
def test_damaged_files_are_conserved(tmp_path, importer):
    reasons: Counter[str] = Counter()
    n_events = 0
    for number in range(FEWER.get(importer, MUTATIONS)):
        one = mutation(importer, number)
        try:
            found = read(one, tmp_path)
            if importer == "native" or number % 10 == 0:
                read_in_batches(one, tmp_path, found)
        except Exception as error:
            raise AssertionError(f"mutation({importer!r}, {number}) of {one.done}") from error
        (tmp_path / one.file.name).unlink()
        n_events += sum(isinstance(item, Event) for item in found)
        reasons.update(item.reason for item in found if isinstance(item, Bad))
    print(told(importer, n_events, reasons))
    assert n_events and len(reasons) > 4


@pytest.mark.filterwarnings("ignore::DeprecationWarning:pickletools")
@pytest.mark.parametrize("day", [None, date(2026, 1, 5)], ids=["undated", "dated"])
@pytest.mark.parametrize("importer", importers.NAMES)
def test_days_of_damaged_files_are_conserved(tmp_path, monkeypatch, importer, day):
    monkeypatch.setenv(privacy.KEY_VARIABLE, "test")
    for start in range(0, LANDED, LANDED_AT_ONCE):
        land = Landing(tmp_path / str(start), importer, day)
        for number in range(start, start + LANDED_AT_ONCE):
            land.add(mutation(importer, number).file)
        land.check()


def told(importer: str, n_events: int, reasons: Counter[str]) -> str:
    total = n_events + reasons.total()
    shares = ", ".join(f"{reason} {count / total:.1%}" for reason, count in reasons.most_common())
    return f"\n{importer}: {n_events:,} events, {reasons.total():,} quarantined: {shares}"
