"""The disk tier's directory: whose it is, whether it works, and when its index is built, completed and saved."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Final

from rangecache.blocks.lock import LOCK_NAME, DirectoryLock
from rangecache.blocks.threads import wait_at_most

if TYPE_CHECKING:
    from rangecache.aio.clock import Clock
    from rangecache.aio.tasks import Background
    from rangecache.blocks.disk_bounds import Bounds
    from rangecache.blocks.disk_favourites import Favourites
    from rangecache.blocks.disk_files import BlockFiles
    from rangecache.blocks.disk_health import DiskHealth
    from rangecache.blocks.disk_index import DiskIndex
    from rangecache.blocks.disk_writer import DiskWriter
    from rangecache.blocks.threads import Threads

logger = logging.getLogger(__name__)

UPKEEP_INTERVAL_S: Final = 10
"""How often the lock is asked for, the directory looked at and the free space measured."""
LOAD_WAIT_S: Final = 0.3
"""How long opening waits for what the index remembers; then blocks are read by path until all of it is taken up."""
SNAPSHOT_INTERVAL_S: Final = 60
"""How often the index is written down, and how often memory is asked for its favourites."""


class DiskFolder:
    """Opens the directory and looks after it. All that changes its state runs here, one step after the other."""

    def __init__(
        self,
        directory: str,
        files: BlockFiles,
        index: DiskIndex,
        writer: DiskWriter,
        bounds: Bounds,
        health: DiskHealth,
        favourites: Favourites,
        threads: Threads,
        background: Background,
        clock: Clock,
    ) -> None:
        self._directory = directory
        self._files = files
        self._index = index
        self._writer = writer
        self._bounds = bounds
        self._health = health
        self._favourites = favourites
        self._threads = threads
        self._background = background
        self._clock = clock
        self._lock = DirectoryLock(os.path.join(directory, LOCK_NAME))
        self._indexing: asyncio.Task[None] | None = None
        self._loaded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._saving: asyncio.Task[None] | None = None
        self._save_at = 0.0
        self.owned = False
        """Whether this program holds the directory. Nothing in it may be changed while it does not."""

    async def open(self) -> None:
        """Make it ours if it can be had, and begin to learn what is in it."""
        try:
            self.owned = await self._threads.run(self._claim)
        except OSError as error:
            place = error.filename or self._directory
            self._health.off(f"{error.strerror} ({place}); make the folder writable or set cache.disk.path to another")
            return
        if not self.owned:
            holder = await self._threads.run(self._lock.holder)
            self._health.off(f"{holder} is using it; this program takes over when that one ends")
            return
        self._health.recovered()
        self._start_indexing()
        await wait_at_most(LOAD_WAIT_S, self._clock, [self._loaded])

    def _claim(self) -> bool:
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        if not self._lock.acquire():
            return False
        self._files.prepare()
        self._index.prepare()
        return True

    def _start_indexing(self) -> None:
        if self._indexing is not None:
            self._indexing.cancel()
        self._writer.pause()
        self._index.reset()
        self._bounds.expected_blocks = self._bounds.expected_bytes = 0
        self._loaded = asyncio.get_running_loop().create_future()
        self._indexing = self._background.spawn(self._build_index(self._loaded), "index of the disk cache")

    async def looked_through(self) -> None:
        """Wait until there is no block on disk that the index does not know, or until that failed."""
        if self._indexing is not None:
            self._index.hurry()
            await asyncio.wait([self._indexing])

    async def _build_index(self, begun: asyncio.Future[None]) -> None:
        try:
            remembered = await self._index.read()
            if remembered is not None:
                self._index.expect(remembered, self._bounds)
                await self._make_room()
                self._writer.open()
                await self._index.restore(remembered, self._bounds)
        finally:
            begun.set_result(None)
        try:
            if remembered is None:
                await self._index.list_all()
            await self._make_room()
            self._writer.open()
        except OSError as error:
            self._health.off(f"its files cannot be listed ({error.strerror}); check the disk and the permissions")
            return
        try:
            if remembered is not None:
                await self._index.scan()
                await self._make_room()
        except OSError as error:
            # What may lie there uncounted must not grow.
            self._health.read_only(f"its files cannot be listed ({error.strerror}); check the disk and the permissions")
        self._start_saving()

    def _start_saving(self) -> None:
        if self._saving is None or self._saving.done():
            self._save_at = self._clock.monotonic() + SNAPSHOT_INTERVAL_S
            self._saving = self._background.spawn(self._save(), "snapshot of the disk cache")

    async def _save(self) -> None:
        if self._health.state != "rw" or not self._index.changed:
            return
        try:
            await self._index.save()
        except OSError as error:
            self._health.write_failed(error)

    async def upkeep(self) -> None:
        """Look after it, for ever."""
        while True:
            await self._clock.sleep(UPKEEP_INTERVAL_S)
            self._abandon_unless_written()
            if self.owned and not await self._threads.run(self._lock.is_ours):
                self._lose()
            if not self.owned:
                await self.open()
            elif self._health.probe_due():
                await self._probe()
            elif self._health.state == "rw" and self._index.known:
                await self._make_room()
                if self._clock.monotonic() >= self._save_at:
                    await self._writer.remove(await self._favourites.touch(self._bounds.bytes))
                    self._start_saving()
            self._abandon_unless_written()

    def _abandon_unless_written(self) -> None:
        if self._health.state != "rw":
            self._writer.abandon()

    def _lose(self) -> None:
        """The directory, or the lock's file in it, was deleted: what we know of it is void."""
        logger.warning("disk cache %s has been deleted while in use; it is begun anew", self._directory)
        for task in (self._indexing, self._saving):
            if task is not None:
                task.cancel()
        self._writer.pause()
        self.owned = False
        self._index.reset()

    async def _probe(self) -> None:
        try:
            await self._threads.run(self._files.probe)
            await self._writer.make_room()
        except OSError as error:
            logger.debug("disk cache %s still fails: %s", self._directory, error.strerror)
            await self._writer.give_way(error)
            return
        if not self._bounds.reason:
            self._health.recovered()
            if not self._index.complete and (self._indexing is None or self._indexing.done()):
                self._start_indexing()

    async def _make_room(self) -> None:
        try:
            await self._writer.make_room()
        except OSError as error:
            self._health.write_failed(error)

    # --- at the end ---------------------------------------------------------------------------------------------

    async def save(self) -> None:
        """Write a snapshot now, whether or not anything has changed since the last one."""
        self._index.changed = True
        self._start_saving()
        await self.saved()

    async def saved(self) -> None:
        """Wait until the snapshot that is being written is there."""
        if self._saving is not None:
            await asyncio.wait([self._saving])

    async def save_last(self) -> None:
        """Write a snapshot, for the next start."""
        if self.owned and self._index.known:
            self._index.hurry()
            await self._save()

    def release(self) -> None:
        """Give the directory to whoever is next. No thread may be at work in it."""
        self._lock.release()
        self.owned = False
