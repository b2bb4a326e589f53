"""What cannot be stored: every answer is one answer of the origin, and nothing of it stays behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from rangecache.errors import NotCached
from rangecache.testing.objects import stamped
from tests.read.conftest import BLOCK, REF, Cache, drain

DATA = stamped("k", 1, 40 * BLOCK)
NO_STORE = {"cache-control": "no-store"}


async def _settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_client_who_leaves_before_the_first_byte_lets_go_of_the_origin(cache: Cache) -> None:
    cache.origin.put(REF, DATA, e_tag=None)
    reply = await cache.open(f"bytes=0-{8 * BLOCK - 1}")
    assert isinstance(reply.body, AsyncGenerator)
    await reply.body.aclose()
    await _settle()
    assert cache.origin.open_bodies == 0
    assert len(cache.background) == 0


async def test_only_if_cached_asks_the_origin_for_nothing_that_passes_through(cache: Cache) -> None:
    cache.origin.put(REF, DATA, e_tag=None)
    await cache.read("bytes=0-9")
    for _ in range(2):
        with pytest.raises(NotCached):
            await cache.read("bytes=0-9", cache_control="only-if-cached")
        await cache.clock.advance(200)
    assert cache.origin.request_count == 1


async def test_a_head_of_what_passes_through_is_a_head_at_the_origin(cache: Cache) -> None:
    cache.origin.put(REF, DATA, e_tag=None)
    replies = [await cache.open(head=True) for _ in range(3)]
    assert [(reply.status, reply.meta.size, reply.cache.outcome) for reply in replies] == [
        (200, len(DATA), "bypass")
    ] * 3
    assert not any(reply.cache.stored for reply in replies)
    assert [request.method for request in cache.origin.requests] == ["GET", "HEAD", "HEAD"]


@pytest.mark.parametrize("known", [False, True])
async def test_a_download_that_is_resumed_by_if_range_asks_only_for_the_rest(
    make_cache: type[Cache], known: bool
) -> None:
    cache = make_cache(ttl="origin")
    tag = str(cache.origin.put(REF, DATA, headers=NO_STORE).e_tag)
    if known:
        await cache.read("bytes=0-9")
    reply = await cache.open(f"bytes={20 * BLOCK}-", if_range=tag)
    assert (reply.status, await drain(reply)) == (206, DATA[20 * BLOCK :])
    assert cache.asked[-1] == f"bytes={20 * BLOCK}-"


async def test_an_if_range_that_has_just_ceased_to_hold_gets_the_whole_new_object(make_cache: type[Cache]) -> None:
    cache = make_cache(ttl="origin")
    tag = str(cache.origin.put(REF, DATA, headers=NO_STORE).e_tag)
    await cache.read("bytes=0-9")
    newer = stamped("k", 2, 30 * BLOCK)
    cache.origin.put(REF, newer, headers=NO_STORE)
    reply = await cache.open(f"bytes={20 * BLOCK}-", if_range=tag)
    assert (reply.status, await drain(reply)) == (200, newer)


@pytest.mark.parametrize("wanted", [None, f"bytes=0-{30 * BLOCK - 1}", "bytes=0-9"])
async def test_a_long_object_of_an_origin_that_ignores_ranges_can_be_read_again_when_it_is_no_longer_cached(
    make_cache: type[Cache], monkeypatch: pytest.MonkeyPatch, wanted: str | None
) -> None:
    for module in ("fetcher", "passing", "bypass"):
        monkeypatch.setattr(f"rangecache.read.{module}.SKIP_BYTES_MAX", 10 * BLOCK)
    cache = make_cache(memory_bytes=10 * BLOCK)
    cache.origin.ignores_ranges = True
    cache.origin.put(REF, DATA)
    first = await cache.read(wanted)
    for _ in range(3):
        assert await cache.read(wanted) == first
    assert cache.origin.request_count <= 5
