"""The second tier: blocks in files, warm after a restart.

All state (policy, queue, counts) is touched on the event loop only; threads of a small pool do file work and know no
state. The order of things, as far as it matters:

- The directory is ours (`lock.py`) before anything in it is changed, and the index is complete before anything is
  written: so the bound holds from the first write on. Reads go by path until then, by index afterwards.
- A block is never read and written at once: one that is queued is read from the queue, one that is being read is not
  queued. So what a read finds out about a file (gone, damaged) is still true when the index is told.
- Somebody else may delete or change files at any time. Every read is verified, and an index entry without its file is
  dropped when the file is missed.
- A file that has been verified stays open (`disk_descriptors.py`), and parts of it are read on the event loop as long
  as the page cache has them and nobody has changed it. It is closed before its block leaves the policy, is read anew by
  a thread, or is written over.
"""

from __future__ import annotations

import asyncio
import logging
import os
from functools import partial
from typing import TYPE_CHECKING, Final

from rangecache.aio.tasks import Background
from rangecache.blocks.admission_departures import Departures
from rangecache.blocks.admission_index import DigestIndex
from rangecache.blocks.admission_tinylfu import WTinyLFU
from rangecache.blocks.base import Forgotten, TierStats, exact
from rangecache.blocks.disk_bounds import Bounds
from rangecache.blocks.disk_census import DiskCensus
from rangecache.blocks.disk_descriptors import Descriptors, descriptor_limit
from rangecache.blocks.disk_favourites import Favourites
from rangecache.blocks.disk_files import BlockFiles, block_name, disk_bytes
from rangecache.blocks.disk_folder import DiskFolder
from rangecache.blocks.disk_health import DiskHealth
from rangecache.blocks.disk_index import DiskIndex
from rangecache.blocks.disk_reads import Reads
from rangecache.blocks.disk_writer import WRITERS, DiskWriter
from rangecache.blocks.framing import FrameError
from rangecache.blocks.threads import Threads, wait_at_most
from rangecache.blocks.write_queue import QueuedBlock, WriteQueue
from rangecache.errors import TierError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Container, Iterable

    from rangecache.aio.clock import Clock
    from rangecache.blocks.admission import Admission
    from rangecache.blocks.base import Held
    from rangecache.blocks.disk_verified import Opened
    from rangecache.blocks.outlook import Outlook
    from rangecache.model import BlockKey, ObjectRef

logger = logging.getLogger(__name__)

THREADS: Final = WRITERS + 4
"""So at least three threads are left for reads, whatever is written, listed or evicted."""
QUEUE_BYTES: Final = 64 * 1024 * 1024
"""Blocks that wait to be written; more are dropped. About a tenth of a second of a good disk's work."""
READS_A_USE: Final = 16
"""So many parts of a block that are read from the page cache count as one use, when the tier above decides if it wants
the block: what memory saves of each is a fraction of what it costs to get the block there."""
FORGET_TIMEOUT_S: Final = 60
"""How long a purge waits for a directory that is being looked through, and for the disk to delete anything."""
CLOSE_TIMEOUT_S: Final = 5
"""How long closing waits for the queue, then for a last snapshot, then for file work under way."""


