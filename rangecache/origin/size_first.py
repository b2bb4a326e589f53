"""Suffix ranges for origins that have none, such as Azure Blob: the size first, then the range that they mean."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from rangecache.errors import GenerationGone, RangeNotSatisfiable, Unavailable
from rangecache.origin.base import GetResult, NotModified
from rangecache.ranges import SuffixRange, resolve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rangecache.model import ObjectMeta, ObjectRef
    from rangecache.origin.base import BucketPage, ListPage, ObjectStore, Purpose
    from rangecache.ranges import RangeSpec

TRIES: Final = 3  # of an object that is overwritten between the question for its size and that for its bytes


class SizeFirst:
    """An `ObjectStore` that never asks the one inside for a suffix range.

    The size is asked for by a HEAD, and the bytes are pinned to the version that it was of; a pinned read knows the
    size already and is one request.
    """

    def __init__(self, inner: ObjectStore) -> None:
        self._inner = inner

    def source(self, ref: ObjectRef) -> str:
        """As the store inside."""
        return self._inner.source(ref)

    async def head(
        self, ref: ObjectRef, *, if_none_match: ObjectMeta | None = None, purpose: Purpose = "demand"
    ) -> ObjectMeta | NotModified:
        """As the store inside."""
        return await self._inner.head(ref, if_none_match=if_none_match, purpose=purpose)

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
        """See `ObjectStore.get`. Raises `Unavailable` for an object that is overwritten all the time."""
        if not isinstance(range, SuffixRange):
            async with self._inner.get(
                ref, range=range, if_match=if_match, if_none_match=if_none_match, purpose=purpose
            ) as found:
                yield found
            return
        for _ in (None,) * TRIES:
            known = if_match or await self._inner.head(ref, if_none_match=if_none_match, purpose=purpose)
            if isinstance(known, NotModified):
                yield known
                return
            wanted = resolve(range, known.size)
            if wanted is None and known.size:
                raise RangeNotSatisfiable(f"the range asked for lies outside {ref}", known.size)
            opened = False
            try:
                # What gives nothing to pin by is asked for as it is now; the answer's size shows whether that fits.
                pin = known if known.validator else None
                async with self._inner.get(ref, range=wanted, if_match=pin, purpose=purpose) as answer:
                    if isinstance(answer, GetResult) and answer.meta.size != known.size:
                        continue
                    opened = True
                    yield answer
                    return
            except GenerationGone:
                if opened or if_match is not None:
                    raise
        raise Unavailable(f"{ref} is overwritten faster than it can be read")

    async def list_page(
        self, below: ObjectRef, *, delimiter: str = "", at: str | None = None, purpose: Purpose = "list"
    ) -> ListPage:
        """As the store inside."""
        return await self._inner.list_page(below, delimiter=delimiter, at=at, purpose=purpose)

    async def bucket_page(self, provider: str, *, at: str | None = None, purpose: Purpose = "list") -> BucketPage:
        """As the store inside."""
        return await self._inner.bucket_page(provider, at=at, purpose=purpose)

    def check_listable(self, below: ObjectRef) -> None:
        """As the store inside."""
        self._inner.check_listable(below)

    async def aclose(self) -> None:
        """Closes the store inside."""
        await self._inner.aclose()
