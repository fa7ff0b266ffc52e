import polars as pl
import pytest
from installation import ANN, BEN, NOW, ago, rows, train, training_set

from echo_dagster.forgotten import CHECKPOINTS, TABLE, forgotten, people_behind
from echo_dagster.governance import people
from echo_dagster.governance.forget import forget
from echo_dagster.lake import Lake

DAY, NEXT = ago(3), ago(2)


@pytest.fixture
def lake(tmp_path) -> Lake:
    """Two people in three tables of people, one of samples, and one of nobody's."""
    lake = Lake(tmp_path / "lake")
    lake.replace("raw_events", rows(DAY, {ANN: 3, BEN: 2}).drop("sample_id"), [DAY])
    lake.replace("gap_sessions", rows(DAY, {ANN: 2, BEN: 1}).rename({"sample_id": "gap_id"}), [DAY])
    lake.replace("scored_samples", rows(DAY, {ANN: 1, BEN: 1}), [DAY])
    dropped = rows(DAY, {ANN: 2, BEN: 1}).select("day", "sample_id", reason=pl.lit("blank"))
    lake.replace("rejected_samples", dropped, [DAY])
    lake.replace("online_metrics", pl.DataFrame({"day": [DAY], "n_users": [2]}), [DAY])
    return lake


def heights(lake: Lake) -> dict[str, int]:
    return {table: lake.read(table).collect().height for table in lake.tables()}


def test_tables_are_found_by_their_columns_and_those_that_name_samples_come_first(lake):
    assert list(people.tables(lake).items()) == [
        ("rejected_samples", "sample_id"),
        ("gap_sessions", "user_id"),
        ("raw_events", "user_id"),
        ("scored_samples", "user_id"),
    ]


def test_a_table_that_nobody_thought_of_is_found_too(lake, tmp_path):
    lake.replace("notes", rows(DAY, {ANN: 4, BEN: 1}), [DAY])
    lake.replace("verdicts", rows(DAY, {ANN: 2, BEN: 1}).select("day", gap_id="sample_id"), [DAY])
    done = forget(lake, tmp_path, ANN, NOW)
    assert (done.rows["notes"], done.rows["verdicts"]) == (4, 2)
    assert lake.read("verdicts").collect().height == 1


def test_the_person_goes_and_the_others_stay(lake, tmp_path):
    done = forget(lake, tmp_path, ANN, NOW)
    assert done.rows == {"raw_events": 3, "gap_sessions": 2, "scored_samples": 1, "rejected_samples": 2}
    assert heights(lake) == {
        "raw_events": 2,
        "gap_sessions": 1,
        "scored_samples": 1,
        "rejected_samples": 1,
        "online_metrics": 1,
        TABLE: 5,
        CHECKPOINTS: 0,
    }
    assert forgotten(lake) == {ANN} and done.bytes_freed > 0
    listed = lake.read(TABLE).drop_nulls("table").select("table", "rows", "forgotten_at").collect()
    assert {table: n for table, n, _ in listed.rows()} == done.rows
    assert listed["forgotten_at"].unique().to_list() == [NOW]


def test_forgetting_twice_forgets_once_and_keeps_the_counts(lake, tmp_path):
    forget(lake, tmp_path, ANN, NOW)
    again = forget(lake, tmp_path, ANN, NOW)
    assert not any(again.rows.values())
    assert lake.read(TABLE).drop_nulls("table").collect()["rows"].sum() == 8


@pytest.mark.parametrize("done_before", range(4))
def test_whoever_is_stopped_between_two_tables_goes_on_later(lake, tmp_path, monkeypatch, done_before):
    training_set(lake, NEXT, {ANN: 2, BEN: 1})
    path = train(lake, tmp_path, NEXT, "m1")
    remove, calls = Lake.remove, []

    def stop(self, table, *arguments):
        if len(calls) == done_before:
            raise KeyboardInterrupt
        calls.append(table)
        return remove(self, table, *arguments)

    monkeypatch.setattr(Lake, "remove", stop)
    with pytest.raises(KeyboardInterrupt):
        forget(lake, tmp_path, ANN, NOW)
    monkeypatch.undo()
    assert forgotten(lake) == {ANN}
    done = forget(lake, tmp_path, ANN, NOW)
    for table in people.tables(lake):
        left = lake.read(table).collect()
        assert not left.is_empty() and ANN not in str(left.rows()) and "aa-" not in str(left.rows()), table
    assert done.models.select("path", "n_samples").rows() == [(str(path), 2)]


def test_pages_that_show_the_person_go(lake, tmp_path):
    reports = tmp_path / "reports"
    reports.mkdir()
    (reports / "hers.html").write_text(f'<script>[{{"user_id":"{ANN}"}}]</script>')
    (reports / "his.html").write_text(f'<script>[{{"user_id":"{BEN}"}}]</script>')
    assert forget(lake, tmp_path, ANN, NOW).pages == (reports / "hers.html",)
    assert [page.name for page in reports.iterdir()] == ["his.html"]


def test_the_work_of_an_unfinished_training_goes_if_it_holds_the_person(lake, tmp_path):
    training_set(lake, DAY, {BEN: 1})
    his = train(lake, tmp_path, DAY, "m1", is_finished=False)
    training_set(lake, NEXT, {ANN: 1, BEN: 1})
    hers = train(lake, tmp_path, NEXT, "m2", is_finished=False)
    lake.replace("gap_sessions", rows(NEXT, {ANN: 1}).rename({"sample_id": "gap_id"}), [NEXT])
    done = forget(lake, tmp_path, ANN, NOW)
    assert done.trainings == (hers.parent,)
    assert not (hers.parent / "work").exists() and (his.parent / "work").is_dir()
    # whoever finishes it all the same is on the list already
    assert done.models.select("path", "model_digest", "n_samples").rows() == [(str(hers), None, 1)]
    assert people_behind(lake, str(hers)) == 1 and people_behind(lake, str(his)) == 0


def test_an_empty_lake_can_forget(tmp_path):
    lake = Lake(tmp_path / "lake")
    assert forgotten(lake) == frozenset() and people_behind(lake, "nowhere") == 0
    done = forget(lake, tmp_path, ANN, NOW)
    assert (done.rows, done.pages, done.models.height) == ({}, (), 0)
    assert forgotten(lake) == {ANN}
