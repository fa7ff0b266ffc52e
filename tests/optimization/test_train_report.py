import re

import pytest

from echo_dagster.optimization import train_report
from echo_dagster.optimization.train_report import Reporter


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [100.0]
    monkeypatch.setattr(train_report.time, "monotonic", lambda: now[0])
    return now


def take(reporter, clock, n_steps, seconds, total):
    reporter.begin(0, 0)
    for step in range(1, n_steps + 1):
        clock[0] += seconds
        reporter.progress(step, total, loss=float(step), learning_rate=1e-4, tokens=100 * step)


def test_a_line_comes_every_five_seconds_and_at_the_end(clock, capsys):
    take(Reporter(is_silent=False), clock, n_steps=7, seconds=2.0, total=7)
    lines = capsys.readouterr().err.splitlines()
    assert [line.rsplit(": ")[1] for line in lines] == ["3 of 7", "6 of 7", "7 of 7"]
    assert lines[0].startswith("loss 2.000 nats/token, learning rate 1.00e-04, 50 tokens/s, 8 s left")


def test_a_long_training_does_not_fill_the_log(clock, capsys):
    take(Reporter(is_silent=False), clock, n_steps=10_000, seconds=10.0, total=10_000)
    assert len(capsys.readouterr().err.splitlines()) == 200


def test_only_one_rank_speaks(clock, capsys):
    silent = Reporter(is_silent=True)
    take(silent, clock, n_steps=7, seconds=9.0, total=7)
    silent.line("text")
    silent.failed("reason")
    assert capsys.readouterr().err == ""


def test_the_curve_is_a_small_table_of_means():
    history = [
        {"step": step, "loss_nats_per_token": 1.0 * step, "learning_rate": 1e-4} for step in range(1, 101)
    ]
    rows = train_report.curve_table(history).splitlines()
    assert (
        len(rows) == 14
        and rows[2] == "| 1-8 | 4.5000 | 1.00e-04 |"
        and rows[-1].startswith("| 92-100 | 96.0000")
    )
    assert train_report.curve_table(history[:1]).splitlines()[2:] == ["| 1-1 | 1.0000 | 1.00e-04 |"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (59.4, "59 s"), (75, "1 min 15 s"), (3599, "59 min 59 s"), (7261, "2 h 1 min")],
)
def test_durations_are_said_as_people_say_them(seconds, said):
    assert re.fullmatch(said, train_report.duration(seconds))
