"""What is kept in each language: a statement, as many as fit, a header, and never a piece of a string."""

import pytest
from refinery_rows import tokenizer, tokens

from echo_dagster.parsing import syntax
from echo_dagster.refinery import truncate

#: Language -> what stands before the cursor, statements of C_N with the blanks before them, what stands behind.
STATEMENTS = {
    "python": [
        ("def f():\n    ", ("with a as b:\n        c()", "\n    d()", "\n    e()"), "\n\nf()\n"),
        ("class A:\n    ", ("@b\n    def c(self):\n        pass", "\n\n    d = 1", "\n    e = 2"), "\n"),
        ("a = [\n    ", ("b(\n        1,\n    ),", "\n    c,", "\n    d,"), "\n]\n"),
    ],
    "typescript": [
        ("class A {\n  ", ("@b()\n  c(): void {\n    d();\n  }", "\n  e = 1;", "\n  f = 2;"), "\n}\n"),
        ("enum A {\n  ", ("B = 1,", "\n  C = 2,", "\n  D,"), "\n}\n"),
        ("interface A {\n  ", ("b: {\n    c: string;\n  };", "\n  d: 1;", "\n  e: 2;"), "\n}\n"),
        ("switch (a) {\n  case 1:\n    ", ("b({\n      c,\n    });", "\n    d();", "\n    break;"), "\n}\n"),
    ],
    "typescriptreact": [
        (
            "const a = (\n  <p>\n    ",
            ("<b\n      c\n    />", "\n    <d>e</d>", "\n    text"),
            "\n  </p>\n);\n",
        ),
    ],
    "javascript": [
        (
            "function a() {\n  ",
            ("try {\n    b();\n  } catch (c) {\n    d();\n  }", "\n  e();", "\n  f();"),
            "\n}\n",
        ),
        ("a\n", ("const b = `one\n  two`;", "\nc()", "\nd()"), "\n"),
    ],
    "java": [
        ("class A {\n  ", ("@B\n  void c() {\n    d();\n  }", "\n\n  int e;", "\n  int f;"), "\n}\n"),
        ("class A {\n  void b() {\n    ", ("c = d\n        .e();", "\n    f();", "\n    g();"), "\n  }\n}\n"),
        ("class A {\n  ", ("/** Says\n   * why.\n   */\n  int b;", "\n  int c;", "\n  int d;"), "\n}\n"),
        ("enum A {\n  ", ("B,", "\n  C,", "\n  D,"), "\n  E\n}\n"),
    ],
    "go": [
        ("package a\n\nfunc b() {\n\t", ("if c {\n\t\td()\n\t}", "\n\te := 1", "\n\tf(e)"), "\n}\n"),
        ("package a\n\n", ("// B says.\nfunc B() {\n\tc()\n}", "\n\nvar d = 1", "\n\nvar e = 2"), "\n"),
        ("package a\n\nimport (\n\t", ('"b"', '\n\t"c"', '\n\t"d"'), "\n)\n"),
        ("package a\n\ntype B struct {\n\t", ("C func(\n\t\tint,\n\t)", "\n\tD int", "\n\tE int"), "\n}\n"),
        ("package a\n\nvar b = C{\n\t", ("D: E{\n\t\t1,\n\t},", "\n\tF: 2,", "\n\tG: 3,"), "\n}\n"),
    ],
    "rust": [
        ("", ("#[derive(Debug)]\nstruct A {\n    b: u8,\n}", "\n\nconst C: u8 = 1;", "\n\nfn d() {}"), "\n"),
        (
            "fn a() {\n    ",
            ("let b = match c {\n        1 => 2,\n        _ => 3,\n    };", "\n    d();", "\n    e();"),
            "\n}\n",
        ),
        ("fn a() {\n    ", ('b!(\n        "c",\n        d\n    );', "\n    e();", "\n    f();"), "\n}\n"),
        ("struct A {\n    ", ("b: Vec<\n        u8,\n    >,", "\n    c: u8,", "\n    d: u8,"), "\n}\n"),
    ],
    "c": [
        (
            "int a(void)\n{\n    ",
            ("while (b) {\n        c();\n    }", "\n    d();", "\n    return 1;"),
            "\n}\n",
        ),
        ("", ("#define A(b) \\\n    (b)", "\nint c;", "\nint d;"), "\n"),
        ("", ("/* why */\nstruct a {\n    int b;\n};", "\nint c;", "\nint d;"), "\n"),
    ],
    "cpp": [
        (
            "class A {\npublic:\n  ",
            ("A()\n      : b(1) {\n    c();\n  }", "\n  int d;", "\n  int e;"),
            "\n};\n",
        ),
        ("", ("template <typename T>\nT a(T b) {\n  return b;\n}", "\n\nint c;", "\n\nint d;"), "\n"),
        ("void a() {\n  ", ("b([&] {\n    c();\n  });", "\n  d();", "\n  e();"), "\n}\n"),
    ],
    "csharp": [
        (
            "class A\n{\n    ",
            ("[B]\n    int C\n    {\n        get { return 1; }\n    }", "\n    int d;", "\n    int e;"),
            "\n}\n",
        ),
        (
            "class A\n{\n    void B()\n    {\n        ",
            ("if (c)\n        {\n            d();\n        }", "\n        e();", "\n        f();"),
            "\n    }\n}\n",
        ),
        (
            "class A\n{\n    void B()\n    {\n        ",
            ('c(@"one\ntwo");', "\n        e();", "\n        f();"),
            "\n    }\n}\n",
        ),
    ],
    "ruby": [
        ("def a\n  ", ("if b\n    c\n  else\n    d\n  end", "\n  e", "\n  f"), "\nend\n"),
        ("class A\n  ", ("def b(c)\n    d\n  end", "\n\n  attr_reader :e", "\n  attr_reader :f"), "\nend\n"),
        ("def a\n  ", ("b = <<~C\n    d\n  C", "\n  e", "\n  f"), "\nend\n"),
        ("def a\n  ", ("b.each do |c|\n    d\n  end", "\n  e", "\n  f"), "\nend\n"),
    ],
    "php": [
        (
            "<?php\nclass A\n{\n    ",
            ("function b()\n    {\n        c();\n    }", "\n    public $d;", "\n    public $e;"),
            "\n}\n",
        ),
        ("<?php\n", ("$a = <<<B\none\nB;", "\nc();", "\nd();"), "\n"),
        (
            "    function a()\n    {\n        ",
            ("foreach ($b as $c) {\n            d();\n        }", "\n        e();", "\n        f();"),
            "\n    }\n",
        ),
        (
            "<?php\n$a = [\n    ",
            ("'b' => [\n        1,\n    ],", "\n    'c' => 2,", "\n    'd' => 3,"),
            "\n];\n",
        ),
    ],
    "kotlin": [
        (
            "fun a() {\n    ",
            ("when (b) {\n        1 -> c()\n        else -> d()\n    }", "\n    e()", "\n    f()"),
            "\n}\n",
        ),
        (
            "class A {\n    ",
            ("@B\n    val c: Int\n        get() = 1", "\n\n    val d = 2", "\n    val e = 3"),
            "\n}\n",
        ),
        ("fun a() {\n    ", ("b.map {\n        it + 1\n    }", "\n    c()", "\n    d()"), "\n}\n"),
    ],
    "shellscript": [
        ("a() {\n  ", ("if b; then\n    c\n  fi", "\n  d", "\n  e"), "\n}\n"),
        ("", ("cat <<A\none\nA", "\nb", "\nc"), "\n"),
        ("", ("for a in b \\\n    c; do\n  d\ndone", "\ne", "\nf"), "\n"),
        (
            "case $a in\n  b)\n    ",
            ("while c; do\n      d\n    done", "\n    e", "\n    f"),
            "\n    ;;\nesac\n",
        ),
    ],
    "sql": [
        ("", ("SELECT a\nFROM b\nWHERE c = 'd\ne';", "\nDROP TABLE f;", "\nDROP TABLE g;"), "\n"),
        ("CREATE TABLE a (\n  ", ("b INT,", "\n  c TEXT,", "\n  d INT,"), "\n  e INT\n);\n"),
        ("", ("-- Why.\nDELETE FROM a\nWHERE b = 1;", "\nDROP TABLE f;", "\nDROP TABLE g;"), "\n"),
    ],
    "html": [
        (
            "<div>\n  ",
            ("<ul\n    class='a'>\n    <li>b</li>\n  </ul>", "\n  <p>c</p>", "\n  <br>"),
            "\n</div>\n",
        ),
        ("<div>\n  <p>\n    ", ("some text", "\n    and more", "\n    of it"), "\n  </p>\n</div>\n"),
    ],
    "css": [
        ("", ("a,\nb {\n  c: d;\n}", "\n\ne { f: g; }", "\n\nh { i: j; }"), "\n"),
        ("a {\n  ", ("b: c(\n    1\n  );", "\n  d: e;", "\n  f: g;"), "\n}\n"),
        ("@media print {\n  ", ("a {\n    b: c;\n  }", "\n  d { e: f; }", "\n  g { h: i; }"), "\n}\n"),
    ],
    "json": [
        ('{\n  "a": 1,\n  ', ('"b": {\n    "c": []\n  },', '\n  "d": 2,', '\n  "e": 3,'), '\n  "f": 4\n}\n'),
        ("[\n  ", ("[\n    1\n  ],", "\n  2,", "\n  3,"), "\n  4\n]\n"),
    ],
}
CASES = [(language, *case) for language, cases in STATEMENTS.items() for case in cases]
IDS = [f"{language}-{number}" for language, cases in STATEMENTS.items() for number in range(len(cases))]


