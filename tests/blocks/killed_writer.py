"""Forks children that write blocks until they are killed. Run by test_kill; one line on stdin is one child."""

from __future__ import annotations

import asyncio
import os
import sys

from rangecache.aio.clock import SystemClock
from rangecache.blocks.disk import DiskTier
from rangecache.model import BlockKey, ObjectRef
from tests.blocks.conftest import content

BLOCK_BYTES = 64 * 1024
BLOCKS = 400  # names that are written over and over
HELD_BLOCKS = 200  # so that half of them are evicted while others are written


def key_of(index: int) -> BlockKey:
    return BlockKey(ObjectRef("s3", "bucket", f"objects/{index % 5}"), "0" * 32, index, BLOCK_BYTES)


async def write_for_ever(directory: str, child: int) -> None:
    tier = DiskTier(directory, HELD_BLOCKS * (BLOCK_BYTES + 4096), 0, SystemClock())
    await tier.start()
    await tier.flush()
    print("writing", tier.stats().state, flush=True)
    index = child * 37
    while True:
        for _ in range(64):
            index += 1
            tier.keep(key_of(index % BLOCKS), content(key_of(index % BLOCKS)))
        await tier.flush()


def main() -> None:
    for child, _ in enumerate(sys.stdin):
        pid = os.fork()
        if pid == 0:
            asyncio.run(write_for_ever(sys.argv[1], child))
        print(pid, flush=True)
        os.waitpid(pid, 0)
        print("ended", flush=True)


if __name__ == "__main__":
    main()
