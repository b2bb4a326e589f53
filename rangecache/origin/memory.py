"""Objects in memory: the origin of tests and of trying things out. It is an `ObjectStore` like every other.

Tests put and delete objects by hand, read what was asked in `requests`, and make it fail or wait with `before_answer`
and `before_chunk`, which may raise any error of `rangecache.errors` or await an event.
"""

from __future__ import annotations

import hashlib
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from rangecache.errors import GenerationGone, NotFound
from rangecache.model import ETag, ObjectMeta, ObjectRef
from rangecache.origin.base import BucketPage, GetResult, Listed, ListPage
from rangecache.origin.local import page_of, select, unchanged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from rangecache.origin.base import NotModified, Purpose
    from rangecache.ranges import ByteRange, RangeSpec

REQUESTS_KEPT: Final = 100_000  # the log is bounded as everything is; `request_count` goes on counting
CHUNK_BYTES: Final = 64 * 1024
PAGE_ENTRIES: Final = 1000
_LAST_MODIFIED: Final = datetime(2026, 1, 1, tzinfo=UTC)  # fixed, so that what a test builds is the same every time


@dataclass(frozen=True, slots=True)
class MemoryRequest:
    """One call, as the store saw it."""

    method: Literal["HEAD", "GET", "LIST"]
    ref: ObjectRef
    range: RangeSpec | None
    if_match: ObjectMeta | None
    if_none_match: ObjectMeta | None
    purpose: Purpose


@dataclass(frozen=True, slots=True)
class _Stored:
    meta: ObjectMeta
    data: bytes


class MemoryStore:
    """An `ObjectStore` over a dictionary.

    A body that is being read keeps the bytes it began with, whatever is put meanwhile. A `ref` with a version is an
    object of its own: put it under that very `ref`.
    """

    def __init__(
        self,
        *,
        source: str = "memory",
        chunk_bytes: int = CHUNK_BYTES,
        page_entries: int = PAGE_ENTRIES,
        ignores_ranges: bool = False,
        before_answer: Callable[[MemoryRequest], Awaitable[None]] | None = None,
        before_chunk: Callable[[MemoryRequest, int], Awaitable[None]] | None = None,
    ) -> None:
        self._source = source
        self._chunk_bytes = chunk_bytes
        self._page_entries = page_entries
        self._objects: dict[ObjectRef, _Stored] = {}
        self.ignores_ranges = ignores_ranges
        """Answer every range with the whole object, as some servers do."""
        self.before_answer = before_answer
        """Awaited with each request before anything is looked up."""
        self.before_chunk = before_chunk
        """Awaited with the request and the offset of the bytes that come next."""
        self.requests: deque[MemoryRequest] = deque(maxlen=REQUESTS_KEPT)
        """The latest requests, oldest first."""
        self.request_count = 0
        self.open_bodies = 0
        """Answers whose context has been entered and not left."""
        self.closed = False

    def put(
        self,
        ref: ObjectRef,
        data: bytes,
        *,
        e_tag: ETag | Literal["digest"] | None = "digest",
        headers: Mapping[str, str] | None = None,
        last_modified: datetime | None = _LAST_MODIFIED,
    ) -> ObjectMeta:
        """Write an object. Its ETag is a digest of `data` unless given; a weak one or None leaves it without a
        validator. `headers` are its response headers, names in lower case; `content-encoding` is taken from them."""
        tag = ETag(hashlib.sha256(data).hexdigest()[:32]) if e_tag == "digest" else e_tag
        shown = {"content-type": "application/octet-stream", **(headers or {})}
        meta = ObjectMeta(
            ref=ref,
            size=len(data),
            e_tag=tag,
            last_modified=last_modified,
            validator=f"etag {tag}" if tag is not None and not tag.weak else "",
            source=self._source,
            content_encoding=shown.get("content-encoding", "").lower(),
            version=ref.version,
            headers=shown,
        )
        self._objects[ref] = _Stored(meta, data)
        return meta

    def delete(self, ref: ObjectRef) -> None:
        """Remove an object, if it is there."""
        self._objects.pop(ref, None)

    def source(self, ref: ObjectRef) -> str:
        """As `ObjectStore.source`: the same for all objects."""
        return self._source

    async def head(
        self, ref: ObjectRef, *, if_none_match: ObjectMeta | None = None, purpose: Purpose = "demand"
    ) -> ObjectMeta | NotModified:
        """As `ObjectStore.head`."""
        stored = await self._look_up(MemoryRequest("HEAD", ref, None, None, if_none_match, purpose))
        return unchanged(stored.meta, if_none_match) or stored.meta

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
        """As `ObjectStore.get`."""
        request = MemoryRequest("GET", ref, range, if_match, if_none_match, purpose)
        stored = await self._look_up(request)
        if (same := unchanged(stored.meta, if_none_match)) is not None:
            yield same
            return
        wanted = select(stored.meta, None if self.ignores_ranges else range, if_match)
        self.open_bodies += 1
        try:
            yield GetResult(stored.meta, wanted, self._chunks(request, stored.data, wanted))
        finally:
            self.open_bodies -= 1

    async def list_page(
        self, below: ObjectRef, *, delimiter: str = "", at: str | None = None, purpose: Purpose = "list"
    ) -> ListPage:
        """As `ObjectStore.list_page`, in the order of the keys' UTF-8."""
        await self._note(MemoryRequest("LIST", below, None, None, None, purpose))
        found = [
            Listed(ref.key, stored.meta.size, stored.meta.e_tag, stored.meta.last_modified)
            for ref, stored in self._objects.items()
            if ref[:2] == below[:2] and ref.version is None and ref.key.startswith(below.key)
        ]
        return page_of(found, below.key, delimiter, at, self._page_entries)

    async def bucket_page(self, provider: str, *, at: str | None = None, purpose: Purpose = "list") -> BucketPage:
        """As `ObjectStore.bucket_page`: those that hold an object."""
        await self._note(MemoryRequest("LIST", ObjectRef(provider, "", ""), None, None, None, purpose))
        buckets = sorted({ref.bucket for ref in self._objects if at is None or ref.bucket > at})
        page = buckets[: self._page_entries]
        return BucketPage(page, page[-1] if len(buckets) > len(page) else None)

    def check_listable(self, below: ObjectRef) -> None:
        """It has a listing."""

    async def aclose(self) -> None:
        """As `ObjectStore.aclose`."""
        self.closed = True

    async def _note(self, request: MemoryRequest) -> None:
        self.requests.append(request)
        self.request_count += 1
        if self.before_answer is not None:
            await self.before_answer(request)

    async def _look_up(self, request: MemoryRequest) -> _Stored:
        await self._note(request)
        stored = self._objects.get(request.ref)
        if stored is None:
            if request.if_match is not None:
                raise GenerationGone(f"{request.ref} is no longer there")
            raise NotFound(f"there is no object {request.ref}")
        return stored

    async def _chunks(self, request: MemoryRequest, data: bytes, wanted: ByteRange) -> AsyncIterator[bytes]:
        for start in range(wanted.start, wanted.end, self._chunk_bytes):
            if self.before_chunk is not None:
                await self.before_chunk(request, start)
            yield data[start : min(start + self._chunk_bytes, wanted.end)]

    def __repr__(self) -> str:
        return f"<MemoryStore objects={len(self._objects)} requests={self.request_count}>"
