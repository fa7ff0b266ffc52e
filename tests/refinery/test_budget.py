import pytest
from hypothesis import given
from hypothesis import strategies as st
from refinery_rows import tokenizer, tokens

from echo_dagster.refinery import budget

TEXT = "alpha = 1\nbeta = 2\ngamma = 3\ndelta = 4\n"


def test_a_prefix_keeps_whole_lines_at_its_end():
    (kept,) = budget.tails(tokenizer(), [TEXT], tokens("gamma = 3\ndelta = 4\n") + 2)
    assert kept.text == "gamma = 3\ndelta = 4\n"
    assert kept.tokens == tokens(kept.text)


def test_a_suffix_keeps_whole_lines_at_its_head():
    (kept,) = budget.heads(tokenizer(), [TEXT], tokens("alpha = 1\nbeta = 2\n") + 2)
    assert kept.text == "alpha = 1\nbeta = 2\n"
    assert kept.tokens == tokens(kept.text)


def test_a_text_within_the_budget_stays_whole():
    assert budget.tails(tokenizer(), [TEXT, ""], 1000) == [(TEXT, tokens(TEXT)), ("", 0)]
    assert budget.heads(tokenizer(), [TEXT, ""], 1000) == [(TEXT, tokens(TEXT)), ("", 0)]


def test_a_line_longer_than_the_budget_is_cut_between_tokens():
    line = "x = [" + ", ".join(str(number) for number in range(200))
    (tail,) = budget.tails(tokenizer(), [f"first\n{line}"], 20)
    (head,) = budget.heads(tokenizer(), [f"{line}\nlast"], 20)
    assert tail.tokens == head.tokens == 20
    assert line.endswith(tail.text) and line.startswith(head.text)


def test_nothing_fits_in_no_tokens():
    assert budget.heads(tokenizer(), [TEXT], 0) == [("", 0)]


@pytest.mark.parametrize("text", [" " * 40_000 + "x", "\n" * 40_000 + "x", "y" + "\t" * 40_000])
def test_a_text_of_long_tokens_is_looked_at_farther(text):
    (tail,) = budget.tails(tokenizer(), [text], 10)
    assert 0 < tail.tokens <= 10 and text.endswith(tail.text)


@given(st.text(alphabet=st.sampled_from("ab (\n\r\té漢🙂👩"), max_size=300), st.integers(1, 40))
def test_no_budget_is_passed_and_no_character_is_split(text, limit):
    (tail,) = budget.tails(tokenizer(), [text], limit)
    (head,) = budget.heads(tokenizer(), [text], limit)
    assert text.endswith(tail.text) and text.startswith(head.text)
    assert tail.tokens == tokens(tail.text) <= limit
    assert head.tokens == tokens(head.text) <= limit
