"""Private keys, which span lines: PEM, OpenSSH and PGP blocks, PuTTY files, and PEM files in base64.

A key is found from its first line to its last, also where the text ends before it does or begins inside it. The
bare marker of a block, as code that reads keys holds it, is none. What does not live here: all else that is secret
(`secrets.py`).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

#: No private key is longer, in characters.
MAX_KEY_CHARS = 16_384

KIND = "private_key"
_MARKER = re.compile(r"-----(BEGIN|END) [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
#: Lines, also those whose breaks are written as `\n` inside a string.
_LINE = re.compile(r"(?:\\[nr]|[\r\n])*+(?P<line>(?:[^\r\n\\]++|\\(?![nr]))++)")
#: What code puts around a line of a key: indentation, quotes, `+`, commas, signs of a comment.
_AROUND = " \t\"'`+#/*>|,;.()\\-"
_BODY = re.compile(r"=?[A-Za-z0-9+/]++={0,2}")
_HEADER = re.compile(r"(?:Proc-Type|DEK-Info|Version|Comment|Hash|Charset|MessageID)\b")
#: A shorter line is one of a key only if it is its last.
_MIN_LINE = 16
_PUTTY = re.compile(r"PuTTY-User-Key-File-\d|Private-Lines:[ \t]{0,4}\d{1,4}")
_PUTTY_END = re.compile(r"Private-MAC:[ \t]{0,4}[0-9a-f]{1,128}")
#: "-----BEGIN " in base64, and what follows it.
_ENCODED = re.compile(r"LS0tLS1CRUdJTi[A-Za-z0-9+/]{40,16384}+={0,2}")


def private_keys(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and kind of every private key in `text`."""
    if "PRIVATE KEY" in text:
        inside = after = 0
        for marker in _MARKER.finditer(text):
            if marker[1] == "BEGIN":
                inside = _block_end(text, marker.end())
                if inside > marker.end():
                    yield marker.start(), inside, KIND
            elif marker.end() > inside:
                start = _block_start(text, after, marker.start())
                if start < marker.start():
                    yield start, marker.end(), KIND
            after = marker.end()
    if "Private-Lines" in text:
        yield from _putty_keys(text)
    if "LS0tLS1CRUdJTi" in text:
        for match in _ENCODED.finditer(text):
            told = match.group()[:80]
            if b"PRIVATE KEY" in base64.b64decode(told[: len(told) // 4 * 4]):
                yield *match.span(), KIND


def _block_end(text: str, start: int) -> int:
    """Return where the block ends whose first marker ends at `start`; `start` itself if no key follows it."""
    end, has_body, is_last = start, False, False
    for line in _LINE.finditer(text, start, start + MAX_KEY_CHARS):
        marker = _MARKER.search(text, line.start("line"), line.end("line"))
        if marker and marker[1] == "END":
            before = text[line.start("line") : marker.start()]
            return marker.end() if has_body or _is_body(before) else start
        told = line["line"].strip(_AROUND)
        if (
            marker
            or is_last
            or not (told == "" or _HEADER.match(told) or _BODY.fullmatch(told) or _is_body(told))
        ):
            break
        if _is_body(told):
            end, has_body = line.end("line"), True
        elif told and not _HEADER.match(told):  # short: a key's last line, if it is followed by its end
            is_last = True
            if line.end("line") == len(text):
                end = line.end("line")
    return end if has_body else start


def _block_start(text: str, after: int, end: int) -> int:
    """Return where the key begins, not before `after`, whose last marker begins at `end`; `end` if there is none."""
    start, is_nearest = end, True
    for line in reversed(list(_LINE.finditer(text, max(after, end - MAX_KEY_CHARS), end))):
        told = line["line"].strip(_AROUND)
        if (
            told
            and not _HEADER.match(told)
            and not _is_body(told)
            and not (is_nearest and _BODY.fullmatch(told))
        ):
            break
        if told:
            start, is_nearest = line.start("line"), is_nearest and told.startswith("=")
    return start


def _is_body(told: str) -> bool:
    """Say whether a text is one or several lines of base64."""
    words = told.split()
    return bool(words) and all(_BODY.fullmatch(word) for word in words) and len(words[0]) >= _MIN_LINE


def _putty_keys(text: str) -> Iterator[tuple[int, int, str]]:
    start = None
    for match in _PUTTY.finditer(text):
        if match.group().startswith("PuTTY"):
            start = match.start()
            continue
        end = match.end()
        for line in _LINE.finditer(text, match.end(), match.end() + MAX_KEY_CHARS):
            told = line["line"].strip(_AROUND)
            if told and not _BODY.fullmatch(told) and not _PUTTY_END.search(told):
                break
            end = line.end("line") if told else end
        if end > match.end():
            near = start is not None and match.start() - start <= MAX_KEY_CHARS
            yield start if near and start is not None else match.start(), end, KIND
