"""`python -m bench.disk [FILE.json]`: the disk tier alone, filled, and started with many blocks.

*Filling.* Blocks of 256 KiB are offered at 0.6 GB/s, whatever becomes of them, and then as fast as the queue takes
them; once into an empty tier and once into a full one, where each evicts another. Shown are the bytes that came to the
disk, the blocks that were dropped, and the CPU time of the whole process a gigabyte: that holds where other programs
share the machine, and the rate does not.

*Starting.* A directory with empty files under the names of so many blocks: the index does not look into them. It is
opened without an index, closed, and opened again. The longest hold of the event loop is the CPU time that its thread
takes before a task that asks for a turn each millisecond has it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import hashlib
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from rangecache.aio.clock import SystemClock
from rangecache.blocks.disk import DiskTier
from rangecache.model import BlockKey, ObjectRef

BLOCK_BYTES: Final = 256 * 1024
FILL_BYTES: Final = 4 << 30
TIER_BYTES: Final = 2 << 30
OFFERED: Final = 0.6e9
"""Bytes a second: two and a half times what one connection to a cloud gives, with ten of them."""
BLOCKS: Final = 1_000_000
GIGA: Final = 1e9
KEY: Final = ObjectRef("s3", "bench", "object")


def blocks() -> list[memoryview]:
    """Different bytes, more of them than fit into a processor's cache."""
    return [memoryview(os.urandom(BLOCK_BYTES)) for _ in range(256)]


async def fill(tier: DiskTier, first: int, rate: float | None) -> dict[str, float]:
    """Offer `FILL_BYTES`, at a rate or as fast as they are taken."""
    data, count = blocks(), FILL_BYTES // BLOCK_BYTES
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
        "gigabytes_per_s": written / took_s,
        "dropped_share": dropped / count,
        "cpu_s_per_gigabyte": cpu_s / max(written, 0.001),
    }


async def filling(folder: Path) -> dict[str, Any]:
    """Both rates, empty and full."""
    found: dict[str, Any] = {}
    for offered in (OFFERED, None):
        name = "as fast as taken" if offered is None else f"{offered / GIGA:g} GB/s offered"
        with tempfile.TemporaryDirectory(dir=folder) as place:
            tier = DiskTier(place, FILL_BYTES + TIER_BYTES, 0, SystemClock())
            await tier.start()
            found[f"{name}, empty"] = await fill(tier, 0, offered)
            await tier.aclose()
        with tempfile.TemporaryDirectory(dir=folder) as place:
            tier = DiskTier(place, TIER_BYTES, 0, SystemClock())
            await tier.start()
            await fill(tier, 0, None)
            found[f"{name}, full"] = await fill(tier, FILL_BYTES // BLOCK_BYTES, offered)
            await tier.aclose()
    for name, each in found.items():
        print(
            f"{name:28} {each['gigabytes_per_s']:5.2f} GB/s, {each['dropped_share']:6.2%} dropped, "
            f"{each['cpu_s_per_gigabyte']:5.2f} s CPU a GB"
        )
    return found


def make_files(place: Path, count: int) -> None:
    """Names like those of `count` blocks of objects of 64 blocks."""
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
    """How long the event loop was held, at most, since it was asked last."""

    def __init__(self) -> None:
        self._longest_s = 0.0

    async def watch(self) -> None:
        """For ever."""
        while True:
            before_s = time.thread_time()
            await asyncio.sleep(0.001)
            self._longest_s = max(self._longest_s, time.thread_time() - before_s)

    def longest_ms(self) -> float:
        """And begin anew."""
        longest_s, self._longest_s = self._longest_s, 0.0
        return longest_s * 1000


async def start(place: Path, before_bytes: int) -> dict[str, float]:
    """Open, wait until all is known, write a snapshot, close."""
    holds = Holds()
    watching = asyncio.create_task(holds.watch())
    tier = DiskTier(place, 1 << 50, 0, SystemClock())
    began_s = time.perf_counter()
    found: dict[str, float] = {}

    async def note(name: str, began_s: float) -> None:
        found[f"{name}_s"] = time.perf_counter() - began_s
        found[f"{name}_held_ms"] = holds.longest_ms()

    await tier.start()
    await note("serving", began_s)
    while not tier.is_known:  # noqa: ASYNC110
        await asyncio.sleep(0.002)
    await note("indexed", began_s)
    await tier.flush()
    await note("looked_through", began_s)
    began_s = time.perf_counter()
    await tier.save()
    await note("snapshot", began_s)
    found["resident_bytes_per_block"] = (resident_bytes() - before_bytes) / tier.stats().blocks
    watching.cancel()
    await tier.aclose()
    return found


async def starting(folder: Path, count: int) -> dict[str, Any]:
    """Without an index, and with one."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        make_files(Path(place), count)
        before_bytes = resident_bytes()
        found: dict[str, Any] = {}
        for name in ("without an index", "with an index"):
            found[name] = await start(Path(place), before_bytes)
        found["snapshot_bytes_per_block"] = (Path(place) / "index-1" / "snapshot").stat().st_size / count
    for name in ("without an index", "with an index"):
        each = found[name]
        held = ", ".join(f"{value:.1f}" for key, value in each.items() if key.endswith("held_ms"))
        print(
            f"{count:,} blocks, {name:16}: serves after {each['serving_s']:.2f} s, all indexed after "
            f"{each['indexed_s']:.2f} s, looked through after {each['looked_through_s']:.1f} s, snapshot in "
            f"{each['snapshot_s']:.1f} s; loop held at most {held} ms in these; "
            f"{each['resident_bytes_per_block']:.0f} B of memory a block"
        )
    return found


def main() -> None:
    """Measure, print, and write JSON to the file named on the command line, if one is."""
    parser = argparse.ArgumentParser(prog="python -m bench.disk", description=__doc__.partition("\n")[0])
    parser.add_argument("file", nargs="?", type=Path, help="where the figures go, as JSON")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="on the disk to be measured")
    parser.add_argument("--blocks", type=int, default=BLOCKS, help="to start with; 0: do not")
    parser.add_argument("--no-fill", action="store_true", help="do not fill")
    chosen = parser.parse_args()
    document: dict[str, Any] = {"case": "disk", "python": platform.python_version(), "cores": os.cpu_count()}
    if not chosen.no_fill:
        document["filling"] = asyncio.run(filling(chosen.folder))
    if chosen.blocks:
        document["starting"] = asyncio.run(starting(chosen.folder, chosen.blocks))
    if chosen.file:
        chosen.file.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
