"""Parts of blocks out of the page cache, from files that are still open: the right bytes, or none."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rangecache.aio.clock import SystemClock
from rangecache.blocks import disk, disk_writer
from rangecache.blocks.admission import LRU
from rangecache.blocks.disk import READS_A_USE, DiskTier
from rangecache.blocks.disk_descriptors import DESCRIPTORS_MAX, SHARE_MAX, descriptor_limit
from rangecache.blocks.disk_files import BlockFiles, block_name
from rangecache.blocks.disk_health import READ_ERRORS_MAX
from rangecache.errors import TierError
from tests.blocks.conftest import BLOCK_BYTES, FILE_BYTES, block_key, content, keep, path_of, why_no_nowait
from tests.blocks.test_disk import Gate
from tests.blocks.test_disk_reads import give_up

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rangecache.model import BlockKey
    from rangecache.testing.clock import ManualClock

    OpenTier = Callable[..., Awaitable[DiskTier]]

KEY = block_key(0)
OTHER = block_key(1)


@pytest.fixture(autouse=True)
def nowait(tmp_path: Path) -> None:
    if why_not := why_no_nowait(tmp_path):
        pytest.skip(why_not)


async def read(tier: DiskTier, *keys: BlockKey) -> None:
    """Have the blocks written, read whole and verified."""
    await keep(tier, *keys)
    for key in keys:
        assert await tier.get(key) == content(key)


def open_files(tier: DiskTier) -> list[str]:
    """What this process has open of the tier's blocks, by the kernel's own account."""
    found = []
    for entry in os.listdir("/proc/self/fd"):
        try:
            path = os.readlink(f"/proc/self/fd/{entry}")
        except OSError:
            continue
        if path.startswith(f"{tier.directory}/blocks-"):
            found.append(path)
    return found


async def test_parts_of_a_block_that_was_verified_need_no_thread(
    open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch
) -> None:
    tier = await open_tier()
    await keep(tier, KEY)
    assert tier.peek_part(KEY, 0, 10) is None
    assert await tier.get(KEY) == content(KEY)
    gate = Gate(monkeypatch, "read")
    for start, end in ((0, 1), (0, BLOCK_BYTES), (17, 4000), (BLOCK_BYTES - 1, BLOCK_BYTES)):
        part = tier.peek_part(KEY, start, end)
        assert part == content(KEY)[start:end]
        assert part is not None
        assert part.readonly
    assert not gate.arrived.acquire(blocking=False)
    assert tier.reads_without_thread == 4


async def test_the_last_block_has_no_more_than_its_own_bytes(open_tier: OpenTier) -> None:
    tier = await open_tier()
    tier.keep(KEY, content(KEY, 17))
    await tier.flush()
    await tier.get(KEY)
    assert tier.peek_part(KEY, 10, 17) == content(KEY)[10:17]
    assert tier.peek_part(KEY, 10, 18) is None


async def test_a_part_that_is_read_keeps_its_block_on_disk(open_tier: OpenTier) -> None:
    tier = await open_tier(limit_bytes=2 * FILE_BYTES, policy=LRU())
    await read(tier, KEY, OTHER)
    tier.peek_part(KEY, 0, 1)
    await keep(tier, block_key(2))
    assert [tier.contains(key) for key in (KEY, OTHER)] == [True, False]


@pytest.mark.parametrize("over", [True, False], ids=["written over", "deleted"])
async def test_nothing_is_read_of_a_block_that_was_evicted(
    open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch, *, over: bool
) -> None:
    """From the moment on that another block takes its place; before a thread touches the file."""
    tier = await open_tier(limit_bytes=FILE_BYTES)
    await read(tier, KEY)
    inode = path_of(tier, KEY).stat().st_ino
    if not over:
        path_of(tier, KEY).with_name("another name").hardlink_to(path_of(tier, KEY))
        await tier.get(KEY)
    path_of(tier, OTHER).parent.mkdir()  # else there is nowhere to rename the old file to
    assert tier.peek_part(KEY, 0, 10) == content(KEY)[:10]
    with monkeypatch.context() as patch:
        gate = Gate(patch, "write")
        tier.keep(OTHER, content(OTHER))
        await gate.wait_for_arrivals(1)
        assert tier.peek_part(KEY, 0, 10) is None
        assert open_files(tier) == []
        gate.open.set()
        await tier.flush()
    assert (path_of(tier, OTHER).stat().st_ino == inode) is over
    assert tier.peek_part(KEY, 0, 10) is None
    assert await tier.get(OTHER) == content(OTHER)


async def test_a_block_that_comes_back_while_its_old_file_is_to_be_written_over_is_not_kept_open(
    open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow thread still has its path in hand, and writes another block's bytes over whatever is there then."""
    monkeypatch.setattr(disk_writer, "BATCH_BYTES", 1)
    tier = await open_tier(limit_bytes=2 * FILE_BYTES, policy=LRU())
    await read(tier, KEY)
    third = block_key(2)
    reached, go_on = threading.Event(), threading.Event()
    write = BlockFiles.write

    def held_up(files: BlockFiles, name: bytes, key: BlockKey, data: memoryview, spare: bytes | None = None) -> None:
        if key == third:
            reached.set()
            assert go_on.wait(30)
        write(files, name, key, data, spare)

    monkeypatch.setattr(BlockFiles, "write", held_up)
    await keep(tier, OTHER)
    path_of(tier, third).parent.mkdir()
    tier.keep(third, content(third))  # KEY has to go for it, and its file is to be written over
    assert await asyncio.to_thread(reached.wait, 30)
    tier.keep(KEY, content(KEY))  # OTHER has to go
    while tier.peek(KEY) is not None:
        await asyncio.sleep(0.001)
    assert await tier.get(KEY) == content(KEY)
    assert tier.peek_part(KEY, 0, 10) is None
    assert open_files(tier) == []
    inode = path_of(tier, KEY).stat().st_ino
    go_on.set()
    await tier.flush()
    assert path_of(tier, third).stat().st_ino == inode
    assert await tier.get(third) == content(third)
    assert await tier.get(KEY) is None  # its file is the third's now


