"""A training job: a JSON file that says all that the training process needs, and the command that runs it.

`prepare` freezes a training set and writes the file; `command` and `environment` start it by hand, from the
CLI or through Dagster Pipes, all the same way; `result` reads what came of it. Imports neither torch nor
DeepSpeed.

Layout of a job's directory `out`:

    job.json                what to train on what
    work/*.parquet          the frozen samples, by `sample_id`; work/ also holds checkpoints, and goes when all is done
    work/validation.parquet the part of them that is not trained on, if there is one
    work/stopped.txt        why a run of it failed
    model/                  what transformers loads, with provenance.json and history.json
    tensorboard/            event files
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from echo_dagster.configuration import deepspeed_file
from echo_dagster.lake import Lake
from echo_dagster.models import ResolvedModel, fim_tokens, is_cpu_build
from echo_dagster.optimization import deepspeed_config, hosts
from echo_dagster.optimization.schema import TRAINED_COLUMNS, samples_digest, trained_settings
from echo_dagster.optimization.validation import Parts, TooFewSamples, split
from echo_dagster.settings import FimTokens, Settings, Training

#: The asset check that the training process itself reports: every step was taken, and the loss is a number.
FINISHED_CHECK = "trained_to_the_end"
#: The key of a Pipes message that holds the figures of a training so far.
FIGURES_MESSAGE = "training_figures"
#: The processes that asked for the training, as `process_name` names them, with commas. When one is gone, ranks stop.
OWNER_VARIABLE = "ECHO_TRAINING_OWNER"
#: Set where ranks are started through ssh: they watch its session as well.
SSH_VARIABLE = "ECHO_TRAINING_THROUGH_SSH"

#: What to lower when memory runs out.
OUT_OF_MEMORY = (
    "out of memory; lower training.micro_batch_tokens (the result changes by rounding alone), set "
    "training.recompute_activations, train fewer blocks (training.last_layers) or adapters (training.lora_rank), or, "
    "with several ranks, use training.deepspeed: zero3.json"
)

_STOPPED = "stopped.txt"

_PACKAGE = Path(__file__).resolve().parents[1]


class Model(Protocol):
    """Whatever says where weights are and what they are."""

    @property
    def path(self) -> Path:
        """The model directory."""

    @property
    def digest(self) -> str:
        """The digest of its weights and tokenizer."""


class TrainingMissing(FileNotFoundError):
    """A job that has no result: it failed, was stopped, or never ran."""


@dataclass(frozen=True)
class NothingToTrain:
    """Why a day trains nothing."""

    reason: str


@dataclass(frozen=True)
class Job:
    """What a training process reads. `digest` names all that can change the weights; paths are not in it.

    `n_samples` and `samples_digest` are of the whole training set. `validation` says how many `samples` of it are not
    trained on but measured on, their `digest`, and how many are `left_out`; it is null without.
    """

    digest: str
    out: Path
    samples: Path
    n_samples: int
    samples_digest: str
    model: ResolvedModel
    fim: FimTokens
    max_tokens: int
    training: Training
    deepspeed: dict[str, Any]
    lineage: dict[str, Any]
    settings_digest: str
    code_version: str
    code_digest: str
    validation: dict[str, Any] | None = None
    #: What `preference.py` adds where pairs are trained on; `samples` then holds them, and `n_samples` and
    #: `samples_digest` still name the training set that they come from.
    preference: dict[str, Any] | None = None

    @property
    def work(self) -> Path:
        """Where unfinished work stands."""
        return self.out / "work"

    @property
    def validation_samples(self) -> Path:
        """What is measured on, and not trained on."""
        return self.work / "validation.parquet"

    @property
    def result(self) -> Path:
        """Where the trained model will stand."""
        return self.out / "model"

    @classmethod
    def read(cls, file: Path) -> Job:
        """Read a file that `prepare` wrote."""
        raw = json.loads(file.read_text(encoding="utf-8"))
        raw["model"] = ResolvedModel(raw["model"]["name"], Path(raw["model"]["path"]), raw["model"]["digest"])
        raw["fim"] = FimTokens.model_validate(raw["fim"])
        raw["training"] = Training.model_validate(raw["training"])
        return cls(**{**raw, "out": Path(raw["out"]), "samples": Path(raw["samples"])})


@dataclass(frozen=True)
class Prepared:
    """A job that is ready to run."""

    file: Path
    job: Job


def prepare_day(
    lake: Lake, day: date, base: ResolvedModel, champion: Model, settings: Settings
) -> Prepared | NothingToTrain:
    """Prepare the training of `day` on its training set, from the base model or from what serves.

    The job's directory is named after its digest, so that another training never replaces the weights of a
    model that serves already.
    """
    rows = lake.read("training_set", [day]).collect() if lake.exists("training_set") else pl.DataFrame()
    if rows.height < settings.training.min_samples:
        return NothingToTrain(
            f"the training set of {day} has {rows.height} samples, fewer than training.min_samples "
            f"({settings.training.min_samples})"
        )
    from_champion = settings.training.start_from == "champion"
    start = ResolvedModel(base.name, champion.path, champion.digest) if from_champion else base
    lineage = lineage_of_day(day, rows, lake.version("training_set"), settings.training)
    try:
        file = prepare(rows, start, settings.base_model.fim, settings, home_of_day(settings, day), lineage)
    except TooFewSamples as error:
        return NothingToTrain(f"the training set of {day}: {error}")
    return Prepared(file, Job.read(file))


def home_of_day(settings: Settings, day: date) -> Path:
    """Return the directory of a day's trainings."""
    return settings.data_dir / "checkpoints" / day.isoformat()


