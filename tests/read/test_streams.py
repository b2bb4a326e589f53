"""Which way readers go, as told from their reads alone: tables of reads and of what is fetched ahead for them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rangecache.ranges import ByteRange, block_indices
from rangecache.read.ledger import WASTE_SAMPLE_MIN, Ledger
from rangecache.read.streams import (
    LOOSE_MAX,
    STREAMS_MAX,
    SWEEP_EVIDENCE_MIN,
    Streams,
    Stride,
    Sweep,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

BLOCK = 100
WINDOW = 16 * BLOCK
SIZE = 1000 * BLOCK


class Reader:
    """Reads of one object, and everything that was advised."""

    def __init__(self, size: int = SIZE, room_bytes: int = SIZE) -> None:
        self.streams = Streams(BLOCK, WINDOW)
        self.size = size
        self.room_bytes = room_bytes
        self.asked: list[int] = []

    def read(self, start: int, end: int) -> list[int]:
        """The blocks that are advised by this read, in their order."""
        stream = self.streams.observe(ByteRange(start, end))
        advised: list[int] = []
        if stream is not None and self.streams.convinced(stream):
            for blocks in stream.plan(self.size, self.room_bytes):
                advised += blocks
        self.streams.trim()
        self.asked += advised
        return advised

    def blocks(self, indices: Iterable[int]) -> list[list[int]]:
        """Reads of the first half of each block."""
        return [self.read(index * BLOCK, index * BLOCK + BLOCK // 2) for index in indices]


def test_forward_the_window_doubles_from_one_block_and_each_block_is_asked_for_once() -> None:
    reader = Reader()
    advised = reader.blocks(range(200))
    assert advised[:7] == [[], [], [3], [4, 5], [6, 7, 8], [], [9, 10, 11, 12, 13, 14]]
    sizes = [len(each) for each in advised if each]
    assert sizes[:5] == [1, 2, 3, 6, 12]
    assert set(sizes[5:]) == {8}, "half of the greatest window, each time that half of it is left"
    assert reader.asked == list(range(3, reader.asked[-1] + 1))
    assert reader.asked[-1] <= 199 + WINDOW // BLOCK


def test_the_window_is_no_smaller_than_one_read() -> None:
    reader = Reader()
    advised = [reader.read(number * 3 * BLOCK, (number + 1) * 3 * BLOCK) for number in range(8)]
    assert [len(each) for each in advised] == [0, 0, 3, 6, 9, 0, 10, 0], "up to the greatest window"


def test_backward_is_the_same_the_other_way() -> None:
    reader = Reader()
    advised = reader.blocks(range(500, 300, -1))
    assert [sorted(each, reverse=True) for each in advised[:5]] == [[], [], [497], [496, 495], [494, 493, 492]]
    assert sorted(reader.asked) == list(range(min(reader.asked), 498))
    assert min(reader.asked) >= 301 - WINDOW // BLOCK


def test_what_is_advised_ends_where_the_object_ends() -> None:
    forward, backward = Reader(size=10 * BLOCK - 30), Reader(size=10 * BLOCK)
    forward.blocks(range(10))
    backward.blocks(range(9, -1, -1))
    assert forward.asked == list(range(3, 10))
    assert sorted(backward.asked) == list(range(7))


@pytest.mark.parametrize("step", [7 * BLOCK, -7 * BLOCK, 7 * BLOCK + 13, 2 * BLOCK])
def test_equal_distances_are_gone_on_with(step: int) -> None:
    reader, first = Reader(), 500 * BLOCK
    advised = [reader.read(at, at + 80) for at in range(first, first + 30 * step, step)]
    assert advised[:4] == [[], [], [], []]
    places = [set(block_indices(ByteRange(at, at + 80), BLOCK)) for at in range(first, first + 60 * step, step)]
    assert set(reader.asked) <= set().union(*places[5:])
    assert all(place <= set(reader.asked) for place in places[6:30])


def test_tiles_that_are_not_equally_long_make_a_stride_all_the_same() -> None:
    drawn, reader = random.Random(4), Reader()
    starts = [100 * BLOCK + 20 * BLOCK * number + drawn.randrange(-25, 25) for number in range(20)]
    for start in starts:
        reader.read(start, start + 50)
    hit = sum(start // BLOCK in reader.asked for start in starts[6:])
    assert hit >= 10


def test_reads_of_many_blocks_that_overtake_each_other_are_followed() -> None:
    reader, part = Reader(), 8 * BLOCK
    for number in (0, 2, 1, 3, 5, 4, 6, 7, 9, 8):
        reader.read(number * part, (number + 1) * part)
    assert min(reader.asked) == 5 * 8, "what has been read by then is over"
    assert len(reader.asked) == len(set(reader.asked))


def test_readers_who_take_turns_are_told_apart() -> None:
    reader = Reader()
    for number in range(20):
        reader.blocks([number, 300 + number, 700 - number])
    assert len(reader.streams) == 3
    assert {index // 100 for index in reader.asked} == {0, 3, 6}


def test_random_reads_are_given_nothing() -> None:
    drawn, reader = random.Random(1), Reader()
    reader.blocks(drawn.randrange(1000) for _ in range(300))
    assert reader.asked == []


def test_the_same_place_again_and_again_is_no_way() -> None:
    reader = Reader()
    reader.blocks([5] * 20)
    assert reader.asked == []
    assert len(reader.streams) == 0


def test_a_crowd_at_one_place_does_not_push_out_what_others_have_begun() -> None:
    reader = Reader()
    reader.blocks([7, *[500] * (2 * LOOSE_MAX), 8, 9])
    assert reader.asked == [10]


def test_two_reads_are_not_enough() -> None:
    reader = Reader()
    assert SWEEP_EVIDENCE_MIN == 2
    assert reader.blocks([0, 1]) == [[], []]
    assert reader.blocks([2]) == [[3]]


def test_a_jump_collapses_the_window_and_asks_for_new_evidence() -> None:
    reader = Reader()
    reader.blocks(range(30))
    stream = reader.streams.observe(ByteRange(30 * BLOCK, 30 * BLOCK + 1))
    assert isinstance(stream, Sweep)
    assert stream.window_bytes == WINDOW
    ahead = reader.asked[-1]
    found = reader.streams.observe(ByteRange(ahead * BLOCK, ahead * BLOCK + 1), owner=stream)
    assert found is stream
    assert stream.window_bytes == BLOCK
    assert not reader.streams.convinced(stream)
    assert reader.blocks([500, 501, 502]) == [[], [], [503]], "elsewhere it begins with one block"


def test_no_more_is_advised_than_there_is_room_for_and_what_there_was_no_room_for_comes_later() -> None:
    reader = Reader(room_bytes=2 * BLOCK + 50)
    advised = reader.blocks(range(60))
    assert max(map(len, advised)) == 2
    assert reader.asked == sorted(set(reader.asked))
    reader.room_bytes = 0
    assert reader.blocks(range(60, 70)) == [[]] * 10


def test_a_stream_ends_when_more_than_half_of_it_is_wasted_and_the_next_has_to_show_more() -> None:
    reader = Reader()
    reader.blocks(range(10))
    stream = reader.streams.observe(ByteRange(10 * BLOCK, 10 * BLOCK + 1))
    assert isinstance(stream, Sweep)
    for index in range(20, 20 + WASTE_SAMPLE_MIN):
        stream.pending[index] = None
        assert not stream.stopped
        stream.settle(index, used=index == 20)
    assert stream.stopped
    assert not reader.streams.convinced(stream)
    reader.streams.end(stream)
    asked = reader.blocks(range(100, 110))
    assert [bool(each) for each in asked[:5]] == [False] * 4 + [True]


@pytest.mark.parametrize("used", [2, 3, 4])
def test_half_used_is_enough(used: int) -> None:
    ledger = Ledger()
    for index in range(4):
        ledger.pending[index] = None
        ledger.settle(index, used=index < used)
    assert not ledger.stopped
    assert (ledger.used, ledger.wasted) == (used, 4 - used)
    ledger.settle(0, used=False)
    assert ledger.wasted == 4 - used, "each block counts once"


def test_what_the_reader_has_passed_is_behind_him() -> None:
    sweep = Sweep(ByteRange(0, 50), 1, BLOCK, WINDOW)
    sweep.pending |= dict.fromkeys(range(1, 20))
    for index in range(1, 13):
        sweep.follow(ByteRange(index * BLOCK, index * BLOCK + 50))
    assert list(sweep.behind()) == [1, 2, 3, 4]
    back = Stride(ByteRange(900 * BLOCK, 901 * BLOCK), -10 * BLOCK, BLOCK, WINDOW)
    back.pending |= dict.fromkeys(range(890, 700, -10))
    for index in range(890, 780, -10):
        assert back.follow(ByteRange(index * BLOCK, (index + 1) * BLOCK))
    assert list(back.behind()) == [890, 880, 870]


def test_everything_is_bounded() -> None:
    streams = Streams(BLOCK, WINDOW)
    begun = {streams.observe(ByteRange(at, at + 1)) for place in range(50) for at in _three(50 * BLOCK << place)}
    assert len(begun) == 51
    gone = streams.trim()
    assert len(gone) == 50 - STREAMS_MAX
    assert len(streams) == STREAMS_MAX
    assert not set(gone) - begun
    for place in range(LOOSE_MAX + 1):
        streams.observe(ByteRange(10**9 + 10**7 * place * place, 10**9 + 10**7 * place * place + 1))
    assert len(streams._loose) == LOOSE_MAX


def test_a_beginning_that_comes_to_nothing_is_forgotten() -> None:
    streams = Streams(BLOCK, WINDOW)
    for at in (0, BLOCK):
        streams.observe(ByteRange(at, at + 1))
    assert len(streams) == 1
    for place in range(LOOSE_MAX + 1):
        assert streams.trim() == []
        streams.observe(ByteRange(10**9 + 10**7 * place * place, 10**9 + 10**7 * place * place + 1))
    assert len(streams.trim()) == 1


def _three(start: int) -> list[int]:
    return [start, start + BLOCK, start + 2 * BLOCK]


def test_who_leaves_something_out_gets_no_more_ahead_until_he_goes_on_from_there() -> None:
    reader = Reader()
    for start, end in ((0, 4), (4, 6)):
        assert reader.read(start * BLOCK, end * BLOCK) == []
    assert reader.read(6 * BLOCK, 9 * BLOCK) == [9, 10, 11]
    assert reader.read(12 * BLOCK, 16 * BLOCK) == [], "beyond what was fetched ahead, which nobody has come for"
    assert reader.read(16 * BLOCK, 18 * BLOCK)


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 900)), max_size=60),
    st.integers(1, 5000),
    st.integers(0, 3000),
)
def test_advice_is_always_within_the_object_and_the_room(
    reads: list[tuple[int, int]], size: int, room_bytes: int
) -> None:
    reader = Reader(size=size, room_bytes=room_bytes)
    for start, length in reads:
        wanted = ByteRange(min(start, size - 1), min(start + length, size))
        if wanted.length <= 0:
            continue
        advised = reader.read(wanted.start, wanted.end)
        assert all(0 <= index < -(-size // BLOCK) for index in advised)
        assert len(advised) * BLOCK <= room_bytes
