"""Every reason code that the filters know: what produces it, and at which value."""

import re
from pathlib import Path

import pytest
from quality_cases import (
    CASES,
    COMMENTED,
    CYRILLIC,
    DEFAULT,
    ENCODED,
    UNTOUCHED,
    WITHOUT_VALUE,
    day_of,
    fate,
    only,
    uneven,
    without,
)
from refinery_rows import PREFIX

from echo_dagster.refinery import quality
from echo_dagster.settings import Quality

DOCS = Path(__file__).resolve().parents[2] / "docs"

#: What the cases need beside the defaults.
SETTINGS = {
    "language_excluded": {"languages": ("python", "typescript")},
    "bot_volume": {"max_user_proposals": 100},
    "low_chars_per_token": {
        "min_chars_per_token": 1.2
    },  # the tokenizer of the tests knows four lines of code
}


@pytest.mark.parametrize(
    ("reason", "change", "value"), [(r, *case) for r, cases in CASES.items() for case in cases]
)
def test_every_reason_and_its_value(reason, change, value):
    assert fate(change, **{"min_chars_per_token": 0, **SETTINGS.get(reason, {})}) == (reason, value)
    assert (value is None) == (reason in WITHOUT_VALUE)


def documented(stage):
    """The reason codes of the table of docs/refinery.md, in its order."""
    text = (DOCS / "refinery.md").read_text(encoding="utf-8")
    return re.findall(rf"^\| `(\w+)`[^|]*\| {stage} \|", text, re.MULTILINE)


def test_every_documented_reason_has_a_case_and_every_filter_is_documented_in_the_order_of_the_settings():
    assert documented("filter") == [*DEFAULT, "duplicate", "reshown"]
    assert list(CASES) == documented("filter")
    assert [each.__name__ for filters in quality.STAGES.values() for each in filters] == list(DEFAULT)


NOT_REJECTED = {
    "a plain gap": {},
    "an accepted proposal": {"final": "return radius", "outcome": "accepted", "accepted_chars": 13},
    "an accepted proposal that the user replaced": {"outcome": "accepted_then_removed"},
    "a small paste": {"pasted_chars": 10},
    "a tool that counts no pastes": {"pasted_chars": None, "agent_chars": None, "typed_chars": None},
    "a language without a grammar": {
        "language": "cobol",
        "prefix": "IDENTIFICATION DIVISION.\n    ",
        "suffix": "\n\n",
        "final": "PROGRAM-ID. AREA.",
    },
    "a file that did not parse before": {"prefix": "def f(:\n    ", "final": "return 1"},
    "a small file of brackets": {
        "language": "json",
        "prefix": "{\n  ",
        "suffix": "\n}\n",
        "final": '"a": [[[]]]',
    },
    "a short copy of the suffix": {"final": "x = 1", "suffix": "\n    x = 1\n"},
    "a new file that is all licence": {"prefix": "# Licensed to all.\n" * 40 + PREFIX},
    "comments in a language whose comments are not known": {"language": "markdown", "prefix": COMMENTED},
    "letters beyond ASCII": {"prefix": "имя = площадь\n" * 40 + PREFIX},
}


@pytest.mark.parametrize("change", NOT_REJECTED.values(), ids=NOT_REJECTED)
def test_what_is_kept(change):
    assert fate(change, min_chars_per_token=0) == (None, None)


