"""The half of the catalog that survives a restart: records of objects in a small database beside the blocks.

A hint and nothing more: a record that cannot be read is absent, and the reader does not hear of it. But what has been
forgotten or replaced must not come back, neither by a lost change nor by a restart. So a change that cannot be kept
becomes a `forget`, which is small, and if there are too many of those, the whole database goes.
"""

from __future__ import annotations

import asyncio
import os
from itertools import islice
from typing import TYPE_CHECKING, Final

from rangecache.aio.tasks import Background
from rangecache.blocks.threads import Threads, wait_at_most
from rangecache.errors import TierError
from rangecache.read.catalog import Purged
from rangecache.read.catalog_database import CatalogDatabase
from rangecache.read.catalog_rows import Entry, Page, row_key

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from rangecache.aio.clock import Clock
    from rangecache.model import ObjectRef
    from rangecache.read.catalog_rows import Record
    from rangecache.read.selection import Selection

PENDING_MAX: Final = 4096
"""Changes that wait for the thread with their records. Of a further one only the `forget` of what was there waits."""
FORGETS_MAX: Final = 65_536
"""Changes that wait at all, about 200 bytes each. Beyond it the database is emptied."""
BATCH: Final = 64
"""Changes of one transaction: it holds up a read of the same thread by about 5 ms."""
DELETE_BATCH: Final = 256
"""Rows that one transaction of a purge deletes: some 5 ms."""
NAMES_BATCH: Final = 2048
"""Rows of which one trip to the thread reads the names: some 5 ms."""
CLOSE_TIMEOUT_S: Final = 5
"""How long closing waits for what has not been written."""


_UNREADABLE: Final = "its database cannot be read now"


