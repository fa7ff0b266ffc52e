"""Real DeepSpeed runs of the tiny model: some in one process (`scenario.py`), one by launcher and Dagster Pipes."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from overfitting import EARLY, filed

from echo_dagster import models
from echo_dagster.lake import Lake
from echo_dagster.optimization import job, record
from echo_dagster.optimization.job import Job, Prepared
from echo_dagster.optimization.validation import split

SCENARIO = Path(__file__).with_name("scenario.py")
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ran:
    """A job after its run, and what the process said about it."""

    job: Job
    said: str

    @property
    def record(self) -> dict:
        return job.result(self.job.out)

    @property
    def losses(self) -> list[float]:
        history = json.loads((self.job.result / "history.json").read_text())
        return [row["loss_nats_per_token"] for row in history]


def variables() -> dict[str, str]:
    """One thread: the tiny model gains nothing by two, and machines that run tests are busy."""
    return os.environ | {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def runs(make_job, samples, tmp_path_factory) -> dict[str, Ran]:
    """A dozen jobs, trained in one process."""
    home = tmp_path_factory.mktemp("jobs")
    files = {
        "zero2": make_job(home / "zero2"),
        "again": make_job(home / "again"),
        "zero0": make_job(home, deepspeed="zero0.json"),
        "zero3": make_job(home, deepspeed="zero3.json"),
        "cut": make_job(home, micro_batch_tokens=150),
        "recomputed": make_job(home, recompute_activations=True),
        "by_sample": make_job(home, weighting="sample"),
        "last_layer": make_job(home, last_layers=1),
        "diverged": make_job(home, learning_rate=1e30),
        "stopped": make_job(home / "stopped"),
        "stopped_zero3": make_job(
            home / "stopped", deepspeed="zero3.json", micro_batch_tokens=150, last_layers=1
        ),
        "whole_zero3": make_job(
            home / "whole", deepspeed="zero3.json", micro_batch_tokens=150, last_layers=1
        ),
        "lora": make_job(home / "lora", lora_rank=4, learning_rate=2e-2, deepspeed="zero0.json"),
        "lora_zero3": make_job(home, lora_rank=4, learning_rate=2e-2, deepspeed="zero3.json"),
        "lora_recomputed": make_job(
            home, lora_rank=4, learning_rate=2e-2, deepspeed="zero0.json", recompute_activations=True
        ),
        "lora_dropout": make_job(
            home, lora_rank=4, lora_dropout=0.3, lora_targets=("q_proj", "down_proj"), learning_rate=2e-2
        ),
        "stopped_lora": make_job(
            home / "stopped",
            lora_rank=4,
            lora_dropout=0.3,
            lora_targets=("q_proj", "down_proj"),
            learning_rate=2e-2,
        ),
        "stopped_by_disk": make_job(home / "stopped", checkpoint_minutes=1e-6),
        "stopped_by_memory": make_job(home / "stopped", checkpoint_minutes=2e-6),
        "early": make_job(home / "early", rows=filed(samples), **EARLY),
        "crashed_early": make_job(home / "stopped", rows=filed(samples), **EARLY),
        "early_zero3": make_job(
            home, rows=filed(samples), **{**EARLY, "deepspeed": "zero3.json", "micro_batch_tokens": 150}
        ),
        "cut_short": make_job(home, rows=filed(samples), **{**EARLY, "epochs": 1, "patience": 50}),
        "lora_unknown": make_job(home, lora_rank=4, lora_targets=("q_proj", "query")),
        "too_long": make_job(home, rows=samples.with_columns(middle=pl.lit("value = " * 300))),
    }
    turns = [str(file) for name, file in files.items() if not name.startswith(("stopped", "crashed"))]
    turns += [f"{files['crashed_early']}={step}:crash" for step in (7, 19)] + [str(files["crashed_early"])]
    for name, step in (
        ("stopped", 5),
        ("stopped_zero3", 7),
        ("stopped_lora", 5),
        ("stopped_by_disk", "5:disk"),
        ("stopped_by_memory", "5:memory"),
    ):
        turns += [f"{files[name]}={step}", str(files[name])]
    command = [sys.executable, str(SCENARIO), *turns]
    ended = subprocess.run(command, env=variables(), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return {name: Ran(Job.read(file), ended.stdout + ended.stderr) for name, file in files.items()}


def test_the_loss_falls_on_what_can_be_learnt(runs):
    losses = runs["zero2"].losses
    assert len(losses) == 12 and losses[0] > 5.5 and losses[-1] < losses[0] - 2.5
    metrics = runs["zero2"].record["metrics"]
    assert metrics["steps"] == 12 and metrics["final_loss_nats_per_token"] == pytest.approx(losses[-1])


def test_the_result_is_a_directory_that_transformers_loads(runs):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    ran = runs["zero2"]
    model = AutoModelForCausalLM.from_pretrained(ran.job.result)
    assert model.dtype == AutoModelForCausalLM.from_pretrained(ran.job.model.path).dtype
    assert model.config.use_cache and model.generation_config.eos_token_id is not None
    assert AutoTokenizer.from_pretrained(ran.job.result).vocab_size == model.config.vocab_size
    tokenizer = (ran.job.result / "tokenizer.json").read_bytes()
    assert tokenizer == (ran.job.model.path / "tokenizer.json").read_bytes()
    assert not ran.job.work.exists()


def test_the_result_is_all_that_vllm_reads_and_holds_no_code(runs):
    """Weights by the names that transformers gives them, configurations, the tokenizer: vLLM asks for no more."""
    from safetensors import safe_open

    result = runs["zero2"].job.result
    files = {file.name for file in result.iterdir()}
    layout = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"}
    assert files == layout | {"model.safetensors", "provenance.json", "history.json"}
    told = {name: json.loads((result / name).read_text()) for name in layout}
    assert told["config.json"]["architectures"] == ["LlamaForCausalLM"]
    assert not any("auto_map" in settings for settings in told.values())  # what names code to run
    assert told["generation_config.json"]["eos_token_id"] == told["config.json"]["eos_token_id"] == 0
    assert told["tokenizer.json"]["added_tokens"][0]["content"] == "<|endoftext|>"
    with safe_open(result / "model.safetensors", framework="pt") as weights:
        assert weights.metadata() == {"format": "pt"}
        assert "model.layers.0.self_attn.q_proj.weight" in weights.keys()  # noqa: SIM118 - it is no mapping


def test_the_provenance_names_inputs_and_outcome(runs):
    ran = runs["zero2"]
    told = ran.record
    assert told["model_digest"] == models.digest(ran.job.result) != ran.job.model.digest
    assert told["started_from"] == {"name": "tiny", "digest": ran.job.model.digest}
    assert told["samples"] == {"count": 44, "digest": ran.job.samples_digest}
    assert told["lineage"] == {"day": "2026-01-01", "tables": {"training_set": 3}}
    places = {"hostfile", "master_addr", "ssh_port"}  # where ranks ran is no part of what was learnt
    assert told["training"] == ran.job.training.model_dump(mode="json", exclude=places)
    assert told["metrics"]["tokens"] > told["metrics"]["target_tokens"] > 44
    assert str(ran.job.out.parent) not in json.dumps(told)  # the record is true wherever the model is moved


def test_the_same_job_gives_the_same_weights(runs):
    assert runs["zero2"].job.out != runs["again"].job.out
    assert runs["zero2"].record["model_digest"] == runs["again"].record["model_digest"]
    assert runs["zero2"].losses == runs["again"].losses


def test_recomputing_activations_changes_nothing(runs):
    assert runs["recomputed"].losses == runs["zero2"].losses


@pytest.mark.parametrize("name", ["zero0", "zero3", "cut"])
def test_how_memory_is_shared_and_steps_are_cut_does_not_change_what_is_learnt(runs, name):
    assert runs[name].losses == pytest.approx(runs["zero2"].losses, abs=0.02)  # bf16 sums, in another order
    assert runs[name].losses[:2] == pytest.approx(runs["zero2"].losses[:2], abs=1e-3)


def test_only_the_last_block_and_the_norm_learn(runs):
    from safetensors.torch import load_file

    ran = runs["last_layer"]
    before, after = (load_file(path / "model.safetensors") for path in (ran.job.model.path, ran.job.result))
    assert before.keys() == after.keys()
    changed = {name for name in before if not before[name].equal(after[name])}
    assert changed == {name for name in before if name.startswith("model.layers.1.")} | {"model.norm.weight"}


def weights(path: Path) -> dict:
    from safetensors.torch import load_file

    return load_file(path / "model.safetensors")


@pytest.mark.parametrize("name", ["lora", "lora_zero3"])
def test_adapters_learn_and_end_as_plain_weights_of_the_layers_they_were_on(runs, name):
    ran = runs[name]
    # B begins at zero; and the frozen random head of the tiny model lets no loss fall below about 5
    assert ran.losses[0] == pytest.approx(runs["zero2"].losses[0], abs=1e-3)
    assert ran.losses[-1] < ran.losses[0] - 0.25
    before, after = weights(ran.job.model.path), weights(ran.job.result)
    assert {name: weight.dtype for name, weight in before.items()} == {
        name: weight.dtype for name, weight in after.items()
    }
    changed = {name for name in before if not before[name].equal(after[name])}
    assert changed == {name for name in before if name.endswith("_proj.weight")} and len(changed) == 14
    assert ran.record["training"]["lora_rank"] == 4 and "peft" in ran.record["versions"]


def test_the_adapter_that_is_kept_beside_the_weights_says_the_same_as_they(runs):
    """As peft itself loads and merges it, on the base model."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    ran = runs["lora"]
    base = AutoModelForCausalLM.from_pretrained(ran.job.model.path)
    merged = PeftModel.from_pretrained(base, ran.job.result / "adapter").merge_and_unload().state_dict()
    for name, weight in weights(ran.job.result).items():
        assert torch.allclose(weight, merged[name], atol=1e-6), name
    told = json.loads((ran.job.result / "adapter" / "adapter_config.json").read_text())
    assert told["base_model_name_or_path"] == "tiny" and told["lora_alpha"] == 32 and told["r"] == 4
    digest = sha256((ran.job.result / "adapter" / "adapter_model.safetensors").read_bytes()).hexdigest()
    assert ran.record["adapter_digest"] == digest[:16]
    assert models.digest(ran.job.result) == ran.record["model_digest"]
    # what transformers loads has no adapter, though one lies beside it
    loaded = AutoModelForCausalLM.from_pretrained(ran.job.result)
    assert not any("lora" in name for name, _ in loaded.named_parameters())


