"""Reads here and there: what lies around them comes with them, as far as it pays, by the origin's own log."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rangecache.errors import BodyCut
from rangecache.ranges import ByteRange
from rangecache.read.density import LATE_READS, READS_MIN, Density
from rangecache.testing.objects import stamped
from tests.read.conftest import BLOCK, REF, Cache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rangecache.origin.memory import MemoryRequest

TILE_BLOCKS = 2
TILES = 100


def _cache(make_cache: type[Cache], window_blocks: int = 16) -> tuple[Cache, bytes]:
    cache = make_cache(max_window_bytes=window_blocks * BLOCK, run_blocks=16)
    data = stamped("k", 1, 2 * TILES * TILE_BLOCKS * BLOCK)
    cache.origin.put(REF, data)
    return cache, data


async def _read(cache: Cache, data: bytes, tiles: Iterable[int]) -> None:
    for tile in tiles:
        start, end = tile * TILE_BLOCKS * BLOCK, (tile + 1) * TILE_BLOCKS * BLOCK
        assert await cache.read(f"bytes={start}-{end - 1}") == data[start:end]
        while len(cache.background):
            await asyncio.sleep(0)


def _scattered(tiles: Iterable[int]) -> list[int]:
    found = list(tiles)
    random.Random(5).shuffle(found)
    return found


def _brought(cache: Cache) -> int:
    return sum(each.range.length for each in cache.origin.requests if isinstance(each.range, ByteRange))


async def test_tiles_of_one_region_in_no_order_cost_a_fifth_of_their_requests_less_and_few_bytes_more(
    make_cache: type[Cache],
) -> None:
    cache, data = _cache(make_cache)
    await _read(cache, data, _scattered(range(TILES)))
    assert cache.origin.request_count <= TILES * 4 // 5
    assert _brought(cache) <= 1.1 * TILES * TILE_BLOCKS * BLOCK


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5, 0.75])
async def test_whatever_share_of_an_object_is_read_it_costs_no_request_more_and_half_of_the_bytes_at_the_most(
    make_cache: type[Cache], share: float
) -> None:
    tiles = _scattered(range(2 * TILES))[: int(2 * TILES * share)]
    without, data = _cache(make_cache, window_blocks=0)
    await _read(without, data, tiles)
    cache, data = _cache(make_cache)
    await _read(cache, data, tiles)
    assert cache.origin.request_count <= without.origin.request_count
    assert _brought(cache) <= 1.5 * _brought(without)


async def test_what_a_few_reads_leave_out_is_not_fetched(make_cache: type[Cache]) -> None:
    cache, data = _cache(make_cache)
    await _read(cache, data, [0, 10, 30, 60, 100, 150])
    assert _brought(cache) == 6 * TILE_BLOCKS * BLOCK


async def test_what_lies_around_is_asked_for_in_the_very_get_of_the_read(make_cache: type[Cache]) -> None:
    cache, data = _cache(make_cache)
    await _read(cache, data, [90, 11, 17, 13, 19, 15])
    ranges = [each.range for each in cache.origin.requests]
    tile_bytes = TILE_BLOCKS * BLOCK
    assert len(ranges) == 6
    assert ranges[-1] == ByteRange(14 * tile_bytes, 17 * tile_bytes), "the tile, and those to its left and right"
    await _read(cache, data, [14, 16])
    assert len(cache.origin.requests) == 6
    assert cache.metrics.prefetch_blocks.cell("used").value == 2 * TILE_BLOCKS


async def test_a_get_that_was_made_longer_and_fails_is_struck_from_the_books(make_cache: type[Cache]) -> None:
    cache, data = _cache(make_cache)
    await _read(cache, data, [90, 11, 17, 13, 19])

    async def fail(request: MemoryRequest) -> None:
        raise BodyCut("the connection broke off")

    cache.origin.before_answer = fail
    with pytest.raises(BodyCut):
        await _read(cache, data, [15])
    while len(cache.background):
        await asyncio.sleep(0)
    assert cache.prefetcher.unused_bytes == 0
    assert cache.metrics.prefetch_blocks.total() == 0


def test_a_region_of_which_the_rest_is_never_read_is_given_up() -> None:
    density = Density(BLOCK, 16 * BLOCK)
    planned = 0
    for number in range(4 * LATE_READS):
        for index in list(density.late()):
            density.settle(index, used=False)
        found = _plan(density, range(10 * number + 4, 10 * number + 5))
        density.pending.update(dict.fromkeys(found))
        planned = number if found else planned
    assert density.stopped
    assert planned <= READS_MIN + 2 * LATE_READS


@given(st.lists(st.tuples(st.integers(0, 199), st.integers(1, 16), st.integers(1, BLOCK)), max_size=60))
def test_never_more_is_fetched_for_what_was_asked_for_than_the_bound(reads: list[tuple[int, int, int]]) -> None:
    density = Density(BLOCK, 16 * BLOCK)
    asked = brought = 0
    for start, length, left_out in reads:
        run = range(start, min(start + length, 200))
        asked += len(run) * BLOCK - left_out
        brought += len(run) * BLOCK
        planned = density.plan(len(run) * BLOCK - left_out, run, 200, lambda _: True, lambda _: False, 100)
        brought += len(planned) * BLOCK
        assert not set(planned) & set(run)
        assert all(0 <= index < 200 for index in planned)
        assert len(planned) + len(run) <= 16 or not planned
        assert not planned or brought <= 1.75 * asked


class Surroundings:
    """An object of 200 blocks and what is planned around reads of it, after `reads` others; much was asked for."""

    def __init__(self, reads: int = 4, asked_blocks: int = 1000) -> None:
        self.density = Density(BLOCK, 16 * BLOCK)
        self.density.used_by(asked_blocks * BLOCK)
        for _ in range(reads):
            assert not self.around(range(50, 51))

    def around(
        self, run: range, *, here: Callable[[int], bool] = lambda _: True, coming: range = range(0), room: int = 100
    ) -> list[int]:
        return list(self.density.plan(len(run) * BLOCK, run, 200, here, coming.__contains__, room))


def test_around_a_block_there_are_three_more_and_two_of_them_before_it() -> None:
    assert Surroundings().around(range(50, 51)) == [51, 52, 53]
    assert Surroundings().around(range(50, 51), coming=range(52, 200)) == [48, 49, 51]
    assert Surroundings().around(range(50, 51), coming=range(51, 200)) == [48, 49]
    assert Surroundings().around(range(50, 51), coming=range(49)) == [49, 51, 52]


def test_no_more_is_planned_than_there_is_room_for_and_than_a_get_may_have() -> None:
    assert len(Surroundings().around(range(50, 51), room=1)) == 1
    assert len(Surroundings().around(range(50, 65))) == 1
    assert len(Surroundings().around(range(50, 66))) == 0
    # Of 8 blocks asked for 14 may be fetched, and 8 of them are; of 5 no more than 8.
    assert len(Surroundings(asked_blocks=0).around(range(50, 54))) == 6
    assert len(Surroundings(asked_blocks=-3).around(range(50, 54))) == 0


@pytest.mark.parametrize(
    ("of_ten", "used", "wasted", "planned"),
    [
        (4, 0, 0, True),
        (3, 0, 0, False),
        (3, 7, 0, False),
        (3, 8, 0, True),
        (3, 8, 2, True),
        (3, 8, 3, False),
        (1, 8, 0, False),
    ],
)
def test_how_much_has_to_be_here_depends_on_what_was_used(of_ten: int, used: int, wasted: int, planned: bool) -> None:
    around = Surroundings()
    for index, was_used in enumerate([True] * used + [False] * wasted):
        around.density.pending[index] = None
        around.density.settle(index, used=was_used)
    assert bool(around.around(range(40, 50), here=lambda index: index % 10 < of_ten)) is planned


def test_who_does_not_come_within_64_reads_is_late() -> None:
    around = Surroundings()
    planned = around.around(range(50, 51))
    around.density.pending.update(dict.fromkeys(planned))
    for _ in range(64):
        assert not list(around.density.late())
        around.around(range(150, 151), coming=range(200))
    assert not list(around.density.late())
    around.around(range(150, 151), coming=range(200))
    assert list(around.density.late()) == planned


def _plan(density: Density, run: range) -> list[int]:
    asked_bytes = len(run) * BLOCK
    return list(density.plan(asked_bytes, run, 10**6, lambda index: index % 2 == 0, lambda index: index % 2 == 0, 100))
