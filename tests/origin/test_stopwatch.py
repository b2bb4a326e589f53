"""The time of origins, told from the time that requests wait in here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rangecache.aio.permits import Ticket
from rangecache.model import ObjectRef
from rangecache.origin.breaking import Breaking
from rangecache.origin.limit import Yielding
from rangecache.origin.memory import MemoryStore
from rangecache.origin.replica import Place, Replica
from rangecache.origin.stopwatch import Stopwatch, stopped
from rangecache.origin.strain import Strain

if TYPE_CHECKING:
    from rangecache.testing.clock import ManualClock

REF = ObjectRef("set", "b", "k")


async def test_a_watch_stands_while_who_carries_it_waits_in_here(clock: ManualClock) -> None:
    watch = Stopwatch(clock)
    with stopped():
        clock.shift(1)
    watch.carry()
    with stopped():
        clock.shift(10)
        with stopped():
            clock.shift(100)
        clock.shift(1000)
        assert watch.elapsed_s == 1
    clock.shift(10_000)
    assert watch.elapsed_s == 10_001


async def test_a_probe_is_no_part_of_the_read_that_sent_it(clock: ManualClock) -> None:
    strain = Strain(clock, 1)
    store = Yielding(MemoryStore(), strain)
    replica = Replica("a", Breaking(store, clock=clock), clock, Place)
    window, holder, watch = strain.window(replica.name_of(REF)), Ticket(urgent=True), Stopwatch(clock)
    await window.acquire(holder)
    watch.carry()
    probing = asyncio.create_task(replica.probe(REF))
    await clock.advance(5)
    assert window.urgent_wait
    assert watch.elapsed_s == 5
    window.release(holder)
    await probing
