"""Forks children that fill a disk tier, and kills them. Run by test_kill as a program: it has no threads of its own.

    python -m tests.blocks.killed_writer DIRECTORY KILLS SEED

Each child opens the directory as the one before left it, looks at what it finds, and then writes, evicts, reads and
purges until it is killed. What went wrong is said on the last line, with counts that show that the kills met something.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any, Final

from rangecache.aio.clock import SystemClock
from rangecache.blocks.disk import DiskTier
from rangecache.model import BlockKey, ObjectRef
from tests.blocks.conftest import content

BLOCK_BYTES: Final = 16 * 1024
FILE_BYTES: Final = 20 * 1024
OBJECTS: Final = 5
BLOCKS: Final = 60  # names that are written over and over
HELD_BLOCKS: Final = 24  # so that most of them are evicted while others are written
LIFE_S: Final = 0.02  # a child lives for at most so long
READ_EVERY: Final = 10  # kills after which a child reads all that it finds, and is not killed


def key_of(index: int) -> BlockKey:
    return BlockKey(ObjectRef("s3", "bucket", f"objects/{index % OBJECTS}"), "0" * 32, index, BLOCK_BYTES)


class Fault(Exception):
    """Something that must not be."""


async def live(directory: str, seed: int, *, read_all: bool) -> dict[str, int]:
    """One life; the counts, if it is not killed."""
    found = {"leftovers": len(list(Path(directory).glob("blocks-1/*/tmp-*"))), "served": 0, "lives": 1}
    tier = DiskTier(directory, HELD_BLOCKS * FILE_BYTES, 0, SystemClock())
    await tier.start()
    if read_all:
        await look(tier, found)
        return found
    chance = random.Random(seed)
    while True:
        for index in chance.sample(range(BLOCKS), 20):
            tier.keep(key_of(index), content(key_of(index)))
        for index in chance.sample(range(BLOCKS), 5):
            await check(tier, index)
        if chance.random() < 0.1:
            await tier.forget({key_of(chance.randrange(OBJECTS)).ref})


async def look(tier: DiskTier, found: dict[str, int]) -> None:
    """Everything that must hold after a restart."""
    if tier.stats().state != "rw":
        raise Fault(f"it is {tier.stats().state}: {tier.state_reason}")
    for index in range(BLOCKS):
        found["served"] += await check(tier, index)
    await tier.flush()
    files = [path for path in Path(tier.directory).glob("blocks-1/*/*") if path.is_file()]
    if left := [path.name for path in files if path.name.startswith("tmp-")]:
        raise Fault(f"{left} were left")
    on_disk = sum(-(-path.stat().st_size // 4096) * 4096 for path in files)
    if not on_disk == tier.stats().bytes <= HELD_BLOCKS * FILE_BYTES:
        raise Fault(f"{on_disk} bytes are on disk, {tier.stats().bytes} are counted")
    if tier.stats().checksum_errors:
        raise Fault("a file with its final name was not whole")  # no kill does that, only a power failure
    await tier.aclose()


async def check(tier: DiskTier, index: int) -> bool:
    found = await tier.get(key_of(index))
    if found is not None and found != content(key_of(index)):
        raise Fault(f"wrong bytes of block {index}")
    return found is not None


def in_child(directory: str, seed: int, report: int, *, read_all: bool) -> None:
    """Live, and say what was found; never returns."""
    try:
        text = json.dumps(asyncio.run(live(directory, seed, read_all=read_all)))
    except BaseException as error:  # a child must not go on as its parent
        text = json.dumps({"fault": f"{type(error).__name__}: {error}"})
    os.write(report, text.encode())
    os._exit(0)


def main() -> None:
    directory, kills, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(seed)
    total: dict[str, Any] = {"kills": 0, "lives": 0, "leftovers": 0, "served": 0}
    for number in range(kills + kills // READ_EVERY):
        read_all = number % (READ_EVERY + 1) == READ_EVERY
        reading, report = os.pipe()
        pid = os.fork()
        if pid == 0:
            in_child(directory, chance.randrange(1 << 30), report, read_all=read_all)
        os.close(report)
        if not read_all:
            time.sleep(chance.uniform(0, LIFE_S))  # where in its work it dies; nothing is waited for
            os.kill(pid, signal.SIGKILL)
            total["kills"] += 1
        os.waitpid(pid, 0)
        with os.fdopen(reading, "rb") as pipe:
            told = json.loads(pipe.read() or b"{}")
        if "fault" in told:
            total["fault"] = f"{told['fault']} (after {total['kills']} kills)"
            break
        for name, count in told.items():
            total[name] += count
    print(json.dumps(total))


if __name__ == "__main__":
    main()
