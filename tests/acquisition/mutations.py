"""Files damaged at random: byte by byte, line by line, and inside what the lines hold.

A mutator takes a file of `formats.py` and dice, and returns another content. The structured ones leave names and texts
whole, so that what is private stays where an importer knows it to be.
"""

from __future__ import annotations

import csv
import io
import json
import pickletools
import random
from collections.abc import Callable
from typing import Any

import formats
import polars as pl
from formats import CODE, File

Mutator = Callable[[bytes, random.Random], bytes]

#: JSON as it may stand anywhere: every type, the edges of each, and what is no JSON but looks like it.
ODD_JSON = (
    "null", "true", "false", "0", "-1", "1", "7", "1.5", "-0", "1e3", "1e308", "1e999", "9007199254740993",
    "9223372036854775807", "9223372036854775808", "-9223372036854775809", "1" + "0" * 400, "9" * 5_000, "NaN",
    "Infinity", "-Infinity", '""', '" "', f'"{CODE}"', '"\\ud83d"', '"x\\udc00y"', '"\\u0000"', '"😀"', '"\\r\\n"',
    '"\\ufeff"', f'"{"x" * 70_000}"', "[]", "{}", "[[]]", "[null]", f'["{CODE}"]', f'{{"{CODE}": "{CODE}"}}',
    '[[0, 1, "x"]]', "[[3, 1]]", "[[true, 1.5, null]]", '{"start": 3, "end": 1}', '"2026-01-05T08:00:00Z"',
    '"2026-01-05"', '"2026-13-05T08:00:00Z"', '"0001-01-01T00:00:00+23:59"', '"9999-12-31T23:59:59.999999-23:59"',
    '"1767600000000"', "1767600000000", "-62135596800001", "253402300800000", '"[1,1 -> 1,1]"', '"[9,9 -> 1,1]"',
    '"[1,1 -> 999999999,1]"', '"a.py"', '"../a"', '"file:///%"', '"/home/"', '"@@ -1,1 +1,1 @@\\n-x\\n+y\\n"',
    '"<|user_cursor|>"', '"[CURSOR_POSITION]"', '"shown"', '"snapshot"', '"request"', '"accepted"', '"refused"',
    "[" * 500 + "]" * 500, "[" * 900 + "]" * 900, '{"a":' * 900 + "1" + "}" * 900, "[" * 100_000,
)  # fmt: skip

#: The same for texts without quotes: fields of CSV files and dumps.
ODD_TEXTS = (
    *(text.strip('"') for text in ODD_JSON),
    r"\N",
    r"\.",
    "\\",
    "t",
    "f",
    '"',
    "{}",
    "{NULL}",
    "\t",
    "\x00",
)

#: And for objects in a pickle.
ODD_OBJECTS: tuple[Any, ...] = (
    None, True, 0, -1, 2**70, 1.5, float("nan"), float("inf"), b"", CODE.encode(), "", CODE, "\ud83d",
    '"\\ud83d"', '"', "NaN", "\x00", "x" * 70_000, '"' + "x" * 70_000 + '"', "[" * 100_000, '"' + "[" * 100_000,
    (), (1, CODE), [], [CODE], {}, {CODE: CODE},
    {"promptEndPos": None, "documentLength": None}, {"promptEndPos": float("nan"), "documentLength": 10**400},
    "Shown", "Accepted", "Replay", "2022-08-08T16:05:01", "9999-12-31T23:59:59-23:59", "2022-13-08",
)  # fmt: skip


def mutated(file: File, dice: random.Random) -> tuple[bytes, bool, str]:
    """Return a content damaged one to three times, whether names and texts stayed whole, and what was done."""
    inside = _INSIDE.get(_kind_of(file), ())
    is_inside = bool(inside) and dice.random() < 0.5
    content, names = file.content, []
    for _ in range(dice.choice((1, 1, 2, 3))):
        chosen = dice.choice(inside if is_inside else _BYTES + _LINES)
        content = chosen(content, dice)
        names.append(chosen.__name__)
    return content, is_inside, ", ".join(names)


def _kind_of(file: File) -> str:
    suffix = file.name.rpartition(".")[2]
    return "json" if suffix in ("json", "jsonl", "ndjson") else suffix


# Bytes