def test_memory_is_shared_and_activations_recomputed_under_adapters_too(runs):
    assert runs["lora_recomputed"].losses == runs["lora"].losses
    assert runs["lora_zero3"].losses == pytest.approx(runs["lora"].losses, abs=0.05)


def test_adapters_go_where_the_settings_say(runs):
    ran = runs["lora_dropout"]
    before, after = weights(ran.job.model.path), weights(ran.job.result)
    changed = {name for name in before if not before[name].equal(after[name])}
    assert changed == {name for name in before if name.endswith(("q_proj.weight", "down_proj.weight"))}
    told = "FAILED training.lora_targets: the model has no linear layer called query; it has down_proj, "
    assert told in runs["lora_unknown"].said


@pytest.mark.parametrize(
    ("stopped", "whole"),
    [("stopped", "zero2"), ("stopped_zero3", "whole_zero3"), ("stopped_lora", "lora_dropout")],
)
def test_a_stopped_training_goes_on_to_the_very_same_weights(runs, stopped, whole):
    assert "STOPPED told to stop after step 5 of 12" in runs[stopped].said
    assert "STOPPED told to stop after step 7 of 12" in runs[stopped].said
    told = runs[stopped].record
    assert told["metrics"]["resumed_at_steps"] == ("7" if "zero3" in stopped else "5")
    assert told["model_digest"] == runs[whole].record["model_digest"]
    assert runs[stopped].losses == runs[whole].losses


