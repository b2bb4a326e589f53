"""Local folders as buckets.

A key is looked up below its bucket's folder and nowhere else. What identifies the bytes is the stat of the open file.
It is looked at again after every piece that is read: the kernel sets a file's times before it changes the bytes, so a
piece that was read before an unchanged stat is of the version announced.
"""

from __future__ import annotations

import asyncio
import mimetypes
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from rangecache.aio.clock import SystemClock
from rangecache.errors import BodyCut, GenerationGone, NotFound, UnknownName
from rangecache.model import ETag, ObjectMeta
from rangecache.origin.base import BucketPage, GetResult
from rangecache.origin.local import select, unchanged
from rangecache.origin.providers.file_listing import list_folder
from rangecache.origin.providers.open_file import OpenFile, open_below

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from concurrent.futures import Future
    from pathlib import Path

    from rangecache.aio.clock import Clock
    from rangecache.model import ObjectRef
    from rangecache.origin.base import ListPage, NotModified, Purpose
    from rangecache.ranges import ByteRange, RangeSpec

CHUNK_BYTES: Final = 1024 * 1024  # a hop to a worker thread costs as much as copying 200 KiB, so few large ones
WORKERS: Final = 8
# Linux stamps files with a clock that moves once a tick, at most every 10 ms (HZ=100). Two writes within a tick leave
# one time stamp; a stat taken two ticks after the last change cannot be equal to that of a later one.
SETTLE_S: Final = 0.02
_SETTLE_TRIES: Final = 5

_T = TypeVar("_T")


