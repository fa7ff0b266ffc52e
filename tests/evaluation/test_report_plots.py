"""Every plot can be taken away with its figures, and what is said in words follows from the intervals."""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl
import pytest
from report_extras import add
from report_lake import DAY, build, put
from test_report import settings_of, words_of
from typer.testing import CliRunner

from echo_dagster import cli, configuration
from echo_dagster.evaluation import report, report_models, report_plots, report_user
from echo_dagster.evaluation.report_trends import trends
from echo_dagster.evaluation.report_verdict import verdicts
from echo_dagster.lake import Lake
from echo_dagster.settings import Evaluation

PLOTS = {
    "funnel": ["step", "gaps_kept", "gaps_rejected"],
    "mix": ["stratum", "samples_before", "samples_after"],
    "likelihood": ["verdict", "samples", "from_nats_per_token", "below_nats_per_token"],
    "denoising": None,
    "online": ["day", "cohort", "metric", "unit", "value", "low", "high"],
    "persistence": ["cohort", "seconds_after_acceptance", "value_share", "low_share", "high_share"],
    "cohorts": None,
    "calibration": ["predicted_share", "observed_share", "low_share", "high_share", "decisions"],
    "loss": ["step", "loss_nats_per_token", "validation_nats_per_token", "learning_rate"],
    "comparison": ["metric", "unit", "role", "value", "low", "high", "n_samples"],
    "offline": ["day", "edit_similarity_0_to_1", "role"],
}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    settings = settings_of(tmp_path_factory.mktemp("plots"))
    lake = Lake(settings.lake_dir)
    build(lake, history=settings.data_dir / "checkpoint")
    add(lake)
    return lake


@pytest.fixture(scope="module")
def page(lake: Lake) -> str:
    return report.render(lake, DAY, settings_of(lake.root.parent))


def test_the_command_line_writes_every_plot_as_picture_and_figures(lake, tmp_path, monkeypatch):
    monkeypatch.setattr(configuration, "load", lambda _: settings_of(lake.root.parent))
    done = CliRunner().invoke(cli.app, ["report", str(DAY), "--plots", str(tmp_path)])
    assert done.exit_code == 0, done.output
    names = {f"{DAY}-{name}.{kind}" for name in PLOTS for kind in ("png", "csv")}
    assert {file.name for file in tmp_path.iterdir()} == names
    assert {Path(line).name for line in done.output.split()} == names | {f"{DAY}.html"}
    assert all(file.read_bytes()[:4] == b"\x89PNG" for file in tmp_path.glob("*.png"))
    for name, columns in PLOTS.items():
        table = pl.read_csv(tmp_path / f"{DAY}-{name}.csv")
        assert len(table), name
        assert columns is None or table.columns == columns
    funnel = pl.read_csv(tmp_path / f"{DAY}-funnel.csv")
    assert funnel.row(1) == ("filtered", 24, 16)
    likelihood = pl.read_csv(tmp_path / f"{DAY}-likelihood.csv")
    assert likelihood["samples"].sum() == 300, "every scored sample of the window"
    denoising = pl.read_csv(tmp_path / f"{DAY}-denoising.csv")
    assert {"samples_before", "samples_ppl_high", "low_nats_per_token"} <= set(denoising.columns)


def test_the_verdict_stands_in_words_at_the_top(page):
    figures = words_of(page, "figures")
    assert (
        "The candidate against the base model: better . Edit similarity +0.057 [+0.027, +0.087] , n = 211."
        in figures
    )
    assert (
        "against the static baseline: better . Edit similarity +0.040 [+0.030, +0.050] , n = 90." in figures
    )
    assert "The calibrated user is not trusted, so edit similarity alone counts." in figures


def facts_of(lake: Lake) -> dict:
    return report._facts(lake, DAY, settings_of(lake.root.parent))


def compared(*cells: tuple[str, str]) -> dict:
    """A comparison of the candidate with the champion alone; `cells`: metric, verdict."""
    rows = [
        {"metric": metric, "differences": [{"metric": metric, "verdict": verdict, "n": 9}]}
        for metric, verdict in cells
    ]
    pairs, roles = [("candidate", "champion")], ["champion", "candidate"]
    return {"table": [{"slice": "all", "rows": rows}], "pairs": pairs, "roles": roles}


