import multiprocessing
import os
import time

import pytest

from echo_dagster.scratch import remove_abandoned, scratch


def use(parent, ready, name):
    with scratch(parent, "work-") as folder:
        (folder / "half").write_text("done")
        name.put(folder)
        ready.set()
        time.sleep(60)


@pytest.fixture
def other(tmp_path):
    """A process that uses a folder, and the folder."""
    context = multiprocessing.get_context("spawn")
    ready, name = context.Event(), context.Queue()
    process = context.Process(target=use, args=(tmp_path, ready, name))
    process.start()
    assert ready.wait(60)
    yield process, name.get()
    process.kill()
    process.join()


def test_a_folder_goes_with_its_work(tmp_path):
    with scratch(tmp_path / "new", "work-") as folder:
        (folder / "inner").mkdir()
        assert folder.parent == tmp_path / "new" and folder.name.startswith("work-")
    assert list((tmp_path / "new").iterdir()) == []
    with pytest.raises(ValueError, match="wrong"), scratch(tmp_path, "work-"):
        raise ValueError("wrong")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_what_a_living_process_uses_stays_and_goes_when_it_was_killed(tmp_path, other):
    process, folder = other
    with scratch(tmp_path, "work-"):
        assert (folder / "half").read_text() == "done"
    assert remove_abandoned(tmp_path, "work-") == [] and folder.is_dir()
    process.kill()
    process.join()
    (tmp_path / "worn-out").mkdir()
    with scratch(tmp_path, "work-"):
        assert not folder.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["worn-out"]


def test_a_folder_without_a_lock_stays_a_day_unless_it_is_empty(tmp_path):
    young, old, empty = (tmp_path / f"work-{name}" for name in ("young", "old", "empty"))
    making = tmp_path / ".making-work-young"
    for folder, age_s in ((young, 80_000), (old, 90_000), (empty, 0), (making, 80_000)):
        folder.mkdir()
        if folder in (young, old):
            (folder / "half").touch()
        os.utime(folder, (time.time() - age_s,) * 2)
    assert remove_abandoned(tmp_path, "work-") == [empty, old]
    assert sorted(tmp_path.iterdir()) == [making, young]
