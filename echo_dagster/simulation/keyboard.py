"""How text gets into a document: bursts, slips and corrections, line breaks with indentation, pastes, undo,
format.

What lives here: the edits of one developer at one cursor that end in a given text. What does not: proposals
(`writing.py`). Every method leaves the document as the code says it must be; only the way there differs.
"""

from __future__ import annotations

import difflib
import random
import re

from echo_dagster.simulation.developer import Developer
from echo_dagster.simulation.editor import Editor

_PIECE = re.compile(r"(?:\n[ ]*)+|\w+|[^\w\n]+")
_TOKEN = re.compile(r"\w+|\s+|[^\w\s]")
_TRAILING = re.compile(r"(?<=[^ \n]) +(?=\n)")
_UNDONE = ("None", "self", "pass", "data", "result", "value")


class Keyboard:
    """One developer's hands on one document. `position` is the cursor; every edit moves it."""

    def __init__(self, editor: Editor, document: str, person: Developer, rng: random.Random) -> None:
        self.position = 0
        self._editor = editor
        self._document = document
        self._person = person
        self._rng = rng

    def type(self, text: str) -> None:
        """Type `text`. Trailing blanks may slip in at line ends; `format` takes them out again."""
        for match in _PIECE.finditer(text):
            piece = match[0]
            if piece.startswith("\n"):
                if self._rng.random() < 0.03 and not self._is_after_blank():
                    self.insert("  ", "typing")
                self._break_line(piece)
                continue
            if len(piece) > 3 and piece.isidentifier() and self._rng.random() < self._person.typo_share:
                self._slip(piece)
            elif len(piece) > 3 and self._rng.random() < 0.01:
                self._change_of_mind()
            self._burst(piece)

    def insert(self, text: str, reason: str) -> None:
        """Insert `text` at once."""
        self._editor.edit(self._document, self.position, 0, text, reason)
        self.position += len(text)

    def delete(self, count: int, reason: str) -> None:
        """Take out the `count` characters before the cursor."""
        self.position -= count
        self._editor.edit(self._document, self.position, count, "", reason)

    def paste(self, text: str) -> None:
        """Fetch `text` from somewhere and paste it."""
        self._editor.wait(self._rng.uniform(1.5, 6))
        self.insert(text, "paste")

    def erase(self, text: str) -> None:
        """Take `text`, behind which the cursor is, out again: at once by undo, or backwards word by word."""
        if self._rng.random() < 0.4:
            self.delete(len(text), "undo")
            return
        for word in reversed(re.findall(r"\s*\S+|\s+", text)):
            self.delete(len(word), "typing")
            self._editor.wait(0.15)

    def rewrite(self, old: str, new: str) -> None:
        """Turn `old`, behind which the cursor is, into `new`: the edits of a token-wise difference."""
        self.position -= len(old)
        before, after = _TOKEN.findall(old), _TOKEN.findall(new)
        for operation, i, j, k, m in difflib.SequenceMatcher(
            None, before, after, autojunk=False
        ).get_opcodes():
            removed, inserted = "".join(before[i:j]), "".join(after[k:m])
            self.position += len(removed)
            if operation == "equal":
                continue
            self._editor.wait(self._rng.uniform(0.6, 2.0))
            if removed:
                self.delete(len(removed), "typing")
            self._burst(inserted)

    def format(self, start: int) -> None:
        """Take trailing blanks out from `start` to the cursor, as a formatter does on saving."""
        text = self._editor.text(self._document)
        for match in reversed(list(_TRAILING.finditer(text, start, self.position))):
            self._editor.edit(self._document, match.start(), len(match[0]), "", "format")
            self.position -= len(match[0])

    def _is_after_blank(self) -> bool:
        """Say whether nothing but a blank or a line's start is before the cursor: `format` leaves blanks there."""
        return self._editor.text(self._document)[: self.position][-1:] in ("", "\n", " ")

    def _burst(self, text: str) -> None:
        """Type without a break, a few characters to the change; then, now and then, think."""
        while text:
            size = self._rng.randint(1, self._person.burst)
            now, text = text[:size], text[size:]
            self._editor.wait(len(now) * self._person.seconds_per_char * self._rng.uniform(0.7, 1.5))
            self.insert(now, "typing")
        if self._rng.random() < 0.08:
            self._editor.wait(self._rng.lognormvariate(0.7, 0.6))  # two seconds, now and then six

    def _break_line(self, breaks: str) -> None:
        """Type line breaks; the editor indents the last line by itself, and the developer corrects it."""
        *blank, indent = breaks[1:].split("\n")
        text = self._editor.text(self._document)
        line = text[text.rfind("\n", 0, self.position) + 1 : self.position].rstrip()
        for spaces in blank:
            self._editor.wait(self._person.seconds_per_char)
            self.insert("\n" + spaces, "typing")
        deeper = 4 if line.endswith((":", "(", "[", "{")) else 0
        guess = " " * (len(line) - len(line.lstrip()) + deeper)
        self._editor.wait(self._person.seconds_per_char * 2)
        self.insert("\n" + guess, "typing")
        if len(guess) > len(indent):
            self._editor.wait(self._person.seconds_per_char)
            self.delete(len(guess) - len(indent), "typing")
        else:
            self._burst(indent[len(guess) :])

    def _slip(self, word: str) -> None:
        """Type the beginning of a word with two letters swapped, see it, and take it back."""
        at = self._rng.randint(1, len(word) - 2)
        wrong = word[:at] + word[at + 1] + word[at]
        self._burst(wrong)
        self._editor.wait(self._rng.uniform(0.3, 0.8))
        self.delete(len(wrong), "typing")

    def _change_of_mind(self) -> None:
        """Write one thing and undo it."""
        word = self._rng.choice(_UNDONE)
        self._editor.wait(0.8)
        self.insert(word, "typing")
        self._editor.wait(self._rng.uniform(0.5, 1.5))
        self.delete(len(word), "undo")
