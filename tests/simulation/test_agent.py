"""The model as an agent: what it is given, and what of its answer is shown."""

from datetime import date
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from echo_dagster import models
from echo_dagster.settings import ModelSettings, Settings, Truncation
from echo_dagster.simulation import agent, workday
from echo_dagster.simulation.agent import Request, first_tokens, last_tokens, shown

START = date(2026, 1, 5)


@pytest.fixture(scope="module")
def tokenizer(tiny_model_dir: Path) -> Tokenizer:
    return models.load_tokenizer(tiny_model_dir)


@pytest.fixture(scope="module")
def configured(tiny_settings: ModelSettings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(
        start_day=START,
        base_model=tiny_settings,
        data_dir=tmp_path_factory.mktemp("data"),
        truncation=Truncation(prefix_tokens=48, suffix_tokens=16, middle_tokens=16),
    )


@pytest.mark.parametrize(
    ("text", "max_lines", "seen"),
    [
        ("value + 1  ", 1, "value + 1"),
        ("value\n    more", 1, "value"),
        ("value:\n    one\n    two\n    three", 3, "value:\n    one\n    two"),
        ("value\n\n", 3, "value"),
        ("\nnext line", 1, ""),
        ("   ", 1, ""),
    ],
)
def test_shown_is_the_first_lines_without_blanks_behind(text, max_lines, seen):
    assert shown(text, max_lines) == seen


@pytest.mark.parametrize("count", [1, 5, 48])
def test_contexts_are_cut_to_whole_tokens_next_to_the_cursor(tokenizer, count):
    text = "def total(prices, tax=0.2):\n    return sum(prices)  # 😀 né\n" * 30
    tail, head = last_tokens(tokenizer, text, count), first_tokens(tokenizer, text, count)
    assert text.endswith(tail)
    assert text.startswith(head)
    for cut in (tail, head):
        assert 0 < len(tokenizer.encode(cut, add_special_tokens=False).ids) <= count + 3


def test_a_short_context_is_kept_whole(tokenizer):
    assert last_tokens(tokenizer, "x = 1", 48) == "x = 1"
    assert first_tokens(tokenizer, "", 48) == ""


def test_the_agent_is_the_configured_model_and_proposes_alike_twice(configured):
    beside = agent.from_settings(configured)
    requests = [
        Request("def total(prices, tax=0.2):\n    return ", "\n\n", 1),
        Request("class Order:\n    ", "", 3),
    ]
    proposals = beside.propose(requests)
    assert proposals == beside.propose(requests)
    assert len(proposals) == 2
    assert "\n" not in proposals[0]
    assert proposals[1].count("\n") <= 2
    assert beside.model == configured.base_model.name
    assert beside.digest == models.digest(Path(configured.base_model.source.path or ""))


def test_a_simulation_runs_beside_a_model_and_is_found_again(configured, source, tmp_path):
    size = {"users": 1, "gaps_per_user_day": 2, "seed": 9}
    beside = agent.from_settings(configured)
    made = workday.simulate(source, 1, START, tmp_path, agent=beside, **size)
    assert made.n_documents >= 1
    found = workday.counts_if_simulated(source, 1, START, tmp_path, model_digest=beside.digest, **size)
    assert found == made.counts()
    assert workday.counts_if_simulated(source, 1, START, tmp_path, model_digest="other", **size) is None
    assert workday.counts_if_simulated(source, 2, START, tmp_path, model_digest=beside.digest, **size) is None
