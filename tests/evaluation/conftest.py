"""Two tiny models that the tests of this folder compare."""

import shutil

import pytest
from known import held_out
from tiny import FIM

from echo_dagster import models
from echo_dagster.models import ResolvedModel


@pytest.fixture(scope="session")
def tiny_base(tiny_model_dir):
    """The tiny model. It runs on one thread: a second one would wait longer than such small matrices take."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield ResolvedModel("tiny", tiny_model_dir, models.digest(tiny_model_dir))
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny_candidate(tiny_base, tmp_path_factory) -> ResolvedModel:
    """The tiny model after a few steps on the very gaps: it knows them by heart, so it must win."""
    import torch
    from transformers import AutoModelForCausalLM

    from echo_dagster import fim

    path = tmp_path_factory.mktemp("candidate") / "model"
    shutil.copytree(tiny_base.path, path)
    tokenizer = models.load_tokenizer(path)
    fmt = fim.fim_format(FIM, tokenizer)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    samples = [
        fim.encode(fmt, tokenizer, row["prefix"], row["suffix"], row["middle"])
        for row in held_out(4).to_dicts()
    ]
    pad = torch.nn.utils.rnn.pad_sequence
    ids = pad([torch.tensor(one.prompt_ids + one.target_ids) for one in samples], True, 0)
    labels = pad([torch.tensor([-100] * len(one.prompt_ids) + one.target_ids) for one in samples], True, -100)
    torch.set_num_threads(
        1
    )  # for matrices this small, threads that wait for each other cost most of the time
    for _ in range(120):
        model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(path)
    return ResolvedModel("tiny", path, models.digest(path))
