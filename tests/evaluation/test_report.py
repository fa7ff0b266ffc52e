"""The page says what the tables say, shows what may be shown, and breaks on nothing that a table can hold."""

from __future__ import annotations

import html
import json
import re
import shutil
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_lake import DAY, build, gap, put

from echo_dagster.evaluation import report, report_models, report_samples, report_texts
from echo_dagster.evaluation.report_texts import Caps, diff
from echo_dagster.lake import Lake
from echo_dagster.settings import FimTokens, ModelSettings, ModelSource, Settings

# Looks like a cloud provider's key; put together here so that no scanner takes this file for a leak.
SECRET = "AKIA" + "IOSFODNN7EXAMPLX"


def settings_of(data_dir: Path) -> Settings:
    markers = FimTokens(layout="spm", prefix="<p>", suffix="<s>", middle="<m>", end="<e>")
    model = ModelSettings(name="tiny", source=ModelSource(path="tiny"), fim=markers)
    return Settings(start_day=DAY - timedelta(days=30), data_dir=data_dir, base_model=model)


@pytest.fixture()
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path)


@pytest.fixture()
def lake(settings: Settings) -> Lake:
    """A lake that nothing has written to."""
    return Lake(settings.lake_dir)


@dataclass(frozen=True)
class Full:
    """A lake with every table, the figures in it, and its page."""

    settings: Settings
    lake: Lake
    told: dict[str, int]
    page: str

    def copy(self, to: Path) -> tuple[Lake, Settings]:
        """Return a lake of one's own to change."""
        settings = settings_of(to)
        shutil.copytree(self.lake.root, settings.lake_dir)
        return Lake(settings.lake_dir), settings


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Full:
    settings = settings_of(tmp_path_factory.mktemp("full"))
    lake = Lake(settings.lake_dir)
    told = build(lake, history=settings.data_dir / "checkpoint")
    return Full(settings, lake, told, report.render(lake, DAY, settings))


def gaps_of(page: str) -> list[dict]:
    """The gaps inside the page, as its script reads them."""
    found = re.search(r'<script type="application/json" id="gaps">(.*?)</script>', page, re.S)
    assert found is not None
    return json.loads(found.group(1))


def words_of(page: str, section: str) -> str:
    """What a reader sees of a section."""
    inside = re.search(rf'<section id="{section}".*?</section>', page, re.S)
    assert inside is not None
    text = re.sub(r"<script.*?</script>|<svg.*?</svg>|<[^>]+>", " ", inside.group(0), flags=re.S)
    return re.sub(r"\s+", " ", html.unescape(text))


def joined(parts: list, keep: tuple[int, ...]) -> str:
    return "".join(text for sign, text in parts if sign in keep)


def test_a_full_day_shows_the_figures_of_the_tables(full):
    told, page = full.told, full.page
    figures = words_of(page, "figures")
    assert f"Gaps closed {told['n_gaps']} from {told['n_events']} events" in figures
    assert "Acceptance rate 30.0 % 120 of 400 shown" in figures
    assert f"Samples scored {told['n_balanced']} 50.0 % of the gaps" in figures
    assert f"Training set {told['n_training']} samples of 1 day" in figures
    assert "+0.057 [+0.027, +0.087], n = 211" in figures
    assert "promoted serves ca4d1da7e" in figures

    funnel = words_of(page, "funnel")
    assert "native internal 3 120 40 16 24 40" in funnel, "users, events, shown, accepted, rejected, edited"
    assert "native unknown_kind 1" in funnel, "what was quarantined"
    assert "filter unchanged 4 10.0 %" in funnel
    assert "balance over_user_cap 4 16.7 %" in funnel

    online = words_of(page, "online")
    assert "c4amp python internal 3 200 60 30.0 % 31.0 % 42.0 % 70.0 % 5.0 % 81.0 % 64.0 %" in online
    assert "All days up to this one that were measured (6)" in online

    perplexity = words_of(page, "likelihood")
    assert f"ppl_high {told['n_high']}" in perplexity
    assert f"ppl_low {told['n_low']}" in perplexity
    assert f"kept {told['n_training']}" in perplexity
    assert "C_1 1.50 nats per token; IFD 0.50" in perplexity

    training = words_of(page, "training")
    assert "Optimizer steps 48" in training
    assert "Final loss 1.625 nats per token" in training
    assert "training_set.version 3" in training, "the provenance record"

    comparison = words_of(page, "comparison")
    assert "Edit similarity 0.413 [0.388, 0.434] 0.425 [0.399, 0.446] 0.470 [0.442, 0.493]" in comparison
    assert "16.0 % [15.0, 16.8]" in comparison
    assert "\u22120.341 [\u22120.371, \u22120.311]" in comparison
    assert "Held-out users" in comparison
    assert "edit similarity is 0.045 above the champion" in words_of(page, "decision")
    assert page.count("<svg") == 10, "every plot is there"


