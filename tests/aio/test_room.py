"""A bound on bytes is a bound, in turn, whoever leaves."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rangecache.aio.room import ByteRoom


async def _settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_waiters_are_served_in_order_so_that_a_large_one_is_not_starved() -> None:
    room = ByteRoom(100)
    await room.take(60)
    served: list[int] = []

    async def take(size: int) -> None:
        await room.take(size)
        served.append(size)

    waiters = [asyncio.create_task(take(size)) for size in (90, 10, 20)]
    await _settle()
    assert served == []
    assert not room.try_take(10)
    room.give(60)
    await _settle()
    assert served == [90, 10]
    room.give(90)
    await asyncio.gather(*waiters)
    assert room.taken_bytes == 30


async def test_more_than_the_limit_is_granted_alone() -> None:
    room = ByteRoom(100)
    await room.take(500)
    assert not room.try_take(1)
    room.give(500)
    assert room.try_take(1)


async def test_a_waiter_who_leaves_makes_way() -> None:
    room = ByteRoom(100)
    await room.take(60)
    large = asyncio.create_task(room.take(90))
    small = asyncio.create_task(room.take(10))
    await _settle()
    large.cancel()
    await asyncio.wait_for(small, 5)
    assert room.taken_bytes == 70
    assert room.wanted_bytes == 0


async def test_what_was_granted_to_one_who_leaves_in_that_moment_is_given_back() -> None:
    room = ByteRoom(100)
    await room.take(100)
    waiter = asyncio.create_task(room.take(50))
    await _settle()
    room.give(100)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert room.taken_bytes == 0


@given(st.lists(st.tuples(st.integers(1, 120), st.booleans()), max_size=40))
def test_never_more_than_the_limit_and_nothing_is_lost(steps: list[tuple[int, bool]]) -> None:
    async def play() -> None:
        room = ByteRoom(100)
        tasks: list[tuple[int, asyncio.Task[None]]] = []
        for size, leave in steps:
            tasks.append((size, asyncio.create_task(room.take(size))))
            await asyncio.sleep(0)
            if leave:
                tasks.pop(0)[1].cancel() if not tasks[0][1].done() else room.give(tasks.pop(0)[0])
            held = [size for size, task in tasks if task.done() and not task.cancelled()]
            await _settle()
            held = [size for size, task in tasks if task.done() and not task.cancelled()]
            assert room.taken_bytes == sum(held)
            assert sum(held) <= 100 or len(held) == 1
        while tasks:
            size, task = tasks.pop(0)
            await task
            room.give(size)
        assert room.taken_bytes == 0

    asyncio.run(play())


async def test_thousands_who_leave_at_once_leave_quickly_and_nothing_behind() -> None:
    room = ByteRoom(100)
    await room.take(100)
    waiters = [asyncio.create_task(room.take(50)) for _ in range(20_000)]
    last = asyncio.create_task(room.take(70))
    await _settle()
    assert room.wanted_bytes == 20_000 * 50 + 70
    for waiter in waiters:
        waiter.cancel()
    async with asyncio.timeout(5):  # a search for each would be 200 million steps
        await asyncio.gather(*waiters, return_exceptions=True)
    assert room.wanted_bytes == 70
    assert len(room._waiting) <= 2
    room.give(100)
    await last
    assert (room.taken_bytes, room.wanted_bytes) == (70, 0)
