"""What real disks do to a running program, each in a process with mounts of its own.

    unshare --mount python -m tests.edge.bad_disks SCENARIO DIRECTORY

Every scenario reads through the data port while the origin is healthy, checks each answer, and prints what it saw as
JSON. Whoever is asked what is wrong says it in `bad`: it must be empty.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rangecache.testing.objects import stamped
from tests.edge.rig import BLOCK, HurriedClock, running, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable

    from rangecache.blocks.disk import DiskTier
    from tests.edge.rig import Rig

HASTE: Final = 50  # a probe comes after 60 s
OBJECT_BLOCKS: Final = 4
MEMORY_BLOCKS: Final = 4


class Scene:
    """A program on a bad disk, and a reader who believes nothing."""

    def __init__(self, rig: Rig, place: Path) -> None:
        self.rig = rig
        self.place = place
        self.bad: list[str] = []

    @property
    def disk(self) -> DiskTier:
        assert self.rig.program.disk is not None
        return self.rig.program.disk

    @property
    def state(self) -> str:
        return self.disk.stats().state

    def put(self, keys: Iterable[str]) -> None:
        """At the origin."""
        for key in keys:
            self.rig.origin.put(f"b/{key}", stamped(key, 1, OBJECT_BLOCKS * BLOCK - 5))

    async def read(self, keys: Iterable[str]) -> int:
        """Read objects one after the other; how many requests the origin had for them."""
        before = len(self.rig.origin.requests)
        for key in keys:
            answer = await self.rig.get_or_cut(key)
            if answer.status != 200 or answer.body != stamped(key, 1, OBJECT_BLOCKS * BLOCK - 5):
                self.bad.append(f"{key}: {answer.status}, {len(answer.body)} bytes, disk {self.state}")
        await self.disk.flush()
        return len(self.rig.origin.requests) - before


@asynccontextmanager
async def scene(place: Path, size: int = 1 << 30) -> AsyncIterator[Scene]:
    """The program with a memory tier of few blocks, so that most comes from disk, on a clock in a hurry."""
    disk = {"enabled": True, "path": str(place / "cache"), "size": size, "min_free": 0}
    async with running(
        clock=HurriedClock(HASTE), cache={"memory": {"size": MEMORY_BLOCKS * BLOCK}, "disk": disk}
    ) as rig:
        assert rig.program.disk is not None
        await rig.program.disk.flush()
        yield Scene(rig, place)


def mount(place: Path, options: str) -> None:
    """A file system of its own, which goes with this process."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True)


def mount_ext4(place: Path) -> str:
    """A file system in a file, which becomes read-only at an error; the name of its device."""
    image = place.with_suffix(".img")
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    subprocess.run(["mount", "-o", "loop,errors=remount-ro", image, place], check=True)
    found = subprocess.run(["findmnt", "-n", "-o", "SOURCE", place], check=True, capture_output=True, text=True)
    return Path(found.stdout.strip()).name


KEYS: Final = [f"object-{number:03d}" for number in range(40)]


async def full(place: Path) -> dict[str, Any]:
    """No byte is left, for blocks, the index or the catalog; then there are some again."""
    mount(place, "size=1m")
    async with scene(place) as cast:
        cast.put(KEYS)
        await cast.read(KEYS)
        await cast.read(KEYS)
        hog = place / "somebody"
        with hog.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        await cast.read(KEYS)
        when_full, served = cast.state, cast.disk.stats().blocks
        hog.unlink()
        await until(lambda: cast.state == "rw")
        await cast.read(KEYS[:5])
        again = await cast.read(KEYS[:5])
        return {"bad": cast.bad, "states": [when_full, cast.state], "served": served, "asked again": again}


async def out_of_inodes(place: Path) -> dict[str, Any]:
    """Bytes are left, files are not."""
    mount(place, "size=64m,nr_inodes=400")
    async with scene(place) as cast:
        cast.put(f"small-{number}" for number in range(150))
        await cast.read(f"small-{number}" for number in range(150))
        about = os.statvfs(place)
        # Who is read once makes no place for himself where all have been; who is read again does.
        for _ in range(2):
            await cast.read(f"small-{number}" for number in range(140, 150))
        again = await cast.read(f"small-{number}" for number in range(140, 150))
        stats = cast.disk.stats()
        return {
            "bad": cast.bad,
            "states": [stats.state],
            "free": about.f_favail / about.f_files,
            "blocks": stats.blocks,
            "evictions": stats.evictions,
            "asked again": again,
        }


async def read_only(place: Path) -> dict[str, Any]:
    """The kernel makes the file system read-only, as it does after an error of the device."""
    device = mount_ext4(place)
    async with scene(place) as cast:
        cast.put(KEYS)
        await cast.read(KEYS[:20])
        Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("of a test")
        from_disk = await cast.read(KEYS[:20])
        await cast.read(KEYS[20:])
        return {
            "bad": cast.bad,
            "states": [cast.state],
            "asked for what was there": from_disk,
            "dropped": cast.disk.stats().writes_dropped,
        }


async def no_more_files(place: Path) -> dict[str, Any]:
    """Every descriptor that this process may have is taken."""
    async with scene(place) as cast:
        cast.put(KEYS)
        await cast.read(KEYS)
        client = await cast.rig.connect()
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))
        taken = []
        with suppress(OSError):
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        for key in KEYS:
            client.send(f"/web/b/{key}")
            answer = await client.answer()
            if answer.status != 200 or answer.body != stamped(key, 1, OBJECT_BLOCKS * BLOCK - 5):
                cast.bad.append(f"{key}: {answer.status}")
        state = cast.state
        for descriptor in taken:
            os.close(descriptor)
        await cast.read(KEYS)
        again = await cast.read(KEYS)
        return {"bad": cast.bad, "states": [state, cast.state], "taken": len(taken), "asked again": again}


async def deleted(place: Path) -> dict[str, Any]:
    """Somebody deletes the directory of the running program."""
    async with scene(place) as cast:
        cast.put(KEYS)
        await cast.read(KEYS)
        shutil.rmtree(place / "cache")
        await cast.read(KEYS)
        await until(lambda: cast.state == "rw" and cast.disk.owned and (place / "cache" / "LOCK").exists())
        await cast.read(KEYS)
        # What was in memory when the directory went is on disk again when it has left memory and was fetched: once.
        again = sum([await cast.read(KEYS) for _ in range(6)])
        return {"bad": cast.bad, "states": [cast.state], "asked again": again}


SCENARIOS: Final[dict[str, Callable[[Path], Coroutine[Any, Any, dict[str, Any]]]]] = {
    each.__name__: each for each in (full, out_of_inodes, read_only, no_more_files, deleted)
}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(SCENARIOS[sys.argv[1]](Path(sys.argv[2])))))
