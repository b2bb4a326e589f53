"""Objects that are opened as others of their kind were, or as they were before."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rangecache.model import ObjectRef
from rangecache.ranges import ByteRange
from rangecache.read.habits import KINDS_MAX, OBJECTS_MAX, PARDON_OPENINGS, Habits
from rangecache.read.known import Known
from rangecache.testing.objects import stamped
from tests.read.conftest import BLOCK, Cache

if TYPE_CHECKING:
    from collections.abc import Iterable


BLOCKS = 40
SIZE = BLOCKS * BLOCK - 100


def _known(cache: Cache, key: str, size: int = SIZE) -> Known:
    meta = cache.origin.put(ObjectRef("mem", "b", key), bytes(size))
    return Known(meta, BLOCK, 0.0, 1.0, 0.0, None)


def _open(habits: Habits, known: Known, places: Iterable[int]) -> list[int]:
    opening, expected = habits.begin(known)
    for index in places:
        opening.read(ByteRange(index * BLOCK, index * BLOCK + 10))
    return expected


def test_two_of_a_kind_are_needed_and_places_at_the_end_are_counted_from_there(cache: Cache) -> None:
    habits = Habits()
    assert _open(habits, _known(cache, "1.parquet"), [0, BLOCKS - 1]) == []
    assert _open(habits, _known(cache, "2.parquet"), [0, BLOCKS - 1]) == []
    assert _open(habits, _known(cache, "3.parquet", 7 * BLOCK), []) == [0, 6]
    assert _open(habits, _known(cache, "3.tif"), []) == []


def test_what_is_in_the_middle_is_expected_of_the_same_object_alone(cache: Cache) -> None:
    habits = Habits()
    for key in ("1.tif", "2.tif"):
        _open(habits, _known(cache, key), [0, 17])
    assert _open(habits, _known(cache, "3.tif"), []) == [0]
    assert _open(habits, _known(cache, "1.tif"), [0]) == [0, 17]
    assert _open(habits, _known(cache, "1.tif"), []) == [0], "the last time counts"


def test_only_the_first_few_short_reads_are_an_opening(cache: Cache) -> None:
    habits = Habits()
    opening, _ = habits.begin(_known(cache, "1.tif"))
    opening.read(ByteRange(0, 30 * BLOCK))
    for index in (0, 1, 2, 3):
        opening.read(ByteRange(index * BLOCK, index * BLOCK + 10))
    assert opening.done
    assert _open(habits, _known(cache, "1.tif"), []) == [0, 1, 2]


def test_a_habit_that_is_given_up_is_expected_no_more(cache: Cache) -> None:
    habits = Habits()
    for number in range(4):
        _open(habits, _known(cache, f"{number}.parquet"), [BLOCKS - 1])
    assert _open(habits, _known(cache, "4.parquet"), [0]) == [BLOCKS - 1]
    _open(habits, _known(cache, "5.parquet"), [0])
    assert _open(habits, _known(cache, "6.parquet"), [0]) == []


def test_what_was_fetched_for_nothing_stops_it_for_a_while(cache: Cache) -> None:
    habits = Habits()
    for number in range(4):
        opening, expected = habits.begin(_known(cache, f"{number}.parquet"))
        opening.read(ByteRange(SIZE - 10, SIZE))
    assert expected == [BLOCKS - 1]
    for index in range(4):
        opening.pending[index] = None
        opening.settle(index, used=False)
    for number in range(PARDON_OPENINGS):
        assert _open(habits, _known(cache, f"x{number}.parquet"), [BLOCKS - 1]) == []
    assert _open(habits, _known(cache, "y.parquet"), []) == [BLOCKS - 1]


def test_what_is_remembered_is_bounded(cache: Cache) -> None:
    habits, known = Habits(), _known(cache, "k")
    for number in range(OBJECTS_MAX + KINDS_MAX):
        ref = ObjectRef("mem", f"b{number}", "k")
        habits.begin(Known(known.meta.__class__(ref, 10, None, None, "v", "s"), BLOCK, 0.0, 1.0, 0.0, None))
    assert len(habits) == OBJECTS_MAX
    assert len(habits._kinds) == KINDS_MAX


def _stocked(cache: Cache, suffix: str, count: int = 6) -> list[ObjectRef]:
    refs = [ObjectRef("mem", "b", f"{number}{suffix}") for number in range(count)]
    for ref in refs:
        cache.origin.put(ref, stamped(ref.key, 1, SIZE))
    return refs


async def _rest(cache: Cache) -> None:
    while len(cache.background):
        await asyncio.sleep(0)


async def test_a_footer_comes_with_the_answer_to_a_head_once_two_files_were_opened_so(make_cache: type[Cache]) -> None:
    cache = make_cache(max_window_bytes=16 * BLOCK)
    costs = []
    for ref in _stocked(cache, ".parquet"):
        before = cache.origin.request_count
        await cache.open(ref=ref, head=True)
        await _rest(cache)
        assert await cache.read(f"bytes={SIZE - 800}-{SIZE - 1}", ref) == stamped(ref.key, 1, SIZE)[-800:]
        await _rest(cache)
        costs.append(cache.origin.request_count - before)
    assert costs == [2, 2, 1, 1, 1, 1]
    assert cache.asked[-1] == f"bytes=-{BLOCK}"


async def test_head_and_footer_are_asked_for_together_once_two_files_were_opened_so(make_cache: type[Cache]) -> None:
    cache = make_cache(max_window_bytes=16 * BLOCK)
    for number, ref in enumerate(_stocked(cache, ".nc")):
        before = cache.origin.request_count
        assert await cache.read("bytes=0-99", ref) == stamped(ref.key, 1, SIZE)[:100]
        await _rest(cache)
        at_once = cache.origin.request_count - before
        assert await cache.read(f"bytes={SIZE - 800}-{SIZE - 1}", ref) == stamped(ref.key, 1, SIZE)[-800:]
        assert at_once == (1 if number < 2 else 2)
        assert cache.origin.request_count - before == 2
    assert cache.metrics.prefetch_blocks.total(outcome="used") == 4
    assert cache.metrics.prefetch_blocks.total(outcome="wasted") == 0


async def test_the_header_of_a_new_version_of_a_file_comes_at_once(make_cache: type[Cache]) -> None:
    cache = make_cache(max_window_bytes=16 * BLOCK, ttl=1.0)
    ref, at_once = ObjectRef("mem", "b", "k.tif"), []
    for version in range(3):
        cache.origin.put(ref, data := stamped("k", version, SIZE))
        before = cache.origin.request_count
        for index in (0, 1, 9):
            start = index * BLOCK
            assert await cache.read(f"bytes={start}-{start + 9}", ref) == data[start : start + 10]
            await _rest(cache)
            if not index:
                at_once.append(cache.origin.request_count - before)
        assert cache.origin.request_count - before == 3
        await cache.clock.advance(2)
    assert at_once == [1, 3, 3]


async def test_the_header_of_a_file_whose_blocks_have_gone_comes_at_once(make_cache: type[Cache]) -> None:
    cache = make_cache(max_window_bytes=16 * BLOCK)
    ref, data = ObjectRef("mem", "b", "k.tif"), stamped("k", 1, SIZE)
    cache.origin.put(ref, data)
    for index in (0, 1, 9):
        await cache.read(f"bytes={index * BLOCK}-{index * BLOCK + 9}", ref)
    await _rest(cache)
    await cache.clock.advance(31)
    await cache.tiers.aclose()
    before = cache.origin.request_count
    assert await cache.read("bytes=0-9", ref) == data[:10]
    await _rest(cache)
    assert cache.origin.request_count - before == 3
    for index in (1, 9):
        assert await cache.read(f"bytes={index * BLOCK}-{index * BLOCK + 9}", ref) == data[index * BLOCK :][:10]
    assert cache.origin.request_count - before == 3