def test_a_lower_loss_is_called_better_and_an_interval_across_zero_neither(full):
    page = full.page
    assert '<span class="better">\u22120.341</span>' in page, "NLL: lower is better"
    assert '<span class="open">+2.4 pp</span>' in page
    assert 'class="worse">\u2212' not in page


def test_mix_counts_strata_before_and_after(full):
    before, after = (
        len(full.lake.read(table, [DAY]).filter(language="python", outcome="typed_through").collect())
        for table in ("filtered_samples", "balanced_samples")
    )
    assert (before, after) == (4, 3), "the balance dropped one of these"
    assert "python · typed_through 4 16.7 % 3 15.0 %" in words_of(full.page, "mix")


def test_an_empty_lake_makes_a_page_that_says_so_and_holds_no_figure(lake, settings):
    page = report.render(lake, DAY, settings)
    for section, sentence in {
        "funnel": "No gap closed on 2026-01-09.",
        "online": "No online metrics were measured for 2026-01-09. There is no trend: no online metrics were ever",
        "mix": "Nothing was balanced on 2026-01-09",
        "likelihood": "No sample of 2026-01-09 or of the days before it was scored.",
        "denoising": "No training set of 2026-01-09 was denoised.",
        "training": "Nothing was trained on 2026-01-09: no checkpoint is recorded for it.",
        "comparison": "No model was evaluated on 2026-01-09.",
        "user": "No calibrated user is recorded for 2026-01-09.",
        "decision": "No promotion was decided on 2026-01-09.",
        "samples": "No gap closed on 2026-01-09, so there is none to read.",
    }.items():
        assert sentence in words_of(page, section)
    assert not re.search(r"\b0\b", words_of(page, "figures")), "what was not measured is no zero"
    assert "<svg" not in page


def test_a_day_without_rows_in_tables_that_exist(full):
    page = report.render(full.lake, DAY + timedelta(days=1), full.settings)
    assert "There are no events of 2026-01-10." in page
    assert "No online metrics were measured for 2026-01-10." in words_of(page, "online")
    assert "measured (6)" in words_of(page, "online"), "the trend goes on"
    assert "No sample of 2026-01-10" in words_of(page, "likelihood")


def test_a_skipped_training_gives_its_reason(full, tmp_path):
    lake, settings = full.copy(tmp_path)
    put(lake, "checkpoint", [{"status": "skipped", "reason": "12 samples, training needs 32"}])
    training = words_of(report.render(lake, DAY, settings), "training")
    assert "Nothing was trained on 2026-01-09: 12 samples, training needs 32." in training
    assert "Optimizer steps" not in training


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "The checkpoint's directory holds no history.json."),
        ("{", "history.json in the checkpoint's directory cannot be read."),
        ("{}", "history.json in the checkpoint's directory has another shape."),
    ],
)
def test_a_broken_history_is_named(full, tmp_path, content, sentence):
    lake, settings = full.copy(tmp_path)
    row = lake.read("checkpoint", [DAY]).collect().with_columns(path=pl.lit("model"))
    lake.replace("checkpoint", row, [DAY])
    if content is not None:
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "history.json").write_text(content)
    facts = report_models.training(lake, DAY, settings)
    assert facts["history_missing"] == sentence
    assert facts["row"]["steps"] == 48, "the rest goes on"


