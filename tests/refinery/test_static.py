"""The static set: as many gaps as samples, of their languages and lengths, and nothing that must not be learnt from."""

from datetime import timedelta

import polars as pl
import pytest
from refinery_rows import DAY, gaps, scored, settings, tokenizer, tokens

from echo_dagster.lake import Lake
from echo_dagster.refinery import static, static_files, strata
from echo_dagster.refinery.schema import TRAINING_SCHEMA

NEXT = DAY + timedelta(days=1)

CODE = """
import math


def {name}(radius, height):
    area = {number} * math.pi * radius**2
    if height > {number}:
        raise ValueError("higher than {number} {name}")
    side_{number} = area / height
    return area * height + side_{number}


class Tank{number}:
    def __init__(self, {name}_level, {name}_limit):
        self.{name}_level = {name}_level
        self.{name}_limit = {name}_limit or {number}

    def fill(self, litres_{number}):
        rest = self.{name}_limit - self.{name}_level
        self.{name}_level += min(litres_{number}, rest)
        return max(0, litres_{number} - rest)


"""
SCRIPT = """
export function {name}(rows) {{
  const kept = rows.filter((row) => row.{name} > {number});
  const totals_{number} = kept.map((row) => row.price * {number});
  console.log("{name}", totals_{number}.length);
  return totals_{number}.reduce((sum, one) => sum + one, 0);
}}

"""
SHORT, LONG = "{name}_total = 1", "{name}_total = sum(one.price * {number} for one in basket if one.{name})"


def sample(at: int, *, language: str = "python", middle: str = SHORT, **changes) -> dict:
    code = CODE if language == "python" else SCRIPT
    name = f"part{at}"
    written = middle.format(name=name, number=at)
    return {
        "sample_id": f"{language}-{at:03}",
        "language": language,
        "prefix": code.format(name=name, number=at * 7 + 3),
        "middle": written,
        "middle_tokens": tokens(written),
        "suffix": "\n",
        "content_hash": f"{language}-{at}",
        **changes,
    }


def training_set(*changes: dict) -> pl.DataFrame:
    rows = scored(*changes).with_columns(sample_day=pl.lit(DAY), origin=pl.lit("window"))
    return rows.select(TRAINING_SCHEMA.names())


NOTHING = scored().select("sample_id", "content_hash", "prefix", "middle", "suffix")


def asked(**window):
    return settings(window={"held_out_user_share": 0.0, **window})


@pytest.fixture
def nowhere(tmp_path) -> Lake:
    """A lake without gaps: files are what the samples show of them."""
    return Lake(tmp_path)


def made(samples: pl.DataFrame, lake: Lake, held_out: pl.DataFrame = NOTHING, told=None) -> static.StaticSet:
    return static.static_set(samples, held_out, NEXT, lake, tokenizer(), told or asked())


@pytest.fixture(scope="module")
def samples() -> pl.DataFrame:
    middles = [SHORT if at % 3 else LONG for at in range(24)]
    python = [sample(at, middle=middle) for at, middle in enumerate(middles)]
    scripts = [sample(at, language="typescript", middle=SHORT) for at in range(10)]
    return training_set(*python, *scripts)


@pytest.fixture(scope="module")
def found(samples, tmp_path_factory) -> static.StaticSet:
    return made(samples, Lake(tmp_path_factory.mktemp("nowhere")))


def test_there_are_as_many_gaps_as_samples_by_language_all_different(samples, found):
    assert found.frame.height == found.n_wanted == samples.height and found.shortfall is None
    by_language = [one.group_by("language").len().sort("language") for one in (samples, found.frame)]
    assert by_language[0].equals(by_language[1])
    assert found.frame["sample_id"].n_unique() == found.frame["content_hash"].n_unique() == samples.height
    assert found.frame.schema == TRAINING_SCHEMA and set(found.frame["origin"]) == {"plain"}
    assert found.frame["sample_id"].is_sorted()


