import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_dagster.evaluation import shown

texts = st.text(alphabet="ab( )\n]", max_size=20)


@pytest.mark.parametrize(
    ("middle", "rule"),
    [
        ("return x", shown.line),
        ("return x\n", shown.line),
        ("\n    return x", shown.line),
        ("f(\n    x,\n)", shown.statement),
        ("if x:\n    y()", shown.block),
        ("", shown.line),
    ],
)
def test_the_rule_is_the_narrowest_that_leaves_the_kept_code_whole(middle, rule):
    assert shown.rule(middle) is rule


@pytest.mark.parametrize(
    ("text", "rule", "kept"),
    [
        ("return x\nreturn y", shown.line, "return x"),
        ("\n\n  a \nb", shown.line, "\n\n  a "),
        ("return x", shown.line, "return x"),
        ("f(\n  x,\n)\ng()", shown.statement, "f(\n  x,\n)"),
        (") + 1\nnext", shown.statement, ") + 1"),
        ("f(\n  x", shown.statement, "f(\n  x"),
        ("a\nb\n", shown.block, "a\nb\n"),
    ],
)
def test_what_is_shown(text, rule, kept):
    assert shown.cut(text, rule) == kept


@given(texts)
def test_kept_code_is_never_cut_by_its_own_rule(middle):
    assert shown.cut(middle, shown.rule(middle)).rstrip() == middle.rstrip()


@given(texts, texts)
def test_once_a_text_is_over_more_of_it_changes_nothing(text, more):
    for rule in (shown.line, shown.statement):
        if rule(text) is not None:
            assert rule(text + more) == rule(text)
