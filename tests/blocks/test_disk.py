from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

from rangecache.blocks import disk, disk_files, disk_writer
from rangecache.blocks.admission import LRU
from rangecache.blocks.disk import CLOSE_TIMEOUT_S, DiskTier
from rangecache.blocks.disk_bounds import Free
from rangecache.blocks.disk_files import BlockFiles
from tests.blocks.conftest import BLOCK_BYTES, FILE_BYTES, block_key, content, keep, path_of, upkeep

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    import pytest

    from rangecache.model import BlockKey
    from rangecache.testing.clock import ManualClock

    OpenTier = Callable[..., Awaitable[DiskTier]]


async def test_a_block_comes_back_as_it_was(open_tier: OpenTier) -> None:
    tier = await open_tier()
    await keep(tier, block_key(0))
    assert await tier.get(block_key(0)) == content(block_key(0))
    assert tier.contains(block_key(0))
    assert not tier.contains(block_key(1))
    assert await tier.get(block_key(1)) is None


async def test_the_last_block_of_an_object_is_shorter(open_tier: OpenTier) -> None:
    tier = await open_tier()
    tier.keep(block_key(0), content(block_key(0), 17))
    await tier.flush()
    assert await tier.get(block_key(0)) == content(block_key(0), 17)


async def test_blocks_are_hashed_and_written_on_other_threads_than_the_readers(
    open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch
) -> None:
    tier = await open_tier()
    seen: dict[str, set[int]] = {"hash": set(), "write": set()}

    def noting(name: str, work: Callable[..., object]) -> Callable[..., object]:
        def noted(*args: object) -> object:
            seen[name].add(threading.get_ident())
            return work(*args)

        return noted

    monkeypatch.setattr(disk_files, "encode_header", noting("hash", disk_files.encode_header))
    monkeypatch.setattr(os, "writev", noting("write", os.writev))
    await keep(tier, *(block_key(index) for index in range(20)))
    assert all(seen.values())
    assert threading.get_ident() not in set().union(*seen.values())


async def test_a_restart_is_warm(open_tier: OpenTier) -> None:
    keys = [block_key(index, f"objects/{index % 7}") for index in range(300)]
    first = await open_tier()
    await keep(first, *keys)
    await first.aclose()
    second = await open_tier()
    assert second.stats().blocks == len(keys)
    assert second.stats().bytes == first.stats().bytes == len(keys) * FILE_BYTES
    for key in keys:
        assert await second.get(key) == content(key)


async def test_closing_writes_what_is_queued(open_tier: OpenTier) -> None:
    keys = [block_key(index) for index in range(50)]
    first = await open_tier()
    for key in keys:
        first.keep(key, content(key))
    await first.aclose()
    second = await open_tier()
    assert second.stats().blocks == len(keys)


async def test_files_and_folders_are_private_and_named_by_digests(open_tier: OpenTier, tmp_path: Path) -> None:
    tier = await open_tier()
    one, two = block_key(0), block_key(1)
    await keep(tier, one, two)
    paths = [path_of(tier, one), path_of(tier, two)]
    assert paths[0].parent.parent == tmp_path / "cache" / "blocks-1"
    assert paths[0].name[:32] == paths[1].name[:32]
    assert paths[0].name[32:] != paths[1].name[32:]
    for path in paths:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700


async def test_the_limit_holds_in_bytes_on_disk_and_the_least_recent_goes_first(
    open_tier: OpenTier, tmp_path: Path
) -> None:
    tier = await open_tier(limit_bytes=4 * FILE_BYTES, policy=LRU())
    await keep(tier, *(block_key(index) for index in range(4)))
    await tier.get(block_key(0))
    await keep(tier, block_key(4), block_key(5))
    assert [tier.contains(block_key(index)) for index in range(6)] == [True, False, False, True, True, True]
    files = [path for path in (tmp_path / "cache" / "blocks-1").rglob("*") if path.is_file()]
    assert len(files) == 4
    assert sum(path.stat().st_blocks * 512 for path in files) <= tier.stats().bytes == 4 * FILE_BYTES
    assert tier.stats().evictions == 2


async def test_order_of_departure_survives_a_restart(open_tier: OpenTier) -> None:
    first = await open_tier(policy=LRU())
    await keep(first, *(block_key(index) for index in range(4)))
    await first.get(block_key(0))
    await first.aclose()
    second = await open_tier(limit_bytes=4 * FILE_BYTES, policy=LRU())
    await keep(second, block_key(4))
    assert [second.contains(block_key(index)) for index in range(5)] == [True, False, True, True, True]


