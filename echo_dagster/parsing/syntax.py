"""What a parser knows about a gap: how well its file parses, and where in C_N a statement is complete.

Parsers (tree-sitter) are loaded when the first gap of their language comes. What does not live here: the tables
that describe a grammar (`grammars.py`), what counts as an error (`parse_errors.py`), languages without a
grammar (`refinery/brackets.py`), and the choice between the places where C_N can be cut (`refinery/truncate.py`).

Positions are bytes of UTF-8, as tree-sitter counts them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import import_module

from tree_sitter import Language, Node, Parser, Tree

from echo_dagster.parsing import parse_errors
from echo_dagster.parsing.grammars import LANGUAGES, Grammar, grammar_of

#: How much of the file around a gap is parsed. Tree-sitter takes some 10 ms for 100 KB.
PREFIX_CHARS = 128 * 1024
SUFFIX_CHARS = 64 * 1024

#: Where a window may begin or end: first of all a definition, as prose inside a string hardly looks like one.
_DEFINITION = (
    r"(?:@\w|(?:async )?def \w+[(:].*[(:,]$|(?:export|public|abstract|final|data|pub|pub\(\w+\)) \w|"
    r"(?:class|struct|trait|interface|enum|namespace) \w+.*[{:(,]$|module [A-Z]|"
    r"(?:async )?(?:function|func|fn|fun|impl|type|const|template)[ <(]|#(?:include|define|if))"
)
_TOP_DEFINITION = re.compile(rf"^{_DEFINITION}", re.MULTILINE)
_INNER_DEFINITION = re.compile(rf"^[ \t]+{_DEFINITION}", re.MULTILINE)
_TOP_LEVEL = re.compile(r"^[A-Za-z@]", re.MULTILINE)


@dataclass(frozen=True)
class Parsed:
    """A gap's file with one text in the gap: [`start`, `end`) in bytes."""

    tree: Tree
    grammar: Grammar
    source: bytes
    start: int
    end: int
    errors: int


def has_grammar(language: str) -> bool:
    """Say whether a parser for this LSP language id is shipped."""
    return language in LANGUAGES


