"""Counts what goes over the wire. Innermost wrapper, so that every repeat is counted as the request that it is."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Literal

from rangecache.errors import BodyCut, GenerationGone, NotFound, OriginTimeout, RangecacheError, TransientError
from rangecache.origin.base import GetResult, NotModified

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from rangecache.aio.clock import Clock
    from rangecache.model import ObjectMeta, ObjectRef
    from rangecache.origin.base import BucketPage, ListPage, ObjectStore, Purpose
    from rangecache.origin.fetched import Outcome as FetchOutcome
    from rangecache.ranges import RangeSpec
    from rangecache.telemetry import Cell, Metrics

Outcome = Literal[
    "ok",
    "not_modified",
    "not_found",
    "precondition",
    "throttled",
    "error",
    "timeout",
    "cut",
    "cancelled",
    "redirect",
    "mend",
]
"""How a request ended: the `outcome` label. `cut`: the body broke off. `cancelled`: we closed it before its end.
`redirect` and `mend`: it was answered by a redirect, or by an error that was set right, and another one followed."""


def outcome_of(error: BaseException) -> Outcome:
    """The label for a request that ended with `error`."""
    match error:
        case NotFound():
            return "not_found"
        case GenerationGone():
            return "precondition"
        case OriginTimeout():
            return "timeout"
        case BodyCut():
            return "cut"
        case TransientError(throttled=True):
            return "throttled"
        case RangecacheError():
            return "error"
        case asyncio.CancelledError() | GeneratorExit():
            return "cancelled"
        case _:
            return "error"


def count_detours(metrics: Metrics, provider: str) -> Callable[[Purpose, str], None]:
    """For `WebStore(on_detour=…)`: counts the requests that one call puts on the wire beyond its last."""
    return lambda purpose, kind: _add(metrics.origin_requests.cell(provider, purpose, kind))


def count_listed(
    metrics: Metrics, provider: str, then: Callable[[Purpose, int], Awaitable[None]] | None = None
) -> Callable[[Purpose, int], Awaitable[None]]:
    """For `WebStore(on_listed=…)`: counts the bytes of listings as they come over the wire, and hands them on."""

    async def count(purpose: Purpose, received_bytes: int) -> None:
        metrics.origin_bytes.cell(provider, purpose).value += received_bytes
        if then is not None:
            await then(purpose, received_bytes)

    return count


def count_fetches(metrics: Metrics, provider: str) -> Callable[[FetchOutcome], None]:
    """For `Fetched.watch`: counts how often the sources of a provider's credentials are asked."""
    return lambda outcome: _add(metrics.credential_fetches.cell(provider, outcome))


def _add(cell: Cell) -> None:
    cell.value += 1


class Observed:
    """An `ObjectStore` around another one; changes nothing. `on_ended` hears of every request for an object, also of
    those that are repeated: how it ended, and when it was sent, in monotonic seconds. `on_begun` hears of every answer
    about an object after how many seconds it began."""

    def __init__(
        self,
        store: ObjectStore,
        metrics: Metrics,
        clock: Clock,
        provider: str,
        on_ended: Callable[[ObjectRef, Outcome, float], None] | None = None,
        on_begun: Callable[[ObjectRef, float], None] | None = None,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._provider = provider
        self._on_ended = on_ended
        self._on_begun = on_begun
        self._duration = metrics.origin_request_duration.cell(provider)

    def source(self, ref: ObjectRef) -> str:
        """As the store's."""
        return self._store.source(ref)

    async def head(
        self, ref: ObjectRef, *, if_none_match: ObjectMeta | None = None, purpose: Purpose = "demand"
    ) -> ObjectMeta | NotModified:
        """See `ObjectStore.head`."""
        started_at = self._clock.monotonic()
        outcome: Outcome = "error"
        try:
            result = await self._store.head(ref, if_none_match=if_none_match, purpose=purpose)
            self._begun(ref, started_at)
            outcome = "not_modified" if isinstance(result, NotModified) else "ok"
        except BaseException as error:
            outcome = outcome_of(error)
            raise
        finally:
            self._ended(ref, purpose, outcome, started_at)
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
        """See `ObjectStore.get`."""
        started_at = self._clock.monotonic()
        outcome: Outcome = "error"
        body: _Counted | None = None
        try:
            async with self._store.get(
                ref, range=range, if_match=if_match, if_none_match=if_none_match, purpose=purpose
            ) as result:
                self._begun(ref, started_at)
                if isinstance(result, NotModified):
                    outcome = "not_modified"
                    yield result
                    return
                body = _Counted(result, self._metrics.origin_bytes.cell(self._provider, purpose))
                yield GetResult(result.meta, result.range, body)
        except BaseException as error:
            # What a caller raises inside the block is no fault of the origin: the body then says how far it came.
            if body is None and outcome == "error":
                outcome = outcome_of(error)
            raise
        finally:
            self._ended(ref, purpose, outcome if body is None else body.outcome, started_at)

    async def list_page(
        self, below: ObjectRef, *, delimiter: str = "", at: str | None = None, purpose: Purpose = "list"
    ) -> ListPage:
        """See `ObjectStore.list_page`."""
        with self._watched(below, purpose):
            return await self._store.list_page(below, delimiter=delimiter, at=at, purpose=purpose)

    async def bucket_page(self, provider: str, *, at: str | None = None, purpose: Purpose = "list") -> BucketPage:
        """See `ObjectStore.bucket_page`."""
        with self._watched(None, purpose):
            return await self._store.bucket_page(provider, at=at, purpose=purpose)

    @contextmanager
    def _watched(self, ref: ObjectRef | None, purpose: Purpose) -> Iterator[None]:
        """One request, that ends well if nothing is raised."""
        started_at = self._clock.monotonic()
        outcome: Outcome = "error"
        try:
            yield
            outcome = "ok"
        except BaseException as error:
            outcome = outcome_of(error)
            raise
        finally:
            self._ended(ref, purpose, outcome, started_at)

    def check_listable(self, below: ObjectRef) -> None:
        """As the store's."""
        self._store.check_listable(below)

    async def aclose(self) -> None:
        """See `ObjectStore.aclose`."""
        await self._store.aclose()

    def _begun(self, ref: ObjectRef, started_at: float) -> None:
        if self._on_begun is not None:
            self._on_begun(ref, self._clock.monotonic() - started_at)

    def _ended(self, ref: ObjectRef | None, purpose: Purpose, outcome: Outcome, started_at: float) -> None:
        _add(self._metrics.origin_requests.cell(self._provider, purpose, outcome))
        self._duration.observe(self._clock.monotonic() - started_at)
        if self._on_ended is not None and ref is not None:
            self._on_ended(ref, outcome, started_at)


class _Counted:
    """A body whose bytes are counted as they come."""

    def __init__(self, result: GetResult, cell: Cell) -> None:
        self._chunks = result.chunks
        self._left = result.range.length
        self._cell = cell
        self._error: Outcome | None = None

    def __aiter__(self) -> _Counted:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            raise
        except BaseException as error:
            self._error = outcome_of(error)
            raise
        self._left -= len(chunk)
        self._cell.value += len(chunk)
        return chunk

    @property
    def outcome(self) -> Outcome:
        """How it ended, or `cancelled` if its reader left before the end."""
        if self._error is not None:
            return self._error
        return "cancelled" if self._left else "ok"
