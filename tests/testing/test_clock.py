"""The clock that tests move."""

from __future__ import annotations

import asyncio

from rangecache.testing.clock import ManualClock


async def test_advancing_wakes_sleepers_in_order_and_at_their_own_times() -> None:
    clock = ManualClock()
    began_s = clock.monotonic()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, delay_s: float, times: int = 1) -> None:
        for _ in range(times):
            await clock.sleep(delay_s)
            woken.append((name, clock.monotonic() - began_s))

    async with asyncio.TaskGroup() as group:
        group.create_task(sleeper("late", 3.0))
        group.create_task(sleeper("often", 1.0, times=3))
        group.create_task(sleeper("soon", 0.5))
        await clock.advance(2.5)
        assert woken == [("soon", 0.5), ("often", 1.0), ("often", 2.0)]
        assert clock.monotonic() == began_s + 2.5
        await clock.advance(0.5)
    assert woken[3:] == [("late", 3.0), ("often", 3.0)]


async def test_a_sleep_that_is_cancelled_is_forgotten() -> None:
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(1.0))
    await clock.wait_for_sleepers()
    assert clock.sleepers == 1
    task.cancel()
    await asyncio.wait({task})
    assert clock.sleepers == 0
    await clock.advance(2.0)


async def test_a_wait_for_sleepers_ends_when_enough_of_them_sleep() -> None:
    clock = ManualClock()
    waiting = asyncio.create_task(clock.wait_for_sleepers(2))
    first = asyncio.create_task(clock.sleep(1.0))
    await clock.advance(0.0)
    assert not waiting.done()
    second = asyncio.create_task(clock.sleep(1.0))
    await waiting
    await clock.advance(1.0)
    assert first.done()
    assert second.done()


def test_shifting_moves_both_clocks_at_once_and_the_wall_clock_can_jump() -> None:
    clock = ManualClock(wall_s=5000.0)
    began_s = clock.monotonic()
    clock.shift(10.0)
    assert (clock.monotonic() - began_s, clock.wall()) == (10.0, 5010.0)
    clock.wall_s = 100.0
    clock.shift(1.0)
    assert (clock.monotonic() - began_s, clock.wall()) == (11.0, 101.0)


async def test_a_sleep_of_nothing_gives_way_once() -> None:
    clock = ManualClock()
    await clock.sleep(0)
    await clock.sleep(-1)
    assert clock.sleepers == 0
