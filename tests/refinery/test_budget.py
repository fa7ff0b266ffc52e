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


LINES = st.lists(
    st.text(alphabet=st.sampled_from("ab (\t=é漢🙂"), max_size=30)
    | st.sampled_from(["👩‍💻👍🏽 e\u0301", "🇫🇷🇩🇪🇫🇷", "e" + "\u0301" * 9]),
    max_size=12,
).map("\n".join)


@given(LINES, st.integers(1, 60))
def test_what_is_kept_begins_and_ends_at_the_start_of_a_line_if_a_line_fits(text, limit):
    (tail,) = budget.tails(tokenizer(), [text], limit)
    (head,) = budget.heads(tokenizer(), [text], limit)
    before, after = text[: len(text) - len(tail.text)], text[len(head.text) :]
    lines = text.splitlines(keepends=True) or [""]
    if before and tokens(lines[-1]) <= limit - 3:  # a cut text can have a token more than in the whole
        assert before.endswith("\n")
    if after and tokens(lines[0]) <= limit - 3:
        assert head.text.endswith("\n")


@given(LINES, st.integers(1, 60))
def test_no_sign_of_several_characters_is_split(text, limit):
    (tail,) = budget.tails(tokenizer(), [text], limit)
    (head,) = budget.heads(tokenizer(), [text], limit)
    for before, after in (
        (text[: len(text) - len(tail.text)], tail.text),
        (head.text, text[len(head.text) :]),
    ):
        assert not after.startswith(("\u0301", "\u200d", "🏽"))
        assert not (before.endswith("\u200d") and after)
        flags = before.rpartition("\n")[2]
        assert not (after[:1] in set("🇫🇷🇩🇪") and len(flags) % 2)


def test_a_sign_longer_than_the_budget_is_left_out():
    text = "👩‍💻" * 4
    whole = tokens("👩‍💻")
    (tail,) = budget.tails(tokenizer(), [text], whole + 1)
    (head,) = budget.heads(tokenizer(), [text], whole + 1)
    assert tail == head == ("👩‍💻", whole)
    assert budget.tails(tokenizer(), [text], whole - 1) == [("", 0)]