BLOCK = "/* what\n * comes\n */\n"
#: A threshold, a gap that just passes, one just beyond it, and the reason of that one.
BOUNDARIES = {
    "max_pasted_share": (0.5, {"pasted_chars": 13}, {"pasted_chars": 14}, "paste_dominated"),
    "max_agent_share": (0.5, {"agent_chars": 13}, {"agent_chars": 14}, "agent_dominated"),
    "max_line_chars": (
        400,
        {"prefix": "x = 1\n" * 40 + "y" * 400 + "\n"},
        {"prefix": "x = 1\n" * 40 + "y" * 401 + "\n"},
        "long_lines",
    ),
    "max_mean_line_chars": (
        20,
        {"prefix": "y" * 20 + "\n", "replaced": "z" * 20, "suffix": None},
        {"prefix": "y" * 20 + "\n", "replaced": "z" * 21, "suffix": None},
        "long_lines",
    ),
    "min_alphanumeric_share": (
        0.25,
        {"prefix": "abcde" * 10 + "-" * 150, "suffix": None},
        {"prefix": "abcde" * 10 + "-" * 151, "suffix": None},
        "low_alphanumeric",
    ),
    "max_encoded_chars": (
        600,
        {"prefix": f"d = '{ENCODED * 10}'\n"},
        {"prefix": f"d = '{ENCODED * 10}Q'\n"},
        "encoded",
    ),
    "max_comment_share": (
        0.5,
        {"language": "go", "prefix": BLOCK * 60 + "x" * 1140, "suffix": None},
        {"language": "go", "prefix": BLOCK * 60 + "x" * 1139, "suffix": None},
        "comment_share",
    ),
    "min_comment_share": (
        21 / 2010,
        {"prefix": "x = 1 + 2\n" * 199 + "#" * 20, "suffix": ""},
        {"prefix": "x = 1 + 2\n" * 199 + "#" * 19, "suffix": ""},
        "comment_share",
    ),
    "min_middle_chars": (3, {"final": "x 1 2"}, {"final": "x 1"}, "too_short"),
    "max_suffix_copy_share": (
        0.5,
        {"final": "x = yyyyyy\nprint(200)", "suffix": "\nprint(200)\n", "proposal": "x\ny"},
        {"final": "x = yyyyy\nprint(200)", "suffix": "\nprint(200)\n", "proposal": "x\ny"},
        "copy_of_suffix",
    ),
    "min_suffix_copy_chars": (
        10,
        {"final": "print(200", "suffix": "\nprint(200\n", "language": "cobol"},
        {"final": "print(2000", "suffix": "\nprint(2000\n", "language": "cobol"},
        "copy_of_suffix",
    ),
    "max_repeated_line_share": (
        0.5,
        {"final": "a = 1\nb = 1\na = 1\nb = 1", "proposal": "a\nb", "prefix": "", "suffix": None},
        {"final": "a = 1\nb = 1\na = 1\nb = 1\na = 1", "proposal": "a\nb", "prefix": "", "suffix": None},
        "repetition",
    ),
    "max_repeated_gram_share": (
        6 / 19,
        {"final": "abcdefghijklm" * 2},
        {"final": "abcdefghijklmn" * 2},
        "degenerate",
    ),
    "max_user_proposals": (60, day_of(60, uneven(60)), day_of(61, uneven(61)), "bot_volume"),
    "min_bot_proposals": (
        50,
        UNTOUCHED[:49],
        UNTOUCHED,
        "bot_acceptance",
    ),
    "max_untouched_share": (
        0.9,
        [*UNTOUCHED[:45], *day_of(50, uneven(50))[45:]],
        [*UNTOUCHED[:46], *day_of(50, uneven(50))[46:]],
        "bot_acceptance",
    ),
    "max_typing_speed": (
        30.0,
        day_of(50, uneven(50), typed_chars=300),
        day_of(50, uneven(50), typed_chars=301),
        "bot_speed",
    ),
    "min_pause_dispersion": (
        0.1,
        day_of(61, [9.0, 11.0] * 31),
        day_of(61, [9.01, 11.0] * 31),
        "bot_rhythm",
    ),
}


@pytest.mark.parametrize(("name", "case"), BOUNDARIES.items(), ids=BOUNDARIES)
def test_a_threshold_divides_what_is_just_at_it_from_what_is_just_beyond(name, case):
    threshold, at, beyond, reason = case
    asked = {name: threshold, "filters": only(reason)}
    assert fate(at, **asked) == (None, None)
    assert fate(beyond, **asked)[0] == reason


def test_the_threshold_of_characters_per_token_divides():
    change = {"prefix": CYRILLIC}
    reason, value = fate(change, min_chars_per_token=5.0)
    assert reason == "low_chars_per_token" and 0.5 < value < 1
    assert fate(change, min_chars_per_token=value)[0] is None
    asked = {"min_chars_per_token": 5.0, "filters": only("low_chars_per_token")}
    assert fate({"prefix": "ж" * 200, "suffix": ""}, **asked)[0] == "low_chars_per_token"
    assert fate({"prefix": "ж" * 199, "suffix": ""}, **asked)[0] is None


def test_every_threshold_has_a_boundary_case():
    others = {"filters", "languages", "min_chars_per_token"}
    assert set(BOUNDARIES) | others == set(Quality.model_fields)


def test_of_sizes_below_which_nothing_is_judged():
    asked = {"filters": only("low_alphanumeric")}
    assert fate({"prefix": "-" * 199, "suffix": None}, **asked)[0] is None
    assert fate({"prefix": "-" * 200, "suffix": None}, **asked)[0] == "low_alphanumeric"
    comments, asked = ("#" * 99 + "\n") * 20, {"filters": only("comment_share")}
    assert fate({"prefix": comments, "suffix": None}, **asked)[0] == "comment_share"
    assert fate({"prefix": comments[1:], "suffix": None}, **asked)[0] is None


def test_only_the_configured_languages_are_kept():
    assert fate({"language": "typescript"}, languages=("python",))[0] == "language_excluded"
    assert fate({}, languages=("python", "typescript"))[0] is None
    nameless = without("language_unknown")
    assert fate({"language": None}, languages=("python",), filters=nameless)[0] == "language_excluded"


def test_pasted_characters_are_utf16_units():
    assert fate({"final": "s = '" + "🙂" * 10 + "'", "pasted_chars": 20}) == ("paste_dominated", 20 / 26)
