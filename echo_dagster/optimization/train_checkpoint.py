"""Work on disk: DeepSpeed checkpoints to go on from, and the finished model directory.

A checkpoint counts once its mark is written, after all ranks have saved and the disk has everything; a torn one is
never loaded. The one before goes after that, its mark first. The finished directory, with its records, takes its name
in one rename.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import deepspeed
import torch
from deepspeed import comm
from peft import PeftModel
from safetensors import SafetensorError
from transformers import AutoConfig, PreTrainedModel

from echo_dagster import models
from echo_dagster.optimization import train_lora as lora
from echo_dagster.optimization.job import Job, provenance, write_json
from echo_dagster.optimization.train_model import TrainingError

_MARK = "complete.json"
#: By these words of torch's messages its file writer failed.
_WRITER_ERRORS = ("inline_container", "iostream error", "PytorchStreamWriter")
#: What a model directory holds beside weights and their configuration, such as the tokenizer, is copied.
_NOT_COPIED = (".safetensors", ".bin", ".gguf", ".pt", ".pth", ".msgpack", ".h5")
_REWRITTEN = {"config.json", "generation_config.json", "model.safetensors.index.json", "model.json"}
_RECORDS = {"provenance.json", "history.json", "preference.json"}


def save(engine: Any, job: Job, steps_done: int, state: Mapping[str, Any], best: int | None = None) -> None:
    """Save weights and optimizer after `steps_done` steps, then drop older checkpoints, but that of the `best` step.

    Every rank calls this.

    Raises:
        TrainingError: a weight is not finite, so that nobody could go on from it, or the disk is full; the older
            checkpoint stays.
    """
    if not all(
        torch.isfinite(_here(weight)).all() for weight in engine.module.parameters() if weight.requires_grad
    ):
        raise TrainingError(
            f"a weight is not finite after step {steps_done}: training diverged; lower training.learning_rate"
        )
    folder = _folder(job)
    tag = f"step-{steps_done}"
    if comm.get_rank() == 0:
        _require_room(engine, job, steps_done)
    with _writing(f"the checkpoint after step {steps_done}", folder / tag, job):
        engine.save_checkpoint(
            str(folder),
            tag=tag,
            client_state={"echo": dict(state)},
            save_latest=False,  # DeepSpeed's pointer is written in place; the marks below are not
            exclude_frozen_parameters=True,
        )
        if comm.get_rank() == 0:
            _to_disk(folder / tag)  # a power cut must not leave the mark without what it marks
            write_json(folder / tag / _MARK, {"steps_done": steps_done, "job_digest": job.digest})
    if comm.get_rank() == 0:
        _remove(folder, but={tag, f"step-{best}"})
    comm.barrier()


def checkpoint_bytes(engine: Any) -> int:
    """Return the bytes that a checkpoint takes, all ranks together: weights that learn, and AdamW's state of them.

    DeepSpeed keeps fp32 weights twice, as the model's and as the optimizer's; AdamW adds two moments. All are fp32.
    """
    learning = [weight for weight in engine.module.parameters() if weight.requires_grad]
    return 4 * 4 * sum(getattr(weight, "ds_numel", weight.numel()) for weight in learning)


def restore(engine: Any, job: Job) -> tuple[int, dict[str, Any]]:
    """Load this job's newest whole checkpoint; return the steps done and the state saved with it, or 0 and {}.

    Torn ones go first: they take room.
    """
    done = latest(job)
    if comm.get_rank() == 0:
        _remove(_folder(job), but={mark.parent.name for mark in _folder(job).glob(f"*/{_MARK}")})
    comm.barrier()
    if done == 0:
        return 0, {}
    return done, load(engine, job, done)


def load(engine: Any, job: Job, step: int) -> dict[str, Any]:
    """Load the checkpoint after `step` steps; return the state saved with it. Every rank calls this."""
    # weights that do not learn are not saved
    is_whole = job.training.last_layers is None and job.training.lora_rank is None
    path, client = engine.load_checkpoint(str(_folder(job)), tag=f"step-{step}", load_module_strict=is_whole)
    if path is None:
        raise RuntimeError(f"DeepSpeed cannot load {_folder(job) / f'step-{step}'}; remove it to begin anew")
    state: dict[str, Any] = client["echo"]
    return state


def latest(job: Job) -> int:
    """Return the steps done in the newest whole checkpoint of this job, 0 without one."""
    marks = [json.loads(file.read_text(encoding="utf-8")) for file in _folder(job).glob(f"step-*/{_MARK}")]
    return max((mark["steps_done"] for mark in marks if mark["job_digest"] == job.digest), default=0)


def export(model: PreTrainedModel | PeftModel, job: Job) -> tuple[Path, str, str | None]:
    """Write the model, in the base model's data type, beside its future place; return path, digest, and the digest of
    its adapter if it has one. Adapters are merged into the weights, which are rounded once, after that.

    Every rank calls this: under ZeRO 3 each holds a part of every weight. All but rank 0 return no digest.
    """
    target = job.out / ".model.unfinished"
    dtype = AutoConfig.from_pretrained(job.model.path).dtype or torch.float32
    is_first = comm.get_rank() == 0
    state: dict[str, torch.Tensor] = {}
    exported, adapted = lora.plain(model), lora.layers(model)
    for name, tensor in _persistent(exported):
        layer = adapted.get(id(tensor))
        with deepspeed.zero.GatheredParameters([tensor, *lora.matrices(layer)]):
            if is_first:
                state[name] = lora.merged(tensor, layer).to(
                    "cpu", dtype if tensor.is_floating_point() else tensor.dtype, copy=True
                )
    digest = ""
    if is_first:
        broken = [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]
        if broken:
            raise TrainingError(
                f"training diverged: {broken[0]} is not finite at its end; lower training.learning_rate"
            )
        shutil.rmtree(target, ignore_errors=True)
        exported.config.dtype = dtype
        exported.config.use_cache = True
        with _writing("the model", target, job):
            exported.save_pretrained(target, state_dict=state)
            for file in sorted(job.model.path.iterdir()):
                if (
                    file.is_file()
                    and file.suffix not in _NOT_COPIED
                    and file.name not in _REWRITTEN | _RECORDS
                ):
                    shutil.copyfile(file, target / file.name)
        digest = models.digest(target)
    with _writing("the adapter", target, job):
        adapter = lora.save(model, target, job.model.name, is_first=is_first)
    comm.barrier()
    return target, digest, adapter


def publish(unfinished: Path, job: Job, record: Mapping[str, Any], history: list[dict[str, Any]]) -> None:
    """Write the records into the model directory, give it its name, remove the work. Rank 0 calls this."""
    with _writing("the model's record", unfinished, job):
        (unfinished / "history.json").write_text(json.dumps(history) + "\n", encoding="utf-8")
        (unfinished / "provenance.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        _to_disk(unfinished)
    shutil.rmtree(job.result, ignore_errors=True)
    unfinished.rename(job.result)
    shutil.rmtree(job.work)


def finished(job: Job) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
    """Return record and history where this very job was done before and its weights are untouched."""
    file = job.result / "provenance.json"
    if not file.is_file():
        return None
    record = json.loads(file.read_text(encoding="utf-8"))
    if record["job_digest"] != job.digest or models.digest(job.result) != record["model_digest"]:
        return None
    return record, json.loads((job.result / "history.json").read_text(encoding="utf-8"))


def renew(job: Job, record: Mapping[str, Any]) -> dict[str, Any]:
    """Bring the record of a job that was done before up to its present lineage, which may name later versions."""
    renewed = {**record, **provenance(job)}
    write_json(job.result / "provenance.json", renewed)
    shutil.rmtree(job.work, ignore_errors=True)
    return renewed


def _here(weight: torch.Tensor) -> torch.Tensor:
    """Return what this rank holds of a weight: under ZeRO 3, a part."""
    part: torch.Tensor = getattr(weight, "ds_tensor", weight)
    return part


def _folder(job: Job) -> Path:
    return job.work / "checkpoints"


@contextmanager
def _writing(what: str, folder: Path, job: Job) -> Iterator[None]:
    """Remove a folder that could not be written whole.

    Raises:
        TrainingError: it could not. The message names the folder, the room there is, and the checkpoint that stays.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if type(error) is RuntimeError and not any(name in str(error) for name in _WRITER_ERRORS):
            raise
        shutil.rmtree(folder, ignore_errors=True)
        why = (str(error) or type(error).__name__).partition("\n")[0]
        raise _no_room(what, folder.parent, why, job) from error


