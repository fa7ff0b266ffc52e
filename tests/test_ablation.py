"""Ablations: which settings leave a step out, what the arms train on, what is compared, and the whole command."""

import json
import os
import sys
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from pathlib import Path

import polars as pl
import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent / "dag"))
from answered import answers
from logs import write_day

from echo_dagster import configuration, files, models
from echo_dagster.ablation import arms, steps, tables, trials
from echo_dagster.ablation.differences import COMPARED_SCHEMA, differences
from echo_dagster.acquisition import landing
from echo_dagster.cli import app
from echo_dagster.experiments import asking
from echo_dagster.extraction import gaps, policies
from echo_dagster.governance import leftovers
from echo_dagster.lake import Lake, TableMissing, TableOutdated
from echo_dagster.refinery import balance, denoise, quality, samples, scoring
from echo_dagster.settings import Evaluation, Settings

FIRST = date(2022, 9, 5)
DAYS = [FIRST + timedelta(days=ahead) for ahead in range(3)]
DAY = DAYS[-1]
#: Gaps of the two days before the last in which nothing changed.
UNCHANGED = 4
CONFIG = {
    "start_day": "2022-09-01",
    "truncation": {"prefix_tokens": 128, "suffix_tokens": 48, "middle_tokens": 64},
    "quality": {"min_chars_per_token": 0},  # the tiny tokenizer knows few words
    "window": {"days": 4, "held_out_user_share": 0.25},
    "perplexity": {"max_ifd": 10},  # a model with random weights has nothing to say about noise
    "training": {"min_samples": 8, "batch_size": 8, "learning_rate": 1.0e-3},
    "evaluation": {"max_new_tokens": 8, "max_samples": 16, "min_samples": 4, "bootstrap_samples": 200},
}


