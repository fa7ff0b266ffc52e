"""An open file: the developer writes a missing region, asks the model on the way, and acts on its proposals.

What lives here: what each behaviour of `developer.BEHAVIOURS` does to the document and to the log. What
does not: choosing the behaviour (`developer.py`) and the single keystrokes (`keyboard.py`).
"""

from __future__ import annotations

import random
from collections.abc import Generator
from dataclasses import dataclass

from echo_dagster.simulation.agent import Request
from echo_dagster.simulation.code import Ask, CodeFile, Region
from echo_dagster.simulation.developer import Developer, decide, good_words
from echo_dagster.simulation.editor import Editor
from echo_dagster.simulation.keyboard import Keyboard

#: Yields a request and is sent the proposal.
Waiting = Generator[Request, str, None]
#: The same, and returns how far the file's text is written then.
Asking = Generator[Request, str, int]

#: Longer than any editor's patience with an open gap, in seconds: a meeting, lunch.
_IDLE_S = (1_000, 2_400)
#: After so many seconds an undecided proposal is taken away.
_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Decision:
    """What the log does not say: what the developer had in mind and did. For counts and tests."""

    completion_id: str
    document: str
    behaviour: str
    proposal: str
    intended: str  # the real code from the cursor on, over as many lines as the proposal
    rest: str  # the real code from the cursor to the end of the region


