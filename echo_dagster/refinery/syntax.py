"""What a parser knows about a gap: how well its file parses, and where in C_N a statement is complete.

Grammars (tree-sitter) are loaded when the first gap of their language comes. Languages without one are
handled by `brackets.py`. What does not live here: the choice between the places where C_N can be cut
(`truncate.py`).

Positions are bytes of UTF-8, as tree-sitter counts them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import import_module

from tree_sitter import Language, Node, Parser, Tree

#: How much of the file around a gap is parsed. Tree-sitter takes some 10 ms for 100 KB.
PREFIX_CHARS = 64 * 1024
SUFFIX_CHARS = 32 * 1024

#: LSP language id -> grammar package, its entry point, and which of the tables below describes it.
_GRAMMARS = {
    "python": ("tree_sitter_python", "language", "python"),
    "typescript": ("tree_sitter_typescript", "language_typescript", "ecmascript"),
    "typescriptreact": ("tree_sitter_typescript", "language_tsx", "ecmascript"),
    "tsx": ("tree_sitter_typescript", "language_tsx", "ecmascript"),
    "javascript": ("tree_sitter_javascript", "language", "ecmascript"),
    "javascriptreact": ("tree_sitter_javascript", "language", "ecmascript"),
    "jsx": ("tree_sitter_javascript", "language", "ecmascript"),
    "json": ("tree_sitter_json", "language", "json"),
    "jsonc": ("tree_sitter_json", "language", "json"),
}

#: Nodes that hold statements: a line break directly inside one stands between two statements.
_BODIES = {
    "python": {"module", "block"},
    "ecmascript": {
        "program",
        "statement_block",
        "class_body",
        "switch_body",
        "switch_case",
        "switch_default",
    },
    "json": {"document"},
}
#: Nodes that hold elements: a line break directly inside one stands between two of them. It counts only where
#: the cursor was inside already; a list that C_N itself opens is part of its statement.
_LISTS = {
    "python": {"list", "dictionary", "set", "tuple", "argument_list", "parameters", "import_from_statement"},
    "ecmascript": {
        *(
            "object",
            "array",
            "arguments",
            "formal_parameters",
            "object_pattern",
            "array_pattern",
            "named_imports",
        ),
        *(
            "export_clause",
            "type_arguments",
            "type_parameters",
            "tuple_type",
            "object_type",
            "interface_body",
        ),
        *("enum_body", "jsx_element", "jsx_fragment", "jsx_opening_element", "jsx_self_closing_element"),
    },
    "json": {"object", "array"},
}
#: Compound statements whose body is told by indentation: the break behind their colon ends the header.
_HEADED = {
    *("if_statement", "elif_clause", "else_clause", "for_statement", "while_statement", "try_statement"),
    *("except_clause", "except_group_clause", "finally_clause", "with_statement", "function_definition"),
    *("class_definition", "match_statement", "case_clause"),
}
#: The indentation of the next line that is neither blank nor a comment.
_NEXT_LINE = re.compile(rb"(?:[ \t]*(?:#[^\n]*)?\r?\n)+([ \t]*)(?=[^\s#])")
_TOP_LEVEL = re.compile(r"^[A-Za-z@]", re.MULTILINE)


@dataclass(frozen=True)
class Parsed:
    """A gap's file with one text in the gap: [`start`, `end`) in bytes."""

    tree: Tree
    family: str
    start: int
    end: int
    errors: int  # ERROR and MISSING nodes, and an indentation that the end of the gap makes wrong


def has_grammar(language: str) -> bool:
    """Say whether a parser for this LSP language id is shipped."""
    return language in _GRAMMARS


def window(prefix: str, suffix: str | None) -> tuple[str, str]:
    """Return the part of a file that is parsed: whole where it is small, else from a top-level line on."""
    before, after = prefix, suffix or ""
    if len(before) > PREFIX_CHARS:
        before = before[-PREFIX_CHARS:]
        first = _TOP_LEVEL.search(before, before.find("\n") + 1)
        before = before[first.start() :] if first else before[before.find("\n") + 1 :]
    if len(after) > SUFFIX_CHARS:
        after = after[:SUFFIX_CHARS]
        after = after[: after.rfind("\n") + 1] or after
    return before, after


