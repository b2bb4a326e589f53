"""Which version answers: fresh, stale within its grace, or asked for, and who waits for the origin."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from rangecache.errors import BudgetExhausted, InvalidAnswer, NotCached, NotFound, PermissionDenied, Unavailable
from rangecache.model import ObjectRef
from rangecache.read.revalidation import DOWN_S, OBJECTS_DOWN, PAUSE_MAX_S, PAUSE_S
from rangecache.testing.objects import stamped
from tests.read.conftest import BLOCK, REF, Cache, drain

if TYPE_CHECKING:
    from rangecache.errors import RangecacheError
    from rangecache.origin.memory import MemoryRequest

DATA = stamped("k", 1, 3 * BLOCK)


def put(cache: Cache, cache_control: str = "max-age=60", *, version: int = 1, ref: ObjectRef = REF) -> bytes:
    data = stamped(ref.key, version, 3 * BLOCK)
    cache.origin.put(ref, data, headers={"cache-control": cache_control})
    return data


async def outcome(cache: Cache, cache_control: str | None = None, ref: ObjectRef = REF) -> str:
    """Of one small read, whose bytes are those of some version."""
    reply = await cache.open("bytes=0-9", ref, cache_control=cache_control)
    assert len(await drain(reply)) == 10
    return reply.cache.outcome


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


class Outage:
    """Makes every request of the origin fail, until it is over."""

    def __init__(self, cache: Cache, error: RangecacheError | None = None) -> None:
        self.asked = 0
        self._cache = cache
        self._error = error or Unavailable("the origin is down")
        cache.origin.before_answer = self._fail

    async def _fail(self, request: MemoryRequest) -> None:
        self.asked += 1
        raise self._error

    def end(self) -> None:
        self._cache.origin.before_answer = None


class Stall:
    """Lets the origin answer nothing, until it is over."""

    def __init__(self, cache: Cache) -> None:
        self.asked = 0
        self._over = asyncio.Event()
        cache.origin.before_answer = self._wait

    async def _wait(self, request: MemoryRequest) -> None:
        self.asked += 1
        await self._over.wait()

    def end(self) -> None:
        self._over.set()


# --- stale-while-revalidate -------------------------------------------------------------------------------------------


async def test_the_origin_says_how_long_it_may_be_stale_while_it_is_asked(make_cache: type[Cache]) -> None:
    cache = make_cache(ttl="origin")
    put(cache, "max-age=60, stale-while-revalidate=30")
    await cache.read()
    put(cache, "max-age=60", version=2)
    await cache.clock.advance(89)
    reply = await cache.open("bytes=0-9")
    assert (reply.cache.outcome, reply.cache.hit, reply.cache.ttl_s) == ("stale", True, -30)
    assert await drain(reply) == DATA[:10]
    await settle()
    assert await cache.read("bytes=0-9") == stamped("k", 2, 10)
    assert [request.purpose for request in cache.origin.requests] == ["demand", "revalidate"]


@pytest.mark.parametrize("cache_control", ["max-age=60", "max-age=60, stale-while-revalidate=5"])
async def test_beyond_what_the_origin_allows_it_is_asked_first(make_cache: type[Cache], cache_control: str) -> None:
    cache = make_cache(ttl="origin")
    put(cache, cache_control)
    await cache.read()
    await cache.clock.advance(65)
    assert await outcome(cache) == "revalidated"


async def test_what_is_never_fresh_may_be_stale_if_the_origin_says_so(make_cache: type[Cache]) -> None:
    cache = make_cache(ttl="origin")
    put(cache, "max-age=0, stale-while-revalidate=3600")
    await cache.read()
    assert await outcome(cache) == "stale"


@pytest.mark.parametrize("directive", ["must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=60"])
async def test_staleness_that_is_forbidden_is_forbidden_to_everybody(make_cache: type[Cache], directive: str) -> None:
    cache = make_cache(ttl="origin", stale_while_revalidate_s=1000, stale_if_error_s=1000)
    put(cache, f"max-age=60, {directive}")
    await cache.read()
    await cache.clock.advance(61)
    outage = Outage(cache)
    for wish in (None, "max-stale", "stale-if-error=1000"):
        with pytest.raises(Unavailable):
            await cache.read("bytes=0-9", cache_control=wish)
    assert outage.asked == 3


async def test_no_read_waits_for_a_revalidation_in_the_background(make_cache: type[Cache]) -> None:
    cache = make_cache(stale_while_revalidate_s=10)
    put(cache)
    await cache.read()
    await cache.clock.advance(65)
    stall = Stall(cache)
    async with asyncio.timeout(10):
        assert [await outcome(cache) for _ in range(20)] == ["stale"] * 20
        await settle()
    assert stall.asked == 1
    stall.end()
    await settle()
    assert await outcome(cache) == "hit"


async def test_revalidations_in_the_background_are_bounded(
    make_cache: type[Cache], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rangecache.read.revalidation.RUNNING_MAX", 3)
    cache = make_cache(stale_while_revalidate_s=10)
    refs = [ObjectRef("mem", "b", f"k{i}") for i in range(10)]
    for ref in refs:
        put(cache, ref=ref)
        await cache.read(ref=ref)
    await cache.clock.advance(65)
    stall = Stall(cache)
    assert {await outcome(cache, ref=ref) for ref in refs} == {"stale"}
    await settle()
    assert stall.asked == 3
    stall.end()
    await settle()
    assert [await outcome(cache, ref=ref) for ref in refs] == ["hit"] * 3 + ["stale"] * 7


async def test_a_revalidation_that_failed_is_repeated_ever_more_seldom(make_cache: type[Cache]) -> None:
    cache = make_cache(ttl=1.0, stale_while_revalidate_s=10_000)
    put(cache)
    await cache.read()
    await cache.clock.advance(2)
    outage = Outage(cache)
    asked_at = []
    for second in range(200):
        before = outage.asked
        for _ in range(3):
            assert await outcome(cache) == "stale"
            await settle()
        if outage.asked > before:
            asked_at.append(second)
        assert outage.asked - before <= 1
        await cache.clock.advance(1)
    pauses = [later - sooner for sooner, later in pairwise(asked_at)]
    assert pauses[:4] == [PAUSE_S, 2 * PAUSE_S, 4 * PAUSE_S, 8 * PAUSE_S]
    assert set(pauses[5:]) == {PAUSE_MAX_S}
    outage.end()
    await cache.clock.advance(PAUSE_MAX_S)
    await outcome(cache)
    await settle()
    assert await outcome(cache) == "hit"


@pytest.mark.parametrize(
    ("error", "raised"), [(PermissionDenied("no"), PermissionDenied), (NotFound("gone"), NotFound)]
)
async def test_an_origin_that_says_no_in_the_background_is_believed(
    make_cache: type[Cache], error: RangecacheError, raised: type[RangecacheError]
) -> None:
    cache = make_cache(stale_while_revalidate_s=1000, stale_if_error_s=1000)
    put(cache)
    await cache.read()
    await cache.clock.advance(65)
    Outage(cache, error)
    assert await outcome(cache) == "stale"
    await settle()
    with pytest.raises(raised):
        await cache.read("bytes=0-9")


async def test_an_object_that_must_no_longer_be_stored_is_let_go_in_the_background(make_cache: type[Cache]) -> None:
    cache = make_cache(ttl="origin")
    put(cache, "max-age=1, stale-while-revalidate=100")
    await cache.read()
    await cache.clock.advance(2)
    put(cache, "no-store", version=2)
    assert await outcome(cache) == "stale"
    await settle()
    assert await cache.read("bytes=0-9") == stamped("k", 2, 10)
    assert await outcome(cache) == "bypass"


# --- stale-if-error ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [Unavailable("503"), BudgetExhausted("spent")])
async def test_the_origin_says_how_long_it_may_be_stale_where_it_fails(
    make_cache: type[Cache], error: RangecacheError
) -> None:
    cache = make_cache(ttl="origin", stale_if_error_s=100_000)
    put(cache, "max-age=60, stale-if-error=100")
    await cache.read()
    Outage(cache, error)
    await cache.clock.advance(159)
    assert await outcome(cache) == "stale"
    await cache.clock.advance(2)
    with pytest.raises(type(error)):
        await cache.read("bytes=0-9")


@pytest.mark.parametrize("error", [PermissionDenied("403"), NotFound("404"), InvalidAnswer("nonsense")])
async def test_an_answer_is_no_error_that_excuses_staleness(make_cache: type[Cache], error: RangecacheError) -> None:
    cache = make_cache(stale_if_error_s=1000)
    put(cache)
    await cache.read()
    await cache.clock.advance(61)
    Outage(cache, error)
    with pytest.raises(type(error)):
        await cache.read("bytes=0-9")


async def test_while_the_origin_is_down_only_the_first_read_waits_for_it(make_cache: type[Cache]) -> None:
    cache = make_cache(stale_if_error_s=1000)
    put(cache)
    await cache.read()
    await cache.clock.advance(61)
    outage = Outage(cache)
    assert await outcome(cache) == "stale"
    assert outage.asked == 1
    stall = Stall(cache)  # whoever asks now does not come back
    async with asyncio.timeout(10):
        assert [await outcome(cache) for _ in range(5)] == ["stale"] * 5
        assert stall.asked == 0
        await cache.clock.advance(PAUSE_S)
        assert [await outcome(cache) for _ in range(5)] == ["stale"] * 5
        await settle()
    assert stall.asked == 1
    stall.end()
    await settle()
    assert await outcome(cache) == "hit"


async def test_a_failure_is_forgotten_after_a_while(make_cache: type[Cache]) -> None:
    cache = make_cache(stale_if_error_s=1000)
    put(cache)
    await cache.read()
    await cache.clock.advance(61)
    Outage(cache)
    assert await outcome(cache) == "stale"
    cache.origin.before_answer = None
    await cache.clock.advance(DOWN_S + 1)
    assert await outcome(cache) == "revalidated"


async def test_an_answer_ends_what_was_remembered_of_a_failure(make_cache: type[Cache]) -> None:
    cache = make_cache(ttl=10.0, stale_if_error_s=1000)
    put(cache)
    await cache.read()
    await cache.clock.advance(11)
    Outage(cache)
    assert await outcome(cache) == "stale"
    cache.origin.before_answer = None
    assert await outcome(cache, "no-cache") == "revalidated"
    await cache.clock.advance(11)
    assert await outcome(cache) == "revalidated"


async def test_nonsense_in_the_background_is_no_outage(make_cache: type[Cache]) -> None:
    cache = make_cache(stale_while_revalidate_s=10, stale_if_error_s=1000)
    put(cache)
    await cache.read()
    await cache.clock.advance(65)
    outage = Outage(cache, InvalidAnswer("nonsense"))
    for _ in range(3):
        assert await outcome(cache) == "stale"
        await settle()
    assert outage.asked == 1
    await cache.clock.advance(6)
    with pytest.raises(InvalidAnswer):
        await cache.read("bytes=0-9")


async def test_failures_are_remembered_within_a_bound(make_cache: type[Cache], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rangecache.read.revalidation.TROUBLED_BYTES", 2 * 600)
    monkeypatch.setattr("rangecache.read.revalidation.OBJECTS_DOWN", 100)
    cache = make_cache(stale_if_error_s=1000)
    refs = [ObjectRef("mem", "b", f"k{i}") for i in range(6)]
    for ref in refs:
        put(cache, ref=ref)
        await cache.read(ref=ref)
    await cache.clock.advance(61)
    outage = Outage(cache)
    for ref in refs:
        assert await outcome(cache, ref=ref) == "stale"
    outage.end()
    assert [await outcome(cache, ref=ref) for ref in refs] == ["revalidated"] * 4 + ["stale"] * 2


async def test_several_objects_that_fail_are_a_provider_that_is_down(make_cache: type[Cache]) -> None:
    cache = make_cache(stale_if_error_s=1000)
    refs = [ObjectRef("mem", "b", f"k{i}") for i in range(OBJECTS_DOWN + 2)]
    for ref in refs:
        put(cache, ref=ref)
        await cache.read(ref=ref)
    await cache.clock.advance(61)
    outage = Outage(cache)
    for ref in refs[:OBJECTS_DOWN]:
        assert await outcome(cache, ref=ref) == "stale"
    assert outage.asked == OBJECTS_DOWN
    stall = Stall(cache)
    async with asyncio.timeout(10):
        assert await outcome(cache, ref=refs[-2]) == "stale"
    stall.end()
    await settle()
    # It has answered once: others ask first again.
    assert await outcome(cache, ref=refs[-1]) == "revalidated"


# --- what a client asks for -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ttl", [3600.0, "immutable", "origin"])
@pytest.mark.parametrize(
    ("wish", "found"),
    [
        ("no-cache", "revalidated"),
        ("no-store", "revalidated"),
        ("max-age=0", "revalidated"),
        ("max-age=99", "revalidated"),
        ("max-age=100", "hit"),
        ("max-age=x", "revalidated"),
        ("max-stale", "hit"),
        ("foo=bar", "hit"),
    ],
)
async def test_a_client_can_ask_for_a_younger_answer(
    make_cache: type[Cache], ttl: float, wish: str, found: str
) -> None:
    cache = make_cache(ttl=ttl)
    put(cache, "max-age=3600")
    await cache.read()
    await cache.clock.advance(100)
    assert await outcome(cache, wish) == found
    assert cache.origin.request_count == 1 + (found == "revalidated")  # never for the bytes


@pytest.mark.parametrize(("wish", "found"), [("min-fresh=40", "hit"), ("min-fresh=41", "revalidated")])
async def test_a_client_can_ask_for_an_answer_that_stays_fresh(make_cache: type[Cache], wish: str, found: str) -> None:
    cache = make_cache(ttl="origin")
    put(cache, "max-age=60")
    await cache.read()
    await cache.clock.advance(20)
    assert await outcome(cache, wish) == found


@pytest.mark.parametrize(
    ("wish", "found"),
    [
        ("max-stale", "stale"),
        ("max-stale=40", "stale"),
        ("max-stale=39", "revalidated"),
        ("max-stale, max-age=99", "revalidated"),
        ("max-stale, max-age=100", "stale"),
        ("max-stale, only-if-cached", "stale"),
    ],
)
async def test_a_client_can_take_a_stale_answer(make_cache: type[Cache], wish: str, found: str) -> None:
    cache = make_cache(ttl="origin")
    put(cache, "max-age=60")
    await cache.read()
    await cache.clock.advance(100)
    assert await outcome(cache, wish) == found
    assert cache.origin.request_count == 1 + (found == "revalidated")


async def test_who_asks_for_a_younger_answer_takes_no_stale_one_unasked(make_cache: type[Cache]) -> None:
    cache = make_cache(stale_while_revalidate_s=1000)
    put(cache)
    await cache.read()
    await cache.clock.advance(65)
    assert await outcome(cache, "max-age=1000") == "revalidated"


async def test_who_asks_for_a_younger_answer_gets_the_fresh_one_if_the_origin_is_down(cache: Cache) -> None:
    put(cache)
    await cache.read()
    await cache.clock.advance(30)
    Outage(cache)
    assert await outcome(cache, "max-age=5") == "hit"
    with pytest.raises(Unavailable):
        await cache.read("bytes=0-9", cache_control="no-cache")


@pytest.mark.parametrize(("wish", "stale"), [("stale-if-error=40", False), ("stale-if-error=41", True)])
async def test_a_client_says_how_stale_it_may_be_where_the_origin_fails(
    make_cache: type[Cache], wish: str, stale: bool
) -> None:
    cache = make_cache(ttl="origin", stale_if_error_s=1000)
    put(cache, "max-age=60, stale-if-error=10")
    await cache.read()
    await cache.clock.advance(100)
    Outage(cache)
    if stale:
        assert await outcome(cache, wish) == "stale"
    else:
        with pytest.raises(Unavailable):
            await cache.read("bytes=0-9", cache_control=wish)


async def test_a_stale_version_is_not_what_only_if_cached_asks_for(cache: Cache) -> None:
    put(cache)
    await cache.read()
    await cache.clock.advance(61)
    with pytest.raises(NotCached):
        await cache.open("bytes=0-9", cache_control="only-if-cached")
    assert cache.origin.request_count == 1


@pytest.mark.parametrize(("wish", "asked"), [(None, 1), ("max-age=60", 1), ("only-if-cached", 1), ("no-cache", 2)])
async def test_a_client_can_have_an_absence_asked_about_again(cache: Cache, wish: str | None, asked: int) -> None:
    for each in (None, wish):
        with pytest.raises(NotFound):
            await cache.read(cache_control=each)
    assert cache.origin.request_count == asked


# --- parts ------------------------------------------------------------------------------------------------------------


async def test_a_part_that_is_fetched_renews_the_freshness_of_the_whole(make_cache: type[Cache]) -> None:
    cache = make_cache(gap_blocks=0, run_blocks=1)
    put(cache)
    await cache.read("bytes=0-9")
    await cache.clock.advance(50)
    assert await cache.read(f"bytes={2 * BLOCK}-{2 * BLOCK + 9}") == DATA[2 * BLOCK : 2 * BLOCK + 10]
    await cache.clock.advance(50)
    assert await outcome(cache) == "hit"
    assert [request.purpose for request in cache.origin.requests] == ["demand", "demand"]


async def test_a_part_that_must_not_be_stored_is_not_stored(make_cache: type[Cache]) -> None:
    cache = make_cache(ttl="origin", gap_blocks=0, run_blocks=1)
    put(cache, "max-age=60")
    await cache.read("bytes=0-9")
    put(cache, "no-store")
    reply = await cache.open(f"bytes={2 * BLOCK}-{2 * BLOCK + 9}")
    assert reply.cache.outcome == "bypass"
    assert await drain(reply) == DATA[2 * BLOCK : 2 * BLOCK + 10]
    known = cache.catalog.peek(REF)
    assert known is not None
    assert not cache.tiers.contains(known.block_key(2))
