"""This machine, looked into: the folder of the cache, memory, the ports, the event loop.

Nothing is left behind: the folder is not made, and a file that is written in it is removed. Blocks.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Final, NamedTuple

from rangecache.blocks.disk_bounds import INODES_FREE_SHARE
from rangecache.blocks.lock import LOCK_NAME, DirectoryLock
from rangecache.checkup.step import Step
from rangecache.settings import TcpAddress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rangecache.settings import Address

# What the program holds besides blocks: the interpreter, its libraries, buffers towards clients and origins.
BESIDES_BYTES: Final = 256 << 20
_NO_LIMIT: Final = 1 << 60  # version 1 of cgroups writes a number of this kind where there is none
_REMOTE: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "lustre", "afs", "virtiofs"})
_MEMORY: Final = frozenset({"tmpfs", "ramfs"})


class DiskWanted(NamedTuple):
    """What the disk cache is configured to be."""

    folder: Path
    size_bytes: int
    min_free_bytes: int


class MachineCheck:
    """Looks once. `root` is where `/proc` and `/sys` are found. `is_running`: an instance with this configuration
    serves at this moment, and has every right to what it holds."""

    def __init__(
        self,
        *,
        disk: DiskWanted | None,
        memory_bytes: int,
        addresses: Mapping[str, Address],
        is_running: bool,
        root: Path = Path("/"),
    ) -> None:
        """`addresses` are to be listened at, by setting."""
        self._disk = disk
        self._memory_bytes = memory_bytes
        self._addresses = addresses
        self._is_running = is_running
        self._root = root

    def run(self) -> list[Step]:
        """All steps."""
        ports = [self._port(setting, address) for setting, address in self._addresses.items()]
        return [*self._folder(), self._memory(), *ports, _event_loop()]

    def _folder(self) -> list[Step]:
        if self._disk is None:
            return [Step("cache directory", "", "skipped", "cache.disk.enabled is false: nothing is kept on disk")]
        folder = self._disk.folder
        there = next(each for each in (folder, *folder.parents) if each.exists())
        state = f"{folder} is writable" if there == folder else f"{folder} can be made in {there}"
        fault = _write_fault(there)
        if fault:
            said = f"{there} {fault}; make it writable for this user, or set cache.disk.path to another"
            return [Step("cache directory", "", "failed", said), *self._room(there)]
        if (holder := _holder(folder)) and not self._is_running:
            said = f"{state}, but {holder} uses it: until that one ends, this one would keep nothing on disk"
            return [Step("cache directory", "", "warning", said), self._file_system(there), *self._room(there)]
        return [
            Step("cache directory", "", "ok", state),
            self._file_system(there),
            *self._room(there),
        ]

    def _file_system(self, there: Path) -> Step:
        kind = self._kind_of(there)
        figures = {"kind": kind or None}
        if not kind:
            return Step("file system", "", "skipped", "its kind cannot be found out here")
        said = ""
        if kind in _REMOTE or kind.startswith("fuse"):
            said = "blocks would travel over a network or through another program; take a disk of this machine"
        elif kind in _MEMORY:
            said = "that is memory, which counts as this program's in a container; take a disk, or switch the disk off"
        elif kind == "overlay":
            said = "that is the container's own layer, which is slow and ends with it; mount a volume there"
        return Step("file system", "", "warning" if said else "ok", f"{kind}: {said}" if said else kind, figures)

    def _kind_of(self, there: Path) -> str:
        """The kind of the file system that a folder is on ("/proc/pid/mountinfo" of proc(5))."""
        best, kind = -1, ""
        with suppress(OSError, ValueError):
            real = os.path.join(os.path.realpath(there), "")
            for line in (self._root / "proc/self/mountinfo").read_text().splitlines():
                mounted, _, told = line.partition(" - ")
                point = os.path.join(mounted.split()[4].encode().decode("unicode_escape"), "")
                if real.startswith(point) and len(point) >= best:  # of two at one place the later one is on top
                    best, kind = len(point), told.split()[0]
        return kind

    def _room(self, there: Path) -> list[Step]:
        wanted = self._disk
        if wanted is None:
            return []
        found = os.statvfs(there)
        free = found.f_bavail * found.f_frsize
        figures = {"free_bytes": free, "wanted_bytes": wanted.size_bytes, "min_free_bytes": wanted.min_free_bytes}
        said = f"{_size(free)} free; {_size(wanted.size_bytes)} are cache.disk.size"
        kept = f"{_size(wanted.min_free_bytes)} stay free for others (cache.disk.min_free)"
        if free <= wanted.min_free_bytes:
            steps = [Step("free space", "", "failed", f"{said}, but {kept}: nothing more would be kept", figures)]
        elif free < wanted.size_bytes + wanted.min_free_bytes and not self._is_running:
            steps = [Step("free space", "", "warning", f"{said} and {kept}: what is new would be less", figures)]
        else:
            steps = [Step("free space", "", "ok", said, figures)]
        if not found.f_files:
            return [*steps, Step("inodes", "", "skipped", "this file system does not count them")]
        share = found.f_favail / found.f_files
        inodes = {"free_count": found.f_favail, "free_share": share}
        if share <= INODES_FREE_SHARE:
            text = f"only {share:.0%} are free, and {INODES_FREE_SHARE:.0%} stay so: no more blocks would be kept"
            return [*steps, Step("inodes", "", "failed", text, inodes)]
        return [*steps, Step("inodes", "", "ok", f"{share:.0%} are free", inodes)]

    def _memory(self) -> Step:
        limit, of = self._memory_limit()
        if limit is None:
            return Step("memory", "", "skipped", "how much there is cannot be found out here")
        needed = self._memory_bytes + BESIDES_BYTES
        said = f"{_size(limit)} of {of}; {_size(self._memory_bytes)} are cache.memory.size"
        figures = {"limit_bytes": limit, "needed_bytes": needed}
        if needed > limit:
            return Step("memory", "", "failed", f"{said}: too much, the program would be killed; lower it", figures)
        if needed > limit // 2:
            why = "more than half with what the program needs besides, and the kernel's cache of files counts too"
            return Step("memory", "", "warning", f"{said}: {why}; lower it, or raise the limit", figures)
        return Step("memory", "", "ok", said, figures)

    def _memory_limit(self) -> tuple[int | None, str]:
        """The least of the container's limit and the machine's memory."""
        found: list[tuple[int, str]] = []
        with suppress(OSError, ValueError):
            lines = (self._root / "proc/meminfo").read_text().splitlines()
            total = next(line for line in (*lines, "MemTotal: none") if line.startswith("MemTotal:"))
            found.append((int(total.split()[1]) * 1024, "this machine"))
        for name in ("memory.max", "memory/memory.limit_in_bytes"):
            with suppress(OSError, ValueError):
                limit = int((self._root / "sys/fs/cgroup" / name).read_text())
                if limit < _NO_LIMIT:
                    found.append((limit, "this container"))
        return min(found) if found else (None, "")

    def _port(self, setting: str, address: Address) -> Step:
        figures = {"setting": setting, "address": str(address)}
        try:
            if isinstance(address, TcpAddress):
                _try_to_listen(address)
            else:
                _try_path(Path(address.path))
        except OSError as error:
            if error.errno == errno.EADDRINUSE and self._is_running:
                return Step("port", "", "ok", f"{setting} {address}: the running instance listens there", figures)
            why = {
                errno.EADDRINUSE: "another program listens there",
                errno.EACCES: "this user may not listen there",
                errno.EADDRNOTAVAIL: "no interface of this machine has that address",
            }.get(error.errno or 0, error.strerror or "it cannot be listened at")
            return Step("port", "", "failed", f"{setting} {address}: {why}; choose another", figures)
        return Step("port", "", "ok", f"{setting} {address} is free", figures)


def _size(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count / (1 << 20):.0f} MiB"


def _write_fault(folder: Path) -> str:
    """Why no file can be written there; empty where one was."""
    if not folder.is_dir():
        return "is no folder"
    try:
        with TemporaryFile(dir=folder, prefix=".rangecache-doctor-") as file:
            file.write(b"x")
            file.flush()
    except OSError as error:
        return f"cannot be written to ({error.strerror})"
    return ""


def _holder(folder: Path) -> str:
    """Who has taken the folder for himself; empty for nobody."""
    path = folder / LOCK_NAME
    lock = DirectoryLock(str(path))
    try:
        return "" if not path.exists() or lock.acquire() else lock.holder()
    except OSError:  # the program will say why when it starts
        return ""
    finally:
        lock.release()


def _try_to_listen(address: TcpAddress) -> None:
    for family, kind, protocol, _, where in socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        with closing(socket.socket(family, kind, protocol)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(where)
            listener.listen(1)


def _try_path(path: Path) -> None:
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, "its folder is not there, or not writable")
    if not path.exists():
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise OSError(errno.EEXIST, "a file is there that is no socket")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as client:
        if client.connect_ex(str(path)) == 0:
            raise OSError(errno.EADDRINUSE, "in use")


def _event_loop() -> Step:
    if find_spec("uvloop") is not None:
        return Step("event loop", "", "ok", "uvloop", {"loop": "uvloop"})
    said = "asyncio's own, which serves noticeably fewer requests a second; install uvloop"
    return Step("event loop", "", "warning", said, {"loop": "asyncio"})