class DiskTier:
    """Blocks in the files of one directory, bounded by `limit_bytes` and by leaving `min_free_bytes` to others.

    `get` and `forget` raise for the disk's sake, and only `TierError`; what is wrong is said by `stats().state` and
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
        favourites: Callable[[], Iterable[tuple[BlockKey, memoryview]]] = tuple,
        wanted: Callable[[BlockKey, int], bool] = lambda _key, _size_bytes: False,
    ) -> None:
        """`favourites` says what is read again and again from the tier above: see `disk_favourites.py`. `wanted` says
        of a block that is read here whether the tier above would keep it, and counts that use of it."""
        self.directory = os.fspath(directory)
        self._limit_bytes = limit_bytes
        self._clock = clock
        self._wanted = wanted
        self._descriptors = Descriptors(self.directory, descriptor_limit())
        usual: Admission[bytes] = WTinyLFU(DigestIndex()) if policy is None else policy
        self._policy: Admission[bytes] = Departures(usual, self._descriptors.drop)
        self._queue = WriteQueue(QUEUE_BYTES)
        self._files = BlockFiles(self.directory)
        self._health = DiskHealth(self.directory, clock, self._descriptors.clear)
        self._threads = Threads(THREADS, "disk-cache")
        self._background = Background()
        self._reads = Reads(self._threads, clock)
        self._index = DiskIndex(self.directory, self._files, self._policy, self._queue, self._threads, clock)
        self._bounds = Bounds(limit_bytes, min_free_bytes)
        self._writer = DiskWriter(
            self._files,
            self._index,
            self._policy,
            self._queue,
            self._bounds,
            self._reads,
            self._health,
            self._threads,
            self._background,
        )
        self._folder = DiskFolder(
            self.directory,
            self._files,
            self._index,
            self._writer,
            self._bounds,
            self._health,
            Favourites(favourites, self._policy, self.keep),
            self._threads,
            self._background,
            clock,
        )
        self._census = DiskCensus(self._files, self._policy, self._queue, self._writer, self._threads)
        self._closing = False
        self._checksum_errors = 0
        self.reads_without_thread = 0
        """Parts of blocks that came from the page cache on the event loop."""

    # --- reading and writing ------------------------------------------------------------------------------------

    def peek(self, key: BlockKey) -> memoryview | None:
        """The block if it is still in the write queue; what is on disk cannot be had without waiting."""
        queue = self._queue
        return queue.find(block_name(key)) if queue.held_bytes else None

    def peek_part(self, key: BlockKey, start: int, end: int) -> memoryview | None:
        """The bytes [start, end) of a block that was verified, if the page cache has them. None: the block has to be
        read and verified as a whole, or should be, as the tier above wants it."""
        file = self._descriptors.find(key)
        if file is None:
            return None
        part = file.read(start, end)
        if part is None or (not file.reads % READS_A_USE and self._wanted(key, file.data_bytes)):
            self._descriptors.drop(file.name)
            return None
        self._policy.touch(file.name)
        self._index.changed = True
        self.reads_without_thread += 1
        return part

    def has_parts(self, key: BlockKey) -> bool:
        """Whether the block is open. One that the tier above wants is not."""
        return self._descriptors.find(key) is not None

    def contains(self, key: BlockKey) -> bool:
        """Whether the index or the queue has the block; while the index is incomplete, whether it may be on disk."""
        if not self._readable:
            return False
        name = block_name(key)
        return not self._index.known or name in self._policy or self._queue.find(name) is not None

    async def get(self, key: BlockKey) -> memoryview | None:
        """The verified block, or None. Callers who ask for one block at once share one read.

        Raises `TierError` if the disk fails or hangs. A file that is not the block is a miss, and is deleted.
        """
        name = block_name(key)
        queued = self._queue.find(name)
        if queued is not None:
            return queued
        if not self._readable or (self._index.known and name not in self._policy):
            return None
        reading = self._reads.join(name)
        if reading is None:
            # What it brings from the disk must not be handed out before it has been verified.
            self._descriptors.drop(name)
            foreign = self._writer.is_spare(name)
            after = partial(self._after_read, name, foreign)
            reading = self._reads.start(name, partial(self._files.read, name, key), after)
        try:
            return (await asyncio.shield(reading)).data
        except (FileNotFoundError, FrameError):
            return None
        except OSError as error:
            raise TierError(f"a block could not be read from {self.directory}: {error.strerror}") from error

    def _after_read(self, name: bytes, foreign: bool, reading: asyncio.Future[Opened]) -> None:
        """Settle the accounts once for all who waited, also if none of them is left. Nothing is kept open of a file
        that may have been `foreign`: one that a thread was writing over."""
        self._index.changed = True
        if reading.cancelled():
            return
        match reading.exception():
            case None:
                file, held = reading.result().file, name in self._policy
                usable = held and self._readable and not foreign
                if usable and not self._wanted(file.key, file.data_bytes):
                    self._descriptors.keep(file)
                else:
                    file.close()
                if held:
                    self._policy.touch(name)
            case FrameError() as error:
                self._index.missed(name)
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
                self._index.missed(name)
                self._policy.remove(name)
            case OSError() as error:
                self._health.read_failed(error)

    def keep(self, key: BlockKey, data: memoryview) -> None:
        """Queue the block for writing unless it is there. A full queue, or a disk that is not written now, drops it;
        both are counted."""
        name = block_name(key)
        if name in self._policy or name in self._reads:
            return
        if self._health.state != "rw" or self._closing:
            self._writer.dropped += 1
            return
        self._writer.queue_block(QueuedBlock(key, name, exact(data), disk_bytes(key, data.nbytes)))

    async def put(self, key: BlockKey, data: memoryview) -> None:
        """As `keep`."""
        self.keep(key, data)

    async def held(self, refs: Collection[ObjectRef]) -> dict[ObjectRef, Held]:
        """How much of each of these objects is on disk or on its way there."""
        await self._settle()
        return await self._census.held(refs)

    async def forget(self, refs: Collection[ObjectRef]) -> Forgotten:
        """Delete every block of these objects, what is being written included. Once begun it goes on, whoever waits."""
        forgetting = self._background.spawn(self._forget(refs), "purge of the disk cache")
        while not forgetting.done():
            deleted = self._census.deleted
            await wait_at_most(FORGET_TIMEOUT_S, self._clock, [forgetting])
            if forgetting.done() or self._census.deleted != deleted:
                continue
            return Forgotten(failed=f"{self.directory} has not answered for {FORGET_TIMEOUT_S} s; deleting goes on")
        forgotten: Forgotten = forgetting.result()
        return forgotten

    async def _forget(self, refs: Collection[ObjectRef]) -> Forgotten:
        try:
            await self._settle()
        except TierError as error:
            return Forgotten(failed=error.message)
        return await self._census.forget(refs)

    async def outlook(self, ref: ObjectRef) -> Outlook | None:
        """When the blocks of this object would leave."""
        return await self._census.outlook(ref)

    async def strangers(self, known: Container[bytes]) -> AsyncGenerator[list[ObjectRef], None]:
        """The objects that have blocks here and whose name (`object_prefix`) is not in `known`. Raises `TierError`."""
        await self._settle()
        async for refs in self._census.strangers(known):
            yield refs

    async def _settle(self) -> None:
        """Wait until all that may be on disk is known. Raises `TierError` where that will not be: the directory is not
        ours, or fails."""
        await self._folder.looked_through()
        if not (self.owned and self._index.complete and self._readable):
            raise TierError(self.state_reason or "the directory is just being opened")

    @property
    def _readable(self) -> bool:
        return self._health.readable and not self._closing

    # --- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the directory. Returns when it is known whether it can be used; its index is made complete later."""
        await self._folder.open()
        self._background.spawn(self._folder.upkeep(), "upkeep of the disk cache")
        self._background.spawn(self._reads.watch(), "watch over reads of the disk cache")

    async def flush(self) -> None:
        """Wait until the directory has been looked through and what is queued has been written or given up."""
        await self._folder.looked_through()
        await self._folder.saved()
        await self._writer.flush()

    async def save(self) -> None:
        """Write the index down now."""
        await self._folder.save()

    async def aclose(self) -> None:
        """Write what is queued and the index, within bounds of time, then give the directory to whoever is next."""
        self._closing = True
        self._descriptors.clear()
        await self._writer.finish(CLOSE_TIMEOUT_S, self._clock)
        await self._background.aclose()
        saving = asyncio.ensure_future(self._folder.save_last())
        await wait_at_most(CLOSE_TIMEOUT_S, self._clock, [saving])
        saving.cancel()
        if await self._threads.aclose(CLOSE_TIMEOUT_S, self._clock):
            self._folder.release()
        # Else a thread hangs and may still write: the directory stays ours until the process ends.

    # --- seen from outside --------------------------------------------------------------------------------------

    @property
    def owned(self) -> bool:
        """Whether this program holds the directory. Nothing in it may be changed while it does not."""
        return self._folder.owned

    @property
    def state_reason(self) -> str:
        """Why the state is not `rw`, for a person to read; empty while it is."""
        return self._health.reason

    @property
    def queued(self) -> tuple[int, int]:
        """Bytes that wait in memory until they are written, and their bound."""
        return self._queue.held_bytes, QUEUE_BYTES

    @property
    def descriptors(self) -> tuple[int, bool | None]:
        """How many blocks are open, and whether the file system can read without waiting; None until it is known."""
        return len(self._descriptors), self._descriptors.supported

    @property
    def is_known(self) -> bool:
        """Whether the index is loaded; until then blocks are read by their paths."""
        return self._index.known

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
        return f"<DiskTier {self.directory} {self._health.state}, {held}, {self._queue.held_bytes} bytes queued>"
