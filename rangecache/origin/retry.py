"""Repeats what may help, seldom enough never to make an outage worse.

An opening that fails with a `TransientError` is tried again; a body that breaks off is gone on with from the next byte,
pinned to the same generation. Both draw on the same few attempts and on the one ledger of the process.
"""

from __future__ import annotations

import random as random_module
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from rangecache.errors import BudgetExhausted, CircuitOpen, GenerationGone, StaleConnection, TransientError
from rangecache.origin.base import GetResult, NotModified
from rangecache.ranges import ByteRange

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from rangecache.aio.budget import RetryBudget
    from rangecache.aio.clock import Clock
    from rangecache.model import ObjectMeta, ObjectRef
    from rangecache.origin.base import BucketPage, ListPage, ObjectStore, Purpose
    from rangecache.ranges import RangeSpec

# The figures of AWS's "standard" retry mode, version 2.1 (botocore 1.44).
TRANSIENT_BASE_S: Final = 0.05
THROTTLED_BASE_S: Final = 1.0
PAUSE_MAX_S: Final = 20.0
RETRY_AFTER_SLACK_S: Final = 5.0  # how far beyond our own pause an origin's Retry-After may take it
DEADLINE_S: Final = 300.0  # the default `server.request_timeout`: nobody waits any longer
_DOUBLINGS_MAX: Final = 16  # far beyond the longest pause, far below what a float can hold
SKIP_BYTES_MAX: Final = 8 * 1024 * 1024  # bytes thrown away to resume at an origin that ignores ranges


_T = TypeVar("_T")


class Retrying:
    """An `ObjectStore` around another one.

    `attempts` is how often one call may be put on the wire in all, the first time included; a reconnect in place of a
    stale connection is free once. No repeat begins later than `deadline_s` after the call did. `random` gives numbers
    in [0, 1). Raises `BudgetExhausted` from the origin's error where only the ledger stood against a repeat.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        budget: RetryBudget,
        clock: Clock,
        attempts: int = 3,
        deadline_s: float = DEADLINE_S,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        self._store = store
        self._budget = budget
        self._clock = clock
        self._attempts = attempts
        self._deadline_s = deadline_s
        self._random = random

    def source(self, ref: ObjectRef) -> str:
        """As the store's."""
        return self._store.source(ref)

    async def head(
        self, ref: ObjectRef, *, if_none_match: ObjectMeta | None = None, purpose: Purpose = "demand"
    ) -> ObjectMeta | NotModified:
        """See `ObjectStore.head`."""
        effort = self._effort(purpose)
        while True:
            try:
                return await self._store.head(ref, if_none_match=if_none_match, purpose=effort.purpose)
            except TransientError as error:
                await effort.again(error)

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
        opening = _Opening(self._store, self._effort(purpose))
        try:
            result = await opening.open(ref, range=range, if_match=if_match, if_none_match=if_none_match)
            if isinstance(result, GetResult) and result.meta.validator:
                result = GetResult(result.meta, result.range, _Resumed(opening, result))
            yield result
        finally:
            await opening.aclose()

    async def list_page(
        self, below: ObjectRef, *, delimiter: str = "", at: str | None = None, purpose: Purpose = "list"
    ) -> ListPage:
        """See `ObjectStore.list_page`."""
        effort = self._effort(purpose)
        while True:
            try:
                return await self._store.list_page(below, delimiter=delimiter, at=at, purpose=effort.purpose)
            except TransientError as error:
                await effort.again(error)

    async def bucket_page(self, provider: str, *, at: str | None = None, purpose: Purpose = "list") -> BucketPage:
        """See `ObjectStore.bucket_page`."""
        effort = self._effort(purpose)
        while True:
            try:
                return await self._store.bucket_page(provider, at=at, purpose=effort.purpose)
            except TransientError as error:
                await effort.again(error)

    def check_listable(self, below: ObjectRef) -> None:
        """As the store's."""
        self._store.check_listable(below)

    async def aclose(self) -> None:
        """See `ObjectStore.aclose`."""
        await self._store.aclose()

    def _effort(self, purpose: Purpose) -> _Effort:
        self._budget.deposit()
        ends_at = self._clock.monotonic() + self._deadline_s
        return _Effort(purpose, self._attempts, ends_at, self._budget, self._clock, self._random)


