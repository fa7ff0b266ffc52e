"""Where a statement is complete in a language without a parser here: told from brackets and indentation.

A line break ends a statement where as many brackets are open as at the end of C_N (what is open there is
closed by the suffix), no string is open, the line is no comment, and the next line is neither indented deeper
nor the continuation of this one. The rule is meant to say too little rather than too much.

What does not live here: languages with a grammar (`syntax.py`), and the choice among boundaries
(`truncate.py`).
"""

from __future__ import annotations

import re

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


def boundaries(prefix: str, text: str, suffix: str) -> list[int]:
    """Return the positions in `text` of the line breaks that end a statement, in order.

    `prefix` gives the indentation of the cursor's line; `suffix` the line that follows the last one.
    """
    ends, states = _line_states(text)
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
        # complete.
        deeper = bool(rest) and _indentation(rest) > base and not line.rstrip().endswith(("{", "(", "["))
        if (
            state == final_state
            and not deeper
            and not _CONTINUES.match(rest)
            and not _UNFINISHED.search(line)
        ):
            found.append(end)
    return found


def _line_states(text: str) -> tuple[list[int], list[tuple[str, ...]]]:
    """Return, for every line, where it ends and which brackets and multi-line strings are open there.

    A closer without its opener stays on the stack: it closes what was opened before the cursor. Comments and
    strings of one line are skipped; a quote that its line does not close is an apostrophe.
    """
    ends, states = [], []
    stack: list[str] = []
    fence: str | None = None  # the multi-line string or comment that is open
    position = 0
    for line in text.split("\n"):
        i = 0
        while i < len(line):
            if fence is not None:
                close = line.find(fence, i)
                if close < 0:
                    break
                i, fence = close + len(fence), None
            elif line.startswith(_LINE_COMMENTS, i):
                break
            elif line.startswith(("'''", '"""'), i):
                fence, i = line[i : i + 3], i + 3
            elif line.startswith("/*", i):
                fence, i = "*/", i + 2
            elif line[i] == "`":
                fence, i = "`", i + 1
            elif line[i] in "'\"":
                i = _string_end(line, i)
            else:
                _push(stack, line[i])
                i += 1
        position += len(line)
        ends.append(position)
        states.append((*stack, *([fence] if fence else [])))
        position += 1
    return ends, states


def _push(stack: list[str], char: str) -> None:
    if char in "([{":
        stack.append(char)
    elif char in _CLOSERS:
        if stack and stack[-1] == _CLOSERS[char]:
            stack.pop()
        else:
            stack.append(char)


def _string_end(line: str, start: int) -> int:
    quote, i = line[start], start + 1
    while i < len(line):
        if line[i] == "\\":
            i += 2
        elif line[i] == quote:
            return i + 1
        else:
            i += 1
    return start + 1  # not closed on its line: an apostrophe or a lifetime


def _indentation(line: str) -> int:
    expanded = line.expandtabs(4)
    return len(expanded) - len(expanded.lstrip())