@pytest.mark.parametrize(
    ("retained", "similarity", "is_trusted", "word"),
    [
        ("better", "open", True, "better"),
        ("open", "worse", True, "worse"),
        ("worse", "better", True, "mixed"),
        ("open", "open", True, "cannot be told"),
        ("worse", "better", False, "better"),
        ("better", "open", False, "cannot be told"),
    ],
)
def test_the_word_follows_from_the_intervals(retained, similarity, is_trusted, word):
    day = compared(("predicted_retained_chars", retained), ("edit_similarity", similarity))
    told = {one["versus"]: one["word"] for one in verdicts(day, {"is_trusted": is_trusted})}
    assert told == {
        "the base model": "not compared",
        "the champion": word,
        "the static baseline": "not compared",
    }


def test_slices_are_folded_by_kind_and_lengths_stand_by_their_number(lake, page):
    families = report_models.compared(lake, DAY)["families"]
    assert [one["kind"] for one in families] == ["all", "held_out", "language", "length", "outcome", "cohort"]
    assert [one["title"] for one in families[3]["groups"]] == ["9-24", "25-64"]
    comparison = words_of(page, "comparison")
    assert "base static champion candidate" in comparison
    assert "Predicted retained characters 9.1 [8.3, 9.9] 9.4 [8.6, 10.2]" in comparison
    assert "By length of C_N (2)" in comparison


def test_the_user_says_why_it_is_not_trusted(page, lake):
    user = words_of(page, "user")
    assert "Not trusted it foretells 41.0 % for the model that was logged" in user
    assert (
        "The calibrated user 0.781 0.162 Length alone 0.602 0.207 Always the acceptance rate 0.500 0.212"
        in user
    )
    plots = report_plots.of_day(facts_of(lake), None)
    assert plots["calibration"].table["decisions"].sum() == 300
    assert report_user.user(lake, DAY)["n_decisions"] == 812


def test_a_decision_of_a_person_and_a_server_that_was_not_told(page):
    decision = words_of(page, "decision")
    assert "Served before c4amp Decided by Ada Lovelace" in decision
    assert "2026-01-09 15:30 Ada Lovelace rollback broken Go completions c4amp promoted" in decision
    assert "the serving side could not be told (status 503)" in decision


def test_cohorts_stand_beside_each_other(lake):
    found = trends(lake, DAY, Evaluation())
    at = found["points"].filter(day=DAY, metric="acceptance_rate").sort("series")
    assert at["series"].to_list() == ["external", "internal"]
    assert at["value"].to_list() == pytest.approx([0.24, 0.30])
    assert found["persistence"]["series"].value_counts(sort=True)["count"].to_list() == [6, 6]
    assert found["cohorts"]["cohort"].to_list() == ["external", "external", "internal", "internal"]
    assert found["cohorts"]["n_users"].to_list() == [2, 2, 3, 3]


def test_groups_of_few_users_have_no_rates_and_are_in_no_sum(tmp_path):
    settings = settings_of(tmp_path)
    lake = Lake(settings.lake_dir)
    build(lake)
    known, few = lake.read("online_metrics", [DAY]).collect().to_dicts()
    untold = {name: few[name] for name in ("model", "language", "cohort", "n_users", "n_shown")}
    put(lake, "online_metrics", [known, {**untold, "is_suppressed": True}])
    everybody = lake.read("trends", [DAY]).collect().to_dicts()
    hidden = [{"grain": row["grain"], "n_users": 1, "n_shown": 9, "is_suppressed": True} for row in everybody]
    put(lake, "trends", hidden)
    page = report.render(lake, DAY, settings)
    assert "c4amp typescript internal 3 200 — — — — — — — —" in words_of(page, "online")
    assert "Of 1 group the rates are not told" in words_of(page, "online")
    assert "Acceptance rate — too few users to tell" in words_of(page, "figures")


def test_metrics_without_cohorts_are_drawn_of_all_users_together(tmp_path):
    settings = settings_of(tmp_path)
    lake = Lake(settings.lake_dir)
    build(lake, cohort=None)
    found = trends(lake, DAY, settings.evaluation)
    assert (found["grain"], set(found["points"]["series"])) == ("all", {"all"})
    assert set(found["persistence"]["series"]) == {"all users"}
    assert "(6), all users together" in words_of(report.render(lake, DAY, settings), "online")


def test_figures_of_a_hostile_name_stay_one_cell():
    name = 'a,"b"\n</script>'
    plot = report_plots.Plot(
        report_plots.plots.mix(pl.DataFrame({"stratum": [name], "n_before": [1], "n_after": [1]})),
        pl.DataFrame({"stratum": [name]}),
    )
    assert pl.read_csv(io.StringIO(plot.csv())).item() == name
