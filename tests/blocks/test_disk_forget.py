"""What a purge asks of the disk tier: how much there is of some objects, to give them up, and to name the unknown."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from typing import TYPE_CHECKING

import pytest

from rangecache.blocks import disk_census
from rangecache.blocks.base import Forgotten, Held
from rangecache.blocks.disk import FORGET_TIMEOUT_S
from rangecache.blocks.disk_files import object_prefix
from rangecache.errors import TierError
from rangecache.model import BlockKey, ObjectRef
from tests.blocks.conftest import FILE_BYTES, block_key, content, keep, path_of, upkeep
from tests.blocks.test_disk_faults import FailingCalls

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from rangecache.blocks.disk import DiskTier
    from rangecache.testing.clock import ManualClock

    OpenTier = Callable[..., Awaitable[DiskTier]]

KEYS = [block_key(index, f"objects/{index % 10}") for index in range(100)]
DOOMED = {ref for ref in (key.ref for key in KEYS) if ref.key in {"objects/3", "objects/7"}}


async def test_what_is_forgotten_stays_forgotten_over_a_restart(open_tier: OpenTier) -> None:
    first = await open_tier()
    await keep(first, *KEYS)
    assert await first.held(DOOMED) == dict.fromkeys(DOOMED, Held(10, 10 * FILE_BYTES))
    assert await first.forget(DOOMED) == Forgotten(Held(20, 20 * FILE_BYTES))
    assert first.stats().blocks == 80
    await first.aclose()
    second = await open_tier()
    assert [await second.get(key) is None for key in KEYS] == [key.ref in DOOMED for key in KEYS]


async def test_what_still_waits_to_be_written_is_forgotten_too(open_tier: OpenTier) -> None:
    tier = await open_tier()
    for key in KEYS:
        tier.keep(key, content(key))
    assert (await tier.forget(DOOMED)).held.blocks == 20
    assert [await tier.get(key) is None for key in KEYS] == [key.ref in DOOMED for key in KEYS]
    assert not any(path_of(tier, key).exists() for key in KEYS if key.ref in DOOMED)


async def test_files_that_cannot_be_deleted_are_told_and_not_counted(
    open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch
) -> None:
    tier = await open_tier()
    await keep(tier, *KEYS)
    with monkeypatch.context() as patch:
        FailingCalls(patch, "unlink", errno.EROFS, first=3, last=7)
        forgotten = await tier.forget(DOOMED)
    assert forgotten.held == Held(15, 15 * FILE_BYTES)
    assert forgotten.failed == "5 of its files could not be deleted (Read-only file system)"


async def test_a_directory_that_is_not_ours_can_tell_and_forget_nothing(
    open_tier: OpenTier, clock: ManualClock
) -> None:
    first = await open_tier()
    await keep(first, *KEYS)
    second = await open_tier(listed=False)
    assert not second.owned
    with pytest.raises(TierError, match="is using it"):
        await second.held(DOOMED)
    assert "is using it" in (await second.forget(DOOMED)).failed
    await first.aclose()
    await upkeep(clock)
    assert second.owned
    assert (await second.forget(DOOMED)).held.blocks == 20


async def strangers(tier: DiskTier, known: set[bytes]) -> list[ObjectRef]:
    return sorted([ref async for refs in tier.strangers(known) for ref in refs])


async def test_objects_that_nobody_knows_are_named_by_their_blocks(open_tier: OpenTier) -> None:
    tier = await open_tier()
    old = BlockKey(ObjectRef("s3", "bucket", "ä/old: 7", "version 1"), "0" * 32, 7, 4096)
    await keep(tier, *KEYS, old)
    known = {object_prefix(key.ref) for key in KEYS}
    assert await strangers(tier, known) == [old.ref]
    assert await strangers(tier, set()) == sorted({*(key.ref for key in KEYS), old.ref})
    assert await strangers(tier, known | {object_prefix(old.ref)}) == []


async def test_a_block_that_is_damaged_or_at_another_name_names_nobody(open_tier: OpenTier, tmp_path: Path) -> None:
    tier = await open_tier()
    await keep(tier, *(block_key(0, f"objects/{index}") for index in range(4)))
    cut, flipped, copied, fine = (path_of(tier, block_key(0, f"objects/{index}")) for index in range(4))
    cut.write_bytes(cut.read_bytes()[:60])
    damaged = bytearray(flipped.read_bytes())
    damaged[70] ^= 1
    flipped.write_bytes(damaged)
    copied.write_bytes(fine.read_bytes())
    assert [ref.key for ref in await strangers(tier, set())] == ["objects/3"]


async def test_a_slow_disk_is_waited_for_as_long_as_it_deletes(
    open_tier: OpenTier, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """10^5 files took longer than a minute, and the purge said that the disk had not answered."""
    monkeypatch.setattr(disk_census, "DELETE_STEP", 5)
    tier, steps, unlink = await open_tier(), threading.Semaphore(0), os.unlink
    await keep(tier, *KEYS)

    def unlink_when_let(path: str) -> None:
        if "blocks-1" in os.fspath(path):  # not the index, which is written down meanwhile
            steps.acquire(timeout=30)
        unlink(path)

    monkeypatch.setattr(os, "unlink", unlink_when_let)
    forgetting = asyncio.create_task(tier.forget(DOOMED))
    for done in range(5, 21, 5):
        for _ in range(200):
            await asyncio.sleep(0)
        await clock.advance(FORGET_TIMEOUT_S - 1)
        assert not forgetting.done()
        for _ in range(5):
            steps.release()
        while tier._census.deleted < done:
            await asyncio.sleep(0.001)
    assert await forgetting == Forgotten(Held(20, 20 * FILE_BYTES))
