"""How badly a file parses: a count to compare, with and without a piece of it.

Beside ERROR and MISSING nodes some things count that a grammar lets pass: in Python a header without a body and
lines behind the gap whose indentation fits no statement around it, in HTML an element that is never closed, in
Go a file that does not begin with its package, in Go, Java and Rust a statement outside of any function, in Ruby
and Bash an `end` or `fi` without its beginning, in Bash a body without a command, in Rust a doc comment of nothing,
in many a `try` that catches nothing. Which, is told by the grammar's table.

What does not live here: where a statement is complete (`syntax.py`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache

from tree_sitter import Language, Node, Query, QueryCursor, Tree

from echo_dagster.parsing.grammars import Grammar

#: Compound statements whose body is told by indentation: the break behind their colon ends the header.
HEADED = {
    *("if_statement", "elif_clause", "else_clause", "for_statement", "while_statement", "try_statement"),
    *("except_clause", "except_group_clause", "finally_clause", "with_statement", "function_definition"),
    *("class_definition", "match_statement", "case_clause"),
}
#: The indentation of the next line that is neither blank nor a comment.
_NEXT_LINE = re.compile(rb"(?:[ \t]*(?:#[^\n]*)?\r?\n)+([ \t]*)(?=[^\s#])")
#: Elements that HTML lets stand without an end tag.
_LEFT_OPEN = {
    *(b"area", b"base", b"br", b"col", b"embed", b"hr", b"img", b"input", b"link", b"meta", b"param"),
    *(b"source", b"track", b"wbr", b"html", b"head", b"body", b"p", b"li", b"dt", b"dd", b"option"),
    *(b"optgroup", b"tr", b"td", b"th", b"thead", b"tbody", b"tfoot", b"colgroup", b"caption", b"rt", b"rp"),
}
_CATCHING = ("except_clause", "except_group_clause", "catch_clause", "finally_clause")
_TAGS = "(start_tag (tag_name) @start) (end_tag (tag_name) @end) (erroneous_end_tag) @error"


def count(grammar: Grammar, language: Language, tree: Tree, source: bytes, end: int) -> int:
    """Return the number of errors in a file; `end` is the byte where the gap's last line of code ends."""
    errors = _error_nodes(tree.root_node)
    is_empty = source[max(end - 1, 0) : end].isspace()  # the gap: nobody has written anything there
    if grammar.is_indented and not is_empty:
        errors += _breaks_indentation(tree.root_node, grammar, source, end)
    if grammar.first:
        first = _first_statement(tree.root_node)
        errors += first is None or first.type != grammar.first
    if grammar.faults:
        found = _captures(language, grammar.faults, tree.root_node)
        errors += sum(map(_has_no_body, found.pop("header", [])))
        errors += sum(map(_has_no_clause, found.pop("try", []))) + sum(map(len, found.values()))
    if grammar.is_tagged:
        errors += _unclosed_elements(tree.root_node, language)
    return errors


def _first_statement(root: Node) -> Node | None:
    return next((node for node in root.named_children if node.type != "comment"), None)


def token_before(root: Node, source: bytes, at: int) -> Node | None:
    """Return the last token that ends at byte `at` or before it, comments and white space aside."""
    at = len(source[:at].rstrip())
    while at:
        token = root.descendant_for_byte_range(at - 1, at)
        if token is None or not token.type.endswith("comment"):
            return token
        at = len(source[: token.start_byte].rstrip())
    return None


def _error_nodes(root: Node) -> int:
    """Count ERROR and MISSING nodes, going only where there are some."""
    found, todo = 0, [root]
    while todo:
        node = todo.pop()
        if node.is_error or node.is_missing:
            found += 1
        if node.has_error:
            todo.extend(node.children)
    return found


def _breaks_indentation(root: Node, grammar: Grammar, source: bytes, at: int) -> bool:
    """Say whether the text before `at` ends in a header without a body, or what follows is ill indented.

    Python's grammar lets both pass, so that neither is an ERROR to the parser.
    """
    last = token_before(root, source, at)
    if last is None:
        first = _first_statement(root)
        return first is not None and first.start_point.column > 0
    if last.end_byte > at:
        return False
    statement = _statement(last, grammar)
    if last.type == ":" and last.parent is not None and last.parent.type in HEADED:
        after = [c for c in last.parent.children if c.start_byte >= last.end_byte and c.type != "comment"]
        if not after or after[0].end_byte == after[0].start_byte:
            return True
    elif (
        statement.end_byte <= last.end_byte
        and (following := _NEXT_LINE.match(source, last.end_byte))
        and len(following.group(1)) > statement.start_point.column
    ):
        return True
    return any(map(_is_out_of_line, _with_enclosing(statement, grammar)))


def _statement(node: Node, grammar: Grammar) -> Node:
    """Return the innermost statement that a node is part of."""
    while node.parent is not None and node.parent.type not in grammar.bodies:
        node = node.parent
    return node


def _with_enclosing(statement: Node, grammar: Grammar) -> Iterator[Node]:
    """Yield a statement and those around it, outwards."""
    while (body := statement.parent) is not None:
        yield statement
        statement = _statement(body, grammar)


def _is_out_of_line(statement: Node) -> bool:
    """Say whether a clause of a statement, or the next statement of its body, begins in another column."""
    column = statement.start_point.column
    rows = (statement.start_point.row, statement.end_point.row)
    for clause in statement.children:
        is_clause = clause.type.endswith("_clause") and clause.start_point.row > rows[0]
        if is_clause and clause.start_point.column != column:
            return True
    following = statement.next_named_sibling
    while following is not None and following.type == "comment":
        following = following.next_named_sibling
    if following is None or following.start_point.row == rows[1]:
        return False
    return following.start_point.column != column


def _unclosed_elements(root: Node, language: Language) -> int:
    """Count end tags without a start, and start tags without an end where HTML asks for one."""
    found = _captures(language, _TAGS, root)
    left: Counter[bytes] = Counter(node.text.lower() for node in found.get("start", ()) if node.text)
    left.subtract(Counter(node.text.lower() for node in found.get("end", ()) if node.text))
    unclosed = sum(n for name, n in left.items() if n > 0 and name not in _LEFT_OPEN)
    return unclosed + len(found.get("error", ()))


def _has_no_body(opener: Node) -> bool:
    following = opener.next_sibling
    return following is None or not following.is_named or following.type.endswith("_clause")


def _has_no_clause(node: Node) -> bool:
    return not any(child.type.endswith(_CATCHING) for child in node.children)


def _captures(language: Language, query: str, root: Node) -> dict[str, list[Node]]:
    return QueryCursor(_query(language, query)).captures(root)


@cache
def _query(language: Language, query: str) -> Query:
    return Query(language, query)