@pytest.fixture(scope="module")
def house(tmp_path_factory, tiny_settings) -> Path:
    """A folder with a configuration and a lake of three days of gaps; the likelihoods of the first are known."""
    root = tmp_path_factory.mktemp("ablation")
    raw = {"data_dir": str(root / "data"), "base_model": tiny_settings.model_dump(mode="json"), **CONFIG}
    (root / "config.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    configured = configuration.load(root / "config.yaml")
    lake = Lake(configured.lake_dir)
    for day in DAYS:
        write_day(root, day)
        landing.import_files("native", [root / f"{day}.ndjson"], root / "events.parquet", consent=True)
        read = files.read_events(str(root / "events.parquet"))
        found = gaps.extract_frame(read.events, policies.PRESETS["echo"])
        # Some gaps hold what they held before, which a quality filter drops.
        is_like_before = pl.int_range(pl.len()) % 16 == 0
        found = found.with_columns(replaced=pl.when(is_like_before).then("final").otherwise("replaced"))
        lake.replace("gap_sessions", found.select(pl.lit(day).alias("day"), pl.all()), [day])
    base = models.resolve(configured.base_model, configured.data_dir)
    samples.refine_days(lake, [FIRST], models.load_tokenizer(base.path), configured)
    balance.balance_days(lake, [FIRST], configured)
    scoring.score_days(lake, [FIRST], base, configured)
    return root


@pytest.fixture(scope="module")
def settings(house) -> Settings:
    return configuration.load(house / "config.yaml")


@pytest.fixture(scope="module")
def lake(settings) -> Lake:
    return Lake(settings.lake_dir)


@pytest.fixture(scope="module")
def made(lake, settings, tmp_path_factory) -> tuple[list[arms.Refined], arms.Ground]:
    """The whole refinery, three steps that do something here, and a rule that drops nothing."""
    drops = ("truncation", "quality", "denoise", "ifd_above_one")
    dropping = [arms.Arm(name, steps.without(settings, name)) for name in drops]
    base = models.resolve(settings.base_model, settings.data_dir)
    days = arms.days_of(lake, None, settings.window.days, settings.start_day)
    room = tmp_path_factory.mktemp("room")
    return arms.refine(lake, room, [arms.Arm(None, settings), *dropping], days, base, asking.silent)


class TestSteps:
    @pytest.mark.parametrize("name", [*steps.STEPS, *steps.RULES])
    def test_a_step_is_left_out_by_settings_alone_and_nothing_else_changes(self, settings, name):
        without = steps.without(settings, name)
        changed = {
            section
            for section in Settings.model_fields
            if getattr(without, section) != getattr(settings, section)
        }
        assert len(changed) == 1 and changed < {"truncation", "quality", "balance", "perplexity", "window"}
        assert without.digest != settings.digest and quality.mistakes(without.quality.filters) == []

    @pytest.mark.parametrize("name", steps.NEVER)
    def test_what_protects_people_and_the_comparison_is_never_dropped(self, settings, name):
        with pytest.raises(steps.StepStays, match=f"^{name} is never dropped: "):
            steps.without(settings, name)

    def test_an_unknown_step_names_those_that_exist(self, settings):
        with pytest.raises(steps.StepStays, match="did you mean denoise") as told:
            steps.without(settings, "denoising")
        assert all(name in str(told.value) for name in (*steps.STEPS, *steps.RULES))

    def test_a_rule_that_the_configuration_leaves_out_cannot_be_dropped(self, settings):
        without = steps.without(settings, "generated")
        assert set(settings.quality.filters) - set(without.quality.filters) == {"generated"}
        with pytest.raises(steps.StepStays, match="leaves generated out already"):
            steps.without(without, "generated")


class TestDays:
    def test_the_window_is_the_days_before_that_hold_gaps(self, lake, settings):
        found = arms.days_of(lake, None, 4, settings.start_day)
        assert (found.held_out, found.window) == (DAY, (DAYS[0], DAYS[1]))
        assert found.empty == (date(2022, 9, 3), date(2022, 9, 4))
        assert arms.days_of(lake, DAYS[1], 1, settings.start_day) == arms.Days(DAYS[1], (DAYS[0],), ())

    def test_a_day_without_gaps_names_the_command_that_makes_them(self, lake, settings):
        with pytest.raises(
            ValueError, match="materialize --from 2022-09-05 --to 2022-09-09 --select raw_events"
        ):
            arms.days_of(lake, date(2022, 9, 9), 4, settings.start_day)
        with pytest.raises(ValueError, match="no gaps to learn from in the 4 days before 2022-09-05"):
            arms.days_of(lake, FIRST, 4, settings.start_day)

    def test_a_lake_without_gaps_is_told(self, tmp_path):
        with pytest.raises(TableMissing, match="gap_sessions"):
            arms.days_of(Lake(tmp_path), DAY, 4, FIRST)


class TestArms:
    def test_each_arm_has_what_its_step_would_have_dropped(self, made):
        full, without_truncation, without_quality, without_denoise, same = made[0]
        assert [one.arm.name for one in made[0]][1:3] == ["without truncation", "without quality"]
        assert full.rejected["unchanged"] == UNCHANGED and "unchanged" not in without_quality.rejected
        dropped = sum(full.rejected.get(reason, 0) for reason in denoise.REASONS)
        assert dropped > 0 and without_denoise.n_samples == full.n_samples + dropped
        assert not set(denoise.REASONS) & set(without_denoise.rejected)
        assert pl.read_parquet(same.file).equals(pl.read_parquet(full.file))
        longest = {one.arm.name: pl.read_parquet(one.file)["prefix_tokens"].max() for one in made[0]}
        assert longest["full"] <= 128 < longest["without truncation"]
        assert full.rejected.keys() >= {"held_out_user"} <= without_truncation.rejected.keys()

    def test_only_texts_without_a_known_likelihood_are_scored(self, made, lake):
        full, without_truncation, without_quality, without_denoise, same = made[0]
        known = lake.read("scored_samples", [FIRST]).collect()
        assert full.n_scored_anew > 0 and without_denoise.n_scored_anew == same.n_scored_anew == 0
        in_window = pl.read_parquet(full.file)
        assert in_window.filter(pl.col("sample_day") == FIRST).height <= known.height
        assert known.join(in_window, on=["sample_id", "middle_nats_per_token"], how="semi").height > 0
        assert without_truncation.n_scored_anew > 0  # their contexts are others
        assert 0 < without_quality.n_scored_anew <= UNCHANGED

    def test_held_out_gaps_are_refined_by_the_whole_refinery_and_in_no_arm(self, made):
        trained, ground = made
        assert ground.held_out["prefix_tokens"].max() <= 128
        assert (ground.held_out["closed_at"].dt.date() == DAY).all() and ground.held_out[
            "is_held_out_user"
        ].any()
        for one in trained:
            learnt = pl.read_parquet(one.file)
            assert learnt["sample_day"].max() < DAY
            assert ground.held_out.join(learnt, on="content_hash", how="semi").is_empty()
            assert not set(learnt["user_id"]) & set(ground.held_out.filter("is_held_out_user")["user_id"])

    def test_the_lake_that_is_read_stays_as_it_was(self, made, lake):
        assert "training_set" not in lake.tables() and lake.days("scored_samples") == [FIRST]
        assert made[1].versions == {
            table: lake.version(table) for table in ("gap_sessions", "scored_samples")
        }

    def test_gaps_of_another_version_are_refused_with_the_remedy(self, lake, settings, tmp_path):
        old = Lake(tmp_path / "lake")
        old.replace("gap_sessions", lake.read("gap_sessions", DAYS).drop("reshown_of").collect(), DAYS)
        days = arms.days_of(old, None, 4, settings.start_day)
        base = models.resolve(settings.base_model, settings.data_dir)
        with pytest.raises(
            TableOutdated, match=r"lacks reshown_of.*materialize --from 2022-09-05 --to 2022-09-07"
        ):
            arms.refine(old, tmp_path / "room", [arms.Arm(None, settings)], days, base, asking.silent)


class TestBudget:
    def test_every_arm_gets_as_many_samples_as_the_smallest_has(self, settings):
        two = [
            arms.Refined(arms.Arm(name, settings), Path(), n, 0, {})
            for name, n in ((None, 40), ("denoise", 48))
        ]
        assert trials._budget(two, None, settings) == 40
        assert trials._budget(two, 20, settings) == 20
        with pytest.raises(ValueError, match="the arm 'full' has 40 samples, not 41: lower --samples"):
            trials._budget(two, 41, settings)
        with pytest.raises(ValueError, match=r"fewer than training.min_samples \(8\)"):
            trials._budget(two, 7, settings)


def difference(full, without, metric="edit_similarity", **changes):
    options = Evaluation(bootstrap_samples=200, min_slice_samples=100)
    found = differences("denoise", answers(*[0.0] * len(full[0])), full, without, options)
    assert found.schema == COMPARED_SCHEMA and found["slice"].unique().to_list() == ["all"]
    (row,) = found.filter(pl.col("metric") == metric).to_dicts()
    return row


class TestDifferences:
    def test_equal_answers_differ_by_nothing_for_certain(self):
        one = answers(0.2, 0.9, 1.0)
        row = difference([one], [one])
        assert (row["difference"], row["low"], row["high"]) == (0.0, 0.0, 0.0)
        assert tables.verdict(row) == "no difference within the interval"
        assert tables.verdict(row, is_same=True) == "the same samples with and without it"

    def test_full_minus_without_with_the_base_beside(self):
        row = difference([answers(0.5, 0.6, 0.7, 0.8)], [answers(0.4, 0.5, 0.5, 0.7)])
        assert row["full"] == pytest.approx(0.65) and row["without"] == pytest.approx(0.525)
        assert row["base"] == 0 and row["difference"] == pytest.approx(0.125) and row["low"] > 0
        assert tables.verdict(row) == "better with denoise"

    def test_of_nats_less_is_better(self):
        full, without = [answers(0.5, 0.5, nats=2.0)], [answers(0.5, 0.5, nats=1.5)]
        row = difference(full, without, "middle_nats_per_token")
        assert row["difference"] == 0.5 and tables.verdict(row) == "worse with denoise"

    def test_of_several_seeds_the_mean_is_compared_gap_by_gap(self):
        row = difference([answers(0.2, 0.4), answers(0.6, 0.8)], [answers(0.2, 0.4), answers(0.2, 0.4)])
        assert row["full"] == pytest.approx(0.5) and row["by_seed"] == pytest.approx([0.0, 0.4])

    def test_one_unit_gives_no_interval(self):
        row = difference([answers(0.5)], [answers(0.4)])
        assert row["low"] is None and tables.verdict(row) == "one independent unit gives no interval"

    def test_other_gaps_are_refused(self):
        with pytest.raises(ValueError, match="did not answer the same gaps"):
            difference([answers(0.5, 0.5)], [answers(0.5)])


def command(*arguments: object, fails: bool = False):
    found = CliRunner().invoke(app, ["ablate", *map(str, arguments)], env={"COLUMNS": "200"})
    assert (found.exit_code != 0) is fails, found.output
    return found


class TestCommand:
    def test_the_help_lists_every_step(self):
        told = command("--help").output
        assert all(name in told for name in (*steps.STEPS, *steps.RULES))

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (("--drop", "no_consent"), "no_consent is never dropped"),
            (("--drop", "denoise", "--day", "2022-09-20"), "materialize --from"),
            (("--drop", "denoise", "--samples", "9999"), "lower --samples"),
        ],
    )
    def test_what_cannot_be_done_is_told_and_leaves_nothing(self, house, settings, arguments, told):
        found = command(*arguments, "--config", house / "config.yaml", fails=True)
        assert told in found.stderr and "Traceback" not in found.stderr
        assert not list(settings.data_dir.glob("spill/*"))

    def test_a_step_that_drops_nothing_makes_no_difference(self, house, settings):
        """One training: both arms are the same job."""
        arguments = (
            "--drop",
            "ifd_above_one",
            "--samples",
            "12",
            "--json",
            "-",
            "--config",
            house / "config.yaml",
        )
        found = command(*arguments)
        told = json.loads(found.stdout)
        full, same = told["arms"]
        assert full["trainings"] == same["trainings"] and full["samples_digest"] == same["samples_digest"]
        assert told["samples"] == 12 and full["trainings"][0]["tokens"] > 12
        assert {row["metric"] for row in told["compared"]} >= {"edit_similarity", "middle_nats_per_token"}
        for row in told["compared"]:
            assert (row["difference"], row["low"], row["high"]) == (0, 0, 0)
            assert row["verdict"] == "the same samples with and without it"
        assert told["provenance"]["settings_digest"] == settings.digest and told["seeds"] == [17]
        assert told["held_out_gaps"] == 16 and told["empty_days"] == ["2022-09-03", "2022-09-04"]
        assert "+0.000 [+0.000, +0.000]" in found.stderr and "Days without gaps: 2022-09-03" in found.stderr
        assert (
            not list(settings.data_dir.glob("spill/*")) and not (settings.data_dir / "checkpoints").exists()
        )


