"""The body of one answer: what is fetched for it, when, and what it does with runs that fail or lie behind."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import pytest

from rangecache.errors import GenerationGone, Unavailable
from rangecache.model import ObjectRef
from rangecache.ranges import ByteRange
from rangecache.read.body import AHEAD_RUNS, AHEAD_RUNS_MAX
from rangecache.read.messages import ReadRequest
from rangecache.testing.objects import stamped
from tests.read.conftest import BLOCK, REF, Cache, drain

if TYPE_CHECKING:
    from rangecache.origin.memory import MemoryRequest

DATA = stamped("k", 1, 40 * BLOCK)


async def _settle() -> None:
    for _ in range(200):
        await asyncio.sleep(0)


async def test_a_run_that_failed_ahead_of_its_reader_is_asked_for_again_when_he_comes_to_it(cache: Cache) -> None:
    cache.origin.put(REF, DATA)
    await cache.read("bytes=0-0")
    failed: list[MemoryRequest] = []

    async def fail_once(request: MemoryRequest) -> None:
        if getattr(request.range, "start", 0) >= 16 * BLOCK and not failed:
            failed.append(request)
            raise Unavailable("for a moment")

    cache.origin.before_answer = fail_once
    reply = await cache.open()
    assert isinstance(reply.body, AsyncGenerator)
    received = b""
    async for piece in reply.body:
        received += piece
        await _settle()  # a client slower than the origin
    assert received == DATA
    (request,) = failed
    assert [each.range for each in cache.origin.requests].count(request.range) == 2
    assert cache.origin.request_count == 7


async def test_an_origin_that_goes_on_failing_is_asked_once_more_and_then_the_answer_is_cut(cache: Cache) -> None:
    cache.origin.put(REF, DATA)
    await cache.read("bytes=0-0")

    async def fail(request: MemoryRequest) -> None:
        if getattr(request.range, "start", 0) >= 8 * BLOCK:
            raise Unavailable("for good")

    cache.origin.before_answer = fail
    reply = await cache.open()
    assert isinstance(reply.body, AsyncGenerator)
    await anext(reply.body)
    await _settle()
    before = cache.origin.request_count
    with pytest.raises(Unavailable):
        await drain(reply)
    assert cache.origin.request_count == before + 2  # once more, and what the reading ahead had still to ask


async def test_runs_behind_the_reader_are_left_also_with_several_ranges(cache: Cache) -> None:
    cache.origin.put(REF, DATA)
    await cache.read("bytes=0-0")
    half = 20 * BLOCK
    reply = await cache.open(f"bytes=0-{half - 1},{half}-")
    assert isinstance(reply.body, AsyncGenerator)
    most = received = 0
    async for piece in reply.body:
        received += len(piece)
        await _settle()
        most = max(most, cache.fetcher.under_way.held_bytes)
    assert received == len(DATA)
    assert most <= 5 * 8 * BLOCK
    assert cache.fetcher.under_way.held_bytes == 0


async def test_what_is_kept_for_slow_readers_is_bounded_and_they_still_get_right_bytes(make_cache: type[Cache]) -> None:
    cache = make_cache(run_blocks=8, ahead_bytes=16 * BLOCK, memory_bytes=20 * BLOCK)
    refs = [ObjectRef("mem", "b", f"k{number}") for number in range(10)]
    for ref in refs:
        cache.origin.put(ref, stamped(ref.key, 1, 24 * BLOCK))
    replies = [await cache.open(ref=ref) for ref in refs]
    firsts = [await anext(reply.body) for reply in replies]
    await _settle()
    assert 8 * BLOCK <= cache.fetcher.under_way.held_bytes <= 16 * BLOCK
    for ref, first, reply in zip(refs, firsts, replies, strict=True):
        assert bytes(first) + await drain(reply) == stamped(ref.key, 1, 24 * BLOCK)


async def test_a_reader_holds_no_piece_while_its_client_is_slow(cache: Cache) -> None:
    cache.origin.put(REF, DATA)
    await cache.read()
    reply = await cache.reader.open(ReadRequest(REF))
    assert isinstance(reply.body, AsyncGenerator)
    piece = await reply.body.asend(None)
    gone = weakref.ref(piece)
    del piece
    assert gone() is None
    await reply.body.aclose()


async def test_pieces_are_no_longer_than_the_client_can_take(cache: Cache) -> None:
    cache.origin.put(REF, DATA)
    reply = await cache.open()
    assert isinstance(reply.body, AsyncGenerator)
    received, most_bytes = b"", 1
    while len(received) < len(DATA):
        piece = await reply.body.asend(most_bytes)
        assert 0 < len(piece) <= most_bytes
        received += piece
        most_bytes = most_bytes % 5000 + 700
    assert received == DATA
    await reply.body.aclose()


async def test_an_answer_that_is_more_than_may_be_kept_for_its_client_is_read_piece_by_piece(cache: Cache) -> None:
    cache.origin.put(REF, DATA)
    await cache.read()
    request = ReadRequest(REF, range="bytes=10-8201")
    assert cache.reader.try_open(request, 8191) is None
    reply = cache.reader.try_open(request, 8192)
    assert reply is not None
    assert await drain(reply) == DATA[10:8202]


LONG = stamped("k", 1, 256 * BLOCK)


def _asked(cache: Cache) -> list[ByteRange]:
    return [each.range for each in cache.origin.requests if isinstance(each.range, ByteRange)]


def _ways(cache: Cache) -> list[int]:
    """How many answers were open, each time that bytes of one came. The origin takes its time with each piece."""
    ways: list[int] = []

    async def watch(_request: MemoryRequest, _offset: int) -> None:
        ways.append(cache.origin.open_bodies)
        await asyncio.sleep(0)

    cache.origin.before_chunk = watch
    return ways


async def test_a_long_answer_comes_over_as_many_connections_as_its_reader_waits_for(make_cache: type[Cache]) -> None:
    cache = make_cache(run_blocks=4, ahead_bytes=256 * BLOCK)
    cache.origin.put(REF, LONG)
    ways = _ways(cache)
    assert await cache.read() == LONG
    assert AHEAD_RUNS < max(ways) <= AHEAD_RUNS_MAX
    assert sum(each.length for each in _asked(cache)) == len(LONG)


async def test_the_runs_of_a_long_answer_are_halved_where_that_is_what_there_is_room_for(
    make_cache: type[Cache],
) -> None:
    for run_blocks, ahead_blocks, piece_blocks in ((8, 64, 4), (4, 64, 4), (8, 63, 8), (8, 128, 8)):
        cache = make_cache(run_blocks=run_blocks, ahead_bytes=ahead_blocks * BLOCK)
        cache.origin.put(REF, LONG)
        assert await cache.read() == LONG
        assert max(each.length // BLOCK for each in _asked(cache)[1:]) == piece_blocks, (run_blocks, ahead_blocks)


async def test_for_a_client_who_takes_nothing_no_more_is_asked_for_and_for_a_slow_one_no_wider(
    make_cache: type[Cache],
) -> None:
    cache = make_cache(run_blocks=4, ahead_bytes=64 * BLOCK)
    cache.origin.put(REF, LONG)
    reply = await cache.open()
    assert isinstance(reply.body, AsyncGenerator)
    received = b""
    async for piece in reply.body:
        received += piece
        await _settle()
        asked = cache.origin.request_count
        await _settle()
        assert cache.origin.request_count == asked
        assert max(each.end for each in _asked(cache)) <= len(received) + (AHEAD_RUNS + 1) * 4 * BLOCK
    assert received == LONG


async def test_an_origin_that_asked_for_fewer_requests_is_asked_for_no_more_at_a_time(make_cache: type[Cache]) -> None:
    cache = make_cache(run_blocks=4, ahead_bytes=64 * BLOCK)
    cache.origin.put(REF, LONG)
    cache.strain.pause(REF)
    ways = _ways(cache)
    assert await cache.read() == LONG
    assert max(ways) <= AHEAD_RUNS


async def test_a_version_that_dies_under_a_long_answer_never_mixes_with_its_successor(make_cache: type[Cache]) -> None:
    cache = make_cache(run_blocks=4, ahead_bytes=64 * BLOCK)
    cache.origin.put(REF, LONG)
    ways = _ways(cache)
    reply = await cache.open()
    assert isinstance(reply.body, AsyncGenerator)
    received = bytearray()

    async def read_on(body: AsyncGenerator[memoryview, int | None]) -> None:
        async for piece in body:
            received.extend(piece)
            if len(ways) > 60 and cache.origin.request_count < 60:
                cache.origin.put(REF, stamped("k", 2, 256 * BLOCK))

    with pytest.raises(GenerationGone):
        await read_on(reply.body)
    assert received == LONG[: len(received)]
    assert 0 < len(received) < len(LONG)
    assert all(each.if_match is not None for each in list(cache.origin.requests)[1:])
