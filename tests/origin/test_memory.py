"""The in-memory store: what tests rely on beyond the contract, which is in test_conformance."""

from __future__ import annotations

import asyncio

import pytest

from rangecache.errors import GenerationGone, NotFound, Unavailable
from rangecache.model import ETag, ObjectRef
from rangecache.origin.base import GetResult
from rangecache.origin.memory import MemoryRequest, MemoryStore
from rangecache.ranges import ByteRange, SuffixRange
from rangecache.testing.suites import read

REF = ObjectRef("mem", "bucket", "key")


async def test_every_request_is_noted_with_its_purpose() -> None:
    store = MemoryStore()
    meta = store.put(REF, b"0123456789")
    await store.head(REF, purpose="revalidate")
    await read(store, REF, SuffixRange(3))
    async with store.get(REF, if_match=meta, purpose="prefetch"):
        pass
    assert list(store.requests) == [
        MemoryRequest("HEAD", REF, None, None, None, "revalidate"),
        MemoryRequest("GET", REF, SuffixRange(3), None, None, "demand"),
        MemoryRequest("GET", REF, None, meta, None, "prefetch"),
    ]
    assert store.request_count == 3


async def test_a_hook_fails_one_request_and_spares_the_next() -> None:
    store = MemoryStore()
    store.put(REF, b"data")
    failures = [Unavailable("503")]

    async def fail_once(request: MemoryRequest) -> None:
        if failures:
            raise failures.pop()

    store.before_answer = fail_once
    with pytest.raises(Unavailable):
        await store.head(REF)
    assert (await read(store, REF))[2] == b"data"


async def test_a_hook_before_a_chunk_cuts_the_body_where_it_likes() -> None:
    store = MemoryStore(chunk_bytes=4)
    store.put(REF, b"0123456789")

    async def cut(request: MemoryRequest, offset: int) -> None:
        if offset == 8:
            raise Unavailable("reset")

    store.before_chunk = cut
    async with store.get(REF) as answer:
        assert isinstance(answer, GetResult)
        assert [await anext(answer.chunks), await anext(answer.chunks)] == [b"0123", b"4567"]
        assert store.open_bodies == 1
        with pytest.raises(Unavailable):
            await anext(answer.chunks)
    assert store.open_bodies == 0


async def test_a_body_keeps_the_version_it_began_with() -> None:
    store = MemoryStore(chunk_bytes=5)
    store.put(REF, b"old--old--")
    async with store.get(REF) as answer:
        assert isinstance(answer, GetResult)
        store.put(REF, b"new--new--")
        assert b"".join([chunk async for chunk in answer.chunks]) == b"old--old--"


async def test_a_weak_tag_leaves_an_object_without_a_generation() -> None:
    store = MemoryStore()
    meta = store.put(REF, b"data", e_tag=ETag("v1", weak=True))
    assert (meta.generation, meta.validator, str(meta.e_tag)) == ("", "", 'W/"v1"')


async def test_what_nothing_identifies_is_never_unchanged_and_cannot_be_pinned() -> None:
    store = MemoryStore()
    meta = store.put(REF, b"data", e_tag=ETag("v1", weak=True))
    assert await store.head(REF, if_none_match=meta) == meta
    with pytest.raises(GenerationGone):
        await read(store, REF, if_match=meta)


async def test_an_origin_that_ignores_ranges_sends_everything() -> None:
    store = MemoryStore(ignores_ranges=True)
    store.put(REF, b"0123456789")
    _, got, body = await read(store, REF, ByteRange(2, 4))
    assert (got, body) == (ByteRange(0, 10), b"0123456789")


async def test_a_version_is_an_object_of_its_own() -> None:
    store = MemoryStore()
    store.put(REF, b"current")
    store.put(REF._replace(version="v1"), b"first")
    assert (await read(store, REF._replace(version="v1")))[2] == b"first"
    with pytest.raises(NotFound):
        await store.head(REF._replace(version="v2"))


async def test_a_hook_can_hold_a_request_until_the_test_lets_it_go() -> None:
    store = MemoryStore()
    store.put(REF, b"data")
    go = asyncio.Event()

    async def wait(request: MemoryRequest) -> None:
        await go.wait()

    store.before_answer = wait
    reading = asyncio.create_task(read(store, REF))
    while not store.requests:
        await asyncio.sleep(0)
    assert not reading.done()
    go.set()
    assert (await reading)[2] == b"data"
