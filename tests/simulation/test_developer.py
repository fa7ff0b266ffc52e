"""The decision about a proposal: what it depends on, and how strongly."""

import random

import pytest

from echo_dagster.simulation.developer import BEHAVIOURS, acceptance, decide, developer, good_words, worth

PERSON = developer(0, "u_0000000000000000", True, random.Random(1))


def decisions(proposal: str, intended: str, n: int = 400) -> list[str]:
    rng = random.Random(5)
    return [decide(PERSON, proposal, intended, rng, may_supersede=True) for _ in range(n)]


def accepted_share(proposal: str, intended: str) -> float:
    done = decisions(proposal, intended)
    return sum(behaviour in ("accept", "accept_then_edit", "accept_then_remove") for behaviour in done) / len(
        done
    )


@pytest.mark.parametrize(
    ("proposal", "intended", "value"),
    [
        ("value + 1", "value + 1", 1.0),
        ("value + 1  ", "value + 1", 1.0),
        ("valu", "value + 1", 0.9),  # a correct beginning
        ("val", "value + 1", 1 / 3),  # too short to be worth more than its similarity
        ("value + 2", "value + 1", 8 / 9),
        ("xyz", "abc", 0.0),
    ],
)
def test_worth_is_similarity_or_a_correct_beginning(proposal, intended, value):
    assert worth(proposal, intended) == pytest.approx(value)


def test_acceptance_rises_with_worth_and_is_half_of_attention_at_the_threshold():
    values = [acceptance(PERSON, tenth / 10) for tenth in range(11)]
    assert values == sorted(values)
    assert acceptance(PERSON, PERSON.threshold) == pytest.approx(0.46)
    assert values[0] < 0.01
    assert values[-1] > 0.9


def test_a_demanding_developer_takes_less():
    people = [developer(index, "u_0", True, random.Random(index)) for index in range(8)]
    by_threshold = sorted(people, key=lambda person: person.threshold)
    taken = [acceptance(person, 0.6) for person in by_threshold]
    assert taken == sorted(taken, reverse=True)
    assert taken[0] > 1.5 * taken[-1]


@pytest.mark.parametrize(
    ("proposal", "intended", "words"),
    [
        ("self.count + 1", "self.count + 2", ["self", ".", "count", " +"]),
        ("self.count", "self.counter", ["self", "."]),
        ("other", "self", []),
        ("a b", "a b", ["a", " b"]),
    ],
)
def test_good_words_end_where_the_proposal_goes_wrong(proposal, intended, words):
    assert good_words(proposal, intended) == words
    assert intended.startswith("".join(words))


def test_the_better_proposal_is_taken_more_often():
    intended = "result.append(self.value)"
    exact, near, far = (
        accepted_share(text, intended) for text in (intended, "result.append(self._values)", "print('no')")
    )
    assert exact > 0.85
    assert exact > near > 0.3
    assert far < 0.02


def test_only_what_is_right_is_taken_as_it_is():
    wrong = decisions("result.append(self.walue)", "result.append(self.value)")
    assert "accept" not in wrong
    assert "type_through" not in wrong
    assert {"accept_then_edit", "accept_then_remove"} & set(wrong)
    right = decisions("result.append(", "result.append(self.value)")
    assert {"accept", "type_through"} <= set(right)
    assert "accept_then_edit" not in right


def test_a_proposal_shown_again_is_not_superseded_again():
    rng = random.Random(5)
    done = {decide(PERSON, "no", "something else", rng, may_supersede=False) for _ in range(300)}
    assert "supersede" not in done
    assert done <= set(BEHAVIOURS)
