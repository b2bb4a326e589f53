"""Filling: what is fetched, what is not, whom it gives way to, and what it says of itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from rangecache.blocks.memory import ENTRY_OVERHEAD_BYTES, MemoryTier
from rangecache.errors import InvalidRange, NotFound, NotStorable, Unavailable
from rangecache.model import ObjectRef
from rangecache.origin.limit import Limited
from rangecache.ranges import ByteRange, OffsetRange, SuffixRange
from rangecache.read.filling import FLUSH_PATIENCE_S, Tally
from rangecache.read.selection import Selection
from tests.edge.rig import until
from tests.read.conftest import BLOCK, REF, Cache

if TYPE_CHECKING:
    from rangecache.origin.base import ObjectStore

DATA = bytes(range(256)) * (BLOCK * 20 // 256) + b"the end"  # twenty blocks and a little


@pytest.fixture
def filled_cache(cache: Cache) -> Cache:
    cache.origin.put(REF, DATA)
    return cache


async def fill(cache: Cache, *ranges, ref: ObjectRef = REF) -> Tally:
    """Fill, and check that all of it is there."""
    tally = Tally()
    filled = await cache.filler.fill(ref, ranges or None, tally)
    assert tally.done == tally.wanted
    assert await cache.filler.kept_bytes(filled) == tally.wanted
    return tally


async def test_a_whole_object_is_brought_and_read_without_the_origin(filled_cache: Cache) -> None:
    assert await fill(filled_cache) == Tally(len(DATA), 0, len(DATA))
    assert {request.purpose for request in filled_cache.origin.requests} == {"warm"}
    asked = len(filled_cache.asked)
    assert await filled_cache.read() == DATA
    assert len(filled_cache.asked) == asked


async def test_what_is_there_is_not_asked_for_again(filled_cache: Cache) -> None:
    await filled_cache.read(f"bytes={4 * BLOCK}-{6 * BLOCK - 1}")
    assert await fill(filled_cache) == Tally(len(DATA), 2 * BLOCK, len(DATA) - 2 * BLOCK)
    asked = len(filled_cache.asked)
    assert await fill(filled_cache) == Tally(len(DATA), len(DATA), 0)
    assert len(filled_cache.asked) == asked


async def test_only_the_blocks_of_the_ranges_are_brought(make_cache: type[Cache]) -> None:
    cache = make_cache(gap_blocks=0)
    cache.origin.put(REF, DATA)
    ranges = [ByteRange(10, 20), SuffixRange(3), ByteRange(BLOCK - 1, BLOCK + 1), ByteRange(10 * BLOCK, 12 * BLOCK)]
    assert (await fill(cache, *ranges)).wanted == 4 * BLOCK + len(b"the end")
    assert sum(end - start for start, end in cache.asked) == 4 * BLOCK + len(b"the end")
    asked = len(cache.asked)
    assert await cache.read("bytes=0-5000") == DATA[:5001]
    assert await cache.read("bytes=-7") == b"the end"
    assert len(cache.asked) == asked


async def test_ranges_that_lie_beyond_the_object_are_said_to(filled_cache: Cache) -> None:
    with pytest.raises(InvalidRange, match=str(len(DATA))):
        await fill(filled_cache, OffsetRange(len(DATA)))
    assert (await fill(filled_cache, ByteRange(0, 10**12))).wanted == len(DATA)


async def test_an_empty_object_is_known_afterwards(cache: Cache) -> None:
    cache.origin.put(REF, b"")
    assert await fill(cache) == Tally()
    asked = len(cache.asked)
    assert await cache.read() == b""
    assert len(cache.asked) == asked


async def test_a_stale_object_that_still_holds_costs_a_question_and_no_bytes(filled_cache: Cache) -> None:
    await fill(filled_cache)
    await filled_cache.clock.advance(100)
    asked = len(filled_cache.asked)
    assert (await fill(filled_cache)).fetched == 0
    assert len(filled_cache.asked) == asked + 1
    assert filled_cache.origin.requests[-1].if_none_match is not None
    assert filled_cache.origin.requests[-1].purpose == "warm"


async def test_a_new_version_replaces_the_old_one(filled_cache: Cache) -> None:
    await fill(filled_cache)
    newer = DATA[::-1]
    filled_cache.origin.put(REF, newer)
    await filled_cache.clock.advance(100)
    assert (await fill(filled_cache)).fetched == len(newer)
    assert await filled_cache.read() == newer


async def test_a_version_that_dies_under_it_is_begun_anew_and_counted_once(filled_cache: Cache) -> None:
    newer = DATA[::-1] + b"longer"

    async def overwrite(request, offset: int) -> None:
        filled_cache.origin.put(REF, newer)

    filled_cache.origin.before_chunk = overwrite
    assert await fill(filled_cache) == Tally(len(newer), 0, len(newer))
    assert await filled_cache.read() == newer


async def test_one_that_changes_all_the_time_is_given_up(filled_cache: Cache) -> None:
    versions = iter(range(10**6))

    async def overwrite(request, offset: int) -> None:
        filled_cache.origin.put(REF, DATA + str(next(versions)).encode())

    filled_cache.origin.before_chunk = overwrite
    with pytest.raises(Exception, match="changed"):
        await fill(filled_cache)


async def test_what_is_gone_and_what_may_not_be_kept_is_told(cache: Cache) -> None:
    with pytest.raises(NotFound):
        await fill(cache)
    asked = len(cache.asked)
    with pytest.raises(NotFound):
        await fill(cache)
    assert len(cache.asked) == asked
    loose = ObjectRef("mem", "b", "loose")
    cache.origin.put(loose, DATA, e_tag=None)
    with pytest.raises(NotStorable):
        await fill(cache, ref=loose)


async def test_what_a_reader_fetches_is_waited_for_and_not_fetched_twice(filled_cache: Cache) -> None:
    gate, seen = asyncio.Event(), asyncio.Event()

    async def wait(request, offset: int) -> None:
        seen.set()
        await gate.wait()

    await filled_cache.read("bytes=0-0")
    filled_cache.origin.before_chunk = wait
    reading = asyncio.create_task(filled_cache.read())
    await seen.wait()
    filling = asyncio.create_task(fill(filled_cache))
    for _ in range(20):
        await asyncio.sleep(0)
    gate.set()
    assert await reading == DATA
    assert (await filling).wanted == len(DATA)
    assert sum(end - start for start, end in filled_cache.asked) <= len(DATA) + BLOCK


async def test_a_fetch_that_was_joined_and_failed_is_asked_for_once_more(filled_cache: Cache) -> None:
    gate, seen = asyncio.Event(), asyncio.Event()

    async def fail(request, offset: int) -> None:
        seen.set()
        await gate.wait()
        if request.purpose == "demand":
            raise Unavailable("the origin is away for a moment")

    await filled_cache.read("bytes=0-0")
    filled_cache.origin.before_chunk = fail
    reading = asyncio.create_task(filled_cache.read(f"bytes={BLOCK}-{2 * BLOCK - 1}"))
    await seen.wait()
    filling = asyncio.create_task(fill(filled_cache))
    for _ in range(20):
        await asyncio.sleep(0)
    gate.set()
    assert (await filling).wanted == len(DATA)
    await asyncio.gather(reading, return_exceptions=True)


async def test_cancelled_it_lets_go_of_the_origin(make_cache: type[Cache]) -> None:
    cache = make_cache(run_blocks=64)
    data = bytes(64 * BLOCK * 8)
    cache.origin.put(REF, data)
    await cache.read("bytes=0-0")
    seen = asyncio.Event()

    async def stall(request, offset: int) -> None:
        seen.set()
        await asyncio.Event().wait()

    cache.origin.before_chunk = stall
    filling = asyncio.create_task(fill(cache))
    await seen.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    assert cache.origin.open_bodies > 1
    filling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await filling
    for _ in range(20):
        await asyncio.sleep(0)
    assert cache.origin.open_bodies == 0
    cache.origin.before_chunk = None
    assert await cache.read() == data  # and nobody else is hurt


async def test_a_reader_who_has_joined_keeps_what_a_cancelled_fill_let_go(make_cache: type[Cache]) -> None:
    cache = make_cache(run_blocks=64)
    data = bytes(range(256)) * (64 * BLOCK // 256)
    cache.origin.put(REF, data)
    await cache.read("bytes=0-0")
    gate, seen = asyncio.Event(), asyncio.Event()

    async def wait(request, offset: int) -> None:
        seen.set()
        await gate.wait()

    cache.origin.before_chunk = wait
    filling = asyncio.create_task(fill(cache))
    await seen.wait()
    asked = len(cache.asked)
    reading = asyncio.create_task(cache.read())
    for _ in range(20):
        await asyncio.sleep(0)
    filling.cancel()
    await asyncio.gather(filling, return_exceptions=True)
    gate.set()
    assert await reading == data
    assert len(cache.asked) == asked


async def test_fills_share_one_bound_and_none_waits_for_another_for_ever(make_cache: type[Cache], monkeypatch) -> None:
    monkeypatch.setattr("rangecache.read.filling.IN_FLIGHT_BYTES", 3 * 8 * BLOCK)
    cache = make_cache()
    refs = [ObjectRef("mem", "b", str(number)) for number in range(8)]
    for ref in refs:
        cache.origin.put(ref, DATA)
    most = 0

    async def count(request, offset: int) -> None:
        nonlocal most
        most = max(most, cache.origin.open_bodies)
        await asyncio.sleep(0)

    cache.origin.before_chunk = count
    tallies = await asyncio.wait_for(asyncio.gather(*(fill(cache, ref=ref) for ref in refs)), 20)
    assert all(tally.wanted == len(DATA) for tally in tallies)
    assert most <= len(refs) + 3  # an opening each, and three runs


async def test_it_says_how_much_of_it_a_tier_that_is_too_small_has_kept(make_cache: type[Cache]) -> None:
    cache = make_cache(memory_bytes=5 * (BLOCK + ENTRY_OVERHEAD_BYTES))
    cache.origin.put(REF, DATA)
    tally = Tally()
    filled = await cache.filler.fill(REF, None, tally)
    assert tally.done == tally.wanted == len(DATA)
    assert 0 < await cache.filler.kept_bytes(filled) <= 5 * BLOCK


async def test_an_origin_that_ignores_ranges_is_read_once(cache: Cache) -> None:
    data = bytes(range(256)) * (40 * BLOCK // 256)
    cache.origin.put(REF, data)
    cache.origin.ignores_ranges = True
    assert (await fill(cache)).wanted == len(data)
    assert len(cache.asked) == 1
    assert await cache.read("bytes=100000-100009") == data[100000:100010]
    assert len(cache.asked) == 1


async def test_it_takes_no_room_from_those_who_read_ahead(make_cache: type[Cache]) -> None:
    cache = make_cache(ahead_bytes=16 * BLOCK)
    cache.origin.put(REF, DATA)
    await cache.read("bytes=0-0")
    gate, seen = asyncio.Event(), asyncio.Event()

    async def wait(request, offset: int) -> None:
        seen.set()
        await gate.wait()

    cache.origin.before_chunk = wait
    filling = asyncio.create_task(fill(cache))
    await seen.wait()
    assert cache.fetcher.has_room(16 * BLOCK)
    gate.set()
    await filling
    assert cache.fetcher.has_room(16 * BLOCK)


async def test_what_a_purge_takes_from_under_it_is_fetched_again(make_cache: type[Cache]) -> None:
    cache = make_cache(run_blocks=64)
    cache.origin.put(REF, DATA)
    await cache.read("bytes=0-0")
    gate, seen = asyncio.Event(), asyncio.Event()

    async def wait(request, offset: int) -> None:
        seen.set()
        await gate.wait()

    cache.origin.before_chunk = wait
    filling = asyncio.create_task(fill(cache))
    await seen.wait()
    for _ in range(10):
        await asyncio.sleep(0)
    cache.catalog.epochs.begin(Selection.an_object(str(REF)))
    assert cache.fetcher.void(Selection.an_object(str(REF)))
    gate.set()
    assert (await filling).wanted == len(DATA)
    assert await cache.read() == DATA


async def test_an_opening_that_a_reader_comes_to_wait_for_is_asked_before_its_turn(make_cache: type[Cache]) -> None:
    limited: list[Limited] = []

    def around(store: ObjectStore) -> ObjectStore:
        limited.append(Limited(store, 2))  # one of which is for what nobody waits for
        return limited[0]

    cache = make_cache(around=around)
    cache.fetcher.promote = limited[0].promote
    refs = [ObjectRef("mem", "b", name) for name in ("first", "second")]
    for ref in refs:
        cache.origin.put(ref, DATA)
    gate, seen = asyncio.Event(), asyncio.Event()

    async def hold_the_first(request) -> None:
        if request.ref == refs[0]:
            seen.set()
            await gate.wait()

    cache.origin.before_answer = hold_the_first
    filling = [asyncio.create_task(fill(cache, ref=refs[0]))]
    await seen.wait()
    filling.append(asyncio.create_task(fill(cache, ref=refs[1])))
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(cache.asked) == 1
    assert (await asyncio.wait_for(cache.read("bytes=0-9", refs[1]), 10)) == DATA[:10]
    gate.set()
    await asyncio.gather(*filling)


class SlowTier(MemoryTier):
    """Takes its time to keep what it was given."""

    def __init__(self) -> None:
        super().__init__(1 << 30)
        self.gate = asyncio.Event()
        self.flushes = 0

    async def flush(self) -> None:
        self.flushes += 1
        await self.gate.wait()


async def test_it_goes_no_faster_than_a_slow_tier(make_cache: type[Cache], monkeypatch) -> None:
    monkeypatch.setattr("rangecache.read.filling.IN_FLIGHT_BYTES", 2 * 8 * BLOCK)
    tier = SlowTier()
    cache = make_cache(tiers=[tier])
    cache.origin.put(REF, DATA * 5)
    tally = Tally()
    filling = asyncio.create_task(cache.filler.fill(REF, None, tally))
    await until(lambda: tier.flushes)
    for _ in range(50):
        await asyncio.sleep(0)
    assert tally.fetched == 0
    assert sum(end - start for start, end in cache.asked) <= 3 * 8 * BLOCK
    tier.gate.set()
    await filling
    assert tally.fetched == tally.wanted == 5 * len(DATA)


async def test_it_does_not_wait_for_a_tier_for_ever(make_cache: type[Cache]) -> None:
    tier = SlowTier()
    cache = make_cache(tiers=[tier])
    cache.origin.put(REF, b"x")
    filling = asyncio.create_task(cache.filler.fill(REF, None, Tally()))
    await until(lambda: tier.flushes)
    await cache.clock.wait_for_sleepers()
    await cache.clock.advance(FLUSH_PATIENCE_S + 1)
    await filling


async def test_a_reader_who_leaves_does_not_end_what_a_fill_waits_for(make_cache: type[Cache]) -> None:
    cache = make_cache(run_blocks=64)
    data = bytes(range(256)) * (64 * BLOCK // 256)
    cache.origin.put(REF, data)
    await cache.read("bytes=0-0")
    gate, seen = asyncio.Event(), asyncio.Event()

    async def wait(request, offset: int) -> None:
        seen.set()
        await gate.wait()

    cache.origin.before_chunk = wait
    filling = asyncio.create_task(fill(cache))
    await seen.wait()
    asked = len(cache.asked)
    reading = asyncio.create_task(cache.read())
    for _ in range(20):
        await asyncio.sleep(0)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    gate.set()
    await filling
    assert len(cache.asked) == asked
