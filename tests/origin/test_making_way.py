"""What nobody waits for, where those who are waited for would have to wait for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from rangecache.aio.throttle import Throttle
from rangecache.model import ObjectRef
from rangecache.origin.base import GetResult
from rangecache.origin.limit import Yielding
from rangecache.origin.memory import MemoryStore
from rangecache.origin.size_first import SizeFirst
from rangecache.origin.strain import Strain
from rangecache.origin.throttled import Rates, Throttled
from rangecache.ranges import ByteRange, SuffixRange
from rangecache.telemetry import Metrics
from rangecache.testing.simloop import SimulatedClock, simulate
from tests.aio.test_throttle import let_time_pass

if TYPE_CHECKING:
    from rangecache.origin.base import Purpose
    from rangecache.ranges import RangeSpec
    from rangecache.testing.simloop import SimulatedLoop

STRAINED, OTHER = ObjectRef("mem", "strained", "k"), ObjectRef("mem", "other", "k")
READERS = 10
SIZE_BYTES = 1000


class Crowded:
    """A bucket that is asked one thing at a time, and another one whose readers take all that the rates allow."""

    def __init__(self, loop: SimulatedLoop, rates: Rates) -> None:
        let_time_pass(loop)
        clock = SimulatedClock(loop)
        self.origin = MemoryStore(chunk_bytes=100)
        for ref in (STRAINED, OTHER):
            self.origin.put(ref, bytes(SIZE_BYTES))
        strain = Strain(clock, permits=2 * READERS)
        self.throttled = throttled = Throttled(
            self.origin, rates, clock=clock, waited=Metrics().throttle_wait.cell(), is_wanted=strain.is_wanted
        )
        self.store = Yielding(SizeFirst(throttled), strain, on_wanted=throttled.promote_bucket)
        window = strain.window(STRAINED)
        while window.size > 1:
            window.halve(0.0, 0.0)
        strain.pause(STRAINED)
        self.tasks = [asyncio.create_task(self._read_on()) for _ in range(READERS)]

    async def _read_on(self) -> None:
        while True:
            await self.read(OTHER, ByteRange(0, 100))

    async def read(self, ref: ObjectRef, wanted: RangeSpec | None, purpose: Purpose = "demand") -> None:
        async with self.store.get(ref, range=wanted, purpose=purpose) as answer:
            assert isinstance(answer, GetResult)
            async for _ in answer.chunks:
                pass

    async def aclose(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)


@pytest.mark.parametrize("wanted", [ByteRange(0, SIZE_BYTES), SuffixRange(SIZE_BYTES)])
@pytest.mark.parametrize(
    "rates", [lambda: Rates(requests=(Throttle(10),)), lambda: Rates(bandwidths=(Throttle(1000),))]
)
@pytest.mark.parametrize("joins", [False, True])
def test_a_reader_does_not_wait_for_the_patient_who_wait_for_a_rate_behind_all_others(rates, wanted, joins) -> None:
    """By a request of his own, or by one that he joins. It takes some rounds of the others, and not for ever."""

    async def scenario(loop: SimulatedLoop) -> float:
        crowded = Crowded(loop, rates())
        await asyncio.sleep(1)
        crowded.tasks.append(asyncio.create_task(crowded.read(STRAINED, wanted, "warm")))
        await asyncio.sleep(1)
        began_at = loop.time()
        if joins:
            crowded.tasks.append(asyncio.create_task(crowded.read(STRAINED, ByteRange(0, 1), "warm")))
            await asyncio.sleep(1)
            crowded.store.promote(STRAINED, ByteRange(0, 1))
        else:
            crowded.tasks.append(asyncio.create_task(crowded.read(STRAINED, ByteRange(0, 1))))
        async with asyncio.timeout(100):
            await asyncio.wait(crowded.tasks[-1:])
        await crowded.aclose()
        return loop.time() - began_at

    assert simulate(scenario, seed=1)[0] < 30


@pytest.mark.parametrize(
    "rates", [lambda: Rates(requests=(Throttle(10),)), lambda: Rates(bandwidths=(Throttle(1000),))]
)
def test_who_comes_to_be_waited_for_waits_for_a_rate_as_all_others_do(rates) -> None:
    async def scenario(loop: SimulatedLoop) -> None:
        crowded = Crowded(loop, rates())
        readings = [asyncio.create_task(crowded.read(OTHER, ByteRange(0, 100 + each), "warm")) for each in range(2)]
        crowded.tasks += readings
        await asyncio.sleep(10)
        crowded.throttled.promote(OTHER, ByteRange(0, 101))
        done, _ = await asyncio.wait(readings, timeout=10)
        assert done == {readings[1]}
        await crowded.aclose()

    simulate(scenario, seed=1)


def test_what_nobody_waits_for_still_waits_for_everybody_where_there_is_room_for_readers() -> None:
    async def scenario(loop: SimulatedLoop) -> bool:
        crowded = Crowded(loop, Rates(requests=(Throttle(10),)))
        warming = asyncio.create_task(crowded.read(OTHER, ByteRange(7, 8), "warm"))
        crowded.tasks += [warming, asyncio.create_task(crowded.read(STRAINED, None, "warm"))]
        await asyncio.sleep(1)
        await crowded.read(STRAINED, ByteRange(0, 1))
        _, waiting = await asyncio.wait([warming], timeout=100)
        await crowded.aclose()
        return bool(waiting)

    assert simulate(scenario, seed=1)[0]
