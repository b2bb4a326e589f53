"""Asks a second time where the first answer is unusually long in coming, and takes whichever comes first.

Off unless it is asked for. A GET that a reader waits for is hedged once, when its answer has not begun after the 99th
percentile of the last minute (100 ms at the least), on a connection of its own. What it waits for in this process, such
as a rate, does not count: a second request would wait for it too. That costs the origin at most `EXTRA_MAX` more
requests, and each one a token of the ledger for repeats. The other answer is given up; what came of it is counted as
what it is.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from rangecache.errors import TransientError
from rangecache.origin.stopwatch import Stopwatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from rangecache.aio.budget import RetryBudget
    from rangecache.aio.clock import Clock
    from rangecache.model import ObjectMeta, ObjectRef
    from rangecache.origin.base import BucketPage, GetResult, ListPage, NotModified, ObjectStore, Purpose
    from rangecache.ranges import RangeSpec

    _Answer = GetResult | NotModified

QUANTILE: Final = 0.99
FLOOR_S: Final = 0.1
EXTRA_MAX: Final = 0.01  # hedges for each request
SAVED_MAX: Final = 10.0  # hedges that may come at once after a long time without one
WINDOW_S: Final = 60.0
SAMPLES_MIN: Final = 100  # of fewer there is no 99th percentile
_SAMPLES_MAX: Final = 2048
_COUNTED_AGAIN_S: Final = 1.0
_LOOK_S: Final = 0.01  # how often at the least, at a request that waits in here


class Latencies:
    """How long answers took to begin within the last minute, the latest `_SAMPLES_MAX` of them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, float]] = deque(maxlen=_SAMPLES_MAX)
        self._counted_at = float("-inf")
        self._quantile: float | None = None

    def add(self, seconds: float) -> None:
        """One more."""
        self._samples.append((self._clock.monotonic(), seconds))

    def slow_s(self) -> float | None:
        """Their 99th percentile, at most a second old; None of too few."""
        now = self._clock.monotonic()
        if now >= self._counted_at + _COUNTED_AGAIN_S:
            self._counted_at = now
            while self._samples and self._samples[0][0] < now - WINDOW_S:
                self._samples.popleft()
            ordered = sorted(seconds for _, seconds in self._samples)
            enough = len(ordered) >= SAMPLES_MIN
            self._quantile = ordered[math.ceil(QUANTILE * len(ordered)) - 1] if enough else None
        return self._quantile


class Hedged:
    """An `ObjectStore` around another one, which takes the purpose `hedge` for a request on a new connection."""

    def __init__(self, store: ObjectStore, *, budget: RetryBudget, clock: Clock) -> None:
        self._store = store
        self._budget = budget
        self._clock = clock
        self._latencies = Latencies(clock)
        self._saved = 0.0

    def source(self, ref: ObjectRef) -> str:
        """As the store's."""
        return self._store.source(ref)

    async def head(
        self, ref: ObjectRef, *, if_none_match: ObjectMeta | None = None, purpose: Purpose = "demand"
    ) -> ObjectMeta | NotModified:
        """As the store's."""
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
        """As the store's, or what was asked for in its place."""

        def once(purpose: Purpose) -> AbstractAsyncContextManager[_Answer]:
            return self._store.get(ref, range=range, if_match=if_match, if_none_match=if_none_match, purpose=purpose)

        self._saved = min(SAVED_MAX, self._saved + EXTRA_MAX)
        slow_s = self._latencies.slow_s() if purpose == "demand" else None
        race = _Race(once(purpose), self._clock)
        try:
            if slow_s is not None and not await race.begun_within(max(slow_s, FLOOR_S)) and self._may_hedge():
                race.enter(once("hedge"))
            answer = await race.first()
            self._latencies.add(race.elapsed_s)
            yield answer
        finally:
            await race.aclose()

    async def list_page(
        self, below: ObjectRef, *, delimiter: str = "", at: str | None = None, purpose: Purpose = "list"
    ) -> ListPage:
        """As the store's."""
        return await self._store.list_page(below, delimiter=delimiter, at=at, purpose=purpose)

    async def bucket_page(self, provider: str, *, at: str | None = None, purpose: Purpose = "list") -> BucketPage:
        """As the store's."""
        return await self._store.bucket_page(provider, at=at, purpose=purpose)

    def check_listable(self, below: ObjectRef) -> None:
        """As the store's."""
        self._store.check_listable(below)

    async def aclose(self) -> None:
        """As the store's."""
        await self._store.aclose()

    def _may_hedge(self) -> bool:
        if self._saved < 1.0 or not self._budget.try_withdraw():
            return False
        self._saved -= 1.0
        return True


class _Race:
    """Answers that are opened side by side. One of them is used; all are closed in the end."""

    def __init__(self, context: AbstractAsyncContextManager[_Answer], clock: Clock) -> None:
        self._clock = clock
        self._watch = Stopwatch(clock)
        self._runners = {asyncio.create_task(_opened(context, self._watch), name="hedged"): context}

    @property
    def elapsed_s(self) -> float:
        """Since the first began, without what it has waited for in this process."""
        return self._watch.elapsed_s

    def enter(self, context: AbstractAsyncContextManager[_Answer]) -> None:
        """One more."""
        self._runners[asyncio.create_task(_opened(context), name="hedge")] = context

    async def begun_within(self, delay_s: float) -> bool:
        """Whether the only one ends, well or not, before it has taken that time."""
        (runner,) = self._runners
        while not runner.done() and (left_s := delay_s - self.elapsed_s) > 0:
            timer = asyncio.create_task(self._clock.sleep(max(left_s, _LOOK_S)), name="hedge timer")
            try:
                await asyncio.wait([runner, timer], return_when=asyncio.FIRST_COMPLETED)
            finally:
                timer.cancel()
        return runner.done()

    async def first(self) -> _Answer:
        """The first answer; the others are given up. An error is one, unless asking again may help and another one
        is still to come. Raises the error of the one that began first where there is nothing else."""
        waiting = set(self._runners)
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            winner = next((task for task in done if not isinstance(task.exception(), TransientError)), None)
            if winner is not None:
                await self._close([task for task in self._runners if task is not winner])
                return winner.result()
        return next(iter(self._runners)).result()

    async def aclose(self) -> None:
        """Close what is open, and give up what is not yet."""
        await self._close(list(self._runners))

    async def _close(self, tasks: Sequence[asyncio.Task[_Answer]]) -> None:
        for task in tasks:
            task.cancel()
        for task in tasks:
            await asyncio.wait([task])
            context = self._runners.pop(task)
            if not task.cancelled() and task.exception() is None:
                await context.__aexit__(None, None, None)


async def _opened(context: AbstractAsyncContextManager[_Answer], watch: Stopwatch | None = None) -> _Answer:
    """In a task of its own."""
    if watch is not None:
        watch.carry()
    return await context.__aenter__()
