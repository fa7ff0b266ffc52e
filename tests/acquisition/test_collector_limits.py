"""Tokens and rates."""

from __future__ import annotations

import pytest

from echo_dagster.acquisition.collector_limits import Memory, Rate, holder, tokens

ONE, TWO = "0123456789abcdef", "fedcba9876543210=="


def test_tokens_with_and_without_a_user():
    known = tokens(f" alex:{ONE},\n{TWO} ")
    assert [token.user for token in known] == ["alex", None]
    assert holder(known, f"Bearer {ONE}") is known[0]
    assert holder(known, f"bearer {TWO}") is known[1]


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        ONE,
        f"Basic {ONE}",
        f"Bearer {ONE}x",
        f"Bearer alex:{ONE}",
        "Bearer \udcff",
    ],
)
def test_whatever_is_not_a_known_token_is_refused(given):
    assert holder(tokens(f"alex:{ONE}"), given) is None


@pytest.mark.parametrize(
    "text", ["", " , ", "short", "alex:", f"alex:{ONE} kim", f"{ONE}é", f"{ONE} kim:{ONE}"]
)
def test_unusable_tokens_are_told_without_the_token(text):
    with pytest.raises(ValueError, match="ECHO_COLLECTOR_TOKENS") as error:
        tokens(text)
    assert ONE not in str(error.value)


def test_a_rate_holds_on_the_average_and_no_batch_is_too_large():
    rate = Rate(10, burst_s=2)
    assert rate.wait(100.0) == 0  # 20 are free
    rate.spend(50)
    assert rate.wait(100.0) == pytest.approx(3.1)
    assert rate.wait(103.0) == pytest.approx(0.1)
    assert rate.wait(103.1) == pytest.approx(0)
    assert rate.wait(200.0) == 0
    rate.spend(20)  # what was not used adds up to the burst and no further
    assert rate.wait(200.0) == pytest.approx(0.1)


@pytest.mark.parametrize("per_second", [0.5, 7, 300])
def test_sent_over_a_long_time_is_the_rate_and_one_burst(per_second):
    rate, sent, now = Rate(per_second, burst_s=10), 0, 5.0
    while now < 1005:
        wait = rate.wait(now)
        if wait > 1e-9:
            now += wait
            continue
        rate.spend(3)
        sent += 3
    assert sent == pytest.approx(per_second * 1010, abs=4)


def test_memory_is_given_back():
    memory = Memory(10)
    assert memory.take(6) and not memory.take(5) and memory.take(4)
    memory.give_back(6)
    assert memory.take(6) and not memory.take(1)
