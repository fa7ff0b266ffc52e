import json
import os
import re
import socket
from datetime import date

import polars as pl
import psutil
import pytest
from family_tokenizers import of_family

from echo_dagster import models
from echo_dagster.fim import find
from echo_dagster.lake import Lake
from echo_dagster.optimization import hosts, job, record
from echo_dagster.optimization.job import Job, NothingToTrain, Prepared
from echo_dagster.optimization.schema import TRAINED_COLUMNS, samples_digest
from echo_dagster.settings import ModelSettings, Training

DAY = date(2026, 1, 5)


def test_a_job_says_all_that_training_needs(make_job, samples, tmp_path):
    file = make_job(tmp_path, epochs=3)
    read = Job.read(file)
    assert file == tmp_path / read.digest / "job.json"
    assert read.n_samples == samples.height and read.training.epochs == 3
    frozen = pl.read_parquet(read.samples)
    assert frozen.columns == ["sample_id", "language", "prefix", "suffix", "middle"]
    assert frozen.equals(samples.select(frozen.columns).sort("sample_id"))
    assert read.model.digest == models.digest(read.model.path)
    assert read.deepspeed["zero_optimization"]["stage"] == 2 and read.lineage["tables"] == {"training_set": 3}


def test_the_digest_names_what_can_change_the_weights_and_nothing_else(make_job, samples, tmp_path):
    digest = make_job(tmp_path / "a").parent.name
    assert make_job(tmp_path / "b").parent.name == digest  # another place
    assert (
        make_job(tmp_path / "a", rows=samples.sample(fraction=1, shuffle=True, seed=1)).parent.name == digest
    )
    others = [
        make_job(tmp_path / "a", seed=1),
        make_job(tmp_path / "a", deepspeed="zero1.json"),
        make_job(tmp_path / "a", rows=samples.with_columns(middle=pl.col("middle") + " ")),
        make_job(tmp_path / "a", rows=samples.head(-1)),
    ]
    assert len({digest, *(file.parent.name for file in others)}) == 5


def test_nothing_to_train_on_is_a_mistake_of_the_caller(make_job, samples, tmp_path):
    with pytest.raises(ValueError, match="empty"):
        make_job(tmp_path, rows=samples.clear())
    with pytest.raises(ValueError, match="twice"):
        make_job(tmp_path, rows=pl.concat([samples, samples.head(1)]))
    assert not any(tmp_path.iterdir())


def test_settings_that_do_not_fit_each_other_are_told_before_anything_is_written(make_job, tmp_path):
    with pytest.raises(ValueError, match="raise batch_size or lower ranks"):
        make_job(tmp_path, ranks=9, batch_size=8)
    assert not any(tmp_path.iterdir())


def filed(samples: pl.DataFrame) -> pl.DataFrame:
    number = pl.col("sample_id").str.slice(1).cast(pl.Int64)
    return samples.with_columns(
        repository=pl.lit("r"),
        document=pl.format("file {}.py", number % 11),
        origin=pl.when(number % 4 == 0).then(pl.lit("plain")).otherwise(pl.lit("window")),
    )


def test_what_says_when_to_stop_is_frozen_apart_and_named(make_job, samples, tmp_path):
    asked = {"validation_share": 0.4, "min_validation_samples": 8, "min_samples": 16}
    file = make_job(tmp_path, rows=filed(samples), **asked)
    read = Job.read(file)
    trained, held_out = pl.read_parquet(read.samples), pl.read_parquet(read.validation_samples)
    assert trained.columns == held_out.columns == list(TRAINED_COLUMNS)
    counted = read.validation
    assert counted == {"samples": held_out.height, "digest": samples_digest(held_out), "left_out": 4}
    assert trained.height + held_out.height + 4 == read.n_samples == samples.height
    assert read.samples_digest == samples_digest(
        samples
    )  # of the whole: by it evaluation knows the training set
    assert job.provenance(read)["validation"] == counted
    plain = make_job(tmp_path, rows=filed(samples))
    assert plain != file and job.provenance(Job.read(plain))["validation"] is None


def test_the_command_is_the_launcher_with_one_process_per_rank(tmp_path):
    command = job.command(tmp_path / "job.json", Training(ranks=3))
    text = " ".join(command)
    assert command[0].endswith("deepspeed") and "--num_accelerators 3" in text
    assert text.endswith(f"--module echo_dagster.optimization.train --job {tmp_path / 'job.json'}")
    ports = {
        re.search(r"--master_port (\d+)", " ".join(job.command(tmp_path, Training())))[1] for _ in range(5)
    }
    assert len(ports) > 1  # two trainings on one machine do not meet


