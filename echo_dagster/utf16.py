"""UTF-16 offsets, the unit of VS Code, of LSP and of every offset in the experience log.

A Python string counts code points; an editor counts UTF-16 code units. They differ as soon as a text holds an
astral character (an emoji is two units). Everything that turns an editor's offset into a position does it
here.
"""

from __future__ import annotations

import re
from codecs import utf_16_le_encode


def length(text: str) -> int:
    """Return the length of `text` in UTF-16 code units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def encode(text: str) -> bytes:
    """Return `text` as UTF-16-LE bytes: unit `i` stands at byte `2 * i`. Lone surrogates pass through."""
    return utf_16_le_encode(text, "surrogatepass")[0]  # `str.encode` looks its codec up every time


def splice(text: str, offset: int, removed: int, inserted: str) -> str:
    """Return `text` with `removed` units at `offset` replaced by `inserted`.

    Raises:
        ValueError: the range does not lie inside the text.
    """
    if offset < 0 or removed < 0:
        raise ValueError(f"the range [{offset}, {offset + removed}) is not a range")
    if text.isascii():
        if offset + removed > len(text):
            raise ValueError(
                f"the range [{offset}, {offset + removed}) is outside a text of {len(text)} units"
            )
        return text[:offset] + inserted + text[offset + removed :]
    units = encode(text)
    if 2 * (offset + removed) > len(units):
        raise ValueError(
            f"the range [{offset}, {offset + removed}) is outside a text of {len(units) // 2} units"
        )
    return (units[: 2 * offset] + encode(inserted) + units[2 * (offset + removed) :]).decode(
        "utf-16-le", "surrogatepass"
    )


def cut(text: str, offset: int) -> tuple[str, str]:
    """Split `text` at a UTF-16 offset.

    Raises:
        ValueError: the offset is outside the text or inside a surrogate pair.
    """
    if text.isascii():
        if not 0 <= offset <= len(text):
            raise ValueError(f"offset {offset} is outside a text of {len(text)} units")
        return text[:offset], text[offset:]
    units = encode(text)
    if not 0 <= 2 * offset <= len(units):
        raise ValueError(f"offset {offset} is outside a text of {len(units) // 2} units")
    try:
        return units[: 2 * offset].decode("utf-16-le"), units[2 * offset :].decode("utf-16-le")
    except UnicodeDecodeError as error:
        raise ValueError(f"offset {offset} lies inside a surrogate pair") from error


def to_units(text: str) -> str:
    """Return `text` with one character per UTF-16 unit, so that plain slices are exact. Undone by
    `from_units`.

    The halves of a surrogate pair become two characters; everything else stays as it is.
    """
    if text.isascii() or length(text) == len(text):
        return text
    return _ASTRAL.sub(_halves, text)


def from_units(units: str) -> str:
    """Return the text that `units`, made by `to_units`, stands for.

    Raises:
        ValueError: half of a surrogate pair, which is no text.
    """
    return units if units.isascii() else encode(units).decode("utf-16-le")


def readable(units: str) -> str:
    """Return the text that `units` stands for; half of a surrogate pair, no character, becomes U+FFFD."""
    return units if units.isascii() else encode(units).decode("utf-16-le", "replace")


def _halves(match: re.Match[str]) -> str:
    code = ord(match[0]) - 0x10000
    return chr(0xD800 + (code >> 10)) + chr(0xDC00 + (code & 0x3FF))


_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
