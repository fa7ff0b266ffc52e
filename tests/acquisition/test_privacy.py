"""Pseudonyms are stable, keyed, and made with one key however many processes begin at once."""

from __future__ import annotations

import multiprocessing
import re
from pathlib import Path

import pytest

from echo_dagster.acquisition.privacy import pseudonymiser


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ECHO_PSEUDONYM_KEY", raising=False)


def test_a_pseudonym_is_stable_and_says_nothing(tmp_path):
    pseudonym = pseudonymiser(tmp_path)
    assert re.fullmatch(r"u_[0-9a-f]{16}", pseudonym("alex@example.org"))
    assert pseudonym("alex@example.org") == pseudonymiser(tmp_path)("alex@example.org")
    assert pseudonym("alex@example.org") != pseudonym("alex@example.com")


def test_what_is_a_pseudonym_stays_one(tmp_path):
    pseudonym = pseudonymiser(tmp_path)
    assert pseudonym(pseudonym("alex")) == pseudonym("alex")
    assert pseudonym("u_0123456789abcdef") == "u_0123456789abcdef"
    assert pseudonym("u_0123456789ABCDEF") != "u_0123456789ABCDEF"
    assert pseudonym("u_0123456789abcdef\n") != "u_0123456789abcdef\n"


def test_the_key_decides(tmp_path, monkeypatch):
    one, other = pseudonymiser(tmp_path / "one"), pseudonymiser(tmp_path / "other")
    assert one("alex") != other("alex")
    monkeypatch.setenv("ECHO_PSEUDONYM_KEY", "k" * 200)
    assert pseudonymiser(tmp_path / "one")("alex") == pseudonymiser(tmp_path / "third")("alex")
    assert not (tmp_path / "third").exists()


def test_the_key_file_is_the_users_alone(tmp_path):
    pseudonymiser(tmp_path)("alex")
    assert [path.name for path in tmp_path.iterdir()] == ["pseudonym.key"]
    assert (tmp_path / "pseudonym.key").stat().st_mode & 0o777 == 0o600
    assert len((tmp_path / "pseudonym.key").read_text().strip()) == 64


def test_an_empty_key_file_is_no_key(tmp_path):
    (tmp_path / "pseudonym.key").touch()
    with pytest.raises(ValueError, match="is empty"):
        pseudonymiser(tmp_path)


def _begin(folder: Path) -> str:
    return pseudonymiser(folder)("alex")


def test_processes_that_race_end_with_one_key(tmp_path):
    # Not forked: that would copy what other tests left in this process, such as a handler of SIGTERM.
    with multiprocessing.get_context("spawn").Pool(6) as pool:
        for attempt in range(15):
            folder = tmp_path / str(attempt)
            folder.mkdir()
            assert len(set(pool.map(_begin, [folder] * 6, chunksize=1))) == 1
            assert [path.name for path in folder.iterdir()] == ["pseudonym.key"]
