"""Items made ahead."""

import threading

import pytest

from echo_dagster.ahead import ahead


def test_items_come_in_their_order_and_one_is_made_ahead():
    made = []

    def items():
        for number in range(4):
            made.append((number, threading.current_thread().name))
            yield number

    taken = ahead(items())
    assert next(taken) == 0
    assert [0, *taken] == [0, 1, 2, 3]
    assert [number for number, _ in made] == [0, 1, 2, 3]
    assert len({name for _, name in made}) == 1 and made[0][1] != threading.current_thread().name
    assert list(ahead([])) == []


def test_an_exception_comes_after_what_was_made_before_it():
    def items():
        yield 1
        raise KeyError("two")

    taken = ahead(items())
    assert next(taken) == 1
    with pytest.raises(KeyError, match="two"):
        next(taken)


def test_whoever_stops_early_waits_for_no_more_than_one():
    made = []

    def items():
        for number in range(100):
            made.append(number)
            yield number

    taken = ahead(items())
    next(taken)
    taken.close()
    assert made == [0, 1]
