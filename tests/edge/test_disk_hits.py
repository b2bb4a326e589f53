"""What is on disk and in the page cache is answered at once, by the data port as a client sees it."""

from __future__ import annotations

import contextlib
import random
import resource
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rangecache.blocks.disk import READS_A_USE
from rangecache.blocks.disk_descriptors import SHARE_MAX
from rangecache.blocks.disk_files import BlockFiles
from rangecache.read.messages import HIT_DISK, ReadRequest
from rangecache.server.listener import FILES_RESERVED, REFUSED_MAX
from tests.blocks.conftest import why_no_nowait
from tests.blocks.test_disk_damage import flip
from tests.edge.rig import BLOCK, Rig, running
from tests.edge.test_purge import ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rangecache.blocks.disk import DiskTier
    from tests.edge.client import Answer

BLOCKS = 40
DATA = random.Random(1).randbytes(BLOCKS * BLOCK + 7)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """A program whose memory has room for a few blocks, and an object of which all is on disk, in open files."""
    if why_not := why_no_nowait(tmp_path):
        pytest.skip(why_not)
    cache = {"memory": {"size": 4 * BLOCK}, "disk": {"enabled": True, "path": str(tmp_path), "min_free": 0}}
    async with running(cache={"block_size": BLOCK, **cache}) as made:
        made.origin.put("b/x", DATA)
        assert (await made.get("x")).body == DATA
        await disk_of(made).flush()
        for start in range(0, len(DATA), BLOCK):
            await read(made, start, start + 1)
        made.origin.log.clear()
        yield made


def disk_of(rig: Rig) -> DiskTier:
    disk = rig.program.disk
    assert disk is not None
    return disk


async def read(rig: Rig, start: int, end: int) -> Answer:
    answer = await rig.get("x", f"Range: bytes={start}-{end - 1}")
    assert (answer.status, answer.body) == (206, DATA[start:end])
    return answer


