"""A bound on what one provider is asked at the same time.

The permit rides with the answer: it is held until the body has been read or left. It is taken outside of the retries,
so a body that is resumed has its place already, and inside it nothing waits: as there are no more permits than
connections, whoever has one gets a connection. Waiting for a permit is no waiting for the origin, and no timeout of the
origin counts it.

A bucket that has asked for fewer requests gets fewer: then its window (`strain`) is what is waited for, first, so that
who waits for one bucket holds no permit that another one could use.

What nobody waits for (`PATIENT`) is asked after everything else and never has more than a share of the permits. If a
reader comes to wait for it all the same, it is promoted: its request is not sent a second time.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from rangecache.aio.permits import Permits, Ticket
from rangecache.origin.base import PATIENT
from rangecache.origin.strain import PATIENT_SHARE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rangecache.aio.window import Window
    from rangecache.model import ObjectMeta, ObjectRef
    from rangecache.origin.base import BucketPage, GetResult, ListPage, NotModified, ObjectStore, Purpose
    from rangecache.origin.strain import Strain
    from rangecache.ranges import RangeSpec


class Limited:
    """An `ObjectStore` around another one, with at most `permits` requests and open bodies at a time. Who waits is
    served in the order he came, after all who are more urgent. With `strain`, also no more than the bucket's window."""

    def __init__(self, store: ObjectStore, permits: int, strain: Strain | None = None) -> None:
        self._store = store
        self._permits = Permits(permits, max(1, int(permits * PATIENT_SHARE)))
        self._strain = strain
        self._patient: dict[tuple[ObjectRef, RangeSpec | None], _Turn] = {}

    def source(self, ref: ObjectRef) -> str:
        """As the store's."""
        return self._store.source(ref)

    def promote(self, ref: ObjectRef, range: RangeSpec | None) -> None:
        """A reader waits for this GET from now on, if it is one of the patient."""
        turn = self._patient.get((ref, range))
        if turn is not None:
            turn.promote()

    async def head(
        self, ref: ObjectRef, *, if_none_match: ObjectMeta | None = None, purpose: Purpose = "demand"
    ) -> ObjectMeta | NotModified:
        """As the store's, when it is its turn."""
        async with self._turn(ref, purpose):
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
        turn, name = self._turn(ref, purpose), (ref, range)
        if purpose in PATIENT:
            self._patient[name] = turn
        try:
            async with (
                turn,
                self._store.get(
                    ref, range=range, if_match=if_match, if_none_match=if_none_match, purpose=purpose
                ) as answer,
            ):
                yield answer
        finally:
            if self._patient.get(name) is turn:
                del self._patient[name]

    async def list_page(
        self, below: ObjectRef, *, delimiter: str = "", at: str | None = None, purpose: Purpose = "list"
    ) -> ListPage:
        """As the store's, when it is its turn."""
        async with self._turn(below, purpose):
            return await self._store.list_page(below, delimiter=delimiter, at=at, purpose=purpose)

    async def bucket_page(self, provider: str, *, at: str | None = None, purpose: Purpose = "list") -> BucketPage:
        """As the store's, when it is its turn."""
        async with self._turn(None, purpose):
            return await self._store.bucket_page(provider, at=at, purpose=purpose)

    def _turn(self, ref: ObjectRef | None, purpose: Purpose) -> _Turn:
        return _Turn(self._permits, self._strain if ref is not None else None, ref, urgent=purpose not in PATIENT)

    def check_listable(self, below: ObjectRef) -> None:
        """As the store's."""
        self._store.check_listable(below)

    async def aclose(self) -> None:
        """As the store's."""
        await self._store.aclose()

    def __repr__(self) -> str:
        return f"<Limited {self._permits!r}>"


class _Turn:
    """`async with` waits until it is one's turn: of the bucket, then of the provider."""

    def __init__(self, permits: Permits, strain: Strain | None, ref: ObjectRef | None, *, urgent: bool) -> None:
        self._permits = permits
        self._ticket = Ticket(urgent=urgent)
        self._strain = strain
        self._ref = ref
        self._window: Window | None = None
        self._window_ticket = Ticket(urgent=urgent)

    def promote(self) -> None:
        """A reader waits for it."""
        if self._window is not None:
            self._window.promote(self._window_ticket)
        else:
            self._window_ticket.urgent = True
        self._permits.promote(self._ticket)

    async def __aenter__(self) -> None:
        if self._strain is not None and self._ref is not None:
            self._window = self._strain.window(self._ref)
            try:
                await self._window.acquire(self._window_ticket)
            except BaseException:
                self._strain.left(self._ref)
                raise
        try:
            await self._permits.acquire(self._ticket)
        except BaseException:
            self._leave_window()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._permits.release(self._ticket)
        self._leave_window()

    def _leave_window(self) -> None:
        if self._window is not None and self._strain is not None and self._ref is not None:
            self._window.release(self._window_ticket)
            self._strain.left(self._ref)
