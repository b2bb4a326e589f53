"""What is fetched ahead of readers, and when it stops. Counted on the origin's own log."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import pytest

from rangecache.testing.clock import ManualClock
from rangecache.testing.faults import Status
from rangecache.testing.objects import Stamped, check_stamped, stamped
from tests.edge.rig import BLOCK, Rig, running, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from rangecache.telemetry import Counter
    from tests.edge.client import Client

BLOCKS: Final = 1024
SIZE: Final = BLOCKS * BLOCK
DATA: Final = stamped("k", 1, SIZE)
KIB: Final = 1024
MIB: Final = 1024 * KIB


def blocks_of(ranges: Iterable[str | None]) -> list[int]:
    """Every block that was asked for, once for each time."""
    found: list[int] = []
    for asked in ranges:
        first, _, last = (asked or "").removeprefix("bytes=").partition("-")
        found += range(int(first) // BLOCK, min(int(last), SIZE - 1) // BLOCK + 1)
    return found


@asynccontextmanager
async def prefetching(max_window: int = 16 * BLOCK, **sections: dict[str, object]) -> AsyncIterator[Rig]:
    """A rig whose object `k` is read over one connection."""
    prefetch = {"max_window": max_window, "memory": 64 * BLOCK}
    fetch = {"prefetch": prefetch, "max_request": 8 * BLOCK, **sections.pop("fetch", {})}
    async with running(fetch=fetch, **sections) as rig:
        rig.origin.put("b/k", DATA)
        yield rig


async def read(rig: Rig, client: Client, start: int, length: int = 100, key: str = "k") -> str:
    """One read, checked; then everything that it has set off comes to rest. Gives what Cache-Status says."""
    answer = await client.get(f"/web/b/{key}", f"Range: bytes={start}-{start + length - 1}")
    assert answer.status == 206
    assert answer.body == DATA[start : start + length]
    await rest(rig)
    return answer.cache


async def rest(rig: Rig) -> None:
    """Everything that can arrive has arrived."""
    await until(lambda: not len(rig.program.fetcher))


def counted(rig: Rig) -> tuple[float, float]:
    """Blocks that were used, and wasted."""
    blocks = rig.program.metrics.prefetch_blocks
    return blocks.total(outcome="used"), blocks.total(outcome="wasted")


def asked_for(rig: Rig, purpose: str) -> float:
    return rig.program.metrics.origin_requests.total(purpose=purpose)


async def test_small_reads_through_64_mib_cost_two_dozen_requests_and_each_byte_once() -> None:
    size, piece = 64 * MIB, 16 * KIB
    fetch = {"prefetch": {"max_window": 16 * MIB, "memory": 64 * MIB}}
    cache = {"block_size": 256 * KIB, "memory": {"size": 256 * MIB}}
    async with running(fetch=fetch, cache=cache) as rig:
        rig.origin.put("b/long", Stamped("long", 1, size), etag='"1"')
        client = await rig.connect()
        for start in range(0, size, piece):
            answer = await client.get("/web/b/long", f"Range: bytes={start}-{start + piece - 1}")
            assert len(answer.body) == piece
            check_stamped(answer.body, start, "long")
        assert len(rig.asked()) <= 24
        assert rig.origin.log.body_bytes() == size
        used, wasted = counted(rig)
        assert (used, wasted) == (size // (256 * KIB) - 3, 0), "all but those of the first three reads that count"


@pytest.mark.parametrize("step", [BLOCK, -BLOCK, 5 * BLOCK, -5 * BLOCK])
async def test_a_reader_with_a_way_finds_his_blocks_there_and_each_is_asked_for_once(step: int) -> None:
    async with prefetching() as rig:
        client = await rig.connect()
        first = 512 * BLOCK
        said = [await read(rig, client, first + number * step) for number in range(60)]
        early = 4 if abs(step) == BLOCK else 6
        assert ["detail=prefetched" in each for each in said] == [False] * (early - 1) + [True] * (61 - early)
        asked = blocks_of(rig.asked("k"))
        assert len(asked) == len(set(asked))
        used, wasted = counted(rig)
        assert (used, wasted) == (61 - early, 0)
        assert used <= len(asked) - (early - 1) <= used + 16


async def test_what_was_fetched_ahead_counts_as_a_miss_once_and_then_as_a_hit() -> None:
    async with prefetching() as rig:
        client = await rig.connect()
        for index in range(6):
            await read(rig, client, index * BLOCK)
        requests, served = rig.program.metrics.requests, rig.program.metrics.served_bytes
        before = [requests.total(cache="miss"), requests.total(cache="hit"), *map(_total(served), _SOURCES)]
        assert "fwd=uri-miss" in await read(rig, client, 6 * BLOCK)
        assert "hit" in await read(rig, client, 6 * BLOCK)
        after = [requests.total(cache="miss"), requests.total(cache="hit"), *map(_total(served), _SOURCES)]
        assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1, 100, 100]


_SOURCES: Final = ("origin", "memory")


def _total(counter: Counter) -> Callable[[str], float]:
    return lambda source: counter.total(source=source)


async def test_random_reads_cost_what_they_cost_without() -> None:
    drawn = random.Random(7)
    async with prefetching() as rig:
        client = await rig.connect()
        wanted = [drawn.randrange(BLOCKS) for _ in range(150)]
        for index in wanted:
            await read(rig, client, index * BLOCK)
        assert asked_for(rig, "prefetch") == 0
        assert sorted(blocks_of(rig.asked("k"))) == sorted(set(wanted))


async def test_a_jump_begins_with_one_block_again() -> None:
    async with prefetching() as rig:
        client = await rig.connect()
        for index in range(20):
            await read(rig, client, index * BLOCK)
        rig.origin.log.clear()
        for index in range(600, 603):
            await read(rig, client, index * BLOCK)
        assert blocks_of(rig.asked("k")) == [600, 601, 602, 603]


async def test_a_block_that_is_wanted_while_it_is_fetched_ahead_is_asked_for_once() -> None:
    async with prefetching() as rig:
        client = await rig.connect()
        for index in range(2):
            await read(rig, client, index * BLOCK)
        gate = rig.origin.hold("b/k", when=lambda request: request.range == f"bytes={3 * BLOCK}-{4 * BLOCK - 1}")
        answer = await client.get("/web/b/k", f"Range: bytes={2 * BLOCK}-{2 * BLOCK + 9}")
        assert answer.status == 206
        await gate.reached()
        client.send("/web/b/k", f"Range: bytes={3 * BLOCK}-{3 * BLOCK + 99}")
        await until(lambda: rig.program.port.answers)
        gate.release()
        answer = await client.answer()
        assert answer.body == DATA[3 * BLOCK : 3 * BLOCK + 100]
        assert "collapsed" in answer.cache
        await rest(rig)
        assert blocks_of(rig.asked("k")).count(3) == 1


async def test_what_failed_ahead_is_asked_for_by_the_reader_himself_and_nothing_more_is_fetched_ahead() -> None:
    async with prefetching() as rig:
        client = await rig.connect()
        for index in range(2):
            await read(rig, client, index * BLOCK)
        ahead = f"bytes={3 * BLOCK}-{4 * BLOCK - 1}"
        gate = rig.origin.hold("b/k", when=lambda request: request.range == ahead)
        rig.origin.fail("b/k", Status(500), when=lambda request: request.range == ahead)
        await client.get("/web/b/k", f"Range: bytes={2 * BLOCK}-{2 * BLOCK + 9}")
        await gate.reached()
        client.send("/web/b/k", f"Range: bytes={3 * BLOCK}-{3 * BLOCK + 99}")  # he waits for it now
        await until(lambda: rig.program.port.answers)
        gate.release()
        assert (await client.answer()).body == DATA[3 * BLOCK : 3 * BLOCK + 100]
        for index in range(4, 8):
            await read(rig, client, index * BLOCK)
        assert asked_for(rig, "retry") == 0, "what is fetched ahead is never repeated"
        assert asked_for(rig, "prefetch") == 2, "the one that failed, and what was under way by then"
        assert counted(rig)[1] == 0, "what did not come is not wasted"


@pytest.mark.parametrize("status", [429, 503])
async def test_nothing_is_fetched_ahead_of_a_provider_that_asks_for_less_until_it_has_cooled_down(status: int) -> None:
    clock = ManualClock()
    async with prefetching(clock=clock) as rig:  # type: ignore[arg-type]
        client = await rig.connect()
        for index in range(2):
            await read(rig, client, index * BLOCK)
        rig.origin.put("b/other", b"x")
        rig.origin.fail("b/other", Status(status))
        other = asyncio.create_task(rig.get("other"))
        await until(lambda: rig.origin.log.count("b/other"))
        while not other.done():
            await clock.advance(0.5)
        assert (await other).status == 200
        for index in range(2, 20):
            await read(rig, client, index * BLOCK)
        assert asked_for(rig, "prefetch") == 0
        await clock.advance(31)
        for index in range(20, 24):
            await read(rig, client, index * BLOCK)
        assert asked_for(rig, "prefetch") > 0


async def test_a_client_who_leaves_in_the_middle_takes_what_was_on_its_way_for_him_along() -> None:
    async with prefetching(max_window=64 * BLOCK, fetch={"max_request": 64 * BLOCK}) as rig:
        client = await rig.connect()
        for start in range(0, 2 * 32 * BLOCK, 32 * BLOCK):
            await client.get("/web/b/k", f"Range: bytes={start}-{start + 32 * BLOCK - 1}")
            await rest(rig)
        asked = len(rig.asked())
        gate = rig.origin.hold("b/k", times=None, after_bytes=0)
        client.send("/web/b/k", f"Range: bytes={2 * 32 * BLOCK}-{3 * 32 * BLOCK - 1}")
        await until(lambda: len(rig.asked()) == asked + 2)
        unused = rig.program.prefetcher.unused_bytes
        client.close()
        cancelled = rig.program.metrics.origin_requests
        await until(lambda: cancelled.total(purpose="prefetch", outcome="cancelled") == 1)
        gate.release()
        await rest(rig)
        assert rig.program.prefetcher.unused_bytes < unused


async def test_what_a_reader_left_behind_counts_as_wasted_when_he_has_been_away_for_long() -> None:
    clock = ManualClock()
    async with prefetching(clock=clock) as rig:  # type: ignore[arg-type]
        client = await rig.connect()
        for index in range(20):
            await read(rig, client, index * BLOCK)
        unused = rig.program.prefetcher.unused_bytes // BLOCK
        assert unused > 4
        used, _ = counted(rig)
        await clock.advance(31)
        rig.origin.put("b/other", b"x")
        await rig.get("other")
        assert counted(rig) == (used, unused)
        assert rig.program.prefetcher.unused_bytes == 0


async def test_who_mostly_reads_three_neighbours_and_jumps_is_believed_ever_less() -> None:
    drawn = random.Random(3)
    async with prefetching() as rig:
        client = await rig.connect()
        for place in drawn.sample(range(0, BLOCKS - 8, 8), 60):
            for index in range(place, place + 3):
                await read(rig, client, index * BLOCK)
        used, wasted = counted(rig)
        assert used == 0
        assert 0 < wasted + rig.program.prefetcher.unused_bytes // BLOCK < 30, "of 60 that would have been in vain"


async def test_what_nobody_has_come_for_is_bounded_over_all_objects() -> None:
    async with prefetching(max_window=1024 * BLOCK) as rig:
        rig.program.prefetcher._memory_bytes = limit = 24 * BLOCK
        most = 0
        clients = [await rig.connect() for _ in range(6)]
        for number in range(6):
            rig.origin.put(f"b/k{number}", DATA)
        for index in range(60):
            for number, client in enumerate(clients):
                await read(rig, client, index * BLOCK, key=f"k{number}")
                most = max(most, rig.program.prefetcher.unused_bytes)
        assert 16 * BLOCK < most <= limit


async def test_with_a_window_of_nothing_nothing_is_fetched_ahead() -> None:
    async with prefetching(max_window=0) as rig:
        client = await rig.connect()
        for index in range(20):
            await read(rig, client, index * BLOCK)
        assert blocks_of(rig.asked("k")) == list(range(20))
