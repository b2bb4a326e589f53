"""A bucket that asks for fewer requests gets fewer, and the others as many as before."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from rangecache.aio.permits import Ticket
from rangecache.aio.window import Window
from rangecache.errors import Unavailable
from rangecache.model import ObjectRef
from rangecache.origin.base import GetResult
from rangecache.origin.limit import Yielding
from rangecache.origin.memory import MemoryRequest, MemoryStore
from rangecache.origin.observe import Observed
from rangecache.origin.strain import BUCKETS_MAX, Strain
from rangecache.telemetry import Metrics
from rangecache.testing.clock import ManualClock

A, B = ObjectRef("mem", "a", "k"), ObjectRef("mem", "b", "k")
PERMITS = 32


class Rig:
    """A store with two buckets, one of which answers 503 to what is more than `limit` at a time."""

    def __init__(self, limit: int) -> None:
        self.clock = ManualClock()
        self.origin = MemoryStore()
        for ref in (A, B):
            self.origin.put(ref, bytes(10))
        self.origin.before_answer = self._answer
        self.strain = Strain(self.clock, PERMITS)
        observed = Observed(self.origin, Metrics(), self.clock, "mem", self.strain.heard)
        self.store = Yielding(observed, self.strain)
        self.limit = limit
        self.open, self.most = Counter[str](), Counter[str]()
        self.throttled = 0

    async def _answer(self, request: MemoryRequest) -> None:
        bucket = request.ref.bucket
        self.open[bucket] += 1
        self.most[bucket] = max(self.most[bucket], self.open[bucket])
        try:
            for _ in range(5):
                await asyncio.sleep(0)
            if bucket == "a" and self.open["a"] > self.limit:
                self.throttled += 1
                raise Unavailable("slow down", throttled=True)
        finally:
            self.open[bucket] -= 1

    async def read(self, ref: ObjectRef) -> None:
        self.clock.shift(0.001)
        try:
            async with self.store.get(ref) as answer:
                assert isinstance(answer, GetResult)
                assert b"".join([chunk async for chunk in answer.chunks]) == bytes(10)
        except Unavailable:
            pass

    async def crowd(self, ref: ObjectRef, count: int) -> int:
        """So many at once; how many were asked at a time."""
        self.most.clear()
        await asyncio.gather(*(self.read(ref) for _ in range(count)))
        return self.most[ref.bucket]


async def test_a_bucket_that_asks_for_less_is_asked_less_and_its_neighbour_is_not() -> None:
    rig = Rig(limit=4)
    assert await rig.crowd(A, 200) == PERMITS
    assert await rig.crowd(A, 100) <= 2 * rig.limit
    assert await rig.crowd(B, 200) == PERMITS
    before = rig.throttled
    await rig.crowd(A, 400)
    assert rig.throttled - before <= 80  # the price of trying for more again and again


async def test_it_grows_by_one_for_each_window_of_answers_and_then_forgets() -> None:
    rig = Rig(limit=0)
    await rig.crowd(A, 40)
    assert await rig.crowd(A, 40) == 1
    rig.limit = 1000
    assert 5 <= await rig.crowd(A, 40) <= 12
    await rig.crowd(A, 1500)
    assert await rig.crowd(A, 100) == PERMITS
    assert not rig.strain._windows


async def test_what_nobody_waits_for_is_off_for_half_a_minute_for_that_bucket_alone() -> None:
    rig = Rig(limit=0)
    assert rig.strain.eased(A)
    await rig.read(A)
    assert not rig.strain.eased(A)
    assert rig.strain.eased(B)
    rig.clock.shift(29.9)
    assert not rig.strain.eased(A)
    rig.clock.shift(0.1)
    assert rig.strain.eased(A)


async def test_what_is_remembered_is_bounded() -> None:
    rig = Rig(limit=0)
    for number in range(BUCKETS_MAX + 100):
        rig.strain.throttled(ObjectRef("mem", f"b{number}", "k"), 0)
    assert len(rig.strain._until) == BUCKETS_MAX
    for number in range(BUCKETS_MAX + 100):
        ref = ObjectRef("mem", f"a{number}", "k")
        rig.origin.put(ref, bytes(10))
        await rig.read(ref)
    assert not rig.strain._windows


async def test_one_crowd_that_is_too_much_halves_once() -> None:
    window = Window(16, 0.5)
    tickets = [Ticket(urgent=True) for _ in range(16)]
    for ticket in tickets:
        await window.acquire(ticket)
    for number in range(16):
        window.halve(asked_at=1.0, now=2.0 + number / 100)
    assert window.size == 8
    window.halve(asked_at=2.5, now=3.0)
    assert window.size == 4


async def test_it_is_half_of_what_was_under_way_that_is_left_and_never_nothing() -> None:
    window = Window(16, 0.5)
    tickets = [Ticket(urgent=True) for _ in range(4)]
    for ticket in tickets:
        await window.acquire(ticket)
    window.halve(asked_at=1.0, now=2.0)
    assert window.size == 2
    for number in range(3, 9):
        window.halve(asked_at=number, now=number)
    assert window.size == 1


@pytest.mark.parametrize(("size", "most"), [(8, 4), (4, 2), (1, 1)])
async def test_the_patient_have_half_of_a_window_that_has_shrunk_and_one_permit_at_the_least(
    size: int, most: int
) -> None:
    window = Window(16, 0.5)
    for ticket in (held := [Ticket(urgent=True) for _ in range(16)]):
        await window.acquire(ticket)
    while window.size > size:
        window.halve(asked_at=0.0, now=0.0)
    for ticket in held:
        window.release(ticket)
    waiting = [asyncio.create_task(window.acquire(Ticket(urgent=False))) for _ in range(8)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sum(each.done() for each in waiting) == most
    for each in waiting:
        each.cancel()
    await asyncio.wait(waiting)
    assert window.held == most


@pytest.mark.parametrize("leave", ["cancel", "promote"])
async def test_who_waits_for_a_strained_bucket_may_leave_or_become_urgent(leave: str) -> None:
    rig = Rig(limit=0)
    await rig.crowd(A, 40)
    rig.limit = 1000
    go = asyncio.Event()

    async def hold(request: MemoryRequest) -> None:
        await go.wait()

    rig.origin.before_answer = hold
    holder = asyncio.create_task(rig.read(A))
    await asyncio.sleep(0)

    async def patient() -> None:
        async with rig.store.get(A, purpose="warm"):
            pass

    waiter = asyncio.create_task(patient())
    await asyncio.sleep(0)
    if leave == "cancel":
        waiter.cancel()
    else:
        rig.store.promote(A, None)
    go.set()
    await asyncio.wait([holder, waiter])
    assert waiter.cancelled() is (leave == "cancel")
    await rig.read(A)


async def test_who_leaves_in_the_moment_in_which_he_gets_his_place_leaves_nothing_behind() -> None:
    strain = Strain(ManualClock(), 1)
    store = Yielding(MemoryStore(), strain)

    async def read() -> None:
        async with store.get(A):
            pass

    window, holder = strain.window(A), Ticket(urgent=True)
    await window.acquire(holder)
    waiter = asyncio.create_task(read())
    await asyncio.sleep(0)
    window.release(holder)
    strain.left(A)
    waiter.cancel()
    await asyncio.wait([waiter])
    assert waiter.cancelled()
    assert window.held == 0
    assert not strain._windows