def test_what_a_killed_ablation_left_is_removed(tmp_path):
    (tmp_path / "spill" / "ablation-killed").mkdir(parents=True)
    assert leftovers.remove(tmp_path, datetime.now(UTC)) == [tmp_path / "spill" / "ablation-killed"]


is_slow = pytest.mark.skipif(
    "ECHO_SLOW_TESTS" not in os.environ, reason="trains tiny models: ECHO_SLOW_TESTS=1"
)


@is_slow
def test_a_training_that_fails_says_why_and_leaves_nothing(lake, settings):
    diverging = settings.model_copy(
        update={"training": settings.training.model_copy(update={"learning_rate": 1e30})}
    )
    with pytest.raises(ValueError, match=r"(?s)training of 'full' ended with exit status.*training diverged"):
        trials.ablate(lake, ["ifd_above_one"], diverging)
    assert not list(settings.data_dir.glob("spill/*"))


@is_slow
def test_two_steps_and_two_seeds_from_gaps_to_intervals(lake, settings):
    done = trials.ablate(lake, ["denoise", "truncation", "denoise"], settings, n_seeds=2)
    assert [one.refined.arm.dropped for one in done.arms] == [None, "denoise", "truncation"]
    assert len({record["model_digest"] for one in done.arms for record in one.records}) == 6
    assert {record["samples"]["count"] for one in done.arms for record in one.records} == {done.n_samples}
    assert (done.compared["low"] <= done.compared["difference"]).all()
    assert (done.compared["difference"] <= done.compared["high"]).all()
    assert done.compared.filter(pl.col("metric") == "middle_nats_per_token", pl.col("difference") != 0).height
    console = Console(width=200, file=StringIO())
    console.print(*tables.tables(done))
    told = console.file.getvalue()
    assert "without truncation" in told and "2 seeds" in told and "held-out gaps of 2022-09-07" in told
    json.dumps(tables.record(done), allow_nan=False)