async def test_a_range_on_disk_is_answered_without_thread_task_or_origin(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that reaches over blocks, of which some are in memory; and it says and counts where it was."""

    def no_thread(*_: object) -> memoryview:
        raise AssertionError("a thread was asked")

    monkeypatch.setattr(BlockFiles, "read", no_thread)
    monkeypatch.setattr(rig.program.reader, "open", None)
    served, chance, outcomes = rig.program.metrics.served_bytes, random.Random(2), set()
    client = await rig.connect()
    for _ in range(4 * READS_A_USE):
        start = chance.randrange(len(DATA))
        end = min(len(DATA), start + chance.choice((1, 100, 2 * BLOCK)))
        disk_bytes, memory_bytes = (served.cell("web", source).value for source in ("disk", "memory"))
        answer = await client.get("/web/b/x", f"Range: bytes={start}-{end - 1}")
        assert (answer.status, answer.body) == (206, DATA[start:end])
        from_disk = served.cell("web", "disk").value - disk_bytes
        assert from_disk + served.cell("web", "memory").value - memory_bytes == end - start
        detail = answer.cache.partition("detail=")[2]
        assert detail == ("disk" if from_disk else "memory")
        outcomes.add((detail, 0 < from_disk < end - start))
    assert outcomes == {("disk", False), ("disk", True), ("memory", False)}
    assert not rig.asked()


async def test_both_questions_are_answered_at_once_and_alike(rig: Rig) -> None:
    reader, ref = rig.program.reader, rig.program.port.router.find(b"/web/b/x")
    told = 0
    for index in range(BLOCKS):
        start, end = index * BLOCK + 5, index * BLOCK + 105
        found = reader.peek(ref, start, end, 1 << 16)
        reply = reader.try_open(ReadRequest(ref, range=f"bytes={start}-{end - 1}"))
        assert found is not None
        assert reply is not None
        assert found[1] is reply.cache
        assert b"".join(found[4]) == b"".join(reply.body) == DATA[start:end]  # type: ignore[arg-type]
        told += reply.cache is HIT_DISK
    assert told > BLOCKS // 2


async def test_one_touch_of_each_block_moves_none_into_memory(rig: Rig) -> None:
    memory, ref = rig.program.memory, rig.program.port.router.find(b"/web/b/x")
    keys = [rig.program.catalog.peek(ref).block_key(index) for index in range(BLOCKS)]  # type: ignore[union-attr]
    before = [memory.contains(key) for key in keys]
    assert 0 < sum(before) <= 4
    for index in range(BLOCKS):
        await read(rig, index * BLOCK + 7, index * BLOCK + 700)
    assert [memory.contains(key) for key in keys] == before
    cold = before.index(False)
    for _ in range(20 * READS_A_USE):
        await read(rig, cold * BLOCK + 7, cold * BLOCK + 700)
    assert memory.contains(keys[cold])


async def test_a_long_answer_is_put_together_from_open_files(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also piece after piece, for one who is given no more at once."""

    def no_thread(*_: object) -> memoryview:
        raise AssertionError("a thread was asked")

    monkeypatch.setattr(BlockFiles, "read", no_thread)
    ref, disk = rig.program.port.router.find(b"/web/b/x"), disk_of(rig)
    for most_bytes in (None, 1000):
        before = disk.reads_without_thread
        reply = await rig.program.reader.open(ReadRequest(ref))
        body, pieces = bytearray(), reply.body
        assert isinstance(pieces, AsyncGenerator)
        with contextlib.suppress(StopAsyncIteration):
            while True:
                body += await pieces.asend(most_bytes)
        assert body == DATA
        assert reply.cache is HIT_DISK
        assert disk.reads_without_thread - before >= BLOCKS - 4


async def test_connections_leave_descriptors_for_open_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = 2048
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    disk = {"enabled": True, "path": str(tmp_path), "min_free": 0}
    async with running(cache={"block_size": BLOCK, "disk": disk}) as rig:
        left = files - REFUSED_MAX - FILES_RESERVED - files // SHARE_MAX
        assert rig.program.port.limits.max_connections == left


async def test_a_changed_file_costs_the_origin_a_request_and_nobody_a_wrong_byte(rig: Rig) -> None:
    ref = rig.program.port.router.find(b"/web/b/x")
    known = rig.program.catalog.peek(ref)
    assert known is not None
    index = next(each for each in range(BLOCKS) if not rig.program.memory.contains(known.block_key(each)))
    assert "detail=disk" in (await read(rig, index * BLOCK, index * BLOCK + 10)).cache
    for path in Path(disk_of(rig).directory, "blocks-1").rglob("?" * 64):
        flip(path, 8 * (path.stat().st_size - 1))
    await read(rig, index * BLOCK, index * BLOCK + 10)
    assert rig.asked() == [f"bytes={index * BLOCK}-{(index + 1) * BLOCK - 1}"]
    assert disk_of(rig).stats().checksum_errors == 1


async def test_a_purge_leaves_nothing_to_be_read(rig: Rig) -> None:
    newer = random.Random(3).randbytes(len(DATA))
    rig.origin.put("b/x", newer)
    assert (await ask(rig.admin_port, "/v1/purge", {"object": "web/b/x"}))[0] == 200
    assert disk_of(rig).descriptors[0] == 0
    for start in range(0, len(DATA), BLOCK):
        answer = await rig.get("x", f"Range: bytes={start}-{start + 9}")
        assert answer.body == newer[start : start + 10]


async def test_blocks_that_take_each_others_files_are_never_mixed_up(tmp_path: Path) -> None:
    """The disk is too small too: every write goes over the file of an evicted block, while others are being read."""
    if why_not := why_no_nowait(tmp_path):
        pytest.skip(why_not)
    disk = {"enabled": True, "path": str(tmp_path), "min_free": 0, "size": 16 * (BLOCK + 4096)}
    cache = {"block_size": BLOCK, "memory": {"size": 2 * BLOCK}, "disk": disk}
    async with running(cache=cache) as rig:
        rig.origin.put("b/x", DATA)
        chance = random.Random(4)
        for step in range(600):
            start = int(chance.triangular(0, len(DATA), 0))
            await read(rig, start, min(len(DATA), start + chance.choice((1, 100, BLOCK))))
            if step % 10 == 0:
                await disk_of(rig).flush()
        stats = disk_of(rig).stats()
        assert (stats.checksum_errors, stats.state) == (0, "rw")
        assert stats.evictions > 50
        assert disk_of(rig).reads_without_thread > 50
        assert 0 < disk_of(rig).descriptors[0] <= stats.blocks
