"""Lines on the disk: one write for all that wait, nothing acknowledged that failed, nothing torn that follows."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from datetime import date

import pytest

from echo_dagster.acquisition import collector_files
from echo_dagster.acquisition.collector_files import Folder, GroupCommit

D1, D2 = date(2026, 1, 5), date(2026, 1, 6)


def contents(folder, day: date) -> list[bytes]:
    return [file.read_bytes() for file in sorted(folder.glob(f"{day}.*.ndjson"))]


def test_a_day_has_one_file_of_this_process_that_only_grows(tmp_path):
    folder = Folder(tmp_path / "a" / "b")
    folder.append({D1: b"1\n", D2: b"2\n"})
    folder.append({D1: b"3\n"})
    assert contents(tmp_path / "a" / "b", D1) == [b"1\n3\n"]
    assert contents(tmp_path / "a" / "b", D2) == [b"2\n"]
    assert len(list((tmp_path / "a" / "b").iterdir())) == 2  # the probe is gone


def test_others_cannot_read_the_files(tmp_path):
    Folder(tmp_path).append({D1: b"1\n"})
    (file,) = tmp_path.iterdir()
    assert not stat.S_IMODE(file.stat().st_mode) & stat.S_IRWXO


def test_two_processes_never_share_a_file(tmp_path):
    one, two = Folder(tmp_path), Folder(tmp_path)
    one.append({D1: b"1\n"})
    two.append({D1: b"2\n"})
    one.append({D1: b"3\n"})
    assert sorted(contents(tmp_path, D1)) == [b"1\n3\n", b"2\n"]


def test_what_a_killed_process_left_torn_stays_at_the_end_of_its_file(tmp_path):
    Folder(tmp_path).append({D1: b'{"a": 1}\n{"b'})
    Folder(tmp_path).append({D1: b'{"c": 2}\n'})
    assert sorted(contents(tmp_path, D1)) == [b'{"a": 1}\n{"b', b'{"c": 2}\n']


def test_a_file_that_was_moved_away_begins_again(tmp_path):
    folder = Folder(tmp_path)
    folder.append({D1: b"1\n"})
    (file,) = tmp_path.iterdir()
    file.rename(tmp_path / "moved")
    folder.append({D1: b"2\n"})
    assert file.read_bytes() == b"2\n"


def test_short_writes_are_continued(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(collector_files.os, "write", lambda handle, data: write(handle, data[:3]))
    Folder(tmp_path).append({D1: b"0123456789\n"})
    assert contents(tmp_path, D1) == [b"0123456789\n"]


def test_a_folder_that_cannot_be_written_is_told_at_the_start(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        Folder(tmp_path / "file")


def full(after: int):
    """An `os.write` for a disk that is full after so many bytes of one line."""
    write = os.write

    def limited(handle, data):
        if len(data) <= after:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data[:after])

    return limited


def test_a_full_disk_leaves_nothing_torn_and_nothing_behind(tmp_path, monkeypatch):
    folder = Folder(tmp_path)
    folder.append({D1: b"kept\n"})
    with monkeypatch.context() as patch:
        patch.setattr(collector_files.os, "write", full(4))
        for _ in range(3):
            with pytest.raises(OSError, match="No space left"):
                folder.append({D1: b"lost\n"})
        with pytest.raises(OSError, match="No space left"):
            folder.probe()
    assert contents(tmp_path, D1) == [b"kept\n"] and len(list(tmp_path.iterdir())) == 1
    folder.append({D1: b"next\n"})
    assert sorted(contents(tmp_path, D1)) == [b"kept\n", b"next\n"]


def test_after_a_failed_fsync_the_file_is_left_alone(tmp_path, monkeypatch):
    folder = Folder(tmp_path)
    folder.append({D1: b"kept\n"})

    def fails(handle):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(collector_files.os, "fsync", fails)
        with pytest.raises(OSError, match="Input/output"):
            folder.append({D1: b"lost\n"})
    folder.append({D1: b"next\n"})
    assert sorted(contents(tmp_path, D1)) == [b"kept\n", b"next\n"]


class Slow(Folder):
    """A folder that counts its writes, takes its time, and fails when told."""

    writes = 0
    error: OSError | None = None

    def append(self, lines):
        self.writes += 1
        asyncio.run(asyncio.sleep(0.02))
        if self.error is not None:
            raise self.error
        super().append(lines)

    def probe(self):
        if self.error is not None:
            raise self.error


def committed(folder: Folder, act):
    async def run():
        commits = GroupCommit(folder)
        running = asyncio.create_task(commits.run())
        found = await act(commits)
        commits.close()
        await running
        return found

    return asyncio.run(run())


def test_all_that_wait_share_one_write(tmp_path):
    folder = Slow(tmp_path)

    async def act(commits):
        await asyncio.gather(*(commits.commit({D1: b"%d\n" % n}) for n in range(200)))

    committed(folder, act)
    assert folder.writes <= 3
    (data,) = contents(tmp_path, D1)
    assert data.splitlines() == [b"%d" % n for n in range(200)]


def test_closing_writes_what_still_waits(tmp_path):
    async def act(commits):
        waiting = [asyncio.ensure_future(commits.commit({D1: b"%d\n" % n})) for n in range(3)]
        await asyncio.sleep(0)
        return waiting

    folder = Slow(tmp_path)
    committed(folder, act)
    assert contents(tmp_path, D1) == [b"0\n1\n2\n"]


def test_a_failure_is_told_to_all_that_waited_and_ends_with_the_next_success(tmp_path):
    folder = Slow(tmp_path)

    async def act(commits):
        folder.error = OSError(errno.ENOSPC, "No space left on device")
        failed = await asyncio.gather(
            *(commits.commit({D1: b"lost\n"}) for _ in range(5)), return_exceptions=True
        )
        assert [type(error) for error in failed] == [OSError] * 5
        assert not await commits.is_well()
        folder.error = None
        assert await commits.is_well()
        await commits.commit({D1: b"kept\n"})

    committed(folder, act)
    assert contents(tmp_path, D1) == [b"kept\n"]


def test_a_request_that_was_given_up_does_not_stop_the_others(tmp_path):
    async def act(commits):
        given_up = asyncio.ensure_future(commits.commit({D1: b"1\n"}))
        await asyncio.sleep(0)
        given_up.cancel()
        await commits.commit({D1: b"2\n"})

    committed(Slow(tmp_path), act)
    assert contents(tmp_path, D1)[0].endswith(b"2\n")
