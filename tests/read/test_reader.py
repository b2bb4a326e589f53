"""What a reader gets, and what the origin sees of it."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING

import pytest

from rangecache.blocks.memory import MemoryTier
from rangecache.errors import (
    BodyCut,
    GenerationGone,
    InvalidAnswer,
    NotCached,
    NotFound,
    PermissionDenied,
    RangecacheError,
    Unavailable,
)
from rangecache.model import ETag, ObjectRef
from rangecache.ranges import ByteRange
from rangecache.read.messages import ReadRequest
from rangecache.read.selection import Selection
from rangecache.testing.objects import check_stamped, stamped
from tests.read.conftest import AHEAD_BYTES, BLOCK, REF, Cache, drain

if TYPE_CHECKING:
    from rangecache.origin.memory import MemoryRequest

DATA = stamped("k", 1, 10 * BLOCK + 100)


async def test_the_first_read_is_one_ranged_request_for_whole_blocks(cache: Cache) -> None:
    cache.origin.put(REF, DATA)
    assert await cache.read("bytes=5000-5009") == DATA[5000:5010]
    assert cache.asked == [(BLOCK, 2 * BLOCK)]


async def test_the_second_read_of_a_block_costs_nothing_and_needs_no_waiting(cache: Cache) -> None:
    cache.origin.put(REF, DATA)
    await cache.read("bytes=5000-5009")
    reply = await cache.open("bytes=4096-8191")
    assert isinstance(reply.body, list)
    assert (reply.status, reply.cache.outcome) == (206, "hit")
    assert await drain(reply) == DATA[4096:8192]
    assert cache.origin.request_count == 1


async def test_a_suffix_of_an_unknown_object_is_one_request_reaching_back_to_a_block(cache: Cache) -> None:
    cache.origin.put(REF, DATA)
    assert await cache.read("bytes=-200") == DATA[-200:]
    assert cache.asked == [f"bytes=-{200 + BLOCK - 1}"]
    assert await cache.read("bytes=-100") == DATA[-100:]
    assert await cache.read(f"bytes={10 * BLOCK}-") == DATA[10 * BLOCK :]
    assert cache.origin.request_count == 1


@pytest.mark.parametrize("size", [0, 1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])
@pytest.mark.parametrize("length", [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 9 * BLOCK])
async def test_a_cold_suffix_of_any_size_is_right(cache: Cache, size: int, length: int) -> None:
    cache.origin.put(REF, DATA[:size])
    assert await cache.read(f"bytes=-{length}") == DATA[:size][-length:]
    assert await cache.read(f"bytes=-{length}") == DATA[:size][-length:]


async def test_an_empty_object_is_learned_by_one_plain_get(cache: Cache) -> None:
    cache.origin.put(REF, b"")
    reply = await cache.open()
    assert (reply.status, reply.meta.size) == (200, 0)
    assert await drain(reply) == b""
    assert cache.asked[-1] is None
    before = cache.origin.request_count
    assert (await cache.open("bytes=-5")).status == 200
    assert (await cache.open(head=True)).status == 200
    assert cache.origin.request_count == before


async def test_a_range_beyond_the_end_of_an_unknown_object_is_416_with_its_size(cache: Cache) -> None:
    cache.origin.put(REF, DATA)
    reply = await cache.open("bytes=999999-")
    assert (reply.status, reply.meta.size) == (416, len(DATA))


async def test_a_head_of_an_unknown_object_is_answered_from_its_first_block(cache: Cache) -> None:
    cache.origin.put(REF, DATA)
    reply = await cache.open(head=True)
    assert (reply.status, reply.meta.size, await drain(reply)) == (200, len(DATA), b"")
    assert cache.asked == [(0, BLOCK)]
    await cache.read("bytes=0-99")
    assert cache.origin.request_count == 1


async def test_a_bucket_whose_heads_are_not_followed_by_reads_gets_real_heads(cache: Cache) -> None:
    refs = [ObjectRef("mem", "b", f"k{i}") for i in range(40)]
    for ref in refs:
        cache.origin.put(ref, DATA)
        assert (await cache.open(head=True, ref=ref)).meta.size == len(DATA)
    methods = [request.method for request in cache.origin.requests]
    assert methods[:16] == ["GET"] * 16
    assert methods[17:] == ["HEAD"] * (len(methods) - 17)
    before = cache.origin.request_count
    with pytest.raises(NotFound):
        await cache.open(head=True, ref=ObjectRef("mem", "b", "absent"))
    assert cache.origin.request_count == before + 1
    elsewhere = ObjectRef("mem", "other", "k")
    cache.origin.put(elsewhere, DATA)
    await cache.open(head=True, ref=elsewhere)
    assert cache.origin.requests[-1].method == "GET"


async def test_a_bucket_whose_heads_are_followed_by_reads_goes_on_getting_blocks(cache: Cache) -> None:
    for i in range(40):
        ref = ObjectRef("mem", "b", f"k{i}")
        cache.origin.put(ref, DATA)
        await cache.open(head=True, ref=ref)
        await cache.read("bytes=0-9", ref)
    assert {request.method for request in cache.origin.requests} == {"GET"}
    assert cache.origin.request_count == 40


async def test_many_heads_of_one_object_say_no_more_than_one(cache: Cache) -> None:
    cache.origin.put(REF, DATA)
    await asyncio.gather(*(cache.open(head=True) for _ in range(100)))
    await cache.read("bytes=0-9")
    other = ObjectRef("mem", "b", "other")
    cache.origin.put(other, DATA)
    await cache.open(ref=other, head=True)
    assert [request.method for request in cache.origin.requests] == ["GET", "GET"]


async def test_where_the_origin_refuses_heads_the_answer_comes_from_a_get(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise PermissionDenied("no HEAD here")

    monkeypatch.setattr(cache.origin, "head", refuse)
    for i in range(20):
        ref = ObjectRef("mem", "b", f"k{i}")
        cache.origin.put(ref, DATA)
        assert (await cache.open(head=True, ref=ref)).meta.size == len(DATA)
    with pytest.raises(PermissionDenied):
        await cache.origin.head(REF)


async def test_two_hundred_readers_of_one_cold_range_cost_one_request(cache: Cache) -> None:
    cache.origin.put(REF, DATA)
    bodies = await asyncio.gather(*(cache.read("bytes=100-299") for _ in range(200)))
    assert set(bodies) == {DATA[100:300]}
    assert cache.origin.request_count == 1


async def test_overlapping_cold_ranges_of_a_known_object_cost_each_block_once(cache: Cache) -> None:
    cache.origin.put(REF, DATA)
    await cache.read("bytes=0-0")
    wanted = [(BLOCK, 4 * BLOCK), (2 * BLOCK, 6 * BLOCK), (BLOCK, 8 * BLOCK), (5 * BLOCK + 1, 5 * BLOCK + 2)]
    bodies = await asyncio.gather(*(cache.read(f"bytes={start}-{end - 1}") for start, end in wanted))
    assert bodies == [DATA[start:end] for start, end in wanted]
    blocks = [i for pair in cache.asked[1:] for i in range(pair[0] // BLOCK, -(-pair[1] // BLOCK))]
    assert sorted(blocks) == list(range(1, 8))


async def test_bytes_reach_the_reader_as_they_arrive(cache: Cache) -> None:
    cache.origin.put(REF, DATA)
    gate = asyncio.Event()

    async def hold(request: MemoryRequest, offset: int) -> None:
        if offset >= 2048:
            await gate.wait()

    cache.origin.before_chunk = hold
    reply = await cache.open(f"bytes=0-{BLOCK - 1}")
    first = await anext(reply.body)
    assert 0 < len(first) <= 2048
    gate.set()
    rest = await drain(reply)
    assert bytes(first) + rest == DATA[:BLOCK]


async def test_a_reader_who_leaves_harms_nobody(cache: Cache) -> None:
    cache.origin.put(REF, DATA)
    gate = asyncio.Event()

    async def hold(request: MemoryRequest) -> None:
        await gate.wait()

    cache.origin.before_answer = hold
    readers = [asyncio.create_task(cache.read("bytes=0-99")) for _ in range(10)]
    await asyncio.sleep(0)
    readers[0].cancel()
    await asyncio.sleep(0)
    gate.set()
    bodies = await asyncio.gather(*readers, return_exceptions=True)
    assert isinstance(bodies[0], asyncio.CancelledError)
    assert bodies[1:] == [DATA[:100]] * 9
    assert cache.origin.request_count == 1


async def test_when_all_leave_before_the_head_the_request_is_cancelled(cache: Cache) -> None:
    cache.origin.put(REF, DATA)
    reached, cancelled = asyncio.Event(), asyncio.Event()

    async def hold(request: MemoryRequest) -> None:
        reached.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    cache.origin.before_answer = hold
    reader = asyncio.create_task(cache.read("bytes=0-99"))
    await reached.wait()
    reader.cancel()
    await asyncio.wait_for(cancelled.wait(), 5)
    cache.origin.before_answer = None
    assert await cache.read("bytes=0-99") == DATA[:100]


async def test_a_large_run_lands_after_its_reader_has_been_served(make_cache: type[Cache]) -> None:
    cache = make_cache(run_blocks=40)
    data = stamped("k", 1, 40 * BLOCK)
    cache.origin.put(REF, data)
    gate = asyncio.Event()

    async def hold(request: MemoryRequest, offset: int) -> None:
        if offset >= 1024:
            await gate.wait()

    cache.origin.before_chunk = hold
    reply = await cache.open(f"bytes=0-{40 * BLOCK - 1}")
    assert len(await anext(reply.body)) == 1024
    known = cache.catalog.peek(REF)
    assert known is not None
    (run,) = cache.fetcher.claim(known, range(40), "demand")
    cache.fetcher.attach(run)
    await reply.body.aclose()
    cache.fetcher.detach(run, satisfied=True)
    gate.set()
    assert await cache.read() == data
    assert cache.origin.request_count == 1


@pytest.mark.parametrize(("read_blocks", "lands"), [(4, False), (28, True)])
async def test_what_nobody_wants_any_more_is_stopped_unless_most_of_it_is_here(
    make_cache: type[Cache], read_blocks: int, lands: bool
) -> None:
    cache = make_cache(run_blocks=40)
    data = stamped("k", 1, 40 * BLOCK)
    cache.origin.put(REF, data)
    reached, gate = asyncio.Event(), asyncio.Event()

    async def hold(request: MemoryRequest, offset: int) -> None:
        if offset == read_blocks * BLOCK:
            reached.set()
            await gate.wait()

    cache.origin.before_chunk = hold
    reply = await cache.open()
    await anext(reply.body)
    await reached.wait()
    await reply.body.aclose()
    await asyncio.sleep(0)
    gate.set()
    for _ in range(400):
        await asyncio.sleep(0)
    assert cache.origin.open_bodies == 0
    assert all(cache.tiers.contains(cache.catalog.peek(REF).block_key(i)) for i in range(40)) == lands


async def test_a_whole_object_is_read_in_a_few_requests_ahead_within_the_room(make_cache: type[Cache]) -> None:
    cache = make_cache(run_blocks=4, ahead_bytes=8 * BLOCK)
    data = stamped("k", 1, 64 * BLOCK + 5)
    cache.origin.put(REF, data)
    taken = []

    async def watch(request: MemoryRequest, offset: int) -> None:
        taken.append(cache.fetcher.under_way.held_bytes)

    cache.origin.before_chunk = watch
    assert await cache.read() == data
    assert max(taken) <= 8 * BLOCK
    assert cache.origin.request_count == 17
    assert cache.fetcher.under_way.held_bytes == 0


async def test_nothing_is_asked_for_ahead_that_there_is_no_room_for(make_cache: type[Cache]) -> None:
    cache = make_cache(run_blocks=4, ahead_bytes=8 * BLOCK)
    cache.origin.put(REF, stamped("k", 1, 64 * BLOCK))
    gate = asyncio.Event()

    async def hold(request: MemoryRequest, offset: int) -> None:
        if offset >= BLOCK:
            await gate.wait()

    cache.origin.before_chunk = hold
    reading = asyncio.create_task(cache.read())
    for _ in range(200):
        await asyncio.sleep(0)
    assert cache.origin.open_bodies == 2
    gate.set()
    await reading


async def test_a_reader_who_leaves_in_the_very_moment_of_his_claim_leaves_nothing_behind(cache: Cache) -> None:
    cache.origin.put(REF, DATA)
    await cache.read("bytes=0-0")
    reply = await cache.open("bytes=0-9")
    known = cache.catalog.peek(REF)
    assert known is not None
    assert isinstance(reply.body, list)
    (run,) = cache.fetcher.claim(known, range(2, 8), "demand")
    cache.fetcher.attach(run)
    cache.fetcher.detach(run, satisfied=False)
    for _ in range(5):
        await asyncio.sleep(0)
    assert run.done
    assert cache.fetcher.has_room(AHEAD_BYTES)
    assert await cache.read() == DATA


async def test_a_slow_reader_does_not_fetch_the_object_to_its_end(make_cache: type[Cache]) -> None:
    cache = make_cache(run_blocks=4, ahead_bytes=64 * BLOCK)
    data = stamped("k", 1, 400 * BLOCK)
    cache.origin.put(REF, data)
    reply = await cache.open()
    await anext(reply.body)
    for _ in range(2000):
        await asyncio.sleep(0)
    assert cache.origin.request_count <= 5
    await reply.body.aclose()


async def test_a_memory_tier_smaller_than_a_run_still_serves_right_bytes(make_cache: type[Cache]) -> None:
    cache = make_cache(run_blocks=8, ahead_bytes=8 * BLOCK, tiers=[MemoryTier(2 * BLOCK)])
    data = stamped("k", 1, 64 * BLOCK)
    cache.origin.put(REF, data)
    bodies = await asyncio.gather(*(cache.read(f"bytes={i * BLOCK}-") for i in range(0, 64, 8)))
    assert bodies == [data[i * BLOCK :] for i in range(0, 64, 8)]


async def test_several_ranges_come_in_the_order_asked(cache: Cache) -> None:
    cache.origin.put(REF, DATA)
    await cache.read("bytes=0-0")
    reply = await cache.open("bytes=30000-30009,0-4,20000-20002")
    assert [(r.start, r.end) for r in reply.ranges] == [(30000, 30010), (0, 5), (20000, 20003)]
    assert await drain(reply) == DATA[30000:30010] + DATA[:5] + DATA[20000:20003]


async def test_a_missing_object_is_not_asked_for_again_within_the_negative_ttl(cache: Cache) -> None:
    for _ in range(3):
        with pytest.raises(NotFound):
            await cache.read()
    assert cache.origin.request_count == 1
    await cache.clock.advance(2.5)
    cache.origin.put(REF, DATA)
    assert await cache.read() == DATA


async def test_a_stale_object_is_validated_and_its_blocks_are_used_again(cache: Cache) -> None:
    cache.origin.put(REF, DATA)
    await cache.read("bytes=0-99")
    await cache.clock.advance(61)
    reply = await cache.open("bytes=0-99")
    assert (reply.cache.fwd, reply.cache.fwd_status) == ("stale", 304)
    assert await drain(reply) == DATA[:100]
    assert cache.origin.requests[-1].if_none_match is not None
    await cache.clock.advance(59)
    assert (await cache.open("bytes=0-99")).cache.hit
    assert cache.origin.request_count == 2


async def test_a_changed_object_is_found_by_validation_and_its_bytes_come_with_it(cache: Cache) -> None:
    cache.origin.put(REF, DATA)
    await cache.read()
    newer = stamped("k", 2, 5 * BLOCK)
    cache.origin.put(REF, newer)
    assert check_stamped(await cache.read("bytes=0-99"), 0) == 1
    await cache.clock.advance(61)
    before = cache.origin.request_count
    reply = await cache.open("bytes=0-99")
    assert (reply.cache.fwd, reply.cache.fwd_status) == ("stale", 206)
    assert await drain(reply) == newer[:100]
    assert cache.origin.request_count == before + 1


async def test_no_cache_from_a_client_validates_once_for_all_who_ask(cache: Cache) -> None:
    cache.origin.put(REF, DATA)
    await cache.read()
    before = cache.origin.request_count
    bodies = await asyncio.gather(*(cache.read("bytes=0-9", cache_control="no-cache") for _ in range(50)))
    assert set(bodies) == {DATA[:10]}
    assert cache.origin.request_count == before + 1


async def test_who_has_just_written_and_asks_with_no_cache_reads_what_he_wrote(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.origin.put(REF, DATA)
    await cache.read()
    answered, gate = asyncio.Event(), asyncio.Event()

    # The first one's request has been decided by the origin, but its answer is still on the way.
    honest = cache.origin._look_up

    async def look_up(request: MemoryRequest) -> object:
        found = await honest(request)
        if not answered.is_set():
            answered.set()
            await gate.wait()
        return found

    monkeypatch.setattr(cache.origin, "_look_up", look_up)
    first = asyncio.create_task(cache.read("bytes=0-99", cache_control="no-cache"))
    await answered.wait()
    newer = stamped("k", 2, 5 * BLOCK)
    cache.origin.put(REF, newer)
    writers = [asyncio.create_task(cache.read("bytes=0-99", cache_control="no-cache")) for _ in range(20)]
    await asyncio.sleep(0)
    before = cache.origin.request_count
    gate.set()
    assert await asyncio.gather(*writers) == [newer[:100]] * 20
    assert cache.origin.request_count == before + 1
    await first


async def test_what_is_never_fresh_is_never_used_unasked(make_cache: type[Cache]) -> None:
    cache = make_cache(ttl=0.0, stale_while_revalidate_s=10)
    cache.origin.put(REF, DATA)
    await cache.read("bytes=0-9")
    cache.origin.put(REF, stamped("k", 2, len(DATA)))
    assert await cache.read("bytes=0-9") == stamped("k", 2, len(DATA))[:10]


async def test_only_if_cached_never_asks_the_origin(cache: Cache) -> None:
    cache.origin.put(REF, DATA)
    with pytest.raises(NotCached):
        await cache.open("bytes=0-9", cache_control="only-if-cached")
    assert cache.origin.request_count == 0
    await cache.read("bytes=0-9")
    assert await cache.read("bytes=0-9", cache_control="only-if-cached") == DATA[:10]
    with pytest.raises(NotCached):
        await cache.open(f"bytes={5 * BLOCK}-", cache_control="only-if-cached")
    assert cache.origin.request_count == 1


async def test_immutable_objects_are_never_asked_about_again(make_cache: type[Cache]) -> None:
    cache = make_cache(ttl="immutable")
    cache.origin.put(REF, DATA)
    await cache.read()
    before = cache.origin.request_count
    await cache.clock.advance(10**7)
    assert await cache.read() == DATA
    assert cache.origin.request_count == before


async def test_stale_bytes_are_served_while_the_origin_fails_if_that_is_allowed(make_cache: type[Cache]) -> None:
    cache = make_cache(stale_if_error_s=3600)
    cache.origin.put(REF, DATA)
    await cache.read()

    async def fail(request: MemoryRequest) -> None:
        raise Unavailable("the origin is down")

    cache.origin.before_answer = fail
    await cache.clock.advance(100)
    reply = await cache.open("bytes=0-9")
    assert (reply.cache.outcome, reply.cache.ttl_s) == ("stale", -41)
    assert await drain(reply) == DATA[:10]
    await cache.clock.advance(3600)
    with pytest.raises(Unavailable):
        await cache.read("bytes=0-9")


async def test_stale_metadata_with_missing_bytes_is_not_called_a_hit(make_cache: type[Cache]) -> None:
    cache = make_cache(stale_while_revalidate_s=10)
    cache.origin.put(REF, DATA)
    await cache.read("bytes=0-9")
    await cache.clock.advance(65)
    reply = await cache.open(f"bytes={5 * BLOCK}-{5 * BLOCK + 9}")
    assert (reply.cache.outcome, reply.cache.hit, reply.cache.fwd) == ("miss", False, "uri-miss")
    assert await drain(reply) == DATA[5 * BLOCK : 5 * BLOCK + 10]


async def test_while_revalidating_nobody_waits(make_cache: type[Cache]) -> None:
    cache = make_cache(stale_while_revalidate_s=10)
    cache.origin.put(REF, DATA)
    await cache.read()
    gate = asyncio.Event()

    async def hold(request: MemoryRequest) -> None:
        await gate.wait()

    cache.origin.before_answer = hold
    await cache.clock.advance(65)
    for _ in range(5):
        assert (await cache.open("bytes=0-9")).cache.outcome == "stale"
    gate.set()
    for _ in range(20):
        await asyncio.sleep(0)
    assert (await cache.open("bytes=0-9")).cache.outcome == "hit"
    assert cache.origin.requests[-1].if_none_match is not None


# --- one version a response --------------------------------------------------------------------------------------


async def test_an_object_that_changed_before_anything_was_sent_is_begun_anew(cache: Cache) -> None:
    cache.origin.put(REF, DATA)
    await cache.read("bytes=0-0")
    newer = stamped("k", 2, 10 * BLOCK + 100)
    cache.origin.put(REF, newer)
    body = await cache.read(f"bytes={2 * BLOCK}-{6 * BLOCK - 1}")
    assert body == newer[2 * BLOCK : 6 * BLOCK]
    assert cache.metrics.version_conflicts.total() == 1


async def test_cached_blocks_of_the_old_version_are_not_mixed_with_new_ones(cache: Cache) -> None:
    cache.origin.put(REF, DATA)
    await cache.read(f"bytes=0-{3 * BLOCK - 1}")
    newer = stamped("k", 2, 10 * BLOCK + 100)
    cache.origin.put(REF, newer)
    body = await cache.read(f"bytes={BLOCK}-{5 * BLOCK - 1}")
    assert body == newer[BLOCK : 5 * BLOCK]


async def test_an_object_that_changes_in_the_middle_of_a_body_aborts_it(make_cache: type[Cache]) -> None:
    cache = make_cache(run_blocks=2)
    cache.origin.put(REF, DATA)
    reply = await cache.open()
    first = await anext(reply.body)
    cache.origin.put(REF, stamped("k", 2, len(DATA)))
    got = bytearray(first)

    async def read_on() -> None:
        async for piece in reply.body:
            got.extend(piece)

    with pytest.raises(GenerationGone):
        await read_on()
    assert check_stamped(got, 0) == 1
    assert check_stamped(await cache.read(), 0) == 2


@pytest.mark.parametrize("changed_at", ["the next request", "the middle of a body"])
async def test_an_origin_that_ignores_the_pin_is_found_out_by_its_answer(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, changed_at: str
) -> None:
    honest = cache.origin.get
    monkeypatch.setattr(cache.origin, "get", lambda ref, **asked: honest(ref, **{**asked, "if_match": None}))
    cache.origin.put(REF, DATA)
    newer = stamped("k", 2, len(DATA))
    if changed_at == "the next request":
        await cache.read("bytes=0-0")
        cache.origin.put(REF, newer)
        assert await cache.read(f"bytes=0-{3 * BLOCK}") == newer[: 3 * BLOCK + 1]
    else:
        reply = await cache.open()
        await anext(reply.body)
        cache.origin.put(REF, newer)
        with pytest.raises(GenerationGone):
            await drain(reply)


async def test_an_object_deleted_at_the_origin_is_404_only_when_asked_without_a_pin(cache: Cache) -> None:
    cache.origin.put(REF, DATA)
    await cache.read("bytes=0-0")
    cache.origin.delete(REF)
    with pytest.raises(NotFound):
        await cache.read(f"bytes={5 * BLOCK}-")
    assert cache.origin.requests[-2].if_match is not None
    assert cache.origin.requests[-1].if_match is None


async def test_refusals_drawn_from_memory_are_checked_with_the_origin_once(cache: Cache) -> None:
    cache.origin.put(REF, DATA)
    await cache.read("bytes=0-0")
    newer = stamped("k", 2, 20 * BLOCK)
    tag = cache.origin.put(REF, newer).e_tag
    reply = await cache.open("bytes=0-9", if_match=str(tag))
    assert (reply.status, await drain(reply)) == (206, newer[:10])
    even_newer = stamped("k", 3, 30 * BLOCK)
    cache.origin.put(REF, even_newer)
    assert await cache.read(f"bytes={25 * BLOCK}-") == even_newer[25 * BLOCK :]


async def test_objects_without_a_strong_validator_pass_through_and_are_not_stored(cache: Cache) -> None:
    cache.origin.put(REF, DATA, e_tag=ETag("w", weak=True))
    for _ in range(3):
        reply = await cache.open("bytes=5000-5999")
        assert (reply.status, reply.cache.outcome) == (206, "bypass")
        assert await drain(reply) == DATA[5000:6000]
    assert cache.origin.request_count == 3
    assert cache.tiers.stats().blocks == 0
    assert await cache.read() == DATA
    assert await cache.read("bytes=-7") == DATA[-7:]
    assert (await cache.open(head=True)).meta.size == len(DATA)


async def test_passing_through_many_at_once_gives_each_his_own_answer(cache: Cache) -> None:
    cache.origin.put(REF, DATA, e_tag=None)
    bodies = await asyncio.gather(*(cache.read(f"bytes={i}-{i + 99}") for i in range(20)))
    assert bodies == [DATA[i : i + 100] for i in range(20)]


async def test_no_store_is_passed_on_and_forgotten(make_cache: type[Cache]) -> None:
    cache = make_cache(ttl="origin")
    cache.origin.put(REF, DATA, headers={"cache-control": "no-store"})
    assert await cache.read("bytes=0-9") == DATA[:10]
    assert await cache.read("bytes=0-9") == DATA[:10]
    assert cache.tiers.stats().blocks == 0


async def test_three_conflicts_in_a_minute_pass_an_object_through(cache: Cache) -> None:
    for version in range(4):
        cache.origin.put(REF, stamped("k", version, 10 * BLOCK))
        await cache.read("bytes=0-0")
        cache.origin.put(REF, stamped("k", version + 100, 10 * BLOCK))
        await cache.read(f"bytes={5 * BLOCK}-{6 * BLOCK - 1}")
    assert (await cache.open("bytes=0-9")).cache.outcome == "bypass"
    await cache.clock.advance(181)
    await cache.read("bytes=0-9")
    assert (await cache.open("bytes=0-9")).cache.outcome == "hit"


# --- origins that ignore ranges -----------------------------------------------------------------------------------


async def test_a_small_whole_answer_to_a_range_lands_as_a_whole(cache: Cache) -> None:
    cache.origin.ignores_ranges = True
    data = DATA[: 5 * BLOCK]
    cache.origin.put(REF, data)
    assert await cache.read("bytes=9000-9009") == data[9000:9010]
    assert await cache.read() == data
    assert cache.origin.request_count == 1


async def test_a_large_whole_answer_goes_to_its_reader_and_is_stored_on_the_way(cache: Cache) -> None:
    cache.origin.ignores_ranges = True
    data = stamped("k", 1, 40 * BLOCK)
    cache.origin.put(REF, data)
    assert await cache.read() == data
    assert cache.origin.request_count == 1
    assert await cache.read(f"bytes={20 * BLOCK}-") == data[20 * BLOCK :]
    assert cache.origin.request_count == 1


async def test_a_range_deep_in_an_object_whose_origin_ignores_ranges_is_refused(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rangecache.read.passing.SKIP_BYTES_MAX", 10 * BLOCK)
    monkeypatch.setattr("rangecache.read.bypass.SKIP_BYTES_MAX", 10 * BLOCK)
    cache.origin.ignores_ranges = True
    cache.origin.put(REF, stamped("k", 1, 40 * BLOCK))
    with pytest.raises(InvalidAnswer, match="ignores Range"):
        await cache.read(f"bytes={20 * BLOCK}-")


async def test_a_body_that_breaks_off_raises_and_what_arrived_is_kept(cache: Cache) -> None:
    cache.origin.put(REF, DATA)

    async def cut(request: MemoryRequest, offset: int) -> None:
        if offset >= 2 * BLOCK:
            raise BodyCut("cut")

    cache.origin.before_chunk = cut
    reply = await cache.open()
    with pytest.raises(BodyCut):
        await drain(reply)
    cache.origin.before_chunk = None
    before = cache.origin.request_count
    assert await cache.read(f"bytes=0-{2 * BLOCK - 1}") == DATA[: 2 * BLOCK]
    assert cache.origin.request_count == before


async def test_the_catalog_is_bounded(make_cache: type[Cache], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rangecache.read.catalog.OBJECTS_BYTES", 12_000)
    cache = make_cache()
    for i in range(30):
        ref = ObjectRef("mem", "b", f"k{i}")
        cache.origin.put(ref, b"x")
        await cache.read(None, ref)
    assert 5 < len(cache.catalog) < 12
    assert cache.catalog.held_bytes <= 12_000


@pytest.mark.parametrize("wanted", ["bytes=20480-20489", "bytes=0-"])
@pytest.mark.parametrize("left", [None, 2 * BLOCK, 0])
async def test_an_immutable_object_that_is_replaced_all_the_same_is_begun_anew(
    make_cache: type[Cache], left: int | None, wanted: str
) -> None:
    cache = make_cache(ttl="immutable")
    cache.origin.put(REF, DATA, e_tag=None)
    await cache.read("bytes=0-0")
    if left is None:
        cache.origin.delete(REF)
        with pytest.raises(NotFound):
            await cache.read(wanted)
        return
    newer = stamped("k", 2, left)
    cache.origin.put(REF, newer, e_tag=None)
    reply = await cache.open(wanted)
    assert reply.meta.size == left
    assert await drain(reply) == (newer if left and wanted == "bytes=0-" else b"")


async def test_an_immutable_object_is_not_mixed_of_two_codings(make_cache: type[Cache]) -> None:
    cache = make_cache(ttl="immutable")
    cache.origin.put(REF, DATA, e_tag=None)
    await cache.read("bytes=0-0")
    newer = stamped("k", 2, len(DATA))
    cache.origin.put(REF, newer, e_tag=None, headers={"content-encoding": "gzip"})
    assert await cache.read() == newer


@pytest.mark.parametrize("block_bytes", [1024, 1 << 20])
async def test_the_short_question_is_answered_as_the_long_one(make_cache: type[Cache], block_bytes: int) -> None:
    """`peek` says what `try_open` says of a plain range, or nothing; whatever has happened before."""
    cache, chance = make_cache(block_bytes=block_bytes, ttl=60.0), random.Random(7)
    size, told, silent = 40_000, 0, 0
    cache.origin.put(REF, bytes(range(256)) * 157)
    for step in range(2000):
        start = chance.randrange(size + 3000)
        length = chance.choice((1, 700, 5000, size))
        if step % 100 == 50:
            cache.origin.put(REF, chance.randbytes(size))
        elif step % 100 == 75:
            await cache.purger.purge(Selection.an_object(str(REF)))
        elif step % 20 == 10:
            await cache.clock.advance(chance.choice((1.0, 30.0)))
        elif step % 5 == 0:
            with contextlib.suppress(RangecacheError):
                await cache.read(f"bytes={start}-{start + length - 1}")
        found = cache.reader.peek(REF, start, start + length, 4096)
        reply = cache.reader.try_open(ReadRequest(REF, range=f"bytes={start}-{start + length - 1}"), 4096)
        if found is None:
            silent += 1
            assert reply is None or reply.status != 206
            continue
        told += 1
        assert reply is not None
        meta, status, age_s, end, views = found
        assert (reply.status, reply.meta, reply.cache, reply.age_s) == (206, meta, status, age_s)
        assert list(reply.ranges) == [ByteRange(start, end)]
        assert b"".join(views) == await drain(reply)
    assert min(told, silent) > 100
