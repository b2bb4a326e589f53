from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from rangecache.blocks.disk import THREADS
from rangecache.blocks.disk_files import BlockFiles
from rangecache.blocks.disk_reads import CHECK_INTERVAL_S, READ_TIMEOUT_S
from rangecache.blocks.framing import FrameError
from rangecache.errors import TierError
from tests.blocks.conftest import FILE_BYTES, block_key, content, keep, upkeep
from tests.blocks.test_disk import Gate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rangecache.blocks.disk import DiskTier
    from rangecache.testing.clock import ManualClock

    OpenTier = Callable[..., Awaitable[DiskTier]]


async def give_up(clock: ManualClock) -> None:
    """Let time pass until a read that hangs is given up, and not before."""
    await clock.advance(READ_TIMEOUT_S + CHECK_INTERVAL_S)


async def test_a_read_that_hangs_is_a_broken_tier_after_a_while_and_counts(
    open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch, clock: ManualClock
) -> None:
    tier = await open_tier()
    await keep(tier, block_key(0))
    gate = Gate(monkeypatch, "read")
    readers = [asyncio.ensure_future(tier.get(block_key(0))) for _ in range(3)]
    await gate.wait_for_arrivals(1)
    await clock.advance(READ_TIMEOUT_S - CHECK_INTERVAL_S)
    assert not any(reader.done() for reader in readers)
    await give_up(clock)
    for reader in readers:
        with pytest.raises(TierError, match="no answer for 5 s"):
            await reader
    assert tier.stats().state == "rw"
    gate.open.set()
    assert await tier.get(block_key(0)) == content(block_key(0))


async def test_a_disk_on_which_all_reads_hang_is_not_asked_any_more_until_it_answers(
    open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch, clock: ManualClock
) -> None:
    """No more threads hang than there are, and nobody waits for one of them."""
    tier = await open_tier()
    keys = [block_key(index) for index in range(3 * THREADS)]
    await keep(tier, *keys)
    with monkeypatch.context() as patch:
        gate = Gate(patch, "read")
        readers = [asyncio.ensure_future(tier.get(key)) for key in keys]
        await gate.wait_for_arrivals(THREADS)
        await give_up(clock)
        told = await asyncio.gather(*readers, return_exceptions=True)
        assert all(isinstance(each, TierError) for each in told)
        assert tier.stats().state == "off"
        assert await tier.get(keys[0]) is None
        assert not gate.arrived.acquire(blocking=False)
        gate.open.set()
        await clock.wait_for_sleepers(2)
        await upkeep(clock, times=7)
    assert tier.stats().state == "rw"
    assert await tier.get(keys[0]) == content(keys[0])


async def test_what_a_late_read_has_found_out_changes_nothing(
    open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch, clock: ManualClock
) -> None:
    """It was given up, its block evicted and written anew: the late news of damage are not about the new file."""
    tier = await open_tier(limit_bytes=FILE_BYTES)
    await keep(tier, block_key(0))
    begun, go_on = threading.Event(), threading.Event()

    def damaged(*_: object) -> memoryview:
        begun.set()
        assert go_on.wait(30)
        raise FrameError("late")

    with monkeypatch.context() as patch:
        patch.setattr(BlockFiles, "read", damaged)
        reader = asyncio.ensure_future(tier.get(block_key(0)))
        assert await asyncio.to_thread(begun.wait, 30)
        await give_up(clock)
        with pytest.raises(TierError):
            await reader
    await keep(tier, block_key(1))
    await keep(tier, block_key(0))
    (late,) = tier._threads._jobs
    go_on.set()
    await asyncio.wait([late])
    assert await tier.get(block_key(0)) == content(block_key(0))
    assert (tier.stats().blocks, tier.stats().checksum_errors) == (1, 0)