def test_a_history_that_cannot_be_drawn_is_named(full, tmp_path):
    lake, settings = full.copy(tmp_path)
    row = lake.read("checkpoint", [DAY]).collect().with_columns(path=pl.lit("model"))
    lake.replace("checkpoint", row, [DAY])
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "history.json").write_text('[{"step": 1, "loss_nats_per_token": NaN}]')
    training = words_of(report.render(lake, DAY, settings), "training")
    assert "history.json cannot be drawn: a training history needs" in training
    assert "Optimizer steps 48" in training


def test_the_banner_appears_for_simulated_data_only(full, lake, settings):
    assert "Simulated data" not in full.page
    build(lake, cohort="simulated")
    page = html.unescape(report.render(lake, DAY, settings))
    assert "<strong>Simulated data</strong>" in page
    assert "the day's events, the day's gaps, the training set" in page
    assert "(simulated data)</title>" in page


def test_a_training_set_of_simulated_days_is_called_so_on_a_real_day(full, tmp_path):
    lake, settings = full.copy(tmp_path)
    rows = lake.read("training_set", [DAY]).collect().with_columns(cohort=pl.lit("Simulated developers"))
    lake.replace("training_set", rows, [DAY])
    assert "This holds for the training set.</p>" in report.render(lake, DAY, settings)


def test_the_page_needs_nothing_from_outside(full):
    page = re.sub(r'(?s)id="gaps">.*?</script>', "", full.page)
    addresses = set(re.findall(r"(?:https?:)?//[\w-]+\.[^\s\"'<]*", page))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not re.search(r"<(link|img|iframe|object|embed|base)\b|\bsrc=|@import|url\((?!#)", page)
    assert "default-src 'none'" in page


def test_hostile_text_stays_text(lake, settings):
    hostile = '</script><img src=x onerror=alert(1)><!-- \u2028 "&amp;" {{ 7 * 7 }}'
    build(
        lake,
        n_gaps=12,
        n_kept=8,
        document=hostile,
        language=hostile,
        user_id=hostile,
        model=hostile,
        source=hostile,
    )
    for table, column in (
        ("champion", "reason"),
        ("filtered_samples", "proposal"),
        ("predictions", "prediction"),
    ):
        rows = lake.read(table, [DAY]).collect().with_columns(pl.lit(hostile).alias(column))
        lake.replace(table, rows, [DAY])
    page = report.render(lake, DAY, settings)
    assert "<img" not in page
    assert "<!--" not in page
    assert page.count("</script>") == 3, "the page's own three"
    first = gaps_of(page)[0]
    assert first["document"] == hostile
    assert joined(first["parts"], (0, -1)) == hostile
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "{{ 7 * 7 }}" in page, "a template inside the data is not run"


def test_every_gap_is_there_with_its_verdict_and_both_texts(full):
    gaps = gaps_of(full.page)
    assert [one["id"] for one in gaps] == [f"gap-{n:05d}" for n in range(40)], "in order of time"
    verdicts = pl.Series([one["verdict"] for one in gaps]).value_counts()
    assert dict(verdicts.iter_rows()) == {
        "kept": 20,
        "over_user_cap": 4,
        "unchanged": 4,
        "blank": 3,
        "too_short": 3,
        "secret": 3,
        "duplicate": 3,
    }
    first, source = gaps[0], gap(0)
    assert joined(first["parts"], (0, -1)) == source["proposal"]
    assert joined(first["parts"], (0, 1)) == source["final"]
    assert source["prefix"].endswith(first["before"].removeprefix("⋯\n"))
    assert source["suffix"].startswith(first["after"].removesuffix("\n⋯"))
    assert first["open_s"] == 12.5
    assert [row["role"] for row in first["predictions"]] == ["base", "champion", "candidate"]
    assert joined(first["predictions"][0]["parts"], (0, -1)) == source["proposal"]


