from datetime import timedelta

import pytest
from installation import ANN, BEN, NOW, ago, promote, rows, train, training_set

from echo_dagster.governance.forget import forget
from echo_dagster.governance.learnt import learnt, trainings
from echo_dagster.lake import Lake

DAYS = [ago(back) for back in (5, 4, 3, 2)]


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path / "lake")


def found(lake, tmp_path, person=ANN) -> list[tuple]:
    models = learnt(lake, trainings(lake, tmp_path), person, set())
    return [(one.model.digest, one.evidence, one.n_samples) for one in models]


def test_a_model_learnt_from_whom_its_training_set_held(lake, tmp_path):
    for day, people, digest in ((DAYS[0], {BEN: 3}, "m1"), (DAYS[1], {ANN: 2, BEN: 1}, "m2")):
        training_set(lake, day, people)
        train(lake, tmp_path, day, digest)
    assert found(lake, tmp_path) == [("m2", "its_training_set", 2)]
    assert found(lake, tmp_path, BEN) == [("m1", "its_training_set", 3), ("m2", "its_training_set", 1)]


def test_the_version_it_was_trained_on_counts_and_not_what_the_day_became(lake, tmp_path):
    training_set(lake, DAYS[0], {ANN: 2})
    train(lake, tmp_path, DAYS[0], "m1")
    training_set(lake, DAYS[0], {BEN: 2})
    assert found(lake, tmp_path) == [("m1", "its_training_set", 2)] and found(lake, tmp_path, BEN) == []


def test_without_that_version_what_the_day_became_tells(lake, tmp_path):
    training_set(lake, DAYS[0], {ANN: 2, BEN: 1})
    train(lake, tmp_path, DAYS[0], "m1")
    forget(lake, tmp_path, BEN, NOW)
    assert found(lake, tmp_path) == [("m1", "set_of_its_day", 2)]


def test_without_either_the_days_it_was_made_of_tell(lake, tmp_path):
    training_set(lake, DAYS[0], {ANN: 2})
    train(lake, tmp_path, DAYS[0], "m1")
    training_set(lake, DAYS[0], {BEN: 1})
    lake.vacuum("training_set", timedelta(0))
    day_before = DAYS[0] - timedelta(days=1)
    lake.replace("scored_samples", rows(day_before, {BEN: 1}), [day_before])
    assert found(lake, tmp_path) == []
    lake.replace("scored_samples", rows(day_before, {ANN: 1, BEN: 1}), [day_before])
    assert found(lake, tmp_path) == [("m1", "its_window", None)]


def test_who_stood_in_the_window_but_not_in_the_very_set_was_not_learnt_from(lake, tmp_path):
    training_set(lake, DAYS[0], {BEN: 2})
    train(lake, tmp_path, DAYS[0], "m1")
    training_set(lake, DAYS[0], {BEN: 2})
    lake.vacuum("training_set", timedelta(0))
    day_before = DAYS[0] - timedelta(days=1)
    lake.replace("scored_samples", rows(day_before, {ANN: 1}), [day_before])
    assert found(lake, tmp_path) == []


def test_models_that_began_with_such_weights_learnt_too(lake, tmp_path):
    people = ({ANN: 1}, {BEN: 1}, {BEN: 1}, {BEN: 1})
    for day, held, digest, start in zip(
        DAYS, people, ("m1", "m2", "m3", "m4"), ("base", "m1", "m2", "base"), strict=True
    ):
        training_set(lake, day, held)
        train(lake, tmp_path, day, digest, started_from=start)
    assert found(lake, tmp_path) == [
        ("m1", "its_training_set", 1),
        ("m2", "its_ancestor", None),
        ("m3", "its_ancestor", None),
    ]


def test_a_model_on_disk_that_is_on_record_no_more_is_found(lake, tmp_path):
    training_set(lake, DAYS[0], {ANN: 1})
    train(lake, tmp_path, DAYS[0], "m1")
    train(lake, tmp_path, DAYS[0], "m2")  # with other settings: the row of the day names this one
    train(lake, tmp_path, DAYS[0], "m3", is_recorded=False)
    assert [digest for digest, *_ in found(lake, tmp_path)] == ["m1", "m2", "m3"]


def test_the_list_says_which_of_them_serves(lake, tmp_path):
    for day, digest in ((DAYS[0], "m1"), (DAYS[1], "m2")):
        training_set(lake, day, {ANN: 1})
        promote(lake, day, digest, train(lake, tmp_path, day, digest))
    done = forget(lake, tmp_path, ANN, NOW)
    assert done.models.select("day", "model_digest", "is_serving").rows() == [
        (DAYS[0], "m1", False),
        (DAYS[1], "m2", True),
    ]
