"""`python -m bench.disk_tier fill FOLDER` and `… start FOLDER`: the disk tier alone, in a process of its own.

*fill* offers blocks of 256 KiB at 0.6 GB/s, whatever becomes of them, and then as fast as the queue takes them; once
into an empty tier and once into a full one, where each evicts another. Told are the bytes that came to the disk, the
blocks that were dropped, and the CPU time of the whole process a gigabyte: that holds where other programs share the
machine, and the rate does not.

*start* opens a folder that `make_files` has filled, without an index, closes it, and opens it again. The longest hold
of the event loop is the CPU time that its thread takes before a task that asks for a turn each millisecond has it.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from rangecache.aio.clock import SystemClock
from rangecache.blocks.disk import DiskTier
from rangecache.model import BlockKey, ObjectRef

BLOCK_BYTES: Final = 256 * 1024
TIER_BYTES: Final = 2 << 30
OFFERED: Final = 0.6e9
"""Bytes a second: two and a half times what one connection to a cloud gives, with ten of them."""
RATES: Final[dict[str, float | None]] = {"0.6 GB/s offered": OFFERED, "as fast as taken": None}
EMPTY: Final = "into an empty tier"
FULL: Final = "into a full tier"
WITHOUT: Final = "without an index"
WITH: Final = "with an index"
GIGA: Final = 1e9
KEY: Final = ObjectRef("s3", "bench", "object")


def blocks() -> list[memoryview]:
    """Different bytes, more of them than fit into a processor's cache."""
    return [memoryview(os.urandom(BLOCK_BYTES)) for _ in range(256)]


async def fill(tier: DiskTier, first: int, rate: float | None, fill_bytes: int) -> dict[str, float]:
    """Offer so many bytes, at a rate or as fast as they are taken."""
    data, count = blocks(), fill_bytes // BLOCK_BYTES
    dropped, began_s, began_cpu_s = tier.stats().writes_dropped, time.perf_counter(), time.process_time()
    for number in range(count):
        if rate is None:
            while tier.queued[0] + BLOCK_BYTES > tier.queued[1]:  # noqa: ASYNC110 - the pace of an origin
                await asyncio.sleep(0.0005)
        else:
            while time.perf_counter() < began_s + number * BLOCK_BYTES / rate:  # noqa: ASYNC110
                await asyncio.sleep(0.0005)
        tier.keep(BlockKey(KEY, "0" * 32, first + number, BLOCK_BYTES), data[number % len(data)])
        if number % 16 == 0:
            await asyncio.sleep(0)
    await tier.flush()
    took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    dropped = tier.stats().writes_dropped - dropped
    written = (count - dropped) * BLOCK_BYTES / GIGA
    return {
        "gb_per_s": written / took_s,
        "dropped_percent": 100 * dropped / count,
        "cpu_s_per_gb": cpu_s / max(written, 0.001),
    }


async def filling(folder: Path, fill_bytes: int) -> dict[str, dict[str, float]]:
    """Both rates, empty and full."""
    found = {}
    for title, offered in RATES.items():
        with tempfile.TemporaryDirectory(dir=folder) as place:
            tier = DiskTier(place, fill_bytes + TIER_BYTES, 0, SystemClock())
            await tier.start()
            found[f"{title}, {EMPTY}"] = await fill(tier, 0, offered, fill_bytes)
            await tier.aclose()
        with tempfile.TemporaryDirectory(dir=folder) as place:
            tier = DiskTier(place, fill_bytes // 2, 0, SystemClock())
            await tier.start()
            await fill(tier, 0, None, fill_bytes)
            found[f"{title}, {FULL}"] = await fill(tier, fill_bytes // BLOCK_BYTES, offered, fill_bytes)
            await tier.aclose()
    return found


def make_files(place: Path, count: int) -> None:
    """Empty files under names like those of `count` blocks of objects of 64 blocks: the index does not look into them.
    Nothing is done where they have been made."""
    if place.exists():
        return
    for shelf in range(256):
        (place / "blocks-1" / f"{shelf:02x}").mkdir(parents=True)
    for number in range(count):
        name = hashlib.sha256(b"object %d" % (number // 64)).hexdigest()[:32]
        name += hashlib.sha256(b"block %d" % number).hexdigest()[:32]
        os.close(os.open(f"{place}/blocks-1/{name[32:34]}/{name}", os.O_CREAT | os.O_WRONLY, 0o600))


def resident_bytes() -> int:
    """Of this process."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Holds:
    """How long the event loop was held, at most."""

    def __init__(self) -> None:
        self.longest_ms = 0.0

    async def watch(self) -> None:
        """For ever."""
        while True:
            before_s = time.thread_time()
            await asyncio.sleep(0.001)
            self.longest_ms = max(self.longest_ms, (time.thread_time() - before_s) * 1000)


async def start(place: Path, before_bytes: int) -> dict[str, float]:
    """Open, wait until all is known, write a snapshot, close."""
    holds = Holds()
    watching = asyncio.create_task(holds.watch())
    tier = DiskTier(place, 1 << 50, 0, SystemClock())
    began_s = time.perf_counter()
    found: dict[str, float] = {}

    await tier.start()
    found["ready_s"] = time.perf_counter() - began_s
    while not tier.is_known:  # noqa: ASYNC110
        await asyncio.sleep(0.002)
    found["indexed_s"] = time.perf_counter() - began_s
    await tier.flush()
    found["looked_through_s"] = time.perf_counter() - began_s
    await tier.save()
    found["held_ms"] = holds.longest_ms
    found["bytes_per_block"] = (resident_bytes() - before_bytes) / tier.stats().blocks
    watching.cancel()
    await tier.aclose()
    return found


async def starting(folder: Path) -> dict[str, dict[str, float]]:
    """Without an index, and with one."""
    shutil.rmtree(folder / "index-1", ignore_errors=True)
    before_bytes = resident_bytes()
    return {name: await start(folder, before_bytes) for name in (WITHOUT, WITH)}


def main() -> None:
    """Print JSON."""
    what, folder, *numbers = sys.argv[1:]
    if what == "fill":
        found = asyncio.run(filling(Path(folder), int(numbers[0])))
    else:
        found = asyncio.run(starting(Path(folder)))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
