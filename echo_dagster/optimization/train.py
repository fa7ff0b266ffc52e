"""The training program. DeepSpeed's launcher runs one process of it per rank:

    deepspeed --num_accelerators 1 --no_local_rank --module echo_dagster.optimization.train --job JOB.json

`job.prepare` writes the job file. The program goes on from its last checkpoint, saves and exits with 143 when it
is told to stop, and leaves a directory that transformers loads. What does not live here: the order of samples
(`plan.py`), the loss (`train_pack.py`), files (`train_checkpoint.py`), messages (`train_report.py`), figures
(`train_progress.py`).
"""

from __future__ import annotations

import argparse
import math
import os
import socket
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echo_dagster.optimization import job as jobs
from echo_dagster.optimization import plan
from echo_dagster.optimization.train_progress import Progress, machine, metrics
from echo_dagster.optimization.train_report import Reporter, reporter
from echo_dagster.optimization.train_watch import STOPPED, Stop, watch

if TYPE_CHECKING:
    from echo_dagster.optimization.train_pack import Pack, Sample

#: What a step's loss is divided by, and what it counts as in the loss of several.
COUNTED = {"token": "target_tokens", "sample": "samples"}

#: What gloo and torch's store say of a rank that is gone; NCCL raises a DistError.
_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Timed out waiting", "gloo")


class Stopped(Exception):
    """Training was told to stop, and has saved its work."""


def main(
    arguments: list[str] | None = None, objective: Callable[[jobs.Job, Reporter, Stop], None] | None = None
) -> int:
    """Run one rank; return the exit status. `objective` runs a job; by default the fine-tune."""
    stop = Stop()
    watch(os.environ.get(jobs.OWNER_VARIABLE), is_through_ssh=jobs.SSH_VARIABLE in os.environ)
    parser = argparse.ArgumentParser(description="Train a job file, as one rank.")
    parser.add_argument("--job", type=Path, required=True)
    parser.add_argument("--local_rank", help="ignored; the launcher says it by environment as well")
    file = parser.parse_args(arguments).job
    rank = int(os.environ.get("RANK", "0"))
    with reporter(rank) as report:
        if (lacking := jobs.lacking(file)) is not None:
            _fail(report, rank, lacking)
            return 1
        job = jobs.Job.read(file)
        try:
            (objective or run)(job, report, stop)
        except Stopped as stopped:
            report.failed(str(stopped))
            return STOPPED
        except Exception as error:
            message = explain(error)
            _fail(report, rank, message or f"{type(error).__name__}: {error}")
            if message is None:
                raise
            jobs.note_failure(job, message)
            return 1
    return 0


def _fail(report: Reporter, rank: int, message: str) -> None:
    """Tell what ended training. Ranks other than 0 say it on their own: it may be theirs alone."""
    report.failed(message)
    if rank > 0:
        print(f"rank {rank} on {socket.gethostname()} stopped: {message}", file=sys.stderr, flush=True)


def run(job: jobs.Job, report: Reporter, stop: Stop) -> None:
    """Train a job to its end, unless it is done already."""
    from echo_dagster.optimization import train_checkpoint as checkpoint

    if (before := checkpoint.finished(job)) is not None:
        report.line("this job is done already, with the same samples, settings and code")
        record, history = before
        if os.environ.get("RANK", "0") == "0":
            record = checkpoint.renew(job, record)
        report.finished(record, history, is_reused=True)
        return
    report.line(f"loading {job.n_samples} samples and the model {job.model.name} ({job.model.digest})")
    if (validation := job.validation) is not None:
        report.line(
            f"{validation['samples']} of them are not trained on and say when to stop; {validation['left_out']} "
            "more of the same files are not used"
        )
    engine, samples, held_out = prepare(job)
    done, state = checkpoint.restore(engine, job)
    progress = Progress(**state)
    if done:
        progress.resumed_at.append(done)
        report.line(f"going on after step {done}")
    train(job, engine, samples, held_out, progress, report, stop)
    if (best := progress.best_step) is not None:
        report.line(told_of_best(progress))
        if best != progress.steps:
            checkpoint.load(engine, job, best)
    unfinished, digest, adapter = checkpoint.export(engine.module, job)
    if engine.global_rank == 0:
        record = {
            **jobs.provenance(job),
            "model_digest": digest,
            **({} if adapter is None else {"adapter_digest": adapter}),
            "metrics": metrics(progress, COUNTED[job.training.weighting]),
            "machine": machine(engine),
        }
        checkpoint.publish(unfinished, job, record, progress.history)
        report.finished(record, progress.history, is_reused=False)