def window(prefix: str, suffix: str | None) -> tuple[str, str]:
    """Return the part of a file that is parsed: whole where it is small, else cut at definitions."""
    before, after = prefix, suffix or ""
    if len(before) > PREFIX_CHARS:
        before = before[-PREFIX_CHARS:]
        line = before.find("\n") + 1
        first = (
            _TOP_DEFINITION.search(before, line, PREFIX_CHARS // 2)
            or _INNER_DEFINITION.search(before, line, PREFIX_CHARS // 2)
            or _TOP_LEVEL.search(before, line)
        )
        before = before[first.start() if first else line :]
    if len(after) > SUFFIX_CHARS:
        after = after[:SUFFIX_CHARS]
        tops = [line.start() for line in _TOP_DEFINITION.finditer(after, SUFFIX_CHARS // 2)]
        after = after[: tops[-1] if tops else after.rfind("\n") + 1] or after
    return before, after


def parse(language: str, prefix: str, text: str, suffix: str) -> Parsed:
    """Parse a gap's file with `text` in the gap. `prefix` and `suffix` come from `window`."""
    before, inside = prefix.encode(), text.encode()
    source = before + inside + suffix.encode()
    grammar = grammar_of(language, source)
    parser = _language(grammar)
    tree = Parser(parser).parse(source)
    start, end = len(before), len(before) + len(inside)
    errors = parse_errors.count(grammar, parser, tree, source, start + len(inside.rstrip()))
    return Parsed(tree, grammar, source, start, end, errors)


def is_boundary(parsed: Parsed, at: int) -> bool | None:
    """Say whether a statement is complete at the line break `at`; None where the parser does not know.

    False inside strings, comments, expressions, and bodies that C_N both opens and closes in a language of
    braces, keywords or tags: a cut there would leave the body open. False behind a line of comment or an
    attribute, which belongs to the statement below it, unless the cursor stands in it.
    """
    node, grammar = _node_at(parsed, at), parsed.grammar
    if node.type == "ERROR" or node.type in grammar.foreign:
        return None
    above = _leading_line(parsed, _descendant(parsed, max(at - 1, 0), at))
    if above is not None and above.start_byte >= parsed.start:
        return False
    if node.type in grammar.lists:
        return node.start_byte < parsed.start
    last = parse_errors.token_before(parsed.tree.root_node, parsed.source, at)
    ends_header = last is not None and last.type == ":"
    if grammar.is_indented:
        return node.type in grammar.bodies or (ends_header and node.type in parse_errors.HEADED)
    # `case 1:` and `public:` stand before what they say.
    return node.type in grammar.bodies and not ends_header and not _is_within(parsed, node)


def statement_end(parsed: Parsed, at: int) -> int | None:
    """Return where the innermost statement or element that holds byte `at` ends; None in an ERROR.

    For a line of comment that is the statement below it, in running text the line.
    """
    node = _descendant(parsed, at, at + 1)
    if node.type in parsed.grammar.texts:
        line_end = parsed.source.find(b"\n", at)
        return node.end_byte if line_end < 0 else min(node.end_byte, line_end)
    while (leading := _leading_line(parsed, node)) and (below := leading.next_named_sibling):
        if below.start_byte >= parsed.end:
            break
        node = below
    while (parent := node.parent) is not None:
        if parent.type == "ERROR":
            return None
        if node.is_named and (
            (parent.type in parsed.grammar.bodies and _holds(parsed, parent, node.start_byte))
            or (
                parent.type in parsed.grammar.lists
                and parent.start_byte < parsed.start
                and parent.end_byte > parsed.end
            )
        ):
            break
        node = parent
    while (below := node.next_named_sibling) is not None and below.type == "heredoc_body":
        node = below  # Ruby's grammar sets it behind its statement
    return node.end_byte


@cache
def _language(grammar: Grammar) -> Language:
    return Language(getattr(import_module(grammar.package), grammar.entry)())


def _node_at(parsed: Parsed, at: int) -> Node:
    """Return the innermost node that goes on behind the line break `at`, running text aside."""
    node = _descendant(parsed, at, at + 1)
    following = parsed.source.find(b"\n", at) + 1
    # A comment, a directive or a clause can hold the line break that ends it.
    while (parent := node.parent) is not None and (
        node.type in parsed.grammar.texts or node.end_byte <= following
    ):
        node = parent
    return node


def _descendant(parsed: Parsed, start: int, end: int) -> Node:
    root = parsed.tree.root_node
    return root.descendant_for_byte_range(start, end) or root


def _leading_line(parsed: Parsed, node: Node) -> Node | None:
    """Return the comment or attribute that `node` is part of, if it has its line for itself."""
    outermost = None
    parent: Node | None = node
    while parent is not None and parent.type not in parsed.grammar.bodies:
        if parent.type.endswith("comment") or parent.type in parsed.grammar.leading:
            outermost = parent
        parent = parent.parent
    if outermost is None:
        return None
    line = parsed.source.rfind(b"\n", 0, outermost.start_byte) + 1
    return None if parsed.source[line : outermost.start_byte].strip() else outermost


def _is_within(parsed: Parsed, body: Node) -> bool:
    """Say whether C_N both opens and closes a body."""
    while body.type in parsed.grammar.inner and body.parent is not None:
        body = body.parent
    was_open = body.start_byte < parsed.start and _holds(parsed, body, parsed.start)
    return not was_open and body.parent is not None and body.end_byte <= parsed.end


def _holds(parsed: Parsed, body: Node, at: int) -> bool:
    """Say whether byte `at` of `body` lies where its statements are, and not in its header."""
    if body.type not in parsed.grammar.compounds:
        return True
    # The header ends at the first line break that stands directly in the body.
    end = body.start_byte
    for child in body.children:
        if parsed.source.find(b"\n", end, min(child.start_byte + 1, at)) >= 0:
            return True
        if child.start_byte >= at:
            return False
        end = child.end_byte
    return parsed.source.find(b"\n", end, at) >= 0
