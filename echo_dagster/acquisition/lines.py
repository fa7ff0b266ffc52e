"""JSON lines of a log file, plain or compressed with gzip or zstd: one object a line, in bounded memory.

One bad line never loses the rest of the file; what was wrong with it is a reason code. What does not live here:
what an object means (the importers) and what a field may hold (`events.to_row`).
"""

from __future__ import annotations

import io
import json
import shutil
import sys
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from echo_dagster.acquisition.records import Bad, Record

#: The longest line that is read. A `shown` holds a whole document; nobody completes code in one of 64 MiB.
MAX_LINE_BYTES = 64 * 1024 * 1024

CODECS = {".gz": "gzip", ".zst": "zstd"}


def suffix_of(path: Path) -> str:
    """Return the file name's last suffix in lower case, without that of a compression."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in CODECS:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading, uncompressed if its name ends in `.gz` or `.zst`; `-` is standard input."""
    if str(path) == "-":
        yield sys.stdin.buffer
        return
    codec = CODECS.get(path.suffix.lower())
    with path.open("rb") as file:
        if codec is None:
            yield file
        else:
            with pa.PythonFile(file, mode="r") as raw, pa.CompressedInputStream(raw, codec) as plain:
                yield io.BufferedReader(plain)


def unpack(path: Path, target: Path) -> tuple[int, OSError | None]:
    """Write a file's whole lines to `target`, uncompressed and without a byte order mark.

    Returns how many lines there are, and what ended the reading too early.
    """
    damage = None
    with opened(path) as file, target.open("w+b") as out:
        try:
            out.write(file.read(io.DEFAULT_BUFFER_SIZE).removeprefix(BOM_UTF8))
            shutil.copyfileobj(file, out, io.DEFAULT_BUFFER_SIZE)
        except OSError as error:
            damage = error
            out.truncate(_after_last_newline(out))
        out.seek(0)
        count = sum(chunk.count(b"\n") for chunk in iter(lambda: out.read(1 << 20), b""))
    return count, damage


def _after_last_newline(file: BinaryIO) -> int:
    """Return the offset at which the last line that is not whole begins."""
    end = file.seek(0, io.SEEK_END)
    while end > 0:
        start = max(0, end - (1 << 16))
        file.seek(start)
        if (found := file.read(end - start).rfind(b"\n")) >= 0:
            return start + found + 1
        end = start
    return 0


def unreadable(error: OSError, line: int) -> Bad:
    """Return what is wrong with compressed data that cannot be read on; `line` is the first that is lost."""
    if "runcated" in str(error):
        return Bad(line, "truncated_file", "the compressed data end early")
    return Bad(line, "unreadable_file", "the compressed data are damaged from here on")


def whole(path: Path, most_bytes: int, what: str, line: int = 0) -> bytes | Bad:
    """Return all that a file holds, for formats that cannot be read line by line.

    Reasons of `Bad`: `file_too_large` (more than `most_bytes`, of which `what` it is), `truncated_file`,
    `unreadable_file` (at `line`). An absent file raises: nothing is wrong with its content.
    """
    try:
        with opened(path) as file:
            content = file.read(most_bytes + 1)
    except (FileNotFoundError, PermissionError):
        raise
    except OSError as error:
        return unreadable(error, line)
    if len(content) > most_bytes:
        return Bad(0, "file_too_large", f"{what} is read whole, up to {most_bytes} bytes")
    return content


def lines(path: Path) -> Iterator[tuple[int, bytes] | Bad]:
    """Yield the lines of a file with their numbers, from 1; blank ones and a byte order mark are passed over.

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
            if number == 1:
                line = line.removeprefix(BOM_UTF8)
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
    """Return the JSON object that a line holds."""
    value = decoded(number, line)
    if isinstance(value, dict):
        return Record(number, value)
    return value if isinstance(value, Bad) else Bad(number, "malformed_json", "not a JSON object")


def decoded(number: int, line: bytes) -> Any:
    """Return the JSON value that a line holds, or `Bad`."""
    try:
        return _DECODER.decode(line.decode("utf-8"))
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


def _first_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of a key that stands there twice the first counts, as where lines are read in columns (`ndjson.py`)."""
    return dict(reversed(pairs))


# `json.loads` would make one for every line
_DECODER = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_first_of_each)
