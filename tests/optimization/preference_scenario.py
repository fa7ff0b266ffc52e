"""A fine-tune of the tiny model and trainings on pairs behind it, in one process, for the tests.

Run as `python preference_scenario.py PLAN.json`: `sft` is a job file; `rows` and `settings` are what pairs are made of;
`runs` names, for each training on pairs, its directory, its settings, and the step after which the process gets a real
SIGTERM, if any. Writes what the model was called with, and the job files, to `told` in the plan.
"""

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import torch  # noqa: TID253 - a process of its own

from echo_dagster.optimization import preference, train, train_preference
from echo_dagster.optimization.job import Job, write_json
from echo_dagster.optimization.train_report import Reporter
from echo_dagster.optimization.train_watch import Stop
from echo_dagster.settings import Settings


class Interrupting(Reporter):
    """A reporter that sends its own process SIGTERM after a step."""

    def __init__(self, after: int | None) -> None:
        super().__init__(is_silent=False)
        self.after = after

    def line(self, text):
        super().line(text)
        if self.after is not None and f"optimizer steps: {self.after} of" in text:
            os.kill(os.getpid(), signal.SIGTERM)


def once(job: Job, after: int | None, seen: list) -> None:
    """Train a job on pairs, and keep what the model reads."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    prepare = train_preference.prepare

    def listening(*arguments):
        trainer, pad_token_ids = prepare(*arguments)
        trainer.model.register_forward_pre_hook(
            lambda _, args, inputs: seen.append(
                {name: inputs[name].tolist() for name in ("input_ids", "attention_mask", "labels")}
            ),
            with_kwargs=True,
        )
        return trainer, pad_token_ids

    train_preference.prepare = listening
    try:
        train_preference.run(job, Interrupting(after), Stop())
    except train.Stopped as stopped:
        print(f"STOPPED {stopped}")
    except Exception as error:
        told = train.explain(error)
        if told is None:
            raise
        print(f"FAILED {told}")
    finally:
        train_preference.prepare = prepare


def main() -> None:
    os.environ.update(
        RANK="0", WORLD_SIZE="1", LOCAL_RANK="0", LOCAL_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="0"
    )
    plan = json.loads(Path(sys.argv[1]).read_text())
    sft = Job.read(Path(plan["sft"]))
    train.run(sft, Interrupting(None), Stop())
    rows = pl.read_parquet(plan["rows"])
    told = {}
    for name, asked in plan["runs"].items():
        prepared = preference.prepare(rows, sft, Settings.model_validate(asked["settings"]))
        assert not isinstance(prepared, preference.NoPairs) and prepared is not None
        moved = replace(
            prepared.job, out=Path(asked["out"]), samples=Path(asked["out"]) / "work/samples.parquet"
        )
        moved.samples.parent.mkdir(parents=True)
        pl.read_parquet(prepared.job.samples).write_parquet(moved.samples)
        write_json(moved.out / "job.json", preference._told(moved))
        seen: list = []
        for after in asked["turns"]:
            print(f"RUN {name}")
            once(Job.read(moved.out / "job.json"), after, seen)
        told[name] = {"file": str(moved.out / "job.json"), "seen": seen}
    write_json(Path(plan["told"]), told)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
