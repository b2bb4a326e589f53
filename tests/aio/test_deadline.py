"""Time limits on a manual clock."""

from __future__ import annotations

import asyncio

import pytest

from rangecache.aio.deadline import Deadline
from rangecache.aio.watchdog import Watchdog
from rangecache.testing.clock import ManualClock


async def limited(clock: ManualClock, work: asyncio.Future[str]) -> str:
    async with Deadline(clock, 5):
        return await work


async def test_work_in_time_is_left_alone():
    clock = ManualClock()
    work: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(limited(clock, work))
    await clock.advance(4.9)
    work.set_result("done")
    assert await task == "done"
    await clock.advance(1)
    assert clock.sleepers == 0


async def test_work_that_takes_too_long_is_cancelled_and_reported_as_late():
    clock = ManualClock()
    work: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(limited(clock, work))
    await clock.advance(5)
    with pytest.raises(TimeoutError):
        await task
    assert work.cancelled()
    assert task.cancelling() == 0


async def test_a_cancellation_from_elsewhere_is_no_timeout():
    clock = ManualClock()
    work: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(limited(clock, work))
    await clock.advance(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await clock.advance(10)


async def test_a_cancellation_at_the_same_moment_wins():
    clock = ManualClock()
    work: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(limited(clock, work))
    await clock.wait_for_sleepers()
    clock.shift(5)
    while not task.cancelling():
        await asyncio.sleep(0)
    assert not task.done()  # the deadline has rung, but the work has not felt it yet
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_of_the_work_passes_through():
    clock = ManualClock()
    with pytest.raises(ZeroDivisionError):
        async with Deadline(clock, 5):
            raise ZeroDivisionError
    await clock.advance(10)


async def test_a_watchdog_barks_when_the_waiting_adds_up():
    clock = ManualClock()
    barks: list[float] = []
    dog = Watchdog(clock, 10, lambda: barks.append(clock.monotonic()))
    for _ in range(3):
        dog.wait()
        await clock.advance(3)
        dog.got()
        await clock.advance(100)
    assert barks == []
    dog.wait()
    await clock.advance(0.9)
    assert barks == []
    await clock.advance(0.1)
    assert len(barks) == 1
    await clock.advance(100)
    assert len(barks) == 1


async def test_progress_restores_all_patience():
    clock = ManualClock()
    barks: list[float] = []
    dog = Watchdog(clock, 10, lambda: barks.append(clock.monotonic()))
    for _ in range(5):
        dog.wait()
        await clock.advance(9)
        dog.got()
        dog.restore()
    assert barks == []
    dog.wait()
    await clock.advance(10)
    assert len(barks) == 1


async def test_a_closed_watchdog_leaves_nothing_behind():
    clock = ManualClock()
    dog = Watchdog(clock, 10, lambda: pytest.fail("it barked"))
    dog.wait()
    await clock.wait_for_sleepers()
    dog.close()
    await clock.advance(100)
    assert clock.sleepers == 0
