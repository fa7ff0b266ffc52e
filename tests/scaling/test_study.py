"""A study's figures from answers by hand, what it removes, what it tells, and what it refuses before any training."""

import json
from datetime import date
from io import StringIO
from pathlib import Path

import polars as pl
import pytest
import yaml
from answered import answers
from rich.console import Console
from typer.testing import CliRunner

from echo_dagster import models
from echo_dagster.cli import app
from echo_dagster.evaluation.user import UserFit
from echo_dagster.experiments.asking import check_held_out
from echo_dagster.experiments.training import Ran, remove_models
from echo_dagster.lake import Lake
from echo_dagster.scaling import study, tables
from echo_dagster.scaling.shares import Size
from echo_dagster.scaling.study import Arm, Study
from echo_dagster.settings import Evaluation, Scaling, Settings, Training

DAY = date(2026, 1, 8)
EVALUATION = Evaluation(bootstrap_samples=200, min_slice_samples=100)
BASE = answers(0.1, 0.2, 0.3, 0.4)


def ran(out: Path, digest: str, seed: int, tokens: int, answered: pl.DataFrame) -> Ran:
    record = {
        "job_digest": f"job-{digest}",
        "model_digest": digest,
        "samples": {"digest": "few"},
        "training": {"seed": seed},
        "metrics": {"tokens": tokens, "steps": tokens // 100},
    }
    return Ran(record, answered, out / f"job-{digest}")


@pytest.fixture
def arms(tmp_path) -> list[Arm]:
    """Two shares, two seeds: every gap is worth 0.1 more at 100 samples and 0.3 more at 400."""
    better = {100: (0.05, 0.15), 400: (0.3, 0.3)}
    return [
        Arm(
            Size(n / 400, n),
            tuple(
                ran(
                    tmp_path, f"{n}-{seed}", seed, 1000 * n // 100, answers(*(BASE["edit_similarity"] + more))
                )
                for seed, more in enumerate(gains)
            ),
        )
        for n, gains in better.items()
    ]


@pytest.fixture
def done(arms, tiny_settings) -> Study:
    settings = Settings(
        start_day=DAY, base_model=tiny_settings, evaluation=EVALUATION, training=Training(min_samples=50)
    )
    scaling = pl.concat(study._rows(arm, BASE, EVALUATION) for arm in arms)
    few = "3 decisions are logged, a fit needs 30"
    user = UserFit(None, few, 3, 1, 1, None, None, few)
    return Study(
        *(DAY, models.ResolvedModel("tiny", Path(), "base"), settings, 400, tuple(arms), (Size(0.1, 40),)),
        *((0, 1), BASE.height, 2, user, {"training_set": 7}, scaling, study._fits(arms, EVALUATION)),
    )


def test_each_share_is_held_against_the_base_model_gap_by_gap(done):
    of_metric = done.scaling.filter(pl.col("metric") == "edit_similarity").sort("n_samples")
    small, large = of_metric.to_dicts()
    assert small["base"] == large["base"] == pytest.approx(0.25)
    assert (small["value"], large["value"]) == (pytest.approx(0.35), pytest.approx(0.55))
    assert small["difference"] == pytest.approx(small["difference_low"]) == pytest.approx(0.1)
    assert small["by_seed"] == pytest.approx([0.3, 0.4]) and small["n_held_out"] == 4
    assert (small["tokens"], small["steps"], large["tokens"]) == (1000, 10, 4000)
    assert large["jobs"] == ["job-400-0", "job-400-1"]
    assert small["low"] < small["value"] < small["high"]


def test_the_line_goes_through_the_means_over_seeds_and_unknown_metrics_have_none(done):
    assert set(done.fits["metric"]) == {"exact_match", "edit_similarity", "middle_nats_per_token"}
    (fitted,) = done.fits.filter(pl.col("metric") == "edit_similarity").to_dicts()
    # two doublings from 100 to 400 samples brought 0.2, for every gap alike
    assert fitted["per_doubling"] == pytest.approx(0.1) == pytest.approx(fitted["last_doubling"])
    assert (fitted["low"], fitted["high"]) == (pytest.approx(0.1), pytest.approx(0.1))
    assert fitted["in_words"] == "doubling the samples helped" and fitted["n_shares"] == 2


def test_tables_show_every_share_its_seeds_and_what_a_doubling_brought(done):
    console = Console(width=200, file=StringIO())
    console.print(*tables.tables(done))
    told = console.file.getvalue()
    assert "edit_similarity, on 4 held-out gaps of 2026-01-08" in told
    assert "middle_nats_per_token (less is better)" in told and "2 seeds" in told
    assert "0.300 to 0.400" in told and "+0.100 [+0.100, +0.100]" in told
    assert tables.left_out(done) == (
        "Shares left out, below training.min_samples (50) or as large as another: 0.1 (40 samples)."
    )


def test_the_record_is_plain_json_and_says_where_all_came_from(done):
    told = json.loads(json.dumps(tables.record(done), allow_nan=False))
    assert [share["samples"] for share in told["shares"]] == [100, 400]
    assert [one["model_digest"] for one in told["shares"][0]["trainings"]] == ["100-0", "100-1"]
    assert told["shares_left_out"] == [{"share": 0.1, "samples": 40}]
    assert told["provenance"]["table_versions"] == {"training_set": 7}
    assert told["provenance"]["base_model"] == {"name": "tiny", "digest": "base"}
    assert "data_dir" not in told["provenance"]["settings"]


@pytest.mark.parametrize(
    ("table", "day"), [("checkpoint", DAY), ("static_baseline", DAY), ("champion", date(2026, 1, 7))]
)
def test_models_go_but_not_what_a_table_names_for_whatever_day(arms, tmp_path, table, day):
    lake = Lake(tmp_path / "lake")
    runs = [run for arm in arms for run in arm.runs]
    for run in runs:
        (run.out / "model").mkdir(parents=True)
    # named by another spelling of its path
    named = {"day": day, "path": "elsewhere", "model_digest": runs[2].record["model_digest"]}
    lake.replace(table, pl.DataFrame([named]), [day])
    remove_models(lake, runs)
    assert [run.out.exists() for run in runs] == [False, False, True, False]


def test_shares_that_are_too_small_are_told_with_what_would_help(tiny_settings):
    settings = Settings(
        start_day=DAY,
        base_model=tiny_settings,
        scaling=Scaling(shares=(0.25, 0.5, 1)),
        training=Training(min_samples=100),
    )
    with pytest.raises(
        ValueError, match=r"120 samples, too few for two shares .*\(100\): 0.25 is 30, 0.5 is 60"
    ):
        study._sizes(120, DAY, settings)


@pytest.mark.parametrize(("n_gaps", "most", "told"), [(3, 9, "3 gaps"), (9, 3, "3 gaps")])
def test_too_few_gaps_to_compare_on_are_refused(n_gaps, most, told):
    with pytest.raises(ValueError, match=f"^{told} of 2026-01-08 .*2 more are like samples"):
        check_held_out(n_gaps, 2, DAY, Evaluation(min_samples=4, max_samples=most))


@pytest.fixture(scope="module")
def config(tmp_path_factory, tiny_settings) -> Path:
    root = tmp_path_factory.mktemp("scale")
    raw = {"data_dir": str(root / "data"), "base_model": tiny_settings.model_dump(mode="json")}
    file = root / "config.yaml"
    file.write_text(yaml.safe_dump({**raw, "start_day": str(DAY)}), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "training_set"),
        (("--shares", "1/2,x"), "--shares 1/2,x: expected shares such as 1/8,1/4,1/2,1"),
        (("--shares", "1/0,1"), "expected shares such as"),
        (("--shares", "1"), "scaling.shares: Value error, name two or more shares"),
        (("--shares", "1/2,0.5"), "none twice"),
        (("--shares", "1/2,2"), "scaling.shares.1: Input should be less than or equal to 1"),
        (("--plot", "nowhere/plot.png"), "there is no folder nowhere"),
        (("--json", "nowhere/record.json"), "there is no folder nowhere"),
    ],
)
def test_what_cannot_be_done_is_told_before_anything_is_trained(config, arguments, told):
    found = CliRunner().invoke(app, ["scale", *arguments, "--config", str(config)], env={"COLUMNS": "250"})
    assert found.exit_code == 1 and told in found.stderr and "Traceback" not in found.stderr
    assert not (config.parent / "data" / "checkpoints").exists()