def test_training_ends_when_patience_is_spent_and_keeps_the_best(runs):
    ran = runs["early"]
    history = json.loads((ran.job.result / "history.json").read_text())
    measured = {
        row["step"]: row["validation_nats_per_token"] for row in history if "validation_nats_per_token" in row
    }
    told = ran.record["metrics"]
    assert told["best_step"] == min(measured, key=measured.get) < told["steps"] == max(measured)
    assert len([step for step in measured if step > told["best_step"]]) == 2  # the patience
    assert told["steps"] < 12 * 4 and told["validation_best_nats_per_token"] == min(measured.values())
    assert told["validation_start_nats_per_token"] > 5.5
    assert ran.record["validation"] == ran.job.validation
    assert f"the weights after step {told['best_step']} are kept" in ran.said


@pytest.mark.parametrize("name", ["early", "early_zero3"])
def test_the_kept_weights_are_those_that_were_measured(runs, make_job, samples, name, tmp_path):
    """By transformers' own loss, one sample at a time."""
    from tiny import reference_nats
    from transformers import AutoModelForCausalLM

    from echo_dagster import fim

    ran = runs[name]
    rows = filed(samples)
    held_out = split(rows, ran.job.training).held_out
    assert held_out.height == ran.job.validation["samples"]
    tokenizer = models.load_tokenizer(ran.job.model.path)
    fmt = fim.fim_format(ran.job.fim, tokenizer)
    model = AutoModelForCausalLM.from_pretrained(ran.job.result)
    nats = tokens = 0
    for row in held_out.select("prefix", "suffix", "middle").iter_rows():
        encoded = fim.encode(fmt, tokenizer, *row)
        with_end = fim.Encoded(
            encoded.prompt_ids, [*encoded.target_ids, 0]
        )  # the reference leaves the last out
        nats += reference_nats(model, with_end) * len(encoded.target_ids)
        tokens += len(encoded.target_ids)
    assert nats / tokens == pytest.approx(ran.record["metrics"]["validation_best_nats_per_token"], abs=0.02)