def parse(language: str, prefix: str, text: str, suffix: str) -> Parsed:
    """Parse a gap's file with `text` in the gap. `prefix` and `suffix` come from `window`."""
    grammar, family = _grammar(language)
    before, inside = prefix.encode(), text.encode()
    source = before + inside + suffix.encode()
    tree = Parser(grammar).parse(source)
    start, end = len(before), len(before) + len(inside)
    errors = _count_errors(tree.root_node)
    if family == "python" and _breaks_indentation(tree, source, start + len(inside.rstrip())):
        errors += 1
    return Parsed(tree, family, start, end, errors)


def is_boundary(parsed: Parsed, at: int) -> bool | None:
    """Say whether a statement is complete at the line break `at`; None where the parser does not know.

    False inside strings, comments, expressions, and bodies that C_N both opens and closes in a language of
    braces: a cut there would leave the brace open. False behind a line of comment, which belongs to the
    statement below it, unless the cursor stands in it.
    """
    node = _node_at(parsed, at)
    if node.type == "ERROR":
        return None
    if (
        _is_comment_line(comment := _descendant(parsed, max(at - 1, 0), at))
        and comment.start_byte >= parsed.start
    ):
        return False
    bodies, lists = _BODIES[parsed.family], _LISTS[parsed.family]
    if node.type in lists:
        return node.start_byte < parsed.start
    if node.type in bodies:
        if node.type.startswith("switch_") and _last_token_before(node, at) == ":":
            return False
        is_indented = parsed.family == "python"
        return is_indented or node.start_byte < parsed.start or node.end_byte > parsed.end
    return parsed.family == "python" and node.type in _HEADED and _last_token_before(node, at) == ":"


def statement_end(parsed: Parsed, at: int) -> int | None:
    """Return where the innermost statement that holds byte `at` ends; None in an ERROR.

    For a line of comment that is the statement below it.
    """
    node = _descendant(parsed, at, at + 1)
    while _is_comment_line(node) and (below := node.next_named_sibling) and below.start_byte < parsed.end:
        node = below
    while (parent := node.parent) is not None and parent.type not in _BODIES[parsed.family]:
        if parent.type == "ERROR":
            return None
        node = parent
    return node.end_byte


@cache
def _grammar(language: str) -> tuple[Language, str]:
    package, entry, family = _GRAMMARS[language]
    return Language(getattr(import_module(package), entry)()), family


def _node_at(parsed: Parsed, at: int) -> Node:
    node = _descendant(parsed, at, at + 1)
    while node.type == "jsx_text" and node.parent is not None:
        node = node.parent
    return node


def _descendant(parsed: Parsed, start: int, end: int) -> Node:
    root = parsed.tree.root_node
    return root.descendant_for_byte_range(start, end) or root


def _is_comment_line(node: Node) -> bool:
    before = node.prev_sibling
    return node.type == "comment" and (before is None or before.end_point.row < node.start_point.row)


def _last_token_before(node: Node, at: int) -> str | None:
    before = [child.type for child in node.children if child.end_byte <= at and child.type != "comment"]
    return before[-1] if before else None


def _breaks_indentation(tree: Tree, source: bytes, at: int) -> bool:
    """Say whether the text before `at` ends in a header without a body, or what follows is indented too deep.

    Python's grammar lets both pass, so that neither is an ERROR to the parser.
    """
    root = tree.root_node
    last = root.descendant_for_byte_range(max(at - 1, 0), at)
    while last is not None and last.type == "comment":
        at = len(source[: last.start_byte].rstrip())
        last = root.descendant_for_byte_range(at - 1, at) if at else None
    if last is None:
        return False
    if last.type == ":" and last.parent is not None and last.parent.type in _HEADED:
        after = [c for c in last.parent.children if c.start_byte >= last.end_byte and c.type != "comment"]
        return not after or after[0].end_byte == after[0].start_byte
    following = _NEXT_LINE.match(source, at)
    node = last
    while (parent := node.parent) is not None and parent.type not in _BODIES["python"]:
        node = parent
    if following is None or node.parent is None or node.end_byte > at:
        return False
    return len(following.group(1)) > node.start_point.column


def _count_errors(root: Node) -> int:
    """Count ERROR and MISSING nodes, going only where there are some."""
    found, todo = 0, [root]
    while todo:
        node = todo.pop()
        if node.is_error or node.is_missing:
            found += 1
        if node.has_error:
            todo.extend(node.children)
    return found
