"""A time limit on a block of code, measured by a `Clock`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

    from rangecache.aio.clock import Clock


class Deadline:
    """`async with Deadline(clock, 10):` cancels the block after ten seconds and raises `TimeoutError` in its place.

    What `asyncio.timeout` does, except that the time is the clock's and not the event loop's, so that a test can turn
    it on by hand. A cancellation from elsewhere that arrives at the same moment wins, as it does there.
    """

    def __init__(self, clock: Clock, delay_s: float) -> None:
        self._clock = clock
        self._delay_s = delay_s
        self._expired = False
        self._left = False

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a Deadline guards code that runs in a task")
        self._task = task
        self._cancelling = task.cancelling()
        self._timer = asyncio.create_task(self._clock.sleep(self._delay_s), name="deadline")
        self._timer.add_done_callback(self._ring)
        return self

    def _ring(self, timer: asyncio.Task[None]) -> None:
        if not timer.cancelled() and not self._left:
            self._expired = True
            self._task.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left = True
        self._timer.cancel()
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error
