"""A run hands its bytes to those who wait, whatever becomes of its buffers."""

from __future__ import annotations

import asyncio

import pytest

from rangecache.errors import Unavailable
from rangecache.read.run import Run
from tests.read.conftest import BLOCK, REF, Cache

DATA = bytes(range(256)) * 64  # four blocks


async def _run(cache: Cache) -> Run:
    cache.origin.put(REF, DATA)
    await cache.open(head=True)
    known = cache.catalog.peek(REF)
    assert known is not None
    return Run(known, range(4))


def _feed(run: Run, data: bytes) -> list[int]:
    return [index for index, _ in run.feed(memoryview(data))]


async def test_a_waiter_gets_the_bytes_themselves_even_if_the_buffers_are_given_up_at_once(cache: Cache) -> None:
    run = await _run(cache)
    waiter = asyncio.create_task(run.read(10, BLOCK))
    await asyncio.sleep(0)
    assert _feed(run, DATA) == [0, 1, 2, 3]
    run.drop()
    assert await waiter == DATA[10:BLOCK]
    assert await run.read(10, BLOCK) is None


async def test_a_view_ends_where_the_bytes_that_have_arrived_end(cache: Cache) -> None:
    run = await _run(cache)
    assert _feed(run, DATA[:100]) == []
    assert await run.read(20, BLOCK) == DATA[20:100]
    waiter = asyncio.create_task(run.read(100, BLOCK))
    await asyncio.sleep(0)
    _feed(run, DATA[100:150])
    assert await waiter == DATA[100:150]


async def test_what_has_arrived_can_be_read_after_a_failure_and_the_rest_raises(cache: Cache) -> None:
    run = await _run(cache)
    _feed(run, DATA[: BLOCK + 5])
    waiter = asyncio.create_task(run.read(BLOCK + 5, 2 * BLOCK))
    await asyncio.sleep(0)
    run.fail(Unavailable("gone"))
    with pytest.raises(Unavailable):
        await waiter
    assert await run.read(0, BLOCK) == DATA[:BLOCK]
    with pytest.raises(Unavailable):
        await run.read(2 * BLOCK, 3 * BLOCK)
    with pytest.raises(Unavailable):
        await run.wait_opened()
    assert run.done


async def test_a_reader_who_leaves_while_waiting_is_not_in_the_way(cache: Cache) -> None:
    run = await _run(cache)
    waiter = asyncio.create_task(run.read(0, 10))
    opening = asyncio.create_task(run.wait_opened())
    await asyncio.sleep(0)
    waiter.cancel()
    opening.cancel()
    await asyncio.sleep(0)
    run.open()
    assert _feed(run, DATA) == [0, 1, 2, 3]
