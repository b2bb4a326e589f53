from __future__ import annotations

import random
from typing import TYPE_CHECKING

from rangecache.blocks.admission import LRU
from rangecache.blocks.disk import DiskTier
from rangecache.blocks.disk_folder import SNAPSHOT_INTERVAL_S, UPKEEP_INTERVAL_S
from rangecache.blocks.memory import ENTRY_OVERHEAD_BYTES, MemoryTier
from rangecache.blocks.tiers import Tiers
from tests.blocks.conftest import BLOCK_BYTES, FILE_BYTES, block_key, content, upkeep

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from rangecache.model import BlockKey
    from rangecache.testing.clock import ManualClock

    OpenTier = Callable[..., Awaitable[DiskTier]]

HOT = [block_key(index, "hot") for index in range(8)]
LOOK = SNAPSHOT_INTERVAL_S // UPKEEP_INTERVAL_S


async def read(tiers: Tiers, key: BlockKey) -> int:
    """As a reader does; 1 if the origin has to be asked."""
    if tiers.peek(key) is not None or await tiers.get(key) is not None:
        return 0
    tiers.keep(key, content(key))
    return 1


async def test_what_is_read_all_the_time_is_still_there_after_a_restart(
    open_tier: OpenTier, tmp_path: Path, clock: ManualClock
) -> None:
    """Eight blocks are read between all others, from memory. The others are half as many again as the disk holds, and
    are read there. Then the program is restarted: if memory had not been asked, most of the eight would have gone."""
    memory = MemoryTier(16 * (BLOCK_BYTES + ENTRY_OVERHEAD_BYTES))
    disk = DiskTier(tmp_path / "cache", 64 * FILE_BYTES, 0, clock, favourites=memory.favourites)
    await disk.start()
    tiers = Tiers([memory, disk])
    fetched, chance = 0, random.Random(5)
    for number in range(800):
        for key in HOT:
            fetched += await read(tiers, key)
        await read(tiers, block_key(chance.randrange(96), "others"))
        await disk.flush()
        if number % 20 == 0:
            await upkeep(clock, LOOK)
    assert fetched < 2 * len(HOT)
    assert all(memory.contains(key) for key in HOT)
    await tiers.aclose()
    again = Tiers([MemoryTier(1 << 20), await open_tier(limit_bytes=64 * FILE_BYTES)])
    assert sum([await read(again, key) for key in HOT]) == 0


async def test_what_a_scan_has_just_brought_is_not_taken_for_hot(tmp_path: Path, clock: ManualClock) -> None:
    touched: list[bytes] = []
    memory = MemoryTier(16 * (BLOCK_BYTES + ENTRY_OVERHEAD_BYTES))
    disk = DiskTier(tmp_path / "cache", 64 * FILE_BYTES, 0, clock, favourites=memory.favourites)
    disk._policy.touch = touched.append  # type: ignore[misc]
    await disk.start()
    tiers = Tiers([memory, disk])
    for minute in range(3):
        for number in range(32):
            await read(tiers, block_key(32 * minute + number, "passing"))
        await disk.flush()
        await upkeep(clock, LOOK)
    assert touched == []
    await tiers.aclose()


def test_lru_cannot_tell_and_names_all() -> None:
    policy: LRU[str] = LRU()
    policy.admit("a", 1)
    policy.admit("b", 1)
    assert list(policy.favourites()) == ["a", "b"]