async def test_a_purge_closes(open_tier: OpenTier) -> None:
    tier = await open_tier()
    await read(tier, KEY, block_key(0, "scenes/b.tif"))
    await tier.forget({KEY.ref})
    assert tier.peek_part(KEY, 0, 10) is None
    assert len(open_files(tier)) == 1


def write_into(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-10, os.SEEK_END)
        file.write(b"0123456789")


def write_anew(path: Path) -> None:
    raw = path.read_bytes()
    path.unlink()
    path.write_bytes(raw[:-1] + b"x")


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def cut_and_lengthen(path: Path) -> None:
    size = path.stat().st_size
    os.truncate(path, 0)
    os.truncate(path, size)


@pytest.mark.parametrize("change", [write_into, write_anew, cut, cut_and_lengthen, Path.unlink])
async def test_a_file_that_somebody_changes_is_not_read_on(open_tier: OpenTier, change: Callable[[Path], None]) -> None:
    tier = await open_tier()
    await read(tier, KEY)
    await asyncio.sleep(0.02)  # kernels before 6.13 note the time of a change in ticks
    change(path_of(tier, KEY))
    assert tier.peek_part(KEY, 0, 10) is None
    assert open_files(tier) == []
    assert await tier.get(KEY) is None
    assert tier.stats().checksum_errors == (change is not Path.unlink)


async def test_what_the_page_cache_has_lost_is_read_and_verified_by_a_thread(open_tier: OpenTier) -> None:
    tier = await open_tier()
    await read(tier, KEY)
    with path_of(tier, KEY).open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert tier.peek_part(KEY, 0, 10) is None
    assert open_files(tier) == []
    assert await tier.get(KEY) == content(KEY)
    assert tier.peek_part(KEY, 0, 10) == content(KEY)[:10]


