from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from rangecache.blocks import disk as disk_module
from rangecache.blocks.base import STEP, Forgotten, Held
from rangecache.blocks.memory import ENTRY_OVERHEAD_BYTES, MemoryTier
from rangecache.blocks.tiers import Tiers
from rangecache.errors import TierError
from tests.blocks.conftest import BLOCK_BYTES, FILE_BYTES, block_key, content, keep, path_of, why_no_nowait

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection
    from pathlib import Path

    from rangecache.blocks.base import TierStats
    from rangecache.blocks.disk import DiskTier
    from rangecache.model import BlockKey, ObjectRef

    OpenTier = Callable[..., Awaitable[DiskTier]]

KEY = block_key(0)
ENTRY_BYTES = BLOCK_BYTES + ENTRY_OVERHEAD_BYTES


class BrokenTier:
    """A tier whose medium fails while `broken` is set."""

    name = "broken"

    def __init__(self) -> None:
        self.broken = True
        self.inner = MemoryTier(10 * ENTRY_BYTES)

    def peek(self, key: BlockKey) -> memoryview | None:
        return None

    def contains(self, key: BlockKey) -> bool:
        return self.inner.contains(key)

    def peek_part(self, key: BlockKey, start: int, end: int) -> memoryview | None:
        return None

    def has_parts(self, key: BlockKey) -> bool:
        return False

    async def get(self, key: BlockKey) -> memoryview | None:
        self._fail()
        return self.inner.peek(key)

    def keep(self, key: BlockKey, data: memoryview) -> None:
        self._fail()
        self.inner.keep(key, data)

    async def put(self, key: BlockKey, data: memoryview) -> None:
        self.keep(key, data)

    async def held(self, refs: Collection[ObjectRef]) -> dict[ObjectRef, Held]:
        self._fail()
        return await self.inner.held(refs)

    async def forget(self, refs: Collection[ObjectRef]) -> Forgotten:
        if self.broken:
            return Forgotten(failed="the medium fails")
        return await self.inner.forget(refs)

    def stats(self) -> TierStats:
        return self.inner.stats()

    async def aclose(self) -> None:
        await self.inner.aclose()

    def _fail(self) -> None:
        if self.broken:
            raise TierError("the medium fails")


class SlowTier(MemoryTier):
    """A tier that answers when the test says so."""

    def __init__(self) -> None:
        super().__init__(10 * ENTRY_BYTES)
        self.asked = asyncio.Event()
        self.answer: asyncio.Future[memoryview | None] = asyncio.get_running_loop().create_future()

    async def get(self, key: BlockKey) -> memoryview | None:
        self.asked.set()
        return await self.answer


async def test_it_says_which_tier_had_the_block_and_fills_the_faster_one(open_tier: OpenTier) -> None:
    memory, disk = MemoryTier(10 * ENTRY_BYTES), await open_tier()
    await keep(disk, KEY)
    tiers = Tiers([memory, disk])
    assert tiers.peek(KEY) is None
    assert tiers.contains(KEY)
    assert await tiers.find(KEY) == (content(KEY), "disk")
    assert tiers.peek(KEY) == content(KEY)
    assert await tiers.find(KEY) == (content(KEY), "memory")
    assert await tiers.get(KEY) == content(KEY)
    assert await tiers.find(block_key(1)) is None


async def test_a_part_of_a_block_on_disk_does_not_bring_the_block_into_memory(
    open_tier: OpenTier, tmp_path: Path
) -> None:
    if why_not := why_no_nowait(tmp_path):
        pytest.skip(why_not)
    memory, disk = MemoryTier(10 * ENTRY_BYTES), await open_tier()
    await keep(disk, KEY)
    tiers = Tiers([memory, disk])
    assert tiers.peek_part(KEY, 1, 5) is None
    assert await tiers.find(KEY, part=True) == (content(KEY), "disk")
    assert tiers.peek_part(KEY, 1, 5) == content(KEY)[1:5]
    assert tiers.has_parts(KEY)
    assert tiers.peek(KEY) is None
    assert await tiers.find(KEY) == (content(KEY), "disk")
    assert tiers.peek(KEY) == content(KEY)


