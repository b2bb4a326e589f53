"""Permits are held until a body is read or left, and given back whatever happens."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from rangecache.errors import NotFound, Unavailable
from rangecache.model import ObjectRef
from rangecache.origin.base import GetResult
from rangecache.origin.limit import Limited
from rangecache.origin.memory import MemoryStore
from rangecache.ranges import ByteRange

if TYPE_CHECKING:
    from rangecache.origin.base import Purpose
    from rangecache.origin.memory import MemoryRequest

REF = ObjectRef("mem", "b", "k")
DATA = bytes(1000)


@pytest.fixture
def origin() -> MemoryStore:
    origin = MemoryStore(chunk_bytes=100)
    origin.put(REF, DATA)
    return origin


async def _read(store: Limited) -> bytes:
    async with store.get(REF) as answer:
        assert isinstance(answer, GetResult)
        return b"".join([chunk async for chunk in answer.chunks])


async def test_never_more_bodies_are_open_than_there_are_permits(origin: MemoryStore) -> None:
    store, most = Limited(origin, 3), 0

    async def watch(request: MemoryRequest, offset: int) -> None:
        nonlocal most
        most = max(most, origin.open_bodies)
        await asyncio.sleep(0)

    origin.before_chunk = watch
    assert await asyncio.gather(*(_read(store) for _ in range(20))) == [DATA] * 20
    assert most == 3


async def test_a_permit_comes_back_from_errors_early_leavers_and_cancellation(origin: MemoryStore) -> None:
    store = Limited(origin, 1)
    with pytest.raises(NotFound):
        await store.head(ObjectRef("mem", "b", "absent"))
    async with store.get(REF):
        pass

    async def fail(request: MemoryRequest) -> None:
        raise Unavailable("down")

    origin.before_answer = fail
    with pytest.raises(Unavailable):
        await _read(store)

    async def hang(request: MemoryRequest) -> None:
        await asyncio.Event().wait()

    origin.before_answer = hang
    holder, waiter = asyncio.create_task(_read(store)), asyncio.create_task(store.head(REF))
    await asyncio.sleep(0)
    waiter.cancel()
    holder.cancel()
    await asyncio.wait({holder, waiter})
    origin.before_answer = None
    assert await _read(store) == DATA


async def test_what_nobody_waits_for_leaves_half_of_the_permits_and_is_asked_last_unless_it_is_promoted(
    origin: MemoryStore,
) -> None:
    store, go = Limited(origin, 2), asyncio.Event()

    async def hold(request: MemoryRequest) -> None:
        await go.wait()

    origin.before_answer = hold

    async def read(start: int, purpose: Purpose) -> None:
        async with store.get(REF, range=ByteRange(start, start + 1), purpose=purpose):
            pass

    readings: tuple[tuple[int, Purpose], ...] = (
        (0, "prefetch"),
        (1, "prefetch"),
        (2, "warm"),
        (3, "demand"),
        (4, "demand"),
    )
    tasks = []
    for start, purpose in readings:
        tasks.append(asyncio.create_task(read(start, purpose)))
        await asyncio.sleep(0)
    assert _starts(origin) == [0, 3]
    store.promote(REF, ByteRange(2, 3))
    store.promote(REF, ByteRange(99, 100))  # nobody asks for that
    go.set()
    await asyncio.gather(*tasks)
    assert _starts(origin) == [0, 3, 4, 2, 1]


def _starts(origin: MemoryStore) -> list[int]:
    return [request.range.start for request in origin.requests if isinstance(request.range, ByteRange)]


async def test_who_is_promoted_while_he_waits_is_one_of_those_who_are_waited_for_further_in(
    origin: MemoryStore,
) -> None:
    store, go = Limited(origin, 1), asyncio.Event()

    async def hold(request: MemoryRequest) -> None:
        await go.wait()

    origin.before_answer = hold

    async def read(start: int, purpose: Purpose) -> None:
        async with store.get(REF, range=ByteRange(start, start + 1), purpose=purpose):
            pass

    tasks = [asyncio.create_task(read(0, "demand"))]
    for start in (1, 2):
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(read(start, "prefetch")))
    await asyncio.sleep(0)
    store.promote(REF, ByteRange(2, 3))
    go.set()
    await asyncio.gather(*tasks)
    assert [each.purpose for each in origin.requests] == ["demand", "demand", "prefetch"]
