"""What is found at this machine, and at machines that are made up: a folder with `proc` and `sys` in it."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rangecache.blocks.lock import DirectoryLock
from rangecache.checkup.machine import DiskWanted, MachineCheck
from rangecache.settings import TcpAddress, UnixAddress

if TYPE_CHECKING:
    from rangecache.checkup.step import Step

GIB = 1 << 30


def steps(**changes: Any) -> dict[str, Step]:
    """By name."""
    given: dict[str, Any] = {"disk": None, "memory_bytes": 1, "addresses": {}, "is_running": False}
    return {each.name: each for each in MachineCheck(**(given | changes)).run()}


def machine(folder: Path, **files: str) -> Path:
    """A root with these files; names have `__` for `/`."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_max", ".max")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_a_folder_that_is_there_and_one_that_is_to_be_made(tmp_path: Path):
    for folder in (tmp_path, tmp_path / "a" / "b"):
        found = steps(disk=DiskWanted(folder, 1, 0))
        assert (found["cache directory"].result, found["free space"].result) == ("ok", "ok")
        assert str(folder) in found["cache directory"].said
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_a_file(tmp_path: Path):
    (tmp_path / "file").write_text("")
    assert steps(disk=DiskWanted(tmp_path / "file", 1, 0))["cache directory"].result == "failed"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to(tmp_path: Path):
    tmp_path.chmod(0o500)
    assert steps(disk=DiskWanted(tmp_path, 1, 0))["cache directory"].result == "failed"


def test_a_folder_of_the_kernel_takes_no_file():
    assert steps(disk=DiskWanted(Path("/proc/self"), 1, 0))["cache directory"].result == "failed"


@pytest.mark.parametrize(
    ("size", "min_free", "result"), [(1, 0, "ok"), (1 << 60, 0, "warning"), (1, 1 << 60, "failed")]
)
def test_room(tmp_path: Path, size: int, min_free: int, result: str):
    assert steps(disk=DiskWanted(tmp_path, size, min_free))["free space"].result == result


def test_a_folder_that_another_program_has_taken(tmp_path: Path):
    lock = DirectoryLock(str(tmp_path / "LOCK"))
    assert lock.acquire()
    found = steps(disk=DiskWanted(tmp_path, 1, 0))["cache directory"]
    assert (found.result, f"process {os.getpid()}" in found.said) == ("warning", True)
    assert steps(disk=DiskWanted(tmp_path, 1, 0), is_running=True)["cache directory"].result == "ok"
    lock.release()
    assert steps(disk=DiskWanted(tmp_path, 1, 0))["cache directory"].result == "ok"


@pytest.mark.parametrize(
    ("kind", "result"),
    [("ext4", "ok"), ("nfs4", "warning"), ("fuse.s3fs", "warning"), ("tmpfs", "warning"), ("overlay", "warning")],
)
def test_the_kind_of_file_system(tmp_path: Path, kind: str, result: str):
    (tmp_path / "a b").mkdir()
    mounted = f"{tmp_path}/a b".replace(" ", "\\040")
    lines = f"22 1 0:20 / / rw - xfs /dev/root rw\n36 35 98:0 / {mounted} rw,noatime master:1 - {kind} dev rw\n"
    root = machine(tmp_path / "root", proc__self__mountinfo=lines)
    found = steps(disk=DiskWanted(tmp_path / "a b", 1, 0), root=root)["file system"]
    assert (found.result, found.figures) == (result, {"kind": kind})
    assert steps(disk=DiskWanted(tmp_path, 1, 0), root=root)["file system"].figures == {"kind": "xfs"}


@pytest.mark.parametrize(
    ("wanted", "limit", "result"),
    [(GIB, "max", "ok"), (GIB, str(4 * GIB), "ok"), (GIB, str(2 * GIB), "warning"), (GIB, str(GIB), "failed")],
)
def test_memory_of_a_container(tmp_path: Path, wanted: int, limit: str, result: str):
    root = machine(tmp_path, proc__meminfo="MemTotal: 16777216 kB\nMemFree: 1 kB\n", sys__fs__cgroup__memory_max=limit)
    assert steps(memory_bytes=wanted, root=root)["memory"].result == result
    assert steps(memory_bytes=wanted, root=tmp_path / "nothing")["memory"].result == "skipped"


def test_ports_that_are_free_taken_and_not_ours(tmp_path: Path):
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = TcpAddress("127.0.0.1", taken.getsockname()[1])
        found = steps(addresses={"server.listen": address})["port"]
        assert (found.result, "server.listen" in found.said) == ("failed", True)
        assert steps(addresses={"server.listen": address}, is_running=True)["port"].result == "ok"
    assert steps(addresses={"server.listen": TcpAddress("127.0.0.1", 0)})["port"].result == "ok"
    assert steps(addresses={"server.listen": TcpAddress("192.0.2.1", 0)})["port"].result == "failed"
    with closing(socket.socket(socket.AF_UNIX)) as server:
        path = str(tmp_path / "s")
        assert steps(addresses={"server.listen": UnixAddress(path)})["port"].result == "ok"
        server.bind(path)
        server.listen()
        assert steps(addresses={"server.listen": UnixAddress(path)})["port"].result == "failed"
    gone = UnixAddress(str(tmp_path / "none" / "s"))
    assert steps(addresses={"server.listen": gone})["port"].result == "failed"
