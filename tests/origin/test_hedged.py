"""A second request where the first answer is unusually slow: what it saves, and what it costs the origin."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from rangecache.aio.budget import RetryBudget
from rangecache.aio.permits import Ticket
from rangecache.aio.throttle import Throttle
from rangecache.errors import NotFound, Unavailable
from rangecache.model import ObjectRef
from rangecache.origin.base import GetResult
from rangecache.origin.hedged import SAMPLES_MIN, WINDOW_S, Hedged
from rangecache.origin.limit import Yielding
from rangecache.origin.memory import MemoryRequest, MemoryStore
from rangecache.origin.strain import Strain
from rangecache.origin.throttled import Rates, Throttled
from rangecache.telemetry import Metrics
from rangecache.testing.simloop import SimulatedClock, simulate
from tests.aio.test_throttle import let_time_pass

from .conftest import BODY, REF
from .reading import read

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rangecache.origin.base import Purpose
    from rangecache.origin.web import WebStore
    from rangecache.testing.clock import ManualClock
    from rangecache.testing.origin import Origin
    from rangecache.testing.simloop import SimulatedLoop
    from tests.proving import Proof

KEY = ObjectRef("mem", "b", "k")
DATA = bytes(1000)
FAST_S, SLOW_S = 0.02, 2.0


class Rig:
    """A store in simulated time, of which `slow` says what takes long."""

    def __init__(
        self, loop: SimulatedLoop, burst: float = 1e6, *, hedging: bool = True, rate: float | None = None
    ) -> None:
        self.loop, self.clock = loop, SimulatedClock(loop)
        self.origin = MemoryStore(before_answer=self._wait)
        self.origin.put(KEY, DATA)
        self.budget = RetryBudget(0, 0, burst, self.clock)
        self.strain = Strain(self.clock, 1000)
        if rate is not None:
            let_time_pass(loop)
        rates, waited = Rates(requests=() if rate is None else (Throttle(rate),)), Metrics().throttle_wait.cell()
        once = Yielding(Throttled(self.origin, rates, clock=self.clock, waited=waited), self.strain)
        self.store = Hedged(once, budget=self.budget, clock=self.clock) if hedging else once
        self.fast_s = FAST_S
        self.asking = 0
        """How many requests wait for an answer of the origin."""
        self.slow: Callable[[MemoryRequest], bool] = lambda _: False
        self.fail: Callable[[MemoryRequest], Exception | None] = lambda _: None

    async def _wait(self, request: MemoryRequest) -> None:
        self.asking += 1
        try:
            await asyncio.sleep(SLOW_S if self.slow(request) else self.fast_s)
        finally:
            self.asking -= 1
        if (error := self.fail(request)) is not None:
            raise error

    async def read(self) -> float:
        """The seconds that it took."""
        began_at = self.loop.time()
        async with self.store.get(KEY) as answer:
            assert isinstance(answer, GetResult)
            assert b"".join([chunk async for chunk in answer.chunks]) == DATA
        return self.loop.time() - began_at

    async def learn(self, count: int = SAMPLES_MIN) -> None:
        """Answers enough to know what is slow."""
        for _ in range(count):
            await self.read()
        await asyncio.sleep(1)

    def asked(self) -> list[str]:
        """The purposes, of the last requests."""
        return [request.purpose for request in list(self.origin.requests)[SAMPLES_MIN:]]


def in_time(scenario: Callable[[Rig], Awaitable[None]], **options: Any) -> None:
    async def run(loop: SimulatedLoop) -> None:
        rig = Rig(loop, **options)
        await scenario(rig)
        assert not rig.origin.open_bodies

    simulate(run, seed=7)


def test_a_straggler_is_asked_for_once_more_and_the_other_answer_given_up() -> None:
    async def scenario(rig: Rig) -> None:
        await rig.learn()
        rig.slow = lambda request: request.purpose == "demand"
        assert await rig.read() == pytest.approx(0.1 + FAST_S)
        assert rig.asked() == ["demand", "hedge"]

    in_time(scenario)


def test_the_first_answer_may_still_be_the_first() -> None:
    async def scenario(rig: Rig) -> None:
        await rig.learn()
        rig.slow = lambda _: True
        assert await rig.read() == pytest.approx(SLOW_S)
        assert rig.asked() == ["demand", "hedge"]

    in_time(scenario)


@pytest.mark.parametrize("what", ["a rate", "a place"])
def test_what_is_waited_for_in_this_process_is_neither_slow_nor_a_reason_to_ask_once_more(what: str) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.learn()
        if what == "a place":
            window, held = rig.strain.window(KEY), [Ticket(urgent=True) for _ in range(1000)]
            for ticket in held:
                await window.acquire(ticket)
        readings = [asyncio.create_task(rig.read()) for _ in range(300)]
        if what == "a place":
            await asyncio.sleep(3)
            for ticket in held:
                window.release(ticket)
        assert max(await asyncio.gather(*readings)) > SLOW_S
        assert rig.asked() == ["demand"] * 300
        await asyncio.sleep(1)
        rig.slow = lambda request: request.purpose == "demand"
        assert await rig.read() == pytest.approx(0.1 + FAST_S, abs=0.02), "it is known what is slow"

    in_time(scenario, rate=100)


@pytest.mark.parametrize("known", [0, SAMPLES_MIN - 1])
def test_nothing_is_hedged_before_it_is_known_what_is_slow(known: int) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.learn(known)
        rig.slow = lambda _: True
        await rig.read()
        assert {request.purpose for request in rig.origin.requests} == {"demand"}

    in_time(scenario)


def test_slow_is_what_takes_longer_than_all_but_one_in_a_hundred_of_the_last_minute() -> None:
    async def scenario(rig: Rig) -> None:
        rig.fast_s = 1.5
        await rig.learn()
        await asyncio.sleep(WINDOW_S)
        rig.fast_s = FAST_S
        await rig.learn(SAMPLES_MIN - 2)
        rig.fast_s = 0.5
        await rig.learn(2)
        rig.fast_s = FAST_S
        rig.slow = lambda request: request.purpose == "demand"
        assert await rig.read() == pytest.approx(0.5 + FAST_S)

    in_time(scenario)


@pytest.mark.parametrize("purpose", ["prefetch", "warm", "retry"])
def test_only_what_a_reader_waits_for_is_hedged_and_no_repeat(purpose: Purpose) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.learn()
        rig.slow = lambda _: True
        async with rig.store.get(KEY, purpose=purpose):
            assert rig.asked() == [purpose]

    in_time(scenario)


@pytest.mark.parametrize(("before", "most"), [(SAMPLES_MIN, 3), (20 * SAMPLES_MIN, 12)])
def test_no_more_than_one_in_a_hundred_is_hedged_and_ten_at_once(before: int, most: int) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.learn(before)
        rig.slow = lambda _: True
        await asyncio.gather(*(rig.read() for _ in range(100)))
        assert most - 2 <= sum(request.purpose == "hedge" for request in rig.origin.requests) <= most

    in_time(scenario)


def test_the_other_request_is_given_up_before_the_answer_is_read() -> None:
    async def scenario(rig: Rig) -> None:
        await rig.learn()
        rig.slow = lambda request: request.purpose == "demand"
        async with rig.store.get(KEY):
            assert rig.asked() == ["demand", "hedge"]
            assert rig.asking == 0

    in_time(scenario)


def test_where_both_fail_it_is_the_first_ones_error() -> None:
    async def scenario(rig: Rig) -> None:
        await rig.learn()
        rig.slow = lambda request: request.purpose == "demand"
        rig.fail = lambda request: Unavailable(request.purpose)
        with pytest.raises(Unavailable, match="demand"):
            await rig.read()

    in_time(scenario)


def test_the_ledger_decides_too() -> None:
    async def scenario(rig: Rig) -> None:
        await rig.learn()
        while rig.budget.try_withdraw():
            pass
        rig.slow = lambda _: True
        assert await rig.read() == pytest.approx(SLOW_S)
        assert rig.asked() == ["demand"]

    in_time(scenario, burst=5)


@pytest.mark.parametrize("purpose", ["demand", "hedge"])
def test_the_failure_of_one_leaves_the_other(purpose: str) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.learn()
        rig.slow = lambda request: request.purpose == "demand"
        rig.fail = lambda request: Unavailable("no") if request.purpose == purpose else None
        assert await rig.read() == pytest.approx(0.1 + FAST_S if purpose == "demand" else SLOW_S)

    in_time(scenario)


def test_an_answer_without_the_object_is_an_answer() -> None:
    async def scenario(rig: Rig) -> None:
        await rig.learn()
        rig.slow = lambda request: request.purpose == "demand"
        rig.fail = lambda _: NotFound("none")
        began_at = rig.loop.time()
        with pytest.raises(NotFound):
            await rig.read()
        assert rig.loop.time() - began_at == pytest.approx(0.1 + FAST_S)

    in_time(scenario)


@pytest.mark.parametrize("after_s", [0.05, 0.11, 0.5])
def test_who_leaves_gives_up_both(after_s: float) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.learn()
        rig.slow = lambda _: True
        reading = asyncio.create_task(rig.read())
        await asyncio.sleep(after_s)
        reading.cancel()
        await asyncio.wait([reading])
        assert reading.cancelled()

    in_time(scenario)


def test_with_one_straggler_in_a_hundred_the_tail_is_cut_for_one_request_in_a_hundred(proof: Proof) -> None:
    count = 10_000
    tails: dict[bool, list[float]] = {}
    extra = 0.0

    def scenario(hedging: bool) -> Callable[[Rig], Awaitable[None]]:
        async def run(rig: Rig) -> None:
            nonlocal extra
            rig.slow = lambda _: rig.loop.random.random() < 0.01
            took: list[float] = []

            async def reader() -> None:
                while len(took) < count:
                    took.append(await rig.read())

            await asyncio.gather(*(reader() for _ in range(10)))
            tails[hedging] = sorted(took)
            if hedging:
                extra = sum(request.purpose == "hedge" for request in rig.origin.requests) / len(took)

        return run

    for hedging in (False, True):
        in_time(scenario(hedging), hedging=hedging)
    plain, hedged = (tails[each][int(len(tails[each]) * 0.995)] for each in (False, True))
    worst = [tails[each][int(len(tails[each]) * 0.999)] for each in (False, True)]
    mean = [sum(tails[each]) / len(tails[each]) for each in (False, True)]
    proof.row(
        "hedging costs at most one request in a hundred and cuts the tail",
        f"1 % of answers take {SLOW_S:g} s: {extra:.2%} more requests; p99.5 {plain:.2f} s, with it {hedged:.2f} s;"
        f" p99.9 {worst[0]:.2f} s and {worst[1]:.2f} s; mean {mean[0] * 1000:.0f} ms and {mean[1] * 1000:.0f} ms",
    )
    assert extra <= 0.011
    assert hedged < plain / 2
    assert worst[1] < worst[0] / 2


async def test_a_hedge_has_a_connection_of_its_own(store: WebStore, origin: Origin, clock: ManualClock) -> None:
    hedged = Hedged(store, budget=RetryBudget(0, 0, 100, clock), clock=clock)
    for _ in range(SAMPLES_MIN):
        await read(hedged, REF)
    clock.shift(1)
    before = origin.connections_made
    gate = origin.hold(times=1)
    reading = asyncio.create_task(read(hedged, REF))
    await gate.reached()
    await clock.advance(0.11)
    assert (await reading)[2] == BODY
    gate.release()
    assert origin.connections_made == before + 1
    assert len(origin.requests) == SAMPLES_MIN + 2
