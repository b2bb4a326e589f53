"""Blocks with content that follows from their names, and disk tiers that are closed at the end."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rangecache.blocks.disk import DiskTier
from rangecache.blocks.disk_files import BlockFiles, block_name
from rangecache.blocks.disk_folder import UPKEEP_INTERVAL_S
from rangecache.model import BlockKey, ObjectRef
from rangecache.testing.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from rangecache.blocks.admission import Admission

BLOCK_BYTES = 4096
FILE_BYTES = 8192  # a block of 4096 bytes and its header take two pages
ROOMY = 1 << 40


def block_key(index: int = 0, key: str = "scenes/a.tif", generation: str = "0" * 32) -> BlockKey:
    return BlockKey(ObjectRef("s3", "bucket", key), generation, index, BLOCK_BYTES)


def content(key: BlockKey, length: int | None = None) -> memoryview:
    """The bytes of a block: those of no other, and the same in every process."""
    seed = hashlib.sha256(key.identity()).digest()
    length = key.block_bytes if length is None else length
    return memoryview((seed * (length // len(seed) + 1))[:length])


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def open_tier(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Callable[..., Awaitable[DiskTier]]]:
    """Makes a started disk tier in `tmp_path / "cache"`, whose directory has been listed unless `listed` is False.
    Where a test is about what goes first, `LRU()` is the plainest policy."""
    opened: list[DiskTier] = []

    async def open_one(
        limit_bytes: int = ROOMY,
        min_free_bytes: int = 0,
        directory: Path = tmp_path / "cache",
        *,
        listed: bool = True,
        policy: Admission[bytes] | None = None,
        wanted: Callable[[BlockKey, int], bool] = lambda _key, _size_bytes: False,
    ) -> DiskTier:
        tier = DiskTier(directory, limit_bytes, min_free_bytes, clock, policy, wanted=wanted)
        opened.append(tier)
        await tier.start()
        if listed:
            await tier.flush()
        return tier

    yield open_one
    for tier in opened:
        await tier.aclose()


async def upkeep(clock: ManualClock, times: int = 1) -> None:
    """Let the tier's upkeep come round, and wait until it has finished: all that slept sleep again."""
    for _ in range(times):
        await clock.advance(0)  # tasks that have just been started go to sleep
        sleepers = clock.sleepers
        await clock.advance(UPKEEP_INTERVAL_S)
        await clock.wait_for_sleepers(sleepers)


async def keep(tier: DiskTier, *keys: BlockKey) -> None:
    for key in keys:
        tier.keep(key, content(key))
    await tier.flush()


def path_of(tier: DiskTier, key: BlockKey) -> Path:
    """Where the block's file is."""
    return Path(BlockFiles(tier.directory).path(block_name(key)))


def read_and_close(files: BlockFiles, key: BlockKey) -> memoryview:
    """The verified block; nothing stays open."""
    opened = files.read(block_name(key), key)
    opened.file.close()
    return opened.data


def why_no_nowait(folder: Path) -> str:
    """Why nothing here can be read from the page cache without waiting; empty if it can."""
    path = folder / "probe"
    path.write_bytes(b"x")
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.preadv(descriptor, (bytearray(1),), 0, os.RWF_NOWAIT)
    except (AttributeError, OSError) as error:
        return f"the file system of {folder} has no RWF_NOWAIT: {error}"
    finally:
        os.close(descriptor)
        path.unlink()
    return ""
