"""The CUPS study's pickle: the same events as the log made of it before, and nothing that a pickle says is run."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import pickletools
import struct
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import gaps_of, good, items, reasons, survives

from echo_dagster.acquisition import cups, cups_pickle

COLUMNS = (
    "UserId",
    "TimeGenerated",
    "StateName",
    "CurrentSuggestion",
    "CurrentPrompt",
    "Measurements",
    "Task",
)


class _Pickled:
    """What pickles as a call of `of` with `given`, and the state that `BUILD` gives the result."""

    def __init__(self, of: type, given: tuple[Any, ...], state: Any = None) -> None:
        self._of, self._given, self._state = of, given, state

    def __reduce__(self) -> tuple[Any, ...]:
        return (self._of, self._given) if self._state is None else (self._of, self._given, self._state)


def _kind(full: str) -> type:
    module, _, name = full.rpartition(".")
    return type(name, (), {"__module__": module, "__qualname__": name})


NAMES = {full: _kind(full) for full in sorted(cups_pickle.ADMITTED - {"builtins.slice"})}


@contextmanager
def importable() -> Iterator[None]:
    """While a pickle is written, let its names be found where it says."""
    with pytest.MonkeyPatch.context() as patch:
        for full, kind in NAMES.items():
            module, _, name = full.rpartition(".")
            patch.setitem(sys.modules, module, sys.modules.get(module) or types.ModuleType(module))
            patch.setattr(sys.modules[module], name, kind, raising=False)
        yield


def frame(rows: list[dict[str, Any]], *, scattered: bool = False) -> _Pickled:
    """A data frame as pandas 1.5 pickles it: one block of objects and one of numbers."""

    def array(shape: tuple[int, ...], kind: str, content: Any) -> _Pickled:
        dtype = _Pickled(NAMES["numpy.dtype"], (kind, False, True), (3, "|", None, None, None, -1, -1, 63))
        blank = (NAMES["numpy.ndarray"], (0,), b"b")
        return _Pickled(
            NAMES["numpy.core.multiarray._reconstruct"], blank, (1, shape, dtype, scattered, content)
        )

    columns = ["TimeSpentInState", *COLUMNS] if scattered else [*COLUMNS, "TimeSpentInState"]
    places = [columns.index(name) for name in COLUMNS]
    at: Any = slice(0, len(COLUMNS), 1)
    if scattered:
        at = array((len(places),), "i8", struct.pack(f"<{len(places)}q", *places))
    block = NAMES["pandas._libs.internals._unpickle_block"]
    objects = array((len(COLUMNS), len(rows)), "O8", [row[name] for name in COLUMNS for row in rows])
    numbers = array((1, len(rows)), "f8", struct.pack(f"<{len(rows)}d", *([0.5] * len(rows))))
    number_at = slice(0, 1, 1) if scattered else slice(len(COLUMNS), len(COLUMNS) + 1, 1)
    blocks = (_Pickled(block, (objects, at, 2)), _Pickled(block, (numbers, number_at, 2)))
    new_index = NAMES["pandas.core.indexes.base._new_Index"]
    index = NAMES["pandas.core.indexes.base.Index"]
    axes = [
        _Pickled(new_index, (index, {"data": array((len(columns),), "O8", columns), "name": None})),
        _Pickled(
            new_index,
            (NAMES["pandas.core.indexes.range.RangeIndex"], {"start": 0, "stop": len(rows), "step": 1}),
        ),
    ]
    manager = _Pickled(NAMES["pandas.core.internals.managers.BlockManager"], (blocks, axes))
    state = {"_mgr": manager, "_typ": "dataframe", "_metadata": [], "attrs": {}, "_flags": {}}
    return _Pickled(NAMES["pandas.core.frame.DataFrame"], (), state)


def row(
    second: int, state: str, text: str = "return 1", prompt: str = "def f():\n    ", **fields: Any
) -> dict[str, Any]:
    units = len(prompt)
    return {
        "UserId": "user-a",
        "TimeGenerated": f"2022-08-08T16:05:{second:02}.5Z",
        "StateName": state,
        "CurrentSuggestion": json.dumps(text),
        "CurrentPrompt": json.dumps(f"# Path: write_code_here.py\n{prompt}" if prompt else ""),
        "Measurements": {"promptEndPos": units, "documentLength": units, "confidence": 0.5},
        "Task": "Classes",
        **fields,
    }


SESSION = [
    row(1, "Shown"),
    row(2, "Replay"),
    row(3, "Rejected"),
    row(4, "Shown", "x = 2", "def f():\n    x = 1\n"),
    row(5, "Browsing"),
    row(6, "Accepted", "x = 2"),
]


def write(path: Path, *sessions: Any, protocol: int = 4) -> Path:
    with importable():
        path.write_bytes(pickle.dumps(list(sessions), protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("scattered", [False, True])
def test_rows_become_events(tmp_path, protocol, scattered):
    path = write(tmp_path / "s.pkl", frame(SESSION, scattered=scattered), protocol=protocol)
    found = good(path, "cups")
    assert [(event["line"], event["seq"], event["kind"]) for event in found] == [
        (1, 0, "shown"),
        (3, 2, "rejected"),
        (4, 3, "shown"),
        (6, 5, "accepted"),
    ]
    told = ("user_id", "session_id", "document", "repository", "language", "model", "reason")
    for event in found:
        assert tuple(event[name] for name in told) == (
            "user-a",
            "cups-00",
            "write_code_here.py",
            "Classes",
            "python",
            None,
            None,
        )
    assert found[0]["ts"] == datetime(2022, 8, 8, 16, 5, 1, 500_000, tzinfo=UTC)
    assert [event["completion_id"] for event in found[::2]] == [
        event["completion_id"] for event in found[1::2]
    ]
    assert (found[0]["text"], found[0]["prefix"], found[0]["suffix"]) == ("return 1", "def f():\n    ", "")
    assert (found[0]["offset"], found[0]["length"]) == (13, 0)


def test_what_followed_the_cursor_is_unknown_within_a_document(tmp_path):
    middle = row(1, "Shown", Measurements={"promptEndPos": 13, "documentLength": 90})
    silent = row(2, "Shown", Measurements=None)
    long = row(3, "Shown", prompt="x" * 5000)
    found = good(write(tmp_path / "s.pkl", frame([middle, silent, long])), "cups")
    assert [(event["suffix"], event["offset"]) for event in found] == [(None, 13), (None, 13), ("", None)]


def test_the_gap_ends_with_what_the_next_prompt_shows(tmp_path):
    found = gaps_of(write(tmp_path / "s.pkl", frame(SESSION[:4])), "cups")
    assert found["final"][0] == "x = 1\n" and found["outcome"][0] == "rejected_then_written"


def test_several_sessions_and_prompts_without_a_path(tmp_path):
    plain = [row(1, "Shown", CurrentPrompt="def f():", CurrentSuggestion=" pass"), row(2, "Accepted")]
    found = good(write(tmp_path / "s.pkl", frame(SESSION), frame(plain)), "cups")
    assert [(event["line"], event["document"], event["session_id"]) for event in found[-2:]] == [
        (7, "session-01.py", "cups-01"),
        (8, "session-01.py", "cups-01"),
    ]
    assert (found[-2]["prefix"], found[-2]["text"]) == ("def f():", " pass")
    assert len({event["event_id"] for event in found}) == 6


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([row(1, "Accepted")], [(1, "completion_unknown")]),
        (
            [row(1, "Shown"), row(2, "Shown", prompt=""), row(3, "Accepted")],
            [(2, "context_unknown"), (3, "completion_unknown")],
        ),
        ([row(1, "Shown", TimeGenerated="soon")], [(1, "bad_timestamp")]),
        ([row(1, "Shown", TimeGenerated=None)], [(1, "bad_timestamp")]),
        ([row(1, "Shown", UserId=7)], [(1, "wrong_type")]),
        ([row(1, "Shown", CurrentPrompt=[])], [(1, "wrong_type")]),
        ([row(1, "Shown", CurrentSuggestion=None)], [(1, "wrong_type")]),
        ([row(1, "Ignored")], [(1, "unknown_state")]),
        ([row(1, "Shown", StateName=None)], [(1, "unknown_state")]),
        ([row(1, "Shown", StateName={"a": 1})], [(1, "unknown_state")]),
        ([row(1, "Shown", text="\ud83d")], [(1, "wrong_type")]),
    ],
)
def test_rows_that_give_no_events_are_named(tmp_path, rows, found):
    assert reasons(write(tmp_path / "s.pkl", frame(rows)), "cups") == found


def test_a_frame_of_another_study(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "COLUMNS", ("UserId", "StateName"))
    assert reasons(write(tmp_path / "s.pkl", frame(SESSION[:1])), "cups") == [(1, "missing_column")]


class _Calls:
    """Pickles as a call."""

    def __init__(self, of: Any, *given: Any) -> None:
        self._call = of, given

    def __reduce__(self) -> Any:
        return self._call


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    "of", [os.system, eval, exec, getattr, __import__, open, os.remove, pickle.loads, print, map]
)
def test_a_pickle_that_calls_something_is_forbidden(tmp_path, of, protocol):
    sentinel = tmp_path / "ran"
    path = tmp_path / "s.pkl"
    path.write_bytes(pickle.dumps([_Calls(of, f"touch {sentinel}")], protocol=protocol))
    assert reasons(path, "cups") == [(0, "forbidden_pickle")]
    assert not sentinel.exists()


@pytest.mark.parametrize(
    "name",
    [
        "pandas.io.common get_handle",
        "pandas read_pickle",
        "pandas.core.computation.eval eval",
        "pandas.eval eval",
        "numpy load",
        "numpy.testing._private.utils runstring",
        "numpy.f2py.crackfortran getlincoef",
        "numpy.core.multiarray fromfile",
        "numpy._core.multiarray scalar",
        "pandas.core.frame DataFrame.to_pickle",
        "builtins eval",
        "builtins slice.__class__",
        "posix system",
        "subprocess Popen",
        "functools partial",
        "copyreg _reconstructor",
        "operator attrgetter",
    ],
)
def test_names_that_no_frame_needs_are_forbidden(tmp_path, name):
    path = tmp_path / "s.pkl"
    module, attribute = name.split(" ")
    path.write_bytes(b"\x80\x04" + f"c{module}\n{attribute}\n".encode() + b")R.")
    assert reasons(path, "cups") == [(0, "forbidden_pickle")]
    texts = b"".join(b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, attribute))
    path.write_bytes(b"\x80\x04" + texts + b"\x93)R.")
    assert reasons(path, "cups") == [(0, "forbidden_pickle")]


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x82\x01.",  # EXT1: the registry of extensions
        b"\x80\x04Pid\n.",  # PERSID
        b"\x80\x05\x97.",  # NEXT_BUFFER
        b"\x80\x05\x96" + struct.pack("<Q", 4) + b"abcd.",  # BYTEARRAY8
        b"\x80\x04\x8f.",  # EMPTY_SET
        b"\x80\x04(ios\nsystem\n.",  # INST
        b"\x80\x04(cos\nsystem\no.",  # OBJ
    ],
)
def test_instructions_that_no_frame_needs_are_forbidden(tmp_path, content):
    (tmp_path / "s.pkl").write_bytes(content)
    assert reasons(tmp_path / "s.pkl", "cups") == [(0, "forbidden_pickle")]


@pytest.mark.parametrize(
    "content",
    [
        b"x",
        b"\x80",
        b"\x80\x04.",
        b"\x80\x04N.",
        b"\x80\x04]",
        b"\x80\x04K\x01.",
        b"\x80\x04]N\x94a.",  # a list of nothing that is a frame
        b"\x80\x04\x85.",
        b"\x80\x04h\x07.",
        b"\x80\x04r\xff\xff\xff\xff.",  # a memo of four billion entries
        b"\x80\x04}](]es.",  # a list as a key
        b"\x80\x04cpandas.core.frame\nDataFrame\n)\x81}b.",
        b"\x80\x04]cpandas.core.frame\nDataFrame\n)\x81Nba.",
        b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"abc.",
        b"\x80\x04" + b"(" * 5000 + b"t" * 5000 + b".",
        b"\x80\x04)" + b"\x85" * 100_000 + b".",
        pickle.dumps({"a": 1}),
        pickle.dumps([[1]]),
    ],
)
def test_what_is_no_list_of_frames_is_malformed(tmp_path, content):
    (tmp_path / "s.pkl").write_bytes(content)
    assert reasons(tmp_path / "s.pkl", "cups") == [(0, "malformed_pickle")]


def test_frames_that_lie_about_their_size(tmp_path):
    for start, stop in ((0, 10**15), (-(10**15), 7), (0, 6), (7, 14)):
        lying = frame(SESSION)
        blocks, axes = lying._state["_mgr"]._given
        values, _, width = blocks[0]._given
        lying._state["_mgr"]._given = (
            (_Pickled(blocks[0]._of, (values, slice(start, stop, 1), width)),),
            axes,
        )
        assert reasons(write(tmp_path / "s.pkl", lying), "cups") == [(0, "malformed_pickle")]


def test_files_large_empty_and_compressed(tmp_path, monkeypatch):
    path = write(tmp_path / "s.pkl", frame(SESSION))
    packed = tmp_path / "s.pkl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert good(packed, "cups") == good(path, "cups")
    packed.write_bytes(packed.read_bytes()[:-30])
    assert next(reason for _, reason in reasons(packed, "cups")) in ("truncated_file", "unreadable_file")
    monkeypatch.setattr(cups, "MAX_FILE_BYTES", 100)
    assert reasons(path, "cups") == [(0, "file_too_large")]
    path.write_bytes(b"")
    assert items(path, "cups") == []


def test_the_same_file_twice_gives_the_same_ids(tmp_path):
    first = good(write(tmp_path / "a.pkl", frame(SESSION)), "cups")
    again = good(write(tmp_path / "b.pkl", frame(SESSION, scattered=True), protocol=3), "cups")
    assert [event["event_id"] for event in first] == [event["event_id"] for event in again]


def test_what_is_not_read_stays_behind(tmp_path):
    rows = [
        row(1, "Shown", Measurements={"promptEndPos": "SENTINEL"}, Task=["SENTINEL"]),
        row(2, "Shown", CurrentPrompt='"# Path: /home/sam-SENTINEL/app/a.py\\nx = "'),
        row(3, "SENTINEL"),
    ]
    found = items(write(tmp_path / "s.pkl", frame(rows)), "cups")
    assert len(found) == 3 and "SENTINEL" not in repr(found)


def test_damage_is_quarantined(tmp_path):
    content = write(tmp_path / "s.pkl", frame(SESSION), frame(SESSION)).read_bytes()
    assert survives(content, tmp_path / "d.pkl", "cups", times=400) >= {
        "malformed_pickle",
        "forbidden_pickle",
    }


_CODES = [code.code.encode("latin-1") for code in pickletools.opcodes]


@given(st.lists(st.sampled_from(_CODES) | st.binary(max_size=4) | st.just(b"cnumpy\ndtype\n"), max_size=40))
def test_any_program_is_read_to_an_end(tmp_path_factory, parts):
    path = tmp_path_factory.mktemp("p") / "s.pkl"
    path.write_bytes(b"".join(parts))
    assert {reason for _, reason in reasons(path, "cups")} <= {"malformed_pickle", "forbidden_pickle"}


def test_the_study_gives_the_events_made_of_it_before(tmp_path, shared_data):
    with gzip.open(shared_data / "cups" / "events.ndjson.gz") as file:
        known = [json.loads(line) for line in file]
    sessions: dict[str, list[dict[str, Any]]] = {}
    for event in known:
        if event["kind"] == "shown":
            shown = event
        state = {"shown": "Shown", "accepted": "Accepted", "rejected": "Rejected"}[event["kind"]]
        units = len(shown["prefix"])
        prompt = json.dumps(f"# Path: {event['document']}\n{shown['prefix']}")
        told = {"promptEndPos": units, "documentLength": units if shown["suffix"] == "" else units + 1}
        line = {
            "UserId": event["user_id"],
            "TimeGenerated": event["ts"],
            "CurrentSuggestion": json.dumps(shown["text"]),
            "CurrentPrompt": prompt,
            "Measurements": told,
            "Task": event["repository"],
        }
        rows = sessions.setdefault(event["session_id"], [])
        rows.append(line | {"StateName": state})
        if state == "Shown":
            rows.append(line | {"StateName": "Replay"})
    path = write(tmp_path / "s.pkl", *(frame(rows) for rows in sessions.values()))
    found = good(path, "cups")
    same = (
        "user_id",
        "session_id",
        "document",
        "repository",
        "language",
        "kind",
        "text",
        "prefix",
        "suffix",
        "offset",
    )
    assert [[event.get(name) for name in same] for event in found] == [
        [event.get(name) for name in same] for event in known
    ]
    pairs = {
        (mine["completion_id"], event["completion_id"]) for mine, event in zip(found, known, strict=True)
    }
    assert len(pairs) == len({mine for mine, _ in pairs}) == 657