def test_a_crash_before_and_after_the_best_changes_nothing(runs):
    crashed, whole = runs["crashed_early"], runs["early"]
    assert "CRASHED after step 7" in crashed.said and "CRASHED after step 19" in crashed.said
    best = whole.record["metrics"]["best_step"]
    assert 7 < best < 19 and crashed.record["metrics"]["resumed_at_steps"] == f"6, {best}"
    assert crashed.record["model_digest"] == whole.record["model_digest"]
    same = ("best_step", "steps", "validation_best_nats_per_token", "validation_start_nats_per_token")
    assert all(crashed.record["metrics"][name] == whole.record["metrics"][name] for name in same)
    assert crashed.losses == whole.losses


def test_with_more_patience_than_measurements_every_step_is_taken(runs):
    told = runs["cut_short"].record["metrics"]
    assert told["steps"] == 4 and told["best_step"] <= 4


def test_a_diverging_training_stops_and_leaves_no_model(runs):
    told = r"FAILED the (loss|gradient) of step \d .*training diverged; lower training.learning_rate"
    assert re.search(told, runs["diverged"].said)
    with pytest.raises(job.TrainingMissing):
        job.result(runs["diverged"].job.out)


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before_it(runs):
    ran = runs["stopped_by_disk"]
    told = (
        r"FAILED the checkpoint after step 5 could not be written to \S+/checkpoints, where [\d,]+ MiB are free "
        r"\(.+\); the checkpoint after step 4 stays; make room there, and run it again to go on"
    )
    assert re.search(told, ran.said)
    assert "nothing more can be written for TensorBoard: " in ran.said
    assert ran.record["metrics"]["resumed_at_steps"] == "4"
    assert ran.record["model_digest"] == runs["zero2"].record["model_digest"]


