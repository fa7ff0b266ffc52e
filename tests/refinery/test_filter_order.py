"""Which filters are on and in which order, and that every gap is kept or rejected once whatever is configured."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from quality_cases import AWS, CODE, COMMENTED, DEFAULT, WITHOUT_VALUE, fate, refined, without
from refinery_rows import PREFIX, SUFFIX, gaps, settings, tokenizer

from echo_dagster.extraction.schema import OUTCOMES
from echo_dagster.refinery import quality, samples
from echo_dagster.settings import Quality


def test_the_reason_is_that_of_the_first_filter_that_rejects_in_the_configured_order():
    both = {"pasted_chars": 26, "agent_chars": 26}
    assert fate(both)[0] == "paste_dominated"
    names = without("paste_dominated")
    names.insert(names.index("agent_dominated") + 1, "paste_dominated")
    assert fate(both, filters=names) == ("agent_dominated", 1.0)
    short_copy = {"final": "x\nx\nx\nx", "prefix": "", "suffix": None, "proposal": "x\nx"}
    assert fate(short_copy, min_middle_chars=9) == ("too_short", 4.0)
    names = without("repetition")
    names.insert(names.index("too_short"), "repetition")
    assert fate(short_copy, min_middle_chars=9, filters=names) == ("repetition", 0.75)


def test_a_gap_of_no_language_can_be_kept():
    kept, _ = refined([{"language": None}], filters=without("language_unknown"))
    assert kept["language"].to_list() == ["plaintext"]


MISTAKES = {
    "an unknown name": ([*DEFAULT, "blnk"], ["'blnk' is no filter; expected names of no_consent, censored"]),
    "a name twice": ([*DEFAULT, "secret"], ["'secret' is named twice; name it once"]),
    "no consent left out": (without("no_consent"), ["'no_consent' cannot be left out: nobody is trained on"]),
    "secrets left out": (without("secret"), ["'secret' cannot be left out"]),
    "nothing": (
        [],
        [f"{name!r} cannot be left out" for name in ("no_consent", "blank", "too_long", "secret")],
    ),
    "consent later": (
        ["censored", *without("censored")],
        ["'no_consent' is asked before anything else; put it first"],
    ),
    "a stage too late": (
        [*without("censored", "generated"), "generated", "censored"],
        [
            "'generated' judges the file and 'too_long' the sample, which is known later; put 'generated' before",
            "'censored' judges the gap and 'long_lines' the file, which is known later; put 'censored' before",
        ],
    ),
    "all at once": (
        ["blank", "no_consent", "blank", "secret", "blnk", "encoded"],
        [
            "'blnk' is no filter",
            "'blank' is named twice",
            "'too_long' cannot be left out",
            "'no_consent' is asked before anything else",
            "'encoded' judges the file and 'secret' the sample",
        ],
    ),
}


@pytest.mark.parametrize(("names", "told"), MISTAKES.values(), ids=MISTAKES)
def test_filters_that_cannot_be_asked_are_refused_with_every_mistake(names, told):
    found = quality.mistakes(names)
    assert len(found) == len(told)
    for sentence, beginning in zip(found, told, strict=True):
        assert sentence.startswith(f"quality.filters: {beginning}")
    with pytest.raises(ValueError, match=r"quality\.filters: "):
        refined([{}], filters=names)


def test_the_default_filters_can_be_asked():
    assert quality.mistakes(DEFAULT) == []
    assert quality.mistakes(["no_consent", "blank", "too_long", "secret"]) == []


CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "consent": st.sampled_from([True, True, True, False, None]),
        "censored": st.booleans(),
        "language": st.sampled_from(["python", "typescript", "go", None]),
        "user_id": st.sampled_from(["ann", "bob"]),
        "prefix": st.sampled_from(
            [PREFIX, PREFIX + "return ", "", CODE, COMMENTED, "é🙂" * 150, "\\x00" * 400]
        ),
        "offset": st.sampled_from([len(PREFIX), None]),
        "final": st.sampled_from(
            [
                "",
                "x",
                "return 1",
                "return 1\n    x = 2",
                "(",
                AWS,
                "é🙂" * 9,
                "a = 1\n" * 9,
                "1, " * 900,
                "0" * 99,
            ]
        ),
        "replaced": st.sampled_from([None, "", "return 1"]),
        "suffix": st.sampled_from([None, "", SUFFIX, "return 1\n"]),
        "proposal": st.sampled_from([None, "", "x", "x\ny"]),
        "outcome": st.sampled_from(OUTCOMES),
        "typed_chars": st.sampled_from([None, 0, 26, 5000]),
        "pasted_chars": st.sampled_from([None, 0, 50]),
        "agent_chars": st.sampled_from([None, 0, 50]),
        "region_id": st.sampled_from(["r", None]),
        "reshown_of": st.sampled_from([None, "g0"]),
    },
)
SWITCHED_OFF = st.sets(st.sampled_from(without("no_consent", "blank", "too_long", "secret")), max_size=20)


@hypothesis_settings(max_examples=12)
@given(st.lists(CHANGES, max_size=12), SWITCHED_OFF, st.randoms(use_true_random=False))
def test_every_gap_is_kept_or_rejected_once_by_a_filter_that_is_on_in_whatever_batches(changes, off, chance):
    given_gaps = gaps(*changes)
    asked = settings(quality={"filters": without(*off), "min_bot_proposals": 2, "max_user_proposals": 6})
    kept, rejected = samples.refine(given_gaps, tokenizer(), asked)
    assert sorted([*kept["sample_id"], *rejected["sample_id"]]) == sorted(given_gaps["gap_id"])
    assert set(rejected["reason"]) <= {*without(*off), "duplicate", "reshown"}
    has_value = ~rejected["reason"].is_in(WITHOUT_VALUE)
    assert (rejected["value"].is_not_null() == has_value).all() and rejected["value"].is_nan().sum() == 0
    order = list(range(len(given_gaps)))
    chance.shuffle(order)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "_BATCH", 3)
        again = samples.refine(given_gaps[order], tokenizer(), asked)
    assert again[0].equals(kept) and again[1].equals(rejected)


def test_a_filter_that_decides_without_a_value_borrows_none():
    frame = pl.DataFrame({"consent": [False], "censored": [False], "user_proposals": [99]})
    filters = [each for each in quality.STAGES["gap"] if each.__name__ in ("no_consent", "bot_volume")]
    judged = quality.judge(frame, filters, Quality(max_user_proposals=1))
    assert judged.select("reason", "value").rows() == [("no_consent", None)]
    assert judged.columns == [*frame.columns, "reason", "value"]