def lineage_of_day(
    day: date, rows: pl.DataFrame, version: int, training: Training, table: str = "training_set"
) -> dict[str, Any]:
    """Return what samples of the training set of `day` were made of, for the record of their training.

    `version` is that of the `table` from which the rows were read.
    """
    return {
        "day": day.isoformat(),
        "tables": {table: version},
        "sample_days": sorted({str(sample_day) for sample_day in rows["sample_day"].to_list()}),
        "cohorts": dict(rows.group_by(pl.col("cohort").fill_null("none")).len().sort("cohort").iter_rows()),
        "start_from": training.start_from,
    }


def prepare(
    training_set: pl.DataFrame,
    model: ResolvedModel,
    fim: FimTokens | None,
    settings: Settings,
    out: Path,
    lineage: Mapping[str, Any],
) -> Path:
    """Freeze a training set and write `out/<digest>/job.json`; return its path.

    Args:
        training_set: one row per sample, with at least sample_id, language, prefix, suffix and middle; with
            validation_share also repository and document.
        model: the weights to start from.
        fim: the markers of its tokenizer; without, they are found from it, and stand in the file.
        settings: `training` and `base_model.max_tokens` are used.
        out: the directory of this day's jobs.
        lineage: what the samples were made of: table versions, days. Kept in the provenance record as it is.

    Raises:
        ValueError: there is no sample, a sample stands twice, or the settings do not fit each other.
        TooFewSamples: too few to say when to stop, or too few beside those.
    """
    if training_set.is_empty():
        raise ValueError("the training set is empty; there is nothing to train on")
    samples = training_set.select(TRAINED_COLUMNS).sort("sample_id")
    if samples["sample_id"].n_unique() < samples.height:
        raise ValueError("the training set holds a sample twice; deduplicate it by sample_id")
    training = hosts.with_ranks(settings.training)
    parts = split(training_set, training) if training.validation_share else None
    facts: dict[str, Any] = {
        "n_samples": samples.height,
        "samples_digest": samples_digest(samples),
        "model": {"name": model.name, "digest": model.digest},
        "fim": fim_tokens(fim, model.path).model_dump(mode="json"),
        "max_tokens": settings.base_model.max_tokens,
        "training": trained_settings(training),
        "deepspeed": deepspeed_config.read(deepspeed_file(training.deepspeed), training),
        "code_digest": code_digest(),
        "validation": _told(parts),
    }
    digest = sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    home = out.absolute() / digest
    work = home / "work"
    work.mkdir(parents=True, exist_ok=True)
    (work / _STOPPED).unlink(missing_ok=True)
    if parts is None:
        samples.write_parquet(work / "samples.parquet")
    else:
        for name, part in (("samples", parts.trained), ("validation", parts.held_out)):
            part.select(TRAINED_COLUMNS).sort("sample_id").write_parquet(work / f"{name}.parquet")
    told = {
        **facts,
        "training": training.model_dump(mode="json"),
        "digest": digest,
        "out": str(home),
        "samples": str(work / "samples.parquet"),
        "model": {**facts["model"], "path": str(model.path.absolute())},
        "lineage": dict(lineage),
        "settings_digest": settings.digest,
        "code_version": code_version(),
    }
    file = home / "job.json"
    write_json(file, told)
    return file


def command(job: Path, training: Training, module: str = "train") -> list[str]:
    """Return the command that trains: DeepSpeed's launcher with a process per rank, here or on the hosts of a file.

    `module` is the training program: train, or train_preference.
    """
    beside = Path(sys.executable).with_name("deepspeed")
    launcher = str(beside) if beside.is_file() else "deepspeed"
    there = {"--master_addr": training.master_addr, "--ssh_port": training.ssh_port}
    return [
        # one host: the launcher starts the ranks; several: it starts itself there, and has to be told what to hand on
        *(() if training.hostfile is None else (sys.executable, "-m", f"{__package__}.launch", str(job))),
        launcher,
        # left out, the launcher looks for one in /job
        *("--hostfile", str(training.hostfile or os.devnull)),
        *(("--num_accelerators", str(training.ranks)) if training.hostfile is None else ("--force_multi",)),
        *(word for name, value in there.items() if value is not None for word in (name, str(value))),
        # the launcher's own default is one fixed port, which stops two trainings on one machine
        *("--master_port", str(free_port())),
        *("--no_local_rank", "--quiet"),
        *("--module", f"echo_dagster.optimization.{module}"),
        *("--job", str(job)),
    ]