async def test_nothing_is_handed_out_while_a_thread_reads_the_block_anew(
    open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may just be bringing damaged bytes from the disk into the page cache."""
    tier = await open_tier()
    await read(tier, KEY)
    with monkeypatch.context() as patch:
        gate = Gate(patch, "read")
        reading = asyncio.ensure_future(tier.get(KEY))
        await gate.wait_for_arrivals(1)
        assert tier.peek_part(KEY, 0, 10) is None
        gate.open.set()
        await reading
    assert tier.peek_part(KEY, 0, 10) == content(KEY)[:10]


async def test_a_read_is_settled_in_the_step_in_which_it_ends(open_tier: OpenTier) -> None:
    """Between the two its file could be chosen to be written over, and then be kept open."""
    tier = await open_tier()
    keys = [block_key(index) for index in range(50)]
    await keep(tier, *keys)
    for key in keys:
        reading = asyncio.ensure_future(tier.get(key))
        await asyncio.sleep(0)
        while not reading.done():
            assert block_name(key) in tier._reads or tier.has_parts(key)
            await asyncio.sleep(0)


async def test_a_directory_without_such_reads_is_read_by_threads_and_that_is_said_once(
    open_tier: OpenTier, caplog: pytest.LogCaptureFixture
) -> None:
    place = Path("/dev/shm")
    if not place.is_dir() or not why_no_nowait(place):
        pytest.skip("there is no tmpfs, or it can read without waiting")
    caplog.set_level("INFO")
    tier = DiskTier(place / f"rangecache-test-{os.getpid()}", 1 << 20, 0, SystemClock())
    try:
        await tier.start()
        await read(tier, KEY, OTHER)
        assert tier.peek_part(KEY, 0, 10) is None
        assert tier.descriptors == (0, False)
        assert open_files(tier) == []
        assert sum("RWF_NOWAIT" in record.message for record in caplog.records) == 1
    finally:
        await tier.aclose()
        shutil.rmtree(tier.directory)


async def test_no_more_are_open_than_there_may_be_and_what_is_read_stays(
    open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "descriptor_limit", lambda: 4)
    tier = await open_tier()
    for index in range(20):
        await read(tier, block_key(index))
        if index:
            assert tier.peek_part(KEY, 0, 10) == content(KEY)[:10]
        assert len(open_files(tier)) == tier.descriptors[0] == min(4, index + 1)
    assert [tier.has_parts(block_key(index)) for index in range(20)] == [True] + 16 * [False] + 3 * [True]


@pytest.mark.parametrize(("hard", "limit"), [(-1, DESCRIPTORS_MAX), (1 << 20, DESCRIPTORS_MAX), (1024, 128), (4, 0)])
def test_the_bound_leaves_descriptors_for_others(monkeypatch: pytest.MonkeyPatch, hard: int, limit: int) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (64, hard))
    assert descriptor_limit() == limit
    assert SHARE_MAX == 8


async def test_a_disk_that_is_given_up_is_closed(open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch) -> None:
    tier = await open_tier()
    await read(tier, KEY)
    await keep(tier, OTHER)

    def fails(*_: object) -> memoryview:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(BlockFiles, "read", fails)
        for _ in range(READ_ERRORS_MAX):
            assert tier.peek_part(KEY, 0, 1) == content(KEY)[:1]
            with pytest.raises(TierError):
                await tier.get(OTHER)
    assert tier.stats().state == "off"
    assert tier.peek_part(KEY, 0, 1) is None
    assert open_files(tier) == []


async def test_closing_closes_also_what_a_thread_brings_later(
    open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch
) -> None:
    tier = await open_tier()
    await read(tier, KEY)
    await keep(tier, OTHER)
    gate = Gate(monkeypatch, "read")
    reading = asyncio.ensure_future(tier.get(OTHER))
    await gate.wait_for_arrivals(1)
    closing = asyncio.ensure_future(tier.aclose())
    await asyncio.sleep(0)
    assert tier.peek_part(KEY, 0, 1) is None
    gate.open.set()
    await closing
    assert await reading == content(OTHER)
    assert open_files(tier) == []


async def test_a_read_that_was_given_up_leaves_nothing_open(
    open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch, clock: ManualClock
) -> None:
    tier = await open_tier()
    await keep(tier, KEY)
    with monkeypatch.context() as patch:
        gate = Gate(patch, "read")
        reader = asyncio.ensure_future(tier.get(KEY))
        await gate.wait_for_arrivals(1)
        await give_up(clock)
        with pytest.raises(TierError):
            await reader
        (late,) = tier._threads._jobs
        gate.open.set()
        await asyncio.wait([late])
    await asyncio.sleep(0)
    assert open_files(tier) == []
    assert not tier.has_parts(KEY)


async def test_a_directory_that_is_deleted_is_closed(open_tier: OpenTier, clock: ManualClock) -> None:
    tier = await open_tier()
    await read(tier, KEY)
    tier._folder._lose()
    assert tier.peek_part(KEY, 0, 1) is None
    assert open_files(tier) == []


async def test_a_block_that_the_tier_above_wants_is_not_kept_open(open_tier: OpenTier) -> None:
    """It is asked when the block is read whole, and at every so many parts."""
    asked: list[tuple[BlockKey, int]] = []
    answer = False

    def wanted(key: BlockKey, size_bytes: int) -> bool:
        asked.append((key, size_bytes))
        return answer

    tier = await open_tier(wanted=wanted)
    await read(tier, KEY)
    assert asked == [(KEY, BLOCK_BYTES)]
    parts = [tier.peek_part(KEY, 0, 1) for _ in range(2 * READS_A_USE)]
    assert None not in parts
    assert len(asked) == 3
    answer = True
    parts = [tier.peek_part(KEY, 0, 1) for _ in range(READS_A_USE)]
    assert parts.index(None) == READS_A_USE - 1
    assert not tier.has_parts(KEY)
    assert await tier.get(KEY) == content(KEY)
    assert not tier.has_parts(KEY)
    assert block_name(KEY) in tier._policy
