import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from reigns import NOW, day, reign

from echo_dagster import __version__
from echo_dagster.evaluation import champion, serving
from echo_dagster.evaluation.overrides import OverrideRefused
from echo_dagster.lake import TableMissing


@pytest.fixture
def ruled(tmp_path):
    return reign(tmp_path)


def record(ruled):
    return json.loads((ruled.data_dir / "champion.json").read_text(encoding="utf-8"))


def linked(ruled):
    return (ruled.data_dir / "champion").resolve()


def test_before_any_day_was_decided_there_is_nothing_to_show(ruled):
    with pytest.raises(TableMissing, match="no day was decided yet"):
        ruled.publish()
    assert not (ruled.data_dir / "champion").is_symlink()


def test_link_and_record_show_what_serves(ruled):
    one = ruled.decide(0, "one", promotes=True)
    assert linked(ruled) == one.path.resolve()
    assert record(ruled) == {
        "digest": one.digest,
        "path": str(one.path),
        "is_base": False,
        "since": str(day(0)),
        "day": str(day(0)),
        "decision": "promoted",
        "decided_by": "gate",
        "reason": "better",
        "versions": {"champion": ruled.lake.version("champion"), "echo_dagster": __version__},
    }
    assert sorted(path.name for path in ruled.data_dir.iterdir()) == [
        *("champion", "champion.json", "checkpoints", "lake", "models")
    ]


def test_the_base_model_is_shown_before_a_promotion_and_after_a_rollback_to_it(ruled):
    ruled.decide(0, "one", promotes=False)
    assert linked(ruled) == ruled.base.path.resolve() and record(ruled)["is_base"]
    ruled.decide(1, "two", promotes=True)
    assert not record(ruled)["is_base"]
    ruled.override("rollback", "base")
    ruled.publish()
    assert linked(ruled) == ruled.base.path.resolve()
    told = record(ruled)
    assert (told["is_base"], told["since"], told["decided_by"]) == (True, None, "Ann")


def test_a_backfill_of_an_old_day_moves_nothing_backwards(ruled):
    ruled.decide(0, "one", promotes=False)
    two = ruled.decide(1, "two", promotes=True)
    ruled.decide(0, "one again", promotes=True)
    assert linked(ruled) == two.path.resolve()
    assert (record(ruled)["digest"], record(ruled)["day"]) == (two.digest, str(day(1)))
    assert serving.changes(ruled.lake).height == 2


def test_each_change_is_noted_once_and_a_day_that_keeps_is_none(ruled):
    one = ruled.decide(0, "one", promotes=True)
    ruled.decide(1, "two", promotes=False)
    assert ruled.publish() is None
    three = ruled.decide(2, "three", promotes=True)
    ruled.override("rollback", one.digest)
    ruled.publish()
    noted = serving.changes(ruled.lake)
    assert noted["model_digest"].to_list() == [one.digest, three.digest, one.digest]
    assert noted["previous_digest"].to_list() == [None, one.digest, three.digest]
    assert noted["decision"].to_list() == ["promoted", "promoted", "rolled_back"]
    assert noted["change_id"].n_unique() == 3 and noted["day"].to_list() == [day(0), day(2), day(2)]


def test_the_link_is_replaced_and_never_missing(ruled, monkeypatch):
    ruled.decide(0, "one", promotes=True)
    seen = []
    replace = os.replace

    def watched(source, target):
        seen.append((ruled.data_dir / "champion").is_dir())
        replace(source, target)
        seen.append((ruled.data_dir / "champion").is_dir())

    monkeypatch.setattr(os, "replace", watched)
    two = ruled.decide(1, "two", promotes=True)
    assert seen and all(seen) and linked(ruled) == two.path.resolve()


def test_the_data_directory_can_be_moved_with_its_link(ruled, tmp_path_factory):
    ruled.decide(0, "one", promotes=True)
    elsewhere = tmp_path_factory.mktemp("moved") / "data"
    shutil.copytree(ruled.data_dir, elsewhere, symlinks=True)
    assert (elsewhere / "champion").resolve().is_relative_to(elsewhere.resolve())
    assert (elsewhere / "champion" / "config.json").read_text() == "one"


def test_people_who_decide_at_the_same_time_leave_one_story(ruled):
    one = ruled.decide(0, "one", promotes=True)
    two = ruled.decide(1, "two", promotes=True)
    refused = []

    def back_and_forth(number):
        for turn in range(3):
            asked = (one, two)[(number + turn) % 2]
            try:
                ruled.override("rollback", asked.digest, at=NOW + timedelta(seconds=10 * turn + number))
            except OverrideRefused as error:
                refused.append(str(error))
            ruled.publish()

    with ThreadPoolExecutor(4) as people:
        list(people.map(back_and_forth, range(4)))
    assert all(why.endswith("serves already") for why in refused)
    told = record(ruled)
    assert told["digest"] == ruled.serves() and linked(ruled) == Path(told["path"]).resolve()
    noted = serving.changes(ruled.lake)
    assert noted["previous_digest"].to_list() == [None, *noted["model_digest"][:-1]]
    assert ruled.lake.read("champion_overrides").collect().height == 12 - len(refused)


def test_who_was_killed_between_link_and_record_is_made_up_for(ruled, monkeypatch):
    ruled.decide(0, "one", promotes=True)
    two = ruled.train(1, "two")
    now = champion.current(ruled.lake, day(1), ruled.base)
    promote = champion.Decision("promoted", "better")
    champion.record(ruled.lake, day(1), promote, serving=now, candidate=two)
    with monkeypatch.context() as patched:
        patched.setattr(serving, "_write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            ruled.publish()
    assert (linked(ruled), serving.changes(ruled.lake).height) == (two.path.resolve(), 1)
    assert ruled.publish()["model_digest"] == record(ruled)["digest"] == two.digest


def test_what_serves_and_is_gone_leaves_link_and_record_as_they_are(ruled):
    one = ruled.decide(0, "one", promotes=True)
    two = ruled.train(1, "two")
    now = champion.current(ruled.lake, day(1), ruled.base)
    promote = champion.Decision("promoted", "better")
    champion.record(ruled.lake, day(1), promote, serving=now, candidate=two)
    shutil.rmtree(two.path)
    with pytest.raises(champion.ChampionMissing):
        ruled.publish()
    assert linked(ruled) == one.path.resolve() and record(ruled)["digest"] == one.digest
    ruled.override("rollback", one.digest, at=NOW + timedelta(hours=1))
    ruled.publish()
    assert record(ruled)["decision"] == "rolled_back"
