"""Every language on hand-written sources, at every place in them. `sources/LANGUAGE_N.txt` are the files.

A line that begins inside a string carries the mark `§`: what tells a string here is no parser.
"""

from pathlib import Path

import pytest
from refinery_rows import tokenizer, tokens

from echo_dagster.parsing import grammars, syntax
from echo_dagster.refinery import truncate

SOURCES = sorted(Path(__file__).with_name("sources").glob("*.txt"))

MARK = "§"
#: Tokens that C_N may have: of a line or two, of some, of any number.
BUDGETS = (24, 80, 4000)


def language_of(path):
    return path.stem.rsplit("_", 1)[0]


def middles(language, text, n_lines):
    """Cut C_N at every place of a file: at the start of a line, of its code, and inside it.

    Yields (prefix, C_N, suffix, middle, budget). C_N takes `n_lines`; proposal and budget are taken in turn.
    """
    lines = text.splitlines(keepends=True)
    turn = 0
    for number, line in enumerate(lines):
        code, indentation = line.strip(), len(line) - len(line.lstrip())
        for column in (0, indentation, indentation + len(code) // 2):
            for n in n_lines:
                prefix = "".join(lines[:number]) + line[:column]
                final = text[len(prefix) : len("".join(lines[: number + n]))].rstrip("\r\n")
                suffix = text[len(prefix) + len(final) :]
                if not code or not final.strip():
                    continue
                turn += 1
                proposal = "\n".join(final.strip().split("\n")[: 1 + turn % 2 * 3])
                budget = BUDGETS[turn % 3]
                found = truncate.middle(
                    language, prefix, final, suffix, proposal=proposal, tokenizer=tokenizer(), budget=budget
                )
                yield prefix, final, suffix, found, budget


def check(language, text, n_lines):
    """Assert what holds of every middle; return how many of them were cut."""
    n_cut = 0
    for prefix, final, suffix, found, budget in middles(language, text, n_lines):
        if found is None:
            assert tokens(final) > budget
            continue
        assert final.startswith(found.text)
        assert found.tokens == tokens(found.text) <= budget
        if found.text == final:
            continue
        n_cut += 1
        assert found.errors <= syntax.parse(language, prefix, final, suffix).errors
        assert found.errors == syntax.parse(language, prefix, found.text, suffix).errors
        rest = final[len(found.text) :]
        assert rest.startswith(("\n", "\r\n"))  # whole lines: no word, pair or line end is split
        assert not rest.lstrip("\r\n").startswith(MARK)
        assert not found.text.endswith((" ", "\t", "\r"))
    return n_cut


@pytest.mark.parametrize("path", SOURCES, ids=[path.stem for path in SOURCES])
def test_a_middle_is_a_head_of_c_n_that_ends_between_statements(path):
    assert check(language_of(path), path.read_text(encoding="utf-8"), (1, 3, 9)) > 3


@pytest.mark.parametrize("path", SOURCES[::2], ids=[path.stem for path in SOURCES[::2]])
def test_windows_line_ends_are_cut_alike(path):
    text = path.read_text(encoding="utf-8")
    assert check(language_of(path), text.replace("\n", "\r\n"), (6,)) > 1


def test_every_grammar_has_sources_and_knows_the_nodes_that_its_tables_name():
    aliases = {"tsx", "jsx", "javascriptreact", "bash", "sh", "jsonc"}
    assert grammars.LANGUAGES - aliases == set(map(language_of, SOURCES))
    for language, grammar in grammars._GRAMMARS.items():
        parser = syntax._language(grammar)
        named = set().union(
            *(grammar.bodies, grammar.compounds, grammar.inner, grammar.lists),
            *(grammar.texts, grammar.leading, grammar.foreign),
        )
        shared = {"javascript", "javascriptreact", "jsx", "typescript"}  # they share their table with TSX
        if language not in shared:
            assert [name for name in sorted(named) if parser.id_for_node_kind(name, True) is None] == []
        assert grammar.compounds | grammar.inner <= grammar.bodies


@pytest.mark.parametrize("path", SOURCES, ids=[path.stem for path in SOURCES])
def test_the_sources_parse(path):
    assert syntax.parse(language_of(path), "", path.read_text(encoding="utf-8"), "").errors == 0