async def test_without_an_index_the_order_is_that_of_the_files_age(open_tier: OpenTier, tmp_path: Path) -> None:
    first = await open_tier()
    for index in range(4):
        await keep(first, block_key(index))
        os.utime(path_of(first, block_key(index)), (0, 1000 - index))
    await first.aclose()
    shutil.rmtree(tmp_path / "cache" / "index-1")
    second = await open_tier(limit_bytes=4 * FILE_BYTES, policy=LRU())
    await keep(second, block_key(4))
    assert [second.contains(block_key(index)) for index in range(5)] == [True, True, True, False, True]


async def test_a_smaller_limit_is_kept_from_the_start(open_tier: OpenTier, tmp_path: Path) -> None:
    first = await open_tier()
    await keep(first, *(block_key(index) for index in range(10)))
    await first.aclose()
    second = await open_tier(limit_bytes=3 * FILE_BYTES)
    assert second.stats().blocks == 3
    assert sum(path.is_file() for path in (tmp_path / "cache" / "blocks-1").rglob("*")) == 3


async def test_a_block_larger_than_the_tier_is_not_written(open_tier: OpenTier, tmp_path: Path) -> None:
    tier = await open_tier(limit_bytes=FILE_BYTES - 1)
    await keep(tier, block_key(0))
    assert not tier.contains(block_key(0))
    assert [path for path in (tmp_path / "cache" / "blocks-1").rglob("*") if path.is_file()] == []
    assert tier.stats().evictions == 0


async def test_free_space_is_left_to_others(
    open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch, clock: ManualClock
) -> None:
    free = [100 * FILE_BYTES]
    monkeypatch.setattr(BlockFiles, "free", lambda _self: Free(free[0], 0, 0))
    tier = await open_tier(min_free_bytes=90 * FILE_BYTES)
    await keep(tier, *(block_key(index) for index in range(10)))
    assert tier.stats().blocks == 10
    free[0] = 87 * FILE_BYTES  # somebody else has written
    await upkeep(clock)
    assert tier.stats().blocks == 7
    free[0] = 10 * FILE_BYTES
    await upkeep(clock)
    assert (tier.stats().blocks, tier.stats().state) == (0, "ro")
    assert "min_free" in tier.state_reason
    free[0] = 100 * FILE_BYTES
    await upkeep(clock, times=6)
    assert tier.stats().state == "rw"
    await keep(tier, block_key(0))
    assert tier.contains(block_key(0))


async def test_a_full_queue_drops_and_counts_and_never_waits(
    open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "QUEUE_BYTES", 3 * BLOCK_BYTES)
    gate = threading.Event()
    write = BlockFiles.write

    def slow_write(self: BlockFiles, name: bytes, key: BlockKey, data: memoryview, spare: bytes | None) -> None:
        assert gate.wait(30)
        write(self, name, key, data, spare)

    monkeypatch.setattr(BlockFiles, "write", slow_write)
    tier = await open_tier()
    for index in range(5):
        await tier.put(block_key(index), content(block_key(index)))
    assert tier.stats().writes_dropped == 2
    assert tier.peek(block_key(2)) == content(block_key(2))
    assert await tier.get(block_key(2)) == content(block_key(2))
    assert tier.peek(block_key(3)) is None
    gate.set()
    await tier.flush()
    assert [tier.contains(block_key(index)) for index in range(5)] == [True, True, True, False, False]


async def test_readers_of_one_block_share_one_read(open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch) -> None:
    tier = await open_tier()
    await keep(tier, block_key(0))
    reads = []
    read = BlockFiles.read
    gate = threading.Event()

    def counted_read(self: BlockFiles, name: bytes, key: BlockKey) -> memoryview:
        reads.append(name)
        assert gate.wait(30)
        return read(self, name, key)

    monkeypatch.setattr(BlockFiles, "read", counted_read)
    readers = [asyncio.ensure_future(tier.get(block_key(0))) for _ in range(10)]
    await asyncio.sleep(0)
    readers[0].cancel()
    await asyncio.sleep(0)
    gate.set()
    assert await asyncio.gather(*readers[1:]) == [content(block_key(0))] * 9
    assert readers[0].cancelled()
    assert len(reads) == 1


async def test_blocks_are_served_by_path_while_the_directory_is_still_being_listed(
    open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clock: ManualClock
) -> None:
    first = await open_tier()
    await keep(first, block_key(0))
    await first.aclose()
    shutil.rmtree(tmp_path / "cache" / "index-1")
    gate = threading.Event()
    shelves = BlockFiles.shelves

    def slow_shelves(self: BlockFiles) -> list[str]:
        assert gate.wait(30)
        return shelves(self)

    monkeypatch.setattr(BlockFiles, "shelves", slow_shelves)
    tier = DiskTier(tmp_path / "cache", 1 << 30, 0, clock)
    await tier.start()
    assert tier.contains(block_key(0))
    assert await tier.get(block_key(0)) == content(block_key(0))
    assert await tier.get(block_key(1)) is None
    tier.keep(block_key(1), content(block_key(1)))
    assert not path_of(tier, block_key(1)).exists()
    assert await tier.get(block_key(1)) == content(block_key(1))
    gate.set()
    await tier.flush()
    assert path_of(tier, block_key(1)).exists()
    assert tier.stats().blocks == 2
    await tier.aclose()