class OpenFile:
    """A file in an editor, some regions missing. `decisions` collects what was done about proposals."""

    def __init__(
        self,
        name: str,
        file: CodeFile,
        *,
        person: Developer,
        editor: Editor,
        rng: random.Random,
        decisions: list[Decision],
    ) -> None:
        self.name = name
        self.file = file
        self._person = person
        self._editor = editor
        self._rng = rng
        self._decisions = decisions
        self._keyboard = Keyboard(editor, name, person, rng)
        self._missing = {(region.start, region.end) for region in file.regions}
        if file.auto_import is not None:
            self._missing.add(file.auto_import)

    def open(self) -> None:
        """Open the file as it is before the work."""
        at, text = 0, ""
        for start, end in sorted(self._missing):
            text += self.file.text[at:start]
            at = end
        self._editor.open(self.name, text + self.file.text[at:])
        self._editor.wait(self._rng.uniform(2, 15))

    def close(self) -> None:
        """Check that the document has become the file, and close it. One in five is left open."""
        if self._editor.text(self.name) != self.file.text:
            raise RuntimeError(f"the simulated work on {self.name} does not end in the real file")
        if self._rng.random() < 0.8:
            self._editor.close(self.name)

    def write(self, region: Region) -> Waiting:
        """Write one region, asking the model on the way; then the editor imports and formats."""
        self._editor.wait(self._rng.uniform(2, 20))
        start = self._keyboard.position = self._stands_at(region.start)
        self._editor.move(self.name, start)
        at = region.start  # how far the file's text is written
        for ask in region.asks:
            if at > ask.position:
                continue  # accepted text went past it
            self._keyboard.type(self.file.text[at : ask.position])
            at = yield from self._ask(region, ask)
        self._finish(at, region.end)
        self._missing.discard((region.start, region.end))
        start += self._import(region)
        self._editor.wait(self._rng.uniform(0.5, 2))
        self._keyboard.format(start)

    def _stands_at(self, position: int) -> int:
        """Return where a position of the file is in the document."""
        return position - sum(end - start for start, end in self._missing if start < position)

    def _finish(self, at: int, end: int) -> None:
        """Write the rest of a region; now and then its last lines are pasted."""
        line_end = self.file.text.find("\n", at, end)
        if line_end < 0 or self._rng.random() >= self._person.paste_share:
            self._keyboard.type(self.file.text[at:end])
            return
        self._keyboard.type(self.file.text[at:line_end])
        self._keyboard.paste(self.file.text[line_end:end])

    def _import(self, region: Region) -> int:
        """Let the editor add the missing import once its name is used; return how much text that is."""
        line = self.file.auto_import
        if line is None or line not in self._missing:
            return 0
        text = self.file.text[slice(*line)]
        if text.split()[-1] not in self.file.text[region.start : region.end]:
            return 0
        self._missing.discard(line)
        self._editor.edit(self.name, self._stands_at(line[0]), 0, text, "auto_import")
        self._keyboard.position += len(text)
        return len(text)

    def _ask(self, region: Region, ask: Ask) -> Asking:
        """Ask the model at the cursor and act on its answer."""
        text, cursor = self._editor.text(self.name), self._keyboard.position
        proposal = yield Request(text[:cursor], text[cursor:], ask.max_lines)
        self._editor.wait(self._rng.uniform(0.15, 0.6))
        return (yield from self._act(region, ask, proposal, is_first=True))

    def _act(self, region: Region, ask: Ask, proposal: str, *, is_first: bool) -> Asking:
        """Show a proposal, decide, and do what was decided."""
        if not proposal.strip():
            return ask.position  # the model has nothing to propose, and nothing is shown
        rest = self.file.text[ask.position : region.end]
        intended = "\n".join(rest.split("\n")[: proposal.count("\n") + 1])
        completion_id = self._editor.show(self.name, self._keyboard.position, proposal)
        room = (
            len(intended.split("\n", maxsplit=1)[0]) - 5
        )  # what can be typed with something left to propose
        behaviour = decide(self._person, proposal, intended, self._rng, may_supersede=is_first and room >= 1)
        self._decisions.append(Decision(completion_id, self.name, behaviour, proposal, intended, rest))
        self._editor.wait(self._rng.uniform(0.3, 1.0) + 0.02 * len(proposal))
        if behaviour == "supersede":
            typed = rest[: self._rng.randint(1, min(6, room))]
            self._keyboard.insert(typed, "typing")
            self._editor.reject(self.name, completion_id, "superseded")
            later = Ask(ask.position + len(typed), ask.max_lines)
            if proposal.startswith(typed):  # the same proposal, less what was typed of it
                return (yield from self._act(region, later, proposal[len(typed) :], is_first=False))
            return (yield from self._ask(region, later))
        if behaviour.startswith("accept"):
            return ask.position + self._accept(behaviour, completion_id, proposal, intended)
        if behaviour == "type_through":
            self._keyboard.type(proposal)
            return ask.position + len(proposal)
        self._refuse(behaviour, completion_id)
        return ask.position

    def _accept(self, behaviour: str, completion_id: str, proposal: str, intended: str) -> int:
        """Take a proposal and make it what it should have been; return how much of the file that wrote."""
        if behaviour == "accept_words":
            words = good_words(proposal, intended)
            for word in words:
                self._editor.wait(self._rng.uniform(0.2, 0.6))
                self._take(completion_id, word, partial=True)
            return len("".join(words))
        self._take(completion_id, proposal)
        if behaviour == "accept":
            return len(proposal)
        self._editor.wait(self._rng.lognormvariate(1.0, 0.6))
        if behaviour == "accept_then_edit":
            self._keyboard.rewrite(proposal, intended)
            return len(intended)
        self._keyboard.erase(proposal)
        self._editor.wait(self._rng.uniform(0.5, 2))
        return 0

    def _take(self, completion_id: str, text: str, *, partial: bool = False) -> None:
        self._editor.accept(self.name, self._keyboard.position, completion_id, text, partial=partial)
        self._keyboard.position += len(text)

    def _refuse(self, behaviour: str, completion_id: str) -> None:
        """Leave a proposal alone. Where it is ignored, the developer types on and no tool says so."""
        if behaviour in ("dismiss", "dismiss_and_leave"):
            self._editor.reject(self.name, completion_id, "dismissed")
            self._editor.wait(self._rng.uniform(0.2, 1.5))
        if behaviour == "dismiss_and_leave":
            self._editor.move(self.name, self._rng.randrange(len(self._editor.text(self.name)) // 2))
            self._editor.wait(self._rng.uniform(30, 600))  # reads other code of the same file
            self._editor.move(self.name, self._keyboard.position)
            self._editor.wait(self._rng.uniform(1, 3))
        if behaviour == "time_out":
            self._editor.wait(_TIMEOUT_S)
            self._editor.reject(self.name, completion_id, "timeout")
        if behaviour == "idle":
            self._editor.wait(self._rng.uniform(*_IDLE_S))
