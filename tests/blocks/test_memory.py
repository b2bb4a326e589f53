from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from rangecache.blocks.admission import LRU
from rangecache.blocks.base import STEP, Forgotten, Held
from rangecache.blocks.memory import ENTRY_OVERHEAD_BYTES, MemoryTier
from tests.blocks.conftest import BLOCK_BYTES, block_key, content

ENTRY_BYTES = BLOCK_BYTES + ENTRY_OVERHEAD_BYTES


async def test_what_was_kept_is_found_by_an_equal_key() -> None:
    tier = MemoryTier(10 * ENTRY_BYTES)
    tier.keep(block_key(3), content(block_key(3)))
    assert tier.peek(block_key(3)) == content(block_key(3))
    assert await tier.get(block_key(3)) == content(block_key(3))
    assert tier.contains(block_key(3))


def test_another_generation_is_a_miss() -> None:
    tier = MemoryTier(10 * ENTRY_BYTES)
    tier.keep(block_key(3), content(block_key(3)))
    assert tier.peek(block_key(3, generation="1" * 32)) is None


def test_the_block_that_was_not_read_is_evicted_first() -> None:
    tier = MemoryTier(2 * ENTRY_BYTES, LRU())
    tier.keep(block_key(0), content(block_key(0)))
    tier.keep(block_key(1), content(block_key(1)))
    tier.peek(block_key(0))
    tier.keep(block_key(2), content(block_key(2)))
    assert [tier.contains(block_key(index)) for index in range(3)] == [True, False, True]
    assert tier.stats().evictions == 1


def test_asking_whether_it_is_there_does_not_make_it_recent() -> None:
    tier = MemoryTier(2 * ENTRY_BYTES, LRU())
    tier.keep(block_key(0), content(block_key(0)))
    tier.keep(block_key(1), content(block_key(1)))
    tier.contains(block_key(0))
    tier.keep(block_key(2), content(block_key(2)))
    assert not tier.contains(block_key(0))


def test_a_view_stays_valid_after_its_block_was_evicted() -> None:
    tier = MemoryTier(ENTRY_BYTES)
    tier.keep(block_key(0), content(block_key(0)))
    view = tier.peek(block_key(0))
    tier.keep(block_key(1), content(block_key(1)))
    assert not tier.contains(block_key(0))
    assert view == content(block_key(0))


def favourites_read(tier: MemoryTier, entries: int) -> None:
    """Fill the tier with blocks that are read again and again, among others that are read once."""
    for number in range(10 * entries):
        for index in (number * number % 997 % entries, 10_000 + number):
            if tier.peek(block_key(index)) is None:
                tier.keep(block_key(index), content(block_key(index)))


def test_what_was_fetched_ahead_is_still_there_when_its_reader_comes() -> None:
    tier = MemoryTier(400 * ENTRY_BYTES)
    favourites_read(tier, 300)
    ahead = [block_key(index, key="ahead") for index in range(90)]
    for key in ahead:
        tier.keep(key, content(key))
    assert all(tier.peek(key) is not None for key in ahead)


def test_a_block_that_was_just_fetched_survives_for_the_small_reads_that_walk_through_it() -> None:
    tier = MemoryTier(40 * ENTRY_BYTES)
    favourites_read(tier, 30)
    for index in range(100):
        keys = [block_key(index, key=f"reader {number}") for number in range(8)]
        for key in keys:  # eight readers at once
            tier.keep(key, content(key))
        for _ in range(16):
            assert all(tier.peek(key) is not None for key in keys)


def test_views_are_read_only_also_of_a_writable_buffer() -> None:
    tier = MemoryTier(ENTRY_BYTES)
    tier.keep(block_key(0), memoryview(bytearray(BLOCK_BYTES)))
    view = tier.peek(block_key(0))
    assert view is not None
    assert view.readonly


def test_a_block_cut_from_a_larger_buffer_does_not_hold_the_buffer() -> None:
    run = bytearray(64 * BLOCK_BYTES)
    tier = MemoryTier(10 * ENTRY_BYTES)
    tier.keep(block_key(0), memoryview(run)[BLOCK_BYTES : 2 * BLOCK_BYTES])
    run.clear()  # raises BufferError while any view of it is alive
    assert tier.peek(block_key(0)) == bytes(BLOCK_BYTES)


def test_a_block_in_a_buffer_of_its_own_is_not_copied() -> None:
    data = bytes(BLOCK_BYTES)
    tier = MemoryTier(10 * ENTRY_BYTES)
    tier.keep(block_key(0), memoryview(data))
    view = tier.peek(block_key(0))
    assert view is not None
    assert view.obj is data


def test_a_block_larger_than_the_tier_is_not_kept_and_evicts_nothing() -> None:
    tier = MemoryTier(ENTRY_BYTES)
    tier.keep(block_key(0), content(block_key(0)))
    tier.keep(block_key(1), content(block_key(1), BLOCK_BYTES + 1))
    assert tier.contains(block_key(0))
    assert not tier.contains(block_key(1))


def test_its_repr_tells_its_state() -> None:
    tier = MemoryTier(ENTRY_BYTES)
    tier.keep(block_key(0), content(block_key(0)))
    tier.keep(block_key(1), content(block_key(1)))
    assert repr(tier) == f"<MemoryTier 1 blocks, {ENTRY_BYTES} of {ENTRY_BYTES} bytes, 1 evicted>"


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 2 * BLOCK_BYTES)), max_size=60))
def test_the_limit_holds_and_the_books_balance(puts: list[tuple[int, int]]) -> None:
    limit = 5 * ENTRY_BYTES
    tier = MemoryTier(limit)
    kept: dict[int, int] = {}
    for index, length in puts:
        tier.keep(block_key(index), content(block_key(index), length))
        kept[index] = length
        held = [(tier.peek(block_key(each)), each) for each in range(21)]
        views = [view for view, _ in held if view is not None]
        assert tier.stats().bytes == sum(view.nbytes + ENTRY_OVERHEAD_BYTES for view in views) <= limit
        assert tier.stats().blocks == len(views)


async def test_forgetting_many_blocks_leaves_the_loop_to_others() -> None:
    tier = MemoryTier(1 << 30)
    doomed = {block_key(0, f"objects/{index}") for index in range(10_000)}
    for key in doomed:
        tier.keep(key, content(key, 1))
    tier.keep(block_key(0), content(block_key(0)))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    assert len(await tier.refs()) == 10_001
    forgotten = await tier.forget({key.ref for key in doomed})
    other.cancel()
    assert forgotten == Forgotten(Held(10_000, 10_000 * (1 + ENTRY_OVERHEAD_BYTES)))
    assert turns >= 2 * 10_000 // STEP
    assert await tier.refs() == {block_key(0).ref}


async def test_what_is_evicted_while_it_is_forgotten_is_counted_once() -> None:
    tier = MemoryTier(4 * STEP * (1 + ENTRY_OVERHEAD_BYTES))
    keys = [block_key(index) for index in range(4 * STEP)]
    for key in keys:
        tier.keep(key, content(key, 1))
    forgetting = asyncio.create_task(tier.forget({keys[0].ref}))
    await asyncio.sleep(0)
    large = block_key(0, "another")
    tier.keep(large, content(large, (STEP + 10) * (1 + ENTRY_OVERHEAD_BYTES)))
    evicted = tier.stats().evictions
    assert evicted >= 10
    assert (await forgetting).held.blocks == 4 * STEP - evicted
    assert tier.peek(large) is not None