def test_a_training_without_memory_says_what_to_lower_and_goes_on_later(runs):
    ran = runs["stopped_by_memory"]
    assert "FAILED out of memory; lower training.micro_batch_tokens" in ran.said
    assert ran.record["model_digest"] == runs["zero2"].record["model_digest"]


def test_samples_longer_than_the_window_are_told_with_their_number(runs):
    assert (
        "FAILED 44 of 44 samples have a middle that does not fit in max_tokens (512)" in runs["too_long"].said
    )


@pytest.fixture(scope="module")
def piped(make_job, tmp_path_factory):
    """Two ranks, through the launcher, as a Pipes child of a real Dagster run."""
    file = make_job(tmp_path_factory.mktemp("piped"), ranks=2)
    training = Job.read(file).training

    @dg.asset(check_specs=[dg.AssetCheckSpec(job.FINISHED_CHECK, asset="trained")])
    def trained(context: dg.AssetExecutionContext, child: dg.PipesSubprocessClient):
        environment = job.environment(training) | {"PYTHONPATH": str(ROOT)}
        return child.run(context=context, command=job.command(file, training), env=environment).get_results()

    with dg.DagsterInstance.ephemeral() as instance:
        resources = {"child": dg.PipesSubprocessClient()}
        result = dg.materialize([trained], instance=instance, resources=resources, raise_on_error=False)
        yield result, Prepared(file, Job.read(file)), instance.all_logs(result.run_id)


def test_two_ranks_train_as_a_child_of_dagster(piped, runs):
    result, prepared, _ = piped
    assert result.success
    told = job.result(prepared.job.out)
    assert told["machine"]["ranks"] == 2
    history = json.loads((prepared.job.result / "history.json").read_text())
    losses = [row["loss_nats_per_token"] for row in history]
    assert losses == pytest.approx(runs["zero2"].losses, abs=0.02)


def test_dagster_is_told_the_outcome_and_the_check(piped):
    result, *_ = piped
    (materialized,) = result.asset_materializations_for_node("trained")
    metadata = materialized.metadata
    assert metadata["steps"].value == 12 and metadata["samples"].value == 44
    assert metadata["final_loss_nats_per_token"].value < metadata["first_loss_nats_per_token"].value
    assert metadata["loss_curve"].value.startswith("| steps | loss (nats/token) | learning rate |")
    (check,) = result.get_asset_check_evaluations()
    assert check.check_name == "trained_to_the_end" and check.passed
    assert check.metadata["steps"].value == 12


def test_dagster_hears_of_progress_in_lines_that_end_in_a_count(piped):
    *_, logs = piped
    messages = [entry.user_message for entry in logs]
    assert any(re.fullmatch(r"loss \d.*: 12 of 12", message) for message in messages)
    assert len([message for message in messages if message.startswith("loss")]) <= 5


def test_what_was_trained_goes_into_the_lake(piped, tmp_path):
    from datetime import date

    _, prepared, _ = piped
    lake = Lake(tmp_path / "lake")
    trained = record.write_trained(lake, date(2026, 1, 5), prepared)
    (row,) = lake.read("checkpoint").collect().to_dicts()
    assert row["status"] == "trained" and row["path"] == str(prepared.job.result)
    assert row["model_digest"] == trained.digest == models.digest(prepared.job.result)
    assert row["n_samples"] == 44 and row["steps"] == len(trained.history) == 12
    assert row["training_set_digest"] == prepared.job.samples_digest and row["training_set_version"] == 3
    assert json.loads(row["provenance"])["job_digest"] == prepared.job.digest
