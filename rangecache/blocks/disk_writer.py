"""What changes the disk tier's files: blocks are written behind the readers' backs, and evicted to make room.

A block counts from before it is written until after it is deleted, and deletions come first: so the bound holds at
every moment. While a block waits or is being written it is found in the queue.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import TYPE_CHECKING, Final, NamedTuple

from rangecache.blocks.disk_files import disk_bytes
from rangecache.blocks.threads import wait_at_most
from rangecache.blocks.write_queue import QueuedBlock, WriteQueue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rangecache.aio.clock import Clock
    from rangecache.aio.tasks import Background
    from rangecache.blocks.admission import Admission
    from rangecache.blocks.disk_files import BlockFiles
    from rangecache.blocks.disk_health import DiskHealth
    from rangecache.blocks.threads import Threads
    from rangecache.model import BlockKey

logger = logging.getLogger(__name__)

QUEUE_BYTES: Final = 64 * 1024 * 1024
"""Blocks that wait to be written; more are dropped. About a tenth of a second of a good disk's work."""
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
    error: OSError | None = None
    """What ended the batch early."""
    free_bytes: int | None = None


class DiskWriter:
    """The queue, the tasks that empty it, and the bounds."""

    def __init__(
        self,
        files: BlockFiles,
        policy: Admission[bytes],
        health: DiskHealth,
        threads: Threads,
        background: Background,
        limit_bytes: int,
        min_free_bytes: int,
    ) -> None:
        self._files = files
        self._policy = policy
        self._health = health
        self._threads = threads
        self._background = background
        self._limit_bytes = limit_bytes
        self._min_free_bytes = min_free_bytes
        self._ceiling_bytes = limit_bytes  # the limit, or less where the file system is nearly full
        self._writers: set[asyncio.Task[None]] = set()
        self._open = False
        self.queue = WriteQueue(QUEUE_BYTES)
        self.evictions = 0
        self.dropped = 0

    def open(self) -> None:
        """Begin to write: the index is complete. What has been queued until now goes first."""
        self._open = True
        self._start_writers()

    def pause(self) -> None:
        """Take no further batch until `open`."""
        self._open = False

    def queue_block(self, key: BlockKey, name: bytes, data: memoryview) -> None:
        """Have a block written. A full queue drops it and counts."""
        if not self.queue.offer(QueuedBlock(key, name, data)):
            self.dropped += 1
            return
        self._start_writers()

    async def flush(self) -> None:
        """Wait until the queue is empty or the disk is no longer written."""
        while self._writers:
            await asyncio.wait(self._writers)

    async def finish(self, timeout_s: float, clock: Clock) -> None:
        """Write what is queued, at most `timeout_s`, then drop the rest."""
        await wait_at_most(timeout_s, clock, self._writers)
        self.dropped += self.queue.abandon()

    async def make_room(self) -> None:
        """Measure the free space and evict down to the bounds. Raises `OSError`."""
        self._set_ceiling(await self._threads.run(self._files.free_bytes))
        await self._evict(self._ceiling_bytes)

    @property
    def has_room(self) -> bool:
        """Whether anything may be held at all, as far as was measured last."""
        return self._ceiling_bytes > 0

    def _set_ceiling(self, free_bytes: int) -> None:
        spare_bytes = free_bytes - self._min_free_bytes
        self._ceiling_bytes = max(0, min(self._limit_bytes, self._policy.held_bytes + spare_bytes))
        if not self.has_room:
            self._health.read_only(f"{free_bytes} bytes are free and min_free keeps {self._min_free_bytes} for others")

    async def _evict(self, limit_bytes: int) -> None:
        evicted = self._policy.evict(limit_bytes)
        if evicted:
            self.evictions += len(evicted)
            await self._threads.run(self._files.remove, evicted)

    def _start_writers(self) -> None:
        if self._open and self.queue.waiting and len(self._writers) < WRITERS:
            writer = self._background.spawn(self._write_queued(), "writer of the disk cache")
            self._writers.add(writer)
            writer.add_done_callback(self._writers.discard)

    async def _write_queued(self) -> None:
        while self._open and self._health.state == "rw" and (batch := self.queue.take(BATCH_BYTES)):
            await self._write(batch)

    async def _write(self, batch: Sequence[QueuedBlock]) -> None:
        evicted: list[bytes] = []
        for block in batch:
            self._policy.admit(block.name, disk_bytes(block.key, block.data.nbytes))
            evicted += self._policy.evict(self._ceiling_bytes)
        admitted = [block for block in batch if block.name in self._policy]
        self.evictions += len(evicted) - (len(batch) - len(admitted))
        try:
            written = await self._threads.run(self._write_files, evicted, admitted)
        finally:
            for block in batch:
                self.queue.done(block)
        for block in admitted:
            if block.name not in written.names:
                self._policy.remove(block.name)
        # Evicted on behalf of the other writer while this one was writing: the file came after its deletion.
        too_late = [name for name in written.names if name not in self._policy]
        if too_late:
            await self._threads.run(self._files.remove, too_late)
        if written.free_bytes is not None:
            self._set_ceiling(written.free_bytes)
        if written.error is not None:
            self._health.write_failed(written.error)
            if written.error.errno in _FULL:
                # Somebody else filled the disk, or it is out of inodes or quota: an eighth less lets writing go on.
                await self._evict(self._policy.held_bytes * 7 // 8)

    def _write_files(self, evicted: Sequence[bytes], blocks: Sequence[QueuedBlock]) -> _Written:
        """On a thread: delete, write, measure."""
        names: set[bytes] = set()
        try:
            self._files.remove(evicted)
            for block in blocks:
                try:
                    self._files.write(block.name, block.key, block.data)
                    names.add(block.name)
                except OSError as error:
                    if error.errno not in _ONE_BLOCK_ONLY:
                        raise
                    logger.debug("a block could not be written: %s", error)
            return _Written(names, free_bytes=self._files.free_bytes())
        except OSError as error:
            return _Written(names, error)
