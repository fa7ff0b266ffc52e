"""Languages without a grammar: where their statements end, told from brackets and indentation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from refinery_rows import tokenizer

from echo_dagster.parsing import syntax
from echo_dagster.refinery import brackets, truncate


def text_and_scope(language, prefix, final, suffix, proposal, limit=256):
    found = truncate.middle(
        language, prefix, final, suffix, proposal=proposal, tokenizer=tokenizer(), budget=limit
    )
    return None if found is None else (found.text, found.scope)


BRACKETS = {
    "a compound statement": (
        (
            "swift",
            "fn f() {\n    ",
            "if x {\n        a();\n    } else {\n        b();\n    }\n    c();",
            "\n}\n",
            "if x {",
        ),
        ("if x {\n        a();\n    } else {\n        b();\n    }", "statement"),
    ),
    "a header whose body stands in the suffix": (
        ("dart", "func f() {\n    if x", " {\n        a()\n        b()", "\n    }\n}\n", " {"),
        (" {", "line"),
    ),
    "a statement closed by a word": (
        ("julia", "def f\n  ", "if x\n    a\n  else\n    b\n  end\n  c", "\nend\n", "if x"),
        ("if x\n    a\n  else\n    b\n  end", "statement"),
    ),
    "a statement that goes on": (
        (
            "scala",
            "void f() {\n    ",
            "x = call()\n        .then(a)\n        .get();\n    y();",
            "\n}\n",
            "x =",
        ),
        ("x = call()\n        .then(a)\n        .get();", "statement"),
    ),
    "a lifetime is no string": (
        ("swift", "", "fn f<'a>(x: &'a str) {\n    g(x);\n}\nfn h() {}", "\n", "fn f"),
        ("fn f<'a>(x: &'a str) {\n    g(x);\n}", "statement"),
    ),
    "a bracket in a string is no bracket": (
        ("dart", "func f() {\n\t", 'a("(")\n\tb()', "\n}\n", "a"),
        ('a("(")', "line"),
    ),
    "a comment that the cursor stands in": (
        ("dart", "func f() {\n\t// tw", "ice (the value)\n\ta()\n\tb()", "\n}\n", "ice"),
        ("ice (the value)", "line"),
    ),
    "a block comment": (
        ("groovy", "", "/* one {\n * two\n */\nint x;\nint y;", "\n", "/*"),
        ("/* one {\n * two\n */\nint x;", "statement"),
    ),
}


@pytest.mark.parametrize(("arguments", "expected"), BRACKETS.values(), ids=BRACKETS)
def test_languages_without_a_grammar(arguments, expected):
    assert text_and_scope(*arguments) == expected


STRINGS = {
    "a quotation mark that a later line closes": ("julia", "a = ", '"one\ntwo\nthree"\nb = 1', "\n"),
    "three quotation marks": ("swift", "let a = ", '"""\n  one\n  two\n  """\nb()', "\n"),
    "backticks": ("vue", "a = ", "`one\ntwo`\nb()", "\n"),
    "long brackets": ("lua", "a = ", "[[\none\ntwo\n]]\nb()", "\n"),
    "a block of comment": ("powershell", "", "<# one\ntwo\n#>\nb", "\n"),
    "a heredoc": ("perl", "print ", "<<'END';\none\ntwo\nEND\nb();", "\n"),
    "a string that is open at the cursor": ("swift", 'let a = """\nzero\n', 'one\ntwo\n"""\nb()', "\n"),
    "a comment that is open at the cursor": ("swift", "/* zero\n", "one\ntwo */\nb()", "\n"),
}


@pytest.mark.parametrize("case", STRINGS.values(), ids=STRINGS)
def test_no_cut_falls_inside_a_string_that_spans_lines(case):
    language, prefix, final, suffix = case
    assert brackets.boundaries(prefix, final, suffix, language) == [final.rindex("\nb")]


def test_a_sign_that_nothing_closes_opens_no_string():
    assert brackets.boundaries("let a = `\n", "one\ntwo", "\n", "swift") == [3]
    assert brackets.boundaries("", 'the 3.5" disk\nb = 1 << END\nc', "\n", "julia") == [13, 26]


def test_proposals_of_one_statement_and_of_several():
    gap = ("swift", "func f() {\n  ", "a {\n    b()\n  }\n  c()\n  d()", "\n}\n")
    assert text_and_scope(*gap, "a {\n    b()\n  }") == ("a {\n    b()\n  }", "statement")
    assert text_and_scope(*gap, "a()\n  b()") == (gap[2], "block")


def test_the_ids_here_have_no_grammar():
    assert not any(map(syntax.has_grammar, [case[0] for case in STRINGS.values()]))
    assert not any(map(syntax.has_grammar, [case[0][0] for case in BRACKETS.values()]))


@given(
    st.lists(
        st.sampled_from(["a = 1", "b {", "}", '"', "'''", "`", "/*", "*/", "<<A", "A", "🙂", ""]), max_size=9
    ),
    st.sampled_from(["", '"', "/* x\n", "`\n"]),
    st.sampled_from(["swift", "lua", "powershell", ""]),
)
def test_boundaries_are_line_breaks_in_order(lines, prefix, language):
    text = "\n".join(lines)
    found = brackets.boundaries(prefix, text, "\n", language)
    assert found == sorted(set(found))
    assert all(text[at] == "\n" for at in found)
