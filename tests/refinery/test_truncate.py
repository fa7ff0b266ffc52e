import ast
import random
import re
import site
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from refinery_rows import tokenizer, tokens

from echo_dagster.parsing import syntax
from echo_dagster.refinery import truncate

BODY = "def f(a):\n    "


def cut(*gap, limit=256):
    language, prefix, final, suffix, proposal = gap
    return truncate.middle(
        language, prefix, final, suffix, proposal=proposal, tokenizer=tokenizer(), budget=limit
    )


def text_and_scope(*arguments, **limits):
    found = cut(*arguments, **limits)
    return None if found is None else (found.text, found.scope)


PYTHON = {
    "a proposal of one line asks for one statement": (
        (BODY, "x = 1\n    y = 2", "\n\nz = 3\n", "x = 2"),
        ("x = 1", "line"),
    ),
    "a proposal of several lines asks for a block": (
        (BODY, "x = 1\n    y = 2", "\n\nz = 3\n", "x = 2\n    y"),
        ("x = 1\n    y = 2", "block"),
    ),
    "a statement may span lines while brackets are open": (
        ("x = call(", "a,\n    b)\ny = 1", "\nz = 2\n", "a)"),
        ("a,\n    b)", "statement"),
    ),
    "a compound statement goes to the end of its body": (
        (BODY, "if a:\n        b()\n        c()\n    d()", "\n", "if a:"),
        ("if a:\n        b()\n        c()", "statement"),
    ),
    "a function's signature brings its body": (
        ("def f(", "a, b):\n    x = a\n    return x\n\ny = 1", "\n", "a):"),
        ("a, b):\n    x = a\n    return x", "statement"),
    ),
    "a header whose body stands in the suffix is complete": (
        ("def f(", "a, b):\n    x = a", "\n    return x\n", "a):"),
        ("a, b):", "line"),
    ),
    "leading white space of C_N stays": (
        ("def f(a):", "\n    x = 1\n    y = 2", "\n", "\n    x = 2"),
        ("\n    x = 1", "line"),
    ),
    "a trailing indentation of the editor goes": (
        (BODY, "return a\n    ", "\n\nprint(f(1))\n", "return a"),
        ("return a", "line"),
    ),
    "a cut before the rest of a line keeps the line break and the indentation": (
        (BODY, "x = 1\n    y = 2\n    ", "return x\n", "x = 2"),
        ("x = 1\n    ", "line"),
    ),
    "a gap in the middle of a line is not cut": (
        ("f(", "a, b", ")\ng()\n", "a"),
        ("a, b", "line"),
    ),
    "a cut never falls inside a string": (
        (BODY, 's = """\n    one\n    two\n    """\n    y = 2', "\n", "s = 1"),
        ('s = """\n    one\n    two\n    """', "statement"),
    ),
    "an element of a list that was open already is complete by itself": (
        ("x = [\n    ", "1,\n    2,\n    3,", "\n]\n", "1,"),
        ("1,", "line"),
    ),
    "a comment belongs to the statement below it": (
        (BODY, "# twice\n    # or more\n    x = 2 * a\n    y = 1", "\n", "# twice"),
        ("# twice\n    # or more\n    x = 2 * a", "statement"),
    ),
    "a comment that the cursor stands in is complete by itself": (
        (BODY + "z = 0\n    # twi", "ce the value\n    x = 2 * a\n    y = 1", "\n", "ce"),
        ("ce the value", "line"),
    ),
    "a comment above a compound statement brings all of it": (
        (
            "",
            "# a point\nclass A:\n    def f(self):\n        x = 1\n        y = 2\n\n    z = 3\nb = 1",
            "\n",
            "# a",
        ),
        ("# a point\nclass A:\n    def f(self):\n        x = 1\n        y = 2\n\n    z = 3", "statement"),
    ),
    "an unfinished last statement is dropped": (
        (BODY, "x = 1\n    y = 2\n    z = call(", "\n\nprint(f(1))\n", "x = 2\n    y = 1"),
        ("x = 1\n    y = 2", "block"),
    ),
    "a header without its body is unfinished": (
        (BODY, "x = 1\n    y = 2\n    if x:", "\n\nprint(f(1))\n", "x = 2\n    y = 1"),
        ("x = 1\n    y = 2", "block"),
    ),
    "a try without its except is unfinished": (
        (BODY, "try:\n        x = 1\n    except OSError:\n        x = 2\n    y = 3", "\n", "try:"),
        ("try:\n        x = 1\n    except OSError:\n        x = 2", "statement"),
    ),
}


