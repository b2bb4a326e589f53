"""Replicas that stand in for each other: who is asked, what is believed, and that no version is mixed with another."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from rangecache.aio.breaker import FAILURES_MAX
from rangecache.aio.budget import RetryBudget
from rangecache.errors import (
    BadRequest,
    BodyCut,
    BudgetExhausted,
    GenerationGone,
    InvalidAnswer,
    NotFound,
    OriginError,
    PermissionDenied,
    StaleConnection,
    Unauthenticated,
    Unavailable,
)
from rangecache.model import ETag, ObjectMeta, ObjectRef
from rangecache.origin.base import GetResult, NotModified
from rangecache.origin.failover import Failover
from rangecache.origin.memory import MemoryStore
from rangecache.origin.replica import Place, Replica
from rangecache.origin.retry import Retrying
from rangecache.origin.roster import PROBE_INTERVAL_S, SLOW_S
from rangecache.ranges import ByteRange

from .reading import watched

if TYPE_CHECKING:
    from rangecache.testing.clock import ManualClock

REF = ObjectRef("set", "b", "k")
ONE, TWO = b"\x01" * 1000, b"\x02" * 1000
REFUSED = Unavailable("no connection", unreached=True)
FAILED = Unavailable("the origin failed (500)")


class Origin(MemoryStore):
    """A replica's origin that a test stops and starts."""

    def __init__(self, name: str, clock: ManualClock) -> None:
        super().__init__(source=f"s3 http://{name}.example b", before_answer=self._meet, chunk_bytes=100)
        self.name = name
        self.clock = clock
        self.delay_s = 0.0
        """How long its answers take to begin."""
        self.error: OriginError | None = None
        self.stale = False
        """Whether the connection that the next request takes has died."""
        self.gate = asyncio.Event()
        self.gate.set()

    async def _meet(self, _request: object) -> None:
        await self.gate.wait()
        self.clock.shift(self.delay_s)
        stale, self.stale = self.stale, False
        if stale:
            raise StaleConnection("a kept connection was closed")
        if self.error is not None:
            raise self.error

    def write(self, data: bytes, tag: str | None = None, key: str = "k") -> ObjectMeta:
        ref = ObjectRef(self.name, "b", key)
        return self.put(ref, data) if tag is None else self.put(ref, data, e_tag=ETag(tag))


class World:
    """Two replicas, `a` before `b`."""

    def __init__(self, clock: ManualClock, identity: Any = "checksum", burst: int = 100) -> None:
        self.clock = clock
        self.a, self.b = Origin("a", clock), Origin("b", clock)
        self.stood_in: list[str] = []
        self.budget = RetryBudget(0, 0, burst, clock)
        self.stores = [watched(each, clock) for each in (self.a, self.b)]
        self.replicas = [
            Replica(origin.name, store, clock, Place)
            for origin, store in zip((self.a, self.b), self.stores, strict=True)
        ]
        self.store = Failover(
            self.replicas, identity=identity, budget=self.budget, clock=clock, on_failover=self.stood_in.append
        )

    async def read(self, **options: Any) -> bytes:
        async with self.store.get(REF, **options) as answer:
            assert isinstance(answer, GetResult)
            return b"".join([chunk async for chunk in answer.chunks])

    async def meta(self, **options: Any) -> ObjectMeta:
        found = await self.store.head(REF, **options)
        assert isinstance(found, ObjectMeta)
        return found

    async def kill(self, origin: Origin, error: OriginError = REFUSED) -> None:
        """Stop it, and ask until its breaker is open."""
        origin.error = error
        store = self.stores[0 if origin is self.a else 1]
        for number in range(5):
            with pytest.raises(OriginError):
                await store.head(ObjectRef(origin.name, "b", f"k{number}"))
            self.clock.shift(0.01)
        assert store.state(ObjectRef(origin.name, "b", "k")) == "open"


