"""One developer's session: which files are open, and in which order their missing regions are written.

A session is a generator: it yields a `Request` wherever the developer stops to see a proposal and is sent the
proposal back, so that many sessions can wait for one batch of the model.

What does not live here: what is left to write (`code.py`), writing a region (`writing.py`).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from echo_dagster.simulation.code import CodeFile
from echo_dagster.simulation.developer import Developer
from echo_dagster.simulation.editor import Editor
from echo_dagster.simulation.writing import Decision, OpenFile, Waiting


@dataclass(frozen=True)
class Session:
    """One developer at one editor, with the files to write. What happens goes into `editor.events`."""

    person: Developer
    editor: Editor
    files: Sequence[CodeFile]
    repository: str
    rng: random.Random
    decisions: list[Decision] = field(default_factory=list)

    @property
    def n_asks(self) -> int:
        """Return how many asks are planned. Accepted text can go past one; a superseded one adds one."""
        return sum(file.n_asks for file in self.files)

    def work(self) -> Waiting:
        """Write all files, two at a time: a region here, a region there, as in files that belong together."""
        for first in range(0, len(self.files), 2):
            pair = [self._open(file) for file in self.files[first : first + 2]]
            for document in pair:
                document.open()
            for turn in zip_longest(*(document.file.regions for document in pair)):
                for document, region in zip(pair, turn, strict=True):
                    if region is not None:
                        yield from document.write(region)
            for document in pair:
                document.close()
            self.editor.wait(self.rng.uniform(20, 120))

    def _open(self, file: CodeFile) -> OpenFile:
        name = f"{self.repository}/{file.path}"
        return OpenFile(
            name, file, person=self.person, editor=self.editor, rng=self.rng, decisions=self.decisions
        )
