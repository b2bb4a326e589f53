from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from rangecache.blocks.lock import DirectoryLock

if TYPE_CHECKING:
    from pathlib import Path

HOLDER = """
import sys
from rangecache.blocks.lock import DirectoryLock
lock = DirectoryLock(sys.argv[1])
print(lock.acquire(), flush=True)
sys.stdin.read()
"""


def test_one_holder_at_a_time_also_within_a_program(tmp_path: Path) -> None:
    path = str(tmp_path / "LOCK")
    first, second = DirectoryLock(path), DirectoryLock(path)
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert second.acquire()
    second.release()


def test_another_program_keeps_us_out_until_it_is_killed(tmp_path: Path) -> None:
    path = str(tmp_path / "LOCK")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        lock = DirectoryLock(path)
        assert not lock.acquire()
        assert lock.holder() == f"process {holder.pid}"
        holder.kill()
        holder.wait()
        assert lock.acquire()
        lock.release()


def test_acquiring_twice_is_acquiring_once(tmp_path: Path) -> None:
    lock = DirectoryLock(str(tmp_path / "LOCK"))
    assert lock.acquire()
    assert lock.acquire()
    lock.release()
    assert not lock.is_ours()


def test_a_lock_whose_file_was_deleted_is_not_ours_and_can_be_had_anew(tmp_path: Path) -> None:
    path = tmp_path / "LOCK"
    lock = DirectoryLock(str(path))
    assert lock.acquire()
    path.unlink()
    assert not lock.is_ours()
    assert lock.acquire()
    assert path.exists()
    lock.release()


def test_the_file_is_private_and_names_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "LOCK"
    lock = DirectoryLock(str(path))
    lock.acquire()
    assert path.stat().st_mode & 0o777 == 0o600
    assert lock.holder() == f"process {os.getpid()}"
    lock.release()


def test_a_holder_that_left_no_number_is_another_program(tmp_path: Path) -> None:
    path = tmp_path / "LOCK"
    path.write_bytes(b"\xff\xfe not a number")
    assert DirectoryLock(str(path)).holder() == "another program"
