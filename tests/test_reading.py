import ast
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

sys.path.insert(0, str(Path(__file__).parent / "evaluation"))

from report_lake import DAY, build

from echo_dagster import open_lake
from echo_dagster.lake import Lake, TableMissing
from echo_dagster.tables import TABLES

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reading.md"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("installation")
    build(Lake(root / "data" / "lake"))
    return root / "data"


@pytest.fixture
def lake(data_dir):
    return open_lake(data_dir)


def questions() -> list[tuple[str, str, str]]:
    """The title, the Polars answer and the SQL answer of each question of the page."""
    found = re.findall(
        r"^## (.+?)\n\n```python\n(.+?)```\n\n```sql\n(.+?)```", PAGE.read_text("utf-8"), re.M | re.S
    )
    assert len(found) == 5
    return found


def evaluated(code: str, names: dict) -> pl.DataFrame:
    """Run code and return what its last line is."""
    *before, last = ast.parse(code).body
    exec(compile(ast.Module(before, []), "page", "exec"), names)
    return eval(compile(ast.Expression(last.value), "page", "eval"), names)


@pytest.mark.parametrize(("title", "polars", "sql"), questions(), ids=[title for title, *_ in questions()])
def test_each_question_of_the_page_has_one_answer_in_three_lines(title, polars, sql, data_dir, monkeypatch):
    assert polars.count("\n") == sql.count("\n") == 3
    monkeypatch.chdir(data_dir.parent)
    names: dict = {}
    opening = re.search(r"```python\n(.+?)```", PAGE.read_text("utf-8"), re.S).group(1)
    exec(opening, names)
    answer = evaluated(polars, names)
    asked = names["lake"].sql(sql)
    assert answer.height > 1
    assert answer.columns == asked.columns
    assert (
        asked.cast(answer.schema).equals(answer)
        or asked.select(
            (pl.col(name) - answer[name]).abs().max() < 1e-12
            if kind.is_float()
            else (pl.col(name) == answer[name]).all()
            for name, kind in answer.schema.items()
        ).row(0)
        == (True,) * answer.width
    )


def test_the_answers_are_those_of_the_lake(lake):
    by_title = {title: sql for title, _, sql in questions()}
    outcomes = lake.sql(by_title["What becomes of proposals, by language?"])
    assert outcomes["gaps"].sum() == 40  # the lake has forty gaps, a quarter of them in TypeScript
    assert outcomes.group_by("language").agg(pl.sum("gaps", "share")).sort("language").rows() == [
        ("python", 30, pytest.approx(1)),
        ("typescript", 10, pytest.approx(1)),
    ]
    dropped = lake.sql(by_title["Why were samples dropped?"])
    assert dropped.filter(stage="balance").rows() == [("balance", "over_user_cap", 4)]
    assert dropped.filter(stage="filter")["samples"].sum() == 16
    better = lake.sql(by_title["What did the candidate write where it did better than the base model?"])
    assert better.height == 20 and better["sample_id"].is_sorted()


def test_a_table_is_a_lazy_frame_by_name_and_by_key(lake, data_dir):
    assert isinstance(lake.gap_sessions, pl.LazyFrame)
    assert lake.gap_sessions.collect().height == lake["gap_sessions"].collect().height == 40
    assert lake.tables == Lake(data_dir / "lake").tables() == list(lake)
    assert "gap_sessions" in dir(lake) and "sql" in dir(lake)
    assert "gap_sessions" in lake and "scaling" not in lake


def test_the_folder_of_the_tables_may_be_named_as_well(data_dir):
    assert open_lake(str(data_dir / "lake")).tables == open_lake(data_dir).tables


def test_some_days_and_a_former_version_can_be_read(tmp_path):
    written = Lake(tmp_path)
    rows = pl.DataFrame({"day": [DAY], "n": [1]})
    written.replace("t", rows, [DAY])
    written.replace("t", rows.with_columns(n=2), [DAY])
    lake = open_lake(tmp_path)
    assert lake.read("t", [DAY]).collect()["n"].to_list() == [2]
    assert lake.read("t", version=0).collect()["n"].to_list() == [1]
    assert lake.read("t", []).collect().is_empty()
    assert lake.meaning("t") == ""


def test_every_table_is_listed_with_its_true_columns(lake):
    for table in lake.tables:
        held = lake.schema(table)
        stored = TABLES[table].columns
        if table == "raw_events":  # this lake was not written by ingest, which adds the bucket of the stream
            stored = pl.Schema({name: kind for name, kind in stored.items() if name != "bucket"})
        assert held == stored, table
        assert lake.meaning(table) == TABLES[table].meaning


def test_it_shows_its_tables_with_rows_days_and_meaning(lake):
    (line,) = [line for line in repr(lake).splitlines() if line.split()[0] == "evaluated_model"]
    rows = lake.evaluated_model.collect()
    assert line.split()[1:5] == [str(rows.height), "rows", str(rows["day"].n_unique()), "days"]
    assert line.endswith(TABLES["evaluated_model"].meaning)
    assert len(repr(lake).splitlines()) == 1 + len(lake.tables)


def test_duckdb_has_every_table_and_parameters_are_bound(lake):
    assert (
        lake.sql("select count(*) as n from gap_sessions where language = $it", {"it": "typescript"}).item()
        == 10
    )
    with lake.duckdb() as connection:
        names = [
            name
            for (name,) in connection.sql(
                "select view_name from duckdb_views() where not internal"
            ).fetchall()
        ]
        assert sorted(names) == lake.tables
        loaded = "select extension_name from duckdb_extensions() where loaded and install_mode = 'REPOSITORY'"
        assert connection.sql(loaded).fetchall() == []


def test_what_is_not_there_says_what_to_do(lake, tmp_path):
    with pytest.raises(TableMissing, match="nothing has written 'scaling' yet; scaling does"):
        lake["scaling"]
    with pytest.raises(TableMissing, match="did you mean 'gap_sessions'"):
        lake.schema("gap_session")
    with pytest.raises(TableMissing, match="there are balanced_samples, "):
        lake["xyzzy"]
    with pytest.raises(AttributeError, match="forget"):
        lake.forgotten  # noqa: B018
    with pytest.raises(FileNotFoundError, match="after a day was materialized"):
        open_lake(tmp_path)


def test_importing_the_package_loads_nothing():
    script = "import sys, echo_dagster; print(sorted({'polars', 'duckdb', 'deltalake', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
