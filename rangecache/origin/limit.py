"""A bound on what one provider is asked at the same time.

The permit rides with the answer: it is held until the body has been read or left. It is taken outside of the retries,
so a body that is resumed has its place already, and inside it nothing waits: as there are no more permits than
connections, whoever has one gets a connection. Waiting for a permit is no waiting for the origin, and no timeout of the
origin counts it.

A bucket that has asked for fewer requests gets fewer: its window (`strain`) is taken for each attempt, inside of the
retries, so that nobody holds a place in it while he pauses.

What nobody waits for (`PATIENT`) is asked after everything else and never has more than a share of the permits. If a
reader comes to wait for it all the same, it is promoted: its request is not sent a second time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from rangecache.aio.permits import Permits, Ticket
from rangecache.origin.base import PATIENT
from rangecache.origin.stopwatch import stopped
from rangecache.origin.strain import PATIENT_SHARE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from rangecache.aio.window import Window
    from rangecache.model import ObjectMeta, ObjectRef
    from rangecache.origin.base import BucketPage, GetResult, ListPage, NotModified, ObjectStore, Purpose
    from rangecache.origin.strain import Strain
    from rangecache.ranges import RangeSpec


class Queueing(ABC):
    """An `ObjectStore` around another one, where each request and its body wait for their turn: in the order they
    come, after all who are more urgent."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._patient: dict[tuple[ObjectRef, RangeSpec | None], Turn] = {}

    @abstractmethod
    def _turn(self, ref: ObjectRef | None, purpose: Purpose) -> Turn:
        """The turn of a request; `ref` is None where it is about no bucket."""

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
                    ref,
                    range=range,
                    if_match=if_match,
                    if_none_match=if_none_match,
                    # Who was promoted while he waited here is not to wait among the patient further in.
                    purpose="demand" if turn.urgent and purpose in PATIENT else purpose,
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

    def check_listable(self, below: ObjectRef) -> None:
        """As the store's."""
        self._store.check_listable(below)

    async def aclose(self) -> None:
        """As the store's."""
        await self._store.aclose()


class Limited(Queueing):
    """At most `permits` requests and open bodies at a time."""

    def __init__(self, store: ObjectStore, permits: int) -> None:
        super().__init__(store)
        self._permits = Permits(permits, max(1, int(permits * PATIENT_SHARE)))

    def _turn(self, ref: ObjectRef | None, purpose: Purpose) -> Turn:
        return Turn(self._permits, urgent=purpose not in PATIENT)

    def __repr__(self) -> str:
        return f"<Limited {self._permits!r}>"


class Yielding(Queueing):
    """Of each bucket no more at a time than its window.

    A reader may have to wait for the patient who are inside already, and those for a rate that everybody else goes
    before. So `on_wanted` hears of it, for whoever lets them wait further in.
    """

    def __init__(
        self, store: ObjectStore, strain: Strain, on_wanted: Callable[[ObjectRef], None] = lambda _: None
    ) -> None:
        """`on_wanted` hears of any object of the bucket."""
        super().__init__(store)
        self._strain = strain
        self._on_wanted = on_wanted

    def _turn(self, ref: ObjectRef | None, purpose: Purpose) -> Turn:
        urgent = purpose not in PATIENT
        if ref is None:
            return Turn(None, urgent=urgent)
        return _BucketTurn(self._strain, ref, self._on_wanted, urgent=urgent)


class Turn:
    """`async with` waits until it is one's turn; at once where there is nothing to wait for."""

    def __init__(self, permits: Permits | Window | None, *, urgent: bool) -> None:
        self._permits = permits
        self._ticket = Ticket(urgent=urgent)

    def promote(self) -> None:
        """A reader waits for it."""
        if self._permits is not None:
            self._permits.promote(self._ticket)

    @property
    def urgent(self) -> bool:
        """Whether a reader waits for it."""
        return self._ticket.urgent

    async def __aenter__(self) -> None:
        if self._permits is not None:
            with stopped():
                await self._permits.acquire(self._ticket)

    async def __aexit__(self, *_: object) -> None:
        if self._permits is not None:
            self._permits.release(self._ticket)


class _BucketTurn(Turn):
    """In the window of a bucket, which is forgotten when the last one has left it."""

    def __init__(self, strain: Strain, ref: ObjectRef, on_wanted: Callable[[ObjectRef], None], *, urgent: bool) -> None:
        self._window = strain.window(ref)
        super().__init__(self._window, urgent=urgent)
        self._strain = strain
        self._ref = ref
        self._on_wanted = on_wanted

    def promote(self) -> None:
        super().promote()
        self._make_way()

    def _make_way(self) -> None:
        if not self._window.any_free:
            self._on_wanted(self._ref)

    async def __aenter__(self) -> None:
        if self.urgent:
            self._make_way()
        try:
            await super().__aenter__()
        except BaseException:
            self._strain.left(self._ref)
            raise

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
        self._strain.left(self._ref)
