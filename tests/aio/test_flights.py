"""Single flight: who pays, who shares, who leaves."""

from __future__ import annotations

import asyncio

import pytest

from rangecache.aio.flights import Flight, Flights
from rangecache.aio.tasks import Background
from rangecache.errors import Unavailable


class Work:
    """Work that is started, held, and ended by the test."""

    def __init__(self) -> None:
        self.started = 0
        self.cancelled = 0
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, flight: Flight[int]) -> None:
        self.started += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        flight.land(self.started)


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def flights() -> Flights[str, int]:
    return Flights(Background(), "work")


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_many_share_one_piece_of_work_and_one_of_them_began_it(flights: Flights[str, int], work: Work) -> None:
    waiters = [asyncio.create_task(flights.join("k", work)) for _ in range(1000)]
    await _settle()
    work.gate.set()
    results = await asyncio.gather(*waiters)
    assert [result for result, _ in results] == [1] * 1000
    assert [first for _, first in results].count(True) == 1
    await _settle()
    assert len(flights) == 0


async def test_the_first_who_asked_may_leave(flights: Flights[str, int], work: Work) -> None:
    waiters = [asyncio.create_task(flights.join("k", work)) for _ in range(3)]
    await _settle()
    waiters[0].cancel()
    await _settle()
    work.gate.set()
    assert [result for result, _ in await asyncio.gather(*waiters[1:])] == [1, 1]
    assert (work.started, work.cancelled) == (1, 0)


async def test_when_the_last_leaves_the_work_is_cancelled_and_the_key_is_free_at_once(
    flights: Flights[str, int], work: Work
) -> None:
    waiter = asyncio.create_task(flights.join("k", work))
    await _settle()
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    next_waiter = asyncio.create_task(flights.join("k", work))
    await _settle()
    assert (work.started, work.cancelled) == (2, 1)
    work.gate.set()
    assert await next_waiter == (2, True)


async def test_an_error_is_shared_and_not_remembered(flights: Flights[str, int], work: Work) -> None:
    work.error = Unavailable("down")
    waiters = [asyncio.create_task(flights.join("k", work)) for _ in range(3)]
    await _settle()
    work.gate.set()
    results = await asyncio.gather(*waiters, return_exceptions=True)
    assert all(isinstance(result, Unavailable) for result in results)
    work.error = None
    assert await flights.join("k", work) == (2, True)


async def test_work_that_ends_without_a_result_is_an_error_and_not_a_hang(
    flights: Flights[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    async def forgetful(flight: Flight[int]) -> None:
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="without a result"):
        await flights.join("k", forgetful)
    await _settle()
    assert "failed" in caplog.text


async def test_work_may_go_on_after_its_result(flights: Flights[str, int]) -> None:
    ended = asyncio.Event()

    async def landing(flight: Flight[int]) -> None:
        flight.land(1)
        await asyncio.sleep(0)
        ended.set()

    assert await flights.join("k", landing) == (1, True)
    await asyncio.wait_for(ended.wait(), 5)


async def test_nobody_waits_for_ever_for_work_that_was_cancelled_before_it_began(work: Work) -> None:
    background = Background()
    flights: Flights[str, int] = Flights(background, "work")
    waiter = asyncio.create_task(flights.join("k", work))
    await asyncio.sleep(0)
    await background.aclose()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waiter, 5)
    assert work.started == 0
    assert len(flights) == 0


async def test_released_work_is_joined_by_nobody_and_answers_who_waits(flights: Flights[str, int]) -> None:
    first, second = Work(), Work()
    waiting, other = asyncio.create_task(flights.join("a", first)), asyncio.create_task(flights.join("b", first))
    await _settle()
    assert flights.count(lambda key: key == "a") == 1
    assert flights.release(lambda key: key == "a") == 1
    anew = asyncio.create_task(flights.join("a", second))
    await _settle()
    assert second.started == 1
    assert len(flights) == 2
    first.gate.set()
    assert (await waiting)[1]
    assert (await other)[1]
    assert "a" in flights  # the second one's, which the end of the first has left alone
    second.gate.set()
    assert await anew == (1, True)
    assert len(flights) == 0
