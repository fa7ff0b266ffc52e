"""JSON lines of a log file, plain or compressed with gzip or zstd: one object a line, in bounded memory.

One bad line never loses the rest of the file; what was wrong with it is a reason code. What does not live here:
what an object means (the importers) and what a field may hold (`events.to_row`).
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from echo_dagster.acquisition.records import Bad, Record

#: The longest line that is read. A `shown` holds a whole document; nobody completes code in one of 64 MiB.
MAX_LINE_BYTES = 64 * 1024 * 1024

_CODECS = {".gz": "gzip", ".zst": "zstd"}


def suffix_of(path: Path) -> str:
    """Return the file name's last suffix in lower case, without that of a compression."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _CODECS:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading, uncompressed if its name ends in `.gz` or `.zst`; `-` is standard input."""
    if str(path) == "-":
        yield sys.stdin.buffer
        return
    codec = _CODECS.get(path.suffix.lower())
    with path.open("rb") as file:
        if codec is None:
            yield file
        else:
            with pa.PythonFile(file, mode="r") as raw, pa.CompressedInputStream(raw, codec) as plain:
                yield io.BufferedReader(plain)


def unreadable(error: OSError, line: int) -> Bad:
    """Return what is wrong with compressed data that cannot be read on; `line` is the first that is lost."""
    if "runcated" in str(error):
        return Bad(line, "truncated_file", "the compressed data end early")
    return Bad(line, "unreadable_file", "the compressed data are damaged from here on")


def lines(path: Path) -> Iterator[tuple[int, bytes] | Bad]:
    """Yield the lines of a file with their numbers, from 1; blank ones are passed over.

    Reasons of `Bad`: `line_too_long`, `truncated_file`, `unreadable_file`.
    """
    number = 0
    with opened(path) as file:
        while True:
            try:
                line = file.readline(MAX_LINE_BYTES + 1)
                is_too_long = len(line) > MAX_LINE_BYTES
                rest = line
                while is_too_long and rest and not rest.endswith(b"\n"):
                    rest = file.readline(MAX_LINE_BYTES)
            except OSError as error:
                yield unreadable(error, number + 1)
                return
            if not line:
                return
            number += 1
            if is_too_long:
                yield Bad(number, "line_too_long", f"longer than {MAX_LINE_BYTES} bytes")
            elif line.strip():
                yield number, line


def objects(path: Path) -> Iterator[Record | Bad]:
    """Yield the JSON objects of a file, one a line.

    Reasons of `Bad`: those of `lines`, and `malformed_json`, `bad_encoding`.
    """
    for line in lines(path):
        yield line if isinstance(line, Bad) else parsed(*line)


def parsed(number: int, line: bytes) -> Record | Bad:
    """Return the object that a line holds."""
    try:
        value = _DECODER.decode(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        if isinstance(value, dict):
            return Record(number, value)
        reason, detail = "malformed_json", "not a JSON object"
    except UnicodeDecodeError as error:
        reason, detail = "bad_encoding", f"byte {error.start} is not UTF-8"
    except json.JSONDecodeError as error:
        if line.endswith(b"\n"):
            reason, detail = "malformed_json", f"not JSON from character {error.pos}"
        else:
            reason, detail = "truncated_file", "the last line ends early"
    except _Constant:
        reason, detail = "malformed_json", "NaN and Infinity are not JSON"
    except (ValueError, RecursionError):  # a number of thousands of digits, thousands of nested lists
        reason, detail = "malformed_json", "a number too long or a nesting too deep to be an event"
    return Bad(number, reason, detail)


class _Constant(Exception):
    """The line says NaN or Infinity."""


def _no_constant(_: str) -> Any:
    raise _Constant


_DECODER = json.JSONDecoder(parse_constant=_no_constant)  # `json.loads` would make one for every line