def cut(language, prefix, final, suffix, proposal, limit=256):
    return truncate.middle(
        language, prefix, final, suffix, proposal=proposal, tokenizer=tokenizer(), budget=limit
    )


@pytest.mark.parametrize(("language", "prefix", "statements", "suffix"), CASES, ids=IDS)
def test_a_proposal_of_one_line_or_of_one_statement_asks_for_one_statement(
    language, prefix, statements, suffix
):
    final = "".join(statements)
    for proposal in (statements[0].split("\n")[0], statements[0]):
        found = cut(language, prefix, final, suffix, proposal)
        assert (found.text, found.errors) == (statements[0], 0)
        assert found.scope == ("statement" if "\n" in statements[0] else "line")


@pytest.mark.parametrize(("language", "prefix", "statements", "suffix"), CASES, ids=IDS)
def test_a_proposal_of_several_statements_asks_for_as_many_as_fit(language, prefix, statements, suffix):
    final, two = "".join(statements), "".join(statements[:2])
    assert cut(language, prefix, final, suffix, two).text == final
    found = cut(language, prefix, final, suffix, two, limit=tokens(final) - 1)
    assert (found.text, found.errors, found.scope) == (two, 0, "block")


HEADERS = {
    "java": ("class A {\n  void b", "(int c) {", "\n    d();", "\n    e();\n  }\n}\n"),
    "go": ("package a\n\nfunc b", "() {", "\n\tc()", "\n\td()\n}\n"),
    "rust": ("fn a", "() -> u8 {", "\n    b();", "\n    1\n}\n"),
    "c": ("int a", "(void)\n{", "\n    b();", "\n    return 1;\n}\n"),
    "cpp": ("namespace a", " {", "\nint b;", "\nint c;\n}\n"),
    "csharp": ("class A\n{\n    void B", "()\n    {", "\n        c();", "\n        d();\n    }\n}\n"),
    "ruby": ("def a", "(b)", "\n  c", "\n  d\nend\n"),
    "php": ("<?php\nfunction a", "() {", "\n    b();", "\n    c();\n}\n"),
    "kotlin": ("fun a", "() {", "\n    b()", "\n    c()\n}\n"),
    "shellscript": ("if a", "; then", "\n  b", "\n  c\nfi\n"),
    "html": ("<div", " id='a'>", "\n  <p>b</p>", "\n  <p>c</p>\n</div>\n"),
    "css": ("a", ":hover {", "\n  b: c;", "\n  d: e;\n}\n"),
}


