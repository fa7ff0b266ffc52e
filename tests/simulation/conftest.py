"""A small real code base (standard library, and one file with astral characters), simulated once."""

import asyncio
import email
import multiprocessing
import shutil
import unittest
from pathlib import Path

import pytest
from knowing import ASTRAL, DAYS, GAPS, START, USERS, KnowingAgent

from echo_dagster.simulation import workday
from echo_dagster.simulation.session import Session


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "library"
    for package in (asyncio, email, multiprocessing, unittest):
        shutil.copytree(
            Path(package.__file__).parent,
            folder / package.__name__,
            ignore=shutil.ignore_patterns("__pycache__", "test*"),
        )
    (folder / "faces.py").write_text(ASTRAL, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def agent(source: Path) -> KnowingAgent:
    return KnowingAgent(source)


@pytest.fixture(scope="session")
def sessions(source: Path, agent: KnowingAgent) -> list[Session]:
    """The sessions of a few developers and days, worked through."""
    planned = workday.plan(
        source, DAYS, START, users=USERS, gaps_per_user_day=GAPS, seed=3, model=agent.model
    )
    workday.run(planned, agent)
    return planned


@pytest.fixture(scope="session")
def landed(
    source: Path, agent: KnowingAgent, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, workday.Simulated]:
    """The landing folder of the same simulation, and its counts."""
    out = tmp_path_factory.mktemp("landing")
    made = workday.simulate(
        source, DAYS, START, out, users=USERS, gaps_per_user_day=GAPS, seed=3, agent=agent
    )
    return out, made
