"""Fixtures that several packages of tests share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))  # so that tests of every folder can `from tiny import ...`

#: Pseudonyms decide who is held out: tests that count people must not hang on a key that this checkout has made.
os.environ["ECHO_PSEUDONYM_KEY"] = "a key that every installation of these tests shares"
os.environ.pop("COLUMNS", None)  # a parallel worker is told one, and rich would keep to it for good

from tiny import tiny_model

from echo_dagster.settings import ModelSettings

settings.register_profile("echo", deadline=None)  # a slow machine is no failure
settings.load_profile("echo")

#: Recordings and logs from public repositories, beside the checkout; absent from most machines.
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def tiny_settings(tmp_path_factory: pytest.TempPathFactory) -> ModelSettings:
    """The tiny model of `tiny.py`, built once a session."""
    import torch

    torch.set_num_threads(1)  # for matrices this small, threads only wait for each other
    return tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_model_dir(tiny_settings: ModelSettings) -> Path:
    """The directory of the tiny model; never write into it."""
    assert tiny_settings.source.path is not None
    return Path(tiny_settings.source.path)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings, where there is one."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the shared recordings are not on this machine")
    return SHARED_DATA