@pytest.mark.parametrize("language", HEADERS)
def test_a_header_is_complete_where_the_suffix_holds_the_body(language):
    prefix, header, body, suffix = HEADERS[language]
    assert cut(language, prefix, header + body, suffix, header.split("\n")[0]).text == header


@pytest.mark.parametrize("language", HEADERS)
def test_a_header_brings_its_body_where_c_n_holds_all_of_it(language):
    prefix, header, body, suffix = HEADERS[language]
    whole = header + body + suffix.rstrip("\n")
    after = "\n<p>f</p>" if language == "html" else "\n\n" if language == "css" else "\n"
    found = cut(language, prefix, whole + after, "\n", header.split("\n")[0])
    assert found.text in (whole, (whole + after).rstrip())
    assert found.errors == 0 and "\n" in found.text


STRINGS = {
    "python": ("a = b(\n    ", '"""one\ntwo\nthree""",\n    1)', "\nc()\n"),
    "typescript": ("const a = b + ", "`one\ntwo ${c}\nthree`;\nd();", "\ne();\n"),
    "java": ("class A {\n  String b = ", '"""\n    one\n    two""";\n  int c;', "\n}\n"),
    "go": ("package a\n\nvar b = ", "`one\ntwo\nthree`\n\nvar c = 1", "\n"),
    "rust": ("fn a() {\n    b(", '"one\ntwo\nthree");\n    c();', "\n}\n"),
    "cpp": ("auto a = ", 'R"(one\ntwo\nthree)";\nint b;', "\n"),
    "csharp": ("class A {\n    string b = ", '@"one\ntwo\nthree";\n    int c;', "\n}\n"),
    "ruby": ("a ", "<<~B, 1\n  one\n  two\nB\nc", "\nd\n"),
    "php": ("<?php\n$a = ", "'one\ntwo\nthree';\nb();", "\nc();\n"),
    "kotlin": ("val a = ", '"""one\ntwo\nthree"""\nval b = 1', "\n"),
    "shellscript": ("a ", "'one\ntwo\nthree'\nb", "\nc\n"),
    "sql": ("SELECT ", "'one\ntwo\nthree';\nDROP TABLE a;", "\n"),
    "html": ("<p a=", "'one\ntwo\nthree'>b</p>\n<p>c</p>", "\n"),
}