async def test_leftovers_and_foreign_files_go_and_other_formats_stay(open_tier: OpenTier, tmp_path: Path) -> None:
    first = await open_tier()
    await keep(first, block_key(0))
    await first.aclose()
    shelf = path_of(first, block_key(0)).parent
    name = path_of(first, block_key(0)).name
    wrong_shelf = "00" if shelf.name != "00" else "01"
    foreign = [
        shelf / "tmp-0123-4",
        shelf / "notes.txt",
        shelf / name.upper().replace("0", "A"),
        shelf / (name[:32] + wrong_shelf + name[34:]),
        shelf.parent / "stray",
        shelf.parent / "tmp-99-probe",
    ]
    for path in foreign:
        path.write_bytes(b"x")
    (shelf / ("a" * 32 + shelf.name + "b" * 30)).symlink_to(tmp_path)
    foreign.append(shelf / ("a" * 32 + shelf.name + "b" * 30))
    (shelf / "folder").mkdir()
    (shelf / "folder" / "precious").write_bytes(b"x")
    other_format = tmp_path / "cache" / "blocks-2" / "00" / "block"
    other_format.parent.mkdir(parents=True)
    other_format.write_bytes(b"x")
    second = await open_tier()
    assert [path for path in foreign if path.is_symlink() or path.exists()] == []
    assert (shelf / "folder" / "precious").exists()
    assert other_format.exists()
    assert await second.get(block_key(0)) == content(block_key(0))
    assert second.stats().blocks == 1


HOLDER = """
import asyncio, sys
from rangecache.aio.clock import SystemClock
from rangecache.blocks.disk import CLOSE_TIMEOUT_S, DiskTier
from tests.blocks.conftest import block_key, content

async def main():
    tier = DiskTier(sys.argv[1], 1 << 30, 0, SystemClock())
    await tier.start()
    tier.keep(block_key(0), content(block_key(0)))
    await tier.flush()
    print(tier.stats().state, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await tier.aclose()

asyncio.run(main())
"""


async def test_a_second_program_serves_without_the_directory_and_takes_over_when_the_first_ends(
    open_tier: OpenTier, tmp_path: Path, clock: ManualClock
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "cache")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "rw\n"
        tier = await open_tier()
        assert (tier.stats().state, tier.owned) == ("off", False)
        assert tier.state_reason.startswith(f"process {holder.pid} is using it")
        await keep(tier, block_key(1))
        assert await tier.get(block_key(0)) is None
        assert await tier.get(block_key(1)) is None
        await upkeep(clock)
        assert tier.stats().state == "off"
        holder.communicate("")
        assert holder.returncode == 0
    await upkeep(clock)
    await tier.flush()
    assert (tier.stats().state, tier.owned, tier.state_reason) == ("rw", True, "")
    assert await tier.get(block_key(0)) == content(block_key(0))
    await keep(tier, block_key(1))
    assert tier.contains(block_key(1))


async def test_closing_gives_the_directory_back(open_tier: OpenTier) -> None:
    first = await open_tier()
    await first.aclose()
    assert not first.owned
    second = await open_tier()
    assert second.owned