@pytest.mark.parametrize(("arguments", "expected"), PYTHON.values(), ids=PYTHON)
def test_python(arguments, expected):
    assert text_and_scope("python", *arguments) == expected


FUNCTION = "function f(a: number) {\n  "
SCRIPT = {
    "a compound statement goes to its closing brace": (
        (FUNCTION, "if (a) {\n    b();\n  } else {\n    c();\n  }\n  d();", "\n}\n", "if (a) {"),
        ("if (a) {\n    b();\n  } else {\n    c();\n  }", "statement"),
    ),
    "a header whose brace the suffix closes is complete": (
        (FUNCTION + "if (a", ") {\n    b();\n    c();", "\n  }\n}\n", ") {"),
        (") {", "line"),
    ),
    "a chain of calls is one statement": (
        (FUNCTION, "call()\n    .then(one)\n    .then(two);\n  d();", "\n}\n", "call()"),
        ("call()\n    .then(one)\n    .then(two);", "statement"),
    ),
    "a template string is not cut": (
        (FUNCTION, "const s = `one\ntwo ${a}\nthree`;\n  d();", "\n}\n", "const s"),
        ("const s = `one\ntwo ${a}\nthree`;", "statement"),
    ),
    "a member of an object that was open already is complete by itself": (
        ("const o = {\n  a: 1,\n  ", "b: {\n    c: 2,\n  },\n  d: 3,", "\n};\n", "b: 1"),
        ("b: {\n    c: 2,\n  },", "statement"),
    ),
    "a function that does not fit is not cut inside": (
        (FUNCTION, "a = 1;\n  function g() {\n    b();\n    c();\n    d();\n  }", "\n}\n", "a\nb"),
        ("a = 1;", "line"),
    ),
    "Windows line ends": (
        (FUNCTION, "b();\r\n  c();", "\r\n}\r\n", "b()"),
        ("b();", "line"),
    ),
}


@pytest.mark.parametrize("language", ["typescript", "javascript", "typescriptreact"])
@pytest.mark.parametrize(("arguments", "expected"), SCRIPT.values(), ids=SCRIPT)
def test_scripts(language, arguments, expected):
    limit = 24 if "not cut inside" in str(expected) or expected[0] == "a = 1;" else 256
    if language == "javascript":
        arguments = tuple(part.replace(": number", "") for part in arguments)
    assert text_and_scope(language, *arguments, limit=limit) == expected


def test_jsx_children_are_cut_between_elements_only():
    prefix = "function App() {\n  return (\n    <ul>\n      "
    final = "<li\n        key={1}\n      >\n        one\n      </li>\n      <li>two</li>"
    suffix = "\n    </ul>\n  );\n}\n"
    found = cut("typescriptreact", prefix, final, suffix, "<li>")
    assert found.text == final[: final.index("\n      <li>two")]
    assert found.errors == 0


def test_json_keeps_the_comma_that_the_next_pair_needs():
    found = cut(
        "json", '{\n  "a": 1,\n  ', '"b": {\n    "c": 1\n  },\n  "d": 2,', '\n  "e": 3\n}\n', '"b": 1'
    )
    assert (found.text, found.scope, found.errors) == ('"b": {\n    "c": 1\n  },', "statement", 0)


def test_whole_statements_fill_the_budget():
    final = "\n".join(["x = 1", *(f"    value{index} = {index}" for index in range(50))])
    found = cut("python", BODY, final, "\n", "x\ny", limit=60)
    assert found.scope == "block"
    assert final.startswith(found.text) and final[len(found.text)] == "\n"
    assert found.tokens == tokens(found.text) <= 60
    following = final[: final.index("\n", len(found.text) + 1)]
    assert tokens(following) > 60


