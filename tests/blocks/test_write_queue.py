from __future__ import annotations

from rangecache.blocks.write_queue import QueuedBlock, WriteQueue
from tests.blocks.conftest import block_key, content


def queued(index: int, length: int = 100) -> QueuedBlock:
    key = block_key(index)
    return QueuedBlock(key, b"%d" % index, content(key, length), 4096)


def test_blocks_leave_in_the_order_in_which_they_came() -> None:
    queue = WriteQueue(1000)
    for index in range(4):
        assert queue.offer(queued(index))
    assert [block.name for block in queue.take(250)] == [b"0", b"1"]
    assert [block.name for block in queue.take(250)] == [b"2", b"3"]
    assert queue.take(250) == []


def test_a_full_queue_refuses_until_a_block_is_done_and_not_when_it_is_taken() -> None:
    queue = WriteQueue(200)
    queue.offer(queued(0))
    queue.offer(queued(1))
    assert not queue.offer(queued(2))
    (first,) = queue.take(1)
    assert not queue.offer(queued(2))
    queue.done(first)
    assert queue.offer(queued(2))
    assert queue.held_bytes == 200


def test_a_block_is_found_while_it_waits_and_while_it_is_written() -> None:
    queue = WriteQueue(200)
    queue.offer(queued(0))
    assert queue.find(b"0") == queued(0).data
    (block,) = queue.take(1)
    assert queue.find(b"0") == queued(0).data
    queue.done(block)
    assert queue.find(b"0") is None


def test_a_block_offered_twice_is_written_once() -> None:
    queue = WriteQueue(1000)
    assert queue.offer(queued(0))
    assert queue.offer(queued(0))
    assert len(queue.take(1000)) == 1
    assert queue.held_bytes == 100


def test_giving_up_frees_what_waits_and_keeps_what_is_being_written() -> None:
    queue = WriteQueue(1000)
    for index in range(3):
        queue.offer(queued(index))
    (taken,) = queue.take(1)
    assert queue.abandon() == 2
    assert (queue.waiting, queue.held_bytes) == (0, 100)
    queue.done(taken)
    assert queue.held_bytes == 0