@pytest.fixture
def world(clock: ManualClock) -> World:
    return World(clock)


def requests(origin: Origin) -> int:
    return origin.request_count


# --- who is asked -------------------------------------------------------------------------------------------------


async def test_the_first_is_asked_while_it_answers(world: World) -> None:
    world.a.write(ONE)
    world.b.write(TWO)
    assert await world.read() == ONE
    assert requests(world.b) == 0
    assert not world.stood_in


@pytest.mark.parametrize("error", [REFUSED, FAILED, Unauthenticated("expired")])
async def test_one_that_fails_is_stood_in_for_at_once_and_it_costs_a_token(world: World, error: OriginError) -> None:
    world.a.error = error
    world.b.write(TWO)
    before = world.budget.balance
    assert await world.read() == TWO
    assert (requests(world.a), requests(world.b)) == (1, 1)
    assert world.budget.balance == before - 1
    assert world.stood_in == ["b"]
    assert world.b.requests[-1].purpose == "failover"


@pytest.mark.parametrize("pinned", [False, True])
async def test_a_kept_connection_that_has_died_is_no_reason_to_ask_another(world: World, pinned: bool) -> None:
    known = await world.meta() if world.a.write(ONE) and pinned else None
    world.b.write(ONE)
    before, asked = world.budget.balance, requests(world.a)
    world.a.stale = True
    assert await world.read(if_match=known) == ONE
    assert requests(world.a) == asked + 2
    assert (requests(world.b), world.stood_in, world.budget.balance) == (0, [], before)


async def test_one_that_is_known_to_be_down_is_not_asked_and_the_next_is_free(world: World) -> None:
    world.b.write(TWO)
    await world.kill(world.a)
    before, asked = world.budget.balance, requests(world.a)
    assert await world.read() == TWO
    assert requests(world.a) == asked
    assert world.budget.balance == before


async def test_without_a_token_nobody_else_is_asked(clock: ManualClock) -> None:
    world = World(clock, burst=0)
    world.a.error = REFUSED
    world.b.write(TWO)
    with pytest.raises(BudgetExhausted):
        await world.read()
    assert requests(world.b) == 0


async def test_what_nobody_waits_for_is_not_asked_of_another(world: World) -> None:
    world.a.error = REFUSED
    world.b.write(TWO)
    with pytest.raises(Unavailable):
        await world.read(purpose="prefetch")
    assert requests(world.b) == 0


@pytest.mark.parametrize("error", [NotFound("no such object"), PermissionDenied("no")])
async def test_an_answer_of_the_first_is_an_answer(world: World, error: OriginError) -> None:
    world.a.error = error
    world.b.write(TWO)
    with pytest.raises(type(error)):
        await world.read()
    assert requests(world.b) == 0


async def test_that_a_copy_has_no_such_object_is_not_believed(world: World) -> None:
    world.a.error = REFUSED
    with pytest.raises(Unavailable, match="no connection"):
        await world.read()


async def test_that_a_declared_copy_has_no_such_object_is_believed(clock: ManualClock) -> None:
    world = World(clock, "declared")
    world.a.error = REFUSED
    with pytest.raises(NotFound):
        await world.read()


async def test_the_first_is_probed_while_the_other_is_read_and_read_again_when_it_answers(world: World) -> None:
    world.a.write(ONE)
    world.b.write(TWO)
    await world.kill(world.a)
    asked = requests(world.a)
    for _ in range(29):
        assert await world.read() == TWO
        world.clock.shift(1)
    assert requests(world.a) == asked, "it was left alone"
    world.a.error = None
    world.a.gate.clear()
    world.clock.shift(5)
    for _ in range(20):
        assert await world.read() == TWO, "nobody waits for the probe"
    assert requests(world.a) == asked + 1, "one probe at a time"
    world.a.gate.set()
    while not world.replicas[0].is_up(REF):
        await asyncio.sleep(0)
    assert await world.read() == ONE


