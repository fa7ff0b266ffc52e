"""Work spread over processes."""

import os
import subprocess
import sys
import time

import polars as pl
import pytest

from echo_dagster import workers


def squares():
    began_in = os.getpid()

    def work(item):
        if item < 0:
            raise ValueError("less than nothing")
        time.sleep(0.05 if item == 0 else 0)  # the first is the last that is done
        return item * item, began_in, os.getpid(), pl.thread_pool_size()

    return work


@pytest.fixture(autouse=True)
def four_processors(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)


def test_results_come_in_the_order_of_the_items_from_as_many_processes_as_are_worth_it():
    done = list(workers.spread(squares, iter(range(40)), most=2))
    assert [square for square, *_ in done] == [number**2 for number in range(40)]
    assert all(began_in == pid != os.getpid() for _, began_in, pid, _ in done)
    assert 1 <= len({pid for _, _, pid, _ in done}) <= 2
    assert {threads for *_, threads in done} == {1}
    assert not {"POLARS_MAX_THREADS", "RAYON_NUM_THREADS"} & set(os.environ)


@pytest.mark.parametrize("most", [0, 1])
def test_what_is_not_worth_a_process_is_done_in_this_one(most):
    assert [(square, pid) for square, _, pid, _ in workers.spread(squares, [3, 4], most=most)] == [
        (9, os.getpid()),
        (16, os.getpid()),
    ]
    assert list(workers.spread(squares, [], most=most)) == []


def test_items_are_taken_no_faster_than_they_are_worked_on():
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    results = workers.spread(squares, items(), most=2)
    next(results)
    assert len(taken) == 2 + 2 + 1  # one for each process, two that wait, and one in place of what came back
    results.close()
    assert len(taken) == 5


def test_what_goes_wrong_in_a_process_is_raised_here():
    results = workers.spread(squares, [1, -1, 2], most=2)
    assert next(results)[0] == 1
    with pytest.raises(ValueError, match="less than nothing"):
        next(results)


def test_a_process_does_not_run_the_main_module_again(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os\n"
        "from functools import partial\n"
        "from echo_dagster import workers\n"
        "print('begun', flush=True)\n"
        "os.cpu_count = lambda: 2\n"
        "print(*workers.spread(partial(partial, abs), [-1, -2, -3], most=2))\n"
        "import __main__\n"
        "print(__main__.__file__)\n"
    )
    ran = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["begun", "1 2 3", str(script)]