def prepare(job: jobs.Job) -> tuple[Any, list[Sample], list[Sample]]:
    """Start the ranks' communication and give the model to DeepSpeed.

    Returns:
        The engine, the samples to train on, and those to measure on, which may be none.
    """
    import deepspeed
    import torch
    import transformers
    from transformers.integrations.deepspeed import HfDeepSpeedConfig

    from echo_dagster.optimization import train_model as model_

    deepspeed.utils.logger.setLevel("WARNING")
    # DeepSpeed 0.19 calls collectives that torch 2.13 has renamed; nothing here to mend
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
    transformers.utils.logging.disable_progress_bar()
    # On a CPU DeepSpeed compiles a shared-memory kernel at start, for a minute and with a C++ compiler. Only
    # inference calls it (`inference_all_reduce`), so DeepSpeed is told that it does not fit this machine. To be
    # dropped when DeepSpeed builds it on first use (0.19 builds it in TorchBackend.__init__).
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed()
    if deepspeed.comm.get_world_size() != job.training.ranks:
        raise model_.TrainingError(
            f"{deepspeed.comm.get_world_size()} ranks were started for a job of {job.training.ranks}: how its steps "
            "are cut depends on it; start as many, or change training.ranks or training.hostfile"
        )
    torch.manual_seed(job.training.seed)
    samples = model_.encode_samples(job, job.samples)
    held_out = [] if job.validation is None else model_.encode_samples(job, job.validation_samples)
    # while this lives, from_pretrained splits weights among ranks as it loads them (ZeRO 3)
    splitter = HfDeepSpeedConfig(job.deepspeed)
    model = model_.load(job)
    engine, *_ = deepspeed.initialize(
        model=model, model_parameters=model_.parameter_groups(model), config=job.deepspeed
    )
    del splitter
    return engine, samples, held_out


def train(
    job: jobs.Job,
    engine: Any,
    samples: list[Sample],
    held_out: list[Sample],
    progress: Progress,
    report: Reporter,
    stop: Stop,
) -> None:
    """Take every step that is not done yet, until `held_out` samples are found no likelier any more.

    Raises:
        Stopped: as told, after saving.
        TrainingError: the loss is no longer a number; the last checkpoint stays.
    """
    import torch

    from echo_dagster.optimization import train_checkpoint as checkpoint
    from echo_dagster.optimization.train_pack import pack

    settings = job.training
    lengths = [sample.n_inputs for sample in samples]
    batches = plan.Batching(settings.batch_size, engine.world_size, settings.micro_batch_tokens)
    total = plan.count_steps(len(samples), settings.epochs, settings.batch_size)
    measured_after = plan.validated_after(
        len(samples), epochs=settings.epochs, batch_size=settings.batch_size, times=settings.validations
    )
    saved_at, saved_time = progress.steps, time.monotonic()
    report.begin(progress.steps, progress.tokens, job.out)
    stop.is_training = True

    def save() -> None:
        nonlocal saved_at, saved_time
        if progress.steps > saved_at:
            report.flush()
            checkpoint.save(engine, job, progress.steps, vars(progress), progress.best_step)
        saved_at, saved_time = progress.steps, time.monotonic()

    if held_out and not progress.validations:
        _validate(engine, held_out, batches, progress, report)
    for step in plan.steps(lengths, batches, epochs=settings.epochs, seed=settings.seed):
        if step.number < progress.steps:
            continue
        if plan.is_patience_spent(progress.tried, settings.patience):
            break
        began = time.monotonic()
        torch.manual_seed(settings.seed + step.number)  # for models with dropout: the same after a restart
        counts = {
            "target_tokens": sum(samples[sample].n_target for sample in step.samples),
            "samples": len(step.samples),
        }
        divisor = counts[COUNTED[settings.weighting]]
        nats = 0.0
        is_due = False
        for turn, ranks in enumerate(step.micro_batches):
            is_late = time.monotonic() - saved_time > settings.checkpoint_minutes * 60
            stopping, is_due = _any_rank(engine, stop.requested, is_late)
            if stopping:
                save()
                raise Stopped(
                    f"told to stop after step {progress.steps} of {total}; run it again to go on from there"
                )
            engine.set_gradient_accumulation_boundary(turn == len(step.micro_batches) - 1)
            mine = ranks[engine.global_rank]
            packed = pack(
                [samples[sample] for sample in mine or (step.stand_in,)], settings.weighting, engine.device
            )
            # a rank without a sample takes part all the same: the others wait for its gradient
            nats += _forward_backward(engine, packed, divisor, weight=1.0 if mine else 0.0)
        loss = _sum_over_ranks(engine, nats) / divisor
        rate = plan.learning_rate(
            step.number,
            total,
            peak=settings.learning_rate,
            warmup_share=settings.warmup_share,
            decay=settings.decay,
        )
        norm = _update(engine, loss, rate, step=step.number + 1, saved_at=saved_at)
        _count(progress, step, samples, counts, seconds=time.monotonic() - began)
        progress.history.append(
            {
                "step": progress.steps,
                "epoch": step.epoch + 1,
                "loss_nats_per_token": loss,
                **counts,
                "learning_rate": rate,
                "gradient_norm": norm,
            }
        )
        report.progress(
            progress.steps,
            total,
            loss=loss,
            learning_rate=rate,
            tokens=progress.tokens,
            gradient_norm=norm,
        )
        if held_out and progress.steps in measured_after:
            _validate(engine, held_out, batches, progress, report)
            is_due = is_due or progress.best_step == progress.steps  # so that nothing can take the best away
        if is_due:
            save()


