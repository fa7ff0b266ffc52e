"""Data frames in a pickle, read without running it and without pandas.

A pickle is a program: loading it calls whatever it names. Here its instructions only build lists, texts, numbers and
notes of what would have been called. The names that pickled frames consist of are admitted; any other name, and any
other instruction, makes the file forbidden. What the notes say is then read as pandas would.

What does not live here: what the frames hold (`cups.py`).
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

#: All that the frames of the study name, and the same things where other versions of pandas and numpy keep them.
ADMITTED = frozenset(
    {
        "pandas.core.frame.DataFrame",
        "pandas.DataFrame",
        "pandas.core.internals.managers.BlockManager",
        "pandas._libs.internals._unpickle_block",
        "pandas.core.indexes.base._new_Index",
        "pandas.core.indexes.base.Index",
        "pandas.Index",
        "pandas.core.indexes.range.RangeIndex",
        "pandas.RangeIndex",
        "numpy.core.multiarray._reconstruct",
        "numpy._core.multiarray._reconstruct",
        "numpy.ndarray",
        "numpy.dtype",
        "builtins.slice",
    }
)

#: Instructions that put on the stack what they carry, or something new.
_CARRIED = frozenset(
    {
        "BININT",
        "BININT1",
        "BININT2",
        "LONG1",
        "BINFLOAT",
        "SHORT_BINUNICODE",
        "BINUNICODE",
        "BINUNICODE8",
        "SHORT_BINBYTES",
        "BINBYTES",
        "BINBYTES8",
    }
)
_NEW: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
}

#: How many things an instruction takes from the stack; the others take all down to the last mark.
_TAKES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "APPEND": 1, "SETITEM": 2, "STACK_GLOBAL": 2, "REDUCE": 2}

_INTEGERS = {"i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q"}

_Kind = TypeVar("_Kind")


class Forbidden(ValueError):
    """A pickle that names or does what no frame needs. The message names it."""


class NoFrames(ValueError):
    """A pickle that is damaged, or that holds no list of frames."""


@dataclass(frozen=True)
class _Name:
    text: str


@dataclass
class _Note:
    """A call that was not made: of what, with what, and the state that the result would have got."""

    of: str
    given: tuple[Any, ...]
    state: Any = None


def frames(data: bytes) -> list[Iterator[dict[str, Any]]]:
    """Return the frames of a pickled list, each as its rows, each row by column name.

    Only columns of objects are there: texts, dictionaries, mixed values. Columns of numbers are left out.

    Raises:
        Forbidden: the pickle does more than build frames.
        NoFrames: it is damaged, or holds something else.
    """
    try:
        return [_rows(_columns(frame)) for frame in _of(_built(data), list)]
    except Forbidden:
        raise
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        OverflowError,
        struct.error,
    ) as error:
        raise NoFrames("damaged, or no list of data frames") from error


def _built(data: bytes) -> Any:
    """Return what the instructions build; whatever they would call is a `_Note`."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[object, Any] = {}
    for instruction, given, _ in pickletools.genops(data):
        name: str = instruction.name
        if name in _CARRIED:
            stack.append(given)
        elif name in _NEW:
            stack.append(_NEW[name]())
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[given])
        elif name in ("MEMOIZE", "BINPUT", "LONG_BINPUT"):
            memo[len(memo) if name == "MEMOIZE" else given] = stack[-1]
        elif name == "MARK":
            marks.append(len(stack))
        elif name == "GLOBAL":
            stack.append(_admitted(str(given).replace(" ", ".")))
        elif name == "STOP":
            return stack.pop()
        elif name not in ("PROTO", "FRAME"):
            _combine(name, stack, marks)
    raise NoFrames("ends early")


def _combine(name: str, stack: list[Any], marks: list[int]) -> None:
    """Carry out an instruction that makes one thing of what lies on top of the stack."""
    if name not in (*_TAKES, "TUPLE", "APPENDS", "SETITEMS", "NEWOBJ", "BUILD", "POP"):
        raise Forbidden(f"the instruction {name}")
    takes = _TAKES.get(name, {"NEWOBJ": 2, "BUILD": 1, "POP": 1}.get(name))
    start = marks.pop() if takes is None else len(stack) - takes
    if not 0 <= start <= len(stack):
        raise NoFrames("takes more than there is")
    items = stack[start:]
    del stack[start:]
    if name.startswith("TUPLE"):
        stack.append(tuple(items))
    elif name in ("APPEND", "APPENDS"):
        _of(stack[-1], list).extend(items)
    elif name in ("SETITEM", "SETITEMS"):
        pairs = zip(items[::2], items[1::2], strict=True)
        _of(stack[-1], dict).update({_of(key, str): value for key, value in pairs})
    elif name == "STACK_GLOBAL":
        stack.append(_admitted(".".join(_of(part, str) for part in items)))
    elif name in ("REDUCE", "NEWOBJ"):
        stack.append(_Note(_of(items[0], _Name).text, _of(items[1], tuple)))
    elif name == "BUILD":
        _of(stack[-1], _Note).state = items[0]


def _admitted(name: str) -> _Name:
    if name not in ADMITTED:
        raise Forbidden("a name that no data frame needs")
    return _Name(name)


def _of(value: object, kind: type[_Kind]) -> _Kind:
    if not isinstance(value, kind):
        raise NoFrames(f"{type(value).__name__} where {kind.__name__} is expected")
    return value


def _note(value: object, of: str) -> _Note:
    note = _of(value, _Note)
    if note.of.rpartition(".")[2] != of:
        raise NoFrames(f"{note.of} where {of} is expected")
    return note


def _columns(frame: object) -> dict[str, list[Any]]:
    """Return the columns of objects of a frame, by name. A frame is made of names and blocks of like columns."""
    state = _of(_note(frame, "DataFrame").state, dict)
    blocks, axes = _note(state["_mgr"], "BlockManager").given
    names = _array(_note(_of(axes, list)[0], "_new_Index").given[1]["data"])[3]
    columns: dict[str, list[Any]] = {}
    for block in _of(blocks, tuple):
        values, placement, _ = _note(block, "_unpickle_block").given
        shape, kind, _, content = _array(values)
        if not kind.startswith("O"):
            continue
        n_columns, n_rows = shape
        if len(_of(content, list)) != n_columns * n_rows:
            raise NoFrames("a block of another size than it says")
        for number, place in enumerate(_places(placement, n_columns)):
            columns[_of(_of(names, list)[place], str)] = content[number * n_rows : (number + 1) * n_rows]
    return columns


def _rows(columns: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def _places(placement: object, n_columns: int) -> Sequence[int]:
    """Return which columns of the frame those of a block are."""
    note = _of(placement, _Note)
    places: Sequence[int]
    if note.of == "builtins.slice":
        places = range(*note.given)
    else:
        (length,), kind, _, content = _array(note)
        places = struct.unpack(f"<{length}{_INTEGERS[kind]}", content)
    if len(places) != n_columns:
        raise NoFrames("a block with another number of columns than it says")
    return places


def _array(array: object) -> tuple[tuple[int, ...], str, Any, Any]:
    """Return shape, type, order and content of an array. Objects are in C order, whatever the order says."""
    _, shape, kind, order, content = _note(array, "_reconstruct").state
    return shape, _of(_note(kind, "dtype").given[0], str), order, content