def test_on_several_hosts_the_launcher_is_told_what_to_hand_on(tmp_path):
    (tmp_path / "hosts").write_text("a slots=2\nb slots=3\n")
    training = hosts.with_ranks(Training(hostfile=tmp_path / "hosts", master_addr="10.0.0.1", ssh_port=2222))
    command = job.command(tmp_path / "job.json", training)
    assert command[1:4] == ["-m", "echo_dagster.optimization.launch", str(tmp_path / "job.json")]
    text = " ".join(command[4:])
    assert f"deepspeed --hostfile {tmp_path / 'hosts'} --force_multi" in text
    assert "--master_addr 10.0.0.1 --ssh_port 2222" in text and "--num_accelerators" not in text
    assert f"--hostfile {os.devnull}" in " ".join(job.command(tmp_path / "job.json", Training()))


def test_the_digest_does_not_hang_on_where_ranks_run(make_job, tmp_path):
    (tmp_path / "hosts").write_text("a slots=1\nb slots=1\n")
    there = Job.read(
        make_job(tmp_path / "there", ranks=2, hostfile=tmp_path / "hosts", master_addr="10.0.0.1")
    )
    here = Job.read(make_job(tmp_path / "here", ranks=2))
    assert there.training.hostfile == tmp_path / "hosts" and here.training.hostfile is None
    assert there.digest == here.digest
    assert "hostfile" not in job.provenance(there)["training"]


def test_a_host_without_the_job_or_its_model_says_which_path_it_lacks(make_job, tmp_path):
    file = make_job(tmp_path)
    assert job.lacking(file) is None
    assert f"{tmp_path / 'none.json'}: not on host {socket.gethostname()}" in job.lacking(
        tmp_path / "none.json"
    )
    told = json.loads(file.read_text())
    told["model"]["path"] = str(tmp_path / "elsewhere")
    file.write_text(json.dumps(told))
    assert f"{tmp_path / 'elsewhere'}: not on host" in job.lacking(file)


def test_the_environment_names_its_owner_and_shares_the_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    one, four = job.environment(Training()), job.environment(Training(ranks=4, batch_size=8))
    host, pid, started = one[job.OWNER_VARIABLE].split(":")
    assert (
        host == socket.gethostname()
        and int(pid) == os.getpid()
        and float(started) == psutil.Process().create_time()
    )
    assert "OMP_NUM_THREADS" not in one and four["OMP_NUM_THREADS"] == "2"
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert "OMP_NUM_THREADS" not in job.environment(Training(ranks=4, batch_size=8))


def test_a_job_without_a_result_says_how_to_go_on(make_job, tmp_path):
    with pytest.raises(job.TrainingMissing, match="Run it again"):
        job.result(make_job(tmp_path).parent)


def test_the_code_version_is_a_commit_or_a_release():
    assert re.fullmatch(r"[0-9a-f]{40}(\+changed)?|\d+\.\d+.*", job.code_version())
    assert re.fullmatch(r"[0-9a-f]{16}", job.code_digest())


@pytest.fixture
def lake(tmp_path, samples) -> Lake:
    lake = Lake(tmp_path / "lake")
    rows = samples.with_columns(
        day=pl.lit(DAY),
        sample_day=pl.lit(date(2026, 1, 4)),
        user_id=pl.lit("u"),
        cohort=pl.lit(None, pl.String()),
    )
    lake.replace("training_set", rows, [DAY])
    return lake


def test_a_day_is_prepared_from_its_training_set(lake, settings, tmp_path):
    settings = settings.model_copy(update={"data_dir": tmp_path})
    base = models.resolve(settings.base_model, tmp_path)
    prepared = job.prepare_day(lake, DAY, base, base, settings)
    assert isinstance(prepared, Prepared)
    assert prepared.file.is_relative_to(tmp_path / "checkpoints" / "2026-01-05")
    assert prepared.job.lineage["sample_days"] == ["2026-01-04"]
    assert prepared.job.lineage["cohorts"] == {"none": prepared.job.n_samples}
    assert prepared.job.lineage["tables"] == {"training_set": lake.version("training_set")}


