"""Whether two versions of the text above a gap differ in imports alone: editors add and sort them by themselves.

A small rule for all languages rather than a grammar for each: a line that begins like an import, the lines that its
brackets hold open, and blank lines. What does not live here: what such a change means (`views.py`).
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher

from echo_dagster.text import shared_head

_IMPORT = re.compile(
    r"""\s*(?:
        import\b                                            # Python, JavaScript, Java, Go, Swift, Haskell, ...
      | from\s+\S+\s+import\b
      | export\s+(?:type\s+)?(?:\*|\{[^}]*\})\s*from\b
      | (?:const|let|var|local)\s+[\w\s{},:$]+=\s*(?:await\s+import|require)\b
      | (?:pub(?:\([\w\s:]+\))?\s+)?(?:use|mod|extern\s+crate)\s+[\w:{]  # Rust, PHP, Perl
      | (?:global\s+)?using\s+(?:static\s+|namespace\s+)?[\w.:<>]+(?:\s*=\s*[\w.:<>,\s]+)?;  # C#, C++
      | (?:require|include)(?:_once|_relative)?\b           # Ruby, PHP
      | (?:alias|open)\s+[A-Z]                              # Elixir, F#, OCaml
      | \#\s*(?:include|import)\b                           # C
      | @(?:import|use|forward)\b                           # style sheets
    )""",
    re.VERBOSE,
)

#: Where the last difference lies further down, more changed than imports; and comparing lines is not linear.
_MOST_LINES = 1_000

#: An import that is still open after so many lines is none.
_LONGEST_IMPORT = 100


def only_imports_differ(old: str, now: str, *, is_cut: bool) -> bool:
    """Say whether all lines in which two texts that end at the same place differ are imports, or blank.

    Args:
        old: the text as it was.
        now: the text as it is.
        is_cut: they need not begin at the same place of the document. Lines that only one of them shows, and the first
            line of either, are then not compared.
    """
    tail = shared_head(old[::-1], now[::-1])
    line_end = old.find("\n", len(old) - tail) + 1
    tail -= line_end - (len(old) - tail) if line_end else tail  # whole lines
    old_lines, now_lines = (text[: len(text) - tail].splitlines() for text in (old, now))
    if max(len(old_lines), len(now_lines)) > _MOST_LINES:
        return False
    is_import = _imports(old_lines), _imports(now_lines)
    for tag, *bounds in SequenceMatcher(None, old_lines, now_lines, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        changed = range(*bounds[:2]), range(*bounds[2:])
        if is_cut and min(bounds[0], bounds[2]) == 0 and min(map(len, changed)) <= 1:
            continue  # one text begins further up than the other
        for lines, imports, which in zip((old_lines, now_lines), is_import, changed, strict=True):
            if not all(imports[at] or not lines[at].strip() for at in which if at or not is_cut):
                return False
    return True


def _imports(lines: list[str]) -> list[bool]:
    """Say of each line whether it is an import or a part of one."""
    found = []
    depth = left = 0  # brackets that an import has open, and how many lines it may still take
    for line in lines:
        if not (depth > 0 and left) and _IMPORT.match(line):
            depth, left = 0, _LONGEST_IMPORT
        elif depth <= 0 or not left:
            depth = left = 0
        found.append(left > 0)
        if left:
            left -= 1
            depth += sum(line.count(sign) for sign in "({") - sum(line.count(sign) for sign in ")}")
            if depth <= 0:
                left = 0
    return found
