"""Two tiny models that the tests of this folder compare."""

import pytest
from known import held_out, taught

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
    return taught(tiny_base, held_out(4), tmp_path_factory.mktemp("candidate") / "model")
