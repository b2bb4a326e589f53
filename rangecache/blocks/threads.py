"""A small pool of threads for blocking file work, whose end can be waited for within a bound."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rangecache.aio.clock import Clock

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """At most `count` pieces of work at once; further ones wait in the order in which they were given."""

    def __init__(self, count: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._jobs: set[asyncio.Future[Any]] = set()

    def submit(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Start `work`. Await the future through `asyncio.shield`, so that a departing caller does not cancel it."""
        job = asyncio.get_running_loop().run_in_executor(self._pool, partial(work, *args, **kwargs))
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return job

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do `work`. If the caller is cancelled it goes on, and `aclose` waits for it."""
        return await asyncio.shield(self.submit(work, *args, **kwargs))

    async def aclose(self, timeout_s: float, clock: Clock) -> bool:
        """Wait for what has been started, at most `timeout_s`; whether it has ended. Nothing can be started after.

        A thread that hangs in the kernel cannot be ended: it is left alone.
        """
        await wait_at_most(timeout_s, clock, self._jobs)
        self._pool.shutdown(wait=False, cancel_futures=True)
        return not self._jobs


async def wait_at_most(timeout_s: float, clock: Clock, work: Iterable[asyncio.Future[Any]]) -> None:
    """Return when all `work` has ended, well or not, or after `timeout_s`. Cancels nothing."""
    ended = asyncio.gather(*work, return_exceptions=True)
    timer = asyncio.ensure_future(clock.sleep(timeout_s))
    try:
        await asyncio.wait((ended, timer), return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
