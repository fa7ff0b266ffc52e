"""Fixtures of the tests that run assets."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # so that the tests of this folder can `from house import ...`

from house import House, build_house

from echo_dagster.settings import ModelSettings


@pytest.fixture
def house(tmp_path: Path, tiny_settings: ModelSettings) -> House:
    """An empty installation."""
    return build_house(tmp_path, tiny_settings)