class DiskCatalogStore:
    """A `read.catalog.CatalogStore` in a cache directory. Use while `owned()` says that the directory is ours."""

    def __init__(self, directory: str | os.PathLike[str], owned: Callable[[], bool], clock: Clock) -> None:
        self._database = CatalogDatabase(os.fspath(directory))
        self._owned = owned
        self._clock = clock
        self._threads = Threads(1, "catalog")
        self._background = Background()
        self._writing: asyncio.Task[None] | None = None
        self._pending: dict[ObjectRef, Record | None] = {}  # None: to be forgotten
        self._emptying = False
        self._reading: dict[ObjectRef, asyncio.Future[Record | None]] = {}
        self._purging: list[Selection] = []
        self._purges = 0
        self._closing = False

    async def get(self, ref: ObjectRef) -> Record | None:
        """The record last put, also by an earlier process; None if there is none that can be read. Callers who ask for
        one object at once share one trip to the thread."""
        if ref in self._pending:
            return self._pending[ref]
        if not self._usable or self._emptying or any(selection.matches(ref) for selection in self._purging):
            return None
        purges = self._purges
        reading = self._reading.get(ref)
        if reading is None:
            reading = self._reading[ref] = self._threads.submit(self._database.read, ref)
            reading.add_done_callback(lambda _: self._reading.pop(ref))
        record = await asyncio.shield(reading)
        # What was put, forgotten or purged while the thread read is newer.
        return self._pending.get(ref, record if purges == self._purges else None)

    def put(self, ref: ObjectRef, record: Record) -> None:
        """Keep this record, JSON values only; it must not be changed afterwards. Written later, or lost."""
        self._change(ref, record)

    def forget(self, ref: ObjectRef) -> None:
        """Keep no record of this object. `get` obeys at once."""
        self._change(ref, None)

    async def page(self, selection: Selection, after: str | None, limit: int) -> Page:
        """The next records of these objects in the order of their names, behind the row `after`."""
        page: Page | None = None
        if self._usable and not self._emptying:
            page = await self._threads.run(self._database.page, selection, after, limit, records=True)
        page = page or Page([], None)
        rows = {entry.row: entry for entry in page.entries}
        for ref, record in self._pending.items():
            row = row_key(ref)
            inside = row is not None and (after is None or row > after) and (page.last is None or row <= page.last)
            if row is not None and inside and selection.matches(ref):
                rows[row] = Entry(row, ref, record)
        entries = [rows[row] for row in sorted(rows)]
        last = page.last if len(entries) <= limit else entries[limit - 1].row
        return Page([entry for entry in entries[:limit] if entry.record is not None], last)

    async def refs(self, selection: Selection) -> AsyncGenerator[list[ObjectRef], None]:
        """The objects of which there are records, some at a time. Raises `TierError` where that cannot be told."""
        yield [ref for ref, record in self._pending.items() if record is not None and selection.matches(ref)]
        after: str | None = None
        while not self._emptying:
            page = await self._threads.run(self._database.page, selection, after, NAMES_BATCH, records=False)
            if page is None or not self._owned():
                raise TierError(_UNREADABLE)
            yield [entry.ref for entry in page.entries if entry.ref not in self._pending]
            if (after := page.last) is None:
                return

    async def purge(self, selection: Selection) -> Purged:
        """Keep no record of these objects. `get` obeys from the call on; when it returns, a restart does too, except
        for what `failed` says."""
        refs = {ref for ref, record in self._pending.items() if record is not None and selection.matches(ref)}
        self._pending.update(dict.fromkeys(refs))
        self._purging.append(selection)
        self._purges += 1
        try:
            while self._owned() and not self._closing:
                deleted = await self._threads.run(self._database.delete, selection, DELETE_BATCH)
                if deleted is None:
                    return Purged(refs, "its database cannot be written now")
                refs.update(entry.ref for entry in deleted.entries)
                if deleted.last is None:
                    return Purged(refs)
            return Purged(refs, _UNREADABLE)
        finally:
            self._purging.remove(selection)
            self._purges += 1

    async def flush(self) -> None:
        """Wait until all changes have been written or given up."""
        if self._writing is not None:
            await asyncio.wait([self._writing])  # whoever loses patience with it must not cancel it

    async def aclose(self) -> None:
        """Write what is pending, within a bound of time, and close the database."""
        if self._closing:
            return
        self._closing = True
        if self._writing is not None:
            await wait_at_most(CLOSE_TIMEOUT_S, self._clock, [self._writing])
        await self._background.aclose()
        if self._owned():
            self._threads.submit(self._forget_for_good, list(dict.fromkeys(self._pending).items()))
        self._threads.submit(self._database.close)
        await self._threads.aclose(CLOSE_TIMEOUT_S, self._clock)

    def _forget_for_good(self, pending: list[tuple[ObjectRef, Record | None]]) -> None:
        """On the thread. What has been forgotten or replaced may not be there when the next process comes."""
        if self._emptying or (pending and not self._database.write(pending)):
            self._database.clear()

    @property
    def _usable(self) -> bool:
        return self._owned() and not self._closing and not self._database.given_up

    def _change(self, ref: ObjectRef, record: Record | None) -> None:
        if not self._usable:
            return
        self._pending.pop(ref, None)
        self._pending[ref] = record if len(self._pending) < PENDING_MAX else None
        if len(self._pending) > FORGETS_MAX:
            self._pending.clear()
            self._emptying = True
        if self._writing is None or self._writing.done():
            self._writing = self._background.spawn(self._write_pending(), "writer of the catalog")

    async def _write_pending(self) -> None:
        """Until all is written, or something cannot be: then the next change, or the end, tries again."""
        while self._pending or self._emptying:
            if not self._owned():
                self._pending.clear()
                self._emptying = False
                return
            if self._emptying:
                if not await self._threads.run(self._database.clear):
                    return
                self._emptying = False
                continue
            batch = list(islice(self._pending.items(), BATCH))
            done = await self._threads.run(self._database.write, batch)
            for ref, record in batch:
                if ref not in self._pending or self._pending[ref] is not record:
                    continue
                if done:
                    del self._pending[ref]
                else:
                    self._pending[ref] = None  # what was there before must not take its place
            if not done:
                return