class FileStore:
    """An `ObjectStore` over local folders, one a bucket. For systems with POSIX file descriptors.

    Directories, devices, pipes, sockets and whatever lies outside the folder are `NotFound`, as are keys with empty,
    `.` or `..` parts: a file has one name here. A folder that is missing altogether is `Unavailable`: it may be a mount
    that has not come up, and "no such object" would be wrong. A symbolic link that stays in its folder is followed.

    Two limits, by nature: a program that changes bytes through a writable memory map sets the times late, and a file
    system whose stamps are coarser than `SETTLE_S` (FAT, some network shares) can hide two changes in one stamp.
    """

    def __init__(
        self, buckets: Mapping[str, Path], *, clock: Clock | None = None, chunk_bytes: int = CHUNK_BYTES
    ) -> None:
        self._roots = {name: folder.expanduser().absolute() for name, folder in buckets.items()}
        self._clock = clock or SystemClock()
        self._chunk_bytes = chunk_bytes
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="file-origin")
        self._types = mimetypes.MimeTypes()

    def source(self, ref: ObjectRef) -> str:
        """The bucket's folder. Raises `UnknownName`."""
        return f"file {self._root(ref)}"

    async def head(
        self, ref: ObjectRef, *, if_none_match: ObjectMeta | None = None, purpose: Purpose = "demand"
    ) -> ObjectMeta | NotModified:
        """As `ObjectStore.head`."""
        file, meta = await self._open(ref)
        self._release(file)
        return unchanged(meta, if_none_match) or meta

    @asynccontextmanager
    async def get(
        self,
        ref: ObjectRef,
        *,
        range: RangeSpec | None = None,
        if_match: ObjectMeta | None = None,
        if_none_match: ObjectMeta | None = None,
        purpose: Purpose = "demand",
    ) -> AsyncIterator[GetResult | NotModified]:
        """As `ObjectStore.get`. A file that changes while it is read raises `GenerationGone` in its chunks."""
        try:
            file, meta = await self._open(ref)
        except NotFound as error:
            if if_match is None:
                raise
            raise GenerationGone(f"{ref} is no longer there") from error
        try:
            if (same := unchanged(meta, if_none_match)) is not None:
                yield same
                return
            wanted = select(meta, range, if_match)
            yield GetResult(meta, wanted, self._chunks(file, meta, wanted))
        finally:
            self._release(file)

    async def list_page(
        self, below: ObjectRef, *, delimiter: str = "", at: str | None = None, purpose: Purpose = "list"
    ) -> ListPage:
        """As `ObjectStore.list_page`, in the order of the keys' UTF-8; see `file_listing`."""
        return await self._in_worker(partial(list_folder, self._root(below), below, delimiter, at))

    async def bucket_page(self, provider: str, *, at: str | None = None, purpose: Purpose = "list") -> BucketPage:
        """As `ObjectStore.bucket_page`: all that are configured."""
        return BucketPage(sorted(self._roots))

    def check_listable(self, below: ObjectRef) -> None:
        """Folders have a listing."""

    async def aclose(self) -> None:
        """As `ObjectStore.aclose`."""
        self._workers.shutdown(wait=False)

    async def _open(self, ref: ObjectRef) -> tuple[OpenFile, ObjectMeta]:
        opening = self._workers.submit(open_below, self._root(ref), ref)
        try:
            file = await asyncio.wrap_future(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unwanted)
            raise
        try:
            return file, self._meta(ref, file, settled=await self._settle(file))
        except BaseException:
            self._release(file)
            raise

    def _root(self, ref: ObjectRef) -> Path:
        root = self._roots.get(ref.bucket)
        if root is None:
            raise UnknownName(f"{ref.provider} has no bucket {ref.bucket}; add it to the configuration")
        return root

    async def _settle(self, file: OpenFile) -> bool:
        """Wait until the file's stamp can be told from that of any later change. False if it is changing all the time:
        nothing identifies such bytes."""
        for _ in range(_SETTLE_TRIES):
            # A stamp in the future is that of another machine's clock; ours would give a later change another one.
            age_s = self._clock.wall() - file.stat.changed_ns / 1e9
            if not 0 <= age_s < SETTLE_S:
                return True
            await self._clock.sleep(SETTLE_S - age_s)
            await self._in_worker(file.look_again)
        return False

    def _meta(self, ref: ObjectRef, file: OpenFile, *, settled: bool) -> ObjectMeta:
        at = file.stat
        return ObjectMeta(
            ref=ref,
            size=at.size,
            e_tag=ETag(at.tag(), weak=not settled),
            last_modified=at.modified,
            validator=f"stat {at.tag()}" if settled else "",
            source=self.source(ref),
            headers={"content-type": self._content_type(ref.key)},
        )

    def _content_type(self, key: str) -> str:
        # The leading slash keeps a name such as `data:x` from being read as a URL.
        kind, coding = self._types.guess_type("/" + key.rpartition("/")[2])
        if coding is not None:  # the file is the compressed thing, not what is in it
            return "application/gzip" if coding == "gzip" else "application/octet-stream"
        return kind or "application/octet-stream"

    async def _chunks(self, file: OpenFile, meta: ObjectMeta, wanted: ByteRange) -> AsyncIterator[bytes]:
        offset = wanted.start
        while offset < wanted.end:
            length = min(self._chunk_bytes, wanted.end - offset)
            data, now = await self._in_worker(partial(file.read, offset, length))
            if now != file.stat:
                raise GenerationGone(f"{meta.ref} changed while it was read")
            if not data:
                raise BodyCut(f"{meta.ref} ended at byte {offset} of {meta.size}")
            yield data
            offset += len(data)

    async def _in_worker(self, work: Callable[[], _T]) -> _T:
        return await asyncio.wrap_future(self._workers.submit(work))

    def _release(self, file: OpenFile) -> None:
        """Close now, or after the read that a cancelled caller left running."""
        if not file.close_if_idle():
            try:
                self._workers.submit(file.close)
            except RuntimeError:  # the store has been closed meanwhile
                file.close()

    def __repr__(self) -> str:
        return f"<FileStore {', '.join(f'{name}={root}' for name, root in self._roots.items())}>"


def _close_unwanted(opening: Future[OpenFile]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