def test_lengths_are_those_of_the_samples_as_far_as_files_have_such_lines(samples, found, nowhere):
    told = found.mix.to_dicts()
    assert sum(row["n_training_set"] for row in told) == sum(row["n_static_set"] for row in told)
    moved = sum(abs(row["n_training_set"] - row["n_static_set"]) for row in told) / 2
    lots = [static._strata(one.head(samples.height)) for one in (samples, _first_turn(samples, nowhere))]
    unmatched = static._mix(*lots)
    at_random = (unmatched["n_training_set"] - unmatched["n_static_set"]).abs().sum() / 2
    assert moved < at_random


def _first_turn(samples: pl.DataFrame, lake: Lake) -> pl.DataFrame:
    return pl.concat(static._cut(lake, samples, 0, tokenizer(), asked()))


def test_a_gap_is_code_that_stands_in_a_samples_file_and_not_what_its_user_wrote(samples, found):
    files = [row["prefix"] + row["middle"] + row["suffix"] for row in samples.iter_rows(named=True)]
    own = set(samples["middle"])
    for row in found.frame.iter_rows(named=True):
        cut = row["prefix"] + row["middle"] + row["suffix"]
        assert any(cut in file for file in files) and row["middle"] not in own
        assert row["proposal"] is row["outcome"] is row["ifd"] is None
    assert set(found.frame["user_id"]) <= set(samples["user_id"])


def test_the_same_samples_give_the_same_set_in_whatever_order(samples, found, nowhere):
    assert made(samples.reverse(), nowhere).frame.equals(found.frame)
    assert not made(samples, nowhere, told=asked(seed=3)).frame.equals(found.frame)


def test_nothing_like_a_held_out_gap_is_taken_and_another_gap_is_in_its_place(samples, found, nowhere):
    columns = NOTHING.columns
    exact = found.frame.head(5).select(columns)
    near = found.frame.slice(5, 5).select(columns)
    near = near.with_columns(pl.col("prefix") + " ", content_hash=pl.lit("other"))
    again = made(samples, nowhere, pl.concat([exact, near]))
    assert again.left_out["like_a_held_out_gap"] >= 10
    assert set(again.frame["content_hash"]).isdisjoint(exact["content_hash"])
    assert set(again.frame["sample_id"]).isdisjoint([*exact["sample_id"], *near["sample_id"]])
    assert again.frame.height == samples.height and again.shortfall is None


def test_files_with_too_little_code_give_fewer_gaps_and_say_so(nowhere):
    line = {"prefix": "", "suffix": "\nlast_line = first_line + 1\n", "middle": "first_line = 1"}
    few = made(training_set(*(sample(at, **line | {"content_hash": str(at)}) for at in range(8))), nowhere)
    assert few.frame.height == 1 and few.n_wanted == 8
    assert few.shortfall.startswith("1 gaps for 8 samples: 12 lines of each of 8 files were tried")
    assert few.left_out["duplicate"] >= 7


def test_gaps_cut_beside_the_window_are_counted_and_not_cut_again(samples, nowhere):
    replayed = samples.head(4).with_columns(
        sample_id="plain_" + pl.col("sample_id"), origin=pl.lit("plain"), user_id=pl.lit("nobody")
    )
    more = made(pl.concat([samples, replayed]), nowhere)
    assert more.n_wanted == more.frame.height == samples.height + 4
    assert "nobody" not in more.frame["user_id"]


def test_the_choice_prefers_length_then_language_then_anything():
    def rows(*told):
        frame = pl.DataFrame(told, schema=["sample_id", "language", "middle_tokens"], orient="row")
        return frame.with_columns(
            pl.lit(None).alias(name) for name in TRAINING_SCHEMA if name not in frame.columns
        )

    wanted = static._strata(rows(("a", "python", 30), ("b", "python", 30), ("c", "go", 5)))
    pool = rows(
        ("1", "python", 5), ("2", "python", 40), ("3", "python", 5), ("4", "rust", 5), ("5", "go", 99)
    )
    assert static._chosen(pool, wanted, 2)["sample_id"].to_list() == ["1", "2"]
    assert static._chosen(pool, wanted, 3)["sample_id"].to_list() == ["1", "2", "5"]
    assert static._chosen(pool, wanted, 4)["sample_id"].to_list() == ["1", "2", "3", "5"]
    assert strata.LENGTH_BUCKETS == (8, 24, 64)