def process_name() -> str:
    """Return how other processes find this one again: `host:pid:start time`; a pid means nothing on another host."""
    import psutil

    return f"{socket.gethostname()}:{os.getpid()}:{psutil.Process().create_time()}"


def environment(training: Training) -> dict[str, str]:
    """Return the variables that `command` runs with, beside those of this process."""
    variables = {
        OWNER_VARIABLE: process_name(),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",  # trl tells its makers of every trainer that is made
        # Threads that wait by spinning cost a factor of 3 to 5 when other work shares the cores (docs/training.md).
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
    }
    if "DS_ACCELERATOR" not in os.environ and is_cpu_build():
        variables["DS_ACCELERATOR"] = "cpu"  # DeepSpeed would look for GPUs, and warn
    beside = training.ranks if training.hostfile is None else max(hosts.slots(training.hostfile).values())
    if beside > 1 and "OMP_NUM_THREADS" not in os.environ:
        # every rank would start a thread for each core
        variables["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // beside))
    return variables


def lacking(file: Path) -> str | None:
    """Return which path of a job this host does not have, and what to do; None where all are there.

    The samples are not asked for: they go when the job is done.
    """
    needed = [file] if not file.is_file() else [(job := Job.read(file)).out, job.model.path]
    missing = [str(path) for path in needed if not path.exists()]
    if not missing:
        return None
    return (
        f"{', '.join(missing)}: not on host {socket.gethostname()}; every host of a training must see the job and the "
        "model under the same paths: put them on a file system that all hosts share (data_dir)"
    )


def note_failure(job: Job, reason: str) -> None:
    """Leave the reason why a rank failed for whoever waits for the launcher, which tells an exit status alone."""
    (job.work / _STOPPED).write_text(reason + "\n", encoding="utf-8")


def why_failed(job: Job, status: int) -> str:
    """Return why the training that ended with exit `status` has no result, as its ranks noted it.

    A rank that the system killed could note nothing: the launcher, and a shell, tell signal 9 as 247, 137 or -9.
    """
    file = job.work / _STOPPED
    if file.is_file():
        return file.read_text(encoding="utf-8").strip()
    if status in {247, 137, -9}:
        return f"a rank was killed by signal 9, as the system does to a process that runs {OUT_OF_MEMORY}"
    return f"the training process ended with exit status {status}; its output says why"


def result(out: Path) -> dict[str, Any]:
    """Return the provenance record of the job in `out`; its `model_digest` and `metrics` say what came of it.

    Raises:
        TrainingMissing: training did not get to its end.
    """
    file = out / "model" / "provenance.json"
    if not file.is_file():
        raise TrainingMissing(
            f"{out} holds no trained model: training failed or was stopped; its output says why. Run it again "
            "to go on from the last checkpoint"
        )
    record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return record


def code_version() -> str:
    """Return the git commit of this checkout, `+changed` where its code differs; else the package's version."""
    root = _PACKAGE.parent
    if (root / ".git").exists() and shutil.which("git"):
        try:
            commit = _git(root, "rev-parse", "HEAD")
            return commit + ("+changed" if _git(root, "status", "--porcelain", "--", _PACKAGE.name) else "")
        except subprocess.CalledProcessError:  # a checkout that git refuses to read, such as another user's
            pass
    return metadata.version("echo-dagster")


def code_digest() -> str:
    """Return a digest of the code that decides over weights: this package's, and how a gap becomes tokens."""
    total = sha256()
    for file in (*sorted((_PACKAGE / "optimization").glob("*.py")), _PACKAGE / "fim.py"):
        total.update(f"{file.name}\0{sha256(file.read_bytes()).hexdigest()}\0".encode())
    return total.hexdigest()[:16]


def provenance(job: Job) -> dict[str, Any]:
    """Return what a record says before training: all inputs of a job, without paths."""
    return {
        "job_digest": job.digest,
        "started_from": {"name": job.model.name, "digest": job.model.digest},
        "samples": {"count": job.n_samples, "digest": job.samples_digest},
        "validation": job.validation,
        "lineage": job.lineage,
        "training": trained_settings(job.training),
        "fim": job.fim.model_dump(mode="json"),
        "max_tokens": job.max_tokens,
        "deepspeed": job.deepspeed,
        "settings_digest": job.settings_digest,
        "code_version": job.code_version,
        "code_digest": job.code_digest,
        "versions": {
            name: metadata.version(name)
            for name in ("torch", "transformers", "deepspeed", "peft", "tokenizers")
        },
    }


def write_json(file: Path, content: Any) -> None:
    """Write a JSON file whole or not at all."""
    scratch = file.with_name(f".{file.name}.{os.getpid()}")
    scratch.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    scratch.replace(file)


def _told(parts: Parts | None) -> dict[str, Any] | None:
    if parts is None:
        return None
    held_out = parts.held_out
    return {"samples": held_out.height, "digest": samples_digest(held_out), "left_out": parts.n_near}


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()