class Gate:
    """Holds up one kind of file work until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, work: str) -> None:
        self.arrived = threading.Semaphore(0)
        self.open = threading.Event()
        real = getattr(BlockFiles, work)

        def held_up(files: BlockFiles, *args: object) -> object:
            self.arrived.release()
            assert self.open.wait(30)
            return real(files, *args)

        monkeypatch.setattr(BlockFiles, work, held_up)

    async def wait_for_arrivals(self, count: int) -> None:
        for _ in range(count):
            assert await asyncio.to_thread(self.arrived.acquire, timeout=30)


async def test_a_block_evicted_while_it_is_written_leaves_no_file(
    open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_writer, "BATCH_BYTES", 1)
    tier = await open_tier(limit_bytes=FILE_BYTES)
    with monkeypatch.context() as patch:
        gate = Gate(patch, "write")
        tier.keep(block_key(0), content(block_key(0)))
        await gate.wait_for_arrivals(1)
        tier.keep(block_key(1), content(block_key(1)))
        await gate.wait_for_arrivals(1)
        gate.open.set()
        await tier.flush()
    assert not path_of(tier, block_key(0)).exists()
    assert path_of(tier, block_key(1)).exists()
    assert (tier.stats().blocks, tier.stats().evictions) == (1, 1)


async def test_a_block_is_not_written_while_it_is_read(open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch) -> None:
    tier = await open_tier(limit_bytes=FILE_BYTES)
    await keep(tier, block_key(0))
    with monkeypatch.context() as patch:
        gate = Gate(patch, "read")
        reading = asyncio.ensure_future(tier.get(block_key(0)))
        await gate.wait_for_arrivals(1)
        await keep(tier, block_key(1))  # evicts the one that is being read
        await keep(tier, block_key(0))
        gate.open.set()
        assert await reading is None
    assert [tier.contains(block_key(0)), tier.contains(block_key(1))] == [False, True]
    await keep(tier, block_key(0))
    assert await tier.get(block_key(0)) == content(block_key(0))


async def test_a_block_evicted_while_it_is_read_is_read_whole(
    open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file is not written over by the block that takes its place."""
    tier = await open_tier(limit_bytes=FILE_BYTES)
    await keep(tier, block_key(0))
    opened, go_on = threading.Event(), threading.Event()
    fstat = os.fstat

    def held_up(descriptor: int) -> os.stat_result:
        opened.set()
        assert go_on.wait(30)
        return fstat(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", held_up)
        reading = asyncio.ensure_future(tier.get(block_key(0)))
        assert await asyncio.to_thread(opened.wait, 30)
        patch.setattr(os, "fstat", fstat)
        await keep(tier, block_key(1))
        go_on.set()
        assert await reading == content(block_key(0))
    assert await tier.get(block_key(1)) == content(block_key(1))
    assert tier.stats().checksum_errors == 0


async def test_closing_does_not_wait_for_ever_for_a_disk_that_hangs_and_keeps_the_directory_then(
    open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch, clock: ManualClock
) -> None:
    monkeypatch.setattr(disk_writer, "BATCH_BYTES", 1)
    tier = await open_tier()
    gate = Gate(monkeypatch, "write")
    for index in range(5):
        tier.keep(block_key(index), content(block_key(index)))
    await gate.wait_for_arrivals(disk_writer.WRITERS)
    closing = asyncio.ensure_future(tier.aclose())
    await clock.wait_for_sleepers(3)  # the upkeep, the watch over reads, and closing itself
    while not closing.done():
        await clock.advance(CLOSE_TIMEOUT_S)
    await closing
    assert tier.owned
    assert tier.stats().writes_dropped == 5 - disk_writer.WRITERS
    gate.open.set()


async def test_what_is_queued_is_given_up_when_the_disk_is_no_longer_written(
    open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch, clock: ManualClock
) -> None:
    monkeypatch.setattr(disk_writer, "BATCH_BYTES", 1)
    tier = await open_tier()
    gate = Gate(monkeypatch, "write")
    for index in range(5):
        tier.keep(block_key(index), content(block_key(index)))
    await gate.wait_for_arrivals(disk_writer.WRITERS)
    tier._health.off("of a test")
    gate.open.set()
    await tier.flush()
    assert tier.peek(block_key(4)) == content(block_key(4))
    await upkeep(clock)
    assert tier.peek(block_key(4)) is None
    assert tier._queue.held_bytes == 0


async def test_its_repr_tells_its_state(open_tier: OpenTier, tmp_path: Path) -> None:
    tier = await open_tier(limit_bytes=100 * FILE_BYTES)
    await keep(tier, block_key(0))
    assert repr(tier) == f"<DiskTier {tmp_path / 'cache'} rw, 1 blocks, 8192 of 819200 bytes, 0 bytes queued>"


async def test_a_block_that_is_queued_just_as_the_writers_end_is_written(
    open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They had looked at the queue for the last time, and still passed for writers: it waited for the next block."""
    monkeypatch.setattr(disk_writer, "BATCH_BYTES", 1)
    tier = await open_tier()
    writers = tier._writer._writers
    await keep(tier, block_key(0))
    for index in range(1, 1 + disk_writer.WRITERS):
        tier.keep(block_key(index), content(block_key(index)))
    await asyncio.sleep(0)
    while not all(path_of(tier, block_key(index)).exists() for index in range(1, 1 + disk_writer.WRITERS)):
        time.sleep(0.01)  # the loop hears of all writes at once
    time.sleep(0.05)
    while not all(writer.done() for writer in writers):
        await asyncio.sleep(0)
    tier.keep(block_key(100), content(block_key(100)))
    await tier.flush()
    assert tier._queue.held_bytes == 0
    assert path_of(tier, block_key(100)).exists()
