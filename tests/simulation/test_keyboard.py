"""Whatever way text is typed, it ends up as it should, and the log replays to it."""

import random
from collections import Counter
from datetime import UTC, datetime

from hypothesis import example, given, settings
from hypothesis import strategies as st

from echo_dagster import utf16
from echo_dagster.simulation.developer import developer
from echo_dagster.simulation.editor import Editor
from echo_dagster.simulation.keyboard import Keyboard

CONSTANT = {"user_id": "u_0", "consent": True}
WORDS = st.sampled_from(
    ["value", "self.items", "(", "):", "=", "😀", "é", "return", ",", "[", "'𝄞 note'", "x"]
)
LINES = st.lists(WORDS, max_size=5).map(" ".join)
#: Lines of code with some indentation, blank lines among them, no trailing blanks.
CODE = st.lists(st.tuples(st.integers(0, 3), LINES), min_size=1, max_size=6).map(
    lambda lines: "\n".join("    " * depth + line if line else "" for depth, line in lines)
)


def desk(before: str, after: str, seed: int) -> tuple[Editor, Keyboard]:
    editor = Editor("s", datetime(2026, 1, 5, 9, tzinfo=UTC), CONSTANT, "model")
    person = developer(0, "u_0", True, random.Random(seed))
    editor.open("a.py", before + after)
    keyboard = Keyboard(editor, "a.py", person, random.Random(seed))
    keyboard.position = len(before)
    return editor, keyboard


def replayed(editor: Editor) -> str:
    text = ""
    for event in editor.events:
        if event["kind"] == "snapshot":
            text = event["suffix"]
        elif event["kind"] == "edited":
            text = utf16.splice(text, event["offset"], event["length"], event["text"])
    return text


@given(before=CODE, text=CODE, after=CODE, seed=st.integers(0, 50))
@example(before="", text="\n", after="", seed=31)  # blanks slip in where a line begins
@example(before="value", text="\n", after="", seed=31)
@settings(max_examples=50)
def test_typed_and_formatted_text_is_the_text(before, text, after, seed):
    editor, keyboard = desk(before, "\n" + after, seed)
    keyboard.type(text)
    keyboard.format(len(before))
    assert editor.text("a.py") == before + text + "\n" + after
    assert keyboard.position == len(before + text)
    assert replayed(editor) == editor.text("a.py")


@given(before=CODE, old=CODE, new=CODE, after=CODE, seed=st.integers(0, 50))
@settings(max_examples=50)
def test_rewriting_ends_in_the_new_text(before, old, new, after, seed):
    editor, keyboard = desk(before + old, after, seed)
    keyboard.rewrite(old, new)
    assert editor.text("a.py") == before + new + after
    assert keyboard.position == len(before + new)
    assert replayed(editor) == editor.text("a.py")


@given(before=CODE, text=CODE, after=CODE, seed=st.integers(0, 50))
@settings(max_examples=30)
def test_erasing_leaves_nothing(before, text, after, seed):
    editor, keyboard = desk(before + text, after, seed)
    keyboard.erase(text)
    assert editor.text("a.py") == before + after
    assert keyboard.position == len(before)
    assert replayed(editor) == editor.text("a.py")


def test_typing_is_slow_and_comes_in_small_pieces():
    editor, keyboard = desk("", "", 1)
    text = "result = compute(first_value, second_value)\n" * 20
    keyboard.type(text)
    edits = [event for event in editor.events if event["kind"] == "edited"]
    assert len(edits) > len(text) / 7
    seconds = (editor.now - datetime(2026, 1, 5, 9, tzinfo=UTC)).total_seconds()
    assert 0.05 < seconds / len(text) < 1.0


def test_people_make_slips_and_change_their_minds():
    editor, keyboard = desk("", "", 2)
    keyboard.type("longer_name another_name " * 300)
    done = Counter(
        (event["reason"], event["length"] > 0) for event in editor.events if event["kind"] == "edited"
    )
    assert done["typing", True] > 5  # letters taken back
    assert done["undo", True] > 2


def test_the_editor_indents_and_the_developer_corrects():
    editor, keyboard = desk("", "", 3)
    keyboard.type("if value:\n    return 1\nreturn 2")
    edits = [(event["text"], event["length"]) for event in editor.events if event["kind"] == "edited"]
    assert ("\n    ", 0) in edits  # deeper after the colon, by itself
    assert ("", 4) in edits  # taken back for the line that is not
