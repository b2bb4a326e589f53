"""A bound on what one provider is asked at the same time.

The permit rides with the answer: it is held until the body has been read or left. It is taken outside of the retries,
so a body that is resumed has its place already, and inside it nothing waits: as there are no more permits than
connections, whoever has one gets a connection. Waiting for a permit is no waiting for the origin, and no timeout of the
origin counts it.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rangecache.model import ObjectMeta, ObjectRef
    from rangecache.origin.base import GetResult, NotModified, ObjectStore, Purpose
    from rangecache.ranges import RangeSpec


class Limited:
    """An `ObjectStore` around another one, with at most `permits` requests and open bodies at a time. Who waits is
    served in the order he came."""

    def __init__(self, store: ObjectStore, permits: int) -> None:
        self._store = store
        self._permits = asyncio.Semaphore(permits)

    def source(self, ref: ObjectRef) -> str:
        """As the store's."""
        return self._store.source(ref)

    async def head(
        self, ref: ObjectRef, *, if_none_match: ObjectMeta | None = None, purpose: Purpose = "demand"
    ) -> ObjectMeta | NotModified:
        """As the store's, when it is its turn."""
        async with self._permits:
            return await self._store.head(ref, if_none_match=if_none_match, purpose=purpose)

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
        """As the store's, when it is its turn."""
        async with (
            self._permits,
            self._store.get(
                ref, range=range, if_match=if_match, if_none_match=if_none_match, purpose=purpose
            ) as answer,
        ):
            yield answer

    async def aclose(self) -> None:
        """As the store's."""
        await self._store.aclose()
