"""The database of the catalog: records of objects by their names. Blocking; one thread uses it.

It is `diskcache_community.Cache`; what its rows hold `read/catalog_rows` says. A record that cannot be read is absent,
a database that cannot be used is put aside and begun anew, and nobody hears of either but the log.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import sqlite3
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from diskcache_community import Cache, Timeout
from diskcache_community.core import METADATA

from rangecache.read.catalog_rows import RECORD_BYTES_MAX, JSONRows, Page, entry_of, record_in, row_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rangecache.model import ObjectRef
    from rangecache.read.catalog_rows import Record
    from rangecache.read.selection import Selection

logger = logging.getLogger(__name__)

T = TypeVar("T")

FORMAT_VERSION: Final = 2
"""Of the rows. Part of the folder's name and of the database's own header: another version is begun anew."""
DATABASE_BYTES_MAX: Final = 128 * 1024 * 1024
"""About 200,000 objects. Beyond it the records that were stored longest ago go, after each batch."""
PUT_ASIDE_MAX: Final = 3
"""Databases given up in one run of the program; if the next one fails as well, the disk is at fault."""
LOCK_WAIT_S: Final = 1
"""Nobody else has business in the database; but a person may look into it. Beyond it the work is not done."""
_FOLDER: Final = re.compile(r"catalog-\d+(\.aside)?", re.ASCII)

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
}


class CatalogDatabase:
    """In `<directory>/catalog-2`. Nothing is raised: what cannot be done gives None or False, and is logged."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._folder = os.path.join(directory, f"catalog-{FORMAT_VERSION}")
        self._path = os.path.join(self._folder, "cache.db")
        self._cache: Cache | None = None
        self._opened: os.stat_result | None = None
        self._put_aside = 0

    @property
    def given_up(self) -> bool:
        """Too many databases were unusable: none is used until the next start."""
        return self._put_aside > PUT_ASIDE_MAX

    def read(self, ref: ObjectRef) -> Record | None:
        """The record of an object."""
        return self._attempt(lambda cache: _read(cache, ref))

    def write(self, changes: Sequence[tuple[ObjectRef, Record | None]]) -> bool:
        """Make these changes, all or none; None in place of a record is to keep none. Whether it was done."""
        return self._attempt(lambda cache: _write(cache, changes)) or self._is_empty()

    def page(self, selection: Selection, after: str | None, limit: int, *, records: bool) -> Page | None:
        """The next rows of these objects, behind the key `after`. None if that cannot be told."""
        page = self._attempt(lambda _: self._page(selection, after, limit, records=records))
        return Page([], None) if page is None and self._is_empty() else page

    def delete(self, selection: Selection, limit: int) -> Page | None:
        """Delete the first rows of these objects; which ones. None if that failed."""
        page = self._attempt(lambda _: self._delete(selection, limit))
        return Page([], None) if page is None and self._is_empty() else page

    def clear(self) -> bool:
        """Delete everything, at once and whatever state it is in. Whether it was done."""
        self.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        return self._is_empty()

    def close(self) -> None:
        """The next call opens it again."""
        cache, self._cache = self._cache, None
        if cache is not None:
            with suppress(sqlite3.Error):
                cache.close()

    def _is_empty(self) -> bool:
        return not os.path.lexists(self._path)

    def _attempt(self, work: Callable[[Cache], T]) -> T | None:
        if self.given_up:
            return None
        try:
            return work(self._open())
        except Timeout:
            logger.debug("the catalog %s is locked by another program; nothing was changed", self._path)
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
            self.close()  # the folder was deleted under us
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        self._remove_other_formats()
        _examine(self._path)
        self._cache = Cache(self._folder, timeout=LOCK_WAIT_S, disk=JSONRows, **_SETTINGS)
        self._opened = os.stat(self._path)
        return self._cache

    def _begin_anew(self, error: Exception) -> None:
        """Put the database aside, where a person may look at it; the one that was put aside before goes."""
        self.close()
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

    def _remove_other_formats(self) -> None:
        """What they hold, this program would never forget."""
        for name in os.listdir(self._directory):
            if _FOLDER.fullmatch(name) and not name.startswith(os.path.basename(self._folder)):
                shutil.rmtree(os.path.join(self._directory, name), ignore_errors=True)

    def _page(self, selection: Selection, after: str | None, limit: int, *, records: bool) -> Page:
        columns = "key, mode, filename, value" if records else "key, NULL, NULL, NULL"
        first, stop = after or selection.name, selection.stop
        where = f"raw = 1 AND typeof(key) = 'text' AND key {'>' if after is not None else '>='} ?"
        bounds = [first]
        if stop is not None:
            where += " AND key < ?"
            bounds.append(stop)
        query = f"SELECT {columns} FROM Cache WHERE {where} ORDER BY key LIMIT ?"  # noqa: S608 - all words are ours
        with self._connection() as database:
            rows = database.execute(query, (*bounds, limit)).fetchall()
        return Page([entry_of(*row) for row in rows], rows[-1][0] if len(rows) == limit else None)

    def _delete(self, selection: Selection, limit: int) -> Page:
        # Not through the library: it would also delete the file that a damaged row names, wherever that is.
        page = self._page(selection, None, limit, records=False)
        with self._connection() as database:
            # The last commit is synced, and all before it with it: not even a power failure brings a record back.
            database.execute(f"PRAGMA synchronous = {'NORMAL' if page.last is not None else 'FULL'}")
            database.execute("BEGIN IMMEDIATE")
            database.executemany(
                "DELETE FROM Cache WHERE key = ? AND raw = 1", [(entry.row,) for entry in page.entries]
            )
            database.execute("COMMIT")
        return page

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=LOCK_WAIT_S, isolation_level=None)) as connection:
            try:
                yield connection
            except sqlite3.OperationalError as error:
                if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                    raise Timeout from error
                raise


def _read(cache: Cache, ref: ObjectRef) -> Record | None:
    key = row_key(ref)
    return None if key is None else record_in(cache.get(key), ref)


def _write(cache: Cache, changes: Sequence[tuple[ObjectRef, Record | None]]) -> bool:
    with cache.transact():
        for ref, record in changes:
            key = row_key(ref)
            if key is None:
                continue
            if record is None or len(json.dumps([list(ref), record])) > RECORD_BYTES_MAX:
                cache.delete(key)
            else:
                cache.set(key, [list(ref), record])
    # Not with each `set`: pages are given back when a transaction ends, so within one the database seems as large as
    # ever, and every further `set` would throw out ten more rows, in the end its own.
    cache.cull()
    return True


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
