import pytest
from refinery_rows import PREFIX, SUFFIX

from echo_dagster.refinery import facts


@pytest.mark.parametrize(
    ("middle", "suffix", "chars", "share"),
    [
        ("return total", "\n    return total\n", 12, 1.0),
        ("x = 1\nreturn total", "\n    return total\n", 12, 12 / 17),
        ("return total", "\n    return sum\n", 0, 0.0),
        ("a\nb\na", "\na\nb\nc", 1, 1 / 3),
        ("a\nb", "\na\nb\nc", 2, 1.0),
        ("return total", None, 0, 0.0),
    ],
)
def test_the_copy_of_the_suffix_is_the_longest_run_of_lines(middle, suffix, chars, share):
    assert facts.suffix_copy(middle, suffix) == (chars, pytest.approx(share))


def test_lines_that_repeat_an_earlier_one():
    assert facts.repeated_line_share("a = 1\nb = 2\na = 1\na = 1") == 0.5
    assert facts.repeated_line_share("a = 1\na = 1\na = 1") == 0.0
    assert facts.repeated_line_share("if a {\n}\nif b {\n}\nif c {\n}\nif d {\n}") == 0.0


@pytest.mark.parametrize(
    ("middle", "share"),
    [
        ("return math.pi * radius**2", 0.0),
        ("x" * 24, 16 / 17),
        ("x" * 23, 0.0),  # sixteen 8-grams are too few to tell
        ("abab" * 10, 31 / 33),
        ("f(a, b)\n" * 9, 0.0),  # lines that repeat each other do not repeat themselves
        ("y = 'abcdefgh'\n" + "z" * 24, 16 / 24),
        ("x   =    1 + 1\t+ 1 +  1 + 1 + 1", 11 / 18),
    ],
)
def test_8_grams_that_repeat_an_earlier_one_of_their_line(middle, share):
    assert facts.repeated_gram_share(middle) == pytest.approx(share)


def test_the_content_hash_tells_exact_duplicates():
    told = facts.content_hash("python", PREFIX, "return 1", SUFFIX)
    assert len(told) == 16
    assert facts.content_hash("python", PREFIX.replace("    ", "\t"), " return 1", SUFFIX) == told
    assert facts.content_hash("typescript", PREFIX, "return 1", SUFFIX) != told
    assert facts.content_hash("python", PREFIX, "return 2", SUFFIX) != told
    assert facts.content_hash("python", PREFIX + "x = 1\n    ", "return 1", SUFFIX) != told
    assert facts.content_hash("python", PREFIX, "return 1", "\n\nprint(3)\n") != told
    assert facts.content_hash("python", "ab", "c", "") != facts.content_hash("python", "a", "bc", "")


def test_the_unit_hash_is_the_same_wherever_the_cursor_stood_in_a_line():
    assert facts.unit_hash("x\n    ", "return total") == facts.unit_hash("x\n    retu", "rn total")
    assert facts.unit_hash("x\n    ", "return total") != facts.unit_hash("x\n    ", "return sum")