@pytest.mark.parametrize("language", STRINGS)
def test_no_budget_and_no_proposal_cuts_a_string(language):
    prefix, final, suffix = STRINGS[language]
    opened = final.index("one")
    closed = max(final.find("three"), final.find("two"))
    for limit in range(1, tokens(final) + 2):
        for proposal in ("x", final):
            found = cut(language, prefix, final, suffix, proposal, limit)
            assert found is None or not opened < len(found.text) < closed + 3


def test_a_case_brings_what_it_says():
    prefix = "package a\n\nfunc b() {\n\tswitch c {\n\t"
    final = "case 1:\n\t\td()\n\tcase 2:\n\t\te()"
    assert cut("go", prefix, final, "\n\t}\n}\n", "case 1:").text == "case 1:\n\t\td()"


def test_a_try_without_what_catches_is_unfinished():
    final = "try {\n    a();\n  } finally {\n    b();\n  }\n  c();"
    for language in ("typescript", "javascript"):
        for limit in range(1, 64):
            found = cut(language, "function f() {\n  ", final, "\n}\n", "try {", limit)
            assert found is None or "finally" in found.text


def test_code_inside_another_language_goes_by_its_brackets():
    prefix = "<p>a</p>\n<script>\n  "
    final = "b(\n    1);\n  c();"
    assert cut("html", prefix, final, "\n</script>\n", "b(").text == "b(\n    1);"
    rules = "fn a() {\n    select! {\n        "
    arms = "b = c => {\n            d();\n        }\n        e = f => g(),"
    assert cut("rust", rules, arms, "\n    }\n}\n", "b").text == arms.split("\n        e", maxsplit=1)[0]


MISTAKES = {
    "python": ("if a:\n    ", "b", "\n", "def a():\n    try:\n        b", "\n    c\n"),
    "go": ("package a\n\n", "var b = 1", "\n", "var c = 2", "\nb()\n"),
    "rust": ("", "/// Says why.\nfn a() {}", "\n", "/// Says why.", "\n"),
    "java": ("class A {}\n", "class B {}", "\n", "class B {}\nb();", "\n"),
    "ruby": ("def a\n  ", "b", "\nend\n", "b", "\n  end\nend\n"),
    "shellscript": ("if a; then\n  ", "b", "\nfi\n", "", "\nfi\n"),
    "html": ("<div>", "a</div>", "\n", "a", "\n"),
    "typescript": ("", "try {\n  a();\n} finally {}", "\n", "try {\n  a();\n}", "\nb();\n"),
}


@pytest.mark.parametrize("language", MISTAKES)
def test_mistakes_count_that_a_grammar_lets_pass(language):
    prefix, right, after_right, wrong, after_wrong = MISTAKES[language]
    assert syntax.parse(language, prefix, right, after_right).errors == 0
    assert syntax.parse(language, prefix, wrong, after_wrong).errors > 0


def test_a_go_file_begins_with_its_package():
    license_text = "// Copyright.\n\npackage a\n\nvar b = 1"
    assert cut("go", "", license_text, "\n", "// Copy").text == "// Copyright.\n\npackage a"
    assert syntax.parse("go", "", "var b = 1\n", "").errors == 1


def test_a_file_of_php_without_its_head_is_code():
    final = "if ($a) {\n            b();\n        }\n        c();"
    found = cut("php", "    {\n        ", final, "\n    }\n", "if")
    assert found.text == final.split("\n        c", maxsplit=1)[0]