@pytest.mark.parametrize(
    "error", [Unauthenticated("the keys have expired"), InvalidAnswer("another host's certificate", unproven=True)]
)
async def test_one_that_is_there_and_of_no_use_costs_a_few_tokens_and_not_all_of_them(
    world: World, error: OriginError
) -> None:
    world.a.write(ONE)
    world.b.write(TWO)
    world.a.error = error
    for _ in range(200):
        assert await world.read() == TWO
        world.clock.shift(0.01)
    assert requests(world.a) == FAILURES_MAX
    assert world.budget.balance == 100 - FAILURES_MAX
    world.a.error = None
    world.clock.shift(40)
    while not world.replicas[0].is_up(REF):
        assert await world.read() == TWO, "it is probed, and nobody waits for that"
        await asyncio.sleep(0)
    assert await world.read() == ONE


async def test_one_that_fails_at_one_object_alone_is_asked_for_others(world: World) -> None:
    world.a.write(ONE)
    world.b.write(TWO)
    world.a.error = InvalidAnswer("no such range")
    for _ in range(20):
        assert await world.read() == TWO
        world.clock.shift(0.01)
    assert requests(world.a) == 20
    world.a.error = None
    assert await world.read() == ONE


async def test_where_all_are_of_no_use_one_request_a_second_finds_out_whether_they_are(world: World) -> None:
    world.a.write(ONE)
    world.a.error = world.b.error = Unauthenticated("the keys have expired")
    for _ in range(20):
        with pytest.raises(OriginError, match="expired"):
            await world.read()
        world.clock.shift(0.01)
    asked = requests(world.a)
    for _ in range(10):
        with pytest.raises(Unavailable, match="expired"):
            await world.read()
    assert requests(world.a) == asked
    world.a.error = None
    world.clock.shift(1)
    assert await world.read() == ONE


async def test_where_all_are_down_one_request_a_second_finds_out_whether_they_are(world: World) -> None:
    world.a.write(ONE)
    await world.kill(world.a)
    await world.kill(world.b)
    with pytest.raises(Unavailable):
        await world.read()
    asked = requests(world.a)
    for _ in range(10):
        with pytest.raises(Unavailable):
            await world.read()
    assert requests(world.a) == asked
    world.a.error = None
    world.clock.shift(1)
    assert await world.read() == ONE


async def test_whoever_waits_for_one_that_is_found_to_be_down_waits_no_longer(world: World) -> None:
    world.b.write(TWO)
    world.a.gate.clear()
    reading = asyncio.create_task(world.read())
    await world.clock.wait_for_sleepers()
    world.a.gate.set()
    world.a.gate = asyncio.Event()  # the read above meets the first gate again only if it is asked once more
    world.a.gate.set()
    await world.kill(world.a)
    await world.clock.advance(0.5)
    assert await reading == TWO


async def test_one_that_becomes_slow_is_asked_after_a_quick_one_until_it_is_quick_again(
    world: World,
) -> None:
    world.a.write(ONE)
    world.b.write(TWO)
    world.a.delay_s, world.b.delay_s = 3 * SLOW_S, 0.01
    for _ in range(2):
        assert await world.read() == ONE, "of the other one nothing is known yet"
    await world.clock.advance(0)
    assert world.b.requests[-1].method == "HEAD"
    assert await world.read() == TWO
    world.a.delay_s = 0.01
    for _ in range(20):
        await world.clock.advance(PROBE_INTERVAL_S)
        await world.read()
    assert await world.read() == ONE


# --- which version ------------------------------------------------------------------------------------------------


async def test_a_version_says_whose_it_is(world: World) -> None:
    world.a.write(ONE)
    meta = await world.meta()
    assert meta.ref == REF
    assert meta.source == "a s3 http://a.example b"
    assert world.store.vouches_for(meta)
    assert world.store.source(REF) == meta.source