def _count(
    progress: Progress, step: plan.Step, samples: list[Sample], counts: dict[str, int], *, seconds: float
) -> None:
    """Add a step to what is done."""
    progress.steps += 1
    progress.tokens += sum(len(samples[sample].ids) for sample in step.samples)
    progress.target_tokens += counts["target_tokens"]
    progress.idle_tokens += step.n_empty * samples[step.stand_in].n_inputs
    progress.seconds += seconds


def _validate(
    engine: Any, held_out: list[Sample], batches: plan.Batching, progress: Progress, report: Reporter
) -> None:
    """Measure the model on what it is not trained on, and write it down."""
    from echo_dagster.optimization.train_model import TrainingError
    from echo_dagster.optimization.train_validation import nats_of_rank

    began = time.monotonic()
    nats = _sum_over_ranks(engine, nats_of_rank(engine, held_out, batches))
    value = nats / sum(sample.n_target for sample in held_out)
    if not math.isfinite(value):
        raise TrainingError(
            f"the likelihood of the validation samples after step {progress.steps} is {value}: training diverged; "
            "lower training.learning_rate"
        )
    progress.validations.append({"step": progress.steps, "nats_per_token": value})
    progress.validation_seconds += time.monotonic() - began
    if progress.history:
        progress.history[-1]["validation_nats_per_token"] = value
    report.scalars(progress.steps, {"validation/loss_nats_per_token": value})
    report.line(f"validation: {value:.4f} nats/token after step {progress.steps}")


def told_of_best(progress: Progress) -> str:
    """Return which weights are kept, and whether they are better than those that training began with."""
    best, start = min(progress.tried), progress.validations[0]["nats_per_token"]
    told = (
        f"the weights after step {progress.best_step} are kept, the best of {len(progress.tried)} tried: "
        f"{best:.4f} nats/token, at the start {start:.4f}"
    )
    return told if best < start else f"{told}; training did not help on what it had not seen"


def _update(engine: Any, loss: float, rate: float, *, step: int, saved_at: int) -> float | None:
    """Change the weights; return the length of the gradient, which DeepSpeed does not tell under ZeRO 0."""
    from echo_dagster.optimization.train_model import TrainingError

    what = None if math.isfinite(loss) else f"loss of step {step} is {loss}"
    if what is None:
        for group in engine.optimizer.param_groups:
            group["lr"] = rate
        engine.step()
        if not engine.was_step_applied():  # DeepSpeed would go on with the next
            what = f"gradient of step {step} is not finite"
    if what is not None:
        kept = f"the checkpoint after step {saved_at} stays" if saved_at else "no checkpoint was saved yet"
        raise TrainingError(
            f"the {what}: training diverged; lower training.learning_rate or training.max_grad_norm; {kept}"
        )
    norm = engine.get_global_grad_norm()
    return None if norm is None else float(norm)


def _forward_backward(engine: Any, packed: Pack, divisor: int, weight: float) -> float:
    """Run one forward pass and its backward pass; return the sum of its nats."""
    from echo_dagster.optimization.train_pack import nats

    told = nats(engine, packed) * weight
    # DeepSpeed takes the mean of the ranks' gradients: together, the gradient of the mean over what is counted
    engine.backward(told * (engine.world_size / divisor), scale_wrt_gas=False)
    return float(told.detach())


def _any_rank(engine: Any, *flags: bool) -> tuple[bool, ...]:
    """Return each flag as true where any rank has it: ranks must stop and save at the same step."""
    if engine.world_size == 1:
        return flags
    import torch
    from deepspeed import comm

    shared = torch.tensor([int(flag) for flag in flags], device=engine.device)
    comm.all_reduce(shared, op=comm.ReduceOp.MAX)
    return tuple(bool(flag) for flag in shared.tolist())


def _sum_over_ranks(engine: Any, value: float) -> float:
    if engine.world_size == 1:
        return value
    import torch
    from deepspeed import comm

    shared = torch.tensor([value], dtype=torch.float64, device=engine.device)
    comm.all_reduce(shared)
    return float(shared.item())


def explain(error: Exception) -> str | None:
    """Return what to change about an error that the settings can mend; None for any other."""
    import torch

    from echo_dagster.models import ModelError
    from echo_dagster.optimization.train_model import TrainingError

    if isinstance(error, TrainingError | ModelError):
        return str(error)
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error):
        return jobs.OUT_OF_MEMORY
    if isinstance(error, torch.distributed.DistError) or any(told in str(error) for told in _LOST):
        return (
            "another rank is gone or does not answer: what it or its host said tells why; run it again, on hosts that "
            "are there, to go on from the last checkpoint"
        )
    return None


if __name__ == "__main__":
    sys.exit(main())