def test_no_text_of_a_secret_of_no_consent_or_of_an_unrefined_gap(lake, settings):
    finals = [gap(n, final=f"final_{n}") for n in range(3)]
    put(
        lake,
        "gap_sessions",
        [*finals, gap(3, consent=False, final="final_3"), gap(4, consent=None, final="final_4")],
    )
    reasons = {0: "secret", 1: "unchanged", 3: "no_consent", 4: "no_consent"}
    put(
        lake,
        "rejected_samples",
        [{"sample_id": f"gap-{n:05d}", "stage": "filter", "reason": reason} for n, reason in reasons.items()],
    )
    page = report.render(lake, DAY, settings)
    assert {one["id"]: one.get("hidden") for one in gaps_of(page)} == {
        "gap-00000": "it was rejected for holding a secret",
        "gap-00001": None,
        "gap-00002": "the refinery has not seen this gap",
        "gap-00003": "its user gave no consent",
        "gap-00004": "its user gave no consent",
    }
    assert "final_1" in page
    assert not re.search("final_[0234]", page)
    assert "filtered_samples has no rows of 2026-01-09." not in words_of(page, "funnel"), (
        "it has run: all were rejected"
    )


def test_secrets_of_gaps_rejected_for_another_reason_are_masked(lake, settings):
    key = f"-----BEGIN RSA PRIVATE KEY-----\n{'MIIEow' * 12}\n"
    gaps = [
        gap(0, final=f'key = "{SECRET}"\n', proposal="x = 1", prefix="a = 0\n", suffix=""),
        gap(1, final="x = 1", proposal="x = 1", prefix=f'k = "{SECRET}"\n', suffix=f'\nother = "{SECRET}"\n'),
        gap(2, final=f'{SECRET[8:]}"\n', proposal="x", prefix=f'aws_key = "{SECRET[:8]}', suffix=""),
        gap(3, final="x", proposal="", prefix=key, suffix=""),
        gap(4, final="x" * 3990 + f" {SECRET}", proposal="", prefix="", suffix=""),
    ]
    put(lake, "gap_sessions", gaps)
    put(
        lake,
        "rejected_samples",
        [{"sample_id": row["gap_id"], "stage": "filter", "reason": "unchanged"} for row in gaps],
    )
    page = report.render(lake, DAY, settings)
    assert SECRET[:8] not in page.replace(SECRET[:8] + "NOT", ""), "not even a part, cut at the cap"
    assert SECRET[8:] not in page, "halves on either side of the border are a secret too"
    assert "MIIEow" not in page
    found = gaps_of(page)
    assert joined(found[0]["parts"], (0, 1)).startswith('key = "<secret:'), "the rest of the text is there"
    assert "<secret:" in found[1]["before"] and "<secret:" in found[1]["after"]
    assert found[2]["hidden"] == "a secret stands across the border of the gap"
    assert found[3]["hidden"] == "a private key stands in it or near it"


def test_a_prediction_that_recites_a_secret_is_masked(full, tmp_path):
    lake, settings = full.copy(tmp_path)
    rows = lake.read("predictions", [DAY]).collect().with_columns(prediction=pl.lit(f'key = "{SECRET}"'))
    lake.replace("predictions", rows, [DAY])
    page = report.render(lake, DAY, settings)
    assert SECRET not in page
    assert joined(gaps_of(page)[0]["predictions"][0]["parts"], (0, -1)).startswith('key = "<secret:')


