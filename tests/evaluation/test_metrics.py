import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_dagster.evaluation import metrics

texts = st.text(alphabet="ab \n😀", max_size=12)


def series(*values):
    return pl.Series(values, dtype=pl.String)


def test_trailing_white_space_never_counts_and_leading_does():
    left, right = series("x\n", "  x", "", "\n"), series("x", "x", " ", "")
    assert metrics.exact_match(left, right).to_list() == [True, False, True, True]
    assert metrics.edit_similarity(left, right).to_list() == pytest.approx([1, 1 / 3, 1, 1])


def test_edit_similarity_is_the_distance_over_the_longer_length():
    left, right = series("kitten", "abc", "😀b", ""), series("sitting", "", "😀c", "abcd")
    assert metrics.edit_similarity(left, right).to_list() == pytest.approx([1 - 3 / 7, 0, 0.5, 0])


def test_first_line_match_looks_at_the_first_line_that_is_not_blank():
    left = series("\n\n  foo \nbar", "foo\n", "", "foo")
    right = series("  foo\nbaz", "bar", " \n", "")
    assert metrics.first_line_match(left, right).to_list() == [True, False, True, False]


def test_no_pairs_give_no_values():
    assert metrics.exact_match(series(), series()).len() == 0
    assert metrics.edit_similarity(series(), series()).dtype == pl.Float64


def test_what_cannot_be_paired_is_refused():
    with pytest.raises(ValueError, match="2 predictions cannot be paired with 1 references"):
        metrics.exact_match(series("a", "b"), series("a"))
    with pytest.raises(ValueError, match="null"):
        metrics.edit_similarity(series(None), series("a"))


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=5))
def test_similarity_is_symmetric_within_bounds_and_one_exactly_on_a_match(pairs):
    left, right = series(*(a for a, _ in pairs)), series(*(b for _, b in pairs))
    similarity = metrics.edit_similarity(left, right)
    assert similarity.equals(metrics.edit_similarity(right, left))
    assert similarity.is_between(0, 1).all()
    assert (similarity == 1).to_list() == metrics.exact_match(left, right).to_list()


def test_chrf_of_worked_values():
    left, right = series("abc", "", "ab cd", "x", ""), series("abd", "abc", "abcd", "y", " ")
    # abc/abd: 2 of 3 characters, 1 of 2 pairs and 0 of 1 triples are shared, so P = R = F = (2/3 + 1/2 + 0) / 3
    assert metrics.chrf(left, right).to_list() == pytest.approx([(2 / 3 + 1 / 2) / 3, 0, 1, 0, 1])
    # aa/a: P = 1/2, R = 1, F2 = 5 * 1/2 * 1 / (4 * 1/2 + 1)
    assert metrics.chrf(series("aa"), series("a")).to_list() == pytest.approx([5 / 6])


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=5))
def test_chrf_stays_within_bounds_and_is_one_on_a_match(pairs):
    left, right = series(*(a for a, _ in pairs)), series(*(b for _, b in pairs))
    values = metrics.chrf(left, right)
    assert values.is_between(0, 1).all()
    assert (values.filter(metrics.exact_match(left, right)) == 1).all()


def test_a_reversal_brings_back_the_proposal_that_the_user_refused():
    answers = series("old", "new", "old\n", "", "new")
    kept = series("new", "new", "new", "new", "new")
    proposals = series("old", "old", "old", None, "new")
    assert metrics.reversal(answers, kept, proposals).to_list() == [True, False, True, None, None]


def test_syntax_is_valid_where_an_answer_breaks_no_more_than_what_the_user_kept():
    asked = ("python", "def f(x):\n    return ", "\n")
    assert metrics.is_syntax_valid(*asked, "x + 1", "x") is True
    assert metrics.is_syntax_valid(*asked, "x + (1", "x") is False
    assert metrics.is_syntax_valid(*asked, "x + (1", "(x") is True  # the user left it open, too
    assert metrics.is_syntax_valid("klingon", "a", "b", "x", "y") is None
    assert metrics.is_syntax_valid(None, "a", "b", "x", "y") is None
