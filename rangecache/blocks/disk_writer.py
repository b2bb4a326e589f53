"""What changes the disk tier's files: blocks are written behind the readers' backs, and evicted to make room.

A block counts from before it is written until after it is deleted, deletions come first, and the journal knows of a
block before its file is there: so the bound holds at every moment, also after a kill. While a block waits or is being
written it is found in the queue.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from contextlib import suppress
from itertools import zip_longest
from typing import TYPE_CHECKING, Final, NamedTuple

from rangecache.blocks.disk_files import Stuck
from rangecache.blocks.threads import wait_at_most

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from rangecache.aio.clock import Clock
    from rangecache.aio.tasks import Background
    from rangecache.blocks.admission import Admission
    from rangecache.blocks.disk_bounds import Bounds, Free
    from rangecache.blocks.disk_files import BlockFiles
    from rangecache.blocks.disk_health import DiskHealth
    from rangecache.blocks.disk_index import DiskIndex
    from rangecache.blocks.threads import Threads
    from rangecache.blocks.write_queue import QueuedBlock, WriteQueue

logger = logging.getLogger(__name__)

BATCH_BYTES: Final = 2 * 1024 * 1024
"""What one trip to a thread writes: the trip costs about as much as a block of 64 KiB."""
WRITERS: Final = 2
"""Batches that are written at once: one hashes and one waits for the file system."""
# Errors that belong to one path or one moment and say nothing about the disk.
_ONE_BLOCK_ONLY: Final = (errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.EMFILE, errno.ENFILE)
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class _Written(NamedTuple):
    """What became of a batch."""

    names: set[bytes]
    """The blocks that are on disk now."""
    stuck: list[tuple[bytes, int]]
    """Evicted ones that could not be deleted, with their sizes."""
    error: OSError | None = None
    """What ended the batch early, or kept a file from being deleted."""
    free: Free | None = None


class DiskWriter:
    """The tasks that empty the queue and keep the bounds."""

    def __init__(
        self,
        files: BlockFiles,
        index: DiskIndex,
        policy: Admission[bytes],
        queue: WriteQueue,
        bounds: Bounds,
        reads: Container[bytes],
        health: DiskHealth,
        threads: Threads,
        background: Background,
    ) -> None:
        self._files = files
        self._index = index
        self._policy = policy
        self._queue = queue
        self._bounds = bounds
        self._reads = reads
        self._health = health
        self._threads = threads
        self._background = background
        self._writers: set[asyncio.Task[None]] = set()
        self._batches: set[asyncio.Future[None]] = set()
        self._spares: list[frozenset[bytes]] = []
        self._open = False
        self.evictions = 0
        self.dropped = 0
        """Blocks that are not on disk as they could not be written, or not in time."""

    def open(self) -> None:
        """Begin to write: the index is complete. What has been queued until now goes first."""
        self._open = True
        self._start_writers()

    def pause(self) -> None:
        """Take no further batch until `open`."""
        self._open = False

    def queue_block(self, block: QueuedBlock) -> None:
        """Have a block written. A full queue drops it and counts."""
        if not self._queue.offer(block):
            self.dropped += 1
            return
        self._start_writers()

    def abandon(self) -> None:
        """Give up what waits, and count it."""
        self.dropped += self._queue.abandon()

    async def flush(self) -> None:
        """Wait until the queue is empty or the disk is no longer written."""
        while self._writers:
            await asyncio.wait(self._writers)

    async def finish(self, timeout_s: float, clock: Clock) -> None:
        """Write what is queued, at most `timeout_s`, then drop the rest."""
        await wait_at_most(timeout_s, clock, self._writers)
        self.abandon()

    async def settle(self) -> None:
        """Wait for the batches that are being written now, not for those that come after."""
        if self._batches:
            await asyncio.wait(set(self._batches))

    async def remove(self, names: Sequence[bytes]) -> Stuck:
        """Delete the files of blocks that have left the policy. Those that cannot be deleted are held again, since
        they take room."""
        if not names:
            return Stuck([], None)
        stuck = await self._threads.run(self._remove_files, names)
        self._hold_again(stuck.blocks)
        if stuck.error is not None:
            self._health.write_failed(stuck.error)
        return stuck

    async def make_room(self) -> None:
        """Measure the free space and evict down to the bounds. Raises `OSError`."""
        self._measured(await self._threads.run(self._files.free))
        await self._evict(self._bounds.bytes)

    async def give_way(self, error: OSError) -> None:
        """If somebody else has filled the disk, or it is out of inodes or quota: an eighth less lets writing go on."""
        if error.errno in _FULL:
            await self._evict(self._policy.held_bytes * 7 // 8)

    def is_spare(self, name: bytes) -> bool:
        """Whether a thread may just be writing over the file at this block's path, which is then another block's, even
        if the block itself has come back meanwhile."""
        return any(name in spares for spares in self._spares)

    def _measured(self, free: Free) -> None:
        self._bounds.measure(free, self._policy.held_bytes, len(self._policy))
        if self._bounds.reason:
            self._health.read_only(self._bounds.reason)

    async def _evict(self, limit_bytes: int) -> None:
        evicted = self._choose(limit_bytes)
        self.evictions += len(evicted)
        await self.remove(evicted)

    def _choose(self, limit_bytes: int) -> list[bytes]:
        """What has to go, by bytes and then by number."""
        policy = self._policy
        evicted = policy.evict(limit_bytes)
        while len(policy) > self._bounds.blocks and policy.held_bytes:
            evicted += policy.evict(policy.held_bytes - 1)
        return evicted

    def _start_writers(self) -> None:
        if self._open and self._queue.waiting and len(self._writers) < WRITERS:
            writer = self._background.spawn(self._write_queued(), "writer of the disk cache")
            self._writers.add(writer)
            writer.add_done_callback(self._ended)

    def _ended(self, writer: asyncio.Task[None]) -> None:
        self._writers.discard(writer)
        # What was queued after its last look at the queue, while it still passed for a writer, has nobody else.
        if not writer.cancelled() and self._health.state == "rw":
            self._start_writers()

    async def _write_queued(self) -> None:
        while self._open and self._health.state == "rw" and (batch := self._queue.take(BATCH_BYTES)):
            done = asyncio.get_running_loop().create_future()
            self._batches.add(done)
            try:
                await self._write(batch)
            finally:
                self._batches.discard(done)
                done.set_result(None)

    async def _write(self, batch: Sequence[QueuedBlock]) -> None:
        evicted: list[bytes] = []
        for block in batch:
            self._policy.admit(block.name, block.size_bytes)
            evicted += self._choose(self._bounds.bytes)
        admitted = [block for block in batch if block.name in self._policy]
        self.evictions += len(evicted) - (len(batch) - len(admitted))
        self._index.changed = True
        try:
            # A file that is just being read, or can still be found by its path, is deleted and not written over: its
            # reader is to get it whole.
            spares = [name for name in evicted if name not in self._reads] if self._index.known else []
            del spares[len(admitted) :]
            written = await self._write_over(evicted, spares, admitted)
        finally:
            for block in batch:
                self._queue.done(block)
        self._hold_again(written.stuck)
        for block in admitted:
            if block.name not in written.names:
                self.dropped += 1
                self._policy.remove(block.name)
        # Evicted on behalf of the other writer, or forgotten, while this one was writing: the file came afterwards.
        await self.remove([name for name in written.names if name not in self._policy])
        if written.free is not None:
            self._measured(written.free)
        if written.error is not None:
            self._health.write_failed(written.error)
            await self.give_way(written.error)

    async def _write_over(
        self, evicted: Sequence[bytes], spares: Sequence[bytes], blocks: Sequence[QueuedBlock]
    ) -> _Written:
        names = frozenset(spares)
        self._spares.append(names)
        writing = self._threads.submit(self._write_files, evicted, spares, blocks)
        # Not when the caller is done: if he is cancelled, the thread goes on.
        writing.add_done_callback(lambda _: self._spares.remove(names))
        return await asyncio.shield(writing)

    def _hold_again(self, stuck: Sequence[tuple[bytes, int]]) -> None:
        for name, size_bytes in stuck:
            if name not in self._policy:
                self._policy.admit(name, size_bytes)

    # --- on threads ---------------------------------------------------------------------------------------------

    def _remove_files(self, names: Sequence[bytes]) -> Stuck:
        stuck = self._files.remove(names)
        still_there = {name for name, _ in stuck.blocks}
        with suppress(OSError):  # after a restart it would be held without a file, until somebody looks for it
            self._index.journal.append([name for name in names if name not in still_there], ())
        return stuck

    def _write_files(
        self, evicted: Sequence[bytes], spares: Sequence[bytes], blocks: Sequence[QueuedBlock]
    ) -> _Written:
        """Delete what is evicted, but for the `spares`, note, write over the spares, measure; in this order."""
        names: set[bytes] = set()
        kept = set(spares)
        stuck, error = self._files.remove([name for name in evicted if name not in kept])
        try:
            if error is None:
                self._index.journal.append(evicted, [(block.name, block.size_bytes) for block in blocks])
                for block, spare in zip_longest(blocks, spares):
                    try:
                        self._files.write(block.name, block.key, block.data, spare)
                        names.add(block.name)
                    except OSError as failed:
                        if failed.errno not in _ONE_BLOCK_ONLY:
                            raise
                        logger.debug("a block could not be written: %s", failed)
        except OSError as failed:
            error = failed
        # Spares that could not be written over are still there.
        left = self._files.remove(spares)
        try:
            return _Written(names, stuck + left.blocks, error or left.error, self._files.free())
        except OSError as failed:
            return _Written(names, stuck + left.blocks, error or left.error or failed)