async def test_the_same_validator_at_two_replicas_is_two_versions(world: World) -> None:
    world.a.write(ONE, "v1")
    world.b.write(TWO, "v1")
    first = await world.meta()
    world.a.error = REFUSED
    second = await world.meta()
    assert first.generation != second.generation


async def test_a_pinned_read_goes_on_where_a_common_checksum_proves_the_bytes(world: World) -> None:
    world.a.write(ONE)
    world.b.write(ONE)
    meta = await world.meta()
    world.a.error = REFUSED
    for start in (0, 100, 200):
        async with world.store.get(REF, range=ByteRange(start, start + 100), if_match=meta) as answer:
            assert isinstance(answer, GetResult)
            assert answer.meta == meta
    heads = [each.method for each in world.b.requests].count("HEAD")
    assert heads == 1, "the proof is had once"
    pins = {each.if_match.validator for each in world.b.requests if each.if_match is not None}
    assert len(pins) == 1


@pytest.mark.parametrize("error", [REFUSED, FAILED])
async def test_a_pinned_read_never_goes_on_at_other_bytes(world: World, error: OriginError) -> None:
    world.a.write(ONE)
    world.b.write(TWO)
    meta = await world.meta()
    world.a.error = error
    with pytest.raises(GenerationGone if error is REFUSED else Unavailable):
        await world.read(if_match=meta)
    assert not [each for each in world.b.requests if each.method == "GET"]


async def test_a_version_whose_replica_is_down_counts_as_gone_and_not_before(world: World) -> None:
    world.a.write(ONE)
    world.b.write(TWO)
    meta = await world.meta()
    await world.kill(world.a, FAILED)
    with pytest.raises(GenerationGone, match="a, which this version"):
        await world.read(if_match=meta)


async def test_without_identity_no_version_goes_on_elsewhere_even_if_its_checksum_is_there(
    clock: ManualClock,
) -> None:
    world = World(clock, "none")
    world.a.write(ONE)
    world.b.write(ONE)
    meta = await world.meta()
    world.a.error = REFUSED
    with pytest.raises(GenerationGone):
        await world.read(if_match=meta)
    assert requests(world.b) == 0


async def test_a_copy_that_has_changed_since_its_proof_is_found_out(world: World) -> None:
    world.a.write(ONE)
    world.b.write(ONE)
    meta = await world.meta()
    world.a.error = REFUSED
    assert await world.read(if_match=meta) == ONE
    world.b.write(TWO)
    with pytest.raises(GenerationGone):
        await world.read(if_match=meta)


async def test_a_change_at_the_first_is_a_change_whatever_was_declared(clock: ManualClock) -> None:
    world = World(clock, "declared")
    world.a.write(ONE)
    world.b.write(ONE)
    meta = await world.meta()
    world.a.write(TWO)
    with pytest.raises(GenerationGone):
        await world.read(if_match=meta)
    assert await world.read(if_none_match=meta) == TWO
    assert requests(world.b) == 0


async def test_a_version_is_confirmed_by_another_replica_that_has_the_same_bytes(world: World) -> None:
    world.a.write(ONE)
    world.b.put(ObjectRef("b", "b", "k"), ONE, headers={"cache-control": "max-age=7", "x-other": "b"})
    meta = await world.meta()
    world.a.error = REFUSED
    for answer in (await world.store.head(REF, if_none_match=meta), await opened(world, if_none_match=meta)):
        assert isinstance(answer, NotModified)
        assert answer.headers == {"cache-control": "max-age=7"}
    world.b.write(TWO)
    assert isinstance(await world.store.head(REF, if_none_match=meta), ObjectMeta)
    assert await world.read(if_none_match=meta) == TWO


async def opened(world: World, **options: Any) -> GetResult | NotModified:
    async with world.store.get(REF, **options) as answer:
        return answer


