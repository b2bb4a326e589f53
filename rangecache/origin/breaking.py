"""Stops asking an endpoint that does not answer, so that nobody waits for it and it is not kept from coming back.

There is a breaker (`aio/breaker`) for each endpoint of a provider: a host, or on AWS a bucket, which has a host of its
own. One that is dead does not take the others of its provider along. What counts is whether there was an answer: a 404
or 403 is one. A request to slow down (429, 503) says that the endpoint lives; what is to be asked of it then is not
decided here. An answer has come when its first bytes have.
"""

from __future__ import annotations

import logging
import random as random_module
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from rangecache.aio.breaker import Breaker
from rangecache.errors import CircuitOpen, OriginError, StaleConnection, TransientError
from rangecache.origin.base import GetResult
from rangecache.origin.recent import Recent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from rangecache.aio.breaker import Pass, State
    from rangecache.aio.clock import Clock
    from rangecache.model import ObjectMeta, ObjectRef
    from rangecache.origin.base import BucketPage, ListPage, NotModified, ObjectStore, Purpose
    from rangecache.ranges import RangeSpec

logger = logging.getLogger(__name__)

SMOOTHING: Final = 0.2  # the share of the newest answer in `latency_s`
ENDPOINTS_MAX: Final = 1024  # of one provider; the one asked longest ago is forgotten


class EndpointHealth(NamedTuple):
    """How one endpoint does."""

    endpoint: str
    breaker: State
    reason: str
    """Why it is not asked; "" while it is."""
    retry_after_s: float
    latency_s: float
    """How long its answers have taken to begin, of late; 0 before there was one."""


class _Endpoint:
    """One endpoint's breaker, and how quick it is."""

    __slots__ = ("breaker", "latency_s")

    def __init__(self, breaker: Breaker) -> None:
        self.breaker = breaker
        self.latency_s = 0.0

    def note(self, latency_s: float) -> None:
        """An answer has begun after so long."""
        self.latency_s += (latency_s - self.latency_s) * (SMOOTHING if self.latency_s else 1.0)


class Breaking:
    """An `ObjectStore` around another one. Raises `CircuitOpen`, at once, where it would ask what does not answer."""

    def __init__(self, store: ObjectStore, *, clock: Clock, random: Callable[[], float] = random_module.random) -> None:
        self._store = store
        self._clock = clock
        self._random = random
        self._endpoints: Recent[str, _Endpoint] = Recent(ENDPOINTS_MAX)

    def health(self) -> Iterator[EndpointHealth]:
        """Of every endpoint that was asked lately."""
        for name, endpoint in self._endpoints.items():
            breaker = endpoint.breaker
            yield EndpointHealth(name, breaker.state, breaker.reason, breaker.retry_after_s, endpoint.latency_s)

    def retry_after_s(self, ref: ObjectRef) -> float:
        """How long this object's endpoint will not be asked; 0 where it would be asked now. Waits for nothing."""
        endpoint = self._endpoint(ref)
        return 0.0 if endpoint is None else endpoint.breaker.retry_after_s

    def begun(self, ref: ObjectRef, latency_s: float) -> None:
        """For `Observed(on_begun=…)`, which alone knows when a request was sent that may have waited in here."""
        endpoint = self._endpoint(ref)
        if endpoint is not None:
            endpoint.note(latency_s)

    def latency_s(self, ref: ObjectRef) -> float:
        """How long answers of this object's endpoint have taken to begin, of late; 0 before there was one."""
        endpoint = self._endpoint(ref)
        return 0.0 if endpoint is None else endpoint.latency_s

    def state(self, ref: ObjectRef) -> State:
        """How this object's endpoint does."""
        endpoint = self._endpoint(ref)
        return "closed" if endpoint is None else endpoint.breaker.state

    def hurry(self, ref: ObjectRef) -> None:
        """Let the next request for this object's endpoint through, as a probe."""
        endpoint = self._endpoint(ref)
        if endpoint is not None:
            endpoint.breaker.hurry()

    def source(self, ref: ObjectRef) -> str:
        """As the store's."""
        return self._store.source(ref)

    async def head(
        self, ref: ObjectRef, *, if_none_match: ObjectMeta | None = None, purpose: Purpose = "demand"
    ) -> ObjectMeta | NotModified:
        """As the store's."""
        verdict = self._admit(ref)
        try:
            result = await self._store.head(ref, if_none_match=if_none_match, purpose=purpose)
            verdict.succeeded()
        except BaseException as error:
            verdict.ended_by(error)
            raise
        return result

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
        """As the store's."""
        verdict = self._admit(ref)
        opened = False
        try:
            async with self._store.get(
                ref, range=range, if_match=if_match, if_none_match=if_none_match, purpose=purpose
            ) as answer:
                opened = True
                if isinstance(answer, GetResult):
                    yield GetResult(answer.meta, answer.range, _Watched(answer.chunks, verdict))
                else:
                    yield answer
        except BaseException as error:
            if not opened:
                verdict.ended_by(error)
            raise
        finally:
            if opened:
                verdict.succeeded()  # whatever its reader did: its head was there

    async def list_page(
        self, below: ObjectRef, *, delimiter: str = "", at: str | None = None, purpose: Purpose = "list"
    ) -> ListPage:
        """As the store's."""
        verdict = self._admit(below)
        try:
            page = await self._store.list_page(below, delimiter=delimiter, at=at, purpose=purpose)
            verdict.succeeded()
        except BaseException as error:
            verdict.ended_by(error)
            raise
        return page

    async def bucket_page(self, provider: str, *, at: str | None = None, purpose: Purpose = "list") -> BucketPage:
        """As the store's: it is about no bucket, and asked for by hand."""
        return await self._store.bucket_page(provider, at=at, purpose=purpose)

    def check_listable(self, below: ObjectRef) -> None:
        """As the store's."""
        self._store.check_listable(below)

    async def aclose(self) -> None:
        """As the store's."""
        await self._store.aclose()

    def _endpoint(self, ref: ObjectRef) -> _Endpoint | None:
        return self._endpoints.get(endpoint_of(self._store.source(ref)))

    def _admit(self, ref: ObjectRef) -> _Verdict:
        name = endpoint_of(self._store.source(ref))
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            endpoint = _Endpoint(Breaker(self._clock, self._random, partial(_tell, name)))
            self._endpoints.put(name, endpoint)
        breaker = endpoint.breaker
        leave = breaker.admit()
        if leave is None:
            wait_s = breaker.retry_after_s
            raise CircuitOpen(
                f"the origin has failed too often and is not asked for another {wait_s:.0f} s: {breaker.reason}",
                retry_after_s=wait_s,
            )
        return _Verdict(breaker, leave, ref)