def test_a_thousand_gaps_stay_below_five_megabytes(lake, settings):
    long = "\n".join(f"value_{n} = compute({n}, '{'x' * 60}')" for n in range(30))
    build(lake, n_gaps=1012, n_kept=510, final=long, proposal=long.replace("compute", "other"))
    page = report.render(lake, DAY, settings)
    assert len(page.encode()) < 5_000_000
    gaps = gaps_of(page)
    assert len(gaps) == report.MAX_SAMPLES
    assert sum(one["verdict"] == "kept" for one in gaps) == 500
    samples = words_of(page, "samples")
    assert "1,000 of the day's 1,012 gaps, 500 of them kept by the refinery" in samples
    cut = next(one for one in gaps if "parts" in one)
    assert cut["cut"] == ["C_1", "C_N"]
    assert f"{len(joined(cut['parts'], (0, 1))):,} characters of C_1 and C_N" in samples, (
        "the page names its caps"
    )


def test_places_left_over_go_to_the_other_half():
    verdicts = pl.DataFrame(
        {
            "gap_id": [f"g{n}" for n in range(20)],
            "stage": [None] * 4 + ["filter"] * 16,
            "is_sample": [True] * 4 + [False] * 16,
        },
        schema_overrides={"stage": pl.String},
    )
    chosen = report_samples._choose(verdicts, 10)
    assert len(chosen) == 10
    assert chosen["is_sample"].sum() == 4
    assert set(report_samples._choose(verdicts.reverse(), 10)["gap_id"]) == set(chosen["gap_id"])


def test_the_same_tables_give_the_same_bytes(full):
    build(full.lake, history=full.settings.data_dir / "checkpoint")
    assert report.render(full.lake, DAY, full.settings) == full.page


def test_write_puts_the_page_where_it_belongs(lake, settings, tmp_path):
    path = report.write(lake, DAY, settings)
    assert path == settings.data_dir / "reports" / "2026-01-09.html"
    assert path.read_text(encoding="utf-8") == report.render(lake, DAY, settings)
    assert (
        report.write(lake, DAY, settings, tmp_path / "deep" / "page.html") == tmp_path / "deep" / "page.html"
    )
    assert sorted(file.name for file in path.parent.iterdir()) == ["2026-01-09.html"], (
        "nothing unfinished is left"
    )


def test_a_failed_write_leaves_the_old_page(lake, settings, monkeypatch):
    path = report.write(lake, DAY, settings)
    before = path.read_text(encoding="utf-8")
    monkeypatch.setattr(report, "render", lambda *_: "half a page \ud800")
    with pytest.raises(UnicodeEncodeError):
        report.write(lake, DAY, settings)
    assert path.read_text(encoding="utf-8") == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@given(
    st.text(st.sampled_from("ab _\n\t.(é😀"), max_size=60),
    st.text(st.sampled_from("ab _\n\t.(é😀"), max_size=60),
)
def test_a_diff_holds_both_texts_whole(before, after):
    parts = diff(before, after)
    assert joined(parts, (0, -1)) == before
    assert joined(parts, (0, 1)) == after
    assert all(text for _, text in parts)
    if before == after:
        assert all(sign == 0 for sign, _ in parts)


def test_a_diff_marks_words():
    assert diff("x = first(a)", "x = second(a)") == [(0, "x = "), (-1, "first"), (1, "second"), (0, "(a)")]
    assert diff("a b", "c d") == [(-1, "a b"), (1, "c d")], "a blank between two changes is no island"


@pytest.mark.parametrize(
    "caps", [Caps(context_lines=3, context_chars=1000), Caps(context_lines=20, context_chars=12)]
)
def test_context_is_cut_at_whole_lines_and_says_so(caps):
    text = "\n".join(f"line {n}" for n in range(9))
    tail, head = report_texts.tail(text, caps), report_texts.head(text, caps)
    assert tail.startswith("⋯\n") and text.endswith(tail.removeprefix("⋯\n"))
    assert head.endswith("\n⋯") and text.startswith(head.removesuffix("\n⋯"))
    assert set(tail.split("\n")[1:] + head.split("\n")[:-1]) <= set(text.split("\n"))
    assert report_texts.tail("short", caps) == report_texts.head("short", caps) == "short"