def flip(content: bytes, dice: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(dice.randint(1, 8) if damaged else 0):
        damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
    return bytes(damaged)


def cut(content: bytes, dice: random.Random) -> bytes:
    return content[: dice.randrange(len(content) + 1)]


def drop(content: bytes, dice: random.Random) -> bytes:
    start, end = _span(content, dice)
    return content[:start] + content[end:]


def repeat(content: bytes, dice: random.Random) -> bytes:
    start, end = _span(content, dice)
    return content[:end] + content[start:end] * dice.choice((1, 3, 50)) + content[end:]


def move(content: bytes, dice: random.Random) -> bytes:
    start, end = _span(content, dice)
    rest = content[:start] + content[end:]
    at = dice.randrange(len(rest) + 1)
    return rest[:at] + content[start:end] + rest[at:]


def insert(content: bytes, dice: random.Random) -> bytes:
    what = (
        dice.randbytes(dice.randint(1, 9)),
        b"\x00" * dice.randint(1, 9),
        dice.choice((b"\xff", b"\xed\xa0\xbd", b"\xc0\x80", b"\xf8", b"\xe2\x82", b"\xef\xbb\xbf", b"\x1a")),
        dice.choice((b"\n", b"\r", b"\r\n", b"\x0b", b"\x85", "\u2028".encode(), b"\t", b" "))
        * dice.randint(1, 3),
        dice.choice((b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"'", b"```", b"\\u", b"-", b"e")),
        b"x" * 70_000,
    )
    at = dice.randrange(len(content) + 1)
    return content[:at] + dice.choice(what) + content[at:]


def encode(content: bytes, dice: random.Random) -> bytes:
    text = content.decode("utf-8", "replace")
    return dice.choice(
        (
            lambda: b"\xef\xbb\xbf" + content,
            lambda: text.encode("utf-16"),
            lambda: text.encode("utf-16-be"),
            lambda: text.replace("a", "é").encode("latin-1", "replace"),
            lambda: content.replace(b"\n", b"\r\n"),
            lambda: content.replace(b"\n", b"\r"),
            lambda: content.replace(b"\\n", b"\\r\\n"),
            lambda: b"",
        )
    )()


def _span(content: bytes, dice: random.Random) -> tuple[int, int]:
    start = dice.randrange(len(content) + 1)
    return start, min(len(content), start + dice.choice((1, 2, 8, 40, 400)))


# Lines


def drop_line(content: bytes, dice: random.Random) -> bytes:
    return _with_lines(content, lambda lines: lines.pop(dice.randrange(len(lines))))


def repeat_line(content: bytes, dice: random.Random) -> bytes:
    return _with_lines(content, lambda lines: lines.insert(dice.randrange(len(lines)), dice.choice(lines)))


def shuffle_lines(content: bytes, dice: random.Random) -> bytes:
    return _with_lines(content, dice.shuffle)


def cut_line(content: bytes, dice: random.Random) -> bytes:
    def cut_one(lines: list[bytes]) -> None:
        at = dice.randrange(len(lines))
        lines[at] = cut(lines[at].rstrip(b"\n"), dice) + dice.choice((b"\n", b""))

    return _with_lines(content, cut_one)


def foreign_line(content: bytes, dice: random.Random) -> bytes:
    other = dice.choice(formats.files()).content.splitlines(keepends=True)
    return _with_lines(
        content, lambda lines: lines.insert(dice.randrange(len(lines) + 1), dice.choice(other))
    )


def blank_lines(content: bytes, dice: random.Random) -> bytes:
    blank = dice.choice((b"\n", b" \n", b"\r\n", b"\t \n", b"\x0c\n"))
    return _with_lines(content, lambda lines: lines.insert(dice.randrange(len(lines) + 1), blank))


def _with_lines(content: bytes, change: Callable[[list[bytes]], object]) -> bytes:
    lines = content.split(b"\n")
    lines = [*(line + b"\n" for line in lines[:-1]), *([lines[-1]] if lines[-1] else [])]
    if lines:
        change(lines)
    return b"".join(lines)


# JSON: a value anywhere in a line, or in the whole file


def json_value(content: bytes, dice: random.Random) -> bytes:
    def change(holder: Any, key: Any) -> None:
        holder[key] = _raw(dice.choice(ODD_JSON))

    return _in_json(content, dice, change)


def json_absent(content: bytes, dice: random.Random) -> bytes:
    return _in_json(content, dice, lambda holder, key: holder.pop(key))


def json_twice(content: bytes, dice: random.Random) -> bytes:
    def change(holder: Any, key: Any) -> None:
        if isinstance(holder, dict):  # the same name once more, before it or after it
            odd = _raw(dice.choice(ODD_JSON))
            items = [(f"{key}{_TWICE}", odd), *holder.items()]
            holder.clear()
            holder.update(items if dice.random() < 0.5 else items[1:] + items[:1])
        else:
            holder.append(holder[key])

    return _in_json(content, dice, change)


def json_renamed(content: bytes, dice: random.Random) -> bytes:
    def change(holder: Any, key: Any) -> None:
        value = holder.pop(key)
        if isinstance(holder, dict):
            holder[dice.choice((key.upper(), f"{key}_", "", "kind", CODE))] = value

    return _in_json(content, dice, change)


def json_wrapped(content: bytes, dice: random.Random) -> bytes:
    def change(holder: Any, key: Any) -> None:
        value = holder[key]
        holder[key] = dice.choice(([value], {"value": value}, json.dumps(value)))

    return _in_json(content, dice, change)


_RAW, _TWICE = "\x01raw", "\x02twice"


def _raw(text: str) -> str:
    """Return what stands in a value for JSON that Python would not write."""
    return f"{_RAW}{ODD_JSON.index(text)}{_RAW}"


def _in_json(content: bytes, dice: random.Random, change: Callable[[Any, Any], object]) -> bytes:
    """Change one value somewhere: in the only document of a file, or in one of its lines."""
    lines = content.split(b"\n")
    at = dice.randrange(len(lines))
    whole = _decoded(content)
    value = whole if whole is not None else _decoded(lines[at])
    places = _places(value)
    if not places:
        return content
    change(*dice.choice(places))
    text = json.dumps(value, indent=2 if whole is not None and b"\n " in content else None)
    for number, odd in enumerate(ODD_JSON):
        text = text.replace(json.dumps(f"{_RAW}{number}{_RAW}"), odd)
    changed = text.replace(json.dumps(_TWICE)[1:-1], "").encode("utf-8", "surrogatepass")
    return changed if whole is not None else b"\n".join([*lines[:at], changed, *lines[at + 1 :]])


def _decoded(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _places(value: Any, depth: int = 10) -> list[tuple[Any, Any]]:
    """Return the places in a value, as what holds it and its key there."""
    keys = (
        list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    )
    here = [(value, key) for key in keys]
    return here if depth == 0 else here + [place for key in keys for place in _places(value[key], depth - 1)]


# Fields of CSV files and dumps


def csv_field(content: bytes, dice: random.Random) -> bytes:
    return _in_csv(
        content, dice, lambda row: row.__setitem__(dice.randrange(len(row)), dice.choice(ODD_TEXTS))
    )


def csv_absent(content: bytes, dice: random.Random) -> bytes:
    return _in_csv(content, dice, lambda row: row.pop())  # the last: no other text comes under another name


def csv_more(content: bytes, dice: random.Random) -> bytes:
    return _in_csv(content, dice, lambda row: row.append(CODE))


def csv_history(content: bytes, dice: random.Random) -> bytes:
    def change(row: list[str]) -> None:
        for number, field in enumerate(row):
            if field.startswith("{"):
                mutator = dice.choice(_INSIDE["json"])
                row[number] = mutator(field.encode("utf-8", "surrogatepass"), dice).decode("utf-8", "replace")

    return _in_csv(content, dice, change)


def _in_csv(content: bytes, dice: random.Random, change: Callable[[list[str]], object]) -> bytes:
    rows = list(csv.reader(io.StringIO(content.decode("utf-8", "replace"), newline="")))
    if rows and (row := dice.choice(rows)):
        change(row)
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8", "surrogatepass")


def dump_field(content: bytes, dice: random.Random) -> bytes:
    return _in_dump(
        content, dice, lambda row: row.__setitem__(dice.randrange(len(row)), dice.choice(ODD_TEXTS))
    )


def dump_absent(content: bytes, dice: random.Random) -> bytes:
    return _in_dump(content, dice, lambda row: row.pop(dice.randrange(len(row))))


def dump_more(content: bytes, dice: random.Random) -> bytes:
    return _in_dump(content, dice, lambda row: row.insert(dice.randrange(len(row)), dice.choice(row)))


def dump_head(content: bytes, dice: random.Random) -> bytes:
    def change(lines: list[bytes]) -> None:
        heads = [number for number, line in enumerate(lines) if line.startswith((b"COPY ", b"\\."))]
        if heads:
            at = dice.choice(heads)
            columns = lines[at].split(b", ")
            columns.pop(dice.randrange(len(columns)))
            lines[at] = dice.choice((b"", b", ".join(columns), lines[at].replace(b"_id", b"", 1)))

    return _with_lines(content, change)


def _in_dump(content: bytes, dice: random.Random, change: Callable[[list[str]], object]) -> bytes:
    lines = content.decode("utf-8", "replace").split("\n")
    rows = [number for number, line in enumerate(lines) if "\t" in line]
    if rows:
        at = dice.choice(rows)
        change(fields := lines[at].split("\t"))
        lines[at] = "\t".join(fields)
    return "\n".join(lines).encode("utf-8", "surrogatepass")


# Pickles and Parquet: made anew with other values in them


def pickle_cell(content: bytes, dice: random.Random) -> bytes:
    sessions = formats.sessions()
    row = dice.choice(dice.choice(sessions))
    row[dice.choice(list(row))] = dice.choice(ODD_OBJECTS)
    return formats.pickled(*sessions, protocol=dice.choice((3, 4)))


def pickle_rows(content: bytes, dice: random.Random) -> bytes:
    sessions = formats.sessions()
    rows = dice.choice(sessions)
    dice.choice((rows.clear, lambda: dice.shuffle(rows), lambda: rows.extend(rows), sessions.clear))()
    return formats.pickled(*sessions, protocol=dice.choice((3, 4)))


def pickle_instruction(content: bytes, dice: random.Random) -> bytes:
    try:
        places = [place for _, _, place in pickletools.genops(content) if place is not None]
    except Exception:  # the library raises what it likes at a damaged pickle
        return flip(content, dice)
    if not places:
        return content
    at = dice.choice(places)
    code = dice.choice(pickletools.opcodes).code.encode("latin-1")
    program = dice.choice(
        (b"cos\nsystem\n", b"(lp0\n", b"R", b"2", b"0", b"e.", b"h\x00", b"j\xff\xff\xff\x7f", code)
    )
    return content[:at] + program + content[at + (dice.random() < 0.5) :]


def parquet_column(content: bytes, dice: random.Random) -> bytes:
    frame = pl.read_parquet(formats.parquet())
    name = dice.choice(frame.columns)
    column = pl.col(name)
    odd = dice.choice(
        (
            pl.lit(None),
            pl.lit(7),
            pl.lit(1.5),
            pl.lit(float("nan")),
            pl.lit(True),
            pl.lit(CODE),
            pl.lit(b"\xff"),
            pl.lit("2026-01-05T08:00:00Z"),
            pl.lit(2**63 - 1),
            pl.lit(-1, pl.Int8()),
            pl.lit(10**12).cast(pl.Datetime("ms")),
            pl.lit(2**62).cast(pl.Datetime("us", "UTC")),
            pl.lit(-(2**62)).cast(pl.Datetime("ns", "Europe/Berlin")),
            pl.lit(-(2**31)).cast(pl.Date()),
            pl.lit(5).cast(pl.Duration("us")),
            column.cast(pl.String(), strict=False).cast(pl.Categorical()),
            column.cast(pl.String(), strict=False).cast(pl.Binary()),
            pl.concat_list(column.cast(pl.String(), strict=False)),
            pl.struct(column.alias(CODE)),
        )
    )
    changed = frame.drop(name) if dice.random() < 0.1 else frame.with_columns(odd.alias(name))
    file = io.BytesIO()
    changed.sample(fraction=1, shuffle=True, seed=dice.randrange(9)).write_parquet(file)
    return file.getvalue()


_BYTES: tuple[Mutator, ...] = (flip, flip, cut, drop, repeat, move, insert, insert, encode)
_LINES: tuple[Mutator, ...] = (drop_line, repeat_line, shuffle_lines, cut_line, foreign_line, blank_lines)
_OF_LINES: tuple[Mutator, ...] = (drop_line, repeat_line, shuffle_lines, blank_lines)
_INSIDE: dict[str, tuple[Mutator, ...]] = {
    "json": (
        json_value,
        json_value,
        json_value,
        json_absent,
        json_twice,
        json_renamed,
        json_wrapped,
        *_OF_LINES,
    ),
    "csv": (csv_field, csv_field, csv_absent, csv_more, csv_history),
    "sql": (dump_field, dump_field, dump_absent, dump_more, dump_head, drop_line, repeat_line),
    "pkl": (pickle_cell, pickle_cell, pickle_rows, pickle_instruction),
    "parquet": (parquet_column,),
}