@pytest.mark.parametrize("same", [True, False])
async def test_a_body_that_breaks_off_goes_on_at_a_proven_copy_and_nowhere_else(world: World, same: bool) -> None:
    world.a.write(ONE)
    world.b.write(ONE if same else TWO)

    async def cut(_request: object, offset: int) -> None:
        if offset == 500:
            world.a.error = REFUSED
            raise BodyCut("cut")

    world.a.before_chunk = cut
    store = Retrying(world.store, budget=world.budget, clock=world.clock, random=lambda: 0.0)
    got = bytearray()
    with pytest.raises(GenerationGone) if not same else nullcontext():
        async with store.get(REF) as answer:
            assert isinstance(answer, GetResult)
            async for chunk in answer.chunks:
                got += chunk
    assert got == (ONE if same else ONE[:500])


# --- names and pages ----------------------------------------------------------------------------------------------


async def test_buckets_and_prefixes_of_a_replica_are_translated_both_ways(clock: ManualClock) -> None:
    world = World(clock)
    there = Replica("b", world.stores[1], clock, lambda bucket: Place("other", "copy/") if bucket == "b" else None)
    store = Failover([world.replicas[0], there], identity="declared", budget=world.budget, clock=clock)
    world.a.error = REFUSED
    world.b.put(ObjectRef("b", "other", "copy/k"), ONE)
    found = await store.head(REF)
    assert isinstance(found, ObjectMeta)
    assert found.ref == REF
    page = await store.list_page(REF._replace(key=""))
    assert [each.key for each in page.objects] == ["k"]


async def test_pages_come_from_one_replica(clock: ManualClock) -> None:
    world = World(clock, identity="declared")
    for origin in (world.a, world.b):
        origin._page_entries = 2
        for number in range(5):
            origin.write(ONE, key=f"k{number}")
    world.a.error = REFUSED
    below = REF._replace(key="")
    first = await world.store.list_page(below)
    world.a.error = None
    asked = requests(world.a)
    second = await world.store.list_page(below, at=first.next)
    assert [each.key for each in (*first.objects, *second.objects)] == ["k0", "k1", "k2", "k3"]
    assert requests(world.a) == asked


async def test_the_listing_of_a_copy_is_believed_as_little_as_its_404(world: World) -> None:
    world.a.write(ONE)
    world.a.write(ONE, key="new")
    world.b.write(ONE)
    below = REF._replace(key="")
    await world.kill(world.a)
    before, asked = world.budget.balance, requests(world.b)
    with pytest.raises(Unavailable):
        await world.store.list_page(below)
    assert requests(world.b) == asked
    assert world.budget.balance == before


async def test_another_prefix_at_a_replica_is_another_version(clock: ManualClock) -> None:
    world = World(clock)
    world.a.put(ObjectRef("a", "b", "v1/k"), ONE, e_tag=ETag("same"))
    world.a.put(ObjectRef("a", "b", "v2/k"), TWO, e_tag=ETag("same"))
    sets = [
        Failover(
            [Replica("a", world.stores[0], clock, lambda bucket, prefix=prefix: Place(bucket, prefix))],
            identity="declared",
            budget=world.budget,
            clock=clock,
        )
        for prefix in ("v1/", "v2/")
    ]
    before = await sets[0].head(REF)
    assert isinstance(before, ObjectMeta)
    assert sets[0].vouches_for(before)
    assert not sets[1].vouches_for(before)
    with pytest.raises(GenerationGone):
        async with sets[1].get(REF, if_match=before):
            pass
    async with sets[0].get(REF, if_match=before) as answer:
        assert isinstance(answer, GetResult)


async def test_a_name_that_no_object_can_have_at_a_replica_is_no_failed_probe(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.kill(world.a)
    world.a.error = BadRequest("no object has such a name here")  # type: ignore[assignment]
    world.b.write(ONE)
    world.clock.shift(60)
    assert await world.read() == ONE
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await world.store.aclose()
    assert world.a.requests[-1].purpose == "failover"
    assert not [each for each in caplog.records if each.levelname == "ERROR"]