async def test_a_part_brings_the_block_where_it_cannot_be_had_alone_or_memory_wants_it(
    open_tier: OpenTier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = MemoryTier(10 * ENTRY_BYTES)
    tiers = Tiers([wanted, await open_tier(wanted=wanted.wants)])
    await tiers.put(KEY, content(KEY))
    await tiers.flush()
    await wanted.forget({KEY.ref})
    await tiers.find(KEY, part=True)
    assert tiers.peek(KEY) == content(KEY)  # there is room

    monkeypatch.setattr(disk_module, "descriptor_limit", lambda: 0)
    memory, last = MemoryTier(10 * ENTRY_BYTES), await open_tier(directory=tmp_path / "other")
    await keep(last, KEY)
    tiers = Tiers([memory, last])
    await tiers.find(KEY, part=True)
    assert tiers.peek(KEY) == content(KEY)


async def test_a_block_is_kept_by_every_tier_and_copied_at_most_once(open_tier: OpenTier) -> None:
    memory, disk = MemoryTier(10 * ENTRY_BYTES), await open_tier()
    tiers = Tiers([memory, disk])
    tiers.keep(KEY, memoryview(bytes(3 * BLOCK_BYTES))[:BLOCK_BYTES])
    in_memory, queued = memory.peek(KEY), disk.peek(KEY)
    assert in_memory is not None
    assert queued is not None
    assert in_memory.obj is queued.obj
    await disk.flush()
    assert disk.contains(KEY)


async def test_what_memory_evicts_is_found_on_disk(open_tier: OpenTier) -> None:
    memory, disk = MemoryTier(2 * ENTRY_BYTES), await open_tier()
    tiers = Tiers([memory, disk])
    for index in range(6):
        await tiers.put(block_key(index), content(block_key(index)))
    await disk.flush()
    for index in range(6):
        found = await tiers.find(block_key(index))
        assert found is not None
        assert found[0] == content(block_key(index))


async def test_a_broken_tier_is_passed_over_counted_and_logged_once_a_change(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "rangecache.blocks.tiers")
    broken, last = BrokenTier(), MemoryTier(10 * ENTRY_BYTES)
    tiers = Tiers([broken, last])
    tiers.keep(KEY, content(KEY))
    assert await tiers.find(KEY) == (content(KEY), "memory")
    assert await tiers.find(block_key(1)) is None
    assert tiers.errors == 4  # kept, asked, filled, asked
    broken.broken = False
    assert await tiers.find(KEY) == (content(KEY), "memory")
    assert await tiers.find(KEY) == (content(KEY), "broken")
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_stats_are_those_of_each_and_their_sum(open_tier: OpenTier) -> None:
    memory, disk = MemoryTier(10 * ENTRY_BYTES), await open_tier()
    tiers = Tiers([memory, disk])
    tiers.keep(KEY, content(KEY))
    await disk.flush()
    assert [stats.name for stats in tiers.tier_stats()] == ["memory", "disk"]
    assert (tiers.stats().blocks, tiers.stats().bytes) == (2, ENTRY_BYTES + disk.stats().bytes)


async def test_closing_closes_each(open_tier: OpenTier) -> None:
    memory, disk = MemoryTier(10 * ENTRY_BYTES), await open_tier()
    tiers = Tiers([memory, disk])
    tiers.keep(KEY, content(KEY))
    await tiers.aclose()
    assert memory.stats().blocks == 0
    assert not disk.owned


async def test_forgetting_objects_takes_them_from_every_tier(open_tier: OpenTier) -> None:
    """All generations of the objects go, and nothing of any other."""
    disk, memory = await open_tier(), MemoryTier(1 << 20)
    tiers = Tiers([memory, disk])
    gone = [block_key(0), block_key(1), block_key(0, generation="1" * 32), block_key(0, key="scenes/b.tif")]
    refs, stays = {key.ref for key in gone}, block_key(0, key="scenes/c.tif")
    for key in (*gone, stays):
        tiers.keep(key, content(key))
    await disk.flush()
    held = await tiers.held(refs)
    assert {ref.key: one.blocks for ref, one in held.items()} == {"scenes/a.tif": 6, "scenes/b.tif": 2}
    forgotten = await tiers.forget_each(refs)
    assert list(forgotten.items()) == [
        ("disk", Forgotten(Held(4, 4 * FILE_BYTES))),
        ("memory", Forgotten(Held(4, 4 * ENTRY_BYTES))),
    ]
    assert sum(one.bytes for one in held.values()) == 4 * FILE_BYTES + 4 * ENTRY_BYTES
    assert [await tiers.get(key) for key in gone] == [None] * 4
    assert await tiers.get(stays) == content(stays)
    assert await tiers.held(refs) == {}
    assert not any(path_of(disk, key).exists() for key in gone)


async def test_forgetting_says_which_tier_could_not_and_takes_it_from_the_others() -> None:
    broken, memory = BrokenTier(), MemoryTier(1 << 20)
    tiers = Tiers([memory, broken])
    memory.keep(KEY, content(KEY))
    assert await tiers.forget({KEY.ref}) == Forgotten(Held(1, ENTRY_BYTES), "the medium fails")
    assert memory.peek(KEY) is None


async def test_a_block_that_is_read_from_disk_while_it_is_forgotten_does_not_climb_up() -> None:
    """The reader gets his bytes; the memory tier does not."""
    memory, slow = MemoryTier(1 << 20), SlowTier()
    tiers, key = Tiers([memory, slow]), block_key(0)
    reading = asyncio.create_task(tiers.find(key))
    await slow.asked.wait()
    await tiers.forget({key.ref})
    slow.answer.set_result(content(key))
    assert await reading == (content(key), "memory")
    assert memory.peek(key) is None


async def test_a_block_that_is_read_during_the_forgetting_does_not_climb_up_behind_it() -> None:
    """It begins after the forgetting has, and ends while memory is walked over: at a place that has been passed."""
    memory, slow = MemoryTier(1 << 30), SlowTier()
    tiers, key = Tiers([memory, slow]), block_key(0)
    for index in range(1, 3 * STEP):
        memory.keep(block_key(index, "another"), content(key, 1))
    forgetting = asyncio.create_task(tiers.forget({key.ref}))
    await asyncio.sleep(0)
    reading = asyncio.create_task(tiers.find(key))
    await slow.asked.wait()
    assert not forgetting.done()
    slow.answer.set_result(content(key))
    assert await reading == (content(key), "memory")
    await forgetting
    assert memory.peek(key) is None


async def test_what_is_being_forgotten_is_said_until_every_tier_has(open_tier: OpenTier) -> None:
    """So that no tier takes it from another one in between."""
    memory, slow = MemoryTier(1 << 20), SlowForgetter()
    tiers, key = Tiers([memory, slow]), block_key(0)
    memory.keep(key, content(key))
    forgetting = asyncio.create_task(tiers.forget({key.ref}))
    await slow.begun.wait()
    assert tiers.is_forgetting(key.ref)
    assert not tiers.is_forgetting(block_key(0, "another").ref)
    slow.go_on.set()
    await forgetting
    assert not tiers.is_forgetting(key.ref)


class SlowForgetter(MemoryTier):
    """A tier that forgets when the test says so."""

    def __init__(self) -> None:
        super().__init__(1 << 20)
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

    async def forget(self, refs: Collection[ObjectRef]) -> Forgotten:
        self.begun.set()
        await self.go_on.wait()
        return await super().forget(refs)
