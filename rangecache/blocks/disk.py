"""The second tier: blocks in files, warm after a restart.

All state (index, queue, counts) is touched on the event loop only; threads of a small pool do file work and know no
state, so there is no lock. The order of things, as far as it matters:

- The directory is ours (`lock.py`) before anything in it is changed, and the index is complete before anything is
  written: so the bound holds from the first write on. Reads go by path until then, by index afterwards.
- A block is never read and written at once: one that is queued is read from the queue, one that is being read is not
  queued. So what a read finds out about a file (gone, damaged) is still true when the index is told.
- Somebody else may delete or change files at any time. Every read is verified, and an index entry without its file is
  dropped when the file is missed.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import os
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

from rangecache.aio.tasks import Background
from rangecache.blocks.admission import LRU
from rangecache.blocks.base import Forgotten, TierStats, exact
from rangecache.blocks.disk_census import DiskCensus
from rangecache.blocks.disk_files import BlockFiles, block_name
from rangecache.blocks.disk_health import DiskHealth
from rangecache.blocks.disk_writer import WRITERS, DiskWriter
from rangecache.blocks.framing import FrameError
from rangecache.blocks.lock import DirectoryLock
from rangecache.blocks.threads import Threads
from rangecache.errors import TierError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Container

    from rangecache.aio.clock import Clock
    from rangecache.blocks.admission import Admission
    from rangecache.blocks.base import Held
    from rangecache.model import BlockKey, ObjectRef

logger = logging.getLogger(__name__)

THREADS: Final = WRITERS + 4
"""So at least three threads are left for reads, whatever is written, listed or evicted."""
UPKEEP_INTERVAL_S: Final = 10
"""How often the lock is asked for, the directory looked at and the free space measured."""
CLOSE_TIMEOUT_S: Final = 5
"""How long closing waits for the queue, and then for file work under way."""
INDEX_STEP: Final = 256
"""Files that the index takes in before the loop turns to requests: about half a millisecond."""


class DiskTier:
    """Blocks in the files of one directory, bounded by `limit_bytes` and by leaving `min_free_bytes` to others.

    Only `get` raises for the disk's sake, and only `TierError`; what is wrong is said by `stats().state` and
    `state_reason`. Use: construct, `await start()`, …, `await aclose()`.
    """

    name: Final = "disk"

    def __init__(
        self,
        directory: str | os.PathLike[str],
        limit_bytes: int,
        min_free_bytes: int,
        clock: Clock,
        policy: Admission[bytes] | None = None,
    ) -> None:
        self.directory = os.fspath(directory)
        self._limit_bytes = limit_bytes
        self._clock = clock
        self._policy: Admission[bytes] = LRU() if policy is None else policy
        self._files = BlockFiles(self.directory)
        self._lock = DirectoryLock(os.path.join(self.directory, "LOCK"))
        self._health = DiskHealth(self.directory, clock)
        self._threads = Threads(THREADS, "disk-cache")
        self._background = Background()
        self._writer = DiskWriter(
            self._files, self._policy, self._health, self._threads, self._background, limit_bytes, min_free_bytes
        )
        self._census = DiskCensus(self._files, self._policy, self._threads)
        self._reads: dict[bytes, asyncio.Future[memoryview]] = {}
        self._indexing: asyncio.Task[None] | None = None
        self._indexed = False
        self._gone: set[bytes] = set()  # found missing or damaged since the directory was listed; see _index
        self._closing = False
        self._checksum_errors = 0
        self.owned = False
        """Whether this program holds the directory. Nothing in it may be changed while it does not."""

    # --- reading and writing ------------------------------------------------------------------------------------

    def peek(self, key: BlockKey) -> memoryview | None:
        """The block if it is still in the write queue; what is on disk cannot be had without waiting."""
        queue = self._writer.queue
        return queue.find(block_name(key)) if queue.held_bytes else None

    def contains(self, key: BlockKey) -> bool:
        """Whether the index or the queue has the block; while the index is incomplete, whether it may be on disk."""
        if not self._readable:
            return False
        name = block_name(key)
        return not self._indexed or name in self._policy or self._writer.queue.find(name) is not None

    async def get(self, key: BlockKey) -> memoryview | None:
        """The verified block, or None. Callers who ask for one block at once share one read.

        Raises `TierError` if the disk fails. A file that is not the block is a miss, and is deleted.
        """
        name = block_name(key)
        queued = self._writer.queue.find(name)
        if queued is not None:
            return queued
        if not self._readable or (self._indexed and name not in self._policy):
            return None
        reading = self._reads.get(name)
        if reading is None:
            reading = self._reads[name] = self._threads.submit(self._files.read, name, key)
            reading.add_done_callback(partial(self._after_read, name))
        try:
            return await asyncio.shield(reading)
        except (FileNotFoundError, FrameError):
            return None
        except OSError as error:
            raise TierError(f"a block could not be read from {self.directory}: {error.strerror}") from error

    def _after_read(self, name: bytes, reading: asyncio.Future[memoryview]) -> None:
        """Settle the accounts once for all who waited, also if none of them is left."""
        del self._reads[name]
        error = None if reading.cancelled() else reading.exception()
        if not self._indexed and isinstance(error, FrameError | FileNotFoundError):
            self._gone.add(name)
        match error:
            case FrameError():
                self._policy.remove(name)
                self._checksum_errors += 1
                if (
                    self._checksum_errors.bit_count() == 1
                ):  # the 1st, 2nd, 4th, 8th …: a dying disk must not fill the log
                    logger.warning(
                        "%s was not the block it should be and was deleted (%s); %d such files since start",
                        self._files.path(name),
                        error,
                        self._checksum_errors,
                    )
            case FileNotFoundError():
                self._policy.remove(name)
            case OSError() as error:
                self._health.read_failed(error)
            case _ if name in self._policy:
                self._policy.touch(name)

    def keep(self, key: BlockKey, data: memoryview) -> None:
        """Queue the block for writing unless it is there or the disk is not written now; a full queue drops it."""
        if self._health.state != "rw" or self._closing:
            return
        name = block_name(key)
        if name not in self._policy and name not in self._reads:
            self._writer.queue_block(key, name, exact(data))

    async def put(self, key: BlockKey, data: memoryview) -> None:
        """As `keep`."""
        self.keep(key, data)

    async def held(self, refs: Collection[ObjectRef]) -> dict[ObjectRef, Held]:
        """How much of each of these objects is on disk."""
        await self._settle()
        return await self._census.held(refs)

    async def forget(self, refs: Collection[ObjectRef]) -> Forgotten:
        """Delete every block of these objects."""
        try:
            await self._settle()
        except TierError as error:
            return Forgotten(failed=error.message)
        return await self._census.forget(refs)

    async def strangers(self, known: Container[bytes]) -> AsyncGenerator[list[ObjectRef], None]:
        """The objects that have blocks here and whose name (`object_prefix`) is not in `known`. Raises `TierError`."""
        await self._settle()
        async for refs in self._census.strangers(known):
            yield refs

    async def _settle(self) -> None:
        """Wait until all that may be on disk is known and what was queued is written. Raises `TierError` where that
        will not be: the directory is not ours, or fails."""
        await self.flush()
        if not (self.owned and self._indexed and self._readable):
            raise TierError(self.state_reason or "the directory is just being opened")

    @property
    def _readable(self) -> bool:
        return self._health.readable and not self._closing

    # --- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the directory. Returns when it is known whether it can be used; what lies in it is listed later."""
        await self._open()
        self._background.spawn(self._upkeep(), "upkeep of the disk cache")

    async def _open(self) -> None:
        try:
            self.owned = await self._threads.run(self._claim)
        except OSError as error:
            place = error.filename or self.directory
            self._health.off(f"{error.strerror} ({place}); make the folder writable or set cache.disk.path to another")
            return
        if not self.owned:
            holder = await self._threads.run(self._lock.holder)
            self._health.off(f"{holder} is using it; this program takes over when that one ends")
            return
        self._health.recovered()
        self._start_indexing()

    def _claim(self) -> bool:
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        if not self._lock.acquire():
            return False
        self._files.prepare()
        return True

    def _start_indexing(self) -> None:
        if self._indexing is not None:
            self._indexing.cancel()
        self._indexing = self._background.spawn(self._index(), "index of the disk cache")

    async def _index(self) -> None:
        """Learn what lies in the directory, oldest first, in steps that leave the loop and the pool to requests."""
        self._gone.clear()
        try:
            shelves = await self._threads.run(self._files.shelves)
            listings = [await self._threads.run(self._files.listing, shelf) for shelf in shelves]
            oldest_first = heapq.merge(*listings)
            while step := list(islice(oldest_first, INDEX_STEP)):
                for block in step:
                    # A file that has been deleted since it was listed would be taken for there, and not written anew.
                    if block.name not in self._gone:
                        self._policy.admit(block.name, block.size_bytes)
                await asyncio.sleep(0)
            self._indexed = True
            self._gone.clear()
            await self._writer.make_room()
        except OSError as error:
            self._health.off(f"its files cannot be listed ({error.strerror}); check the disk and the permissions")
            return
        self._writer.open()

    async def _upkeep(self) -> None:
        while True:
            await self._clock.sleep(UPKEEP_INTERVAL_S)
            if self.owned and not await self._threads.run(self._lock.is_ours):
                self._lose()
            if not self.owned:
                await self._open()
            elif self._health.probe_due():
                await self._probe()
            elif self._health.state == "rw" and self._indexed:
                await self._make_room()
            if self._health.state != "rw":
                self._writer.queue.abandon()

    def _lose(self) -> None:
        """The directory, or the lock's file in it, was deleted: what we know of it is void."""
        logger.warning("disk cache %s has been deleted while in use; it is begun anew", self.directory)
        if self._indexing is not None:
            self._indexing.cancel()
        self._writer.pause()
        self.owned = self._indexed = False
        self._policy.evict(0)

    async def _probe(self) -> None:
        try:
            await self._threads.run(self._files.probe)
            await self._writer.make_room()
        except OSError as error:
            logger.debug("disk cache %s still fails: %s", self.directory, error.strerror)
            return
        if self._writer.has_room:
            self._health.recovered()
            if not self._indexed:
                self._start_indexing()

    async def _make_room(self) -> None:
        try:
            await self._writer.make_room()
        except OSError as error:
            self._health.write_failed(error)

    async def flush(self) -> None:
        """Wait until the directory has been listed and what is queued has been written or given up."""
        if self._indexing is not None:
            await asyncio.wait([self._indexing])
        await self._writer.flush()

    async def aclose(self) -> None:
        """Write what is queued, within a bound of time, then give the directory to whoever wants it next."""
        self._closing = True
        await self._writer.finish(CLOSE_TIMEOUT_S, self._clock)
        await self._background.aclose()
        if await self._threads.aclose(CLOSE_TIMEOUT_S, self._clock):
            self._lock.release()
            self.owned = False
        # Else a thread hangs and may still write: the directory stays ours until the process ends.

    # --- seen from outside --------------------------------------------------------------------------------------

    @property
    def state_reason(self) -> str:
        """Why the state is not `rw`, for a person to read; empty while it is."""
        return self._health.reason

    def stats(self) -> TierStats:
        """Size and counts now; `bytes` are those on disk, in whole pages."""
        return TierStats(
            self.name,
            self._health.state,
            len(self._policy),
            self._policy.held_bytes,
            self._limit_bytes,
            self._writer.evictions,
            self._checksum_errors,
            self._writer.dropped,
        )

    def __repr__(self) -> str:
        held = f"{len(self._policy)} blocks, {self._policy.held_bytes} of {self._limit_bytes} bytes"
        queued = self._writer.queue.held_bytes
        return f"<DiskTier {self.directory} {self._health.state}, {held}, {queued} bytes queued>"
