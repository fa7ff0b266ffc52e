"""Where a statement is complete in a language without a parser here: told from brackets and indentation.

A line break ends a statement where as many brackets are open as at the end of C_N (what is open there is
closed by the suffix), no string is open, the line is no comment, and the next line is neither indented deeper
nor the continuation of this one. The rule is meant to say too little rather than too much.

What does not live here: languages with a grammar (`parsing/syntax.py`), and the choice among boundaries
(`truncate.py`).
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

#: What opens a string or a comment that may span lines, and what closes it; the longer ones first.
_FENCES = {"'''": "'''", '"""': '"""', "/*": "*/", "<!--": "-->", "`": "`"}
_FENCES_OF = {
    "lua": {"--[[": "]]", "[[": "]]"},
    "haskell": {"{-": "-}"},
    "elm": {"{-": "-}"},
    "powershell": {"<#": "#>", '@"': '"@', "@'": "'@"},
    "fsharp": {"(*": "*)"},
    "ocaml": {"(*": "*)"},
}
#: A heredoc is closed by a line that holds its name alone.
_HEREDOC = r"<<[-~]?(?:'[A-Z_][A-Z0-9_]*'|\"[A-Z_][A-Z0-9_]*\"|[A-Z_][A-Z0-9_]*)"
#: How much of the prefix is read to know whether the cursor is in a string.
_PREFIX_CHARS = 16 * 1024
_CLOSERS = {")": "(", "]": "[", "}": "{"}
_LINE_COMMENTS = ("//", "# ", "#!", "-- ")
_COMMENT_LINES = (*_LINE_COMMENTS, "/*", "*")
#: A line that begins like this goes on with the statement above it.
_CONTINUES = re.compile(
    r"\s*(?:[)\]}.,?:|&+=]|/(?![/*])|(?:else|elif|elsif|elseif|catch|except|finally|rescue|ensure|"
    r"then|do|end|fi|done|esac|where|and|or)\b)"
)
#: A line that ends like this is not over.
_UNFINISHED = re.compile(r"(?:[,\\=|&:]|(?<!\+)\+|->)[ \t]*$")


class _State(NamedTuple):
    """The brackets that are open at the end of a line, and what closes the string that is open there."""

    brackets: tuple[str, ...]
    fence: str | None


def boundaries(prefix: str, text: str, suffix: str, language: str = "") -> list[int]:
    """Return the positions in `text` of the line breaks that end a statement, in order.

    `prefix` gives the indentation of the cursor's line, and tells whether a string is open there; `suffix`
    gives the line that follows the last one.
    """
    fences = {**_FENCES, **_FENCES_OF.get(language, {})}
    fence = _open_fence(prefix, text, suffix, fences)
    ends, states = _line_states(text, fences, fence)
    final_state = states[-1]
    typed = prefix[prefix.rfind("\n") + 1 :]
    base: int | None = None
    found = []
    lines = text.split("\n")
    following = [*lines[1:], suffix.split("\n", 1)[0] if suffix else ""]
    for index, (end, state) in enumerate(zip(ends, states, strict=True)):
        line = typed + lines[0] if index == 0 else lines[index]
        if not line.strip():
            continue
        if line.lstrip().startswith(_COMMENT_LINES) and (index or not typed.strip()):
            continue  # a comment belongs to the statement below it, unless the cursor stands in it
        if base is None or _indentation(line) < base:
            base = _indentation(line)
        if index == len(lines) - 1:
            break
        rest = next((later for later in following[index:] if later.strip()), "")
        # A bracket that is open here as it is at the end of C_N has its body in the suffix: the header is
        # complete. A string is not.
        deeper = bool(rest) and _indentation(rest) > base and not line.rstrip().endswith(("{", "(", "["))
        if (
            state == final_state
            and state.fence is None
            and not deeper
            and not _CONTINUES.match(rest)
            and not _UNFINISHED.search(line)
        ):
            found.append(end)
    return found


def _open_fence(prefix: str, text: str, suffix: str, fences: dict[str, str]) -> str | None:
    """Return what closes the string or comment that is open at the cursor; None where there is none.

    What nothing closes was no string: the prefix began in the middle of one, or a sign was misread.
    """
    view = prefix[-_PREFIX_CHARS:]
    _, states = _line_states(view[view.find("\n") + 1 :] if len(prefix) > len(view) else view, fences, None)
    fence = states[-1].fence
    return fence if fence is not None and (fence in text or fence in suffix) else None


def _line_states(text: str, fences: dict[str, str], fence: str | None) -> tuple[list[int], list[_State]]:
    """Return, for every line, where it ends and which brackets and multi-line strings are open there.

    A closer without its opener stays on the stack: it closes what was opened before the cursor. Comments and
    strings of one line are skipped. An apostrophe that its line does not close is one; a quotation mark is one
    too, unless a later line closes it.
    """
    ends, states = [], []
    stack: list[str] = []
    signs = _signs(tuple(fences))
    closers = {line.strip() for line in text.split("\n")}
    position = 0
    for line in text.split("\n"):
        heredoc = None
        i = 0
        while i < len(line):
            if fence is not None:
                close = line.find(fence, i)
                if close < 0 or (fence[0].isalpha() and line.strip() != fence):
                    break
                i, fence = close + len(fence), None
                continue
            sign = signs.search(line, i)
            if sign is None or sign.lastgroup == "comment":
                break
            found, i = sign.group(), sign.end()
            if sign.lastgroup == "heredoc":
                name = found.strip("<-~'\"")
                heredoc = name if name in closers else None
            elif sign.lastgroup == "fence":
                fence = fences[found]
            elif sign.lastgroup == "quote":
                i = _string_end(line, sign.start())
                if found == '"' and i == sign.end() and text.find('"', position + len(line)) >= 0:
                    fence = '"'
            else:
                _push(stack, found)
        position += len(line)
        fence = fence or heredoc
        ends.append(position)
        states.append(_State((*stack,), fence))
        position += 1
    return ends, states


@cache
def _signs(fences: tuple[str, ...]) -> re.Pattern[str]:
    """Return what finds the next sign of a line that matters, by the group it is found in."""
    fence, comment = ("|".join(map(re.escape, each)) for each in (fences, _LINE_COMMENTS))
    bracket = r"[(\[{)\]}]"
    return re.compile(
        rf"(?P<heredoc>{_HEREDOC})|(?P<fence>{fence})|(?P<comment>{comment})|(?P<quote>['\"])|(?P<bracket>{bracket})"
    )


def _push(stack: list[str], char: str) -> None:
    if char in "([{":
        stack.append(char)
    elif char in _CLOSERS:
        if stack and stack[-1] == _CLOSERS[char]:
            stack.pop()
        else:
            stack.append(char)


def _string_end(line: str, start: int) -> int:
    """Return where the string that begins at `start` ends; behind its quote if the line does not close it."""
    quote, i = line[start], start + 1
    while i < len(line):
        if line[i] == "\\":
            i += 2
        elif line[i] == quote:
            return i + 1
        else:
            i += 1
    return start + 1


def _indentation(line: str) -> int:
    expanded = line.expandtabs(4)
    return len(expanded) - len(expanded.lstrip())