def test_the_table_holds_the_day_and_refuses_people_who_are_held_out_now(tmp_path, samples):
    lake = Lake(tmp_path)
    lake.replace("training_set", samples.select(pl.lit(NEXT).alias("day"), pl.all()), [NEXT])
    lake.replace("scored_samples", scored().select(pl.lit(NEXT).alias("day"), pl.all()), [NEXT])
    written = static.write_static_set(lake, NEXT, tokenizer(), asked())
    assert lake.read("static_set", [NEXT]).drop("day").collect().sort("sample_id").equals(written.frame)
    with pytest.raises(ValueError, match=r"held_out_user_samples.*materialize `training_set` again"):
        static.write_static_set(lake, NEXT, tokenizer(), asked(held_out_user_share=0.9))
    static.write_none(lake, NEXT)
    assert lake.read("static_set", [NEXT]).collect().is_empty()


@pytest.fixture
def logged(tmp_path, samples) -> Lake:
    """The files as the log shows them: each has more before and behind the gap than its sample keeps, and a secret."""
    lake = Lake(tmp_path)
    rows = [
        {
            "gap_id": row["sample_id"],
            "prefix": _before(row) + row["prefix"],
            "suffix": row["suffix"] + CODE.format(name=f"behind{at}", number=at),
            "replaced": "",
            "final": row["middle"],
            "proposal": row["middle"],
        }
        for at, row in enumerate(samples.iter_rows(named=True))
        if row["language"] == "python"
    ]
    found = gaps(*rows)
    lake.replace("gap_sessions", found.select(pl.lit(DAY).alias("day"), pl.all()), [DAY])
    return lake


def _before(row: dict) -> str:
    name = row["sample_id"].replace("-", "_")
    return f'mail = "jane.roe.{name}@corp-mail.com"\n' + CODE.format(name=f"before_{name}", number=5)


def test_gaps_have_the_context_of_the_whole_file_with_its_secrets_masked(samples, found, logged):
    whole = made(samples, logged)
    python = pl.col("language") == "python"
    assert whole.frame.height == samples.height
    assert (
        whole.frame.filter(python)["prefix_tokens"].mean()
        > 1.3 * found.frame.filter(python)["prefix_tokens"].mean()
    )
    texts = "".join(whole.frame.select(pl.concat_str("prefix", "middle", "suffix")).to_series())
    assert "behind" in texts and "before_python" in texts
    assert "<secret:email>" in texts and "corp-mail" not in texts
    assert not whole.frame["middle"].str.contains("secret").any()
    # files whose gaps are gone are cut as far as their samples show them
    assert whole.frame.filter(~python).height == found.frame.filter(~python).height == 10


def test_gaps_begin_inside_a_line_where_those_of_the_samples_do(samples, nowhere):
    def inside(frame: pl.DataFrame) -> float:
        last_line = pl.col("prefix").str.split("\n").list.last().str.strip_chars()
        return frame.select((last_line != "").mean()).item()

    middle_of_lines = samples.with_columns(prefix=pl.col("prefix") + "total = ")
    assert (inside(samples), inside(middle_of_lines)) == (0, 1)
    assert inside(made(samples, nowhere).frame) == 0
    found = made(middle_of_lines, nowhere).frame
    assert inside(found) > 0.8  # some lines are one word
    starts = {row["middle"][:1].isalnum() for row in found.iter_rows(named=True)}
    assert starts == {True, False}


def test_two_processes_cut_the_same_gaps(samples, logged, monkeypatch):
    def cut() -> pl.DataFrame:
        return pl.concat(static._cut(logged, samples, 0, tokenizer(), asked())).sort("sample_id")

    alone = cut()
    monkeypatch.setattr(static, "_FILES_WORTH_A_PROCESS", 10)
    monkeypatch.setattr(static_files, "BATCH", 7)
    assert alone.height > 20 and cut().equals(alone)
