"""The throttle by itself, in simulated time: aiolimiter goes by the event loop's."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING

import pytest

from rangecache.aio.permits import Ticket
from rangecache.aio.throttle import Throttle
from rangecache.testing.simloop import simulate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rangecache.testing.simloop import SimulatedLoop

KIB = 1024
MIB = KIB * KIB


def let_time_pass(loop: SimulatedLoop) -> None:
    """Make each look at the time take a nanosecond, as it does: aiolimiter looks again and again until what rounding
    has left of a pause is over, which in a time that stands still is never."""
    exact, looks = loop.time, count()
    loop.time = lambda: exact() + next(looks) * 1e-9  # type: ignore[method-assign]


def passed(rate: float, amount: float, readers: int, seconds: float) -> float:
    """How much passes in that time if so many readers take `amount` again and again."""
    total = 0.0

    async def scenario(loop: SimulatedLoop) -> None:
        let_time_pass(loop)
        throttle = Throttle(rate)

        async def read() -> None:
            nonlocal total
            ticket = Ticket(urgent=True)
            while True:
                await throttle.charge(amount, ticket)
                total += amount

        tasks = [asyncio.create_task(read()) for _ in range(readers)]
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    simulate(scenario, seed=1)
    return total


@pytest.mark.parametrize(
    ("rate", "amount"), [(64 * KIB, KIB), (MIB, 128 * KIB), (50 * MIB, 128 * KIB), (1000, 1), (20, 1)]
)
@pytest.mark.parametrize("readers", [1, 8])
def test_the_rate_is_within_a_twentieth_of_its_limit_over_ten_seconds(rate: float, amount: float, readers: int) -> None:
    assert 0.95 <= passed(rate, amount, readers, 10) / (rate * 10) <= 1.05


def test_what_is_larger_than_a_second_of_the_rate_passes_in_its_time() -> None:
    async def scenario(loop: SimulatedLoop) -> float:
        let_time_pass(loop)
        began_at = loop.time()
        await Throttle(512 * KIB).charge(MIB, Ticket(urgent=True))
        return loop.time() - began_at

    assert simulate(scenario, seed=1)[0] == pytest.approx(2, rel=0.15)


def test_less_than_one_request_a_second_is_a_rate_too() -> None:
    assert passed(0.5, 1, 3, 20) in (10, 11)


def ends(
    rate: float, payers: list[tuple[float, bool]], then: Callable[[Throttle, list[Ticket]], Awaitable[None]]
) -> list[int]:
    """In which order they are done who come one after the other, each with an amount; urgent or not."""
    order: list[int] = []

    async def scenario(loop: SimulatedLoop) -> None:
        let_time_pass(loop)
        throttle = Throttle(rate)
        tickets = [Ticket(urgent=urgent) for _, urgent in payers]

        async def pay(number: int) -> None:
            await throttle.charge(payers[number][0], tickets[number])
            order.append(number)

        tasks = []
        for number in range(len(payers)):
            tasks.append(asyncio.create_task(pay(number)))
            await asyncio.sleep(0)
        await then(throttle, tickets)
        await asyncio.gather(*tasks)

    simulate(scenario, seed=1)
    return order


async def nothing(_throttle: Throttle, _tickets: list[Ticket]) -> None:
    """Let them go on."""


def test_a_large_amount_is_not_overtaken_by_a_crowd_of_small_ones_for_ever() -> None:
    """aiolimiter alone serves the smallest first: all of the crowd would pass the large one."""
    crowd: list[tuple[float, bool]] = [(10, True)] * 100
    order = ends(100, [(20, True), (20, True), *crowd], nothing)
    assert order.index(1) < 10


def test_a_small_amount_waits_for_one_slice_of_a_large_one_and_not_for_all() -> None:
    assert ends(64 * KIB, [(10 * MIB, True), (KIB, True)], nothing) == [1, 0]


def test_a_small_amount_waits_for_no_more_of_a_large_one_than_passes_in_a_moment_where_the_rate_is_high() -> None:
    async def scenario(loop: SimulatedLoop) -> float:
        let_time_pass(loop)
        throttle = Throttle(10 * MIB)
        large = asyncio.create_task(throttle.charge(20 * MIB, Ticket(urgent=True)))
        await asyncio.sleep(1.1)
        began_at = loop.time()
        await throttle.charge(KIB, Ticket(urgent=True))
        took_s = loop.time() - began_at
        large.cancel()
        await asyncio.wait([large])
        return took_s

    assert simulate(scenario, seed=1)[0] < 0.05


def test_the_patient_wait_for_all_who_are_urgent() -> None:
    late = [(50.0, False), *[(50.0, True)] * 20]
    assert ends(100, [(20, True), *late], nothing) == [0, *range(2, 22), 1]


def test_who_is_waited_for_now_is_urgent_from_now_on() -> None:
    async def promote(throttle: Throttle, tickets: list[Ticket]) -> None:
        throttle.promote(tickets[3])

    order = ends(100, [(20, True), *[(20.0, False)] * 3, (20, True)], promote)
    assert order == [0, 1, 4, 3, 2]


def test_who_leaves_makes_room() -> None:
    async def scenario(loop: SimulatedLoop) -> float:
        let_time_pass(loop)
        throttle = Throttle(100)
        await throttle.charge(20, Ticket(urgent=True))
        leaver = asyncio.create_task(throttle.charge(1000, Ticket(urgent=True)))
        await asyncio.sleep(0.05)
        leaver.cancel()
        began_at = loop.time()
        await throttle.charge(20, Ticket(urgent=True))
        await asyncio.wait([leaver])
        return loop.time() - began_at

    assert simulate(scenario, seed=1)[0] <= 0.45
