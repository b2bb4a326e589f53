"""Programs whose system calls fail, or kill them, where a test says so: `strace -e inject`.

    python -m tests.blocks.traced

is a server that has everything imported and forks a child for each line of JSON that it reads: the scenario's name and
its directory. The child prints which threads do its file work and waits; strace is attached to those threads only, so
sockets and pipes work on, or for reads of the page cache to the one that runs the event loop; then it plays the
scenario and prints what came of it. All file work is done by one thread of each pool, so that calls have numbers that
mean something.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rangecache.aio.clock import SystemClock
from rangecache.blocks import disk
from rangecache.model import BlockKey, ObjectRef
from rangecache.testing.objects import stamped
from rangecache.testing.origin import Origin
from rangecache.wiring.program import Program
from tests.blocks.conftest import content
from tests.edge.client import CutShort, fetch
from tests.edge.rig import BLOCK, settings_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

FILE_BYTES: Final = 2 * BLOCK
HELD_BLOCKS: Final = 8
PAGE_CACHE_CALL: Final = "preadv2"
OBJECTS: Final = {f"object-{number}": 1 + number % 3 for number in range(6)}  # and their lengths in blocks


def key_of(index: int) -> BlockKey:
    """Blocks of three objects."""
    return BlockKey(ObjectRef("s3", "bucket", f"objects/{index % 3}"), "0" * 32, index, BLOCK)


FORGOTTEN: Final = key_of(0).ref
BLOCKS: Final = 16


# --- in the child -------------------------------------------------------------------------------------------------


async def put_and_evict(directory: Path, ready: Callable[[list[int]], Awaitable[None]]) -> dict[str, Any]:
    """A disk tier from its opening to its end, with all that it does to files in between."""
    tier = disk.DiskTier(directory, HELD_BLOCKS * FILE_BYTES, 0, SystemClock())
    await ready([await tier._threads.run(threading.get_native_id)])
    await tier.start()
    await tier.flush()
    for first in range(0, 12, 4):
        for index in range(first, first + 4):
            tier.keep(key_of(index), content(key_of(index), 100 if index % 5 == 0 else None))
        await tier.flush()
    await tier.get(key_of(10))
    await tier.forget({FORGOTTEN})
    print(json.dumps({"forgotten": True}), flush=True)
    for index in range(13, BLOCKS, 2):
        tier.keep(key_of(index), content(key_of(index)))
    await tier.flush()
    tier._folder._start_saving()
    await tier.aclose()
    return {"state": tier.stats().state}


async def read_again(directory: Path, ready: Callable[[list[int]], Awaitable[None]]) -> dict[str, Any]:
    """The whole program in front of a healthy origin: every object is read four times, half of that from disk."""
    async with Origin() as origin:
        data = {name: stamped(name, 1, blocks * BLOCK - 100) for name, blocks in OBJECTS.items()}
        for name, body in data.items():
            origin.put(f"b/{name}", body)
        cache = {
            "memory": {"size": 2 * BLOCK},
            "disk": {"enabled": True, "path": str(directory), "size": 10 * FILE_BYTES, "min_free": 0},
        }
        program = Program(settings_for(origin, cache={"block_size": BLOCK, **cache}), SystemClock())
        assert program.disk is not None
        assert program.records is not None
        pools = (program.disk._threads, program.records._threads)
        await ready([await pool.run(threading.get_native_id) for pool in pools])
        bad, from_disk = [], 0
        await program.start()
        try:
            (address,) = program.addresses
            for name in (name for name in (*data, *reversed(data)) for _ in range(2)):
                try:
                    answer = await fetch(address.port, f"/web/b/{name}")  # type: ignore[union-attr]
                except CutShort as cut:
                    bad.append(f"{name}: {cut!r}")
                    continue
                if answer.status != 200 or answer.body != data[name]:
                    bad.append(f"{name}: {answer.status}, {len(answer.body)} of {len(data[name])} bytes")
                from_disk += "detail=disk" in answer.cache
                await program.disk.flush()
        finally:
            await program.stop()
        stats = program.disk.stats()
        return {"bad": bad, "state": stats.state, "from disk": from_disk, "evictions": stats.evictions}


SCENARIOS: Final = {"put and evict": put_and_evict, "read again": read_again}


def _read_line() -> str:
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            return ""
        line += byte
    return line.decode()


def _play(request: dict[str, str]) -> None:
    async def ready(threads: list[int]) -> None:
        loop = threading.get_native_id()
        print(json.dumps({"pid": os.getpid(), "threads": threads, "loop": loop}), flush=True)
        _read_line()

    try:
        print(json.dumps(asyncio.run(SCENARIOS[request["scenario"]](Path(request["directory"]), ready))), flush=True)
    except BaseException as error:  # a child must not go on as its parent
        print(json.dumps({"fault": f"{type(error).__name__}: {error}"}), flush=True)
    os._exit(0)


def main() -> None:
    disk.THREADS = 1  # type: ignore[misc]
    while line := _read_line():
        pid = os.fork()
        if pid == 0:
            _play(json.loads(line))
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"status": os.waitstatus_to_exitcode(status)}), flush=True)


# --- in the test --------------------------------------------------------------------------------------------------


class Played(NamedTuple):
    """What came of a scenario."""

    said: dict[str, Any]
    injected: int
    """Calls that were made to fail, or that killed it."""
    killed: bool


class Traced:
    """The server, seen from a test."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    async def play(self, scenario: str, directory: Path, inject: str) -> Played:
        """One scenario with one `inject=` expression of strace."""
        await self._send(json.dumps({"scenario": scenario, "directory": str(directory)}))
        began = await self._receive()
        calls = inject.partition(":")[0]
        threads = [began["loop"]] if calls == PAGE_CACHE_CALL else began["threads"]
        targets = [part for thread in threads for part in ("-p", str(thread))]
        strace = await asyncio.create_subprocess_exec(
            *("strace", *targets, "-e", f"trace={calls}", "-e", f"inject={inject}", "-o", str(self._log)),
            stderr=asyncio.subprocess.PIPE,
        )
        assert strace.stderr is not None
        for _ in threads:
            assert b"attached" in (line := await strace.stderr.readline()), line
        await self._send("go")
        said: dict[str, Any] = {}
        while "status" not in said:
            said |= await self._receive()
        await strace.communicate()
        trace = self._log.read_text()
        killed = said["status"] == -signal.SIGKILL
        return Played(said, trace.count("(INJECTED)") + killed, killed)

    async def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        await self._process.stdin.drain()

    async def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        told: dict[str, Any] = json.loads(await self._process.stdout.readline())
        return told


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Traced]:
    """The server, as a program."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.blocks.traced"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Traced(process, folder / "strace.log")
    finally:
        process.kill()
        await process.wait()


def why_not() -> str:
    """Why no program can be traced here; empty if one can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(
        ["strace", "-e", "trace=close", "-e", "inject=close:error=EIO:when=1000", "true"],
        capture_output=True,
        check=False,
    )
    return "" if tried.returncode == 0 else f"strace does not work here: {tried.stderr.decode()[-200:]}"


if __name__ == "__main__":
    main()