def test_a_statement_longer_than_the_budget_gives_nothing():
    assert cut("python", BODY, "x = [" + "1, " * 300 + "]", "\n", "x = 1", limit=32) is None
    for language in ("go", "swift"):
        assert (
            cut(language, "func f() {\n", "if x {\n" + "\ta()\n" * 100 + "}", "\n}\n", "if x {", limit=32)
            is None
        )


def test_an_unknown_suffix_is_the_end_of_what_is_known():
    assert text_and_scope("python", BODY, "x = 1\n    y = 2", None, "x") == ("x = 1", "line")


def test_a_file_of_megabytes_is_parsed_by_its_window():
    lines = "".join(f"value_{index} = call({index})\n" for index in range(60_000))
    before, after = syntax.window(lines + "def f(a):\n    ", "\n" + lines)
    assert len(before) <= syntax.PREFIX_CHARS and before.startswith("value_")
    assert len(after) <= syntax.SUFFIX_CHARS and after.endswith("\n")
    assert text_and_scope("python", lines + BODY, "x = 1\n    y = 2", "\n" + lines, "x") == ("x = 1", "line")


@hypothesis_settings(max_examples=60)
@given(
    st.sampled_from(["python", "typescript", "json", "rust", "ruby", "html", "markdown"]),
    st.lists(
        st.sampled_from(["x = 1", "if a:", "    b()", "{", "}", '"', "'''", "`", "#", "(", "🙂é", ""]),
        max_size=12,
    ),
    st.sampled_from(["", None, "\n", ")\n", "\n}\n", "rest\n"]),
    st.sampled_from(["x", "x\ny"]),
    st.integers(1, 40),
)
def test_any_text_gives_a_piece_of_it_within_the_budget_that_parses_no_worse(
    language, lines, suffix, proposal, limit
):
    final = "\n".join(lines)
    if not final.strip():
        return
    found = cut(language, "a = 0\n", final, suffix, proposal, limit=limit)
    if found is None:
        assert tokens(final.strip()) > limit or tokens(final) > limit
        return
    assert final.startswith(found.text)
    assert found.tokens == tokens(found.text) <= limit
    if syntax.has_grammar(language):
        errors = [
            syntax.parse(language, "a = 0\n", text, suffix or "").errors for text in (found.text, final)
        ]
        assert errors[0] <= errors[1]


def _is_python(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return True


def test_cuts_in_real_files_leave_files_that_python_itself_can_parse():
    rng = random.Random(17)
    packages = [Path(folder) / "polars" for folder in site.getsitepackages()]
    files = sorted(file for package in packages for file in package.rglob("*.py"))
    sources = [file.read_text(encoding="utf-8") for file in rng.sample(files, 60)]
    sources = [source for source in sources if 400 < len(source) < 60_000 and _is_python(source)]
    kept = broken = cuts = 0
    while kept < 150:
        source = rng.choice(sources)
        start = rng.randrange(len(source))
        end = source.find("\n", min(start + rng.randrange(8, 800), len(source) - 1))
        final, suffix = source[start:end], source[end:]
        line_start = source.rfind("\n", 0, start) + 1
        indentation = re.match(r"[ \t]*", source[line_start:]).group()
        # As in an editor: the code after the gap belongs there, whatever stands in it.
        belongs = _is_python(f"{source[:line_start]}{indentation}pass{suffix}")
        if end < 0 or not belongs or not final.strip():
            continue
        proposal = rng.choice([final.strip().split("\n")[0], final])
        found = cut("python", source[:start], final, suffix, proposal, limit=rng.choice([48, 128, 512]))
        if found is not None:
            kept += 1
            cuts += found.text != final
            broken += not _is_python(source[:start] + found.text + suffix)
    assert cuts > 40
    assert broken <= 0.01 * kept + 1