class _Verdict:
    """What is to be said of one request. The first word counts."""

    __slots__ = ("_breaker", "_given", "_leave", "_ref")

    def __init__(self, breaker: Breaker, leave: Pass, ref: ObjectRef) -> None:
        self._breaker = breaker
        self._leave = leave
        self._ref = ref
        self._given = False

    def succeeded(self) -> None:
        """There was an answer."""
        if not self._given:
            self._given = True
            self._breaker.succeeded(self._leave)

    def ended_by(self, error: BaseException) -> None:
        """It ended with this error, before the first bytes of its body."""
        if self._given:
            return
        self._given = True
        match error:
            case TransientError(throttled=True) if self._leave.probe:
                self._breaker.succeeded(self._leave)
            case StaleConnection() | TransientError(throttled=True):
                self._breaker.dropped(self._leave)
            case TransientError():
                subject = None if error.unreached else (self._ref.bucket, self._ref.key)
                self._breaker.failed(self._leave, error.message, subject)
            case OriginError():
                self._breaker.succeeded(self._leave)
            case _:
                self._breaker.dropped(self._leave)


class _Watched:
    """A body whose first bytes, or the lack of them, are told."""

    def __init__(self, chunks: AsyncIterator[bytes], verdict: _Verdict) -> None:
        self._chunks = chunks
        self._verdict = verdict

    def __aiter__(self) -> _Watched:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await anext(self._chunks)
        except TransientError as error:
            self._verdict.ended_by(error)
            raise
        self._verdict.succeeded()
        return chunk


def _tell(endpoint: str, breaker: Breaker) -> None:
    if breaker.state == "closed":
        logger.info("%s answers again", endpoint)
    else:
        logger.warning("%s is not asked for another %.0f s: %s", endpoint, breaker.retry_after_s, breaker.reason)


def endpoint_of(source: str) -> str:
    """What of an `ObjectStore.source` tells one endpoint from another: the host in it, or all of it where none is."""
    address = next((word for word in source.split() if "://" in word), None)
    return source if address is None else urlsplit(address).netloc or source