def _require_room(engine: Any, job: Job, steps_done: int) -> None:
    """Raise where another checkpoint does not fit beside what there is."""
    needed = checkpoint_bytes(engine)
    if shutil.disk_usage(job.work).free < needed:
        what = f"the checkpoint after step {steps_done}"
        raise _no_room(what, _folder(job), f"it takes {needed / 2**20:,.0f} MiB", job)


def _no_room(what: str, folder: Path, why: str, job: Job) -> TrainingError:
    free = shutil.disk_usage(job.out).free / 2**20
    done = latest(job)
    kept = f"the checkpoint after step {done} stays" if done else "no checkpoint was saved yet"
    return TrainingError(
        f"{what} could not be written to {folder}, where {free:,.0f} MiB are free ({why}); {kept}; make room there, "
        "and run it again to go on"
    )


def _to_disk(folder: Path) -> None:
    """Wait until the disk has all files of a folder, and the folder has their names."""
    for path in (*folder.rglob("*"), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _remove(folder: Path, *, but: set[str]) -> None:
    """Remove all checkpoints in a folder but those."""
    for checkpoint in folder.glob("step-*"):
        if checkpoint.name not in but:
            (checkpoint / _MARK).unlink(
                missing_ok=True
            )  # first: a kill below must not leave a torn one marked
            shutil.rmtree(checkpoint)


def _persistent(model: PreTrainedModel) -> list[tuple[str, torch.Tensor]]:
    """Return each weight once, under one name, and the buffers that belong into a model directory. Adapters do not."""
    kept = set(model.state_dict())
    there = [
        *model.named_parameters(),
        *((name, tensor) for name, tensor in model.named_buffers() if name in kept),
    ]
    return [(known, tensor) for name, tensor in there if (known := lora.plain_name(name)) is not None]
