"""Hostfiles, and what ranks on other hosts are told."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from echo_dagster.optimization import hosts, launch
from echo_dagster.optimization.job import Job
from echo_dagster.settings import Training

ROOT = Path(__file__).resolve().parents[2]


def write(folder: Path, text: str) -> Path:
    (folder / "hosts").write_text(text)
    return folder / "hosts"


def test_a_hostfile_gives_hosts_in_order_and_the_number_of_ranks(tmp_path):
    file = write(tmp_path, "# ours\nworker-1 slots=4\n\n10.0.0.2   slots=8  # faster\n")
    assert list(hosts.slots(file).items()) == [("worker-1", 4), ("10.0.0.2", 8)]
    training = hosts.with_ranks(Training(hostfile=file, batch_size=16))
    assert training.ranks == 12
    assert hosts.with_ranks(training) == training
    assert hosts.with_ranks(Training(hostfile=file, ranks=12)).ranks == 12


def test_deepspeed_reads_a_hostfile_alike(tmp_path):
    from deepspeed.launcher.runner import fetch_hostfile

    file = write(tmp_path, "# ours\nworker-1 slots=4\n\n10.0.0.2   slots=8  # faster\n")
    assert fetch_hostfile(str(file)) == hosts.slots(file)


def test_every_mistake_of_a_hostfile_is_named(tmp_path):
    with pytest.raises(ValueError) as refused:
        hosts.slots(write(tmp_path, "a slots=2\nb 4\nc slots=0\na slots=1\n"))
    for told in (
        "line 2: expected `host slots=n`",
        "line 3: expected",
        "line 4: the host a stands there twice",
    ):
        assert told in str(refused.value)
    with pytest.raises(ValueError, match="names no host"):
        hosts.slots(write(tmp_path, "# nobody\n"))
    with pytest.raises(ValueError, match="is no file"):
        hosts.slots(tmp_path / "none")


def test_settings_that_contradict_the_hostfile_are_refused(tmp_path):
    file = write(tmp_path, "a slots=2\n")
    with pytest.raises(ValueError, match=r"has 2 slots \(got 3\); leave training.ranks out"):
        hosts.with_ranks(Training(hostfile=file, ranks=3))
    with pytest.raises(ValueError, match=r"training.master_addr: remove it.*training.ssh_port: remove it"):
        hosts.with_ranks(Training(master_addr="10.0.0.1", ssh_port=22))


def test_what_ranks_need_is_handed_on_and_nothing_else():
    told = {"DAGSTER_PIPES_CONTEXT": "eJw=", "OMP_NUM_THREADS": "2", "HF_TOKEN": "secret", "HOME": "/root"}
    assert launch.handed_on(told, "NCCL_DEBUG=INFO\n# a remark\n").splitlines() == [
        "NCCL_DEBUG=INFO",
        "DAGSTER_PIPES_CONTEXT=eJw=",
        "OMP_NUM_THREADS=2",
    ]


def test_the_launcher_finds_the_file_of_variables_and_is_an_owner_itself(make_job, tmp_path):
    file = make_job(tmp_path / "jobs")
    show = "import os; print(os.environ['DS_ENV_FILE']); print(os.getpid())"
    (tmp_path / ".deepspeed_env").write_text("NCCL_DEBUG=INFO\n")
    told = os.environ | {
        "PYTHONPATH": str(ROOT),
        "ECHO_TRAINING_OWNER": "dagster-host:1:2.0",
        "HOME": str(tmp_path),
    }
    command = [
        sys.executable,
        "-m",
        "echo_dagster.optimization.launch",
        str(file),
        sys.executable,
        "-c",
        show,
    ]
    ended = subprocess.run(command, env=told, cwd=tmp_path, capture_output=True, text=True, check=True)
    path, pid = ended.stdout.split()
    assert path == str(Job.read(file).out / "environment")
    lines = Path(path).read_text().splitlines()
    assert lines[0] == "NCCL_DEBUG=INFO" and "ECHO_TRAINING_THROUGH_SSH=1" in lines
    (owner,) = (line.partition("=")[2] for line in lines if line.startswith("ECHO_TRAINING_OWNER"))
    first, second = owner.split(",")
    assert first == "dagster-host:1:2.0" and second.split(":")[1] == pid
    assert Path(path).stat().st_mode & 0o077 == 0
