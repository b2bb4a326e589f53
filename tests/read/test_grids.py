"""Which size of blocks is taken for which reads, and that nothing is lost or mixed up where it changes."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from rangecache.model import ObjectRef
from rangecache.ranges import ByteRange, OffsetRange, SuffixRange
from rangecache.read.grids import KINDS_MAX, TRIAL_READS, Grids, Trial
from rangecache.read.kinds import kind_of
from rangecache.testing.objects import stamped
from tests.read.conftest import REF, Cache

if TYPE_CHECKING:
    from collections.abc import Iterable

KIB = 1024
MIB = 1024 * KIB
LARGE, SMALL = 256 * KIB, 16 * KIB


def tried(reads: Iterable[tuple[int, int]]) -> Trial:
    """A trial of these reads (start, length), as far as it goes."""
    trial = Grids(LARGE).trial()
    assert trial is not None
    for start, length in reads:
        if not trial.done:
            trial.read(ByteRange(start, start + length))
    return trial


def scattered(length: int, within: int, seed: int = 1) -> list[tuple[int, int]]:
    drawn = random.Random(seed)
    return [(drawn.randrange(within), length) for _ in range(TRIAL_READS)]


@pytest.mark.parametrize(
    ("reads", "from_large", "from_small"),
    [
        pytest.param(scattered(5 * KIB, 500 * MIB), SMALL, SMALL, id="tiles of PMTiles far from each other"),
        pytest.param(scattered(30 * KIB, 500 * MIB), SMALL, SMALL, id="tiles of a large map"),
        pytest.param(scattered(90 * KIB, 5 * MIB), LARGE, SMALL, id="chunks of a Zarr shard"),
        pytest.param(scattered(20 * KIB, 1 * MIB), LARGE, SMALL, id="small tiles next to each other"),
        pytest.param(scattered(220 * KIB, 60 * MIB), LARGE, SMALL, id="large tiles"),
        pytest.param([(n * 16 * KIB, 16 * KIB) for n in range(16)], LARGE, LARGE, id="from front to back"),
        pytest.param([(n * MIB, MIB) for n in range(16)], LARGE, LARGE, id="a megabyte at a time"),
        pytest.param([(0, 16 * KIB), (7 * MIB, 5 * MIB)], LARGE, LARGE, id="columns of Parquet"),
    ],
)
def test_the_other_size_is_taken_where_it_would_have_cost_half(
    reads: list[tuple[int, int]], from_large: int, from_small: int
) -> None:
    trial = tried(reads)
    assert trial.done
    assert Grids(LARGE).decide(REF, trial, LARGE) == from_large
    assert Grids(LARGE).decide(REF, trial, SMALL) == from_small


def test_prices_are_bytes_requests_and_blocks() -> None:
    trial = tried([(0, 100), (100, 100), (LARGE - 1, 2)])
    assert trial.price(LARGE) == 2 * (LARGE + 8 * KIB) + 2 * 128 * KIB
    assert trial.price(SMALL) == 3 * (SMALL + 8 * KIB) + 2 * 128 * KIB


def test_what_one_object_has_shown_holds_for_the_next_of_its_kind() -> None:
    grids = Grids(LARGE)
    first, second, other = (ObjectRef("p", "b", key) for key in ("s/c/0/1", "s/c/12/7", "t/c/0/1"))
    assert grids.first(first, OffsetRange(0)) == LARGE
    assert grids.decide(first, tried(scattered(5 * KIB, 50 * MIB)), LARGE) == SMALL
    assert grids.first(second, OffsetRange(0)) == SMALL
    assert grids.first(other, OffsetRange(0)) == LARGE
    assert grids.decide(second, tried([(0, 8 * MIB)]), SMALL) == LARGE
    assert grids.first(first, None) == LARGE


def test_whoever_begins_with_the_last_bytes_gets_small_blocks() -> None:
    grids = Grids(LARGE)
    assert grids.first(REF, SuffixRange(1028)) == SMALL
    assert grids.first(REF, SuffixRange(512 * KIB)) == LARGE
    assert grids.first(REF, ByteRange(0, 100)) == LARGE
    assert grids.first(REF, None) == LARGE


def test_no_size_is_smaller_than_a_page_and_where_there_is_one_nothing_is_tried() -> None:
    assert Grids(4 * KIB).trial() is None
    trial = Grids(16 * KIB).trial()
    assert trial is not None
    trial.read(ByteRange(0, 1))
    assert trial.price(4 * KIB) < trial.price(16 * KIB)


def test_what_is_learned_is_bounded() -> None:
    grids, trial = Grids(LARGE), tried(scattered(5 * KIB, 50 * MIB))
    for number in range(KINDS_MAX + 10):
        grids.decide(ObjectRef("p", f"b{number}", "k"), trial, LARGE)
    assert grids.first(ObjectRef("p", "b0", "k"), None) == LARGE
    assert grids.first(ObjectRef("p", f"b{KINDS_MAX}", "k"), None) == SMALL


@pytest.mark.parametrize(
    ("key", "common"),
    [
        ("a/scene_2024.TIF", "*.tif"),
        ("x/part-0007.snappy.parquet", "*.parquet"),
        ("w.zarr/t/c/0/12/7", "w.zarr/t/c/#/#/#"),
        ("w.zarr/t/0.12.7", "w.zarr/t/#.#.#"),
        ("w.zarr/zarr.json", "*.json"),
        ("no-extension", "no-extension"),
        (".hidden", "*.hidden"),
        ("a.b/", "a.b/"),
    ],
)
def test_kinds(key: str, common: str) -> None:
    assert kind_of(ObjectRef("p", "b", key, "version 3")) == ("p", "b", common)


async def test_an_index_and_the_chunks_it_names_cost_little_more_than_themselves(make_cache: type[Cache]) -> None:
    cache, drawn = make_cache(block_bytes=LARGE), random.Random(2)
    sent = asked = 0
    for number in range(4):
        ref = ObjectRef("mem", "b", f"s/c/{number}")
        data = stamped(ref.key, 1, 5 * MIB + 77)
        cache.origin.put(ref, data)
        assert await cache.read("bytes=-1028", ref) == data[-1028:]
        asked += 1028
        for chunk in drawn.sample(range(56), 14):
            start = chunk * 93_000
            assert await cache.read(f"bytes={start}-{start + 92_999}", ref) == data[start : start + 93_000]
            asked += 93_000
    for request in cache.origin.requests:
        match request.range:
            case ByteRange(start, end):
                sent += end - start
            case SuffixRange(length):
                sent += length
    assert sent <= 1.2 * asked


async def test_an_object_is_cut_anew_once_and_its_readers_go_on_with_right_bytes(make_cache: type[Cache]) -> None:
    cache, drawn = make_cache(block_bytes=LARGE), random.Random(3)
    data = stamped("k", 1, 40 * MIB)
    cache.origin.put(REF, data)
    slow = await cache.open(f"bytes={30 * MIB}-{30 * MIB + LARGE - 1}")
    before = cache.catalog.peek(REF)
    for _ in range(3 * TRIAL_READS):
        start = drawn.randrange(len(data) - 5 * KIB)
        assert await cache.read(f"bytes={start}-{start + 5 * KIB - 1}") == data[start : start + 5 * KIB]
    after = cache.catalog.peek(REF)
    assert before is not None
    assert after is not None
    assert (before.block_bytes, after.block_bytes) == (LARGE, SMALL)
    assert b"".join([bytes(piece) async for piece in slow.body]) == data[30 * MIB : 30 * MIB + LARGE]  # type: ignore[union-attr]
    assert cache.prefetcher.watched == {}
    sizes = [each.range.length for each in cache.origin.requests if isinstance(each.range, ByteRange)]
    assert max(sizes[-TRIAL_READS:]) <= 2 * SMALL


async def test_a_renewed_version_keeps_the_blocks_it_has_and_a_new_one_takes_what_its_kind_has(
    make_cache: type[Cache],
) -> None:
    cache = make_cache(block_bytes=LARGE, ttl=10.0)
    data = stamped("k", 1, 2 * MIB)
    cache.origin.put(REF, data)
    await cache.read("bytes=-100")
    await cache.clock.advance(11)
    assert await cache.read("bytes=0-99") == data[:100]
    known = cache.catalog.peek(REF)
    assert known is not None
    assert known.block_bytes == SMALL
    cache.grids.decide(REF, tried([(0, 8 * MIB)]), SMALL)
    assert cache.grids.first(REF, None) == LARGE
    cache.catalog.forget(REF)
    assert await cache.read("bytes=0-99") == data[:100]
    known = cache.catalog.peek(REF)
    assert known is not None
    assert known.block_bytes == LARGE
