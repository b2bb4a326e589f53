"""What passes from an origin to one client: how much of it waits for him, and whom he can hold up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import pytest

from rangecache.aio.allowance import Allowance
from rangecache.errors import BodyCut
from rangecache.model import ObjectRef
from rangecache.read.hand_off import HAND_OFF_BYTES, HAND_OFF_LEAST_BYTES, HAND_OFF_MOST_BYTES, Channel
from rangecache.read.opening import HAND_OFFS_MAX
from rangecache.testing.objects import stamped
from tests.read.conftest import Cache, drain

if TYPE_CHECKING:
    from rangecache.origin.memory import MemoryRequest

CHUNK = 16 * 1024
SIZE = 4 * 1024 * 1024


def ref_of(number: int) -> ObjectRef:
    return ObjectRef("mem", "b", str(number))


async def settle() -> None:
    for _ in range(600):
        await asyncio.sleep(0)


def slow_origin(cache: Cache, objects: int) -> dict[ObjectRef, int]:
    """Objects without a validator, and how many bytes of each the origin has been asked for so far."""
    sent: dict[ObjectRef, int] = {}

    async def count(request: MemoryRequest, start: int) -> None:
        sent[request.ref] = start

    cache.origin._chunk_bytes = CHUNK
    cache.origin.ignores_ranges = True
    cache.origin.before_chunk = count
    for number in range(objects):
        cache.origin.put(ref_of(number), stamped(str(number), 1, SIZE), e_tag=None)
    return sent


async def test_origins_are_read_no_further_than_all_slow_readers_together_may_keep(cache: Cache) -> None:
    sent = slow_origin(cache, HAND_OFFS_MAX)
    replies = [await cache.open(ref=ref_of(number)) for number in range(HAND_OFFS_MAX)]
    firsts = [await anext(reply.body) for reply in replies]
    await settle()
    spare = HAND_OFFS_MAX * (HAND_OFF_LEAST_BYTES + 2 * CHUNK)  # the piece in hand, and the chunk that went too far
    assert HAND_OFF_BYTES <= cache.allowance.used_bytes <= HAND_OFF_BYTES + spare
    assert sum(sent.values()) <= HAND_OFF_BYTES + 2 * spare
    assert max(sent.values()) <= HAND_OFF_MOST_BYTES + 3 * CHUNK
    # The one who reads on is not stopped by those who do not.
    rest = b"".join([bytes(piece) async for piece in replies[-1].body])
    assert bytes(firsts[-1]) + rest == stamped(str(HAND_OFFS_MAX - 1), 1, SIZE)
    for reply in replies:
        await reply.body.aclose()
    await settle()
    assert cache.allowance.used_bytes == 0


async def test_whoever_comes_when_too_many_hand_offs_are_open_asks_for_himself(cache: Cache) -> None:
    slow_origin(cache, HAND_OFFS_MAX + 1)
    replies = [await cache.open(ref=ref_of(number)) for number in range(HAND_OFFS_MAX)]
    late = await cache.open(ref=ref_of(HAND_OFFS_MAX))
    await settle()
    assert cache.origin.request_count == HAND_OFFS_MAX + 2
    # The answer that nobody could take is not kept open: the permits are for others.
    assert cache.origin.open_bodies == HAND_OFFS_MAX + 1
    assert await drain(late) == stamped(str(HAND_OFFS_MAX), 1, SIZE)
    for reply in replies:
        await reply.body.aclose()
    await settle()
    # There is room again.
    again = await cache.open(ref=ref_of(0))
    assert isinstance(again.body, AsyncGenerator)
    await again.body.aclose()


async def test_a_piece_that_passes_counts_until_the_client_has_taken_it(cache: Cache) -> None:
    slow_origin(cache, 1)
    await drain(await cache.open(ref=ref_of(0)))
    assert cache.allowance.used_bytes == 0
    reply = await cache.open(ref=ref_of(0))
    await anext(reply.body)
    assert cache.allowance.used_bytes == CHUNK
    await reply.body.aclose()
    assert cache.allowance.used_bytes == 0


async def test_a_channel_hands_on_what_came_before_the_error() -> None:
    channel = Channel(Allowance(100, least_bytes=10, most_bytes=100))
    await channel.send(b"abc")
    channel.end(BodyCut("it broke off"))
    assert await channel.receive() == b"abc"
    with pytest.raises(BodyCut):
        await channel.receive()


async def test_a_chunk_larger_than_any_share_passes_all_the_same() -> None:
    allowance = Allowance(10, least_bytes=1, most_bytes=10)
    channel = Channel(allowance)
    sending = asyncio.ensure_future(channel.send(bytes(1000)))
    assert len(await channel.receive() or b"") == 1000
    await sending
    assert allowance.used_bytes == 1000
    channel.close()
    assert allowance.used_bytes == 0


async def test_closing_a_channel_ends_the_one_who_sends() -> None:
    allowance = Allowance(10, least_bytes=1, most_bytes=10)
    channel = Channel(allowance)
    sending = asyncio.ensure_future(channel.send(bytes(1000)))
    await asyncio.sleep(0)
    channel.close()
    await sending
    await channel.send(bytes(1000))
    assert allowance.used_bytes == 0