class _Effort:
    """What one call has left to spend."""

    def __init__(
        self,
        purpose: Purpose,
        attempts: int,
        ends_at: float,
        budget: RetryBudget,
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        self.purpose = purpose
        """What the next attempt is for: as asked at first, then `retry`."""
        self._may_repeat = purpose != "prefetch"  # nobody waits for it
        self._repeats = 0
        self._attempts = attempts
        self._reconnected = False
        self._ends_at = ends_at
        self._budget = budget
        self._clock = clock
        self._random = random

    async def again(self, error: TransientError) -> None:
        """Return when it is time for the next attempt; raise `error`, or `BudgetExhausted` from it, if there is to be
        none."""
        if isinstance(error, StaleConnection) and not self._reconnected:
            self._reconnected = True
            self.purpose = "retry"
            return
        if isinstance(error, CircuitOpen) or not self._may_repeat or self._repeats + 1 >= self._attempts:
            raise error
        pause = pause_s(error, self._repeats + 1, self._random)
        if self._clock.monotonic() + pause > self._ends_at:
            raise error
        if not self._budget.try_withdraw():
            raise BudgetExhausted(
                f"{error.message}; too many requests have failed of late to try again, wait a little"
            ) from error
        self._repeats += 1
        self.purpose = "retry"
        await self._clock.sleep(pause)


async def reconnecting(ask: Callable[[], Awaitable[_T]]) -> _T:
    """What it answers, after one free reconnect in place of a stale connection: that a kept connection has died says
    nothing of who is asked."""
    try:
        return await ask()
    except StaleConnection:
        return await ask()


def pause_s(error: TransientError, repeat: int, random: Callable[[], float]) -> float:
    """Seconds to wait ahead of repeat number `repeat` (from 1): full jitter over a window that doubles.

    A Retry-After moves the pause, by at most `RETRY_AFTER_SLACK_S` beyond what it would have been.
    """
    base_s = THROTTLED_BASE_S if error.throttled else TRANSIENT_BASE_S
    pause = random() * min(base_s * 2.0 ** min(repeat - 1, _DOUBLINGS_MAX), PAUSE_MAX_S)
    if error.retry_after_s is None:
        return pause
    return min(max(error.retry_after_s, pause), pause + RETRY_AFTER_SLACK_S)


class _Opening:
    """The answer that is open at the moment, of as many as it takes."""

    def __init__(self, store: ObjectStore, effort: _Effort) -> None:
        self._store = store
        self.effort = effort
        self._context: AbstractAsyncContextManager[GetResult | NotModified] | None = None

    async def open(
        self,
        ref: ObjectRef,
        *,
        range: RangeSpec | None,
        if_match: ObjectMeta | None,
        if_none_match: ObjectMeta | None = None,
    ) -> GetResult | NotModified:
        """Open, again and again if need be."""
        while True:
            context = self._store.get(
                ref, range=range, if_match=if_match, if_none_match=if_none_match, purpose=self.effort.purpose
            )
            try:
                result = await context.__aenter__()
            except TransientError as error:
                await self.effort.again(error)
                continue
            self._context = context
            return result

    async def aclose(self) -> None:
        """Close what is open."""
        context, self._context = self._context, None
        if context is not None:
            await context.__aexit__(None, None, None)


class _Resumed:
    """The bytes of one generation, from as many answers as it takes."""

    def __init__(self, opening: _Opening, first: GetResult) -> None:
        self._opening = opening
        self._meta = first.meta
        self._chunks = first.chunks
        self._next = first.range.start
        self._end = first.range.end
        self._skip = 0
        """Bytes ahead of `_next` that an origin which ignores ranges sends once more."""
        self._beyond = False
        """Whether it sends bytes behind `_end` too."""

    def __aiter__(self) -> _Resumed:
        return self

    async def __anext__(self) -> bytes:
        while True:
            if self._beyond and self._next == self._end:
                raise StopAsyncIteration
            try:
                chunk = await anext(self._chunks)
            except TransientError as error:
                if self._next == self._end:  # only the end of the framing was missing
                    raise StopAsyncIteration from None
                await self._resume(error)
                continue
            if self._skip or self._beyond:
                skipped = min(self._skip, len(chunk))
                self._skip -= skipped
                chunk = chunk[skipped : skipped + self._end - self._next]
            if chunk:
                self._next += len(chunk)
                return chunk

    async def _resume(self, error: TransientError) -> None:
        await self._opening.aclose()
        await self._opening.effort.again(error)
        rest = ByteRange(self._next, self._end)
        result = await self._opening.open(self._meta.ref, range=rest, if_match=self._meta)
        if isinstance(result, NotModified) or result.range.end < self._end:
            raise error
        if result.meta.generation != self._meta.generation:
            raise GenerationGone("the object has changed at the origin", result.meta)
        self._skip = self._next - result.range.start
        if self._skip > SKIP_BYTES_MAX:
            raise error
        self._beyond = result.range.end > self._end
        self._chunks = result.chunks
