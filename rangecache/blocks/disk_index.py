"""What the disk tier knows of its directory, over restarts: which blocks there are, how large, which go first.

It lives in the tier's policy. Once a minute it is written as a snapshot (`disk_snapshot.py`), and what comes and goes
in between is in a journal (`disk_journal.py`) before it is in the directory. So a restart knows at once all that may be
on disk: the bound holds from the first write on, whatever ended the program. Then the directory is looked through in
the background, at a fifth of one core at most (as nginx: 50 ms, 200 ms pause), for what neither has told:

- a file that the index does not know (a power failure, a copy) is taken up as new, or removed if it is no block;
- a block without a file (somebody deleted it) is given up.

Without a snapshot that can be read the directory is listed with sizes and times of change; until that is done nothing
is written. All of it runs on the event loop in pieces of about a millisecond, file work on threads.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import os
import re
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from rangecache.blocks.admission import Standing
from rangecache.blocks.base import steps
from rangecache.blocks.disk_files import STORED
from rangecache.blocks.disk_journal import RECORD, Journal
from rangecache.blocks.disk_snapshot import INDEX_VERSION, SnapshotError, SnapshotWriter, read_snapshot

if TYPE_CHECKING:
    from rangecache.aio.clock import Clock
    from rangecache.blocks.admission import Admission
    from rangecache.blocks.disk_bounds import Bounds
    from rangecache.blocks.disk_files import BlockFiles
    from rangecache.blocks.disk_snapshot import Snapshot
    from rangecache.blocks.threads import Threads
    from rangecache.blocks.write_queue import WriteQueue

logger = logging.getLogger(__name__)

STEP: Final = 256
"""Blocks that are taken in or written down before the loop turns to requests: about half a millisecond."""
PAUSE_FACTOR: Final = 4
"""The background work pauses so many times as long as it has worked …"""
PAUSE_S: Final = 0.2
"""… but at most so long at once."""
WRITE_BYTES: Final = 256 * 1024
"""A snapshot goes to its thread in pieces of this size, so that it never exists in memory as a whole."""
_FOLDER: Final = re.compile(r"index-\d+", re.ASCII)


class Remembered(NamedTuple):
    """The index as the last program left it."""

    snapshot: Snapshot
    changed: dict[bytes, int]
    """What has come and gone since, with its size or 0, in order."""


class DiskIndex:
    """Fills the policy at start, keeps it true, and keeps it. One task at a time builds it."""

    def __init__(
        self,
        directory: str,
        files: BlockFiles,
        policy: Admission[bytes],
        queue: WriteQueue,
        threads: Threads,
        clock: Clock,
    ) -> None:
        self._directory = directory
        self._folder = os.path.join(directory, f"index-{INDEX_VERSION}")
        self._snapshot = os.path.join(self._folder, "snapshot")
        self._files = files
        self._policy = policy
        self._queue = queue
        self._threads = threads
        self._clock = clock
        self._hurry = asyncio.Event()
        self._gone: set[bytes] = set()
        self.journal = Journal(self._folder)
        self.known = False
        """Whether every block that may be on disk is in the policy; until then reads go by path too."""
        self.complete = False
        """Whether the directory has been looked through: there are no other blocks, whatever had happened to it."""
        self.changed = True
        """Whether anything has come, gone or been read since the last snapshot."""

    def prepare(self) -> None:
        """Make the folder; on a thread. What another format has left knows nothing of what we do. Raises `OSError`."""
        with suppress(FileExistsError):
            os.mkdir(self._folder, 0o700)
        for name in os.listdir(self._directory):
            if _FOLDER.fullmatch(name) and name != os.path.basename(self._folder):
                shutil.rmtree(os.path.join(self._directory, name), ignore_errors=True)

    def reset(self) -> None:
        """Know nothing: the directory is not ours, or another one."""
        self.known = self.complete = False
        self.changed = True
        self._gone.clear()
        self._policy.evict(0)
        self._hurry.clear()

    def hurry(self) -> None:
        """Somebody waits: no pauses from now on."""
        self._hurry.set()

    def missed(self, name: bytes) -> None:
        """A reader found no sound file at this path: what a listing said before is no longer true."""
        if not self.known:
            self._gone.add(name)

    # --- at start -----------------------------------------------------------------------------------------------

    async def read(self) -> Remembered | None:
        """What snapshot and journal say; None if there is no snapshot that can be read."""
        try:
            return await self._threads.run(self._read)
        except FileNotFoundError:
            return None
        except SnapshotError as error:
            logger.warning("%s is put aside: %s; the directory is listed instead", self._snapshot, error)
        except OSError as error:
            logger.warning("%s cannot be read (%s); the directory is listed instead", self._snapshot, error.strerror)
        return None

    def _read(self) -> Remembered:
        try:
            snapshot = read_snapshot(self._snapshot)
        except SnapshotError:
            with suppress(OSError):  # a folder could not be replaced by the next snapshot
                os.rename(self._snapshot, f"{self._snapshot}.damaged")
            raise
        changed: dict[bytes, int] = {}
        for frame in self.journal.read_from(snapshot.journal):
            for name, size_bytes, _ in RECORD.iter_unpack(frame):
                changed.pop(name, None)
                changed[name] = size_bytes
        return Remembered(snapshot, changed)

    def expect(self, remembered: Remembered, bounds: Bounds) -> None:
        """Count what is remembered before it is taken up, so that blocks can be written meanwhile."""
        snapshot, changed = remembered
        bounds.expected_blocks = snapshot.blocks + len(changed)
        bounds.expected_bytes = snapshot.bytes + sum(changed.values())

    async def restore(self, remembered: Remembered, bounds: Bounds) -> None:
        """Take up what is remembered, the first to go first: so that if a block has to go meanwhile, it is the right
        one."""
        snapshot, changed = remembered
        for step in steps(RECORD.iter_unpack(snapshot.records), STEP):
            for name, size_bytes, rank in step:
                bounds.expected_bytes -= size_bytes
                if name not in self._gone and name not in changed:
                    self._policy.restore(Standing(name, size_bytes, rank))
            bounds.expected_blocks -= len(step)
            await asyncio.sleep(0)
        for later in steps(changed.items(), STEP):
            for name, size_bytes in later:
                bounds.expected_bytes -= size_bytes
                if size_bytes and name not in self._gone and name not in self._policy:
                    self._policy.admit(name, size_bytes)
            bounds.expected_blocks -= len(later)
            await asyncio.sleep(0)
        self._is_known()

    async def list_all(self) -> None:
        """Learn what lies in the directory, oldest first. Raises `OSError`."""
        listings = []
        for shelf in await self._threads.run(self._files.shelves):
            since_s = self._clock.monotonic()
            listings.append(await self._threads.run(self._list, shelf))
            await self._pause(since_s, 1)  # every block that is fetched meanwhile waits to be written
        oldest_first = heapq.merge(*(STORED.iter_unpack(listing) for listing in listings))
        for step in steps(oldest_first, STEP):
            for _, name, size_bytes in step:
                # A file that has been deleted since it was listed would be taken for there, and not written anew.
                if name not in self._gone:
                    self._policy.admit(name, size_bytes)
            await asyncio.sleep(0)
        self._is_known()
        self._is_complete()

    def _list(self, shelf: str) -> bytes:
        return self._files.listing(self._files.names(shelf))

    def _is_known(self) -> None:
        self.known = True
        self._gone.clear()

    def _is_complete(self) -> None:
        self.complete = True
        self._hurry.clear()

    # --- the scan -----------------------------------------------------------------------------------------------

    async def scan(self) -> None:
        """Look through the directory for what snapshot and journal have not told. Raises `OSError`."""
        seen = _Seen(len(self._policy))
        strangers = 0
        for shelf in await self._threads.run(self._files.shelves):
            since_s = self._clock.monotonic()
            names = await self._threads.run(self._files.names, shelf)
            unknown = []
            for step in steps(iter(names), STEP):
                for name in step:
                    seen.add(name)
                unknown += [name for name in step if name not in self._policy]
                await asyncio.sleep(0)
            strangers += await self._take_up(unknown)
            await self._pause(since_s)
        lost = 0
        for held in steps(self._policy.standing(), STEP):
            since_s = self._clock.monotonic()
            unseen = [each.key for each in held if each.key not in seen and self._queue.find(each.key) is None]
            lost += await self._give_up(unseen)
            await self._pause(since_s)
        self._is_complete()
        if strangers or lost:
            logger.info(
                "disk cache %s: %d blocks found that the index had not, %d of its own not found",
                self._directory,
                strangers,
                lost,
            )

    async def _take_up(self, names: list[bytes]) -> int:
        if not names:
            return 0
        listing = await self._threads.run(self._files.listing, names)
        taken = 0
        for _, name, size_bytes in STORED.iter_unpack(listing):
            # One that was written, and perhaps evicted, since it was seen: at worst a block without a file.
            if name not in self._policy:
                self._policy.admit(name, size_bytes)
                taken += 1
        return taken

    async def _give_up(self, names: list[bytes]) -> int:
        if not names:
            return 0
        missing = await self._threads.run(self._files.missing, names)
        for name in missing:
            self._policy.remove(name)
        # If one has been written since it was looked for, it goes too: no file may be there that is not counted.
        await self._threads.run(self._files.remove, missing)
        return len(missing)

    # --- the snapshot -------------------------------------------------------------------------------------------

    async def save(self) -> None:
        """Write a snapshot. Blocks may come and go meanwhile: the journal after it tells. Raises `OSError`."""
        self.changed = False
        number = await self._threads.run(self.journal.rotate)
        writer = SnapshotWriter(self._snapshot, number)
        try:
            await self._threads.run(writer.begin)
            records, size_bytes = bytearray(), 0
            for step in steps(self._policy.standing(), STEP):
                since_s = self._clock.monotonic()
                for each in step:
                    records += RECORD.pack(*each)
                    size_bytes += each.size_bytes
                await self._pause(since_s)
                if len(records) >= WRITE_BYTES:
                    await self._threads.run(writer.add, bytes(records), size_bytes)
                    records, size_bytes = bytearray(), 0
            await self._threads.run(writer.add, bytes(records), size_bytes)
            await self._threads.run(writer.finish)
        except BaseException:
            self.changed = True
            self._threads.submit(writer.abort)
            raise
        await self._threads.run(self.journal.forget_before, number)

    async def _pause(self, since_s: float, factor: int = PAUSE_FACTOR) -> None:
        """Give way for a multiple of the time worked, or until somebody is in a hurry."""
        pause_s = min(PAUSE_S, factor * (self._clock.monotonic() - since_s))
        if pause_s <= 0 or self._hurry.is_set():
            await asyncio.sleep(0)
            return
        waits = [asyncio.ensure_future(self._clock.sleep(pause_s)), asyncio.ensure_future(self._hurry.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


class _Seen:
    """Names that a listing has shown, in two bytes each: one in sixteen of the others passes for seen too."""

    def __init__(self, names: int) -> None:
        self._bits = bytearray(2 * names + 4096)

    def add(self, name: bytes) -> None:
        at = hash(name) % (8 * len(self._bits))
        self._bits[at >> 3] |= 1 << (at & 7)

    def __contains__(self, name: bytes) -> bool:
        at = hash(name) % (8 * len(self._bits))
        return bool(self._bits[at >> 3] & 1 << (at & 7))
