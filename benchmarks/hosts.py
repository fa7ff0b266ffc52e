"""One training on one rank, on two ranks of a host, and on two hosts: the same loss curve?

The two hosts are two network namespaces of this machine, joined by a virtual cable, each with a name of its own;
`deepspeed --no_ssh` starts in each of them. A small model with random weights, in fp32, where only the order of sums
differs. Then all processes of one host are killed in the middle of a training: does the other end, and say why? Linux,
as root.

    python -m benchmarks.hosts
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path

import polars as pl
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks import simulated
from echo_dagster import models
from echo_dagster.optimization import job as jobs
from echo_dagster.resources import resource
from echo_dagster.settings import Settings

NAMES = ("echo-host-a", "echo-host-b")
CABLES = ("echo-a", "echo-b")
ADDRESSES = ("10.231.7.1", "10.231.7.2")


@contextmanager
def two_hosts() -> Iterator[None]:
    """Make two network namespaces that reach each other, and nothing else."""
    commands = [
        *(f"netns add {name}" for name in NAMES),
        f"link add {CABLES[0]} netns {NAMES[0]} type veth peer name {CABLES[1]} netns {NAMES[1]}",
    ]
    for name, cable, address in zip(NAMES, CABLES, ADDRESSES, strict=True):
        inside = f"-n {name}"
        commands += [
            f"{inside} address add {address}/24 dev {cable}",
            f"{inside} link set lo up",
            f"{inside} link set {cable} up",
        ]
    try:
        for command in commands:
            subprocess.run(["ip", *command.split()], check=True)
        yield
    finally:
        for name in NAMES:
            subprocess.run(["ip", "netns", "delete", name], check=False)


def on_hosts(job: Path, hostfile: Path, settings: Settings) -> list[subprocess.Popen[str]]:
    """Start a job on both hosts."""
    training = settings.training.model_copy(update={"ranks": 2})
    launcher, *words = jobs.command(job, training)
    rest = words[words.index("--master_port") :]
    started = []
    for rank, (name, cable) in enumerate(zip(NAMES, CABLES, strict=True)):
        there = f"--hostfile {hostfile} --no_ssh --node_rank {rank} --master_addr {ADDRESSES[0]}"
        named = ["unshare", "--uts", "sh", "-c", f'hostname {name} && exec "$@"', "sh"]
        variables = {
            **os.environ,
            **jobs.environment(training),
            "GLOO_SOCKET_IFNAME": cable,
            "OMP_NUM_THREADS": "1",
        }
        variables |= {"PYTHONPATH": str(Path.cwd())}
        started.append(
            subprocess.Popen(
                ["ip", "netns", "exec", name, *named, launcher, *there.split(), *rest],
                env=variables,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return started


def here(job: Path, settings: Settings, ranks: int) -> None:
    """Train a job on this host."""
    training = settings.training.model_copy(update={"ranks": ranks})
    variables = {
        **os.environ,
        **jobs.environment(training),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path.cwd()),
    }
    subprocess.run(jobs.command(job, training), env=variables, check=True, stderr=subprocess.DEVNULL)


def small(settings: Settings, folder: Path) -> models.ResolvedModel:
    """Write a model of two small layers with random weights, and the tokenizer of the default one."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    base = models.resolve(settings.base_model, folder)
    config = AutoConfig.from_pretrained(base.path)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    config.update({**shape, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16})
    torch.manual_seed(17)
    path = folder / "small"
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(path)
    AutoTokenizer.from_pretrained(base.path).save_pretrained(path)
    return models.ResolvedModel("small", path, models.digest(path))


def measure(folder: Path, stages: Sequence[int]) -> tuple[dict[tuple[str, int], list[float]], str, float]:
    """Return the curves; then what a host says when the other dies, and how many seconds later it has ended."""
    settings = simulated.settings(folder)
    model = small(settings, folder)
    rows = simulated.refined(settings, users=4, days=2).sample(n=49, shuffle=True, seed=17)
    hostfile = folder / "hostfile"
    hostfile.write_text("".join(f"{name} slots=1\n" for name in NAMES))
    local = folder / "configs" / "deepspeed"
    local.mkdir(parents=True)
    for stage in {2, *stages}:
        config = json.loads(resource("configs", "deepspeed", f"zero{stage}.json").read_text())
        del config["torch_autocast"]
        (local / f"fp32_{stage}.json").write_text(json.dumps(config))

    def prepare(out: str, ranks: int, stage: int, epochs: int = 8) -> Path:
        """49 samples in steps of 8: every seventh step has a single one. 56 steps."""
        changed = {"ranks": ranks, "deepspeed": f"fp32_{stage}.json", "epochs": epochs}
        changed |= {
            "micro_batch_tokens": 600,
            "learning_rate": 1e-3,
            "batch_size": 8,
            "checkpoint_minutes": 10 if epochs == 8 else 0.02,
        }
        asked = settings.model_copy(update={"training": settings.training.model_copy(update=changed)})
        with chdir(folder):  # where configs/deepspeed/ is
            return jobs.prepare(rows, model, settings.base_model.fim, asked, folder / out, {})

    curves = {}
    for stage in stages:
        for name, ranks in (("1 rank", 1), ("2 ranks", 2)):
            job = prepare(name, ranks, stage)
            here(job, settings, ranks)
            curves[name, stage] = _losses(job)
        job = prepare("2 hosts", 2, stage)
        ended = [(host.communicate()[1], host.returncode) for host in on_hosts(job, hostfile, settings)]
        if any(status for _, status in ended):
            raise RuntimeError(f"two hosts failed: {ended}")
        curves["2 hosts", stage] = _losses(job)
        print(f"stage {stage} is done", file=sys.stderr)
    first, second = on_hosts(prepare("dies", 2, 2, epochs=400), hostfile, settings)
    assert first.stderr is not None
    said = ""
    while "optimizer steps" not in said:  # rank 0 tells its progress
        said = first.stderr.readline()
    for process in [*psutil.Process(second.pid).children(recursive=True), psutil.Process(second.pid)]:
        process.send_signal(signal.SIGKILL)
    began = time.monotonic()
    said = first.communicate(timeout=600)[1]
    return curves, said, time.monotonic() - began


def _losses(job: Path) -> list[float]:
    history = pl.read_json(job.parent / "model" / "history.json")
    return history["loss_nats_per_token"].to_list()


def table(curves: dict[tuple[str, int], Sequence[float]]) -> Table:
    """Return how far each curve is from that of one rank under the first stage, at most, in nats per token."""
    reference = next(iter(curves.values()))
    shown = Table(title=f"{len(reference)} steps, loss {reference[0]:.2f} to {reference[-1]:.2f} nats/token")
    names = list(dict.fromkeys(name for name, _ in curves))
    for heading in ("ZeRO", *names):
        shown.add_column(heading)
    for stage in dict.fromkeys(stage for _, stage in curves):
        apart = [
            max(abs(a - b) for a, b in zip(reference, curves[name, stage], strict=True)) for name in names
        ]
        shown.add_row(str(stage), *(f"{most:.1e}" for most in apart))
    return shown


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stages", type=int, nargs="+", default=[0, 1, 2, 3], help="of ZeRO")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, two_hosts():
        curves, said, seconds = measure(Path(folder), asked.stages)
    Console().print(table(curves))
    Console().print(f"one host killed: the other ended {seconds:.0f} s later and said:\n{said.strip()}")


if __name__ == "__main__":
    main()
