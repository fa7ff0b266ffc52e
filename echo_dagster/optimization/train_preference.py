"""The second training program: C_N preferred to C_1 by DPO, through trl's DPOTrainer. Started as `train.py` is:

    deepspeed --num_accelerators 1 --no_local_rank --module echo_dagster.optimization.train_preference --job JOB.json

`preference.prepare` writes the job file. trl owns the loop, its checkpoints and the loss; what is ours is the token
ids, which checkpoint counts, when to stop, what is told and the directory that is left.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from echo_dagster.optimization import job as jobs
from echo_dagster.optimization import preference
from echo_dagster.optimization.train import Stopped, main
from echo_dagster.optimization.train_report import Reporter
from echo_dagster.optimization.train_watch import Stop

_MARK = "complete.json"
#: trl's names of what a step told, and ours. Rewards are beta x (log p - log p of the start model).
_LOGGED = {
    "loss": "loss",
    "learning_rate": "learning_rate",
    "grad_norm": "gradient_norm",
    "rewards/margins": "reward_margin",
    "rewards/accuracies": "reward_accuracy",
    "rewards/chosen": "chosen_reward",
    "rewards/rejected": "rejected_reward",
}


def run(job: jobs.Job, report: Reporter, stop: Stop) -> None:
    """Train a job to its end, unless it is done already."""
    from echo_dagster.optimization import train_checkpoint as checkpoint
    from echo_dagster.optimization import train_lora as lora

    assert job.preference is not None
    is_first = os.environ.get("RANK", "0") == "0"
    if (before := checkpoint.finished(job)) is not None:
        report.line("this job is done already, with the same pairs, settings and code")
        old, _ = before
        if is_first:
            outcome = old | old["preference"]
            record = preference.record_of(job, outcome)
            jobs.write_json(job.result / "provenance.json", record)
            shutil.rmtree(job.work, ignore_errors=True)
            report.preferred(record, is_reused=True)
        return
    report.line(
        f"loading {job.preference['pairs']} pairs and the model {job.model.name} ({job.model.digest})"
    )
    began = time.monotonic()
    trainer, pad_token_ids = prepare(job, report, stop)
    resumed = latest(job)
    if resumed is not None:
        report.line(f"going on after step {_steps(resumed)}")
    stop.is_training = True
    trainer.train(resume_from_checkpoint=None if resumed is None else str(resumed))
    done, total = trainer.state.global_step, trainer.state.max_steps
    if done < total:
        raise Stopped(f"told to stop after step {done} of {total}; run it again to go on from there")
    model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
    # trl sets a token to pad with, which a model directory that completes code does not need
    exported = lora.plain(model)
    exported.config.pad_token_id, exported.generation_config.pad_token_id = pad_token_ids
    unfinished, digest, adapter = checkpoint.export(model, job)
    if is_first:
        history = history_of(trainer.state.log_history)
        told = {"seconds": round(time.monotonic() - began, 3), "resumed_at_step": resumed and _steps(resumed)}
        outcome = {
            "model_digest": digest,
            "adapter_digest": adapter,
            "metrics": {**metrics(history), **told},
            "versions": {name: metadata.version(name) for name in ("trl", "transformers", "accelerate")},
        }
        record = preference.record_of(job, outcome)
        jobs.write_json(unfinished / "preference.json", history)
        before_history = json.loads((job.model.path / "history.json").read_text(encoding="utf-8"))
        checkpoint.publish(unfinished, job, record, before_history)
        report.preferred(record, is_reused=False)


def prepare(
    job: jobs.Job, report: Reporter, stop: Stop
) -> tuple[Any, tuple[int | list[int] | None, int | list[int] | None]]:
    """Return trl's trainer of a job, and what the model's two configurations name as the token to pad with.

    The reference's likelihoods are taken already, so that the start model stands in memory once.
    """
    import datasets
    import deepspeed
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    from echo_dagster.optimization import train_lora as lora
    from echo_dagster.optimization.train_model import freeze_all_but_last

    assert job.preference is not None
    deepspeed.utils.logger.setLevel("WARNING")
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # see train.prepare
    deepspeed.init_distributed()
    settings, training = job.preference["settings"], job.training
    frame = datasets.Dataset.from_parquet(str(job.samples), cache_dir=str(job.work / "pairs"))
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    per_rank = max(1, min(settings["micro_batch_pairs"], training.batch_size // ranks))
    turns = max(1, training.batch_size // (per_rank * ranks))
    optimizer = job.deepspeed["optimizer"]["params"]
    beta1, beta2 = optimizer.get("betas", (0.9, 0.999))
    # DeepSpeed is told of the forward passes that trl makes; all else of its configuration stays
    config = {
        **job.deepspeed,
        "train_micro_batch_size_per_gpu": per_rank,
        "gradient_accumulation_steps": turns,
    }
    has_sft = settings["sft_weight"] > 0
    arguments = DPOConfig(
        output_dir=str(job.work / "checkpoints"),
        deepspeed=config,
        bf16=False,  # the DeepSpeed file says the arithmetic, as for the fine-tune; weights stay fp32
        use_cpu=not torch.cuda.is_available(),
        per_device_train_batch_size=per_rank,
        gradient_accumulation_steps=turns,
        num_train_epochs=training.epochs,
        learning_rate=training.learning_rate,
        lr_scheduler_type=training.decay,
        warmup_steps=training.warmup_share,  # below 1 it is a share
        weight_decay=training.weight_decay,
        max_grad_norm=training.max_grad_norm,
        adam_beta1=beta1,
        adam_beta2=beta2,
        adam_epsilon=optimizer.get("eps", 1e-8),
        seed=training.seed,
        data_seed=training.seed,
        beta=settings["beta"],
        loss_type=["sigmoid", "sft"] if has_sft else ["sigmoid"],
        loss_weights=[1.0, settings["sft_weight"]] if has_sft else None,
        precompute_ref_log_probs=True,
        max_length=None,  # pairs fit already
        gradient_checkpointing=training.recompute_activations,
        save_strategy="no",  # the callback says when
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    model = AutoModelForCausalLM.from_pretrained(job.model.path, dtype=torch.float32, local_files_only=True)
    pad_token_ids = (model.config.pad_token_id, model.generation_config.pad_token_id)
    model.config.use_cache = False
    if training.last_layers is not None:
        freeze_all_but_last(model, training.last_layers)
    tokenizer = AutoTokenizer.from_pretrained(job.model.path, local_files_only=True)

    class OfTokens(DPOTrainer):
        """trl 1.16 tokenizes text at its beginning, and adds an end token to it; ours are ids already."""

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

    trainer = OfTokens(
        model=model,
        args=arguments,
        train_dataset=frame.remove_columns("sample_id"),
        processing_class=tokenizer,
        peft_config=None if training.lora_rank is None else lora.config(model, job),
        callbacks=[watching(job, report, stop)],
    )
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer, pad_token_ids


def watching(job: jobs.Job, report: Reporter, stop: Stop) -> Any:
    """Return the callback that saves in time, stops when told, refuses what is no number, and tells of progress."""
    import torch
    from transformers import TrainerCallback

    from echo_dagster.optimization.train_model import TrainingError

    class Watching(TrainerCallback):
        saved_time = time.monotonic()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            is_late = time.monotonic() - self.saved_time > job.training.checkpoint_minutes * 60
            flags = torch.tensor([int(stop.requested), int(is_late)], device=args.device)
            if args.world_size > 1:
                torch.distributed.all_reduce(flags, op=torch.distributed.ReduceOp.MAX)
            stopping, is_due = (bool(flag) for flag in flags.tolist())
            stopping = stopping and state.global_step < state.max_steps
            control.should_save = stopping or is_due
            control.should_training_stop = control.should_training_stop or stopping

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if not logs or "rewards/margins" not in logs:
                return
            for name in ("loss", "grad_norm"):
                if logs.get(name) is not None and not math.isfinite(logs[name]):
                    raise TrainingError(
                        f"the {name} of step {state.global_step} is {logs[name]}: training diverged; lower "
                        "preference.learning_rate; the last checkpoint and the fine-tune stay"
                    )
            report.line(
                f"loss {logs['loss']:.3f}, reward margin {logs['rewards/margins']:.3f}, reward accuracy "
                f"{logs['rewards/accuracies']:.2f}, optimizer steps: {state.global_step} of {state.max_steps}"
            )

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.saved_time = time.monotonic()
            if not state.is_world_process_zero:
                return
            folder = Path(args.output_dir)
            kept = folder / f"checkpoint-{state.global_step}"
            jobs.write_json(kept / _MARK, {"steps_done": state.global_step, "job_digest": job.digest})
            for other in folder.glob("checkpoint-*"):
                if other != kept:
                    shutil.rmtree(other)

    return Watching()


def latest(job: jobs.Job) -> Path | None:
    """Return the newest whole checkpoint of this job."""
    marks = (job.work / "checkpoints").glob(f"checkpoint-*/{_MARK}")
    of_job = [file.parent for file in marks if json.loads(file.read_text())["job_digest"] == job.digest]
    return max(of_job, key=_steps, default=None)


def _steps(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])


def history_of(logged: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one mapping per step, with our names for trl's."""
    return [
        {"step": row["step"], **{ours: row.get(theirs) for theirs, ours in _LOGGED.items()}}
        for row in logged
        if "rewards/margins" in row
    ]


def metrics(history: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of a finished training: means over the first and the last tenth of its steps."""
    tenth = max(1, len(history) // 10)
    found: dict[str, Any] = {"steps": len(history)}
    for name in ("loss", "reward_margin", "reward_accuracy"):
        for which, rows in (("first", history[:tenth]), ("final", history[-tenth:])):
            found[f"{which}_{name}"] = sum(row[name] for row in rows) / len(rows)
    return found


if __name__ == "__main__":
    sys.exit(main(objective=run))
