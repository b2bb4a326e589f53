"""Keeps requests and bytes towards origins below the configured rates.

A request is charged before it is sent; bytes are, once they have come and before more are taken: what is not read is
held back by TCP. What nobody waits for (`PATIENT`) is charged after everything else, until a reader comes to wait for
it. Waiting here is no waiting for the origin, and no timeout of the origin counts it.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rangecache.aio.permits import Ticket
from rangecache.origin.base import PATIENT, GetResult
from rangecache.origin.stopwatch import stopped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from rangecache.aio.clock import Clock
    from rangecache.aio.throttle import Throttle
    from rangecache.model import ObjectMeta, ObjectRef
    from rangecache.origin.base import BucketPage, ListPage, NotModified, ObjectStore, Purpose
    from rangecache.ranges import RangeSpec
    from rangecache.telemetry import Cell


@dataclass(frozen=True, slots=True)
class Rates:
    """What has to be kept, all of it; each rate may be shared with other stores."""

    bandwidths: tuple[Throttle, ...] = ()
    """In bytes."""
    requests: tuple[Throttle, ...] = ()

    def __add__(self, other: Rates) -> Rates:
        return Rates(self.bandwidths + other.bandwidths, self.requests + other.requests)


class Throttled:
    """An `ObjectStore` around another one, below all of the given rates.

    Bytes of listings do not come by here: whoever reads them pays by `pay_bytes`. `waited` takes the seconds that were
    waited for a rate.
    """

    def __init__(
        self,
        store: ObjectStore,
        rates: Rates,
        *,
        clock: Clock,
        waited: Cell,
        is_wanted: Callable[[ObjectRef], bool] = lambda _: False,
    ) -> None:
        """`is_wanted` says whether readers wait for whatever is asked of this object's bucket."""
        self._store = store
        self._rates = rates
        self._clock = clock
        self._waited = waited
        self._is_wanted = is_wanted
        self._patient: dict[_Payer, tuple[ObjectRef, RangeSpec | None]] = {}

    def promote(self, ref: ObjectRef, range: RangeSpec | None) -> None:
        """A reader waits for this GET from now on, if it is one of the patient."""
        for payer, name in self._patient.items():
            if name == (ref, range):
                payer.promote()

    def promote_bucket(self, ref: ObjectRef) -> None:
        """A reader waits for all that is being asked of this object's bucket."""
        for payer, (other, _) in self._patient.items():
            if (other.provider, other.bucket) == (ref.provider, ref.bucket):
                payer.promote()

    async def pay_bytes(self, purpose: Purpose, count: int) -> None:
        """Return when the rates have allowed so many bytes that have come."""
        await self._payer(urgent=purpose not in PATIENT).pay_bytes(count)

    def source(self, ref: ObjectRef) -> str:
        """As the store's."""
        return self._store.source(ref)

    async def head(
        self, ref: ObjectRef, *, if_none_match: ObjectMeta | None = None, purpose: Purpose = "demand"
    ) -> ObjectMeta | NotModified:
        """As the store's, when the rates allow it."""
        with self._known(ref, None, purpose) as payer:
            await payer.pay_request()
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
        """As the store's, when the rates allow it, and as fast as they do."""
        with self._known(ref, range, purpose) as payer:
            await payer.pay_request()
            async with self._store.get(
                ref, range=range, if_match=if_match, if_none_match=if_none_match, purpose=purpose
            ) as answer:
                if isinstance(answer, GetResult):
                    yield GetResult(answer.meta, answer.range, _Paid(answer.chunks, payer))
                else:
                    yield answer

    async def list_page(
        self, below: ObjectRef, *, delimiter: str = "", at: str | None = None, purpose: Purpose = "list"
    ) -> ListPage:
        """As the store's, when the rates allow it."""
        await self._payer(urgent=purpose not in PATIENT).pay_request()
        return await self._store.list_page(below, delimiter=delimiter, at=at, purpose=purpose)

    async def bucket_page(self, provider: str, *, at: str | None = None, purpose: Purpose = "list") -> BucketPage:
        """As the store's, when the rates allow it."""
        await self._payer(urgent=purpose not in PATIENT).pay_request()
        return await self._store.bucket_page(provider, at=at, purpose=purpose)

    def check_listable(self, below: ObjectRef) -> None:
        """As the store's."""
        self._store.check_listable(below)

    async def aclose(self) -> None:
        """As the store's."""
        await self._store.aclose()

    @contextmanager
    def _known(self, ref: ObjectRef, range: RangeSpec | None, purpose: Purpose) -> Iterator[_Payer]:
        """Who pays for a request, and can be promoted within the block if he is patient."""
        urgent = purpose not in PATIENT or self._is_wanted(ref)
        payer = self._payer(urgent=urgent)
        if not urgent:
            self._patient[payer] = (ref, range)
        try:
            yield payer
        finally:
            self._patient.pop(payer, None)

    def _payer(self, *, urgent: bool) -> _Payer:
        return _Payer(self._rates, self._clock, self._waited, urgent=urgent)


class _Payer:
    """One request, as the throttles know it."""

    def __init__(self, rates: Rates, clock: Clock, waited: Cell, *, urgent: bool) -> None:
        # A ticket waits in one queue; which of them it is in must not matter when it is promoted.
        self._bandwidths = [(each, Ticket(urgent=urgent)) for each in rates.bandwidths]
        self._request_rates = [(each, Ticket(urgent=urgent)) for each in rates.requests]
        self._clock = clock
        self._waited = waited

    async def pay_request(self) -> None:
        await self._pay(self._request_rates, 1)

    async def pay_bytes(self, count: int) -> None:
        await self._pay(self._bandwidths, count)

    async def _pay(self, throttles: Sequence[tuple[Throttle, Ticket]], amount: int) -> None:
        began_at = self._clock.monotonic()
        try:
            with stopped():
                for throttle, ticket in throttles:
                    await throttle.charge(amount, ticket)
        finally:
            self._waited.value += self._clock.monotonic() - began_at

    def promote(self) -> None:
        for throttle, ticket in (*self._bandwidths, *self._request_rates):
            throttle.promote(ticket)


class _Paid:
    """A body that is charged for as it comes."""

    def __init__(self, chunks: AsyncIterator[bytes], payer: _Payer) -> None:
        self._chunks = chunks
        self._payer = payer

    def __aiter__(self) -> _Paid:
        return self

    async def __anext__(self) -> bytes:
        chunk = await anext(self._chunks)
        await self._payer.pay_bytes(len(chunk))
        return chunk