@pytest.mark.parametrize("start_from", ["base", "champion"])
def test_training_starts_from_the_base_model_or_from_what_serves(lake, settings, tmp_path, start_from):
    training = settings.training.model_copy(update={"start_from": start_from})
    settings = settings.model_copy(update={"data_dir": tmp_path, "training": training})
    base = models.resolve(settings.base_model, tmp_path)
    champion = models.ResolvedModel("served", tmp_path / "served", "c4amp10n")
    prepared = job.prepare_day(lake, DAY, base, champion, settings)
    assert isinstance(prepared, Prepared)
    assert prepared.job.model.digest == (base.digest if start_from == "base" else "c4amp10n")


def test_a_day_with_too_few_samples_trains_nothing_and_says_why(lake, settings, tmp_path):
    training = settings.training.model_copy(update={"min_samples": 45})
    settings = settings.model_copy(update={"data_dir": tmp_path, "training": training})
    base = models.resolve(settings.base_model, tmp_path)
    for day, told in ((DAY, "44 samples"), (date(2026, 1, 6), "0 samples")):
        skipped = job.prepare_day(lake, day, base, base, settings)
        assert isinstance(skipped, NothingToTrain) and told in skipped.reason and "45" in skipped.reason
        record.write_skipped(lake, day, skipped.reason)
    rows = lake.read("checkpoint").sort("day").collect()
    assert rows["status"].to_list() == ["skipped", "skipped"] and rows["path"].null_count() == 2
    assert not (tmp_path / "checkpoints").exists()


def test_weights_that_are_not_those_on_record_are_refused(make_job, lake, tmp_path):
    file = make_job(tmp_path)
    prepared = Prepared(file, Job.read(file))
    prepared.job.result.mkdir()
    (prepared.job.result / "tokenizer.json").write_text("{}")
    told = {"job_digest": prepared.job.digest, "model_digest": "0123456789abcdef"}
    (prepared.job.result / "provenance.json").write_text(json.dumps(told))
    with pytest.raises(record.CheckpointBroken, match="materialize `checkpoint` again"):
        record.write_trained(lake, DAY, prepared)
    assert not lake.exists("checkpoint")


def test_a_format_that_was_found_stands_in_the_job_as_if_it_were_configured(samples, settings, tmp_path):
    """So the digest, the training process and the provenance record never hang on how it was said."""
    tokenizer = of_family("seed-coder", tmp_path)
    model = models.ResolvedModel("found", tmp_path, "d1g35t")
    named = ModelSettings.model_validate({"name": "x", "source": {"path": "x"}, "fim": "seed-coder"}).fim
    found, said = (
        job.Job.read(job.prepare(samples, model, fim, settings, tmp_path / "out", {}))
        for fim in (None, named)
    )
    assert found.fim == said.fim == find(tokenizer)
    assert found.digest == said.digest


def test_a_day_whose_files_are_too_few_to_say_when_to_stop_trains_nothing_and_says_so(
    lake, settings, tmp_path
):
    rows = lake.read("training_set", [DAY]).collect()
    lake = Lake(tmp_path / "another")
    lake.replace("training_set", rows.with_columns(repository=pl.lit("r"), document=pl.lit("only.py")), [DAY])
    training = settings.training.model_copy(update={"validation_share": 0.2})
    settings = settings.model_copy(update={"data_dir": tmp_path, "training": training})
    base = models.resolve(settings.base_model, tmp_path)
    told = job.prepare_day(lake, DAY, base, base, settings)
    assert isinstance(told, NothingToTrain)
    assert (
        "the training set of 2026-01-05: whole files that make up at most 20% of the window have 0"
        in told.reason
    )
    assert "set validation_share: 0 to train without" in told.reason


def test_whoever_waits_for_the_launcher_learns_why_a_rank_failed(make_job, tmp_path):
    file = make_job(tmp_path)
    prepared = Job.read(file)
    for status in (247, 137, -9):
        assert "killed by signal 9" in job.why_failed(prepared, status)
        assert "lower training.micro_batch_tokens" in job.why_failed(prepared, status)
    assert job.why_failed(prepared, 1) == "the training process ended with exit status 1; its output says why"
    job.note_failure(prepared, "the disk is full")
    assert job.why_failed(prepared, 1) == "the disk is full"
    make_job(tmp_path)  # another run of the same job begins without it
    assert "disk" not in job.why_failed(prepared, 1)


def test_real_errors_of_memory_say_what_to_lower():
    import torch

    from echo_dagster.optimization import train

    with pytest.raises(RuntimeError) as full:
        torch.empty(1 << 50)
    for error in (full.value, MemoryError(), torch.OutOfMemoryError()):
        assert "lower training.micro_batch_tokens" in train.explain(error)
    assert train.explain(RuntimeError("another")) is None
