"""A bound on what one provider is asked at the same time.

The permit rides with the answer: it is held until the body has been read or left. It is taken outside of the retries,
so a body that is resumed has its place already, and inside it nothing waits: as there are no more permits than
connections, whoever has one gets a connection. Waiting for a permit is no waiting for the origin, and no timeout of the
origin counts it.

What nobody waits for (`PATIENT`) is asked after everything else and never has more than a share of the permits. If a
reader comes to wait for it all the same, it is promoted: its request is not sent a second time.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from rangecache.aio.permits import Permits, Ticket
from rangecache.origin.base import PATIENT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rangecache.model import ObjectMeta, ObjectRef
    from rangecache.origin.base import BucketPage, GetResult, ListPage, NotModified, ObjectStore, Purpose
    from rangecache.ranges import RangeSpec

PATIENT_SHARE: Final = 0.5  # of the permits: the other half is always for those who are waited for


class Limited:
    """An `ObjectStore` around another one, with at most `permits` requests and open bodies at a time. Who waits is
    served in the order he came, after all who are more urgent."""

    def __init__(self, store: ObjectStore, permits: int) -> None:
        self._store = store
        self._permits = Permits(permits, max(1, int(permits * PATIENT_SHARE)))
        self._patient: dict[tuple[ObjectRef, RangeSpec | None], Ticket] = {}

    def source(self, ref: ObjectRef) -> str:
        """As the store's."""
        return self._store.source(ref)

    def promote(self, ref: ObjectRef, range: RangeSpec | None) -> None:
        """A reader waits for this GET from now on, if it is one of the patient."""
        ticket = self._patient.get((ref, range))
        if ticket is not None:
            self._permits.promote(ticket)

    async def head(
        self, ref: ObjectRef, *, if_none_match: ObjectMeta | None = None, purpose: Purpose = "demand"
    ) -> ObjectMeta | NotModified:
        """As the store's, when it is its turn."""
        ticket = Ticket(urgent=purpose not in PATIENT)
        await self._permits.acquire(ticket)
        try:
            return await self._store.head(ref, if_none_match=if_none_match, purpose=purpose)
        finally:
            self._permits.release(ticket)

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
            self._turn(ref, range, purpose),
            self._store.get(
                ref, range=range, if_match=if_match, if_none_match=if_none_match, purpose=purpose
            ) as answer,
        ):
            yield answer

    async def list_page(
        self, below: ObjectRef, *, delimiter: str = "", at: str | None = None, purpose: Purpose = "list"
    ) -> ListPage:
        """As the store's, when it is its turn."""
        ticket = Ticket(urgent=purpose not in PATIENT)
        await self._permits.acquire(ticket)
        try:
            return await self._store.list_page(below, delimiter=delimiter, at=at, purpose=purpose)
        finally:
            self._permits.release(ticket)

    async def bucket_page(self, provider: str, *, at: str | None = None, purpose: Purpose = "list") -> BucketPage:
        """As the store's, when it is its turn."""
        ticket = Ticket(urgent=purpose not in PATIENT)
        await self._permits.acquire(ticket)
        try:
            return await self._store.bucket_page(provider, at=at, purpose=purpose)
        finally:
            self._permits.release(ticket)

    @asynccontextmanager
    async def _turn(self, ref: ObjectRef, range: RangeSpec | None, purpose: Purpose) -> AsyncIterator[None]:
        ticket, name = Ticket(urgent=purpose not in PATIENT), (ref, range)
        if not ticket.urgent:
            self._patient[name] = ticket
        try:
            await self._permits.acquire(ticket)
            try:
                yield
            finally:
                self._permits.release(ticket)
        finally:
            if self._patient.get(name) is ticket:
                del self._patient[name]

    def check_listable(self, below: ObjectRef) -> None:
        """As the store's."""
        self._store.check_listable(below)

    async def aclose(self) -> None:
        """As the store's."""
        await self._store.aclose()

    def __repr__(self) -> str:
        return f"<Limited {self._permits!r}>"
