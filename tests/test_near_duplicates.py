import random
import re
import sysconfig
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_dagster.near_duplicates import near_duplicates, signatures

COLUMNS = ("sample_id", "prefix", "middle", "suffix")
WORD = re.compile(r"\w+|[^\w\s]")


def frame(*rows):
    return pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS, pl.String()), orient="row")


def grams(text):
    words = [*WORD.findall(text), *"¶¶¶¶"]
    return {tuple(words[at : at + 5]) for at in range(len(words) - 4)}


def jaccard(one, other):
    one, other = grams("".join(one[1:])), grams("".join(other[1:]))
    return len(one & other) / len(one | other)


def renamed(text, share, choose):
    words = re.split(r"(\W+)", text)
    return "".join(word + "_" if word.isidentifier() and choose.random() < share else word for word in words)


@pytest.fixture(scope="module")
def pieces():
    """Samples cut from the standard library, none of which overlaps with another."""
    choose = random.Random(5)
    found = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        text = path.read_text(encoding="utf-8", errors="replace")
        for start in range(0, len(text) - 1_000, 1_000):
            end = start + 400 + choose.randrange(20, 200)
            sample = (
                f"{path.stem}-{start}",
                text[start : start + 400],
                text[start + 400 : end],
                text[end : end + 200],
            )
            found.append(sample)
    return choose.sample(found, 3_000)


def test_planted_near_duplicates_are_found_and_others_are_not(pieces):
    choose = random.Random(6)
    planted = {}
    for number in range(600):
        origin = choose.choice(pieces)
        share = choose.choice((0.005, 0.01, 0.02, 0.03))
        copy = (f"copy-{number}", *(renamed(text, share, choose) for text in origin[1:]))
        if jaccard(copy, origin) >= 0.8:
            planted[copy[0]] = (copy, origin)
    assert len(planted) > 300
    found = near_duplicates([frame(*pieces, *(copy for copy, _ in planted.values()))], 0.7)
    likes = dict(found.select("sample_id", "like").iter_rows())
    missed = [name for name in planted if name not in likes]
    assert len(missed) <= 0.05 * len(planted)
    rows = {row[0]: row for row in (*pieces, *(copy for copy, _ in planted.values()))}
    others = [name for name in likes if name not in planted]
    unlike = [name for name in others if jaccard(rows[name], rows[likes[name]]) < 0.6]
    assert not unlike
    assert len(others) < 0.005 * len(pieces) + sum(jaccard(rows[n], rows[likes[n]]) >= 0.6 for n in others)


def test_a_signature_estimates_how_alike_two_texts_are(pieces):
    choose = random.Random(7)
    for row in pieces[:40]:
        copy = ("copy", *(renamed(text, 0.03, choose) for text in row[1:]))
        one, other = signatures(pl.Series(["".join(row[1:]), "".join(copy[1:])]))
        assert (one == other).mean() == pytest.approx(jaccard(row, copy), abs=0.2)


@given(texts=st.lists(st.text("aé_1 .\n¶中\x01\x00", max_size=12), min_size=1, max_size=12))
def test_a_signature_does_not_depend_on_the_texts_beside_it(texts):
    together = signatures(pl.Series(texts, dtype=pl.String))
    assert together.tolist() == [signatures(pl.Series([text]))[0].tolist() for text in texts]


def test_tokens_are_words_and_signs_whatever_the_white_space():
    def same(one, other):
        return bool((signatures(pl.Series([one])) == signatures(pl.Series([other]))).all())

    assert same("if größe>=1 :\n\treturn", " if  größe > = 1:return")
    assert not same("total", "tot al") and not same("a(b)", "a(b")
    assert not same("größe", "gröse") and not same("ab", "ba")
    assert same("", " \n\t") and not same("", "x")


def test_a_sample_takes_250_bytes():
    signed = signatures(pl.Series(["def area(radius):", ""]))
    assert signed.nbytes == 2 * 250


def test_the_earlier_sample_stays_and_is_named():
    context = " ".join(f"word{index}" for index in range(90))
    rows = [
        ("first", context, "return total", ""),
        ("second", context.replace("word40", "other"), "return total", ""),
    ]
    found = near_duplicates([frame(*rows)], 0.7)
    assert found.select("sample_id", "like").rows() == [("second", "first")]
    assert near_duplicates([frame(*reversed(rows))], 0.7)["sample_id"].to_list() == ["first"]


def test_likeness_to_a_sample_that_goes_drops_nothing():
    words = [f"word{index}" for index in range(90)]

    def without(*places):
        return " ".join("x" * (place + 2) if place in places else word for place, word in enumerate(words))

    rows = [
        ("a", without(), "return total", ""),
        ("b", without(10, 50), "return total", ""),
        ("c", without(10, 20, 30, 50, 60, 70), "return total", ""),
    ]
    assert jaccard(rows[0], rows[1]) > 0.75 and jaccard(rows[0], rows[2]) < 0.6
    assert near_duplicates([frame(*rows)], 0.7)["sample_id"].to_list() == ["b"]


def test_other_code_in_the_same_context_stays():
    context = " ".join(f"word{index}" for index in range(90))
    rows = [("a", context, "return total", ""), ("b", context, "raise KeyError(name)", "")]
    assert jaccard(*rows) >= 0.8
    assert near_duplicates([frame(*rows)], 0.7).is_empty()


def test_many_alike_leave_one():
    rows = [
        (f"{number:04d}", "import os\n\n\ndef main():\n", "    return os.environ", None)
        for number in range(2_500)
    ]
    found = near_duplicates([frame(*rows)], 1.0)
    assert found["sample_id"].to_list() == [row[0] for row in rows[1:]]
    assert found["like"].unique().to_list() == ["0000"] and found["similarity"].min() == 1.0


@given(texts=st.lists(st.text("ab .\n", max_size=12), max_size=20), cut=st.integers(0, 20))
def test_how_samples_are_cut_into_frames_does_not_matter(texts, cut):
    rows = [(str(number), text, text[:3], None) for number, text in enumerate(texts)]
    whole = near_duplicates([frame(*rows)], 0.7)
    assert whole.equals(near_duplicates([frame(*rows[:cut]), frame(*rows[cut:])], 0.7))
    assert len(whole) == len(set(whole["sample_id"])) and not set(whole["sample_id"]) & set(whole["like"])
