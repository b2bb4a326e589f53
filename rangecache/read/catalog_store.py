"""The half of the catalog that survives a restart: records of objects in a small database beside the blocks.

It is `diskcache_community.Cache`, JSON only, used by one thread. A hint and nothing more: a record that cannot be read
is absent, a database that cannot be used is put aside and begun anew, and the reader hears of neither.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sqlite3
import zlib
from contextlib import closing, suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from diskcache_community import Cache, JSONDisk, Timeout
from diskcache_community.core import METADATA, MODE_RAW

from rangecache.aio.tasks import Background
from rangecache.blocks.threads import Threads, wait_at_most

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from rangecache.aio.clock import Clock
    from rangecache.model import ObjectRef

logger = logging.getLogger(__name__)

T = TypeVar("T")
Record = dict[str, Any]

FORMAT_VERSION: Final = 1
"""Of the records. Part of the folder's name and of the database's own header: another version is begun anew."""
DATABASE_BYTES_MAX: Final = 128 * 1024 * 1024
"""About 200,000 objects. Beyond it the records that were stored longest ago go, after each batch."""
RECORD_BYTES_MAX: Final = 256 * 1024
"""As JSON. Response headers are bounded well below it; it also bounds what a damaged row may unpack to."""
PENDING_MAX: Final = 4096
"""Changes that wait for the thread. Beyond it the oldest is lost, and that object is asked for again some day."""
BATCH: Final = 64
"""Changes of one transaction: it holds up a read of the same thread by about 5 ms."""
PUT_ASIDE_MAX: Final = 3
"""Databases given up in one run of the program; if the next one fails as well, the disk is at fault."""
LOCK_WAIT_S: Final = 1
"""Nobody else has business in the database; but a person may look into it. Beyond it the change is dropped."""
CLOSE_TIMEOUT_S: Final = 5
"""How long closing waits for what has not been written."""

_SETTINGS: Final[dict[str, Any]] = {
    "statistics": 0,
    "tag_index": 0,
    "eviction_policy": "least-recently-stored",  # the one order that costs a read no write
    "size_limit": DATABASE_BYTES_MAX,
    "cull_limit": 0,  # see _write
    "sqlite_auto_vacuum": 1,
    "sqlite_cache_size": 1024,  # pages of 4 KiB
    "sqlite_journal_mode": "wal",
    "sqlite_mmap_size": 0,  # a mapped file that somebody truncates would kill the process with SIGBUS
    "sqlite_synchronous": 1,
    "disk_min_file_size": 1 << 30,  # every value lies in its row, none in a file beside the database
    "disk_pickle_protocol": 0,  # never used
    "disk_compress_level": 1,
}


class DiskCatalogStore:
    """A `read.catalog.CatalogStore` in `<directory>/catalog-1`. Use while `owned()` says that the directory is ours."""

    def __init__(self, directory: str | os.PathLike[str], owned: Callable[[], bool], clock: Clock) -> None:
        self._folder = os.path.join(os.fspath(directory), f"catalog-{FORMAT_VERSION}")
        self._path = os.path.join(self._folder, "cache.db")
        self._owned = owned
        self._clock = clock
        self._threads = Threads(1, "catalog")
        self._background = Background()
        self._writing: asyncio.Task[None] | None = None
        self._pending: dict[ObjectRef, Record | None] = {}  # None: to be forgotten
        self._cache: Cache | None = None
        self._opened: os.stat_result | None = None
        self._put_aside = 0
        self._closing = False

    async def get(self, ref: ObjectRef) -> Record | None:
        """The record last put, also by an earlier process; None if there is none that can be read."""
        if ref in self._pending:
            return self._pending[ref]
        if not self._usable:
            return None
        record = await self._threads.run(self._attempt, _read, ref)
        # What was put or forgotten while the thread read is newer.
        return self._pending.get(ref, record)

    def put(self, ref: ObjectRef, record: Record) -> None:
        """Keep this record, JSON values only; it must not be changed afterwards. Written later, or lost."""
        self._change(ref, record)

    def forget(self, ref: ObjectRef) -> None:
        """Keep no record of this object. `get` obeys at once."""
        self._change(ref, None)

    async def flush(self) -> None:
        """Wait until all changes have been written or given up."""
        if self._writing is not None:
            await self._writing

    async def aclose(self) -> None:
        """Write what is pending, within a bound of time, and close the database."""
        if self._closing:
            return
        self._closing = True
        if self._writing is not None:
            await wait_at_most(CLOSE_TIMEOUT_S, self._clock, [self._writing])
        await self._background.aclose()
        self._threads.submit(self._close)
        await self._threads.aclose(CLOSE_TIMEOUT_S, self._clock)

    @property
    def _usable(self) -> bool:
        return self._owned() and not self._closing and self._put_aside <= PUT_ASIDE_MAX

    def _change(self, ref: ObjectRef, record: Record | None) -> None:
        if not self._usable:
            return
        self._pending.pop(ref, None)
        self._pending[ref] = record
        if len(self._pending) > PENDING_MAX:
            del self._pending[next(iter(self._pending))]
        if self._writing is None or self._writing.done():
            self._writing = self._background.spawn(self._write_pending(), "writer of the catalog")

    async def _write_pending(self) -> None:
        while self._pending:
            batch = list(islice(self._pending.items(), BATCH))
            if self._owned():
                await self._threads.run(self._attempt, _write, batch)
            for ref, record in batch:
                if ref in self._pending and self._pending[ref] is record:
                    del self._pending[ref]

    # --- on the thread ------------------------------------------------------------------------------------------

    def _attempt(self, work: Callable[[Cache, Any], T], argument: Any) -> T | None:
        """Do `work` with the database; None if it cannot be done."""
        try:
            return work(self._open(), argument)
        except Timeout:
            logger.debug("the catalog %s is locked by another program; changes were dropped", self._path)
        except sqlite3.OperationalError as error:
            # Errors that Python's module raises by itself, such as text that is no UTF-8, have no code.
            if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_FULL:
                self._begin_anew(error)
        except Exception as error:  # noqa: BLE001 - a database that somebody has changed may make the library raise anything
            self._begin_anew(error)
        return None

    def _open(self) -> Cache:
        if self._cache is not None and self._opened is not None:
            with suppress(FileNotFoundError):
                if os.path.samestat(self._opened, os.stat(self._path)):
                    return self._cache
            self._close()  # the folder was deleted under us
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        _examine(self._path)
        self._cache = Cache(self._folder, timeout=LOCK_WAIT_S, disk=_JSONOnly, **_SETTINGS)
        self._opened = os.stat(self._path)
        return self._cache

    def _close(self) -> None:
        cache, self._cache = self._cache, None
        if cache is not None:
            with suppress(sqlite3.Error):
                cache.close()

    def _begin_anew(self, error: Exception) -> None:
        """Put the database aside, where a person may look at it; the one that was put aside before goes."""
        self._close()
        self._put_aside += 1
        aside = self._folder + ".aside"
        logger.warning("the catalog in %s cannot be used (%s) and is put aside as %s", self._folder, error, aside)
        try:
            shutil.rmtree(aside, ignore_errors=True)
            os.rename(self._folder, aside)
        except OSError as failure:
            logger.warning("the catalog could not be put aside: %s", failure)
        if self._put_aside > PUT_ASIDE_MAX:
            logger.warning("no catalog is kept on disk until the next start: a restart will be cold")


def _read(cache: Cache, ref: ObjectRef) -> Record | None:
    # The name is kept with the record too: a damaged index may lead to the row of another object.
    match cache.get(list(ref)):
        case [name, dict() as record] if name == list(ref):
            return record
    return None


def _write(cache: Cache, changes: Sequence[tuple[ObjectRef, Record | None]]) -> None:
    with cache.transact():
        for ref, record in changes:
            name = list(ref)
            if record is None or len(json.dumps([name, record])) > RECORD_BYTES_MAX:
                cache.delete(name)
            else:
                cache.set(name, [name, record])
    # Not with each `set`: pages are given back when a transaction ends, so within one the database seems as large as
    # ever, and every further `set` would throw out ten more rows, in the end its own.
    cache.cull()


def _examine(path: str) -> None:
    """Return if there is no database yet, and then make one, or if it is whole, ours and free. Else raise.

    Before the library opens it: the library would wait a minute for a locked one, and would take every row of the
    settings table, whatever its name, for an attribute of its own.
    """
    new = not os.path.exists(path)
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as database:
        if new:
            database.execute("PRAGMA auto_vacuum = 1")
            database.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
            return
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version != FORMAT_VERSION:
            raise sqlite3.DatabaseError(f"its format is {version}, not {FORMAT_VERSION}")
        database.execute("BEGIN IMMEDIATE")
        database.execute("ROLLBACK")
        (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'Settings'").fetchone() is None:
            return  # we were killed between this function and the library's first step
        stored = dict(database.execute("SELECT key, value FROM Settings").fetchall())
        if any(key not in METADATA and _SETTINGS.get(key) != value for key, value in stored.items()):
            raise sqlite3.DatabaseError("its settings are not ours")


class _JSONOnly(JSONDisk):
    """`JSONDisk` writes JSON and reads whatever a row says it is: a row of mode 4 is unpickled, which runs code.

    Here a row is JSON or unreadable, and an unreadable row is deleted and absent (`on_error`).
    """

    on_error = "miss"

    def get(self, key: Any, raw: bool) -> Any:
        """A row's key."""
        if not raw or not isinstance(key, bytes):
            raise ValueError("a key that is no JSON")
        return _unpack(key)

    def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> Any:
        """A row's value."""
        if mode != MODE_RAW or filename is not None or read or not isinstance(value, bytes):
            raise ValueError("a value that is no JSON in its row")
        return _unpack(value)


def _unpack(packed: bytes) -> Any:
    unpacking = zlib.decompressobj()
    text = unpacking.decompress(packed, RECORD_BYTES_MAX)
    if not unpacking.eof:
        raise ValueError("cut, or longer than any record")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested deeper than any record") from error
