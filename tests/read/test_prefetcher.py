"""Whatever is read in whatever order, and whatever fails: fetching ahead changes no byte and keeps its books."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rangecache.blocks.memory import MemoryTier
from rangecache.errors import BodyCut, RangecacheError, Unavailable
from rangecache.model import ObjectRef
from rangecache.ranges import ByteRange, block_range
from rangecache.read.prefetcher import IDLE_S
from rangecache.testing.objects import stamped
from tests.read.conftest import BLOCK, REF, Cache

if TYPE_CHECKING:
    from rangecache.origin.memory import MemoryRequest
    from rangecache.ranges import RangeSpec

SIZE = 64 * BLOCK - 333
LIMIT = 12 * BLOCK

_STARTS = st.integers(0, SIZE - 1)
_STEPS = st.one_of(
    st.tuples(st.just("sweep"), _STARTS, st.sampled_from([BLOCK // 2, BLOCK, 3 * BLOCK, -BLOCK, -2 * BLOCK])),
    st.tuples(st.just("stride"), _STARTS, st.sampled_from([5 * BLOCK, -7 * BLOCK, 4 * BLOCK + 100])),
    st.tuples(st.just("jump"), _STARTS, st.integers(1, 9 * BLOCK)),
    st.tuples(st.just("write"), st.just(0), st.just(0)),
    st.tuples(st.just("wait"), st.just(0), st.just(0)),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_STEPS, max_size=12), st.sets(st.integers(0, 150)), st.sampled_from([0, 3 * BLOCK, 1 << 20]))
def test_every_byte_is_right_and_every_block_is_booked_once(
    steps: list[tuple[str, int, int]], failing: set[int], memory_bytes: int
) -> None:
    asyncio.run(_act(steps, failing, memory_bytes))


async def test_a_block_that_is_fetched_ahead_again_after_it_was_evicted_is_booked_once_each_time() -> None:
    await _act([("sweep", 3943, BLOCK), ("wait", 0, 0), ("sweep", 150, BLOCK)], set(), 3 * BLOCK)


async def _act(steps: list[tuple[str, int, int]], failing: set[int], memory_bytes: int) -> None:
    cache = Cache(ttl=5.0, max_window_bytes=16 * BLOCK, ahead_bytes=LIMIT, tiers=[MemoryTier(memory_bytes)])
    version, prefetcher = 0, cache.prefetcher

    async def fail_some(request: MemoryRequest) -> None:
        if request.purpose == "prefetch" and cache.origin.request_count in failing:
            raise Unavailable("this one")

    cache.origin.before_answer = fail_some
    cache.origin.put(REF, data := stamped("k", version, SIZE))
    for kind, start, step in steps:
        if kind == "write":
            version += 1
            cache.origin.put(REF, data := stamped("k", version, SIZE))
            await cache.clock.advance(6)
        elif kind == "wait":
            await cache.clock.advance(IDLE_S + 1)
        for number in range(8 if kind in ("sweep", "stride") else kind == "jump"):
            at = start + number * step if kind != "jump" else start
            length = step if kind == "jump" else min(abs(step), BLOCK)
            if 0 <= at < SIZE:
                assert await cache.read(f"bytes={at}-{at + length - 1}") == data[at : at + length]
            assert prefetcher.unused_bytes <= LIMIT
    await cache.clock.advance(IDLE_S + 1)
    try:
        await cache.read("bytes=0-0")
    except RangecacheError:
        raise AssertionError("nothing but what is fetched ahead fails") from None
    while len(cache.background):
        await asyncio.sleep(0)
    unused = [index for track in prefetcher._tracks.values() for index in track.unused]
    assert prefetcher.unused_bytes == sum(block_range(index, BLOCK, SIZE).length for index in unused)
    booked = cache.metrics.prefetch_blocks.total() + len(unused)
    asked = sum(
        -(-request.range.end // BLOCK) - request.range.start // BLOCK
        for request in cache.origin.requests
        if isinstance(request.range, ByteRange)  # of readers too: their GETs are made longer
    )
    assert booked <= asked
    await cache.background.aclose()
    assert len(cache.fetcher) == 0


async def test_whoever_comes_to_wait_for_what_is_fetched_ahead_makes_it_urgent_and_asks_for_nothing(
    cache: Cache,
) -> None:
    cache.origin.put(REF, data := stamped("k", 1, SIZE))
    await cache.read("bytes=0-0")
    known = cache.catalog.peek(REF)
    assert known is not None
    promoted: list[tuple[ObjectRef, RangeSpec | None]] = []
    cache.fetcher.promote = lambda ref, wanted: promoted.append((ref, wanted))
    go = asyncio.Event()

    async def hold(request: MemoryRequest) -> None:
        await go.wait()

    cache.origin.before_answer = hold
    cache.fetcher.fetch_ahead(known, [5])
    await asyncio.sleep(0)
    reading = asyncio.create_task(cache.read(f"bytes={5 * BLOCK}-{5 * BLOCK + 9}"))
    while not promoted:
        await asyncio.sleep(0)
    go.set()
    assert await reading == data[5 * BLOCK : 5 * BLOCK + 10]
    block = ByteRange(5 * BLOCK, 6 * BLOCK)
    assert promoted == [(REF, block)]
    assert [request.range for request in cache.origin.requests].count(block) == 1
    assert cache.origin.request_count == 2


async def test_a_reader_goes_on_by_himself_where_what_was_fetched_ahead_breaks_off_before_his_eyes(
    cache: Cache,
) -> None:
    cache.origin.put(REF, data := stamped("k", 1, SIZE))
    await cache.read("bytes=0-0")
    known = cache.catalog.peek(REF)
    assert known is not None
    go = asyncio.Event()

    async def break_off(request: MemoryRequest, offset: int) -> None:
        if request.purpose == "prefetch" and offset >= 6 * BLOCK + 1024:
            await go.wait()
            raise BodyCut("in the middle of block 6")

    cache.origin.before_chunk = break_off
    cache.fetcher.fetch_ahead(known, [5, 6])
    reply = await cache.open(f"bytes={5 * BLOCK}-{7 * BLOCK - 1}")
    assert isinstance(reply.body, AsyncGenerator)
    received = b""
    async for piece in reply.body:
        received += piece
        if len(received) >= BLOCK + 1024:
            go.set()  # he has all that came, and waits for more
    assert received == data[5 * BLOCK : 7 * BLOCK]


@pytest.mark.parametrize(("room", "ahead"), [(BLOCK - 1, 0), (BLOCK, 1)])
async def test_what_is_expected_of_an_opening_keeps_to_the_room_there_is(
    make_cache: type[Cache], room: int, ahead: int
) -> None:
    cache = make_cache(max_window_bytes=16 * BLOCK)
    cache.prefetcher._memory_bytes = room
    for number in range(3):
        ref = ObjectRef("mem", "b", f"{number}.nc")
        cache.origin.put(ref, stamped(ref.key, 1, SIZE))
        await cache.read("bytes=0-99", ref)
        if number < 2:
            await cache.read("bytes=-99", ref)
        while len(cache.background):
            await asyncio.sleep(0)
    assert sum(request.purpose == "prefetch" for request in cache.origin.requests) == ahead
